// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "callers.h"
#include "cli.h"

#define MAX_CALLERS	16

struct caller {
	struct callers *all;
	struct wire wire;		/* the thread's, until it has ended */
	struct json_object *hello;	/* NULL: nothing that can be understood */
	const char *why;		/* NULL: there is a message already */
	int fd;				/* wire's */
	int64_t deadline;		/* ms */
	bool dropped;
	pthread_t thread;
};

struct callers {
	int listener;
	const struct wire_uri *u;
	const struct wire_options *o;
	int done[2];			/* a pipe for pointers to those that have been heard */
	struct caller *caller[MAX_CALLERS];	/* the oldest first */
	unsigned int nr;
	int64_t rests_until;		/* ms: nobody is let in before */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct callers *callers_new(int listener, const struct wire_uri *u, const struct wire_options *o)
{
	struct callers *all = calloc(1, sizeof(*all));

	/* One that has left before accept() is not waited for. */
	if (!all || fcntl(listener, F_SETFL, O_NONBLOCK) || pipe2(all->done, O_CLOEXEC)) {
		cli_error("receive: %s", strerror(errno));
		free(all);
		return NULL;
	}
	all->listener = listener;
	all->u = u;
	all->o = o;
	return all;
}

static void *hear(void *arg)
{
	struct caller *c = arg;

	if (!wire_secure(c->all->u, c->all->o, &c->wire))
		c->hello = wire_receive(&c->wire, &c->why);
	/* Fewer than a pipe has room for. */
	while (write(c->all->done[1], &c, sizeof(c)) < 0 && errno == EINTR)
		;
	return NULL;
}

/* Its thread ends soon. */
static void send_away(struct caller *c)
{
	if (!c->dropped)
		shutdown(c->fd, SHUT_RDWR);
	c->dropped = true;
}

/* What this process or the host has run out of may be there again in a while. -1: it is something else. */
static int rest(struct callers *all, int err)
{
	switch (err) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		all->rests_until = now_ms() + 1000;
		return 0;
	case EAGAIN:
		return 0;
	}
	return -1;
}

/* Who waits at the door; where all places are taken the oldest makes room first. -1 after a message: none can come. */
static int take(struct callers *all)
{
	struct caller *c;

	if (all->nr == MAX_CALLERS) {
		send_away(all->caller[0]);
		return 0;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		cli_error("receive: out of memory");
		return -1;
	}
	if (wire_take(all->listener, all->u, &c->wire)) {
		int err = errno;

		free(c);
		return rest(all, err);
	}
	c->all = all;
	c->fd = c->wire.in;
	c->deadline = now_ms() + WIRE_PATIENCE_S * 1000;
	if (pthread_create(&c->thread, NULL, hear, c)) {
		cli_error("cannot start a thread");
		wire_close(&c->wire);
		free(c);
		return -1;
	}
	all->caller[all->nr++] = c;
	return 0;
}

/* The next whose thread has ended; the caller's. */
static struct caller *collect(struct callers *all)
{
	struct caller *c;
	unsigned int i = 0;
	ssize_t n;

	do {
		n = read(all->done[0], &c, sizeof(c));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(c))
		return NULL;
	pthread_join(c->thread, NULL);
	while (all->caller[i] != c)
		i++;
	all->nr--;
	memmove(&all->caller[i], &all->caller[i + 1], (all->nr - i) * sizeof(c));
	return c;
}

/* Who is late goes. How long to wait for the next, in ms; -1: for ever. */
static int look_after(struct callers *all, int64_t now)
{
	int64_t left = -1;

	for (unsigned int i = 0; i < all->nr; i++) {
		if (all->caller[i]->deadline <= now)
			send_away(all->caller[i]);
		else if (left < 0 && !all->caller[i]->dropped)
			left = all->caller[i]->deadline - now;
	}
	if (all->rests_until > now && (left < 0 || left > all->rests_until - now))
		left = all->rests_until - now;
	return (int)left;
}

int callers_next(struct callers *all, const struct wire *until, struct wire *w, struct json_object **hello,
		 const char **why)
{
	for (;;) {
		int64_t now = now_ms();
		int wait = look_after(all, now);
		bool room = now >= all->rests_until &&
			    (all->nr < MAX_CALLERS || !all->caller[0]->dropped);	/* or there is soon */
		struct pollfd p[] = {
			{ .fd = all->done[0], .events = POLLIN },
			{ .fd = room ? all->listener : -1, .events = POLLIN },
			{ .fd = until ? until->in : -1, .events = POLLRDHUP },
		};
		struct caller *c;

		if (poll(p, 3, wait) < 0 && errno != EINTR) {
			cli_error("receive: %s", strerror(errno));
			return -1;
		}
		if (p[2].revents) {
			cli_error("receive: the other side has hung up");
			return -1;
		}
		if (p[1].revents && take(all))
			return -1;
		c = p[0].revents ? collect(all) : NULL;
		if (!c)
			continue;
		if (c->dropped) {	/* what it said at last comes too late: its connection is shut */
			json_object_put(c->hello);
			c->hello = NULL;
			c->why = "the other side does not answer";
		}
		*w = c->wire;
		*hello = c->hello;
		*why = c->why;
		free(c);
		if (*hello || *why)
			return 0;
		wire_close(w);
	}
}

void callers_free(struct callers *all)
{
	struct caller *c;

	if (!all)
		return;
	for (unsigned int i = 0; i < all->nr; i++)
		send_away(all->caller[i]);
	while (all->nr && (c = collect(all))) {
		wire_close(&c->wire);
		json_object_put(c->hello);
		free(c);
	}
	close(all->done[0]);
	close(all->done[1]);
	free(all);
}
