/* SPDX-License-Identifier: GPL-2.0-only */
/* Archives, by libarchive. */
#ifndef HVX_CLI_ARCHIVE_H
#define HVX_CLI_ARCHIVE_H

#include "kernel.h"

/*
 * A library of its own, hvx-archive.so: libarchive and what it needs take as long to load as
 * all the rest. Each returns 0, or -1 after a message.
 */
struct archive_ops {
	/* tar on a pipe: what is in dir, as "./..." */
	int (*tar_write)(int fd, const char *dir);
	/*
	 * Unpack below dir, whatever the guest sends: files, folders and links only, none
	 * outside of dir, through no link, and with no set-ID bits.
	 */
	int (*tar_read)(int fd, const char *dir);
	uint64_t (*tree_size)(const char *dir);	/* bytes of the files below it */
	/* A kernel's cpio: the folder k->root, if any, and with k->argv the program at path init. */
	int (*initramfs)(int fd, const struct kernel_guest *k, const char *init);
};

extern const struct archive_ops hvx_archive;	/* tar.c, in the library */
/* It, loaded once. NULL after a message. */
const struct archive_ops *archive_load(void);

int tar_write(int fd, const char *dir);		/* tar.c */
int tar_read(int fd, const char *dir);
uint64_t tree_size(const char *dir);
int initramfs_write(int fd, const struct kernel_guest *k, const char *init);	/* initramfs.c */

#endif
