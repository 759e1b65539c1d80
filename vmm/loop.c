// SPDX-License-Identifier: GPL-2.0-only
/* Event loop on epoll, with one timerfd for all timers and one eventfd for posts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

#define LOOP_BATCH	16

struct loop_fd {
	struct loop *loop;
	int fd;
	bool dead;
	void (*cb)(void *opaque, uint32_t events);
	void *opaque;
	struct loop_timer *rest;	/* of loop_accept(); NULL: never needed */
	LIST_ENTRY(loop_fd) link;
};

struct loop_timer {
	struct loop *loop;
	uint64_t deadline;		/* ns, 0: disarmed */
	unsigned int round;		/* of run_timers(), in which it ran last */
	void (*cb)(void *opaque);
	void *opaque;
	LIST_ENTRY(loop_timer) link;
};

struct post {
	void (*fn)(void *opaque);
	void *opaque;
	STAILQ_ENTRY(post) link;
};

struct loop {
	pthread_mutex_t *lock;		/* held around callbacks, may be NULL */
	int epoll_fd, timer_fd, wake_fd;
	bool stop;			/* atomic */

	/* Below: list_lock, always innermost and never held over a callback. */
	pthread_mutex_t list_lock;
	LIST_HEAD(, loop_fd) fds, garbage;	/* garbage: deleted, may be in the batch in hand */
	LIST_HEAD(, loop_timer) timers;		/* few: not sorted */
	uint64_t armed;			/* deadline that the timerfd has, 0 none */
	unsigned int round;
	STAILQ_HEAD(, post) posts;
};

uint64_t clock_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

struct loop *loop_new(pthread_mutex_t *lock)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event ev = { .events = EPOLLIN };

	if (!loop)
		return NULL;
	loop->lock = lock;
	pthread_mutex_init(&loop->list_lock, NULL);
	STAILQ_INIT(&loop->posts);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->epoll_fd < 0 || loop->timer_fd < 0 || loop->wake_fd < 0)
		goto fail;
	ev.data.ptr = &loop->timer_fd;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->timer_fd, &ev) < 0)
		goto fail;
	ev.data.ptr = &loop->wake_fd;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0)
		goto fail;
	return loop;
fail:
	loop_free(loop);
	return NULL;
}

/* Callers: list_lock held, or the loop is stopped for good. */
static void free_garbage(struct loop *loop)
{
	struct loop_fd *lfd;

	while ((lfd = LIST_FIRST(&loop->garbage))) {
		LIST_REMOVE(lfd, link);
		free(lfd);
	}
}

void loop_free(struct loop *loop)
{
	struct loop_timer *t;
	struct loop_fd *lfd;
	struct post *p;

	if (!loop)
		return;
	free_garbage(loop);
	while ((lfd = LIST_FIRST(&loop->fds))) {
		LIST_REMOVE(lfd, link);
		free(lfd);
	}
	while ((t = LIST_FIRST(&loop->timers))) {
		LIST_REMOVE(t, link);
		free(t);
	}
	while ((p = STAILQ_FIRST(&loop->posts))) {
		STAILQ_REMOVE_HEAD(&loop->posts, link);
		free(p);
	}
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->timer_fd >= 0)
		close(loop->timer_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_mutex_destroy(&loop->list_lock);
	free(loop);
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* EAGAIN: the count is at its maximum, so a wake-up is pending anyway. */
	while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void drain(int fd)
{
	uint64_t n;

	while (read(fd, &n, sizeof(n)) < 0 && errno == EINTR)
		;
}

static void run_posts(struct loop *loop)
{
	struct post *p;
	unsigned int budget = 64;	/* a post that posts itself leaves room for fds */

	drain(loop->wake_fd);
	while (budget--) {
		pthread_mutex_lock(&loop->list_lock);
		p = STAILQ_FIRST(&loop->posts);
		if (p)
			STAILQ_REMOVE_HEAD(&loop->posts, link);
		pthread_mutex_unlock(&loop->list_lock);
		if (!p)
			return;
		p->fn(p->opaque);
		free(p);
	}
	wake(loop);
}

/* list_lock held: make the timerfd fire at the earliest deadline. */
static void arm(struct loop *loop)
{
	struct itimerspec its = { 0 };
	struct loop_timer *t;
	uint64_t first = 0;

	LIST_FOREACH(t, &loop->timers, link)
		if (t->deadline && (!first || t->deadline < first))
			first = t->deadline;
	/* An early wake-up is harmless and cheaper than moving the deadline back each time. */
	if (first == loop->armed || (first == 0 && loop->armed) ||
	    (loop->armed && first > loop->armed))
		return;
	loop->armed = first;
	its.it_value.tv_sec = (time_t)(first / 1000000000ULL);
	its.it_value.tv_nsec = (long)(first % 1000000000ULL);
	timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* list_lock held: the first that is due, but for those of this round. */
static struct loop_timer *next_due(struct loop *loop, uint64_t now)
{
	struct loop_timer *t, *first = NULL;

	LIST_FOREACH(t, &loop->timers, link)
		if (t->deadline && t->deadline <= now && t->round != loop->round &&
		    (!first || t->deadline < first->deadline))
			first = t;
	return first;
}

/* What is due, in order. One that sets itself into the past has its next turn after all others'. */
static void run_timers(struct loop *loop)
{
	uint64_t now = clock_now_ns();
	struct loop_timer *t;

	drain(loop->timer_fd);
	pthread_mutex_lock(&loop->list_lock);
	loop->round++;
	while ((t = next_due(loop, now))) {
		t->deadline = 0;
		t->round = loop->round;
		pthread_mutex_unlock(&loop->list_lock);
		t->cb(t->opaque);	/* may set, or delete, this timer */
		pthread_mutex_lock(&loop->list_lock);
	}
	loop->armed = 0;
	arm(loop);
	pthread_mutex_unlock(&loop->list_lock);
}

static void dispatch(struct loop *loop, const struct epoll_event *ev)
{
	struct loop_fd *lfd = ev->data.ptr;

	if (ev->data.ptr == &loop->timer_fd)
		run_timers(loop);
	else if (ev->data.ptr == &loop->wake_fd)
		run_posts(loop);
	else if (!__atomic_load_n(&lfd->dead, __ATOMIC_ACQUIRE))
		lfd->cb(lfd->opaque, ev->events);
}

void loop_run(struct loop *loop)
{
	struct epoll_event ev[LOOP_BATCH];
	int i, n;

	while (!__atomic_exchange_n(&loop->stop, false, __ATOMIC_ACQ_REL)) {
		pthread_mutex_lock(&loop->list_lock);
		free_garbage(loop);
		pthread_mutex_unlock(&loop->list_lock);
		n = epoll_wait(loop->epoll_fd, ev, LOOP_BATCH, -1);
		if (n <= 0)
			continue;
		if (loop->lock)
			pthread_mutex_lock(loop->lock);
		for (i = 0; i < n; i++)
			dispatch(loop, &ev[i]);
		if (loop->lock)
			pthread_mutex_unlock(loop->lock);
	}
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stop, true, __ATOMIC_RELEASE);
	wake(loop);
}

struct loop_fd *loop_add_fd(struct loop *loop, int fd, uint32_t events,
			    void (*cb)(void *opaque, uint32_t events), void *opaque)
{
	struct loop_fd *lfd = calloc(1, sizeof(*lfd));
	struct epoll_event ev = { .events = events, .data.ptr = lfd };

	if (!lfd)
		return NULL;
	lfd->loop = loop;
	lfd->fd = fd;
	lfd->cb = cb;
	lfd->opaque = opaque;
	pthread_mutex_lock(&loop->list_lock);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int err = errno;

		pthread_mutex_unlock(&loop->list_lock);
		free(lfd);
		errno = err;
		return NULL;
	}
	LIST_INSERT_HEAD(&loop->fds, lfd, link);
	pthread_mutex_unlock(&loop->list_lock);
	return lfd;
}

void loop_mod_fd(struct loop_fd *lfd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = lfd };

	epoll_ctl(lfd->loop->epoll_fd, EPOLL_CTL_MOD, lfd->fd, &ev);
}

void loop_del_fd(struct loop_fd *lfd)
{
	struct loop *loop;

	if (!lfd)
		return;
	loop = lfd->loop;
	loop_del_timer(lfd->rest);
	lfd->rest = NULL;
	/* The kernel forgets a closed fd by itself: an error means no more than that. */
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, lfd->fd, NULL);
	__atomic_store_n(&lfd->dead, true, __ATOMIC_RELEASE);
	pthread_mutex_lock(&loop->list_lock);
	LIST_REMOVE(lfd, link);
	LIST_INSERT_HEAD(&loop->garbage, lfd, link);
	pthread_mutex_unlock(&loop->list_lock);
}

struct loop_timer *loop_add_timer(struct loop *loop, void (*cb)(void *opaque), void *opaque)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->loop = loop;
	t->cb = cb;
	t->opaque = opaque;
	pthread_mutex_lock(&loop->list_lock);
	LIST_INSERT_HEAD(&loop->timers, t, link);
	pthread_mutex_unlock(&loop->list_lock);
	return t;
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns)
{
	pthread_mutex_lock(&t->loop->list_lock);
	t->deadline = deadline_ns;
	arm(t->loop);
	pthread_mutex_unlock(&t->loop->list_lock);
}

void loop_del_timer(struct loop_timer *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->loop->list_lock);
	LIST_REMOVE(t, link);
	pthread_mutex_unlock(&t->loop->list_lock);
	free(t);
}

static void rested(void *opaque)
{
	loop_mod_fd(opaque, EPOLLIN);
}

int loop_accept(struct loop_fd *lfd)
{
	int fd = accept4(lfd->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM))
		return fd;
	if (!lfd->rest)
		lfd->rest = loop_add_timer(lfd->loop, rested, lfd);
	if (lfd->rest) {
		loop_mod_fd(lfd, 0);
		loop_timer_set(lfd->rest, clock_now_ns() + LOOP_REST_NS);
	}
	return fd;
}

int loop_post(struct loop *loop, void (*fn)(void *), void *opaque)
{
	struct post *p = malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->opaque = opaque;
	pthread_mutex_lock(&loop->list_lock);
	STAILQ_INSERT_TAIL(&loop->posts, p, link);
	pthread_mutex_unlock(&loop->list_lock);
	wake(loop);
	return 0;
}
