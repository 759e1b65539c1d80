/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk image: a raw file or a block device, opened, measured and locked. The
 * format is never guessed from the contents, which the guest writes.
 */
#ifndef HVX_STORAGE_IMAGE_H
#define HVX_STORAGE_IMAGE_H

#include "devices/storage/overlay.h"
#include "vmm/config.h"

#define IMAGE_SECTOR 512U

struct image {
	int fd;
	int fd_buffered;	/* without O_DIRECT, for what is not aligned; fd where that is buffered */
	struct overlay *overlay; /* <transient/>: writes go there; else NULL */
	uint64_t size;		/* bytes, a multiple of IMAGE_SECTOR */
	unsigned int align;	/* offsets, lengths and memory of O_DIRECT on fd; 1: buffered */
	unsigned int logical_block, physical_block;	/* to show to the guest */
	bool readonly;
	bool write_through;	/* each write is on stable storage when it is done */
	bool no_flush;		/* cache='unsafe' */
	bool unmap;		/* discard='unmap' */
};

/* Before the sandbox. 0 or -errno after a message that names cfg's line. */
int image_open(struct image *img, const struct dom_disk *cfg, const char *xml_file);
void image_close(struct image *img);

#endif
