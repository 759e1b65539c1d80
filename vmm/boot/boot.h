/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Direct kernel boot: kernel, initrd and modules go from their files straight
 * into guest RAM, at power-on and again at each reset. The files stay open in
 * between, so that a reset needs no right to open anything.
 *
 * Kernel files are not trusted: every offset and length in them is checked
 * against the file's size and against guest RAM.
 */
#ifndef HVX_BOOT_BOOT_H
#define HVX_BOOT_BOOT_H

#include <stdint.h>
#include "vmm/config.h"
#include "vmm/memory.h"
#include <uapi/hvx.h>

/* What a loader is given, and what it leaves for the boot processor. */
struct boot_entry {
	const struct guest_mem *mem;
	uint64_t rsdp;			/* ACPI root pointer, 0: no ACPI */
	struct hvx_regs regs;		/* out */
	struct hvx_sregs sregs;		/* in: power-on values, out */
};

struct boot;

/* Open the files and see what kind of kernel it is. 0 or -errno after a message. */
int boot_open(struct boot **boot, const struct domain *dom);
/* Load all. 0 or -errno after a message. */
int boot_load(struct boot *boot, struct boot_entry *entry);
void boot_close(struct boot *boot);

#endif
