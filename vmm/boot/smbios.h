/* SPDX-License-Identifier: GPL-2.0-only */
/* SMBIOS 3.0 tables: who the machine says it is. */
#ifndef HVX_BOOT_SMBIOS_H
#define HVX_BOOT_SMBIOS_H

#include <stddef.h>
#include "vmm/config.h"
#include "vmm/memory.h"

#define SMBIOS_BASE	0xf0000		/* entry point; the structures follow */
#define SMBIOS_MAX	0x10000

/*
 * Entry point and structures from dom's uuid and sysinfo (from the host's
 * firmware with <smbios mode='host'>), as they are to lie at SMBIOS_BASE.
 * NULL after a message; free() it.
 */
void *smbios_new(const struct domain *dom, size_t *len);

#endif
