// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "exec.h"
#include "rundir.h"

#define POLL_MIN_MS	2
#define POLL_MAX_MS	100
#define REST_MS		20	/* a pause this long is for others to use the channel in */
#define KILL_AFTER_MS	5000	/* between SIGTERM and SIGKILL */
#define ARGS_MAX	(96U << 10)	/* bytes: a guest's kernel takes 128 KiB of one argument */
#define DIRECT_REPLY	(48U << 20)	/* guest-exec captures 16 MiB of each stream */

/*
 * In the guest. $1: tag of the folder, $2: 1 where there is input, $3: folder or
 * "", $4: number of VAR=VAL that follow; then the command. The files: i input,
 * x made when i is whole, o output, e errors. The command's shell is set apart
 * by exec, so that no builtin is taken for a program.
 */
static const char script[] =
	"t=$1 i=$2 w=$3 n=$4; shift 4; u=$(umask); umask 077; d=\n"
	"for b in /tmp /var/tmp /run; do\n"
	"	mkdir \"$b/.hvx-$t\" 2>/dev/null && d=$b/.hvx-$t && break\n"
	"done\n"
	"[ \"$d\" ] || { echo 'none of /tmp, /var/tmp, /run can be written' >&2; exit 125; }\n"
	": >\"$d/i\"; : >\"$d/e\"; : >\"$d/o\"\n"
	"umask \"$u\"\n"
	"while [ \"$n\" -gt 0 ]; do export \"$1\"; shift; n=$((n - 1)); done\n"
	"[ \"${HOME+x}\" ] || export HOME=/root\n"
	"[ -z \"$w\" ] || cd \"$w\" 2>>\"$d/e\" || exit 125\n"
	"trap : INT TERM HUP QUIT USR1 USR2\n"
	"if [ \"$i\" = 1 ]; then\n"
	"	mkfifo \"$d/p\" || exit 125\n"
	"	( trap '' INT TERM HUP QUIT USR1 USR2; exec <\"$d/i\" >\"$d/p\"\n"
	"	  while cat; [ ! -e \"$d/x\" ]; do sleep 0.05 2>/dev/null || sleep 1; done; cat ) 2>/dev/null &\n"
	"	f=$!\n"
	"	( exec \"$@\" ) <\"$d/p\" >>\"$d/o\" 2>>\"$d/e\"; s=$?\n"
	"	kill -KILL $f 2>/dev/null\n"
	"else\n"
	"	( exec \"$@\" ) </dev/null >>\"$d/o\" 2>>\"$d/e\"; s=$?\n"
	"fi\n"
	"exit $s\n";

static const char *const bases[] = { "/tmp", "/var/tmp", "/run" };

struct stream {
	int64_t handle;		/* -1: not open yet */
	int to;			/* ours */
};

struct exec {
	struct agent *a;
	const struct exec_req *req;
	char tag[33], *dir;	/* dir: NULL until found */
	int64_t pid;
	bool group;		/* the command has a session of its own */
	struct stream out, err;
	int64_t in;		/* -1: none, or not open yet */
	int from;		/* -1: no more input */
	bool in_ended, timed_out, exited;
	int code;		/* once it has exited */
	char complaint[160];	/* of the script */
	int64_t deadline;	/* of the next step against a command that takes too long; 0: none */
	unsigned int signals;	/* that came */
	uint64_t bytes, bytes_in;
	bool broken_pipe;	/* nobody reads our output */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int agent_failed(const struct agent *a)
{
	cli_error("%s", a->text);
	return -1;
}

/* --- starting --- */

static unsigned int count(char *const *list)
{
	unsigned int n = 0;

	while (list && list[n])
		n++;
	return n;
}

static int start_script(struct exec *x)
{
	const struct exec_req *req = x->req;
	unsigned int nr_env = count(req->env), nr = count(req->argv), n = 0;
	char **argv = calloc(nr_env + nr + 12, sizeof(*argv)), number[16];
	int ret;

	if (!argv)
		return -1;
	snprintf(number, sizeof(number), "%u", nr_env);
	argv[n++] = "setsid";
	argv[n++] = "/bin/sh";
	argv[n++] = "-c";
	argv[n++] = (char *)script;
	argv[n++] = "hvx";
	argv[n++] = x->tag;
	argv[n++] = req->in >= 0 ? "1" : "0";
	argv[n++] = (char *)(req->dir ? req->dir : "");
	argv[n++] = number;
	for (unsigned int i = 0; i < nr_env; i++)
		argv[n++] = req->env[i];
	for (unsigned int i = 0; i < nr; i++)
		argv[n++] = req->argv[i];
	x->group = true;
	ret = agent_exec(x->a, argv, NULL, true, &x->pid);
	if (ret && x->a->error == AGENT_REFUSED) {
		x->group = false;	/* no setsid there: signals reach the shell alone */
		ret = agent_exec(x->a, argv + 1, NULL, true, &x->pid);
	}
	free(argv);
	return ret;
}

static void make_tag(struct exec *x)
{
	unsigned char r[16];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		memcpy(r, &(int64_t[2]){ now_ms(), getpid() }, sizeof(r));
	for (unsigned int i = 0; i < sizeof(r); i++)
		snprintf(x->tag + 2 * i, 3, "%02x", r[i]);
}

/* --- output --- */

static int open_in_dir(struct exec *x, const char *dir, const char *name, const char *mode, int64_t *handle)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return agent_file_open(x->a, path, mode, handle);
}

/* The files are there as soon as the script has made them, "o" last. 1: not yet. */
static int open_files(struct exec *x)
{
	char dir[48];

	for (unsigned int i = 0; i < sizeof(bases) / sizeof(bases[0]) && !x->dir; i++) {
		snprintf(dir, sizeof(dir), "%s/.hvx-%s", bases[i], x->tag);
		if (!open_in_dir(x, dir, "o", "r", &x->out.handle))
			x->dir = strdup(dir);
		else if (x->a->error != AGENT_REFUSED)
			return -1;
	}
	if (!x->dir)
		return 1;
	if (open_in_dir(x, x->dir, "e", "r", &x->err.handle))
		return -1;
	return x->req->in >= 0 ? open_in_dir(x, x->dir, "i", "a", &x->in) : 0;
}

static void write_out(struct exec *x, int fd, const char *buf, size_t len)
{
	if (fd >= 0 && !exec_write(fd, buf, len))
		x->broken_pipe = true;
}

/* Some of what is there. The bytes read, or -1; *more: there may be more already. */
static long copy_stream(struct exec *x, struct stream *s, bool *more)
{
	static char buf[AGENT_CHUNK];
	long n, sum = 0;

	for (unsigned int i = 0; i < 8; i++) {
		n = agent_file_read(x->a, s->handle, buf, sizeof(buf));
		if (n < 0)
			return -1;
		write_out(x, s->to, buf, (size_t)n);
		x->bytes += (uint64_t)n;
		sum += n;
		if (n && x->req->progress)
			x->req->progress(x->req->opaque, x->bytes);
		if (n < (long)sizeof(buf))
			return sum;
	}
	*more = true;
	return sum;
}

/* --- input --- */

static int end_input(struct exec *x)
{
	int64_t mark;

	x->in_ended = true;
	x->from = -1;
	if (agent_file_close(x->a, x->in))
		return -1;
	x->in = -1;
	if (open_in_dir(x, x->dir, "x", "w", &mark))
		return -1;
	return agent_file_close(x->a, mark);
}

static int copy_input(struct exec *x)
{
	static char buf[AGENT_CHUNK];
	ssize_t n = read(x->from, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return end_input(x);
	if (agent_file_write(x->a, x->in, buf, (size_t)n) || agent_file_flush(x->a, x->in))
		return -1;
	x->bytes_in += (uint64_t)n;
	if (x->req->input)
		x->req->input(x->req->opaque, x->bytes_in);
	return 0;
}

/* --- signals and the time limit --- */

static void send_signal(struct exec *x, int sig)
{
	static const char kill_script[] = "kill -s \"$1\" -- \"-$2\" 2>/dev/null || kill -s \"$1\" \"$2\"";
	char pid[24], number[8], *argv[] = { "/bin/sh", "-c", (char *)kill_script, "hvx", number, pid, NULL };
	char *plain[] = { "/bin/sh", "-c", "kill -s \"$1\" \"$2\"", "hvx", number, pid, NULL };
	struct agent_status st;

	snprintf(number, sizeof(number), "%s", sigabbrev_np(sig));
	snprintf(pid, sizeof(pid), "%lld", (long long)x->pid);
	if (!agent_exec_wait(x->a, x->group ? argv : plain, 2000, &st))
		agent_status_free(&st);
}

/* True: go on no more. */
static bool take_signals(struct exec *x)
{
	struct signalfd_siginfo si;

	while (x->req->signals >= 0 && read(x->req->signals, &si, sizeof(si)) == sizeof(si)) {
		if (++x->signals >= 3) {
			send_signal(x, SIGKILL);
			return true;
		}
		send_signal(x, (int)si.ssi_signo);
	}
	return false;
}

static void check_time(struct exec *x)
{
	if (!x->deadline || now_ms() < x->deadline)
		return;
	send_signal(x, x->timed_out ? SIGKILL : SIGTERM);
	x->timed_out = true;
	x->deadline = now_ms() + KILL_AFTER_MS;
}

/* Until something happens here, or it is time to look in the guest again. 1: input is there. */
static int pause_for(struct exec *x, int ms)
{
	struct pollfd p[] = {
		{ .fd = x->req->signals, .events = POLLIN },
		{ .fd = x->dir && !x->in_ended ? x->from : -1, .events = POLLIN },
	};

	if (ms >= REST_MS)
		agent_rest(x->a);
	return poll(p, 2, ms) > 0 && p[1].revents;
}

/* --- the whole --- */

static void clear_away(struct exec *x)
{
	char *argv[] = { "rm", "-rf", x->dir, NULL };
	struct agent_status st;

	if (!x->dir)
		return;
	if (x->out.handle >= 0)
		agent_file_close(x->a, x->out.handle);
	if (x->err.handle >= 0)
		agent_file_close(x->a, x->err.handle);
	if (x->in >= 0)
		agent_file_close(x->a, x->in);
	if (!agent_exec_wait(x->a, argv, 5000, &st))
		agent_status_free(&st);
	free(x->dir);
}

/* Has it ended? -1: the agent failed. What it said last is in the files by then. */
static int ask_status(struct exec *x)
{
	struct agent_status st;

	if (x->exited)
		return 0;
	if (agent_exec_status(x->a, x->pid, &st))
		return -1;
	x->exited = st.exited;
	x->code = st.code;
	if (st.exited && st.err && *st.err)	/* the script itself failed */
		snprintf(x->complaint, sizeof(x->complaint), "%.*s", (int)strcspn(st.err, "\n"), st.err);
	agent_status_free(&st);
	return 0;
}

/* One look at the guest. 1: the command has ended and all its output is here. */
static int look(struct exec *x, bool *active)
{
	bool more = false;
	long out, err;

	if (ask_status(x))
		return -1;
	if (!x->dir) {
		int r = open_files(x);

		if (r < 0)
			return -1;
		if (r && x->exited) {
			cli_error("the guest's shell could not start the command: %s", x->complaint);
			x->code = EXEC_FAILED;
			return 1;
		}
		if (r)
			return 0;
		*active = true;
	}
	out = copy_stream(x, &x->out, &more);
	err = out < 0 ? -1 : copy_stream(x, &x->err, &more);
	if (out < 0 || err < 0)
		return -1;
	*active |= more || out || err;
	return x->exited && !more;
}

static int follow(struct exec *x)
{
	int pause = POLL_MIN_MS, ended;

	for (;;) {
		bool active = false;

		ended = look(x, &active);
		if (ended < 0)
			return x->timed_out ? EXEC_TIMED_OUT : (agent_failed(x->a), EXEC_FAILED);
		if (ended)
			return x->timed_out ? EXEC_TIMED_OUT : x->code;
		if (x->broken_pipe) {
			send_signal(x, SIGPIPE);
			return 128 + SIGPIPE;
		}
		if (take_signals(x))
			return 128 + SIGKILL;
		check_time(x);
		pause = active ? POLL_MIN_MS / 2 : pause * 2 < POLL_MAX_MS ? pause * 2 : POLL_MAX_MS;
		for (unsigned int i = 0; i < 8 && pause_for(x, pause); i++, pause = 0)
			if (copy_input(x)) {
				agent_failed(x->a);
				return EXEC_FAILED;
			}
		pause = pause ? pause : POLL_MIN_MS;
	}
}

/* No shell: Windows, or less. */
static int run_directly(struct exec *x)
{
	struct agent_status st = { 0 };
	int pause = POLL_MIN_MS;

	if (agent_exec(x->a, x->req->argv, count(x->req->env) ? x->req->env : NULL, true, &x->pid)) {
		agent_failed(x->a);
		return x->a->error == AGENT_REFUSED ? 127 : EXEC_FAILED;
	}
	x->a->max_reply = DIRECT_REPLY;
	do {
		agent_status_free(&st);
		pause_for(x, pause);
		pause = pause * 2 < POLL_MAX_MS ? pause * 2 : POLL_MAX_MS;
		if (agent_exec_status(x->a, x->pid, &st))
			return agent_failed(x->a), EXEC_FAILED;
		if (!st.exited && x->deadline && now_ms() > x->deadline)
			return EXEC_TIMED_OUT;
	} while (!st.exited);
	if (st.truncated)
		cli_error("the agent has cut off the command's output at 16 MiB");
	write_out(x, x->req->out, st.out, st.out_len);
	write_out(x, x->req->err, st.err, st.err_len);
	agent_status_free(&st);
	return st.code;
}

int exec_run(struct agent *a, const struct exec_req *req)
{
	struct exec x = {
		.a = a, .req = req, .out = { -1, req->out }, .err = { -1, req->err }, .in = -1, .from = req->in,
	};
	size_t bytes = 0;
	int status;

	for (char *const *s = req->argv; *s; s++)
		bytes += strlen(*s) + 1;
	if (bytes > ARGS_MAX) {
		cli_error("the command line is longer than %u KiB; copy a script into the guest with `hvx cp`", ARGS_MAX >> 10);
		return EXEC_FAILED;
	}
	if (req->timeout_s)
		x.deadline = now_ms() + (int64_t)req->timeout_s * 1000;
	make_tag(&x);
	if (!start_script(&x)) {
		status = follow(&x);
		clear_away(&x);
		return status;
	}
	/* GLib's message names the program that it could not start. */
	if (a->error == AGENT_REFUSED && strstr(a->text, "/bin/sh"))
		return run_directly(&x);
	agent_failed(a);
	return EXEC_FAILED;
}

int exec_signals(void)
{
	static const int wanted[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* --- finding the guest --- */

static const char *other_ways(const char *verb)
{
	return strcmp(verb, "exec") ? "" : "; or, without it, --over console or --over ssh";
}

int exec_find(const char *verb, const char *vm, char **sock)
{
	char *dir = rundir_find(vm);
	int err = 0;

	rundir_sweep();
	*sock = NULL;
	if (!dir) {
		cli_error("%s: no guest called %s is running", verb, vm);
		err = -1;
	} else if (asprintf(sock, "%s/agent.sock", dir) < 0) {
		*sock = NULL;
		err = -1;
	} else if (access(*sock, F_OK)) {
		cli_error("%s: %s has no agent channel; add to its <devices>: <channel type='unix'>"
			  "<target type='virtio' name='org.qemu.guest_agent.0'/></channel>%s", verb, vm, other_ways(verb));
		free(*sock);
		*sock = NULL;
		err = -1;
	}
	free(dir);
	return err;
}

struct agent *exec_agent(const char *verb, const char *vm, const char *sock, int wait_ms, int signals)
{
	struct agent *a = agent_open(sock, wait_ms, signals);

	if (a && a->error == AGENT_OK)
		return a;
	if (a && a->error == AGENT_SILENT)
		cli_error("%s: no agent answers in %s; install the package qemu-guest-agent in the guest and start it "
			  "(systemctl enable --now qemu-guest-agent), or give it time: hvx wait --agent %s%s", verb, vm, vm, other_ways(verb));
	else
		cli_error("%s: %s: %s", verb, vm, a ? a->text : "out of memory");
	agent_close(a);
	return NULL;
}
