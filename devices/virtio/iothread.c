// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "devices/virtio/iothread.h"
#include "vmm/sandbox.h"
#include "vmm/tune.h"

#define IOTHREAD_STACK	(256U << 10)

struct iothread {
	struct loop *loop;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t done;
};

struct call {
	struct iothread *io;
	void (*fn)(void *);
	void *arg;
	bool done;
};

static void prepare(void *arg)
{
	(void)arg;
	tune_io_thread();
}

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

struct iothread *iothread_new(const char *name)
{
	struct iothread *io = calloc(1, sizeof(*io));
	int ret = -ENOMEM;

	if (!io)
		goto fail;
	pthread_mutex_init(&io->lock, NULL);
	pthread_cond_init(&io->done, NULL);
	io->loop = loop_new(NULL);
	if (io->loop)
		ret = sandbox_thread(&io->thread, &(struct sandbox_thread){
			SANDBOX_IO, name, IOTHREAD_STACK, prepare, run, io->loop });
	if (!ret)
		return io;
	loop_free(io->loop);
	free(io);
fail:
	log_error("cannot start the I/O thread %s: %s", name, strerror(-ret));
	return NULL;
}

void iothread_free(struct iothread *io)
{
	if (!io)
		return;
	loop_stop(io->loop);
	pthread_join(io->thread, NULL);
	loop_free(io->loop);
	pthread_cond_destroy(&io->done);
	pthread_mutex_destroy(&io->lock);
	free(io);
}

struct loop *iothread_loop(struct iothread *io, struct machine *m)
{
	return io ? io->loop : m->loop;
}

static void run_call(void *opaque)
{
	struct call *c = opaque;
	struct iothread *io = c->io;

	c->fn(c->arg);
	pthread_mutex_lock(&io->lock);
	c->done = true;		/* c is gone once the lock is */
	pthread_cond_broadcast(&io->done);
	pthread_mutex_unlock(&io->lock);
}

void iothread_call(struct iothread *io, void (*fn)(void *), void *arg)
{
	struct call c = { .io = io, .fn = fn, .arg = arg };

	if (!io) {
		fn(arg);
		return;
	}
	/* Out of memory for a list entry: nothing else can be done than to try again. */
	while (loop_post(io->loop, run_call, &c))
		sched_yield();
	pthread_mutex_lock(&io->lock);
	while (!c.done)
		pthread_cond_wait(&io->done, &io->lock);
	pthread_mutex_unlock(&io->lock);
}
