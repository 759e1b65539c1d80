// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "copy.h"
#include "exec.h"
#include "throwaway.h"

#define BOOT_TIMEOUT_S	300
#define SHUTDOWN_MS	60000
#define STOP_MS		10000
#define LOG_TAIL	4096U
#define CONSOLE_PIPE	(1 << 20)	/* bytes, while the command runs and nobody reads */

struct run {
	const struct throwaway *t;
	const struct kernel_guest *k;
	const char *name;
	pid_t guest;		/* -1: it has ended */
	int pidfd;		/* of it, to wait with */
	int guest_status;	/* of waitpid() */
	int log;		/* messages of its hvx-vmm */
	int console;		/* a pipe. What nobody reads of it, hvx-vmm drops. */
	size_t tail_len;
	char tail[LOG_TAIL];	/* of the console */
	int signals;
	off_t out_at, err_at;	/* of a kernel guest's files */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------- the guest */

/* In the child: the guest, with the log for a terminal. */
static void __attribute__((noreturn)) be_guest(struct run *r, int console, pid_t parent, int (*start)(void *),
					       void *opaque)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(VMM_KILLED);
	setpgid(0, 0);	/* the terminal's keys are for the command */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close(r->signals);
	close(r->console);
	dup2(null, STDIN_FILENO);
	dup2(r->t->verbose ? STDERR_FILENO : console, STDOUT_FILENO);
	if (!r->t->verbose)
		dup2(r->log, STDERR_FILENO);
	exit(start(opaque));
}

static bool has_ended(struct run *r)
{
	if (r->guest > 0 && waitpid(r->guest, &r->guest_status, WNOHANG) == r->guest)
		r->guest = -1;
	return r->guest < 0;
}

/* Keep the end of what the console shows. */
static void read_console(struct run *r)
{
	char buf[LOG_TAIL];
	ssize_t n;

	while ((n = read(r->console, buf, sizeof(buf))) > 0) {
		size_t keep = LOG_TAIL - (size_t)n;

		if (r->tail_len > keep) {
			memmove(r->tail, r->tail + r->tail_len - keep, keep);
			r->tail_len = keep;
		}
		memcpy(r->tail + r->tail_len, buf, (size_t)n);
		r->tail_len += (size_t)n;
	}
}

static bool wait_end(struct run *r, int ms)
{
	int64_t end = now_ms() + ms;

	while (!has_ended(r) && now_ms() < end) {
		read_console(r);
		poll(&(struct pollfd){ .fd = r->pidfd, .events = POLLIN }, 1, 10);
	}
	return r->guest < 0;
}

static void stop(struct run *r)
{
	if (has_ended(r))
		return;
	kill(r->guest, SIGTERM);
	if (wait_end(r, STOP_MS))
		return;
	kill(r->guest, SIGKILL);	/* hvx-vmm is told of its death */
	wait_end(r, STOP_MS);
}

/* Text of a guest: nothing that a terminal obeys. */
static void print_text(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\n' || text[i] == '\t' || ((unsigned char)text[i] >= ' ' && text[i] != 0x7f))
			fputc(text[i], stderr);
	if (len && text[len - 1] != '\n')
		fputc('\n', stderr);
}

static void show_log(struct run *r)
{
	char buf[LOG_TAIL];
	off_t size = lseek(r->log, 0, SEEK_END);
	ssize_t n = pread(r->log, buf, sizeof(buf), size > (off_t)LOG_TAIL ? size - (off_t)LOG_TAIL : 0);

	if (r->t->verbose)
		return;
	read_console(r);
	if (r->tail_len) {
		cli_error("what the guest's console showed last:");
		print_text(r->tail, r->tail_len);
	}
	if (n > 0)
		print_text(buf, (size_t)n);
}

static int ended_early(struct run *r)
{
	int status = WIFEXITED(r->guest_status) ? WEXITSTATUS(r->guest_status) : VMM_ERR_INTERNAL;

	if (status >= VMM_ERR_USAGE && status <= VMM_ERR_HOST)
		cli_error("run: the guest could not be started (status %d)", status);
	else
		cli_error("run: the guest ended before the command did (status %d: see hvx help run)", status);
	show_log(r);
	return EXEC_FAILED;
}

/* The signal that came, 0: none. */
static int signal_came(struct run *r)
{
	struct signalfd_siginfo si;

	return read(r->signals, &si, sizeof(si)) == sizeof(si) ? (int)si.ssi_signo : 0;
}

/* -------------------------------------------------------- with its agent */

/* 0, or an exit status after a message. */
static int wait_agent(struct run *r)
{
	unsigned int limit = r->t->boot_timeout_s ? r->t->boot_timeout_s : BOOT_TIMEOUT_S;
	int64_t end = now_ms() + (int64_t)limit * 1000, ms = 500;

	/* A guest that cannot be started at all is found out soon, one that boots is left alone. */
	for (;; ms = ms < 16000 ? ms * 2 : ms) {
		int64_t slice = now_ms() + ms;
		int sig;

		read_console(r);
		if (!agent_wait(r->name, slice < end ? slice : end, r->signals))
			return 0;
		if (has_ended(r))
			return ended_early(r);
		sig = signal_came(r);
		if (sig)
			return 128 + sig;
		if (now_ms() >= end) {
			cli_error("run: no agent has answered in the guest for %u s; it needs the package qemu-guest-agent", limit);
			show_log(r);
			return EXEC_FAILED;
		}
	}
}

/* Files that match, a line each. */
static int copy_matches(struct run *r, struct copy *c, const char *glob)
{
	static const char script[] = "cd \"$2\" 2>/dev/null || cd /; IFS=; for f in $1; do [ ! -e \"$f\" ] || case $f in\n"
		"/*) printf '%s\\n' \"$f\";; *) printf '%s\\n' \"$PWD/$f\";; esac; done";
	char *argv[] = { "/bin/sh", "-c", (char *)script, "hvx", (char *)glob, (char *)(r->t->dir ? r->t->dir : "/"), NULL };
	struct agent_status st;
	char *save = NULL;
	int ret = 0, n = 0;

	if (agent_exec_wait(c->a, argv, 60000, &st)) {
		cli_error("run: --artifact %s: %s", glob, c->a->text);
		return -1;
	}
	for (char *line = strtok_r(st.out ? st.out : (char[]){ "" }, "\n", &save); line; line = strtok_r(NULL, "\n", &save), n++)
		ret |= copy_out(c, line, r->t->artifact_dir ? r->t->artifact_dir : ".");
	agent_status_free(&st);
	if (!n)
		cli_error("run: --artifact %s: no such file in the guest", glob);
	return ret;
}

/* The command's own status counts; that something is missing shows only where that is 0. */
static int fetch_artifacts(struct run *r, struct agent *a, int status)
{
	struct copy c = { .a = a, .signals = r->signals, .progress = { .quiet = !isatty(STDERR_FILENO) } };
	int ret = 0;

	for (unsigned int i = 0; i < r->t->nr_artifacts; i++)
		ret |= copy_matches(r, &c, r->t->artifact[i]);
	return ret && !status ? EXEC_FAILED : status;
}

static int run_by_agent(struct run *r)
{
	struct exec_req req = {
		.argv = r->t->argv, .dir = r->t->dir, .env = (char *const *)r->t->env, .timeout_s = r->t->timeout_s,
		.in = stdin_wanted() ? STDIN_FILENO : -1, .out = STDOUT_FILENO, .err = STDERR_FILENO, .signals = r->signals,
	};
	int status = wait_agent(r);
	struct agent *a;
	char *sock;

	if (status)
		return status;
	if (exec_find("run", r->name, &sock))
		return has_ended(r) ? ended_early(r) : EXEC_FAILED;
	a = exec_agent("run", r->name, sock, AGENT_TIMEOUT_MS, r->signals);
	free(sock);
	if (!a)
		return EXEC_FAILED;
	status = exec_run(a, &req);
	if (status == EXEC_FAILED && wait_end(r, 200))
		status = ended_early(r);
	else
		status = fetch_artifacts(r, a, status);
	/* Disks that keep what was written are to be whole. */
	if (!r->t->rm && !has_ended(r) && !agent_shutdown(a, "powerdown"))
		wait_end(r, SHUTDOWN_MS);
	agent_close(a);
	return status;
}

/* ------------------------------------------------- a kernel and a folder */

static void relay(int from, off_t *at, int to)
{
	char buf[16384];
	ssize_t n;

	while ((n = pread(from, buf, sizeof(buf), *at)) > 0) {
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(to, buf + done, (size_t)(n - done));

			if (w < 0 && errno == EAGAIN)
				poll(&(struct pollfd){ .fd = to, .events = POLLOUT }, 1, 1000);
			else if (w < 0 && errno != EINTR)
				break;
			done += w > 0 ? w : 0;
		}
		*at += n;
	}
}

static int run_by_init(struct run *r)
{
	int64_t end = r->t->timeout_s ? now_ms() + (int64_t)r->t->timeout_s * 1000 : INT64_MAX;
	int status;
	bool ended;

	do {
		ended = wait_end(r, 20);
		relay(r->k->out, &r->out_at, STDOUT_FILENO);
		relay(r->k->err, &r->err_at, STDERR_FILENO);
		status = signal_came(r);
		if (status)
			return 128 + status;
		if (!ended && now_ms() >= end)
			return EXEC_TIMED_OUT;
	} while (!ended);
	status = kernel_status(r->k);
	return status < 0 ? ended_early(r) : status;
}

int throwaway_run(const struct throwaway *t, const struct kernel_guest *k, const char *name,
		  int (*start)(void *opaque), void *opaque)
{
	struct run r = { .t = t, .k = k, .name = name, .log = memfd_create("log", MFD_CLOEXEC), .signals = exec_signals() };
	int status, console[2];
	pid_t parent = getpid();

	if (r.log < 0 || r.signals < 0 || pipe2(console, O_CLOEXEC)) {
		cli_error("run: %s", strerror(errno));
		return EXEC_FAILED;
	}
	fcntl(r.log, F_SETFL, O_APPEND);
	r.console = console[0];
	fcntl(r.console, F_SETFL, O_NONBLOCK);
	fcntl(r.console, F_SETPIPE_SZ, CONSOLE_PIPE);
	fflush(stdout);
	r.guest = fork();
	if (!r.guest)
		be_guest(&r, console[1], parent, start, opaque);
	close(console[1]);
	if (r.guest < 0) {
		cli_error("run: fork: %s", strerror(errno));
		return EXEC_FAILED;
	}
	r.pidfd = (int)syscall(SYS_pidfd_open, r.guest, 0);
	status = k->kernel ? run_by_init(&r) : run_by_agent(&r);
	stop(&r);
	close(r.pidfd);
	close(r.log);
	close(r.console);
	close(r.signals);
	return status;
}
