/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copy-on-write over an image: a sparse file that has each block of the disk at its
 * own place, and a bitmap of the blocks that live in it. Two kinds:
 *
 * - of <transient/>: unlinked, gone when the process is, however it ends; its bitmap
 *   is in memory only;
 * - a layer (overlay_file.c, docs/snapshots.md): a file that stays, with a header and
 *   the bitmap in front of the blocks. Layers lie on each other; what none of them
 *   has comes from the raw image under the lowest.
 *
 * A block's bit is set once its data is in the file, so that a reader never sees
 * a hole. A write of part of a block fills the rest from below first. In a layer's
 * file a bit appears by overlay_flush() only, behind the data on stable storage.
 *
 * From the look at a block's bit until the bit is set, the block is one write's alone: a
 * claim. Else the fill for another write could put what is below over its data. Blocks
 * that are there already are nobody's.
 */
#ifndef HVX_STORAGE_OVERLAY_H
#define HVX_STORAGE_OVERLAY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct nbd_disk;

#define OVERLAY_BLOCK	4096U
#define OVERLAY_MAX	(16ULL << 40)	/* bytes of the disk, of a layer */
#define OVERLAY_DEPTH	24	/* files of a chain, at most: nested in XML, whose depth has a limit */
#define OVERLAY_ID	16		/* bytes */

struct overlay {
	int fd;
	uint64_t data;		/* where block 0 is in fd */
	int base_fd;		/* the raw image's, where nothing is below; not ours */
	struct nbd_disk *served;	/* where base_fd is AIO_SERVED; not ours */
	struct overlay *below;	/* ours; NULL: base_fd */
	uint64_t size;		/* of the disk */
	uint64_t *map;		/* atomic bits, one a block */
	pthread_mutex_t claim_lock;
	pthread_cond_t claim_ended;
	struct overlay_claim *claims;	/* under claim_lock; none of two has a block in common */

	/* of a layer */
	uint8_t *dirty;		/* atomic; one a 4096 bytes of the map: not in the file yet. NULL: transient */
	pthread_mutex_t flush_lock;
	int flush_err;		/* under flush_lock: what fdatasync() said once, see image_flush_failed() */
	uint8_t id[OVERLAY_ID];
};

/* Blocks that a write is about to bring into the overlay. */
struct overlay_claim {
	uint64_t first, last;
	struct overlay_claim *next;
};

/* A piece of the disk that lies in one file. */
struct overlay_part {
	int fd;
	uint64_t offset;	/* in fd */
	bool top;		/* it is the uppermost layer's */
};

/* dir: where the file is made; it must have room for what the guest writes. NULL: errno. */
struct overlay *overlay_new(const char *dir, int base_fd, uint64_t size);
/* With all below it. NULL is fine. */
void overlay_free(struct overlay *o);
/* The piece at offset, at most len bytes; its length. */
uint64_t overlay_run(const struct overlay *o, uint64_t offset, uint64_t len, struct overlay_part *part);
/* What the disk holds there. 0 or -errno. */
int overlay_read(const struct overlay *o, void *buf, uint64_t len, uint64_t offset);
/*
 * Before a write of [offset, offset + len): claims its blocks that are not in the overlay, and
 * fills those of them that it covers in part. *claim is for overlay_end(); NULL: none is left.
 * Where another write has a claim on one of them: -EAGAIN, or with `wait` that one's end is
 * waited for; the thread has no write of its own under way then, for which others could wait.
 * 0 or -errno, then nothing is claimed.
 */
int overlay_begin(struct overlay *o, uint64_t offset, uint64_t len, bool wait, struct overlay_claim **claim);
/* The write is over; written: its data are there, and its blocks live in the overlay. NULL is fine. */
void overlay_end(struct overlay *o, struct overlay_claim *claim, bool written);
/* Whole blocks were written by one that is alone: they live in the overlay. */
void overlay_commit(struct overlay *o, uint64_t offset, uint64_t len);
/* Is this block the uppermost layer's? */
bool overlay_has(const struct overlay *o, uint64_t block);
static inline uint64_t overlay_blocks(uint64_t size)
{
	return (size + OVERLAY_BLOCK - 1) / OVERLAY_BLOCK;
}

/* ---------------------------------------------------- layers: overlay_file.c */

/* Write an empty layer for a disk of size bytes into the file fd, which is empty. 0 or -errno. */
int overlay_format(int fd, const uint8_t id[OVERLAY_ID], uint64_t size);
/*
 * The layer in fd, which becomes its own (also where that fails), with nothing below:
 * the caller sets base_fd or below. NULL with *why, a static text (else that is NULL).
 */
struct overlay *overlay_load(int fd, const char **why);
/*
 * All that was committed before the call stays, with its bits, whatever happens; sync
 * false: it survives the process, not the host. Any thread; waits for the disk. 0 or
 * -errno; then the bits are tried again by the next call. Where fdatasync() failed, all that
 * shall sync fail from then on.
 */
int overlay_flush(struct overlay *o, bool sync);
/*
 * Layers of which others took all that they have (a merge, docs/snapshots.md) are taken out
 * from under o: those whose id is none of keep's. The rest, but o, is as its files say now.
 * Nobody uses o meanwhile. 0 or -errno, then none is taken out, and all shows what it did.
 */
int overlay_relink(struct overlay *o, const uint8_t (*keep)[OVERLAY_ID], unsigned int nr);

/* --- for both files --- */
struct overlay *overlay_alloc(int fd, uint64_t size);	/* NULL: errno; fd is the caller's then */
int file_read(int fd, void *buf, uint64_t len, uint64_t offset);	/* zeroes behind the end */

#endif
