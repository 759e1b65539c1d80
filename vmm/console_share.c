// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "console_share.h"
#include "machine.h"

#define DELAY_NS	1000000ULL	/* a serial port gives a byte at a time */
#define INPUT_CHUNK	256U

struct share_client {
	struct console_share *s;
	int fd;
	struct loop_fd *watch;
	uint32_t events;
	char hello[2];
	unsigned int hello_len;		/* 2: it is served */
	bool answered;
	uint64_t pos;			/* of the next byte for it, in all that was ever said */
	LIST_ENTRY(share_client) link;
};

struct console_share {
	struct machine *m;
	char id[32];
	const struct share_ops *ops;
	void *opaque;
	int listen_fd;
	char *path;
	struct loop_fd *listen_watch;
	struct loop_timer *timer;
	bool armed;
	uint8_t *ring;			/* SHARE_RING bytes, allocated at the first one */
	uint64_t total;			/* bytes ever said */
	struct share_client *writer;
	unsigned int nr;
	LIST_HEAD(, share_client) clients;
};

/* ------------------------------------------------------------- clients */

static void drop(struct share_client *c)
{
	if (c->s->writer == c)
		c->s->writer = NULL;
	LIST_REMOVE(c, link);
	c->s->nr--;
	loop_del_fd(c->watch);
	close(c->fd);
	free(c);
}

static bool wants_input(const struct share_client *c)
{
	/* Of one that only reads, too: it shows when it hangs up. */
	return c->hello_len < 2 || c->s->writer != c || c->s->ops->room(c->s->opaque);
}

static void watch(struct share_client *c)
{
	uint32_t ev = (wants_input(c) ? EPOLLIN : 0) |
		      (c->hello_len == 2 && (!c->answered || c->pos < c->s->total) ? EPOLLOUT : 0);

	if (ev != c->events) {
		c->events = ev;
		loop_mod_fd(c->watch, ev);
	}
}

/* Where to begin: the oldest byte that is left, or after its line where that is cut. */
static uint64_t oldest(const struct console_share *s)
{
	uint64_t at = s->total > SHARE_RING ? s->total - SHARE_RING : 0;

	if (!at)
		return 0;
	for (uint64_t i = at; i < s->total && i < at + 4096; i++)
		if (s->ring[i % SHARE_RING] == '\n')
			return i + 1;
	return at;
}

static bool send_some(struct share_client *c)
{
	struct console_share *s = c->s;
	char role = s->writer == c ? 'w' : 'r';
	ssize_t n;

	if (!c->answered) {
		n = send(c->fd, &role, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n != 1)
			return n < 0 && errno == EAGAIN;
		c->answered = true;
	}
	while (c->pos < s->total) {
		size_t at, len;

		if (s->total - c->pos > SHARE_RING)
			c->pos = oldest(s);
		at = (size_t)(c->pos % SHARE_RING);
		len = SHARE_RING - at;
		if (len > s->total - c->pos)
			len = (size_t)(s->total - c->pos);
		n = send(c->fd, s->ring + at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		c->pos += (uint64_t)n;
	}
	return true;
}

static bool greet(struct share_client *c)
{
	struct console_share *s = c->s;
	char role = c->hello[0], replay = c->hello[1];

	if (!strchr("rwf", role) || !strchr("yn", replay) || !role || !replay)
		return false;
	if (role == 'f' || (role == 'w' && !s->writer))
		s->writer = c;
	c->pos = replay == 'y' ? oldest(s) : s->total;
	return true;
}

/* False: it has gone. */
static bool receive(struct share_client *c)
{
	struct console_share *s = c->s;
	uint8_t buf[INPUT_CHUNK];
	size_t want = sizeof(buf);
	ssize_t n;

	if (c->hello_len < 2) {
		n = recv(c->fd, c->hello + c->hello_len, 2 - c->hello_len, MSG_DONTWAIT);
		if (n > 0)
			c->hello_len += (unsigned int)n;
		if (n > 0 && c->hello_len == 2)
			return greet(c);
		return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
	}
	if (s->writer == c && s->ops->room(s->opaque) < want)
		want = s->ops->room(s->opaque);
	if (!want)
		return true;
	n = recv(c->fd, buf, want, MSG_DONTWAIT);
	if (n > 0 && s->writer == c)
		s->ops->input(s->opaque, buf, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void client_ready(void *opaque, uint32_t events)
{
	struct share_client *c = opaque;
	bool alive = true;

	if (events & EPOLLIN)
		alive = receive(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		alive = false;
	if (alive && c->hello_len == 2)
		alive = send_some(c);
	if (alive)
		watch(c);
	else
		drop(c);
}

static void client_arrived(void *opaque, uint32_t events)
{
	struct console_share *s = opaque;
	int fd = loop_accept(s->listen_watch);
	struct share_client *c;

	(void)events;
	if (fd < 0)
		return;
	c = s->nr < SHARE_CLIENTS ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->s = s;
	c->fd = fd;
	c->events = EPOLLIN;
	c->watch = loop_add_fd(s->m->loop, fd, EPOLLIN, client_ready, c);
	if (!c->watch) {
		close(fd);
		free(c);
		return;
	}
	LIST_INSERT_HEAD(&s->clients, c, link);
	s->nr++;
}

/* --------------------------------------------------------------- output */

static void flush(void *opaque)
{
	struct console_share *s = opaque;
	struct share_client *c, *next;

	s->armed = false;
	for (c = LIST_FIRST(&s->clients); c; c = next) {
		next = LIST_NEXT(c, link);
		if (c->hello_len < 2 || (c->events & EPOLLOUT))
			continue;	/* epoll will tell when there is room */
		if (send_some(c))
			watch(c);
		else
			drop(c);
	}
}

void console_share_output(struct console_share *s, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	if (!s)
		return;
	if (!s->ring && !(s->ring = malloc(SHARE_RING)))
		return;
	for (size_t done = 0; done < len;) {
		size_t at = (size_t)(s->total % SHARE_RING), n = SHARE_RING - at;

		if (n > len - done)
			n = len - done;
		memcpy(s->ring + at, p + done, n);
		s->total += n;
		done += n;
	}
	if (!s->armed && !LIST_EMPTY(&s->clients)) {
		s->armed = true;
		loop_timer_set(s->timer, clock_now_ns() + DELAY_NS);
	}
}

void console_share_room(struct console_share *s)
{
	if (s && s->writer)
		watch(s->writer);
}

/* ------------------------------------------------------- open and close */

static int bind_in(int fd, const char *dir, const char *id)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int ret = 0, d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	mode_t mask;

	if (d < 0)
		return -errno;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%s.console", d, id);
	unlink(sun.sun_path);
	mask = umask(077);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || listen(fd, 4) < 0)
		ret = -errno;
	umask(mask);
	close(d);
	return ret;
}

struct console_share *console_share_open(struct machine *m, const char *id, const struct share_ops *ops,
					 void *opaque)
{
	struct console_share *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	if (!s)
		return NULL;
	s->m = m;
	s->ops = ops;
	s->opaque = opaque;
	snprintf(s->id, sizeof(s->id), "%s", id);
	LIST_INIT(&s->clients);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	s->timer = loop_add_timer(m->loop, flush, s);
	if (asprintf(&s->path, "%s/%s.console", m->runtime_dir, id) < 0)
		s->path = NULL;
	if (s->listen_fd >= 0 && s->timer && s->path)
		ret = bind_in(s->listen_fd, m->runtime_dir, id);
	if (!ret) {
		s->listen_watch = loop_add_fd(m->loop, s->listen_fd, EPOLLIN, client_arrived, s);
		ret = s->listen_watch ? 0 : -errno;
	}
	if (ret) {
		log_warn("%s: no socket for `hvx console`: %s", id, strerror(-ret));
		console_share_close(s);
		return NULL;
	}
	return s;
}

void console_share_close(struct console_share *s)
{
	struct share_client *c;

	if (!s)
		return;
	while ((c = LIST_FIRST(&s->clients))) {
		if (c->hello_len == 2)
			send_some(c);
		drop(c);
	}
	loop_del_fd(s->listen_watch);
	loop_del_timer(s->timer);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->path)
		unlink(s->path);
	free(s->path);
	free(s->ring);
	free(s);
}
