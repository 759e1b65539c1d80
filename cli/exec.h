/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A command in a guest, through its agent, as if it ran here: output while it
 * runs, input, signals, a time limit, its exit code.
 *
 * guest-exec gives output only at the end. So a small shell script in the guest
 * runs the command in a session of its own, with its output going to two files
 * in a folder that is made for it (/tmp, /var/tmp or /run, whichever can be
 * written), which are read as they grow; input takes the same way back. A guest
 * without a POSIX shell gets the command as it is, and its output at the end.
 */
#ifndef HVX_CLI_EXEC_H
#define HVX_CLI_EXEC_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>
#include "agent.h"

/* Exit statuses, as those of docker-run, env(1) and timeout(1). */
#define EXEC_TIMED_OUT	124
#define EXEC_FAILED	125	/* hvx's own failure: nothing is known of the command */
/* 126: the command cannot be executed, 127: not found, 128 + N: ended by signal N */

struct exec_req {
	char *const *argv;	/* NULL-terminated */
	const char *dir;	/* in the guest; NULL: the agent's */
	char *const *env;	/* "VAR=VAL", NULL-terminated; NULL: none */
	int in, out, err;	/* in -1: /dev/null */
	unsigned int timeout_s;	/* 0: none */
	int signals;		/* signalfd, of signals to pass on; -1: none */
	void (*progress)(void *opaque, uint64_t bytes);	/* so many of output, or NULL */
	void (*input)(void *opaque, uint64_t bytes);	/* of input */
	void *opaque;
};

/* The command's exit status, or EXEC_FAILED after a message. */
int exec_run(struct agent *a, const struct exec_req *req);

/* --- a guest without an agent: exec_console.c --- */
struct guest;
/*
 * The same, typed to the shell that waits on the guest's console (device NULL: its first one).
 * Output and errors come together, with whatever else the console shows meanwhile; there is no
 * input; a signal is a key: Ctrl-C, Ctrl-\ for SIGQUIT.
 */
int exec_console(const struct guest *g, const char *device, const struct exec_req *req);
/* A line for a POSIX shell that does what req says. *bad: it does not fit, or cannot be typed and is to be. */
void exec_quote(const struct exec_req *req, bool typed, char *text, size_t size, bool *bad);

/* --- one with an SSH server on its vsock: exec_ssh.c --- */
/* The same, by ssh(1) to port 22 there, as user (NULL: root). Returns only where that fails. */
int exec_ssh(const struct guest *g, const char *user, const struct exec_req *req);

/* All of it, also where fd does not block. False: nobody reads it any more, or there is no room. */
static inline bool exec_write(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000);
		else if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2: blocked, and read from this descriptor; -1. */
int exec_signals(void);

/*
 * The running guest of that name, with the socket of its agent in *sock (free
 * it); or -1 after a message that says what to do.
 */
int exec_find(const char *verb, const char *vm, char **sock);
/* The agent, answering; NULL after a message. wait_ms: how long it may take. */
struct agent *exec_agent(const char *verb, const char *vm, const char *sock, int wait_ms, int signals);
/*
 * Until the agent of a guest, which need not have been started, answers; deadline
 * as of CLOCK_MONOTONIC in ms, 0: none; stop_fd: as struct agent's. 0, 1: time is up or
 * stopped, 2: the guest has ended.
 */
int agent_wait(const char *vm, int64_t deadline, int stop_fd);

/* --- what verbs that take commands share (cmd_exec.c) --- */
bool variable_ok(const char *s);	/* "VAR=..." */
bool stdin_wanted(void);

#endif
