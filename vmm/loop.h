/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Event loop: file descriptors and timers. The machine has one main loop on
 * its main thread, whose callbacks run under the machine lock; a device may
 * have a loop on a thread of its own (lock NULL) for its data path.
 */
#ifndef HVX_VMM_LOOP_H
#define HVX_VMM_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;

struct loop *loop_new(pthread_mutex_t *lock);
void loop_free(struct loop *loop);
/* Run until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);		/* any thread */

/*
 * events: EPOLLIN etc. The fd stays the caller's. NULL with errno: ENOMEM, or
 * EPERM where the fd cannot be polled (regular files). Any thread.
 */
struct loop_fd *loop_add_fd(struct loop *loop, int fd, uint32_t events,
			    void (*cb)(void *opaque, uint32_t events), void *opaque);
void loop_mod_fd(struct loop_fd *lfd, uint32_t events);
/* After return the callback does not run again (call on the loop's thread or with it stopped, or under its lock). */
void loop_del_fd(struct loop_fd *lfd);
/*
 * The next connection of a listening socket that does not block, watched for EPOLLIN by lfd: its descriptor, which
 * does not block, either, or -1. Where descriptors or memory have run out it stays where it is, and the socket would
 * be ready again and again: lfd rests for LOOP_REST_NS then. As loop_del_fd().
 */
int loop_accept(struct loop_fd *lfd);
#define LOOP_REST_NS	200000000ULL

/* One-shot timer on CLOCK_MONOTONIC; deadline in ns, 0 disarms. Callback as for fds. */
struct loop_timer *loop_add_timer(struct loop *loop, void (*cb)(void *opaque), void *opaque);
void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns);
void loop_del_timer(struct loop_timer *t);
uint64_t clock_now_ns(void);			/* CLOCK_MONOTONIC */

/* Run fn once on the loop's thread, soon. Any thread, async-signal-unsafe. */
int loop_post(struct loop *loop, void (*fn)(void *), void *opaque);

#endif
