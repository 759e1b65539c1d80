/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Disk images of other formats than raw: qemu-storage-daemon reads and writes them, in a
 * process that can do little else, and the VMM speaks NBD to it (nbd_disk.h).
 *
 * hvx-image-qsd (image_helper.c) starts and ends the daemon. It has one end of a socket
 * (SOCK_SEQPACKET) as descriptor 3, on which it gets orders of one byte; where the other
 * end is closed, whyever, the daemon ends and so does the helper. Each order has one
 * answer: FOREIGN_OK, with a connection to the daemon's NBD server (SCM_RIGHTS) where one is
 * asked for, or FOREIGN_ERROR and why, a text. Only FOREIGN_WAKE has none. FOREIGN_RESIZE has
 * the number of bytes behind it, 8 in the order of this machine.
 */
#ifndef HVX_STORAGE_FOREIGN_H
#define HVX_STORAGE_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include "vmm/config.h"

#define FOREIGN_HELPER	"hvx-image-qsd"
#define FOREIGN_FD	3
#define FOREIGN_EXPORT	"disk"
#define FOREIGN_ANSWER	1024U	/* bytes of an answer, at most */

enum foreign_order {
	FOREIGN_OPEN = 'o',	/* the image is ours, by QEMU's locks; answers with a connection */
	FOREIGN_LOOK = 'l',	/* look at it, for reading only, while somebody else has it; the same */
	FOREIGN_READ = 'r',	/* nobody may write to it, others may read it; the same */
	FOREIGN_MERGE = 'm',	/* as FOREIGN_OPEN, and written to whatever the options say; with the image, open for that (SCM_RIGHTS) */
	FOREIGN_CONNECT = 'n',	/* answers with one more connection */
	FOREIGN_RESIZE = 's',	/* another size, nobody else having the image meanwhile; all connections end, answers with one */
	FOREIGN_WAKE = 'w',	/* a daemon that somebody has stopped (SIGSTOP) goes on */
	FOREIGN_CLOSE = 'c',	/* the image is written, closed, and nobody's */
};

enum foreign_answer { FOREIGN_OK = '+', FOREIGN_ERROR = '-' };

/* By libvirt's and QEMU's name of it, "raw" too. False: unknown. */
bool foreign_format(const char *name, enum disk_format *format);
const char *foreign_name(enum disk_format format);

/*
 * What an image says of itself that must be known before somebody works with it: is it of
 * this format, does it lead to other files, and is it sound? backing: it must have, or must
 * not have, another image below it. write: it is to be written to. NULL, or what is wrong
 * and what to do (in buf).
 */
const char *foreign_check(int fd, enum disk_format format, bool backing, bool write, char *buf, size_t size);

#endif
