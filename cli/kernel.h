/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guests without XML, for those who work on kernels: `hvx run --kernel`. A folder
 * of the host becomes the guest's root as an initramfs (cpio, newc): any kernel
 * with CONFIG_BLK_DEV_INITRD boots it, with no driver and no file system of its
 * own, the guest may write to it, and nothing is left of it. It takes that much of
 * the guest's memory.
 */
#ifndef HVX_CLI_KERNEL_H
#define HVX_CLI_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_INIT	".hvx/init"	/* what it starts first where there is a command */

struct kernel_guest {
	const char *kernel, *initrd, *append, *root;	/* kernel NULL: not such a guest */
	unsigned int memory_mib, cpus;			/* 0: default */
	/* what kernel_command() has made */
	char *const *argv;		/* NULL: no command */
	char *const *env;
	const char *dir;
	int image;			/* the initramfs; -1: none. The VMM inherits it. */
	int out, err, status;		/* files that the guest's serial ports write; -1 */
};

/* The domain's XML, to be freed; NULL after a message. Makes the initramfs and the files. */
char *kernel_xml(struct kernel_guest *k, size_t *len);
void kernel_close(struct kernel_guest *k);
/* What the command's status is, where the guest has said so; -1. */
int kernel_status(const struct kernel_guest *k);

#endif
