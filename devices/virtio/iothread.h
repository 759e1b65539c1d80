/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread for a device's data path. It never takes the machine lock; register
 * handlers, which hold that lock, may therefore wait for it.
 *
 * A NULL iothread stands for the main loop: whoever holds the machine lock is as
 * good as on it.
 */
#ifndef HVX_VIRTIO_IOTHREAD_H
#define HVX_VIRTIO_IOTHREAD_H

#include "vmm/machine.h"

struct iothread;

/* name: at most 15 characters. NULL after a message. */
struct iothread *iothread_new(const char *name);
void iothread_free(struct iothread *io);		/* waits for its end */
struct loop *iothread_loop(struct iothread *io, struct machine *m);
/* Run fn there and wait for its return. Not from the thread itself. */
void iothread_call(struct iothread *io, void (*fn)(void *), void *arg);

#endif
