/* SPDX-License-Identifier: GPL-2.0-only */
/* ACPI tables for the board, where a BIOS would leave them. */
#ifndef HVX_BOOT_ACPI_H
#define HVX_BOOT_ACPI_H

#include <stdbool.h>
#include <stdint.h>
#include "vmm/memory.h"

struct acpi_board {
	unsigned int nr_cpus;
	uint64_t present;		/* of them that the guest begins with: bits by number */
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
/* vCPUs that come and go, in \_SB; their notifications. */
void acpi_cpus(struct aml *a, const struct acpi_board *ab);
void acpi_cpus_gpe(struct aml *a, const struct acpi_board *ab);

/* Of the MADT, and of each vCPU's _MAT (5.2.12.2). */
struct __attribute__((packed)) madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
};
#define MADT_LAPIC_ENABLED	1
#define MADT_LAPIC_CAN_COME	2	/* online capable */

#endif
