// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loop of a guest in the foreground. The VMM has no terminal of its own,
 * only pipes: it can neither leave the terminal raw nor type into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "terminal.h"

#define FLOW_MAX	4096
#define WRITE_MAX	512	/* what a terminal that polls writable takes without blocking for long */

/* Bytes on their way from one descriptor to another. */
struct flow {
	int from, to;		/* -1: closed */
	bool crlf;		/* lines of messages, on a raw terminal */
	size_t len, done;
	char buf[2 * FLOW_MAX];
};

struct console {
	pid_t vmm;
	int signals, pidfd;
	int escape;
	bool escape_seen;
	unsigned int stops;	/* times it was told to stop */
	struct flow in, out, err;
};

static void flow_init(struct flow *f, int from, int to)
{
	f->from = from;
	f->to = to;
	f->len = f->done = 0;
}

static void say(struct console *c, const char *fmt, ...)
{
	const char *eol = tty_is_raw() ? "\r\n" : "\n";
	char line[512];
	va_list ap;
	int n;

	(void)c;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 2, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	dprintf(STDERR_FILENO, "%s%s%s", tty_is_raw() ? "\r\n" : "", line, eol);
}

/* The VMM ends by itself at the first; a VMM that does not is killed. */
static void stop_vmm(struct console *c)
{
	c->stops++;
	if (c->stops == 3)
		say(c, "hvx: the VMM does not stop; it is killed");
	kill(c->vmm, c->stops < 3 ? SIGTERM : SIGKILL);
}

static void suspend(void)
{
	tty_restore();
	kill(getpid(), SIGSTOP);
	tty_raw(STDIN_FILENO);
}

static void show_help(struct console *c)
{
	say(c, "hvx: after the escape key: q stop the guest, p press its power button,\r\n"
	    "     z suspend `hvx run` (the guest goes on), the escape key itself to send it, ? this");
}

static void escape_command(struct console *c, char key)
{
	if ((unsigned char)key == c->escape) {
		c->in.buf[c->in.len++] = key;
		return;
	}
	switch (key) {
	case 'q':
	case '.':
		stop_vmm(c);
		break;
	case 'p':
		kill(c->vmm, SIGUSR1);
		break;
	case 'z':
		suspend();
		break;
	default:
		show_help(c);
	}
}

static void flow_close(struct flow *f)
{
	if (f->from > STDERR_FILENO)
		close(f->from);
	if (f->to > STDERR_FILENO)
		close(f->to);
	f->from = f->to = -1;
	f->len = f->done = 0;
}

/* The input's end stays closed; what was read before still goes out. */
static void flow_ended(struct flow *f)
{
	if (f->from > STDERR_FILENO)
		close(f->from);
	f->from = -1;
	if (f->done == f->len)
		flow_close(f);
}

static void read_keys(struct console *c)
{
	char keys[256];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {	/* hung up: the guest goes on without input */
		flow_ended(&c->in);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (c->escape_seen) {
			c->escape_seen = false;
			escape_command(c, keys[i]);
		} else if (c->escape && (unsigned char)keys[i] == c->escape) {
			c->escape_seen = true;
		} else {
			c->in.buf[c->in.len++] = keys[i];
		}
	}
}

static void read_flow(struct flow *f)
{
	char *half = f->buf + FLOW_MAX;	/* doubled at worst, into the first half and on */
	ssize_t n = read(f->from, half, f->crlf ? FLOW_MAX / 2 : FLOW_MAX);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		flow_ended(f);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (f->crlf && half[i] == '\n' && tty_is_raw())
			f->buf[f->len++] = '\r';
		f->buf[f->len++] = half[i];
	}
}

static void write_flow(struct flow *f)
{
	size_t left = f->len - f->done;
	ssize_t n = write(f->to, f->buf + f->done, left < WRITE_MAX ? left : WRITE_MAX);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		flow_close(f);
		return;
	}
	f->done += (size_t)n;
	if (f->done < f->len)
		return;
	f->len = f->done = 0;
	if (f->from < 0)
		flow_close(f);
}

static void read_signal(struct console *c)
{
	struct signalfd_siginfo si;

	if (read(c->signals, &si, sizeof(si)) != sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGTSTP:
		suspend();
		break;
	case SIGCONT:	/* perhaps into the foreground */
		tty_raw(STDIN_FILENO);
		break;
	case SIGUSR1:
		kill(c->vmm, SIGUSR1);
		break;
	default:
		stop_vmm(c);
	}
}

static struct pollfd want_read(const struct flow *f)
{
	return (struct pollfd){ .fd = f->len ? -1 : f->from, .events = POLLIN };
}

static struct pollfd want_write(const struct flow *f)
{
	return (struct pollfd){ .fd = f->len ? f->to : -1, .events = POLLOUT };
}

/* One round. False: the VMM has ended. */
static bool step(struct console *c)
{
	struct pollfd p[] = {
		{ .fd = c->pidfd, .events = POLLIN },
		{ .fd = c->signals, .events = POLLIN },
		want_read(&c->in), want_write(&c->in),
		want_read(&c->out), want_write(&c->out),
		want_read(&c->err), want_write(&c->err),
	};

	/* Keys of a terminal that another process has in its foreground are not ours. */
	if (!tty_is_raw())
		p[2].fd = -1;
	if (poll(p, sizeof(p) / sizeof(p[0]), -1) < 0)
		return errno == EINTR;
	if (p[1].revents)
		read_signal(c);
	if (p[2].revents && tty_is_raw())
		read_keys(c);
	if (p[3].revents)
		write_flow(&c->in);
	if (p[4].revents)
		read_flow(&c->out);
	if (p[5].revents)
		write_flow(&c->out);
	if (p[6].revents)
		read_flow(&c->err);
	if (p[7].revents)
		write_flow(&c->err);
	return !p[0].revents;
}

/* What the VMM wrote before it ended. Helpers may still hold the pipe: do not wait for its end. */
static void drain(struct flow *f)
{
	if (f->from >= 0)
		fcntl(f->from, F_SETFL, O_NONBLOCK);
	while (f->to >= 0) {
		struct pollfd p = { .fd = f->to, .events = POLLOUT };

		if (!f->len) {
			if (f->from < 0)
				break;
			read_flow(f);
			if (!f->len)
				break;
		}
		if (poll(&p, 1, 2000) <= 0)	/* a stopped terminal must not keep us */
			break;
		write_flow(f);
	}
	flow_close(f);
}

static int open_signals(void)
{
	sigset_t set;

	console_block_signals(&set);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int console_run(pid_t vmm, int to_vmm, int from_out, int from_err, int escape)
{
	static struct console c;	/* large */
	int status = 0;

	c.vmm = vmm;
	c.escape = escape;
	flow_init(&c.in, to_vmm < 0 ? -1 : STDIN_FILENO, to_vmm);
	flow_init(&c.out, from_out, from_out < 0 ? -1 : STDOUT_FILENO);
	flow_init(&c.err, from_err, from_err < 0 ? -1 : STDERR_FILENO);
	c.err.crlf = true;
	c.signals = open_signals();
	c.pidfd = (int)syscall(SYS_pidfd_open, vmm, 0);
	if (c.signals < 0 || c.pidfd < 0) {
		fprintf(stderr, "hvx: cannot watch the VMM: %s\n", strerror(errno));
		kill(vmm, SIGTERM);
	} else {
		if (to_vmm >= 0) {
			fcntl(to_vmm, F_SETFL, O_NONBLOCK);
			tty_raw(STDIN_FILENO);
		}
		while (step(&c))
			;
	}
	flow_close(&c.in);
	drain(&c.out);
	drain(&c.err);
	tty_restore();
	while (waitpid(vmm, &status, 0) < 0 && errno == EINTR)
		;
	if (c.pidfd >= 0)
		close(c.pidfd);
	if (c.signals >= 0)
		close(c.signals);
	return status;
}
