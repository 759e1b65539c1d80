// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "control.h"
#include "rundir.h"
#include "vmm/fdpass.h"

#define LINE_MAX_	(8U << 20)	/* longer than any answer of the server */
#define EVENTS_MAX	256
#define BEGIN_MS	5000		/* for a VMM to open its socket */

struct control {
	int fd, timeout;
	char *guest, *buf;
	size_t len, room;
	struct json_object *events;	/* array */
	char error[512], class[64];
};

/* Connect by the folder's descriptor: its name may be longer than a socket's address. */
static int connect_in(const char *dir)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (d < 0)
		return -1;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/control.sock", d);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		err = errno;
		close(fd);
		fd = -1;
		errno = err;
	}
	err = errno;
	close(d);
	errno = err;
	return fd;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int failed(struct control *c, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	errno = err;
	return -1;
}

static bool more_room(struct control *c)
{
	char *p;

	if (c->room - c->len >= 4096)
		return true;
	p = c->room < LINE_MAX_ ? realloc(c->buf, c->room * 2 + 65536) : NULL;
	if (!p)
		return false;
	c->buf = p;
	c->room = c->room * 2 + 65536;
	return true;
}

/* The next message; NULL with errno. end: now_ms() by which it must be here, -1 none. */
static struct json_object *next_message(struct control *c, int64_t end)
{
	struct json_object *o = NULL;
	char *eol;
	ssize_t n;

	while (!(eol = c->len ? memchr(c->buf, '\n', c->len) : NULL)) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int64_t left = end < 0 ? -1 : end - now_ms();

		n = poll(&p, 1, end < 0 ? -1 : left < 0 ? 0 : (int)left);
		if (n < 0 && errno == EINTR)
			continue;
		if (!n) {
			errno = ETIMEDOUT;
			return NULL;
		}
		if (!more_room(c)) {
			errno = EMSGSIZE;
			return NULL;
		}
		n = recv(c->fd, c->buf + c->len, c->room - c->len, 0);
		if (n <= 0) {
			errno = EPIPE;
			return NULL;
		}
		c->len += (size_t)n;
	}
	*eol = '\0';
	o = json_tokener_parse(c->buf);
	c->len -= (size_t)(eol + 1 - c->buf);
	memmove(c->buf, eol + 1, c->len);
	if (!o)
		errno = EPROTO;
	return o;
}

static void keep_event(struct control *c, struct json_object *o)
{
	if (json_object_array_length(c->events) >= EVENTS_MAX)
		json_object_array_del_idx(c->events, 0, 1);
	json_object_array_add(c->events, o);
}

/* Takes o. */
static int read_answer(struct control *c, struct json_object *o, struct json_object **ret)
{
	struct json_object *e = NULL;

	if (json_object_object_get_ex(o, "error", &e)) {
		const char *desc = json_object_get_string(json_object_object_get(e, "desc"));
		const char *class = json_object_get_string(json_object_object_get(e, "class"));

		snprintf(c->class, sizeof(c->class), "%s", class ? class : "");
		failed(c, EPROTO, "%s", desc ? desc : "unknown error");
		json_object_put(o);
		errno = EPROTO;
		return -1;
	}
	if (ret)
		*ret = json_object_get(json_object_object_get(o, "return"));
	json_object_put(o);
	return 0;
}

static int wait_answer(struct control *c, struct json_object **ret)
{
	int64_t end = c->timeout < 0 ? -1 : now_ms() + c->timeout;
	struct json_object *o;

	for (;;) {
		o = next_message(c, end);
		if (!o && errno == ETIMEDOUT)
			return failed(c, ETIMEDOUT, "its VMM does not answer");
		if (!o)
			return failed(c, EPIPE, "its VMM has hung up");
		if (!json_object_object_get_ex(o, "event", NULL))
			return read_answer(c, o, ret);
		keep_event(c, o);
	}
}

static int send_all(struct control *c, const char *text, size_t len, int pass_fd)
{
	while (len) {
		ssize_t n = fd_send(c->fd, text, len, pass_fd, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return failed(c, EPIPE, "its VMM has hung up");
		text += n;
		len -= (size_t)n;
		pass_fd = -1;
	}
	return 0;
}

static int call(struct control *c, const char *command, struct json_object *args,
		struct json_object **ret, int pass_fd)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	int r;

	c->error[0] = c->class[0] = '\0';
	if (ret)
		*ret = NULL;
	json_object_object_add(o, "execute", json_object_new_string(command));
	if (args)
		json_object_object_add(o, "arguments", args);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	r = send_all(c, text, strlen(text), pass_fd);
	json_object_put(o);
	return r ? r : wait_answer(c, ret);
}

int control_call(struct control *c, const char *command, struct json_object *args,
		 struct json_object **ret)
{
	return call(c, command, args, ret, -1);
}

int control_do(struct control *c, const char *command, struct json_object *args,
	       struct json_object **ret)
{
	int r = call(c, command, args, ret, -1);

	if (r)
		cli_error("%s: %s", c->guest, c->error);
	return r;
}

int control_send_fd(struct control *c, int fd, const char *name)
{
	struct json_object *args = json_object_new_object();

	json_object_object_add(args, "fdname", json_object_new_string(name));
	return call(c, "getfd", args, NULL, fd);
}

const char *control_error(const struct control *c)
{
	return c->error;
}

const char *control_error_class(const struct control *c)
{
	return c->class;
}

void control_timeout(struct control *c, int ms)
{
	c->timeout = ms;
}

int control_fd(const struct control *c)
{
	return c->fd;
}

struct json_object *control_event(struct control *c, int ms)
{
	int64_t end = ms < 0 ? -1 : now_ms() + ms;
	struct json_object *o;

	if (json_object_array_length(c->events)) {
		o = json_object_get(json_object_array_get_idx(c->events, 0));
		json_object_array_del_idx(c->events, 0, 1);
		return o;
	}
	while ((o = next_message(c, end)) && !json_object_object_get_ex(o, "event", NULL))
		json_object_put(o);
	return o;
}

/* -1: errno, ESRCH where it does not run. One that begins, or ends, has its folder but no socket: that passes. */
static int connect_to(const char *guest)
{
	int64_t end = now_ms() + BEGIN_MS;
	int fd, err;

	do {
		char *dir = rundir_find(guest);

		fd = dir ? connect_in(dir) : -1;
		err = dir ? errno : ESRCH;
		free(dir);
	} while (fd < 0 && (err == ENOENT || err == ECONNREFUSED) && now_ms() < end && !poll(NULL, 0, 20));
	errno = err;
	return fd;
}

struct control *control_open(const char *guest)
{
	int fd = connect_to(guest), err;
	struct control *c;
	struct json_object *o;

	if (fd < 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	c->timeout = 60000;
	c->guest = strdup(guest);
	c->events = json_object_new_array();
	o = next_message(c, now_ms() + c->timeout);
	if (o && json_object_object_get_ex(o, "QMP", NULL) && !call(c, "qmp_capabilities", NULL, NULL, -1)) {
		json_object_put(o);
		return c;
	}
	err = o ? EPROTO : errno;
	json_object_put(o);
	control_close(c);
	errno = err;
	return NULL;
}

struct control *control_open_or_say(const char *guest)
{
	struct control *c = control_open(guest);

	if (c)
		return c;
	if (errno == ESRCH)
		cli_error("%s: no running guest has this name; `hvx list` shows those that run", guest);
	else
		cli_error("%s: its control socket: %s", guest, strerror(errno));
	return NULL;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	close(c->fd);
	json_object_put(c->events);
	free(c->guest);
	free(c->buf);
	free(c);
}
