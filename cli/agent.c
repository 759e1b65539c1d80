// SPDX-License-Identifier: GPL-2.0-only
/* The guest agent's channel: connecting, one command and its answer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "agent.h"
#include "vmm/qmp_frame.h"

#define SENTINEL	'\xff'	/* before the answer of guest-sync-delimited */
#define MAX_DEPTH	16	/* of an answer; those in use need four */
#define STOP_GRACE_MS	2000

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int __attribute__((format(printf, 3, 4))) fail(struct agent *a, enum agent_error error, const char *fmt, ...)
{
	va_list ap;

	a->error = error;
	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
	/* The guest may have written a part of it: nothing that a terminal obeys. */
	for (char *p = a->text; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
			*p = '?';
	return -1;
}

void agent_rest(struct agent *a)
{
	if (a->fd >= 0)
		close(a->fd);
	if (a->lock >= 0)
		close(a->lock);
	a->fd = a->lock = -1;
	a->len = 0;
}

/* What is on its way cannot be told from the answer to come. */
static int give_up(struct agent *a)
{
	agent_rest(a);
	return -1;
}

/* --- bytes --- */

/* Wait for events until end, or not much longer once we are told to stop. 0, or -1 after fail(). */
static int wait_for(struct agent *a, short events, int64_t end)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = a->fd, .events = events }, { .fd = a->stop_fd, .events = POLLIN } };
		int64_t left = (a->stop_at && a->stop_at < end ? a->stop_at : end) - now_ms();

		if (left <= 0)
			return fail(a, a->stop_at ? AGENT_STOPPED : AGENT_SILENT, "the agent in the guest does not answer");
		if (poll(p, a->stop_at ? 1 : 2, left > 60000 ? 60000 : (int)left) < 0 && errno != EINTR)
			return fail(a, AGENT_GONE, "%s", strerror(errno));
		if (p[0].revents)
			return 0;
		if (p[1].revents && !a->stop_at)
			a->stop_at = now_ms() + STOP_GRACE_MS;
	}
}

static int send_all(struct agent *a, const char *data, size_t len, int64_t end)
{
	while (len) {
		ssize_t n = send(a->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (wait_for(a, POLLOUT, end))
				return -1;
			continue;
		}
		if (n < 0)
			return fail(a, AGENT_GONE, "the guest's agent channel was closed: %s", strerror(errno));
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int receive(struct agent *a, int64_t end)
{
	ssize_t n;

	if (a->len == a->room) {
		size_t room = a->room ? a->room * 2 : 16384;
		char *buf;

		if (room > a->max_reply)
			return fail(a, AGENT_BAD, "the agent's answer is longer than %zu KiB", a->max_reply >> 10);
		buf = realloc(a->buf, room);
		if (!buf)
			return fail(a, AGENT_BAD, "out of memory");
		a->buf = buf;
		a->room = room;
	}
	do {
		if (wait_for(a, POLLIN, end))
			return -1;
		n = recv(a->fd, a->buf + a->len, a->room - a->len, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		return fail(a, AGENT_GONE, "the guest's agent channel: %s", strerror(errno));
	if (!n)
		return fail(a, AGENT_GONE, "the guest's agent channel was closed: the guest ended, or another program has the channel");
	a->len += (size_t)n;
	return 0;
}

static void drop(struct agent *a, size_t n)
{
	a->len -= n;
	memmove(a->buf, a->buf + n, a->len);
}

/* An object, of not too many values. False after fail(); the line is gone. */
static bool is_bounded(struct agent *a, size_t len)
{
	struct qmp_frame frame = { 0 };
	enum qmp_frame_result r = qmp_frame(&frame, a->buf, len);

	if (r == FRAME_OBJECT)
		return true;
	fail(a, AGENT_BAD, r == FRAME_MANY ? "the agent's answer has too many values" :
	     "the agent's answer is not a JSON object");
	drop(a, len + 1);
	return false;
}

/* The next line, parsed. NULL after fail(). */
static struct json_object *next_object(struct agent *a, int64_t end)
{
	struct json_tokener *tok;
	struct json_object *o;
	size_t seen = 0;
	char *nl;

	while (!(nl = a->len > seen ? memchr(a->buf + seen, '\n', a->len - seen) : NULL)) {
		seen = a->len;
		if (receive(a, end))
			return NULL;
	}
	/* A value of two bytes takes hundreds here: their number is bounded before there are any. */
	if (!is_bounded(a, (size_t)(nl - a->buf)))
		return NULL;
	tok = json_tokener_new_ex(MAX_DEPTH);
	if (!tok) {
		fail(a, AGENT_BAD, "out of memory");
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, a->buf, (int)(nl - a->buf));
	if (json_tokener_get_error(tok) != json_tokener_success || !json_object_is_type(o, json_type_object)) {
		fail(a, AGENT_BAD, "the agent's answer is not a JSON object");
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(tok);
	drop(a, (size_t)(nl - a->buf) + 1);
	return o;
}

/* --- commands --- */

static int send_command(struct agent *a, const char *command, struct json_object *args, int64_t end)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	int ret;

	json_object_object_add(o, "execute", json_object_new_string(command));
	if (args)
		json_object_object_add(o, "arguments", args);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	ret = text ? send_all(a, text, strlen(text), end) : fail(a, AGENT_BAD, "out of memory");
	if (!ret)
		ret = send_all(a, "\n", 1, end);
	json_object_put(o);
	return ret;
}

static int refused(struct agent *a, const char *command, struct json_object *error)
{
	struct json_object *desc = NULL, *class = NULL;

	json_object_object_get_ex(error, "desc", &desc);
	json_object_object_get_ex(error, "class", &class);
	if (!json_object_is_type(desc, json_type_string))
		return fail(a, AGENT_BAD, "the agent's answer to %s is an error without a description", command);
	/* "CommandNotFound": left out of this agent, or forbidden by its configuration. */
	if (json_object_is_type(class, json_type_string) && !strcmp(json_object_get_string(class), "CommandNotFound"))
		return fail(a, AGENT_REFUSED, "the agent does not offer %s: see block-rpcs in the guest's qemu-ga.conf", command);
	return fail(a, AGENT_REFUSED, "%s", json_object_get_string(desc));
}

/* Everything before the sentinel was for somebody else. */
static int skip_to_sentinel(struct agent *a, int64_t end)
{
	char *p;

	while (!(p = a->len ? memchr(a->buf, SENTINEL, a->len) : NULL)) {
		a->len = 0;
		if (receive(a, end))
			return -1;
	}
	drop(a, (size_t)(p - a->buf) + 1);
	return 0;
}

static int sync_up(struct agent *a, int ms)
{
	struct json_object *args = json_object_new_object(), *o, *ret;
	int64_t end = now_ms() + ms, id = 0, got;
	const char sentinel = SENTINEL;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		id = now_ms();
	id &= 0x7fffffff;
	json_object_object_add(args, "id", json_object_new_int64(id));
	/* The byte ends what a client before us may have left half said. */
	if (send_all(a, &sentinel, 1, end)) {
		json_object_put(args);
		return -1;
	}
	if (send_command(a, "guest-sync-delimited", args, end))
		return -1;
	do {
		if (skip_to_sentinel(a, end))
			return -1;
		o = next_object(a, end);
		if (!o && a->error != AGENT_BAD)
			return -1;
		got = -1;
		if (o && json_object_object_get_ex(o, "return", &ret) && json_object_is_type(ret, json_type_int))
			got = json_object_get_int64(ret);
		json_object_put(o);
	} while (got != id);
	a->error = AGENT_OK;
	return 0;
}

/* Locked through a file beside the socket; its owner may be slow, but not for ever. */
static int take_lock(struct agent *a, int64_t end)
{
	char *path = NULL;
	int fd = -1;

	if (asprintf(&path, "%s.lock", a->path) > 0)
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	free(path);
	if (fd < 0)
		return fail(a, AGENT_GONE, "%s.lock: %s", a->path, strerror(errno));
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		struct pollfd p = { .fd = a->stop_fd, .events = POLLIN };

		if (now_ms() >= end) {
			close(fd);
			return fail(a, AGENT_BUSY, "another hvx command has the guest's agent");
		}
		if (poll(&p, 1, 5) > 0)
			end = 0;
	}
	a->lock = fd;
	return 0;
}

static int connect_to(struct agent *a, int ms)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int64_t end = now_ms() + ms;

	a->error = AGENT_OK;
	if (strlen(a->path) >= sizeof(sun.sun_path))
		return fail(a, AGENT_GONE, "%s: too long for a socket's path", a->path);
	strcpy(sun.sun_path, a->path);
	/* Whoever has it may be in the middle of a long transfer; it rests often. */
	if (take_lock(a, end > now_ms() + 60000 ? end : now_ms() + 60000))
		return -1;
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || connect(a->fd, (struct sockaddr *)&sun, sizeof(sun))) {
		fail(a, AGENT_GONE, "%s: %s", a->path, strerror(errno));
		return give_up(a);
	}
	a->len = 0;
	if (sync_up(a, ms))
		return give_up(a);
	return 0;
}

struct agent *agent_open(const char *path, int sync_ms, int stop_fd)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->fd = a->lock = -1;
	a->stop_fd = stop_fd;
	a->timeout_ms = AGENT_TIMEOUT_MS;
	a->max_reply = AGENT_MAX_REPLY;
	a->path = strdup(path);
	if (!a->path) {
		free(a);
		return NULL;
	}
	connect_to(a, sync_ms);
	return a;
}

void agent_close(struct agent *a)
{
	if (!a)
		return;
	agent_rest(a);
	free(a->buf);
	free(a->path);
	free(a);
}

int agent_call(struct agent *a, const char *command, struct json_object *args, struct json_object **ret)
{
	struct json_object *o, *value = NULL;
	int64_t end;

	a->error = AGENT_OK;
	a->stop_at = 0;
	if (a->fd < 0 && connect_to(a, a->timeout_ms)) {
		json_object_put(args);
		return -1;
	}
	end = now_ms() + a->timeout_ms;
	if (send_command(a, command, args, end))
		return give_up(a);
	o = next_object(a, end);
	if (!o)
		return give_up(a);
	a->error = AGENT_OK;
	if (json_object_object_get_ex(o, "error", &value)) {
		refused(a, command, value);
	} else if (!json_object_object_get_ex(o, "return", &value)) {
		fail(a, AGENT_BAD, "the agent's answer to %s is none", command);
	} else if (ret) {
		*ret = json_object_get(value);
	}
	json_object_put(o);
	if (a->error == AGENT_BAD)
		return give_up(a);
	return a->error == AGENT_OK ? 0 : -1;
}
