// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/stream.c vmm/state.c devices/device.c devices/storage/image.c devices/storage/overlay*.c devices/net/tap.c devices/net/user.c vmm/helper.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/cgroup.c vmm/sandbox.c vmm/log.c vmm/logfile.c cli/[!m]*.c vmm/domxml*.c vmm/config.c vmm/hvxapi.c vmm/hv_*.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c vmm/qmp_frame.c */
/* The command table against completions and man page; statuses; runtime folders; host checks. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/host.h"
#include "cli/rundir.h"
#include "cli/terminal.h"

static char top[PATH_MAX];	/* of the source tree */

static void find_top(void)
{
	if (!realpath(__FILE__, top)) {
		fprintf(stderr, "%s: not there; run the test in the folder that it was built in\n", __FILE__);
		exit(EXIT_FAILURE);
	}
	for (int i = 0; i < 3; i++)
		*strrchr(top, '/') = '\0';
}

/* Output of a shell command; free it. */
static char *output_of(const char *cmd)
{
	char *s = NULL;
	size_t room = 0;
	FILE *f = popen(cmd, "r");
	ssize_t n;

	ck_assert_ptr_nonnull(f);
	n = getdelim(&s, &room, '\0', f);
	ck_assert_msg(pclose(f) == 0, "%s", cmd);
	if (n < 0) {
		free(s);
		s = strdup("");
	}
	return s;
}

static char *file_text(const char *name)
{
	char cmd[2 * PATH_MAX];

	snprintf(cmd, sizeof(cmd), "cat '%s/%s'", top, name);
	return output_of(cmd);
}

/* --- the table and what is written by hand beside it --- */

START_TEST(table)
{
	for (const struct cli_cmd *const *v = cli_verbs(), *c = *v; c; c = *++v) {
		bool seen[128] = { ['h'] = true };
		unsigned int n = 0;

		ck_assert_ptr_eq(cli_find(c->name), c);
		ck_assert(c->run && c->args && c->help && c->opts);
		for (const struct cli_opt *o = c->opts; o->name; o++, n++) {
			ck_assert_msg(o->help && strcmp(o->name, "help"), "%s --%s", c->name, o->name);
			ck_assert_msg(!o->letter || !seen[(int)o->letter], "%s -%c", c->name, o->letter);
			seen[(int)o->letter] = true;
		}
		ck_assert_uint_le(n, 32);
	}
	ck_assert_ptr_null(cli_find("frobnicate"));
}
END_TEST

/* What `hvx complete WORDS...` prints. */
static char *offers(const char *words)
{
	char copy[256], *argv[16] = { (char *)"hvx", (char *)"complete" }, *save = NULL, *text = NULL;
	int argc = 2, p[2], status;
	size_t len = 0, n;
	char buf[4096];
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	if (!*words || words[strlen(words) - 1] == ' ')
		argv[argc++] = (char *)"";
	ck_assert_int_eq(pipe(p), 0);
	pid = fork();
	if (!pid) {
		dup2(p[1], STDOUT_FILENO);
		close(p[0]);
		status = cli_main(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	close(p[1]);
	while ((n = (size_t)read(p[0], buf, sizeof(buf))) > 0 && n != (size_t)-1) {
		text = realloc(text, len + n + 1);
		memcpy(text + len, buf, n);
		len += n;
	}
	close(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	if (!text)
		return strdup("");
	text[len] = '\0';
	return text;
}

static void offered(const char *words, const char *want, bool yes)
{
	char *text = offers(words), line[80];

	snprintf(line, sizeof(line), "%s\t", want);
	ck_assert_msg((strstr(text, line) || strstr(text, want)) == yes, "hvx %s: %s in:\n%s", words, want, text);
	free(text);
}

START_TEST(completion)
{
	char words[64], option[40];

	for (const struct cli_cmd *const *v = cli_verbs(), *c = *v; c; c = *++v) {
		if (!c->summary)
			continue;
		offered("", c->name, true);
		for (const struct cli_opt *o = c->opts; o->name; o++) {
			snprintf(words, sizeof(words), "%s --", c->name);
			snprintf(option, sizeof(option), "--%s", o->name);
			offered(words, option, true);
		}
	}
	offered("", "complete", false);
	offered("va", "validate", true);
	offered("va", "host", false);
	offered("run --d", "--detach", true);
	offered("run --d", "--name", false);
	offered("run ", ":files", true);
	offered("run --name ", ":files", false);
	offered("run --name x ", ":files", true);
	offered("run x.xml ", ":files", false);
	offered("validate a b c ", ":files", true);
	offered("help hos", "host", true);
	offered("frobnicate ", "", true);
}
END_TEST

/* The shells' side, with an hvx that offers what the test says. */
START_TEST(completion_bash)
{
	char cmd[2 * PATH_MAX], *text;

	snprintf(cmd, sizeof(cmd), "cd '%s' && bash -c '. packaging/completion/hvx.bash; "
		 "hvx() { printf \"%%s|\" \"$@\" >&2; printf \"start\\tstart a guest\\nstop\\n\"; }; "
		 "COMP_WORDS=(hvx undefine st); COMP_CWORD=2; _hvx; printf \"%%s\\n\" \"${COMPREPLY[@]}\"' 2>&1", top);
	text = output_of(cmd);
	ck_assert_str_eq(text, "start\nstop\n");
	free(text);
	snprintf(cmd, sizeof(cmd), "cd '%s' && bash -c '. packaging/completion/hvx.bash; hvx() { echo :files; }; "
		 "COMP_WORDS=(hvx run examples/smp); COMP_CWORD=2; _hvx; printf \"%%s\\n\" \"${COMPREPLY[@]}\"'", top);
	text = output_of(cmd);
	ck_assert_str_eq(text, "examples/smp.xml\n");
	free(text);
}
END_TEST

/* What stands between a line and the next one that begins with one of these; free it, NULL: there is no such line. */
static char *part_of(const char *text, const char *line, const char *end, const char *end2)
{
	size_t len = strlen(line);

	for (; (text = strstr(text, line)); text += len) {
		const char *from = text + len, *to = strstr(from, end), *to2 = strstr(from, end2);

		if (*from != '\n')
			continue;
		if (!to || (to2 && to2 < to))
			to = to2;
		return to ? strndup(from, (size_t)(to + 1 - from)) : strdup(from);
	}
	return NULL;
}

/* The next flag of a page behind p, without its dashes: "Fl n", "Fl \-name", "Fl abc". NULL: none. */
static char *next_flag(const char **p)
{
	const char *s = strstr(*p, "Fl ");

	if (!s)
		return NULL;
	s += 3;
	*p = s + strcspn(s, " \n");
	return strndup(s, (size_t)(*p - s));
}

static bool names(const char *flag, const struct cli_opt *o)
{
	if (!strncmp(flag, "\\-", 2))
		return !strcmp(flag + 2, o->name);
	return o->letter && strchr(flag, o->letter);
}

static bool named_in(const char *text, const struct cli_opt *o)
{
	bool found = false;

	for (char *flag; !found && (flag = next_flag(&text)); free(flag))
		found = names(flag, o);
	return found;
}

/* The list of a verb's options: each of them, by both names, and no other. */
static void check_list(const struct cli_cmd *c, const char *section)
{
	char name[64], letter[32];

	for (const struct cli_opt *o = c->opts; o->name; o++) {
		const char *p = section;
		bool found = false;

		snprintf(name, sizeof(name), "Fl \\-%s", o->name);
		snprintf(letter, sizeof(letter), ".It Fl %c ", o->letter);
		while (!found && (p = strstr(p, "\n.It Fl "))) {
			char *line = strndup(p + 1, strcspn(p + 1, "\n"));

			found = named_in(strstr(line, "Fl \\-") ?: "", &(struct cli_opt){ .name = o->name }) &&
				(!o->letter || !strncmp(line, letter, strlen(letter)));
			free(line);
			p++;
		}
		ck_assert_msg(found, "hvx.1 does not have --%s, -%c of %s", o->name, o->letter ?: '-', c->name);
	}
	for (const char *p = section; (p = strstr(p, "\n.It Fl ")); p++) {
		char *line = strndup(p + 1, strcspn(p + 1, "\n")), *flag;
		const char *at = line;

		while ((flag = next_flag(&at))) {
			const struct cli_opt *o = c->opts;

			while (o->name && !names(flag, o))
				o++;
			ck_assert_msg(o->name || !strcmp(flag, "\\-"), "hvx.1 has an option that %s does not: %s", c->name, line);
			free(flag);
		}
		free(line);
	}
}

/* All forms of a verb that the synopsis has, together: each option, or "option ...". */
static void check_synopsis(const struct cli_cmd *c, const char *synopsis)
{
	char *forms = strdup(""), form[64];
	const char *p = synopsis;

	snprintf(form, sizeof(form), ".Cm %s", c->name);
	for (size_t n = strlen(form); (p = strstr(p, form)); p += n) {
		char *end = strstr(p, ".Nm\n"), *more;

		if (p[n] != '\n' && p[n] != ' ')
			continue;
		ck_assert_int_gt(asprintf(&more, "%s%.*s", forms, end ? (int)(end - p) : (int)strlen(p), p), 0);
		free(forms);
		forms = more;
	}
	ck_assert_msg(*forms, "the synopsis of hvx.1 does not have %s", c->name);
	for (const struct cli_opt *o = c->opts; o->name; o++)
		ck_assert_msg(strstr(forms, ".Op Ar option ...") || named_in(forms, o),
			      "the synopsis of hvx.1 does not have --%s of %s", o->name, c->name);
	free(forms);
}

START_TEST(man_page)
{
	char *text = file_text("docs/man/hvx.1"), *synopsis = part_of(text, ".Sh SYNOPSIS", "\n.Sh ", "\n.Ss ");

	ck_assert_ptr_nonnull(synopsis);
	for (const struct cli_cmd *const *v = cli_verbs(), *c = *v; c; c = *++v) {
		char part[64], *section;

		if (!c->summary)
			continue;
		snprintf(part, sizeof(part), "\n.Ss hvx %s", c->name);
		section = part_of(text, part, "\n.Sh ", "\n.Ss ");
		ck_assert_msg(section != NULL, "hvx.1 has no section on %s", c->name);
		check_list(c, section);
		check_synopsis(c, synopsis);
		free(section);
	}
	free(synopsis);
	free(text);
}
END_TEST

/* A verb's own help, and the overview. */
START_TEST(help)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	for (const struct cli_cmd *const *v = cli_verbs(), *c = *v; c; c = *++v) {
		f = open_memstream(&text, &len);
		cli_help(f, c);
		fclose(f);
		for (const struct cli_opt *o = c->opts; o->name; o++) {
			char want[64];

			snprintf(want, sizeof(want), "  %c%c%s--%s%s%s ", o->letter ? '-' : ' ', o->letter ?: ' ',
				 o->letter ? ", " : "  ", o->name, o->arg ? " " : "", o->arg ?: "");
			ck_assert_msg(strstr(text, want) && strlen(o->help) > 3, "hvx help %s: %s", c->name, want);
		}
		free(text);
	}
	f = open_memstream(&text, &len);
	cli_overview(f);
	fclose(f);
	for (const struct cli_cmd *const *v = cli_verbs(), *c = *v; c; c = *++v) {
		char want[64];

		snprintf(want, sizeof(want), "\n  %s ", c->name);
		ck_assert_msg(!c->summary == !strstr(text, want), "hvx help: %s", c->name);
	}
	free(text);
}
END_TEST

/* --- running verbs --- */

/* Exit status of a verb, run in a child with its output thrown away. */
static int status_of(char *const argv[])
{
	int argc = 0, status, null;
	pid_t pid = fork();

	while (argv[argc])
		argc++;
	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		close(null);
		ck_assert_int_eq(chdir(top), 0);
		exit(cli_main(argc, (char **)argv));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}
#define STATUS(...) status_of((char *[]){ "hvx", __VA_ARGS__, NULL })

START_TEST(statuses)
{
	ck_assert_int_eq(status_of((char *[]){ "hvx", NULL }), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("--help"), 0);
	ck_assert_int_eq(STATUS("--version"), 0);
	ck_assert_int_eq(STATUS("help"), 0);
	ck_assert_int_eq(STATUS("help", "run"), 0);
	ck_assert_int_eq(STATUS("help", "nothing"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("frobnicate"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("version", "x"), VMM_ERR_USAGE);
	for (const struct cli_cmd *const *v = cli_verbs(), *c = *v; c; c = *++v)
		if (c->opts[0].name)
			ck_assert_int_eq(STATUS((char *)c->name, "--help"), 0);
	ck_assert_int_eq(STATUS("validate"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("migrate", "--copy-storage-inc", "web", "unix:/nowhere"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("snapshot-create", "--quiesce", "web"), VMM_ERR_SETUP);
	ck_assert_int_eq(STATUS("snapshot-create-as", "--quiesce", "web", "one"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("validate", "--frob"), VMM_ERR_USAGE);
	/* Numbers are whole and alone, before anything else is looked at. */
	ck_assert_int_eq(STATUS("stat", "--count", "3x", "nowhere"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("top", "--count", "3x"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("setvcpus", "nowhere", "+3"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("setvcpus", "nowhere", "3"), VMM_ERR_SETUP);
	ck_assert_int_eq(STATUS("vcpupin", "nowhere", "1x", "0"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("blkdeviotune", "nowhere", "vda", "--total-iops-sec", "99999999999999999999"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("exec", "--timeout", "3x", "nowhere", "true"), 125);
	ck_assert_int_eq(STATUS("trace", "--count", "3x", "nowhere"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("trace", "--count", "3", "nowhere"), VMM_ERR_SETUP);
	ck_assert_int_eq(STATUS("fork", "--count", "0", "nowhere"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("managedsave", "--level", "20", "nowhere"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("migrate", "--parallel", "17", "nowhere", "unix:/nowhere"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "--kernel", "/nonexistent", "--cpus", "-1"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("validate", "examples/smp.xml"), 0);
	ck_assert_int_eq(STATUS("validate", "-q", "examples/smp.xml", "examples/debian-disk.xml"), 0);
	ck_assert_int_eq(STATUS("validate", "tests/config/bad/missing.xml", "examples/smp.xml"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("validate", "-"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "a", "b"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "--escape"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "--escape", "^^^", "examples/smp.xml"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "--name", "../x", "examples/smp.xml"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "/nonexistent.xml"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("run", "tests/config/bad/disks.xml"), VMM_ERR_USAGE);
	ck_assert_int_eq(STATUS("host", "x"), VMM_ERR_USAGE);
}
END_TEST

START_TEST(escape_keys)
{
	ck_assert_int_eq(escape_parse("^]"), 0x1d);
	ck_assert_int_eq(escape_parse("^a"), 1);
	ck_assert_int_eq(escape_parse("^Z"), 26);
	ck_assert_int_eq(escape_parse("^?"), 0x7f);
	ck_assert_int_eq(escape_parse("~"), '~');
	ck_assert_int_eq(escape_parse("none"), 0);
	ck_assert_int_eq(escape_parse("^"), '^');
	ck_assert_int_eq(escape_parse("^@"), -1);	/* NUL: most terminals cannot send it */
	ck_assert_int_eq(escape_parse(""), -1);
	ck_assert_int_eq(escape_parse("ab"), -1);
	ck_assert_int_eq(escape_parse("^ab"), -1);
	ck_assert_int_eq(escape_parse(" "), -1);
	ck_assert_int_eq(escape_parse("\xc3"), -1);
}
END_TEST

/* --- runtime folders --- */

static char tmp[PATH_MAX];

static void make_tmp(void)
{
	snprintf(tmp, sizeof(tmp), "%s/hvx-cli.XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(tmp));
	setenv("XDG_RUNTIME_DIR", tmp, 1);
}

static void remove_tmp(void)
{
	char cmd[PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", tmp);
	free(output_of(cmd));
}

static char *in_tmp(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", tmp, name);
	return path;
}

static void touch(const char *name)
{
	int fd = open(in_tmp(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	close(fd);
}

START_TEST(rundir_lock)
{
	struct rundir a, b;

	ck_assert_int_eq(rundir_open(&a, "guest"), 0);
	ck_assert_str_eq(a.path, in_tmp("hvx/guest"));
	ck_assert_int_eq(rundir_open(&b, "guest"), -1);
	ck_assert_int_eq(errno, EWOULDBLOCK);
	ck_assert_int_eq(rundir_open(&b, "other"), 0);
	rundir_remove(&b);
	ck_assert_int_ne(access(in_tmp("hvx/other"), F_OK), 0);
	/* What a guest that is gone left behind is cleared; the lock went with it. */
	touch("hvx/guest/pid");
	rundir_close(&a);
	ck_assert_int_eq(access(in_tmp("hvx/guest/pid"), F_OK), 0);
	ck_assert_int_eq(rundir_open(&a, "guest"), 0);
	ck_assert_int_ne(access(in_tmp("hvx/guest/pid"), F_OK), 0);
	rundir_remove(&a);
	ck_assert_int_ne(access(in_tmp("hvx/guest"), F_OK), 0);
}
END_TEST

START_TEST(rundir_inherited)
{
	struct rundir a, b;
	int p[2];
	pid_t pid;

	/* A VMM that inherited the descriptor holds the lock, and its death lets it go. */
	ck_assert_int_eq(pipe(p), 0);
	ck_assert_int_eq(rundir_open(&a, "guest"), 0);
	pid = fork();
	if (!pid) {
		char c;

		close(p[1]);
		_exit(read(p[0], &c, 1) != 0);
	}
	close(p[0]);
	rundir_close(&a);
	ck_assert_int_eq(rundir_open(&b, "guest"), -1);
	close(p[1]);
	waitpid(pid, NULL, 0);
	ck_assert_int_eq(rundir_open(&b, "guest"), 0);
	rundir_remove(&b);
}
END_TEST

START_TEST(rundir_foreign)
{
	struct rundir a;

	/* A folder that others can write to, and a link in its place. */
	ck_assert_int_eq(mkdir(in_tmp("hvx"), 0700), 0);
	ck_assert_int_eq(mkdir(in_tmp("hvx/open"), 0777), 0);
	ck_assert_int_eq(chmod(in_tmp("hvx/open"), 0777), 0);
	ck_assert_int_eq(rundir_open(&a, "open"), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(symlink("/tmp", in_tmp("hvx/link")), 0);
	ck_assert_int_eq(rundir_open(&a, "link"), -1);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

/* --- host checks --- */

static enum host_level levels[64];
static char texts[64][700];
static unsigned int nr_results;

static void collect(void *opaque, const struct host_result *r)
{
	(void)opaque;
	ck_assert_uint_lt(nr_results, 64);
	/* Whatever is not right says what to do. */
	ck_assert_msg((r->level == HOST_PASS) == !r->remedy[0], "%s: %s", r->check, r->text);
	ck_assert_msg(r->text[0] && !strchr(r->text, '\n') && !strchr(r->remedy, '\n'), "%s", r->check);
	levels[nr_results] = r->level;
	snprintf(texts[nr_results++], sizeof(texts[0]), "%s: %s -> %s", r->check, r->text, r->remedy);
}

static void write_file(const char *name, const char *text)
{
	char cmd[4 * PATH_MAX];
	FILE *f;

	snprintf(cmd, sizeof(cmd), "mkdir -p \"$(dirname '%s')\"", in_tmp(name));
	free(output_of(cmd));
	f = fopen(in_tmp(name), "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* The level of the first result that has these words. */
static int level_of(const char *words)
{
	for (unsigned int i = 0; i < nr_results; i++)
		if (strstr(texts[i], words))
			return (int)levels[i];
	return -1;
}

static void check_root(void)
{
	nr_results = 0;
	host_check(tmp, collect, NULL);
}

START_TEST(host_empty)
{
	check_root();
	ck_assert_int_eq(level_of("no AMD-V"), HOST_FAIL);
	ck_assert_int_eq(level_of("hvx is not installed"), HOST_FAIL);
	ck_assert_int_eq(level_of("/dev/hvx is not there"), HOST_FAIL);
	ck_assert_int_eq(level_of("KVM is not loaded"), HOST_PASS);
	ck_assert_int_eq(level_of("nothing here runs guests"), HOST_WARN);
	ck_assert_int_eq(level_of("/dev/vhost-net is not there"), HOST_WARN);
}
END_TEST

START_TEST(host_amd)
{
	write_file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC 1\n"
		   "flags\t\t: fpu svm_lock npt svm\n\nprocessor\t: 1\nflags\t\t: fpu\n");
	write_file("sys/module/hvx/refcnt", "0\n");
	write_file("sys/module/kvm_amd/refcnt", "3\n");
	write_file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
	write_file("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size [advise] never\n");
	write_file("proc/sys/vm/nr_hugepages", "8\n");
	write_file("proc/sys/kernel/io_uring_disabled", "2\n");
	write_file("proc/sys/vm/unprivileged_userfaultfd", "0\n");
	write_file("dev/hvx", "");	/* not a device: the ioctl fails */
	write_file("dev/vhost-net", "");
	write_file("sys/fs/cgroup/cgroup.controllers", "cpu\n");
	write_file("sys/kernel/iommu_groups/0/type", "DMA\n");
	check_root();
	ck_assert_int_eq(level_of("AMD-V with nested paging: EPYC 1"), HOST_PASS);
	ck_assert_int_eq(level_of("hvx is loaded"), HOST_PASS);
	ck_assert_int_eq(level_of("device: /dev/hvx"), HOST_FAIL);
	ck_assert_int_eq(level_of("KVM is in use (3)"), HOST_WARN);
	write_file("dev/kvm", "");
	check_root();
	ck_assert_int_eq(level_of("guests can be run by KVM"), HOST_WARN);
	ck_assert_int_eq(level_of("transparent huge pages: always [madvise]"), HOST_PASS);
	ck_assert_int_eq(level_of("8 reserved"), HOST_PASS);
	ck_assert_int_eq(level_of("io_uring is off"), HOST_FAIL);
	ck_assert_int_eq(level_of("userfaultfd"), geteuid() ? HOST_WARN : HOST_PASS);
	ck_assert_int_eq(level_of("/dev/vhost-net can be used"), HOST_PASS);
	ck_assert_int_eq(level_of("control groups v2"), HOST_PASS);
	ck_assert_int_eq(level_of("the IOMMU is on"), HOST_PASS);
}
END_TEST

START_TEST(host_others)
{
	/* Flags are whole words: npt_x is not npt. */
	write_file("proc/cpuinfo", "vendor_id\t: AuthenticAMD\nmodel name\t: Old\nflags\t\t: svm npt_x hypervisor\n");
	write_file("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
	write_file("sys/module/kvm_intel/refcnt", "0\n");
	write_file("sys/module/kvm/parameters/enable_virt_at_load", "Y\n");
	write_file("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\6\1\1\1\1");
	check_root();
	ck_assert_int_eq(level_of("without nested paging"), HOST_FAIL);
	ck_assert_int_eq(level_of("virtual machine itself"), HOST_WARN);
	ck_assert_int_eq(level_of("transparent huge pages are off"), HOST_WARN);
	ck_assert_int_eq(level_of("KVM holds the CPU"), HOST_WARN);
	ck_assert_int_eq(level_of("Secure Boot is on"), HOST_WARN);
	write_file("proc/cpuinfo", "vendor_id\t: GenuineIntel\nmodel name\t: Core\nflags\t\t: vmx ept\n");
	check_root();
	ck_assert_int_eq(level_of("VT-x is not supported"), HOST_FAIL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli");
	TCase *table_tc = tcase_create("table"), *run = tcase_create("run"), *host = tcase_create("host");
	SRunner *sr;
	int failed;

	find_top();
	tcase_set_timeout(table_tc, 60);	/* against hangs only, like all of them */
	tcase_set_timeout(run, 60);
	tcase_set_timeout(host, 60);
	tcase_add_test(table_tc, table);
	tcase_add_test(table_tc, completion_bash);
	tcase_add_test(table_tc, completion);
	tcase_add_test(table_tc, help);
	tcase_add_test(table_tc, man_page);
	tcase_add_test(table_tc, escape_keys);
	tcase_add_test(table_tc, statuses);
	tcase_add_checked_fixture(run, make_tmp, remove_tmp);
	tcase_add_test(run, rundir_lock);
	tcase_add_test(run, rundir_inherited);
	tcase_add_test(run, rundir_foreign);
	tcase_add_checked_fixture(host, make_tmp, remove_tmp);
	tcase_add_test(host, host_empty);
	tcase_add_test(host, host_amd);
	tcase_add_test(host, host_others);
	suite_add_tcase(s, table_tc);
	suite_add_tcase(s, run);
	suite_add_tcase(s, host);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
