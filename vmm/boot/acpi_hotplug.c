// SPDX-License-Identifier: GPL-2.0-only
/*
 * AML for what is plugged into a running guest (ACPI 6.4, 5.6.6 and 6.3). A GPE
 * says that something changed; its method reads what from the registers of
 * devices/legacy/acpi_hotplug.c, and notifies the objects. _EJ0 is the guest's word
 * that it has let go.
 */
#include <stdio.h>

#include "acpi.h"
#include "aml.h"
#include "vmm/board.h"

#define NR_SLOTS	32

enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT = 3 };	/* 5.6.6, table 5-187 */

/* The methods' names: \_GPE._Exx */
_Static_assert(BOARD_PCIHP_GPE == 1, "the name of the method");

static void slot_name(char name[5], unsigned int slot)
{
	snprintf(name, 5, "S%03X", slot & 0xfff);
}

/* Clear what register `reg` shows, then notify each slot whose bit was there. */
static void notify_slots(struct aml *a, const char *reg, unsigned int what)
{
	char path[] = "\\_SB.PCI0.S000";
	unsigned int slot;

	aml_op(a, AML_STORE);
	aml_path(a, reg);
	aml_op(a, AML_LOCAL(0));
	aml_op(a, AML_STORE);
	aml_op(a, AML_LOCAL(0));
	aml_path(a, reg);
	for (slot = 1; slot < NR_SLOTS; slot++) {
		slot_name(path + sizeof(path) - 5, slot);
		aml_if_begin(a);
		aml_op(a, AML_AND);
		aml_op(a, AML_LOCAL(0));
		aml_int(a, 1U << slot);
		aml_op(a, AML_ZERO);
		aml_op(a, AML_NOTIFY);
		aml_path(a, path);
		aml_int(a, what);
		aml_end(a);
	}
}

void acpi_pci_slots(struct aml *a)
{
	char name[5];
	unsigned int slot;

	aml_scope_begin(a, "\\_SB.PCI0");
	aml_io_region(a, "PLUG", BOARD_HOTPLUG_BASE, 12);
	aml_field_begin(a, "PLUG");
	aml_field_dword(a, "PLUP");
	aml_field_dword(a, "PLDN");
	aml_field_dword(a, "PLEJ");
	aml_end(a);
	for (slot = 1; slot < NR_SLOTS; slot++) {
		slot_name(name, slot);
		aml_device_begin(a, name);
		aml_name_int(a, "_ADR", slot << 16);
		aml_name_int(a, "_SUN", slot);
		aml_method_begin(a, "_EJ0", 1);
		aml_op(a, AML_STORE);
		aml_int(a, 1U << slot);
		aml_path(a, "PLEJ");
		aml_end(a);
		aml_end(a);
	}
	aml_end(a);

	aml_scope_begin(a, "\\_GPE");
	aml_method_begin(a, "_E01", 0);
	notify_slots(a, "\\_SB.PCI0.PLUP", NOTIFY_DEVICE_CHECK);
	notify_slots(a, "\\_SB.PCI0.PLDN", NOTIFY_EJECT);
	aml_end(a);
	aml_end(a);
}
