// SPDX-License-Identifier: GPL-2.0-only
/* The guest's file systems stand still while a snapshot of its disks is made. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent.h"
#include "cli.h"
#include "control.h"
#include "quiesce.h"
#include "rundir.h"

#define SYNC_MS		10000
#define PAUSE_MS	200

int quiesce_freeze_ms = 60000, quiesce_thaw_ms = 10000, quiesce_end_ms = 30000;

static enum quiesce_guest look(const char *guest)
{
	char *dir = rundir_find(guest);
	enum quiesce_guest is = dir ? QUIESCE_STILL : QUIESCE_GONE;
	struct control *c = dir ? control_open(guest) : NULL;
	struct json_object *ret = NULL;
	const char *status;

	free(dir);
	if (c && !control_call(c, "query-status", NULL, &ret)) {
		status = json_object_get_string(json_object_object_get(ret, "status"));
		is = status && !strcmp(status, "running") ? QUIESCE_RUNS : QUIESCE_STILL;
	}
	json_object_put(ret);
	control_close(c);
	return is;
}

enum quiesce_guest (*quiesce_state)(const char *guest) = look;

/* ------------------------------------------------------------ the other process */

/* "": it is done. Whether somebody hears it or not. */
static void report(int sock, const char *why)
{
	send(sock, why, strlen(why) + 1, MSG_NOSIGNAL);
}

static void pause_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* Again and again: a guest must not be left without its disks. "" or why the agent will not do it. */
static const char *thaw(struct agent *a, const char *guest)
{
	enum quiesce_guest is;

	a->timeout_ms = quiesce_thaw_ms;
	while ((is = quiesce_state(guest)) != QUIESCE_GONE) {
		if (is == QUIESCE_RUNS && !agent_call(a, "guest-fsfreeze-thaw", NULL, NULL))
			return "";
		if (is == QUIESCE_RUNS && a->error == AGENT_REFUSED)
			return a->text;
		/* What one that stands still is sent would only be kept for it. */
		agent_rest(a);
		pause_ms(PAUSE_MS);
	}
	return "";
}

static int freeze(struct agent *a)
{
	struct json_object *ret = NULL;
	int err;

	a->timeout_ms = quiesce_freeze_ms;
	err = agent_call(a, "guest-fsfreeze-freeze", NULL, &ret);
	if (!err && !json_object_is_type(ret, json_type_int)) {
		a->error = AGENT_BAD;
		snprintf(a->text, sizeof(a->text), "the agent's answer to guest-fsfreeze-freeze is not what its protocol says");
		err = -1;
	}
	json_object_put(ret);
	return err;
}

static void guard(int sock, const char *guest, const char *agent_sock)
{
	struct agent *a = agent_open(agent_sock, SYNC_MS, -1);
	char c;

	if (!a || a->error != AGENT_OK) {
		report(sock, a ? a->text : "out of memory");
		return;
	}
	if (freeze(a)) {
		/* It may have begun, or do it later: what it is sent it does in that order. */
		report(sock, a->text);
		if (a->error != AGENT_REFUSED)
			thaw(a, guest);
		return;
	}
	report(sock, "");
	while (recv(sock, &c, 1, 0) < 0 && errno == EINTR)
		;
	report(sock, thaw(a, guest));
}

/* Nothing of ours stays with it: no lock, no terminal, no pipe that somebody reads. */
static void __attribute__((noreturn)) become_guard(int sock, const char *guest, const char *agent_sock)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		_exit(1);
	if (sock != 3 && dup2(sock, 3) < 0)
		_exit(1);
	syscall(SYS_close_range, 4, ~0U, 0);
	guard(3, guest, agent_sock);
	_exit(0);
}

/* ------------------------------------------------------------------------ ours */

/* What it reports. False: nothing in this time (ms; -1: any), or it is gone. */
static bool hear(struct quiesce *q, int ms, char *text, size_t size)
{
	struct pollfd p = { .fd = q->sock, .events = POLLIN };
	ssize_t n;

	while ((n = poll(&p, 1, ms)) < 0 && errno == EINTR)
		;
	n = n > 0 ? recv(q->sock, text, size - 1, 0) : 0;
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static void forget(struct quiesce *q, bool ended)
{
	if (q->sock >= 0)
		close(q->sock);
	while (ended && waitpid(q->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*q = (struct quiesce){ .sock = -1 };
}

int quiesce_begin(struct quiesce *q, const char *guest, const char *agent_sock)
{
	char text[400];
	int pair[2];

	*q = (struct quiesce){ .sock = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		cli_error("%s: %s", guest, strerror(errno));
		return -1;
	}
	q->pid = fork();
	if (!q->pid)
		become_guard(pair[1], guest, agent_sock);
	close(pair[1]);
	q->sock = pair[0];
	if (q->pid < 0)
		snprintf(text, sizeof(text), "%s", strerror(errno));
	else if (!hear(q, -1, text, sizeof(text)))
		snprintf(text, sizeof(text), "the process that was to do it was killed");
	else if (!*text)
		return 0;
	cli_error("%s: its file systems cannot be frozen: %s", guest, text);
	/* It may have something to thaw yet. */
	forget(q, false);
	return -1;
}

int quiesce_end(struct quiesce *q, const char *guest)
{
	char text[400];
	bool heard;

	if (!q->pid)
		return 0;
	shutdown(q->sock, SHUT_WR);
	heard = hear(q, quiesce_end_ms, text, sizeof(text));
	if (!heard)
		cli_error("%s: its file systems were frozen for the snapshot, and its agent does not answer; hvx goes on trying to thaw them, or `hvx reset %s`",
			  guest, guest);
	else if (*text)
		cli_error("%s: its file systems were frozen for the snapshot, and its agent will not thaw them: %s", guest, text);
	forget(q, heard);
	return heard && !*text ? 0 : -1;
}
