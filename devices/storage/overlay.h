/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copy-on-write for <transient/>: an unlinked sparse file as large as the image,
 * each block at its own offset, and a bitmap of the blocks that live in it. It is
 * gone when the process is, however it ends.
 *
 * A block's bit is set once its data is in the file, so that a reader never sees
 * a hole. A write of part of a block fills the rest from the image first.
 */
#ifndef HVX_STORAGE_OVERLAY_H
#define HVX_STORAGE_OVERLAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define OVERLAY_BLOCK 4096U

struct overlay {
	int fd;
	int base_fd;		/* the image's */
	uint64_t size;
	uint64_t *map;		/* atomic bits, one a block */
	pthread_mutex_t fill_lock;
};

/* dir: where the file is made; it must have room for what the guest writes. NULL: errno. */
struct overlay *overlay_new(const char *dir, int base_fd, uint64_t size);
void overlay_free(struct overlay *o);
/* Length of the run from offset that lives in one file, at most len; *in_overlay says which. */
uint64_t overlay_run(const struct overlay *o, uint64_t offset, uint64_t len, bool *in_overlay);
/* Before a write of [offset, offset + len): fill the blocks that it covers in part. 0 or -errno. */
int overlay_prepare(struct overlay *o, uint64_t offset, uint64_t len);
/* After it: all its blocks live in the overlay. */
void overlay_commit(struct overlay *o, uint64_t offset, uint64_t len);

#endif
