/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which blocks of a disk have been written to: a bit each. Writers mark after their write
 * has ended; a reader takes marks away before it reads. So what it has read is what
 * is there, or is marked again.
 */
#ifndef HVX_STORAGE_DISKLOG_H
#define HVX_STORAGE_DISKLOG_H

#include <stdbool.h>
#include <stdint.h>

#define DISK_LOG_BLOCK	(64U << 10)	/* bytes */

struct disk_log;

/* For a disk of size bytes, with all blocks marked. NULL: out of memory. */
struct disk_log *disk_log_new(uint64_t size);
void disk_log_free(struct disk_log *l);
/* [offset, offset + len) was written to; what is beyond the end does not matter. Any thread. */
void disk_log_mark(struct disk_log *l, uint64_t offset, uint64_t len);
/* The first marked block at or behind *block. False: there is none. */
bool disk_log_next(const struct disk_log *l, uint64_t *block);
/* Take the marks of the blocks from `block` on that have one, max at most; how many. */
uint64_t disk_log_take(struct disk_log *l, uint64_t block, uint64_t max);
/* Marked blocks, about: marks come and go. */
uint64_t disk_log_count(const struct disk_log *l);

#endif
