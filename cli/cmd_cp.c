// SPDX-License-Identifier: GPL-2.0-only
/* hvx cp: files and folders into a guest and out of it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "archive.h"
#include "cli.h"
#include "copy.h"
#include "exec.h"
#include "vmm/fileio.h"

#define ANSWER_MS	5000

static int failed(const struct agent *a, const char *path)
{
	cli_error("cp: %s: %s", path, a->text);
	return -1;
}

/* Run a script of the guest's shell with these arguments. Its exit status, or -1 after a message. */
static int ask(struct agent *a, struct agent_status *st, const char *script, const char *arg1, const char *arg2)
{
	char *argv[] = { "/bin/sh", "-c", (char *)script, "hvx", (char *)arg1, (char *)arg2, NULL };

	if (agent_exec_wait(a, argv, 60000, st))
		return failed(a, arg1);
	return st->code;
}

static bool stopped(const struct copy *c)
{
	struct signalfd_siginfo si;

	return c->signals >= 0 && read(c->signals, &si, sizeof(si)) == sizeof(si);
}

/* --- into the guest --- */

/* Write fd to path through a file beside it, so that path is whole or as it was. */
static int send_file(struct copy *c, int fd, const char *from, const char *path, unsigned int mode)
{
	static char buf[AGENT_CHUNK];
	char *part = NULL, bits[8];
	struct agent_status st = { 0 };
	int64_t handle;
	ssize_t n;
	int ret;

	if (asprintf(&part, "%s.hvx-part", path) < 0)
		return -1;
	if (agent_file_open(c->a, part, "w", &handle)) {
		free(part);
		return failed(c->a, path);
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (agent_file_write(c->a, handle, buf, (size_t)n)) {
			ret = failed(c->a, path);
			goto drop;
		}
		progress_add(&c->progress, (uint64_t)n);
		if (stopped(c)) {
			ret = 1;
			goto drop;
		}
	}
	if (n < 0) {
		cli_error("cp: %s: %s", from, strerror(errno));
		ret = -1;
		goto drop;
	}
	ret = agent_file_close(c->a, handle) ? failed(c->a, path) : 0;	/* the last of it is written here */
	handle = -1;
	snprintf(bits, sizeof(bits), "%o", mode & 0777);
	if (!ret) {
		char *argv[] = { "/bin/sh", "-c", "chmod \"$1\" \"$2\" && mv -f \"$2\" \"$3\"", "hvx", bits, part,
				 (char *)path, NULL };

		if (agent_exec_wait(c->a, argv, 60000, &st))
			ret = failed(c->a, path);
		else if (st.code)
			cli_error("cp: %s: the guest cannot put it there: %s", path, st.err ? st.err : ""), ret = -1;
		agent_status_free(&st);
	}
drop:
	if (ret) {
		if (handle >= 0)
			agent_file_close(c->a, handle);
		if (ask(c->a, &st, "rm -f \"$1\"", part, "") >= 0)
			agent_status_free(&st);
	}
	free(part);
	return ret;
}

/* Run a tar in the guest with one end of a pipe, and one of ours on the other. */
static int through_tar(struct copy *c, char *const argv[], const char *what, int (*ours)(int fd, const char *dir),
		       const char *dir, bool in)
{
	struct exec_req req = {
		.argv = argv, .in = -1, .out = -1, .err = STDERR_FILENO, .signals = c->signals,
		.progress = in ? NULL : progress_set, .input = in ? progress_set : NULL, .opaque = &c->progress,
	};
	int p[2], status = 0, code;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return -1;
	agent_rest(c->a);	/* the child must not hold its lock */
	pid = fork();
	if (!pid) {
		close(p[!in]);
		_exit(ours(p[in], dir) ? 1 : 0);
	}
	close(p[in]);
	if (in)
		req.in = p[0];
	else
		req.out = p[1];
	code = pid < 0 ? EXEC_FAILED : exec_run(c->a, &req);
	close(p[!in]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (code)
		cli_error("cp: %s: tar in the guest ended with status %d", what, code);
	return code || status ? -1 : 0;
}

static int send_dir(struct copy *c, const char *from, const char *path)
{
	const struct archive_ops *ops = archive_load();
	char *argv[] = { "/bin/sh", "-c", "mkdir -p \"$1\" && cd \"$1\" && exec tar -xf -", "hvx", (char *)path, NULL };

	if (!ops)
		return -1;
	progress_begin(&c->progress, path, ops->tree_size(from));
	return through_tar(c, argv, path, ops->tar_write, from, true);
}

static const char *base_name(const char *path)
{
	const char *end = path + strlen(path), *p;

	while (end > path + 1 && end[-1] == '/')
		end--;
	p = end;
	while (p > path && p[-1] != '/')
		p--;
	return p;
}

/* Where a thing called `from` goes if it goes to dst; free it. into: dst is a folder. */
static char *target(const char *dst, const char *from, bool into)
{
	const char *base = base_name(from);
	char *path = NULL;
	int n = (int)strcspn(base, "/");

	if (!into)
		return strdup(dst);
	if (!n || (n == 1 && *base == '.') || (n == 2 && !strncmp(base, "..", 2)))
		return strdup(dst);	/* "hvx cp / vm:/x": what is in it */
	return asprintf(&path, "%s%s%.*s", dst, *dst && dst[strlen(dst) - 1] == '/' ? "" : "/", n, base) < 0 ? NULL : path;
}

int copy_in(struct copy *c, const char *from, const char *dst)
{
	struct agent_status st;
	struct stat sb;
	char *path;
	int fd = open(from, O_RDONLY | O_CLOEXEC), ret;
	bool into;

	if (fd < 0 || fstat(fd, &sb)) {
		cli_error("cp: %s: %s", from, strerror(errno));
		return -1;
	}
	ret = ask(c->a, &st, "[ -d \"$1\" ]", dst, "");
	if (ret < 0) {
		close(fd);
		return -1;
	}
	agent_status_free(&st);
	into = !ret;
	if (!into && dst[strlen(dst) - 1] == '/') {
		cli_error("cp: %s: no such folder in the guest", dst);
		close(fd);
		return -1;
	}
	path = target(dst, from, into);
	if (!path) {
		ret = -1;
	} else if (S_ISDIR(sb.st_mode)) {
		ret = send_dir(c, from, path);
	} else {
		progress_begin(&c->progress, path, S_ISREG(sb.st_mode) ? (uint64_t)sb.st_size : 0);
		ret = send_file(c, fd, from, path, sb.st_mode);
	}
	progress_end(&c->progress, !ret);
	free(path);
	close(fd);
	return ret;
}

/* --- out of the guest --- */

static int receive_into(struct copy *c, const char *path, int64_t handle, int fd, const char *to)
{
	static char buf[AGENT_CHUNK];
	long n;

	while ((n = agent_file_read(c->a, handle, buf, sizeof(buf))) > 0) {
		int ret = write_full(fd, buf, (size_t)n);

		if (ret) {
			cli_error("cp: %s: %s", to, strerror(-ret));
			return -1;
		}
		progress_add(&c->progress, (uint64_t)n);
		if (stopped(c))
			return 1;
	}
	return n < 0 ? failed(c->a, path) : 0;
}

static int receive_file(struct copy *c, const char *path, const char *to, unsigned int mode)
{
	struct stat sb;
	char *part = NULL;
	int64_t handle;
	int fd, ret;
	/* Through links, onto pipes and terminals: `hvx cp vm:/etc/os-release /dev/stdout`. */
	bool special = !lstat(to, &sb) && !S_ISREG(sb.st_mode);

	if (agent_file_open(c->a, path, "r", &handle))
		return failed(c->a, path);
	if (special)
		part = strdup(to);
	else if (asprintf(&part, "%s.hvx-part", to) < 0)
		part = NULL;
	fd = !part ? -1 : special ? open(part, O_WRONLY | O_TRUNC | O_CLOEXEC) :
	     open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		cli_error("cp: %s: %s", to, strerror(errno));
		ret = -1;
	} else {
		ret = receive_into(c, path, handle, fd, to);
	}
	agent_file_close(c->a, handle);
	if (fd >= 0 && !special) {
		mode_t mask = umask(0);

		umask(mask);
		if (!ret && (fchmod(fd, mode & 0777 & ~mask) || rename(part, to))) {
			cli_error("cp: %s: %s", to, strerror(errno));
			ret = -1;
		}
		if (ret)
			unlink(part);
	}
	if (fd >= 0 && close(fd) && !ret) {
		cli_error("cp: %s: %s", to, strerror(errno));
		ret = -1;
	}
	free(part);
	return ret;
}

static int receive_dir(struct copy *c, const char *path, const char *to)
{
	const struct archive_ops *ops = archive_load();
	char *argv[] = { "tar", "-C", (char *)path, "-cf", "-", ".", NULL };

	if (!ops)
		return -1;
	if (mkdir(to, 0777) && errno != EEXIST) {
		cli_error("cp: %s: %s", to, strerror(errno));
		return -1;
	}
	return through_tar(c, argv, path, ops->tar_read, to, false);
}

int copy_out(struct copy *c, const char *path, const char *dst)
{
	/* Kind, mode, size: "f 644 123", "d 755 4096" */
	static const char what[] =
		"if [ -d \"$1\" ]; then printf 'd 755 '; du -sk \"$1\" | while read -r k r; do echo $((k * 1024)); done\n"
		"elif [ -e \"$1\" ]; then printf 'f %s ' \"$(stat -Lc %a \"$1\" 2>/dev/null || echo 644)\"; wc -c <\"$1\"\n"
		"else exit 3; fi";
	struct agent_status st = { 0 };
	unsigned int mode = 0644;
	unsigned long long size = 0;
	struct stat sb;
	char kind = 0, *to;
	int ret = ask(c->a, &st, what, path, "");

	if (ret < 0)
		return -1;
	if (ret || !st.out || sscanf(st.out, "%c %o %llu", &kind, &mode, &size) < 2 || (kind != 'd' && kind != 'f')) {
		cli_error("cp: %s: no such file or folder in the guest", path);
		agent_status_free(&st);
		return -1;
	}
	agent_status_free(&st);
	to = target(dst, path, !stat(dst, &sb) && S_ISDIR(sb.st_mode));
	if (!to)
		return -1;
	progress_begin(&c->progress, path, size);
	ret = kind == 'd' ? receive_dir(c, path, to) : receive_file(c, path, to, mode);
	progress_end(&c->progress, !ret);
	free(to);
	return ret;
}

/* --- the verb --- */

/* "VM:PATH": the guest's name, free() it, and the path; NULL: a path of this host. As scp reads it. */
static char *split(const char *arg, const char **path)
{
	size_t n = strcspn(arg, ":/");

	if (arg[n] != ':' || !n)
		return NULL;
	*path = arg + n + 1;
	return strndup(arg, n);
}

static int cmd_cp(const struct cli_cmd *cmd, int argc, char **argv)
{
	struct copy c = { .signals = -1 };
	const char *value, *path, *dst;
	char *vm = NULL, *sock = NULL;
	int o, ret = 0, nr;
	bool in;

	while ((o = cli_getopt(cmd, argc, argv, &value)) != -1) {
		if (o == 'q')
			c.progress.quiet = true;
		else if (o == 'p')
			c.progress.always = true;
		else
			return o == CLI_OPT_HELP ? VMM_OK : VMM_ERR_USAGE;
	}
	nr = argc - optind - 1;
	if (nr < 1) {
		cli_error("cp: what to copy and where to are wanted; see: hvx help cp");
		return VMM_ERR_USAGE;
	}
	dst = argv[argc - 1];
	vm = split(dst, &dst);
	in = vm;
	for (int i = optind; i < argc - 1; i++) {
		char *from = split(argv[i], &path);

		if (in == !!from || (from && vm && strcmp(vm, from)) || (from && !*path)) {
			cli_error("cp: %s: copies go between this host and one guest, written GUEST:PATH; see: hvx help cp", argv[i]);
			free(from);
			free(vm);
			return VMM_ERR_USAGE;
		}
		if (!vm)
			vm = from;
		else
			free(from);
	}
	if (!*dst || exec_find("cp", vm, &sock)) {
		if (!*dst)
			cli_error("cp: %s: no path behind the guest's name", argv[argc - 1]);
		free(vm);
		return *dst ? VMM_ERR_SETUP : VMM_ERR_USAGE;
	}
	c.signals = exec_signals();
	c.a = exec_agent("cp", vm, sock, ANSWER_MS, c.signals);
	for (int i = optind; c.a && !ret && i < argc - 1; i++)
		ret = in ? copy_in(&c, argv[i], dst) : copy_out(&c, strchr(argv[i], ':') + 1, dst);
	if (!c.a)
		ret = -1;
	agent_close(c.a);
	free(sock);
	free(vm);
	return ret > 0 ? VMM_KILLED : ret ? VMM_ERR_SETUP : VMM_OK;
}

/* clang-format off: tables are read by row */
static const struct cli_cmd cp_verb = {
	.name = "cp", .args = "FROM... TO", .group = CLI_RUN, .run = cmd_cp,
	.summary = "copy files into a guest or out of it",
	.help =
"Copies files and folders, as cp -r does, through the guest's agent. What is in\n"
"the guest is written NAME:PATH, a path of this host without a colon before its\n"
"first slash. Folders need tar in the guest, and room for the archive in its /tmp.\n"
"\n"
"Exit status: 0, 64 bad command line, 65 something was not copied, 70 stopped.\n",
	.opts = OPTS(
		{ "progress", 'p', NULL, "show percent, rate and time left where stderr is no terminal, too" },
		{ "quiet", 'q', NULL, "show no progress" }),
};
CLI_VERB(cp_verb);
/* clang-format on */
