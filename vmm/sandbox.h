/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Giving up rights. Each thread of the VMM, before it touches anything that the
 * guest wrote, drops its capabilities, can gain none again, and is left with the
 * system calls of its kind. Any other call kills the process. All threads but the
 * main one are made by sandbox_thread(), and by nothing else.
 */
#ifndef HVX_VMM_SANDBOX_H
#define HVX_VMM_SANDBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum sandbox_kind {
	SANDBOX_MAIN,	/* main loop: devices' slow paths, chardevs, ending the process; and migrations */
	SANDBOX_VCPU,	/* HVX_RUN, and what device register handlers do */
	SANDBOX_IO,	/* a device's data path: io_uring, sockets, tap */
	SANDBOX_NR,
};

/*
 * Once, before any thread: chooses the filters. ioc: the type byte of the
 * hypervisor's ioctls. enabled false: everything here does nothing. 0 or -errno.
 */
int sandbox_init(bool enabled, unsigned int ioc);

struct sandbox_thread {
	enum sandbox_kind kind;
	const char *name;		/* 15 characters at most */
	size_t stack;			/* bytes; 0: the C library's default */
	void (*prepare)(void *arg);	/* NULL, or runs first, if its maker has rights: with them */
	void *(*run)(void *arg);	/* without any */
	void *arg;
};

/*
 * Starts a thread, and returns when its rights are gone: run() may have begun, or begins soon.
 * A thread that is made by one without rights has none from its first instruction on, and
 * narrows the system calls that it inherits to those of its kind. One of kind SANDBOX_MAIN is
 * made only so. 0; or -errno, then the thread has ended without run().
 */
int sandbox_thread(pthread_t *thread, const struct sandbox_thread *what);
/* The calling thread, which is the main one. 0 or -errno after a message. */
int sandbox_enter_thread(enum sandbox_kind kind);
/* Has the calling thread entered it, or its maker? Then it can open nothing. */
bool sandbox_entered(void);

#endif
