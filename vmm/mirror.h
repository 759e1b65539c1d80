/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disks that go with their guest to a host without the storage of this one: each is
 * copied while the guest writes to it, what it has written meanwhile is copied again,
 * and when the guest stands still the rest is, and flushed. Until then the copy is worth
 * nothing; the disk here is never touched.
 *
 * Each disk has a thread and an NBD connection of its own. mirror.c knows no machine.
 */
#ifndef HVX_VMM_MIRROR_H
#define HVX_VMM_MIRROR_H

#include <pthread.h>
#include <stdatomic.h>
#include "devices/storage/disklog.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd.h"
#include "state.h"

#define MIRROR_MAX	32	/* disks */

struct mirror;

struct mirror_disk {
	struct mirror *of;
	char name[NBD_MAX_NAME];	/* of the disk, and of the export */
	int sock;			/* the caller's */
	const struct image *img;	/* whose size and layers stay as they are */
	struct disk_log *log;		/* that writers mark; its own */
	struct nbd_client nbd;
	uint8_t *buf;
	uint64_t data;			/* bytes that this pass has sent, without zeroes */
	pthread_t thread;
	bool started;
	/* mirror->lock */
	bool copied;			/* all of it, once, and flushed */
	bool ended;
	int ret;
	struct state_error err;
	/* any thread */
	_Atomic uint64_t wire;		/* bytes that went over the connection */
	_Atomic uint64_t rate;		/* bytes of data a second, the last measured; 0: none yet */
	_Atomic uint64_t flush_ns;	/* that the next flush takes, as far as is known */
};

struct mirror {
	struct mirror_disk disk[MIRROR_MAX];
	unsigned int nr;
	/* Wait for the turn of so many bytes. Any thread. */
	void (*pace)(void *opaque, size_t bytes);
	void *opaque;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool finish;			/* nobody writes any more */
	_Atomic bool stop;
};

void mirror_init(struct mirror *m);
/* Its log is there from now on, all of it marked; img may come later. NULL: out of memory. */
struct mirror_disk *mirror_add(struct mirror *m, const char *name, const struct image *img, uint64_t size, int sock);
/* Begin, and return when each disk has been copied once. 0; or -errno with *err: it is to be stopped then. */
int mirror_copy(struct mirror *m, struct state_error *err);
/* How long the rest would take if nobody wrote any more. 0, or -errno with *err: it has failed. */
int mirror_left(struct mirror *m, uint64_t *ns, struct state_error *err);
/* Nobody writes any more. */
void mirror_hurry(struct mirror *m);
/* After that: wait for the end. 0: the copies are whole, on stable storage, and left alone; or -errno with *err. */
int mirror_end(struct mirror *m, struct state_error *err);
/* Give up soon. Any thread, at any time before mirror_free(). */
void mirror_stop(struct mirror *m);
/* Bytes of all disks; that are still to go; that went. */
void mirror_figures(const struct mirror_disk *d, uint64_t *total, uint64_t *left, uint64_t *wire);
/* Its threads have ended after that; the logs must be out of use. */
void mirror_join(struct mirror *m);
void mirror_free(struct mirror *m);

#endif
