/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Giving up rights. Each thread of the VMM, before it touches anything that the
 * guest wrote, drops its capabilities, can gain none again, and is left with the
 * system calls of its kind. Any other call kills the process.
 */
#ifndef HVX_VMM_SANDBOX_H
#define HVX_VMM_SANDBOX_H

#include <stdbool.h>

enum sandbox_kind {
	SANDBOX_MAIN,	/* main loop: devices' slow paths, chardevs, ending the process */
	SANDBOX_VCPU,	/* HVX_RUN, and what device register handlers do */
	SANDBOX_IO,	/* a device's data path: io_uring, sockets, tap */
	SANDBOX_NR,
};

/*
 * Once, before any thread: chooses the filters. ioc: the type byte of the
 * hypervisor's ioctls. enabled false: everything here does nothing. 0 or -errno.
 */
int sandbox_init(bool enabled, unsigned int ioc);
/*
 * The calling thread. 0 or -errno after a message. The main thread comes after all threads
 * that it has started before: those that come later have what it has left them, and give
 * up nothing but system calls.
 */
int sandbox_enter_thread(enum sandbox_kind kind);
/* Has the main thread entered it? What is made from now on is made by one that can open nothing. */
bool sandbox_entered(void);

#endif
