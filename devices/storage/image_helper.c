// SPDX-License-Identifier: GPL-2.0-only
/*
 * hvx-image-qsd: starts and ends the qemu-storage-daemon of one disk; see foreign.h.
 *
 * The daemon interprets an image that may come from anywhere, so it gets what it needs and
 * no more: files by Landlock (the images of this disk, its own program, libraries to
 * read), no sockets but the one that it listens on, no other programs, no new privileges.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "devices/storage/foreign.h"
#include "devices/storage/image_qmp.h"
#include "vmm/fdpass.h"
#include "filters.h"

#define MAX_CHAIN	24
#define MAX_ARGS	(3 * MAX_CHAIN + 20)
#define END_MS		20000	/* what the daemon may take to write what it has; then it is killed */
#define LISTEN_FD	3	/* the daemon's, and so is */
#define MONITOR_FD	4
#define MAX_QUEUE	128

struct file {
	const char *path;
	enum disk_format format;
};

static struct {
	struct file file[MAX_CHAIN];	/* the uppermost first */
	unsigned int nr;
	bool block, readonly, direct, no_flush, discard, zeroes;
	bool write;		/* the daemon may write to it now */
	char daemon[256];
	pid_t pid;		/* 0: there is none */
	int listen;		/* its socket, as long as it has not been started */
	int where;		/* the way there, O_PATH */
	int said;		/* its standard error */
	int children;		/* signalfd */
	unsigned int export;	/* number of what it serves now */
	char text[FOREIGN_ANSWER - 1];	/* what it said last */
	size_t len;
} q = { .listen = -1, .where = -1, .said = -1 };

static bool wait_monitor(void);
static struct image_qmp monitor = { .sock = -1, .wait = wait_monitor };

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt, ...)
{
	va_list ap;

	fputs(FOREIGN_HELPER ": ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/* Why an order failed. */
static bool __attribute__((format(printf, 1, 2))) fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(q.text, sizeof(q.text), fmt, ap);
	va_end(ap);
	return false;
}

/* --------------------------------------------------------------- what it is told */

static void add(struct json_object *o, const char *key, const char *s)
{
	json_object_object_add(o, key, s ? json_object_new_string(s) : NULL);
}

static void add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

static void argument(char **argv, unsigned int *n, const char *option, struct json_object *o)
{
	argv[(*n)++] = strdup(option);
	argv[(*n)++] = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

/* A file and what is in it. All that an image could name itself is given: it opens nothing. */
static void add_file(char **argv, unsigned int *n, unsigned int i, enum foreign_order how)
{
	struct json_object *o = json_object_new_object(), *cache = json_object_new_object();
	bool look = how == FOREIGN_LOOK, readonly = !q.write || i, unmap = !i && (q.discard || how == FOREIGN_MERGE);
	char file[16], node[16], below[16];

	snprintf(file, sizeof(file), "file%u", i);
	snprintf(node, sizeof(node), "node%u", i);
	snprintf(below, sizeof(below), "node%u", i + 1);
	add(o, "driver", q.block && !i ? "host_device" : "file");
	add(o, "node-name", file);
	add(o, "filename", q.file[i].path);
	add(o, "aio", "threads");
	add_bool(o, "read-only", readonly);
	add_bool(o, "auto-read-only", false);
	add(o, "discard", unmap ? "unmap" : "ignore");
	add_bool(cache, "direct", q.direct && !look);
	add_bool(cache, "no-flush", q.no_flush);
	json_object_object_add(o, "cache", cache);
	if (look)
		add_bool(o, "force-share", true);
	argument(argv, n, "--blockdev", o);

	o = json_object_new_object();
	add(o, "driver", foreign_name(q.file[i].format));
	add(o, "node-name", node);
	add(o, "file", file);
	add_bool(o, "read-only", readonly);
	add(o, "discard", unmap ? "unmap" : "ignore");
	if (q.zeroes && !readonly)
		add(o, "detect-zeroes", q.discard ? "unmap" : "on");
	if (look)
		add_bool(o, "force-share", true);
	if (q.file[i].format == DISK_QCOW2 || q.file[i].format == DISK_QED || q.file[i].format == DISK_VMDK)
		add(o, "backing", i + 1 < q.nr ? below : NULL);
	argument(argv, n, "--blockdev", o);
}

/* What the daemon serves: a new one each time, as the last may not have gone quite. */
static struct json_object *new_export(bool write)
{
	struct json_object *o = json_object_new_object();
	char id[16];

	snprintf(id, sizeof(id), "export%u", ++q.export);
	add(o, "type", "nbd");
	add(o, "id", id);
	add(o, "node-name", "node0");
	add(o, "name", FOREIGN_EXPORT);
	add_bool(o, "writable", write);
	return o;
}

static void arguments(char **argv, enum foreign_order how)
{
	struct json_object *o = json_object_new_object(), *addr = json_object_new_object();
	unsigned int n = 0, i;

	argv[n++] = strdup("qemu-storage-daemon");
	for (i = q.nr; i--;)
		add_file(argv, &n, i, how);
	add(addr, "type", "fd");
	add(addr, "str", "3");
	json_object_object_add(o, "addr", addr);
	argument(argv, &n, "--nbd-server", o);
	argument(argv, &n, "--export", new_export(q.write));
	argv[n++] = strdup("--chardev");
	argv[n++] = strdup("socket,id=monitor,fd=4");
	argv[n++] = strdup("--monitor");
	argv[n++] = strdup("chardev=monitor");
	argv[n] = NULL;
}

/* ------------------------------------------------------------- what it may do */

#define FS_READ		(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static void allow_path(int set, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = access, .parent_fd = open(path, O_PATH | O_CLOEXEC),
	};

	if (rule.parent_fd < 0)
		return;
	/* Rights that only folders have are refused for files. */
	if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0)) {
		rule.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
		syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	}
	close(rule.parent_fd);
}

static void restrict_files(bool write)
{
	static const char *const readable[] = {
		"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/gnutls", "/etc/crypto-policies",
		"/etc/ssl/openssl.cnf", "/proc", "/sys", "/dev/urandom", "/dev/random", "/dev/zero",
	};
	struct landlock_ruleset_attr attr = { .handled_access_fs = (1ULL << 13) - 1 };
	const uint64_t rw = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
	unsigned int i;
	int set = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);

	if (set < 0)
		return;		/* an older kernel: system-call filter, permissions, and a look at the header remain */
	for (i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		allow_path(set, readable[i], FS_READ);
	/* Itself, and what loads it: no other program can be started. */
	allow_path(set, q.daemon, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
	allow_path(set, "/lib64/ld-linux-x86-64.so.2", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
	allow_path(set, "/dev/null", rw);
	for (i = 0; i < q.nr; i++)
		allow_path(set, q.file[i].path, !i && write ? rw : LANDLOCK_ACCESS_FS_READ_FILE);
	if (syscall(SYS_landlock_restrict_self, set, 0))
		die("Landlock: %s", strerror(errno));
	close(set);
}

static void restrict_calls(void)
{
	static const struct sock_fprog prog = {
		sizeof(filter_daemon) / sizeof(filter_daemon[0]), (struct sock_filter *)filter_daemon,
	};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		die("system-call filter: %s", strerror(errno));
}

/* Root's right to files of other users stays: Landlock says which. */
static void drop_capabilities(void)
{
	cap_value_t keep[] = { CAP_DAC_OVERRIDE }, c;
	cap_t now = cap_get_proc(), want = cap_init();
	cap_flag_value_t has = CAP_CLEAR;

	if (!now || !want || cap_get_flag(now, CAP_DAC_OVERRIDE, CAP_PERMITTED, &has))
		die("capabilities: %s", strerror(errno));
	for (c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++)
		if (c != CAP_DAC_OVERRIDE || has != CAP_SET)
			prctl(PR_CAPBSET_DROP, c);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (has == CAP_SET) {
		cap_set_flag(want, CAP_PERMITTED, 1, keep, CAP_SET);
		cap_set_flag(want, CAP_EFFECTIVE, 1, keep, CAP_SET);
	}
	if (cap_set_proc(want))
		die("capabilities: %s", strerror(errno));
	cap_free(now);
	cap_free(want);
}

static void __attribute__((noreturn)) become_daemon(char **argv, pid_t parent, int said, int orders, bool write)
{
	static char *const env[] = { "PATH=/usr/bin:/bin", "LC_ALL=C", NULL };
	struct rlimit none = { 0, 0 };
	int null = open("/dev/null", O_RDWR);
	sigset_t set;

	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(said, 2) < 0 || dup2(q.listen, LISTEN_FD) < 0 ||
	    dup2(orders, MONITOR_FD) < 0)
		die("%s", strerror(errno));
	syscall(SYS_close_range, MONITOR_FD + 1, ~0U, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	setrlimit(RLIMIT_CORE, &none);
	drop_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs: %s", strerror(errno));
	restrict_files(write);
	restrict_calls();
	execve(q.daemon, argv, env);
	die("cannot run %s: %s", q.daemon, strerror(errno));
}

/* ------------------------------------------------------------ its life */

/* What it says: kept for an answer, and told on. */
static void listen_to(bool tell)
{
	char buf[512];
	ssize_t n;

	while (q.said >= 0 && (n = read(q.said, buf, sizeof(buf))) != 0) {
		size_t keep;

		if (n < 0)
			return;
		keep = (size_t)n < sizeof(q.text) - 1 - q.len ? (size_t)n : sizeof(q.text) - 1 - q.len;
		memcpy(q.text + q.len, buf, keep);
		q.len += keep;
		if (tell && fwrite(buf, 1, (size_t)n, stderr) != (size_t)n)
			return;
	}
}

static void forget(void)
{
	if (q.where >= 0)
		close(q.where);
	if (q.said >= 0)
		close(q.said);
	if (monitor.sock >= 0)
		close(monitor.sock);
	q.where = q.said = monitor.sock = -1;
	monitor.greeted = false;
	monitor.len = 0;
	q.pid = 0;
}

/* A socket without a name. */
static bool make_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/hvx-image-XXXXXX";
	bool ok;

	if (!mkdtemp(dir))
		return fail("cannot make a folder in /tmp: %s", strerror(errno));
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/nbd", dir);
	q.listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ok = q.listen >= 0 && !bind(q.listen, (struct sockaddr *)&a, sizeof(a)) && !listen(q.listen, MAX_QUEUE);
	if (ok)
		q.where = open(a.sun_path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	ok = ok && q.where >= 0;
	if (!ok) {
		fail("socket: %s", strerror(errno));
		if (q.listen >= 0)
			close(q.listen);
		q.listen = -1;
	}
	unlink(a.sun_path);
	rmdir(dir);
	return ok;
}

static int reach(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", q.where);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		fail("no connection to the storage daemon: %s", strerror(errno));
	return fd;
}

static bool check_files(bool write)
{
	char buf[600];

	for (unsigned int i = 0; i < q.nr; i++) {
		bool rw = !i && write;
		int fd = open(q.file[i].path, (rw ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		const char *why;

		if (fd < 0)
			return fail("cannot open '%s': %s%s", q.file[i].path, strerror(errno), errno == ENOENT ?
				    "; create it, for example with 'qemu-img create'" : rw && (errno == EACCES || errno == EROFS) ?
				    "; give yourself write permission, or add <readonly/> or <transient/>" : "");
		why = foreign_check(fd, q.file[i].format, i + 1 < q.nr, rw, buf, sizeof(buf));
		close(fd);
		if (why)
			return fail("'%s': %s", q.file[i].path, why);
	}
	return true;
}

/* The daemon ends by itself where it is wanted no more, and has written all then. */
static bool end_daemon(void)
{
	struct pollfd p = { .fd = q.children, .events = POLLIN };
	struct signalfd_siginfo si;
	int status = 0, waits = 0;

	if (!q.pid)
		return true;
	kill(q.pid, SIGTERM);
	kill(q.pid, SIGCONT);	/* somebody may have stopped it */
	while (waitpid(q.pid, &status, WNOHANG) == 0) {
		if (poll(&p, 1, END_MS) == 1) {
			if (read(q.children, &si, sizeof(si)) < 0)
				break;
		} else if (!waits++) {
			kill(q.pid, SIGKILL);
		} else {
			break;
		}
	}
	listen_to(true);
	forget();
	if (waits)
		return fail("the storage daemon did not write its data in time and was killed");
	return true;
}

/* It is there when it greets the first who comes; or it says why not, and ends. */
static bool wait_ready(int conn)
{
	char c;

	for (;;) {
		struct pollfd p[] = { { .fd = conn, .events = POLLIN }, { .fd = q.said, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return fail("poll: %s", strerror(errno));
		listen_to(false);
		if (p[0].revents) {
			if (recv(conn, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
				return true;
			waitpid(q.pid, NULL, 0);
			listen_to(false);
			return false;
		}
	}
}

/* Of what it said, its last line, without its own name. */
static void last_line(void)
{
	static const char in_use[] = "lock\n";
	char *line = q.text, *end;

	q.text[q.len] = '\0';
	if (strstr(q.text, " lock") && (strstr(q.text, "another process") || strstr(q.text, in_use))) {
		fail("it is in use by another virtual machine or program; stop that one");
		return;
	}
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	if (!strncmp(line, "qemu-storage-daemon: ", 21))
		memmove(line, line + 21, strlen(line + 21) + 1);
	end = strstr(line, "}: ");
	if (!strncmp(line, "--blockdev", 10) && end)
		memmove(line, end + 3, strlen(end + 3) + 1);
	if (!*line)
		fail("%s ended without a word", q.daemon);
}

static int start_daemon(enum foreign_order how)
{
	bool write = how == FOREIGN_MERGE || (!q.readonly && how == FOREIGN_OPEN);
	char *argv[MAX_ARGS] = { NULL };
	int pipefd[2] = { -1, -1 }, orders[2] = { -1, -1 }, conn = -1;
	pid_t self = getpid();
	unsigned int i;

	if (q.pid) {
		fail("the image is open");
		return -1;
	}
	q.len = 0;
	q.text[0] = '\0';
	q.write = write;
	if (!check_files(write) || !make_socket())
		return -1;
	conn = reach();
	if (conn < 0 || pipe2(pipefd, O_CLOEXEC | O_NONBLOCK) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, orders)) {
		q.said = pipefd[0];
		if (conn >= 0)
			close(conn);
		if (pipefd[1] >= 0)
			close(pipefd[1]);
		forget();
		close(q.listen);
		return -1;
	}
	arguments(argv, how);
	q.said = pipefd[0];
	monitor.sock = orders[0];
	q.pid = fork();
	if (!q.pid)
		become_daemon(argv, self, pipefd[1], orders[1], write);
	close(pipefd[1]);
	close(orders[1]);
	/* Only it has the socket now: when it goes, so do all connections. */
	close(q.listen);
	for (i = 0; argv[i]; i++)
		free(argv[i]);
	if (q.pid > 0 && wait_ready(conn)) {
		q.len = 0;
		return conn;
	}
	last_line();
	forget();
	close(conn);
	return -1;
}

/* ---------------------------------------------------------------- another size */

/* It says something; or false: it, or who gives orders, is gone. Whatever stops it is undone. */
static bool wait_monitor(void)
{
	struct pollfd p[] = {
		{ .fd = monitor.sock, .events = POLLIN }, { .fd = FOREIGN_FD, .events = POLLIN },
		{ .fd = q.said, .events = POLLIN },
	};
	char order;

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return false;
		if (p[0].revents)
			return true;
		listen_to(true);
		p[2].events = p[2].revents & POLLHUP ? 0 : POLLIN;
		if (!p[1].revents)
			continue;
		if (recv(FOREIGN_FD, &order, 1, MSG_PEEK) != 1)
			return false;
		if (order != FOREIGN_WAKE) {
			p[1].fd = -1;	/* its turn comes */
			continue;
		}
		if (recv(FOREIGN_FD, &order, 1, 0) == 1)
			kill(q.pid, SIGCONT);
	}
}

static bool resize_node(uint64_t size, char *why, size_t len)
{
	struct json_object *o = json_object_new_object();

	add(o, "node-name", "node0");
	json_object_object_add(o, "size", json_object_new_int64((int64_t)size));
	return image_qmp_call(&monitor, "block_resize", o, NULL, why, len);
}

/*
 * What is served has the size that it had when it began, and nothing that is served gets
 * another one: so it ends, and begins anew. The image stays open, and ours, meanwhile.
 */
static int resize(uint64_t size)
{
	struct json_object *o = json_object_new_object();
	char why[sizeof(q.text)] = "", id[16];
	bool ok;

	snprintf(id, sizeof(id), "export%u", q.export);
	add(o, "id", id);
	add(o, "mode", "hard");
	if (!image_qmp_call(&monitor, "block-export-del", o, "BLOCK_EXPORT_DELETED", why, sizeof(why))) {
		fail("%s", why);
		return -1;
	}
	ok = resize_node(size, why, sizeof(why));
	if (!image_qmp_call(&monitor, "block-export-add", new_export(true), NULL, q.text, sizeof(q.text)))
		return -1;
	if (ok)
		return reach();
	fail("%s", why);
	return -1;
}

/* ---------------------------------------------------------------- orders */

static void answer(bool ok, int fd)
{
	char text[FOREIGN_ANSWER] = { ok ? FOREIGN_OK : FOREIGN_ERROR };
	size_t len = 1;

	if (!ok) {
		snprintf(text + 1, sizeof(text) - 1, "%s", q.text);
		len += strlen(text + 1);
	}
	fd_send(FOREIGN_FD, text, len, fd, 0);
	if (fd >= 0)
		close(fd);
}

/* Whoever may write to the image has sent it: it need not be who gives the orders. */
static bool may_write(int image)
{
	struct stat have, want;
	int flags = image < 0 ? -1 : fcntl(image, F_GETFL);

	if (flags >= 0 && (flags & O_ACCMODE) == O_RDWR && !fstat(image, &have) && !stat(q.file[0].path, &want) &&
	    have.st_dev == want.st_dev && have.st_ino == want.st_ino)
		return true;
	return fail("'%s' was not sent open for writing", q.file[0].path);
}

/* False: whoever gives orders is gone. */
static bool take_order(void)
{
	char order[1 + sizeof(uint64_t)];
	int fd = -1, with;
	ssize_t n = fd_recv(FOREIGN_FD, order, sizeof(order), &with, 0);
	uint64_t size;
	bool may = n == 1 && order[0] == FOREIGN_MERGE && may_write(with);

	if (with >= 0)
		close(with);
	if (n < 1 || n != (order[0] == FOREIGN_RESIZE ? (ssize_t)sizeof(order) : 1))
		return false;
	switch (order[0]) {
	case FOREIGN_OPEN:
	case FOREIGN_LOOK:
	case FOREIGN_READ:
		fd = start_daemon((enum foreign_order)order[0]);
		answer(fd >= 0, fd);
		return true;
	case FOREIGN_CONNECT:
		if (q.pid)
			fd = reach();
		else
			fail("the storage daemon is not there");
		answer(fd >= 0, fd);
		return true;
	case FOREIGN_MERGE:
		fd = may ? start_daemon(FOREIGN_MERGE) : -1;
		answer(fd >= 0, fd);
		return true;
	case FOREIGN_RESIZE:
		memcpy(&size, order + 1, sizeof(size));
		if (!q.pid || !q.write)
			fail("the storage daemon is not there, or may only read");
		else
			fd = resize(size);
		answer(fd >= 0, fd);
		return true;
	case FOREIGN_CLOSE:
		answer(end_daemon(), -1);
		return true;
	case FOREIGN_WAKE:
		if (q.pid)
			kill(q.pid, SIGCONT);
		return true;
	}
	return false;
}

static void daemon_ended(void)
{
	struct signalfd_siginfo si;
	int status;

	if (read(q.children, &si, sizeof(si)) < 0 || !q.pid || waitpid(q.pid, &status, WNOHANG) != q.pid)
		return;
	listen_to(true);
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: '%s': the storage daemon was ended by signal %d (%s)\n", FOREIGN_HELPER,
			q.file[0].path, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		fprintf(stderr, "%s: '%s': the storage daemon ended with status %d\n", FOREIGN_HELPER,
			q.file[0].path, WEXITSTATUS(status));
	forget();
}

static void run(void)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = FOREIGN_FD, .events = POLLIN }, { .fd = q.children, .events = POLLIN },
			{ .fd = q.said, .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		if (p[2].revents) {
			q.len = 0;
			listen_to(true);
			if (p[2].revents & POLLHUP && !(p[2].revents & POLLIN)) {
				close(q.said);
				q.said = -1;
			}
		}
		if (p[1].revents)
			daemon_ended();
		if (p[0].revents && !take_order())
			break;
	}
	end_daemon();
}

/* ------------------------------------------------------------------ main */

static void find_daemon(void)
{
	static const char *const dirs[] = { "/usr/bin", "/usr/local/bin", "/usr/libexec" };

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(q.daemon, sizeof(q.daemon), "%s/qemu-storage-daemon", dirs[i]);
		if (!access(q.daemon, X_OK))
			return;
	}
	q.daemon[0] = '\0';
}

/* FORMAT:PATH */
static void add_image(char *arg)
{
	char *colon = strchr(arg, ':');
	struct file *f = &q.file[q.nr];

	if (!colon || q.nr == MAX_CHAIN)
		die("'%s' is not FORMAT:PATH, or there are more than %d", arg, MAX_CHAIN);
	*colon = '\0';
	f->path = colon + 1;
	if (!foreign_format(arg, &f->format))
		die("'%s' is not a format", arg);
	q.nr++;
}

static void options(int argc, char **argv)
{
	static const struct option list[] = {
		{ "image", required_argument, NULL, 'i' }, { "block", no_argument, NULL, 'b' },
		{ "readonly", no_argument, NULL, 'r' }, { "direct", no_argument, NULL, 'd' },
		{ "no-flush", no_argument, NULL, 'f' }, { "discard", no_argument, NULL, 'u' },
		{ "detect-zeroes", no_argument, NULL, 'z' }, { NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", list, NULL)) != -1) {
		switch (c) {
		case 'i':
			add_image(optarg);
			break;
		case 'b':
			q.block = true;
			break;
		case 'r':
			q.readonly = true;
			break;
		case 'd':
			q.direct = true;
			break;
		case 'f':
			q.no_flush = true;
			break;
		case 'u':
			q.discard = true;
			break;
		case 'z':
			q.zeroes = true;
			break;
		default:
			exit(1);
		}
	}
	if (!q.nr || optind != argc)
		die("--image FORMAT:PATH is wanted; this program is started by hvx");
}

int main(int argc, char **argv)
{
	sigset_t set;

	options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_DUMPABLE, 0);
	/* Its orders are not the daemon's, nor anybody's else. */
	if (fcntl(FOREIGN_FD, F_SETFD, FD_CLOEXEC))
		die("descriptor %d is not a socket; this program is started by hvx", FOREIGN_FD);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	q.children = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (q.children < 0)
		die("signalfd: %s", strerror(errno));
	find_daemon();
	if (!q.daemon[0]) {
		fail("qemu-storage-daemon is not installed, and images of other formats than raw need it (Debian: apt install qemu-system-common); or convert it with 'qemu-img convert -O raw IN OUT'");
		answer(false, -1);
		return 1;
	}
	run();
	return 0;
}
