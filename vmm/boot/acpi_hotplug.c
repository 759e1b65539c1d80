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
_Static_assert(BOARD_PCIHP_GPE == 1 && BOARD_CPUHP_GPE == 2, "the names of the methods");

static void slot_name(char name[5], unsigned int slot)
{
	snprintf(name, 5, "S%03X", slot & 0xfff);
}

/* Local0 = reg; reg = Local0, which clears what was read. */
static void take_bits(struct aml *a, const char *reg)
{
	aml_op(a, AML_STORE);
	aml_path(a, reg);
	aml_op(a, AML_LOCAL(0));
	aml_op(a, AML_STORE);
	aml_op(a, AML_LOCAL(0));
	aml_path(a, reg);
}

/* If (And(Local0, 1 << bit)) Notify(path, what) */
static void notify_if(struct aml *a, unsigned int bit, const char *path, unsigned int what)
{
	aml_if_begin(a);
	aml_op(a, AML_AND);
	aml_op(a, AML_LOCAL(0));
	aml_int(a, 1U << bit);
	aml_op(a, AML_ZERO);
	aml_op(a, AML_NOTIFY);
	aml_path(a, path);
	aml_int(a, what);
	aml_end(a);
}

/* Clear what register `reg` shows, then notify each slot whose bit was there. */
static void notify_slots(struct aml *a, const char *reg, unsigned int what)
{
	char path[] = "\\_SB.PCI0.S000";
	unsigned int slot;

	take_bits(a, reg);
	for (slot = 1; slot < NR_SLOTS; slot++) {
		slot_name(path + sizeof(path) - 5, slot);
		notify_if(a, slot, path, what);
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

/* ------------------------------------------------------------------ vCPUs */

static void cpu_name(char name[5], unsigned int i)
{
	snprintf(name, 5, "C%03X", i & 0xfff);
}

/* The word of a register that has vCPU i: "CPP0" or "CPP1". */
static const char *cpu_word(char name[5], const char *reg, unsigned int i)
{
	snprintf(name, 5, "%.3s%u", reg, i / 32 & 1);
	return name;
}

static void cpu_device(struct aml *a, unsigned int i, uint32_t apic_id, bool can_go)
{
	struct madt_lapic mat = {
		.type = 0, .length = sizeof(mat), .uid = (uint8_t)i, .apic_id = (uint8_t)apic_id,
		.flags = MADT_LAPIC_ENABLED,
	};
	char name[5], word[5];

	cpu_name(name, i);
	aml_device_begin(a, name);
	aml_name_string(a, "_HID", "ACPI0007");
	aml_name_int(a, "_UID", i);
	aml_name(a, "_MAT");
	aml_buffer(a, &mat, sizeof(mat));
	aml_method_begin(a, "_STA", 0);
	aml_if_begin(a);
	aml_op(a, AML_AND);
	aml_path(a, cpu_word(word, "CPP", i));
	aml_int(a, 1U << i % 32);
	aml_op(a, AML_ZERO);
	aml_op(a, AML_RETURN);
	aml_int(a, 0xf);
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_int(a, 0);
	aml_end(a);
	if (can_go) {
		aml_method_begin(a, "_EJ0", 1);
		aml_op(a, AML_STORE);
		aml_int(a, 1U << i % 32);
		aml_path(a, cpu_word(word, "CPE", i));
		aml_end(a);
	}
	aml_end(a);
}

void acpi_cpus(struct aml *a, const struct acpi_board *ab)
{
	static const char *const words[] = { "CPP0", "CPP1", "CPU0", "CPU1", "CPD0", "CPD1", "CPE0", "CPE1" };
	unsigned int i;

	aml_io_region(a, "CPUR", BOARD_HOTPLUG_BASE + BOARD_PLUG_CPUS, sizeof(words) / sizeof(words[0]) * 4);
	aml_field_begin(a, "CPUR");
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		aml_field_dword(a, words[i]);
	aml_end(a);
	for (i = 0; i < ab->nr_cpus; i++)
		cpu_device(a, i, ab->apic_id[i], i);
}

/* The first one never comes nor goes. */
static void notify_cpus(struct aml *a, const struct acpi_board *ab, const char *reg, unsigned int what)
{
	char path[] = "\\_SB.C000", word[] = "\\_SB.XXXX";
	unsigned int i;

	for (i = 0; i < ab->nr_cpus; i++) {
		if (i % 32 == 0) {
			cpu_word(word + sizeof(word) - 5, reg, i);
			take_bits(a, word);
		}
		cpu_name(path + sizeof(path) - 5, i);
		if (i)
			notify_if(a, i % 32, path, what);
	}
}

void acpi_cpus_gpe(struct aml *a, const struct acpi_board *ab)
{
	aml_scope_begin(a, "\\_GPE");
	aml_method_begin(a, "_E02", 0);
	notify_cpus(a, ab, "CPU", NOTIFY_DEVICE_CHECK);
	notify_cpus(a, ab, "CPD", NOTIFY_EJECT);
	aml_end(a);
	aml_end(a);
}
