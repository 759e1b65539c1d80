/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk that another process serves: an image of another format than raw, by
 * qemu-storage-daemon (foreign.h). Requests of a queue's thread go by a connection of its
 * own, many at a time (nbd_queue); whoever wants to wait uses the disk's.
 *
 * Where the daemon breaks the protocol or is gone, all that is under way fails with EIO, and
 * so does what comes later, until the disk is opened again. That is said once.
 */
#ifndef HVX_STORAGE_NBD_DISK_H
#define HVX_STORAGE_NBD_DISK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "devices/storage/aio.h"
#include "vmm/config.h"

struct nbd_disk;
struct nbd_queue;

/*
 * Start the helper for cfg's image and open it, with QEMU's locks; look: only look at it,
 * while someone else has it, see nbd_disk_own(). Before the sandbox. NULL after a message.
 * xml NULL: not of a guest's XML, cfg has no line.
 */
struct nbd_disk *nbd_disk_open(const struct dom_disk *cfg, const char *xml, bool look);
/*
 * The same where `control` is the helper's socket, nbd_disk_control() of another process; it
 * is the disk's on success. Works in the sandbox. NULL after a message.
 */
struct nbd_disk *nbd_disk_adopt(const struct dom_disk *cfg, int control);
/* The helper's socket; still d's. */
int nbd_disk_control(const struct nbd_disk *d);
/* d goes, and the image stays open with whoever else has the helper's socket. */
void nbd_disk_leave(struct nbd_disk *d);
/* The image is closed; then it is free for others. No queue is left, nothing is under way. NULL is fine. */
void nbd_disk_close(struct nbd_disk *d);
/*
 * This process is about to end, and will wait for what is under way: a daemon that somebody
 * has stopped goes on. Any thread; waits for nothing.
 */
void nbd_disks_wake(void);
uint64_t nbd_disk_size(const struct nbd_disk *d);
/* See image_own(). */
int nbd_disk_own(struct nbd_disk *d, bool own);
/*
 * From now on the image is only read, and others can read it, too; share false: as it was
 * before. No queue has anything under way. 0 or -errno after a message.
 */
int nbd_disk_share(struct nbd_disk *d, bool share);
/*
 * An image that is only read, as it lies under layers, is to be written to by whoever merges
 * them into it, and has opened it for that: image, a descriptor. The guest goes on reading it.
 * Of one that is written to anyway nothing changes. 0, or -errno with why; then it is as it was, or
 * lost after a message.
 */
int nbd_disk_merge(struct nbd_disk *d, int image, char *why, size_t len);
/* That is over. 0 or -errno after a message. */
int nbd_disk_merged(struct nbd_disk *d);
/* A connection for another process, which greets itself: nbd_disk_on(). -1 after a message. */
int nbd_disk_hand_out(struct nbd_disk *d);
/* A disk on such a connection, which becomes its own, for those who wait. NULL after a message. */
struct nbd_disk *nbd_disk_on(int sock, const char *file);
/*
 * Another size, which must be one that the daemon can have exactly. The same is true of its
 * queues. 0, or -errno with why, a text: then the disk is as it was, or lost after a message.
 */
int nbd_disk_resize(struct nbd_disk *d, uint64_t size, char *why, size_t len);

/* 0 or -errno. Any thread; one at a time gets its turn. */
int nbd_disk_read(struct nbd_disk *d, void *buf, uint64_t len, uint64_t offset);
int nbd_disk_write(struct nbd_disk *d, const void *buf, uint64_t len, uint64_t offset);
/* Zeroes, without room of their own where the format can; -EOPNOTSUPP: write them. */
int nbd_disk_zero(struct nbd_disk *d, uint32_t len, uint64_t offset);
/*
 * All that was written is on stable storage. -ETIMEDOUT, after a message: the server does not
 * answer; that of a queue's given up requests is not waited for at all.
 */
int nbd_disk_flush(struct nbd_disk *d);
/*
 * Who waits for the server, here or in nbd_queue_drain(), does so until then (CLOCK_MONOTONIC, ns) and
 * then gives up with -ECANCELED; what is read or flushed is nobody's from there on. 0: as long as it
 * takes, as it is at first. Machine lock; for those who wait, any thread.
 */
void nbd_disk_hurry(struct nbd_disk *d, uint64_t deadline);

/* ------------------------------------------------ of one thread: nbd_queue.c */

/* idle is called after each batch of completions. NULL after a message. */
struct nbd_queue *nbd_queue_new(struct nbd_disk *d, struct loop *loop, void (*idle)(void *opaque), void *opaque);
/* Nothing is under way and the loop has ended. NULL is fine. */
void nbd_queue_free(struct nbd_queue *q);
/* done may run before the return. */
void nbd_queue_add(struct nbd_queue *q, struct aio_op *op);
/*
 * Wait until nothing is under way; where nbd_disk_hurry()'s time is up, as nbd_queue_cancel(). What was
 * given up before is not waited for.
 */
void nbd_queue_drain(struct nbd_queue *q);
/*
 * Nothing is under way any more: what has not gone out does not, of the rest nobody hears. Each
 * done is called with -ECANCELED, and its memory is not touched from then on. Waits for nothing.
 */
void nbd_queue_cancel(struct nbd_queue *q);

/* --- between the two files --- */
struct nbd_disk {
	const char *target;
	char *name;			/* of the file, for messages */
	int control;			/* the helper's socket */
	int sock;			/* a connection, under lock; -1: closed */
	int pid;			/* of the helper, where it is our child, else 0 */
	pthread_mutex_t lock;
	uint64_t size, handle;
	unsigned int flags;		/* NBD_FLAG_* */
	bool fua;			/* each write is on stable storage when it is done */
	bool merging;			/* nbd_disk_merge() made it one to be written to */
	_Atomic bool said;		/* that it is lost */
	struct nbd_queue *queues;	/* all, linked by nbd_queue_link() */
	struct nbd_disk *next;		/* of this process's */
	pthread_mutex_t gate_lock;
	_Atomic unsigned int orphans;	/* requests that are under way and nobody's; changed under gate_lock */
	int gate;			/* eventfd, readable while there are none */
	_Atomic uint64_t deadline;	/* nbd_disk_hurry()'s */
	int hurry;			/* eventfd, readable while there is one */
	/* Of the last request on sock, under lock: how much of its answer has come. */
	bool owed;			/* not all, and its owner waits no more */
	uint8_t reply[16];
	uint32_t reply_len, data_len, data_have;
	bool stuck;			/* the helper did not answer */
	int order_ms, flush_ms;		/* what it, and a flush, may take; -1: any time */
};

/* How long may somebody wait, in ms? -1: any time; then `hurry` tells when that changes. */
int nbd_disk_patience(struct nbd_disk *d);

/* One more connection, past the handshake, that does not block. -1 after a message. */
int nbd_disk_connect(struct nbd_disk *d);
/* Say once that nothing more can be had from it. */
void nbd_disk_lost(struct nbd_disk *d, const char *why);
/* A queue's connection goes, or comes again; nothing is under way, and its thread stands still. */
void nbd_queue_detach(struct nbd_queue *q);
int nbd_queue_attach(struct nbd_queue *q);
struct nbd_queue **nbd_queue_link(struct nbd_queue *q);

#endif
