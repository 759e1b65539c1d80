// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI 6.4 tables. They lie in the BIOS area below 1 MiB, which the memory map
 * reports as reserved: RSDP first, then the rest in the order they are made.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "acpi.h"
#include "aml.h"
#include "vmm/board.h"
#include "vmm/log.h"

#define AREA_START	BOARD_ROM_BASE
#define AREA_END	0xf0000		/* SMBIOS follows there */
#define EBDA_POINTER	0x40e		/* real-mode segment of the EBDA */

struct __attribute__((packed)) rsdp {
	char signature[8];
	uint8_t checksum;	/* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t ext_checksum;
	uint8_t reserved[3];
};

struct __attribute__((packed)) header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};

struct __attribute__((packed)) gas {	/* generic address structure */
	uint8_t space, width, offset, access;
	uint64_t address;
};
#define GAS_IO 1

struct __attribute__((packed)) fadt {
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, preferred_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base;
	uint8_t cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, mon_alarm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0,
		   x_gpe1, sleep_control, sleep_status;
	uint64_t hypervisor;
};

#define FADT_WBINVD		(1U << 0)
#define FADT_PROC_C1		(1U << 2)
#define FADT_SLP_BUTTON		(1U << 5)	/* no fixed sleep button */
#define FADT_FIX_RTC		(1U << 6)	/* RTC wake is not in fixed registers */
#define FADT_TMR_VAL_EXT	(1U << 8)	/* 32-bit timer */
#define FADT_RESET_REG_SUP	(1U << 10)
#define FADT_CENTURY		0x32		/* in the CMOS */
#define BOOT_ARCH_LEGACY	(1U << 0)	/* serial ports and other ISA devices */
#define BOOT_ARCH_NO_VGA	(1U << 2)
#define BOOT_ARCH_NO_ASPM	(1U << 4)

struct __attribute__((packed)) facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
};

_Static_assert(sizeof(struct rsdp) == 36 && sizeof(struct header) == 36 &&
	       sizeof(struct fadt) == 276 && sizeof(struct facs) == 64, "ACPI structures");

/* Where the next table goes, and the tables that the XSDT lists. */
struct area {
	const struct guest_mem *mem;
	uint64_t at;
	uint64_t table[8];
	unsigned int nr;
	int err;
};

static uint8_t sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint64_t place(struct area *a, const void *data, size_t len, uint64_t align)
{
	uint64_t addr = (a->at + align - 1) & ~(align - 1);

	if (!a->err && addr + len > AREA_END)
		a->err = -ENOSPC;
	if (!a->err)
		a->err = guest_write(a->mem, addr, data, len);
	a->at = addr + len;
	return addr;
}

static void set_header(struct header *h, const char *signature, uint8_t revision, size_t len)
{
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)len;
	h->revision = revision;
	memcpy(h->oem_id, "HVX   ", 6);
	memcpy(h->oem_table_id, "HVXBOARD", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "HVX ", 4);
	h->creator_revision = 1;
	h->checksum = 0;
}

/* data starts with a struct header. */
static uint64_t place_table(struct area *a, void *data, size_t len, const char *signature,
			    uint8_t revision)
{
	struct header *h = data;

	set_header(h, signature, revision, len);
	h->checksum = (uint8_t)-sum(data, len);
	return place(a, data, len, 16);
}

static void list_table(struct area *a, void *data, size_t len, const char *signature,
		       uint8_t revision)
{
	a->table[a->nr++] = place_table(a, data, len, signature, revision);
}

/* ------------------------------------------------------------------ DSDT */

/*
 * _OSC of the PCI bridge (PCI Firmware 3.3, 4.5): the system may ask for native
 * control of features; there is no hot-plug, error reporting or power management
 * below this bridge to control, so none is granted.
 */
static void dsdt_osc(struct aml *a)
{
	/* 33DB4D5B-1FF7-401C-9657-7441C03DD766 */
	static const uint8_t uuid[16] = {
		0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
		0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66,
	};

	aml_method_begin(a, "_OSC", 4);
	aml_op(a, AML_CREATE_DWORD_FIELD);	/* status */
	aml_op(a, AML_ARG(3));
	aml_int(a, 0);
	aml_path(a, "CDW1");
	aml_if_begin(a);
	aml_op(a, AML_LEQUAL);
	aml_op(a, AML_ARG(0));
	aml_buffer(a, uuid, sizeof(uuid));
	aml_op(a, AML_CREATE_DWORD_FIELD);	/* control */
	aml_op(a, AML_ARG(3));
	aml_int(a, 8);
	aml_path(a, "CDW3");
	aml_op(a, AML_AND);
	aml_path(a, "CDW3");
	aml_int(a, 0);
	aml_path(a, "CDW3");
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, 0x10);			/* capabilities masked */
	aml_path(a, "CDW1");
	aml_end(a);
	aml_else_begin(a);
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, 4);				/* unrecognised UUID */
	aml_path(a, "CDW1");
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_op(a, AML_ARG(3));
	aml_end(a);
}

static void dsdt_pci(struct aml *a, const struct acpi_board *ab)
{
	uint64_t window = 1ULL << (ab->phys_bits - 1);

	aml_device_begin(a, "PCI0");
	aml_name_eisaid(a, "_HID", "PNP0A08");
	aml_name_eisaid(a, "_CID", "PNP0A03");
	aml_name_int(a, "_BBN", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_UID", 0);
	aml_crs_begin(a);
	aml_crs_bus(a, 0, 255);
	aml_crs_io(a, BOARD_PCI_CF8, 8);
	aml_crs_io_window(a, 0, BOARD_PCI_CF8 - 1);
	aml_crs_io_window(a, BOARD_PCI_CF8 + 8, 0xffff);
	aml_crs_memory32_window(a, 0xa0000, 0xbffff, true);
	aml_crs_memory32_window(a, BOARD_PCI_MMIO32, BOARD_ECAM_BASE - 1, false);
	if (ab->ram_top <= window)
		aml_crs_memory64_window(a, window, 2 * window - 1);
	aml_crs_end(a);
	dsdt_osc(a);
	aml_end(a);
}

/* Resources of the board itself, which nothing else may be given. */
static void dsdt_board(struct aml *a)
{
	aml_device_begin(a, "MBRD");
	aml_name_eisaid(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 1);
	aml_crs_begin(a);
	aml_crs_memory32(a, BOARD_ECAM_BASE, BOARD_ECAM_SIZE);
	aml_crs_io(a, BOARD_PM_BASE, BOARD_PM_SIZE);
	aml_crs_io(a, BOARD_HOTPLUG_BASE, BOARD_HOTPLUG_SIZE);
	aml_crs_io(a, BOARD_PIC_ELCR, 2);
	aml_crs_end(a);
	aml_end(a);
}

/*
 * Virtual Machine Generation ID (Microsoft's paper of that name): where the id lies,
 * and a notification when it has changed. Drivers look for the name in several forms.
 */
static void dsdt_vmgenid(struct aml *a)
{
	aml_device_begin(a, "VGEN");
	aml_name_string(a, "_HID", "HVXV0001");
	aml_name(a, "_CID");
	aml_package_begin(a, 2);
	aml_string(a, "VM_Gen_Counter");
	aml_string(a, "VMGENCTR");
	aml_end(a);
	aml_name_string(a, "_DDN", "VM_Gen_Counter");
	aml_name(a, "ADDR");
	aml_package_begin(a, 2);
	aml_int(a, BOARD_VMGENID);
	aml_int(a, 0);
	aml_end(a);
	aml_end(a);
}

_Static_assert(BOARD_VMGENID_GPE == 0, "the name of the method");

static void gpe_vmgenid(struct aml *a)
{
	aml_scope_begin(a, "\\_GPE");
	aml_method_begin(a, "_E00", 0);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "\\_SB.VGEN");
	aml_int(a, 0x80);
	aml_end(a);
	aml_end(a);
}

static void dsdt_serials(struct aml *a, unsigned int mask)
{
	static const struct {
		uint16_t base;
		uint8_t irq;
	} com[4] = {
		{ BOARD_COM1_BASE, BOARD_COM1_IRQ }, { BOARD_COM2_BASE, BOARD_COM2_IRQ },
		{ BOARD_COM3_BASE, BOARD_COM1_IRQ }, { BOARD_COM4_BASE, BOARD_COM2_IRQ },
	};
	char name[] = "COM1";
	unsigned int i;

	for (i = 0; i < 4; i++) {
		if (!(mask & (1U << i)))
			continue;
		name[3] = (char)('1' + i);
		aml_device_begin(a, name);
		aml_name_eisaid(a, "_HID", "PNP0501");
		aml_name_int(a, "_UID", i + 1);
		aml_crs_begin(a);
		aml_crs_io(a, com[i].base, 8);
		aml_crs_irq(a, com[i].irq);
		aml_crs_end(a);
		aml_end(a);
	}
}

static void dsdt_isa(struct aml *a, const struct acpi_board *ab)
{
	aml_scope_begin(a, "\\_SB.PCI0");
	dsdt_serials(a, ab->serial_mask);

	aml_device_begin(a, "RTC");
	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_crs_begin(a);
	aml_crs_io(a, BOARD_RTC_BASE, 2);
	aml_crs_irq(a, BOARD_RTC_IRQ);
	aml_crs_end(a);
	aml_end(a);

	aml_device_begin(a, "FWCF");
	aml_name_string(a, "_HID", "QEMU0002");
	aml_name_int(a, "_STA", 0xb);
	aml_crs_begin(a);
	aml_crs_io(a, BOARD_FW_CFG_BASE, BOARD_FW_CFG_LEN);
	aml_crs_end(a);
	aml_end(a);

	if (ab->pvpanic) {
		aml_device_begin(a, "PEVT");
		aml_name_string(a, "_HID", "QEMU0001");
		aml_name_int(a, "_STA", 0xf);
		aml_crs_begin(a);
		aml_crs_io(a, BOARD_PVPANIC_PORT, 1);
		aml_crs_end(a);
		aml_end(a);
	}
	aml_end(a);
}

static uint64_t write_dsdt(struct area *area, const struct acpi_board *ab)
{
	static const struct header empty;
	uint64_t addr = 0;
	struct aml a;

	aml_init(&a);
	aml_raw(&a, &empty, sizeof(empty));
	aml_name(&a, "\\_S5");
	aml_package_begin(&a, 4);
	aml_int(&a, BOARD_SLP_TYP_S5);
	aml_int(&a, 0);
	aml_int(&a, 0);
	aml_int(&a, 0);
	aml_end(&a);
	aml_scope_begin(&a, "\\_SB");
	acpi_cpus(&a, ab);
	dsdt_pci(&a, ab);
	dsdt_board(&a);
	dsdt_vmgenid(&a);
	aml_end(&a);
	dsdt_isa(&a, ab);
	gpe_vmgenid(&a);
	acpi_pci_slots(&a);
	acpi_cpus_gpe(&a, ab);

	if (a.failed || a.depth)
		area->err = -ENOMEM;
	else
		addr = place_table(area, a.buf, a.len, "DSDT", 2);
	aml_free(&a);
	return addr;
}

/* ---------------------------------------------------------- other tables */

static struct gas io_register(uint16_t port, unsigned int bytes)
{
	return (struct gas){
		.space = GAS_IO, .width = (uint8_t)(8 * bytes),
		.access = bytes == 1 ? 1 : bytes == 2 ? 2 : 3, .address = port,
	};
}

static void write_fadt(struct area *a, uint64_t facs, uint64_t dsdt)
{
	struct fadt f = {
		.facs = (uint32_t)facs, .dsdt = (uint32_t)dsdt,
		.sci_int = BOARD_SCI_IRQ, .smi_cmd = BOARD_SMI_CMD,
		.pm1a_evt = BOARD_PM1A_EVT, .pm1a_cnt = BOARD_PM1A_CNT,
		.pm_tmr = BOARD_PM_TMR, .gpe0 = BOARD_GPE0,
		.pm1_evt_len = BOARD_PM1A_EVT_LEN, .pm1_cnt_len = BOARD_PM1A_CNT_LEN,
		.pm_tmr_len = BOARD_PM_TMR_LEN, .gpe0_len = BOARD_GPE0_LEN,
		.p_lvl2_lat = 0xffff, .p_lvl3_lat = 0xffff,	/* no such states */
		.century = FADT_CENTURY,
		/* No keyboard controller is announced: looking for one takes guests long. */
		.iapc_boot_arch = BOOT_ARCH_LEGACY | BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
			 FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP,
		.reset_reg = io_register(BOARD_RESET_PORT, 1),
		.reset_value = BOARD_RESET_VALUE,
		.minor_revision = 4,
		.x_dsdt = dsdt,
		.x_pm1a_evt = io_register(BOARD_PM1A_EVT, BOARD_PM1A_EVT_LEN),
		.x_pm1a_cnt = io_register(BOARD_PM1A_CNT, BOARD_PM1A_CNT_LEN),
		.x_pm_tmr = io_register(BOARD_PM_TMR, BOARD_PM_TMR_LEN),
		.x_gpe0 = io_register(BOARD_GPE0, BOARD_GPE0_LEN),
	};

	/* The event block is two registers of 2 bytes. */
	f.x_pm1a_evt.access = f.x_gpe0.access = 2;
	memcpy(&f.hypervisor, "hvx", 3);
	list_table(a, &f, sizeof(f), "FACP", 6);
}

struct __attribute__((packed)) madt {
	struct header h;
	uint32_t lapic, flags;
};

struct __attribute__((packed)) madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
};

struct __attribute__((packed)) madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
};

struct __attribute__((packed)) madt_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
};

#define MADT_MAX_CPUS	64
#define MADT_PCAT	1	/* there are 8259s too */
#define MPS_LEVEL_HIGH	0xd

static void write_madt(struct area *a, const struct acpi_board *ab)
{
	struct __attribute__((packed)) {
		struct madt m;
		struct madt_ioapic io;
		struct madt_override timer, sci;
		struct madt_nmi nmi;
		struct madt_lapic cpu[MADT_MAX_CPUS];
	} t = {
		.m = { .lapic = BOARD_LAPIC_BASE, .flags = MADT_PCAT },
		.io = { .type = 1, .length = sizeof(t.io), .address = BOARD_IOAPIC_BASE },
		.timer = { .type = 2, .length = sizeof(t.timer), .source = 0, .gsi = 2 },
		.sci = { .type = 2, .length = sizeof(t.sci), .source = BOARD_SCI_IRQ,
			 .gsi = BOARD_SCI_IRQ, .flags = MPS_LEVEL_HIGH },
		.nmi = { .type = 4, .length = sizeof(t.nmi), .uid = 0xff, .lint = 1 },
	};
	unsigned int i, n = ab->nr_cpus < MADT_MAX_CPUS ? ab->nr_cpus : MADT_MAX_CPUS;

	for (i = 0; i < n; i++)
		t.cpu[i] = (struct madt_lapic){
			.type = 0, .length = sizeof(t.cpu[0]), .uid = (uint8_t)i,
			.apic_id = (uint8_t)ab->apic_id[i],
			.flags = ab->present >> i & 1 ? MADT_LAPIC_ENABLED : MADT_LAPIC_CAN_COME,
		};
	list_table(a, &t, sizeof(t) - (MADT_MAX_CPUS - n) * sizeof(t.cpu[0]), "APIC", 5);
}

static void write_mcfg(struct area *a)
{
	struct __attribute__((packed)) {
		struct header h;
		uint64_t reserved;
		uint64_t base;
		uint16_t segment;
		uint8_t first_bus, last_bus;
		uint32_t reserved2;
	} t = { .base = BOARD_ECAM_BASE, .last_bus = 255 };

	list_table(a, &t, sizeof(t), "MCFG", 1);
}

/* Windows: the PM timer needs to be read once only. */
static void write_waet(struct area *a)
{
	struct __attribute__((packed)) {
		struct header h;
		uint32_t flags;
	} t = { .flags = 1 << 1 };

	list_table(a, &t, sizeof(t), "WAET", 1);
}

struct __attribute__((packed)) srat_memory {
	uint8_t type, length;
	uint32_t node;
	uint16_t reserved;
	uint64_t base, size;
	uint32_t reserved2, flags;
	uint64_t reserved3;
};
#define SRAT_ENABLED		1
#define SRAT_HOTPLUGGABLE	2

static struct srat_memory srat_range(uint64_t base, uint64_t size, uint32_t flags)
{
	return (struct srat_memory){
		.type = 1, .length = sizeof(struct srat_memory), .base = base, .size = size,
		.flags = size ? flags : 0,
	};
}

/*
 * One node, and where its memory may be (5.2.16): a system must know the highest
 * address that there can be before it decides how devices reach memory.
 */
static void write_srat(struct area *a, const struct acpi_board *ab)
{
	struct __attribute__((packed)) {
		struct header h;
		uint32_t one;
		uint64_t reserved;
		struct srat_memory memory[3];
		struct __attribute__((packed)) {
			uint8_t type, length, node, apic_id;
			uint32_t flags;
			uint8_t eid, node_high[3];
			uint32_t clock_domain;
		} cpu[MADT_MAX_CPUS];
	} t = {
		.one = 1,
		.memory = {
			srat_range(0, a->mem->low_size, SRAT_ENABLED),
			srat_range(RAM_HIGH_START, a->mem->high_size, SRAT_ENABLED),
			srat_range(a->mem->device_gpa, a->mem->device_size, SRAT_ENABLED | SRAT_HOTPLUGGABLE),
		},
	};
	unsigned int i, n = ab->nr_cpus < MADT_MAX_CPUS ? ab->nr_cpus : MADT_MAX_CPUS;

	if (!a->mem->device_size)
		return;
	for (i = 0; i < n; i++) {
		t.cpu[i].length = sizeof(t.cpu[0]);
		t.cpu[i].apic_id = (uint8_t)ab->apic_id[i];
		t.cpu[i].flags = SRAT_ENABLED;
	}
	list_table(a, &t, sizeof(t) - (MADT_MAX_CPUS - n) * sizeof(t.cpu[0]), "SRAT", 3);
}

static void write_roots(struct area *a, uint64_t rsdp_addr)
{
	struct __attribute__((packed)) {
		struct header h;
		uint64_t entry[8];
	} xsdt = { 0 };
	struct __attribute__((packed)) {
		struct header h;
		uint32_t entry[8];
	} rsdt = { 0 };
	struct rsdp r = { .revision = 2, .length = sizeof(r) };
	unsigned int i;

	for (i = 0; i < a->nr; i++) {
		xsdt.entry[i] = a->table[i];
		rsdt.entry[i] = (uint32_t)a->table[i];
	}
	memcpy(r.signature, "RSD PTR ", 8);
	memcpy(r.oem_id, "HVX   ", 6);
	r.xsdt = place_table(a, &xsdt, sizeof(xsdt.h) + a->nr * 8, "XSDT", 1);
	r.rsdt = (uint32_t)place_table(a, &rsdt, sizeof(rsdt.h) + a->nr * 4, "RSDT", 1);
	r.checksum = (uint8_t)-sum(&r, 20);
	r.ext_checksum = (uint8_t)-sum(&r, sizeof(r));
	if (!a->err)
		a->err = guest_write(a->mem, rsdp_addr, &r, sizeof(r));
}

int acpi_write(const struct guest_mem *mem, const struct acpi_board *ab, uint64_t *rsdp)
{
	struct area a = { .mem = mem, .at = AREA_START + 64 };
	struct facs f = { .length = sizeof(f), .version = 2 };
	uint16_t ebda = BOARD_EBDA_BASE >> 4;
	uint64_t facs, dsdt;

	memcpy(f.signature, "FACS", 4);
	facs = place(&a, &f, sizeof(f), 64);
	dsdt = write_dsdt(&a, ab);
	write_fadt(&a, facs, dsdt);
	write_madt(&a, ab);
	write_mcfg(&a);
	write_waet(&a);
	write_srat(&a, ab);
	write_roots(&a, AREA_START);
	if (!a.err)
		a.err = guest_write(mem, EBDA_POINTER, &ebda, sizeof(ebda));
	if (a.err)
		log_error("cannot write the ACPI tables: %s", strerror(-a.err));
	*rsdp = AREA_START;
	return a.err;
}
