/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asynchronous file operations of one I/O thread, through io_uring. Where the
 * kernel does not give us a ring, the same calls work synchronously.
 *
 * An operation succeeds whole or fails: short counts are completed here, and
 * what lies beyond a file's end reads as zeroes.
 */
#ifndef HVX_STORAGE_AIO_H
#define HVX_STORAGE_AIO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/loop.h"

enum aio_type { AIO_READ, AIO_WRITE, AIO_SYNC, AIO_ALLOCATE };

/* Instead of a descriptor: the disk of aio_serve_by(). */
#define AIO_SERVED	(-2)

struct nbd_disk;

struct aio_op {
	enum aio_type type;
	int fd;				/* or AIO_SERVED */
	uint64_t offset, len;		/* len: sum of iov, or fallocate's */
	struct iovec *iov;		/* caller's; may be changed */
	unsigned int nr_iov;
	int mode;			/* AIO_ALLOCATE: fallocate's */
	bool hint;			/* AIO_ALLOCATE: the data are wanted no more, whatever they are then */
	void (*done)(struct aio_op *op, int err);	/* 0 or -errno; op is the caller's again */
	void *opaque;
	struct aio_op *next;		/* aio's own */
};

struct aio;

/* idle is called after each batch of completions. NULL: no memory. Before the sandbox. */
struct aio *aio_new(struct loop *loop, void (*idle)(void *opaque), void *opaque);
/* AIO_SERVED is d, which lives longer than a. Before the first such operation. 0 or -errno after a message. */
int aio_serve_by(struct aio *a, struct nbd_disk *d, struct loop *loop);
/* Nothing is in flight and the loop has ended. */
void aio_free(struct aio *a);
/* Queue an operation; it starts with aio_kick() at the latest. done may run before the return. */
void aio_add(struct aio *a, struct aio_op *op);
/* Start what is queued and finish what is done already. */
void aio_kick(struct aio *a);
/* Wait until no operation on a file is in flight; one that is served may be. */
void aio_drain_files(struct aio *a);
/* Wait until nothing is in flight. */
void aio_drain(struct aio *a);
/*
 * The same, but not for a server: what that has not answered is given up with -ECANCELED. Its
 * memory is not touched any more; of a write, nobody knows whether it comes.
 */
void aio_cancel(struct aio *a);
/* Advance an operation by n bytes of its data. */
void aio_advance(struct aio_op *op, size_t n);

#endif
