/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the board's parts are: the one place for port numbers, addresses and
 * interrupt lines that more than one file must agree on (devices, the ACPI
 * tables, the boot loaders). The RAM layout is in vmm/memory.h.
 */
#ifndef HVX_VMM_BOARD_H
#define HVX_VMM_BOARD_H

/* Interrupt controllers */
#define BOARD_LAPIC_BASE	0xfee00000U
#define BOARD_IOAPIC_BASE	0xfec00000U
#define BOARD_IOAPIC_PINS	24
#define BOARD_PIC_MASTER	0x20
#define BOARD_PIC_SLAVE		0xa0
#define BOARD_PIC_ELCR		0x4d0		/* 2 bytes: edge/level control */

/* ISA devices */
#define BOARD_PIT_BASE		0x40		/* 4 ports; IRQ 0 (I/O APIC pin 2) */
#define BOARD_PORT61		0x61
#define BOARD_I8042_DATA	0x60
#define BOARD_I8042_CMD		0x64
#define BOARD_I8042_KBD_IRQ	1
#define BOARD_RTC_BASE		0x70		/* 2 ports */
#define BOARD_RTC_IRQ		8
#define BOARD_COM1_BASE		0x3f8		/* 8 ports each */
#define BOARD_COM2_BASE		0x2f8
#define BOARD_COM3_BASE		0x3e8
#define BOARD_COM4_BASE		0x2e8
#define BOARD_COM1_IRQ		4		/* COM3 too */
#define BOARD_COM2_IRQ		3		/* COM4 too */

/* ACPI fixed hardware (ACPI 6.4, 4.8): one block of 64 ports */
#define BOARD_SCI_IRQ		9		/* level, active high at the pin */
#define BOARD_PM_BASE		0x600
#define BOARD_PM_SIZE		0x40
#define BOARD_PM1A_EVT		(BOARD_PM_BASE + 0x00)	/* status, enable: 2 bytes each */
#define BOARD_PM1A_EVT_LEN	4
#define BOARD_PM1A_CNT		(BOARD_PM_BASE + 0x04)
#define BOARD_PM1A_CNT_LEN	2
#define BOARD_PM_TMR		(BOARD_PM_BASE + 0x08)	/* 32-bit, 3.579545 MHz */
#define BOARD_PM_TMR_LEN	4
#define BOARD_GPE0		(BOARD_PM_BASE + 0x20)	/* status, enable: half each */
#define BOARD_GPE0_LEN		4
/* Plugging of PCI functions and vCPUs: 32-bit registers, devices/legacy/acpi_hotplug.c */
#define BOARD_HOTPLUG_BASE	0x640
#define BOARD_HOTPLUG_SIZE	0x40
#define BOARD_PLUG_UP		0x00	/* slots that were filled, 1 bit each; write 1 to clear */
#define BOARD_PLUG_DOWN		0x04	/* slots that the guest shall let go of; write 1 to clear */
#define BOARD_PLUG_EJECT	0x08	/* write: the guest has let go of these */
#define BOARD_PLUG_CPUS		0x10	/* vCPUs, 2 words each: bit 0 of the first is vCPU 0 */
#define BOARD_CPU_PRESENT	0x10	/* that are there */
#define BOARD_CPU_UP		0x18	/* that came; write 1 to clear */
#define BOARD_CPU_DOWN		0x20	/* that the guest shall let go of; write 1 to clear */
#define BOARD_CPU_EJECT		0x28	/* write: the guest has let go of these */
#define BOARD_PCIHP_GPE		1
#define BOARD_CPUHP_GPE		2
#define BOARD_SMI_CMD		0		/* none: ACPI mode is always on (SCI_EN reads 1) */
#define BOARD_SLP_TYP_S5	5		/* SLP_TYPa value of \_S5 */
#define BOARD_SLP_TYP_S3	1		/* \_S3, where <suspend-to-mem> is on */
#define BOARD_RESET_PORT	0xcf9		/* FADT reset register */
#define BOARD_RESET_VALUE	0x06

/* Guest to host */
#define BOARD_FW_CFG_BASE	0x510		/* 12 ports: selector, data, DMA at +4 */
#define BOARD_FW_CFG_LEN	12
#define BOARD_PVPANIC_PORT	0x505
#define BOARD_DEBUG_EXIT_PORT	0x501		/* default of <hvx:debug-exit> */

/* PCI configuration mechanism #1; 0xcf9 inside it is the reset register, byte access */
#define BOARD_PCI_CF8		0xcf8		/* 8 ports with 0xcfc */

/* PCI windows, the same as in devices/pci.h (which has more to say of PCI) */
#define BOARD_ECAM_BASE		0xe0000000U
#define BOARD_ECAM_SIZE		0x10000000U
#define BOARD_PCI_MMIO32	0xc0000000U	/* to BOARD_ECAM_BASE */

/* Low memory that the board itself uses (below 1 MiB; see boot/e820.c) */
#define BOARD_EBDA_BASE		0x9fc00		/* 1 KiB up to 640 KiB */
#define BOARD_ROM_BASE		0xe0000		/* RSDP, SMBIOS, ACPI tables: to 1 MiB */
#define BOARD_ROM_END		0x100000
#define BOARD_VMGENID		0xff000		/* 16 bytes: the generation id, ACPI device VGEN */
#define BOARD_VMGENID_GPE	0		/* general-purpose event: it has changed */

#endif
