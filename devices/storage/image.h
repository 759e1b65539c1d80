/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk image: a raw file or a block device, opened, measured and locked; or layers
 * over one (overlay.h), as the XML lists them. The format is never guessed from the
 * contents, which the guest writes.
 */
#ifndef HVX_STORAGE_IMAGE_H
#define HVX_STORAGE_IMAGE_H

#include "devices/storage/overlay.h"
#include "vmm/config.h"

#define IMAGE_SECTOR 512U

struct nbd_disk;

struct image {
	int fd;			/* of the raw image; AIO_SERVED: */
	struct nbd_disk *served;	/* another process has it, of another format; NULL: nobody */
	int fd_buffered;	/* without O_DIRECT, for what is not aligned; fd where that is buffered */
	struct overlay *overlay; /* writes go there: of <transient/>, or the uppermost layer; else NULL */
	uint64_t size;		/* bytes, a multiple of IMAGE_SECTOR and of logical_block */
	uint64_t raw_size;	/* of the raw image, in whole sectors */
	unsigned int align;	/* offsets, lengths and memory of O_DIRECT on fd; 1: buffered */
	unsigned int logical_block, physical_block;	/* to show to the guest */
	bool readonly;
	bool write_through;	/* each write is on stable storage when it is done */
	bool no_flush;		/* cache='unsafe' */
	bool unmap;		/* discard='unmap' */
	bool lock_write, lock_shared;	/* which locks it has, or will have */
	_Atomic bool cached;	/* with align > 1: something was written by fd_buffered */
	_Atomic int flush_err;	/* see image_flush_failed() */
};

/* Before the sandbox. 0 or -errno after a message that names cfg's line. */
int image_open(struct image *img, const struct dom_disk *cfg, const char *xml_file);
/*
 * What another process serves (img->served) stays open with whoever has got a copy of
 * nbd_disk_control(); the rest is closed. cfg->handed_on was set.
 */
void image_hand_on(struct image *img);
/* The same on the socket of a helper that someone else had started by image_open(); closed where it fails. Works in the sandbox. */
int image_adopt_served(struct image *img, const struct dom_disk *cfg, int control);
/*
 * The same on descriptors that someone else opened and locked as image_open() does:
 * fd, and fd_buffered where fd is O_DIRECT (else -1), with requests of multiples of
 * align. Both are the image's on success only. cfg says the rest; <transient/> not.
 * Works inside the sandbox. 0 or -errno after a message.
 */
int image_adopt(struct image *img, const struct dom_disk *cfg, int fd, int fd_buffered, unsigned int align);
void image_close(struct image *img);
/* All that was written is on stable storage (of a layer, with its bits). No I/O is in flight; not of <transient/>. 0 or -errno. */
int image_flush(struct image *img);
/*
 * fdatasync() of fd said err, -errno. The kernel takes pages that it could not write for clean, so the next one
 * would say that all is well: flush_err is what all flushes end with from now on, until the image is opened anew.
 * What bypasses the page cache is not lost, and may be tried again. True: it is the first that is kept. Any thread.
 */
bool image_flush_failed(struct image *img, int err);
/*
 * own false: all that was written is on stable storage, and the locks are let go: another
 * VMM's now. true: the other way; -EAGAIN: somebody has it. No I/O is in flight.
 */
int image_own(struct image *img, bool own);

/* Do writes go to a layer that stays? */
static inline bool image_layered(const struct image *img)
{
	return img->overlay && img->overlay->dirty;
}

/*
 * Lock fd against other virtual machines: for reading, or for writing, too; shareable:
 * others may write to it. 0 or -EAGAIN. The lock is the open file's: whoever gets a
 * copy of fd holds it as well.
 */
int image_lock(int fd, bool write, bool shareable);
int image_unlock(int fd);	/* 0 or -errno */

/*
 * The raw image under layers carries this extended attribute, with the guest's name:
 * writes to it would change all of its snapshots.
 */
#define IMAGE_BASE_XATTR "user.hvx.snapshot-base"

#endif
