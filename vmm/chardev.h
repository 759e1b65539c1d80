/* SPDX-License-Identifier: GPL-2.0-only */
/* The terminal under the guest's console. The rest of chardev.c is in devices/device.h. */
#ifndef HVX_VMM_CHARDEV_H
#define HVX_VMM_CHARDEV_H

/*
 * Put the terminal on fd into raw mode. It is given back at exit() and when a
 * fatal signal ends the process. 0, also where fd is no terminal; or -errno.
 */
int terminal_raw(int fd);
void terminal_restore(void);	/* async-signal-safe */

#define CONSOLE_ESCAPE 0x1d	/* Ctrl-], then a key: see chardev.c */

#endif
