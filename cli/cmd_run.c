// SPDX-License-Identifier: GPL-2.0-only
/* hvx run: start hvx-vmm on a guest, and be its terminal or leave it alone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arrive.h"
#include "cli.h"
#include "exec.h"
#include "guest.h"
#include "keepdef.h"
#include "rundir.h"
#include "snapguest.h"
#include "store.h"
#include "template.h"
#include "terminal.h"
#include "throwaway.h"
#include "vmm/domxml_int.h"
#include "vmm/hvxapi.h"
#include "vmm/mig.h"
#include "vmm/stream.h"

#define CTRL_RBRACKET 0x1d

struct run {
	const char *accel;		/* NULL: hvx-vmm's default */
	const char *file, *name;	/* name: of the guest, from --name or the XML */
	const char *gdb;		/* where a debugger may come, NULL: nowhere */
	bool detach, name_given, quiet, paused;
	const char *from;		/* the template, NULL: none */
	bool fork;
	bool reverted;			/* the state is a snapshot's */
	struct snap_tree *snaps;	/* of the guest, until its runtime folder keeps others away */
	const struct incoming *in;	/* what comes from another host; NULL: nothing does */
	int state, ram;			/* restore: the saved state; a fork's memory; -1: none */
	int verbosity, escape;
	struct throwaway t;		/* one command, then the end */
	struct kernel_guest k;		/* no XML */
	struct domain *dom;
	char *vmm;			/* path of hvx-vmm */
	int xml;			/* memfd: what was checked is what runs */
	struct rundir dir;		/* path NULL: none */
	char *log;			/* of a guest in the background */
	off_t log_start;		/* where this run's part of it begins */
	char *own_name;			/* where name is not somebody else's */
	pid_t pid;			/* in the background: hvx-vmm */
	int ready;			/* it says when the guest has begun; -1: nobody asks */
	int to_vmm, from_out, from_err;	/* our ends of the pipes, -1: none */
};

/* The VMM's ends. -1: it gets ours. */
struct ends {
	int in, out, err;
};

static bool number(const struct cli_cmd *cmd, const char *option, const char *value, unsigned int min,
		   unsigned int max, unsigned int *out)
{
	long n;

	if (!cli_number(cmd, option, value, min, max, &n))
		return false;
	*out = (unsigned int)n;
	return true;
}

/* Options of a guest for one command, and of one without XML. 1: it is none of them. */
static int parse_more(const struct cli_cmd *cmd, int c, const char *value, struct run *r)
{
	struct throwaway *t = &r->t;

	switch (c) {
	case 'R':
		t->rm = true;
		return 0;
	case 'a':
		if (t->nr_artifacts == MAX_ARTIFACTS) {
			cli_error("run: --artifact %s: more than %d; write a pattern", value, MAX_ARTIFACTS);
			return -1;
		}
		t->artifact[t->nr_artifacts++] = value;
		return 0;
	case 'A':
		t->artifact_dir = value;
		return 0;
	case 'E':
		if (t->nr_env == MAX_VARIABLES || !variable_ok(value)) {
			cli_error("run: --env %s: write VAR=VALUE, at most %d times", value, MAX_VARIABLES);
			return -1;
		}
		t->env[t->nr_env++] = (char *)value;
		return 0;
	case 'w':
		t->dir = value;
		return 0;
	case 't':
		return number(cmd, "timeout", value, 0, 31536000, &t->timeout_s) ? 0 : -1;
	case 'b':
		return number(cmd, "boot-timeout", value, 1, 86400, &t->boot_timeout_s) ? 0 : -1;
	case 'k':
		r->k.kernel = value;
		return 0;
	case 'i':
		r->k.initrd = value;
		return 0;
	case 'x':
		r->k.append = value;
		return 0;
	case 'r':
		r->k.root = value;
		return 0;
	case 'm':
		return number(cmd, "memory", value, 16, 16777216, &r->k.memory_mib) ? 0 : -1;
	case 'c':
		return number(cmd, "cpus", value, 1, 64, &r->k.cpus) ? 0 : -1;
	}
	return 1;
}

/* What stands behind the options: the XML, if there is to be one, and the command behind "--". */
static int parse_operands(const struct cli_cmd *cmd, int argc, char **argv, struct run *r)
{
	int files = r->k.kernel || r->from ? 0 : 1;

	if (argc - optind > files && optind > 0 && !strcmp(argv[optind - 1], "--")) {
		r->t.argv = r->k.argv = argv + optind + files;
		r->k.env = r->t.env;
		r->k.dir = r->t.dir;
	} else if (optind + files != argc) {
		cli_error(files ? "%s: one file is wanted; see: hvx help %s" :
			  "%s: with --kernel or --from there is no file, and a command stands behind --; see: hvx help %s",
			  cmd->name, cmd->name);
		return VMM_ERR_USAGE;
	}
	r->file = r->k.kernel ? r->k.kernel : r->from ? r->from : argv[optind];
	if (r->k.kernel && r->from) {
		cli_error("run: --kernel or --from, not both");
		return VMM_ERR_USAGE;
	}
	if (!r->k.kernel && (r->k.initrd || r->k.append || r->k.root || r->k.memory_mib || r->k.cpus)) {
		cli_error("run: --initrd, --append, --root, --memory and --cpus go with --kernel; an XML has its own");
		return VMM_ERR_USAGE;
	}
	if (!r->t.argv && (r->t.nr_artifacts || r->t.artifact_dir || r->t.nr_env || r->t.dir || r->t.timeout_s || r->t.boot_timeout_s)) {
		cli_error("run: --artifact, --env, --workdir and the time limits go with a command: -- COMMAND...");
		return VMM_ERR_USAGE;
	}
	if (r->t.argv && (r->detach || r->paused || (r->k.kernel && r->t.nr_artifacts))) {
		cli_error("run: %s does not go with %s", r->detach ? "--detach" : r->paused ? "--paused" : "--artifact",
			  r->detach || r->paused ? "a command" : "--kernel");
		return VMM_ERR_USAGE;
	}
	return 0;
}

static int parse(const struct cli_cmd *cmd, int argc, char **argv, struct run *r)
{
	const char *value;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, &value)) != -1) {
		switch (c) {
		case 'V':
			if (!hv_named(value)) {
				cli_error("run: --accel %s: hvx or kvm", value);
				return VMM_ERR_USAGE;
			}
			r->accel = value;
			break;
		case 'd':
			r->detach = true;
			break;
		case 'v':
			r->verbosity++;
			break;
		case 'n':
			r->name = value;
			r->name_given = true;
			break;
		case 'p':
			r->paused = true;
			break;
		case 'f':
			r->from = value;
			break;
		case 'g':
			r->gdb = value;
			break;
		case 'e':
			r->escape = escape_parse(value);
			if (r->escape < 0) {
				cli_error("%s: --escape %s: not a key; write ^X, one character, or none", cmd->name, value);
				return VMM_ERR_USAGE;
			}
			break;
		case CLI_OPT_HELP:
			return -1;
		default:
			if (c < 0 || parse_more(cmd, c, value, r))
				return VMM_ERR_USAGE;
		}
	}
	if (parse_operands(cmd, argc, argv, r))
		return VMM_ERR_USAGE;
	if (r->name && !guest_name_ok(r->name)) {
		cli_error("%s: --name %s: a name has 1 to 64 characters, no '/', and no dot in front", cmd->name, r->name);
		return VMM_ERR_USAGE;
	}
	return 0;
}

/* The XML that the state was saved with. NULL after a message. */
static char *read_state(struct run *r, size_t *len)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };
	struct stream_in in;
	uint64_t plain, plain_len;
	uint32_t type = 0;

	r->state = open(r->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (r->state < 0) {
		cli_error("%s: %s", r->file, strerror(errno));
		return NULL;
	}
	if (stream_open(&in, r->state, &err) ||
	    stream_next(&in, &type, &b, &plain, &plain_len, &err) || type != SEC_XML || !b.len ||
	    lseek(r->state, 0, SEEK_SET)) {
		cli_error("%s: %s", r->file, err.text[0] ? err.text : "not a state that hvx saved");
		sbuf_free(&b);
		return NULL;
	}
	*len = b.len;
	return (char *)b.data;
}

static char *read_xml(struct run *r, size_t *len)
{
	char *why = NULL, *buf = doc_read(r->file, -1, DOMXML_MAX_FILE, len, &why);

	if (!buf)
		fprintf(stderr, "%s: %s\n", r->file, why ? why : "out of memory");
	free(why);
	return buf;
}

/* What a fork begins with. NULL after a message. */
static char *fork_xml(struct run *r, struct template *t, size_t *len)
{
	if (!r->name)
		r->name = r->own_name = r->detach ? template_claim(t, &r->dir) : template_name(t);
	if (!r->name)
		return NULL;
	r->fork = true;
	r->state = template_reopen(t->state);
	r->ram = t->ram >= 0 ? template_reopen(t->ram) : -1;
	if (r->state < 0 || (t->ram >= 0 && r->ram < 0)) {
		cli_error("%s: %s", r->file, strerror(errno));
		return NULL;
	}
	return template_xml(t, r->name, len);
}

static char *read_template(struct run *r, size_t *len)
{
	struct template t;
	char *xml;

	if (template_open(&t, r->from))
		return NULL;
	xml = fork_xml(r, &t, len);
	template_close(&t);
	return xml;
}

/* The VMM gives the warnings: with it they reach the log of a detached guest too. */
static int parse_text(struct run *r, const char *text, size_t len)
{
	r->xml = text_fd(text, len);
	if (r->xml < 0) {
		cli_error("%s: %s", r->file, strerror(errno));
		return VMM_ERR_SETUP;
	}
	r->dom = domxml_parse(r->file, r->xml, stderr, false, "", NULL);
	lseek(r->xml, 0, SEEK_SET);
	return r->dom ? 0 : VMM_ERR_USAGE;
}

/* Takes buf. A guest with snapshots has its disks where they have left them. */
static int load_text(struct run *r, char *buf, size_t len)
{
	int status = parse_text(r, buf, len);

	if (!status && !r->fork && snap_exists(r->dom->name)) {
		buf = snap_for_run(r->dom->name, buf, &len, &r->snaps);
		close(r->xml);
		domain_free(r->dom);
		r->dom = NULL;
		r->xml = -1;
		status = buf ? parse_text(r, buf, len) : VMM_ERR_SETUP;
	}
	free(buf);
	if (status)
		return status;
	if (!r->name)
		r->name = r->dom->name;
	return 0;
}

/* Read the XML once, whatever it is, so that it cannot change between here and the VMM. */
static int load(struct run *r, bool restore)
{
	size_t len = 0;
	char *buf = r->k.kernel ? kernel_xml(&r->k, &len) : r->from ? read_template(r, &len) : restore ? read_state(r, &len) :
							read_xml(r, &len);

	return buf ? load_text(r, buf, len) : restore || r->from || r->k.kernel ? VMM_ERR_SETUP : VMM_ERR_USAGE;
}

/* A guest in the foreground needs no name of its own: CI runs many of one XML at a time. */
static int make_rundir(struct run *r)
{
	char *other = NULL;

	if (r->dir.path || !rundir_open(&r->dir, r->name))
		return 0;
	if (errno == EWOULDBLOCK && !r->detach && !r->t.argv) {
		if (asprintf(&other, "%s.%d", r->name, (int)getpid()) > 0)
			rundir_open(&r->dir, other);
		free(other);
		return 0;
	}
	if (!r->detach && !r->t.argv)
		return 0;	/* the guest goes without */
	if (errno == EWOULDBLOCK)
		cli_error("a guest called %s is running; stop it, or take another name with --name", r->name);
	else if (errno == ENXIO)
		cli_error("no folder for a guest in the background; set XDG_RUNTIME_DIR to one of yours");
	else
		cli_error("the runtime folder of %s cannot be made: %s", r->name, strerror(errno));
	return VMM_ERR_SETUP;
}

/* --- starting hvx-vmm --- */

static int make_pipe(int *ours, int *theirs, bool to_them)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC)) {
		cli_error("pipe: %s", strerror(errno));
		return -1;
	}
	*ours = p[to_them];
	*theirs = p[!to_them];
	return 0;
}

/* Pipes stand between the VMM and each of our three that is a terminal. */
static int make_pipes(struct run *r, struct ends *e)
{
	*e = (struct ends){ -1, -1, -1 };
	if (isatty(STDIN_FILENO) && make_pipe(&r->to_vmm, &e->in, true))
		return -1;
	if (isatty(STDOUT_FILENO) && make_pipe(&r->from_out, &e->out, false))
		return -1;
	if (isatty(STDERR_FILENO) && make_pipe(&r->from_err, &e->err, false))
		return -1;
	return 0;
}

static int open_background(struct run *r, struct ends *e)
{
	char *log = log_open(r->name, &e->err, &r->log_start), *link = NULL;

	e->in = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (e->in < 0 || e->err < 0)
		cli_error("%s: %s", log ? log : "log", strerror(errno));
	else if (asprintf(&link, "%s/log", r->dir.path) > 0 && symlink(log, link))
		cli_error("%s: %s", link, strerror(errno));
	free(link);
	r->log = log;
	e->out = e->err >= 0 ? fcntl(e->err, F_DUPFD_CLOEXEC, 3) : -1;
	return e->in < 0 || e->out < 0 ? -1 : 0;
}

static void close_ends(struct ends *e)
{
	if (e->in >= 0)
		close(e->in);
	if (e->out >= 0)
		close(e->out);
	if (e->err >= 0)
		close(e->err);
}

#define VMM_FDS		(4 + MIG_MAX_STREAMS + 2 * DOM_MAX_DISKS)	/* those of vmm_args() */
#define VMM_OPTIONS	16

/* The VMM's command line, and the descriptors in it, which it inherits. */
struct vmm_args {
	char *argv[2 * VMM_FDS + 2 * VMM_OPTIONS + 1];
	char text[VMM_FDS][32];
	int fd[VMM_FDS];
	unsigned int n, nr_fds;
};

/* In the child. Only calls that are safe after fork(). */
static void __attribute__((noreturn)) become_vmm(struct run *r, const struct ends *e, const struct vmm_args *a,
						 pid_t parent, int report)
{
	sigset_t none;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* No controlling terminal: it can type nothing into it, and its keys send it no signals. */
	setsid();
	if (!r->detach) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(VMM_KILLED);
	}
	if (e->in >= 0)
		dup2(e->in, STDIN_FILENO);
	if (e->out >= 0)
		dup2(e->out, STDOUT_FILENO);
	if (e->err >= 0)
		dup2(e->err, STDERR_FILENO);
	if (r->dir.lock >= 0)
		fcntl(r->dir.lock, F_SETFD, 0);
	for (unsigned int i = 0; i < a->nr_fds; i++)
		fcntl(a->fd[i], F_SETFD, 0);
	execv(r->vmm, a->argv);
	err = errno;
	while (write(report, &err, sizeof(err)) < 0 && errno == EINTR)
		;
	_exit(VMM_ERR_SETUP);
}

/* For the verbs that look at a running guest. */
static void keep_xml(const struct run *r)
{
	char buf[65536], *path = NULL;
	int fd = -1;
	ssize_t n;

	if (r->dir.path && asprintf(&path, "%s/domain.xml", r->dir.path) > 0)
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	for (off_t at = 0; fd >= 0 && (n = pread(r->xml, buf, sizeof(buf), at)) > 0; at += n)
		if (write(fd, buf, (size_t)n) != n)
			break;
	if (fd >= 0)
		close(fd);
	free(path);
}

static void add(struct vmm_args *a, const char *option, const char *value)
{
	a->argv[a->n++] = (char *)option;
	if (value)
		a->argv[a->n++] = (char *)value;
}

/* The VMM inherits fd, which the option names, after "NAME=" if there is one. -1: there is none to tell of. */
static void add_fd(struct vmm_args *a, const char *option, const char *name, int fd)
{
	char *text = a->text[a->nr_fds];

	if (fd < 0)
		return;
	snprintf(text, sizeof(a->text[0]), "%s%s%d", name ? name : "", name ? "=" : "", fd);
	add(a, option, text);
	a->fd[a->nr_fds++] = fd;
}

static void add_arrival(struct vmm_args *a, const struct run *r)
{
	for (unsigned int i = 0; i < r->in->nr; i++)
		add_fd(a, "--incoming-fd", NULL, r->in->fd[i]);
	for (unsigned int i = 0; i < r->in->nr_disks; i++)
		add_fd(a, "--nbd-fd", NULL, r->in->disk[i]);
	for (unsigned int i = 0; i < r->in->images->nr; i++)
		add_fd(a, "--disk-fd", r->in->images->disk[i].target, r->in->images->disk[i].fd);
}

static void vmm_args(struct vmm_args *a, const struct run *r, int ready)
{
	add(a, r->vmm, NULL);
	add_fd(a, "--xml-fd", NULL, r->xml);
	add(a, "--console", r->detach ? "none" : "stdio");
	if (r->accel)
		add(a, "--accel", r->accel);
	if (r->dir.path)
		add(a, r->detach ? "--own-runtime-dir" : "--runtime-dir", r->dir.path);
	if (r->name_given)
		add(a, "--name", r->name);
	add_fd(a, "--restore-fd", NULL, r->state);
	if (r->in)
		add_arrival(a, r);
	if (r->fork)
		add(a, "--fork", NULL);
	if (r->reverted)
		add(a, "--reverted", NULL);
	add_fd(a, "--ram-fd", NULL, r->ram);
	add_fd(a, "--ready-fd", NULL, ready);
	if (r->log)
		add(a, "--log-file", r->log);
	if (r->paused)
		add(a, "--paused", NULL);
	if (r->gdb)
		add(a, "--gdb", r->gdb);
	if (r->t.rm)
		add(a, "--throwaway", NULL);
	if (r->t.argv && !r->k.kernel && !r->from)	/* a fork has its template's devices */
		add(a, "--agent", NULL);
	if (r->verbosity)
		add(a, r->verbosity > 1 ? "-vv" : "-v", NULL);
	add(a, "--", r->file);
}

/* ready: where it says that the guest has begun, -1: nowhere. */
static pid_t start(struct run *r, const struct ends *e, int ready)
{
	struct vmm_args a = { .n = 0 };
	pid_t parent = getpid(), pid;
	int report[2], err = 0;

	vmm_args(&a, r, ready);
	keep_xml(r);
	if (pipe2(report, O_CLOEXEC)) {
		cli_error("pipe: %s", strerror(errno));
		return -1;
	}
	pid = fork();
	if (!pid)
		become_vmm(r, e, &a, parent, report[1]);
	close(report[1]);
	if (pid < 0) {
		cli_error("fork: %s", strerror(errno));
	} else if (read(report[0], &err, sizeof(err)) == sizeof(err)) {
		cli_error("%s: %s", r->vmm, strerror(err));
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(report[0]);
	return pid;
}

/* --- in the foreground --- */

/* This process carries the console, waits and clears away, without what is not needed for that. */
static int become_console(struct run *r, const char *console, pid_t pid)
{
	const int n[] = { pid, r->to_vmm, r->from_out, r->from_err, r->escape, r->dir.lock };
	char text[6][16], *argv[] = { (char *)console, text[0], text[1], text[2], text[3], text[4], text[5], r->dir.path, NULL };
	sigset_t set;
	int status = 0;

	for (unsigned int i = 0; i < 6; i++) {
		snprintf(text[i], sizeof(text[i]), "%d", n[i]);
		if (i && i != 4 && n[i] >= 0)
			fcntl(n[i], F_SETFD, 0);
	}
	fflush(NULL);
	console_block_signals(&set);
	execv(console, argv);
	cli_error("%s: %s", console, strerror(errno));
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	return VMM_ERR_SETUP;
}

static int run_foreground(struct run *r)
{
	char *console = find_program("hvx-console");
	struct ends e;
	pid_t pid;
	int status = VMM_ERR_SETUP;

	if (!r->dom->nr_serials && !r->dom->nr_ports && isatty(STDIN_FILENO))
		cli_error("the guest has no console; to see it here, add <console type='pty'/> to <devices>");
	if (!console)
		cli_error("hvx-console is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again");
	if (console && !make_pipes(r, &e)) {
		pid = start(r, &e, -1);
		close_ends(&e);
		if (pid >= 0)
			status = become_console(r, console, pid);
	}
	free(console);
	return status;
}

/* --- in the background --- */

static void show_log(const struct run *r)
{
	int fd = r->log ? open(r->log, O_RDONLY | O_CLOEXEC) : -1;
	char buf[4096];
	ssize_t n;

	if (fd >= 0)
		lseek(fd, r->log_start, SEEK_SET);
	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		fwrite(buf, 1, (size_t)n, stderr);
	if (fd >= 0)
		close(fd);
}

static void print_next_steps(const struct run *r, pid_t pid)
{
	printf("%s is running (pid %d)\n", r->name, (int)pid);
	if (r->dom->nr_serials || r->dom->nr_ports)
		printf("  console:       hvx console %s\n", r->name);
	printf("  messages:      hvx logs %s\n", r->name);
	printf("  power button:  hvx shutdown %s\n", r->name);
	printf("  stop at once:  hvx destroy %s\n", r->name);
}

static int begin_background(struct run *r)
{
	int p[2] = { -1, -1 };
	struct ends e;

	/* A guest that comes from elsewhere asks, and is answered. */
	if (open_background(r, &e) ||
	    (r->in ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) : pipe2(p, O_CLOEXEC))) {
		close_ends(&e);
		return VMM_ERR_SETUP;
	}
	r->ready = p[0];
	r->pid = start(r, &e, p[1]);
	close(p[1]);
	close_ends(&e);
	return r->pid < 0 ? VMM_ERR_SETUP : VMM_OK;
}

/* The guest is ours: its definition, and names of new images, before it runs. All of it or nothing. */
static int settle(struct run *r)
{
	if (keepdef_write(r->in->def))
		return -1;
	if (!arriving_name(r->in->images))
		return 0;
	keepdef_undo(r->in->def);
	return -1;
}

/* Until the guest has begun, its end is ours to report. */
static int wait_begun(struct run *r)
{
	int status = 0;
	char byte;
	ssize_t n;

	do {
		n = read(r->ready, &byte, 1);
		if (n == 1 && byte == 'n' && r->in)
			n = send(r->ready, settle(r) ? "x" : "y", 1, MSG_NOSIGNAL) == 1 ? -2 : 0;
	} while (n == -2 || (n < 0 && errno == EINTR));
	if (n == 1)
		return VMM_OK;
	waitpid(r->pid, &status, 0);
	show_log(r);
	return vmm_status(status);
}

static int run_background(struct run *r)
{
	int status = begin_background(r) ?: wait_begun(r);

	if (!status && !r->quiet)
		print_next_steps(r, r->pid);
	return status;
}

static int prepare(struct run *r)
{
	int status;

	r->vmm = find_program("hvx-vmm");
	if (!r->vmm) {
		cli_error("hvx-vmm is neither beside this program nor in " HVX_LIBEXECDIR "; install hvx again");
		return VMM_ERR_SETUP;
	}
	status = make_rundir(r);
	snap_close(r->snaps);
	r->snaps = NULL;
	return status;
}

static int go(struct run *r)
{
	int status = prepare(r);

	return status ? status : r->detach ? run_background(r) : run_foreground(r);
}

/* The guest of a command, in a process of its own. */
static int run_child(void *opaque)
{
	struct run *r = opaque;
	int status = go(r);

	rundir_remove(&r->dir);
	return status;
}

static int run_command(struct run *r)
{
	char *name = NULL;
	int status;

	/* Many of one XML run at a time. */
	if (asprintf(&name, "%.48s.%d", r->name, (int)getpid()) < 0)
		return EXEC_FAILED;
	r->name = name;
	status = throwaway_run(&r->t, &r->k, name, run_child, r);
	free(name);
	r->name = NULL;
	return status;
}

static void run_free(struct run *r, int status)
{
	if (r->detach && status == VMM_OK)
		rundir_close(&r->dir);
	else
		rundir_remove(&r->dir);
	if (r->xml >= 0)
		close(r->xml);
	if (r->state >= 0)
		close(r->state);
	if (r->ram >= 0)
		close(r->ram);
	if (r->ready >= 0)
		close(r->ready);
	free(r->own_name);
	snap_close(r->snaps);
	kernel_close(&r->k);
	domain_free(r->dom);
	free(r->vmm);
	free(r->log);
}

#define RUN_NONE { \
	.escape = CTRL_RBRACKET, .xml = -1, .state = -1, .ram = -1, .dir = { .lock = -1 }, \
	.to_vmm = -1, .from_out = -1, .from_err = -1, .ready = -1, \
	.k = { .image = -1, .out = -1, .err = -1, .status = -1 }, \
}

static int run(const struct cli_cmd *cmd, int argc, char **argv, bool restore)
{
	struct run r = RUN_NONE;
	int status = parse(cmd, argc, argv, &r);

	if (status)
		return status < 0 ? VMM_OK : status;
	status = load(&r, restore);
	rundir_sweep();
	if (r.t.argv)
		status = status ? EXEC_FAILED : run_command(&r);
	else if (!status)
		status = go(&r);
	run_free(&r, status);
	return status;
}

int run_detached(const char *file, const char *text, size_t len, bool paused)
{
	struct run r = RUN_NONE;
	char *copy = strndup(text, len);
	int status = VMM_ERR_SETUP;

	r.file = file;
	r.detach = r.quiet = true;
	r.paused = paused;
	if (copy)
		status = load_text(&r, copy, len) ?: go(&r);
	run_free(&r, status);
	return status;
}

int run_saved(const char *file, bool paused)
{
	struct run r = RUN_NONE;
	int status;

	r.file = file;
	r.detach = r.quiet = true;
	r.paused = paused;
	status = load(&r, true) ?: go(&r);
	run_free(&r, status);
	return status;
}

int run_reverted(const char *file, bool paused)
{
	struct run r = RUN_NONE;
	int status;

	r.file = file;
	r.detach = r.quiet = r.reverted = true;
	r.paused = paused;
	status = load(&r, true) ?: go(&r);
	run_free(&r, status);
	return status;
}

int run_incoming(const char *file, const char *text, size_t len, const char *name, bool paused,
		 const struct incoming *in)
{
	struct run r = RUN_NONE;
	unsigned int i;
	int status;

	r.file = file;
	r.detach = r.quiet = true;
	r.paused = paused;
	r.name = name;
	r.name_given = name;
	r.in = in;
	r.xml = text_fd(text, len);
	r.dom = r.xml >= 0 ? domxml_parse(file, r.xml, stderr, false, "", NULL) : NULL;
	if (r.dom && !name)
		r.name = r.dom->name;
	if (r.xml >= 0)
		lseek(r.xml, 0, SEEK_SET);
	status = r.dom ? prepare(&r) ?: begin_background(&r) : VMM_ERR_USAGE;
	/* The VMM has its own; the other side shall see when it ends. */
	for (i = 0; i < in->nr; i++)
		close(in->fd[i]);
	for (i = 0; i < in->nr_disks; i++)
		close(in->disk[i]);
	status = status ?: wait_begun(&r);
	if (status)
		keepdef_undo(in->def);
	run_free(&r, status);
	return status;
}

static int begin_fork(struct run *r, struct template *t, const char *what, const char *name)
{
	size_t len = 0;
	char *xml;

	*r = (struct run)RUN_NONE;
	r->file = what;
	r->name = name;
	r->detach = true;
	xml = fork_xml(r, t, &len);
	return (xml ? load_text(r, xml, len) : VMM_ERR_SETUP) ?: prepare(r) ?: begin_background(r);
}

int run_forks(struct template *t, const char *what, const char *name, unsigned int count,
	      int (*begun)(void *opaque, const char *name), void *opaque)
{
	static struct run r[16];	/* on their way at the same time */
	unsigned int n, i;
	int status = VMM_OK, ret;

	while (count && !status) {
		for (n = 0; n < count && n < sizeof(r) / sizeof(r[0]) && !status; n++)
			status = begin_fork(&r[n], t, what, name);
		for (i = 0; i < n; i++) {
			/* The last one may not have come so far. */
			ret = r[i].pid > 0 ? wait_begun(&r[i]) : VMM_ERR_SETUP;
			if (!ret)
				status = begun(opaque, r[i].name) ?: status;
			else if (!status)
				status = ret;
			run_free(&r[i], ret);
		}
		count -= n;
	}
	return status;
}

int cmd_run(const struct cli_cmd *cmd, int argc, char **argv)
{
	return run(cmd, argc, argv, false);
}

int cmd_restore(const struct cli_cmd *cmd, int argc, char **argv)
{
	return run(cmd, argc, argv, true);
}
