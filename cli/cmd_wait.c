// SPDX-License-Identifier: GPL-2.0-only
/* hvx wait: until a guest runs, is off, says something, or its agent answers. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "conn.h"
#include "exec.h"
#include "guest.h"
#include "rundir.h"

enum { W_AGENT, W_OFF, W_RUNNING, W_TEXT, W_TIMEOUT, W_NR };
enum outcome { MET, TIME_UP, ENDED, FAILED };

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* deadline: of now_ms(), 0: none. */
static bool late(int64_t deadline)
{
	return deadline && now_ms() >= deadline;
}

static enum outcome wait_off(const char *name, int64_t deadline)
{
	char *dir;

	while ((dir = rundir_find(name))) {
		free(dir);
		if (late(deadline))
			return TIME_UP;
		poll(NULL, 0, 50);
	}
	return MET;
}

/* A guest that has not been started yet may still be. */
static enum outcome wait_running(const char *name, int64_t deadline)
{
	struct json_object *ret;

	for (;;) {
		struct control *c = control_open(name);
		bool runs = false;

		if (c && !control_call(c, "query-status", NULL, &ret)) {
			runs = json_object_get_boolean(json_object_object_get(ret, "running"));
			json_object_put(ret);
		}
		control_close(c);
		if (runs)
			return MET;
		if (late(deadline))
			return TIME_UP;
		poll(NULL, 0, 50);
	}
}

/* Is text in what came? The end of one read and the beginning of the next are joined. */
static enum outcome look_for(int fd, const char *text, int64_t deadline)
{
	size_t want = strlen(text), len = 0;
	char buf[65536];

	for (;;) {
		int64_t left = deadline ? deadline - now_ms() : -1;
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, deadline ? left < 0 ? 0 : (int)left : -1) == 0)
			return TIME_UP;
		n = recv(fd, buf + len, sizeof(buf) - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ENDED;
		len += (size_t)n;
		if (memmem(buf, len, text, want))
			return MET;
		if (len >= want) {
			memmove(buf, buf + len - (want - 1), want - 1);
			len = want - 1;
		}
	}
}

static enum outcome wait_text(const char *name, const char *text, int64_t deadline)
{
	enum outcome o;
	struct control *c;
	char *dir;
	int fd;

	/* Where the control socket is, the consoles are. */
	while (!(c = control_open(name))) {
		if (late(deadline))
			return TIME_UP;
		poll(NULL, 0, 50);
	}
	control_close(c);
	dir = rundir_find(name);
	if (!dir)
		return ENDED;
	fd = console_connect(name, dir, NULL, 'r', true, NULL);
	free(dir);
	if (fd < 0)
		return FAILED;
	o = look_for(fd, text, deadline);
	close(fd);
	return o;
}

static enum outcome wait_for(const char *name, const char *const v[], int64_t deadline)
{
	if (v[W_OFF])
		return wait_off(name, deadline);
	if (v[W_RUNNING])
		return wait_running(name, deadline);
	if (v[W_TEXT])
		return wait_text(name, v[W_TEXT], deadline);
	return (enum outcome)agent_wait(name, deadline, -1);	/* 0, 1, 2 */
}

static int cmd_wait(const struct cli_cmd *cmd, int argc, char **argv)
{
	const char *v[W_NR + 1], *name;
	int status = cli_parse(cmd, argc, argv, v, 1, 1);
	int64_t deadline = 0;
	long ms = 0;

	if (status >= 0)
		return status;
	name = argv[optind];
	if (!!v[W_AGENT] + !!v[W_OFF] + !!v[W_RUNNING] + !!v[W_TEXT] != 1) {
		cli_error("wait: one thing to wait for is wanted: --agent, --off, --running or --text");
		return VMM_ERR_USAGE;
	}
	if (v[W_TEXT] && (!*v[W_TEXT] || strlen(v[W_TEXT]) > 1024)) {
		cli_error("wait: --text: 1 to 1024 characters");
		return VMM_ERR_USAGE;
	}
	if (v[W_TIMEOUT] && (ms = cli_seconds(cmd, "timeout", v[W_TIMEOUT])) < 0)
		return VMM_ERR_USAGE;
	if (v[W_TIMEOUT])
		deadline = now_ms() + (ms ?: 1);
	switch (wait_for(name, v, deadline)) {
	case MET:
		return VMM_OK;
	case TIME_UP:
		cli_error("wait: %s: time is up", name);
		return CLI_TIMEOUT;
	case ENDED:
		cli_error("wait: %s has ended", name);
		return VMM_ERR_SETUP;
	case FAILED:
		break;
	}
	return VMM_ERR_SETUP;
}

static const struct cli_cmd wait_verb = {
	.name = "wait", .group = CLI_LOOK, .args = "NAME", .run = cmd_wait,
	.summary = "wait until a guest runs, is off, says something, or its agent answers",
	.help =
"Waits for one of these. Unless it is --off, the guest may still be to be started.\n"
"A text is looked for in what the guest's first console has said, too.\n"
"\n"
"Exit status: 0, 64 bad command line, 65 the guest ended, 124 time is up.\n",
	.opts = OPTS(
		[W_AGENT] = { "agent", 'a', NULL, "until qemu-guest-agent answers" },
		[W_OFF] = { "off", 'o', NULL, "until it is off" },
		[W_RUNNING] = { "running", 'r', NULL, "until it executes instructions" },
		[W_TEXT] = { "text", 'x', "TEXT", "until it has written TEXT to its console" },
		[W_TIMEOUT] = { "timeout", 't', "SEC", "at most this long (default: for ever)" }),
};
CLI_VERB(wait_verb);
