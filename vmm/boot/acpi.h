/* SPDX-License-Identifier: GPL-2.0-only */
/* ACPI tables for the board, where a BIOS would leave them. */
#ifndef HVX_BOOT_ACPI_H
#define HVX_BOOT_ACPI_H

#include <stdbool.h>
#include <stdint.h>
#include "vmm/memory.h"

struct acpi_board {
	unsigned int nr_cpus;
	const uint32_t *apic_id;	/* nr_cpus of them, below 255 */
	uint64_t ram_top;		/* end of guest RAM */
	unsigned int phys_bits;		/* guest-physical address width */
	unsigned int serial_mask;	/* COM ports that are there: bit 0 COM1 */
	bool pvpanic;
};

/* Write all tables; the address of the RSDP to *rsdp. 0 or -errno after a message. */
int acpi_write(const struct guest_mem *mem, const struct acpi_board *ab, uint64_t *rsdp);

/* acpi_hotplug.c: PCI slots that can be filled and emptied; after \_SB.PCI0. */
struct aml;
void acpi_pci_slots(struct aml *a);

#endif
