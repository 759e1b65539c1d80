/* SPDX-License-Identifier: GPL-2.0-only */
/* virtio-blk between blk.c, its requests, and blk_ctl.c, what is changed on a disk while it is there. */
#ifndef HVX_VIRTIO_BLK_INT_H
#define HVX_VIRTIO_BLK_INT_H

#include <linux/virtio_blk.h>
#include "devices/storage/disklog.h"
#include "devices/storage/image.h"
#include "devices/throttle.h"
#include "devices/virtio/virtio.h"

#define BLK_MAX_QUEUES	64

struct blk_req;

struct blk_queue {
	struct virtio_blk *blk;
	struct virtio_queue *q;
	struct iothread *io;
	struct aio *aio;
	struct loop_timer *resume;	/* when a limit lets the next request through */
	struct blk_req *free;
	unsigned int nr_free;
	struct blk_req *parked, **last_parked;	/* begun, and to be begun anew: see park() */
	size_t bounced;
	/* stat_add() on the queue's thread; [0] reads, [1] writes, [2] flushes */
	uint64_t ops[3], bytes[3], ns[3], failed;
};

struct virtio_blk {
	struct virtio_device v;
	struct image img;
	char serial[VIRTIO_BLK_ID_BYTES];
	const struct dom_disk *cfg;
	char *file;			/* another than cfg's since a snapshot, NULL: cfg's */
	struct throttle limit[RATE_NR];
	_Atomic bool limited;
	unsigned int stop_ms;		/* how long whoever stops it waits for a server */
	bool parks;			/* since its queues were last stopped; that is said */
	struct disk_log *_Atomic log;	/* who wants to know what is written to; NULL: nobody */
	unsigned int nr_queues;
	struct blk_queue bq[];
};

extern const struct device_ops blk_ops;

void blk_fill_config(struct virtio_blk *blk);	/* config_lock held, or not shown to the guest yet */
/* Look at the queue again. Any thread. */
void blk_resume_queue(void *bq);

#endif
