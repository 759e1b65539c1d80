// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/acpi_pm.c devices/legacy/i8042.c devices/legacy/fw_cfg.c devices/legacy/debug_exit.c devices/legacy/pvpanic.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* The small board parts: ACPI fixed hardware, i8042, fw_cfg, debug-exit, pvpanic. */
#define FAKE_CLOCK
#include <endian.h>
#include "fake_machine.h"
#include "vmm/board.h"

#define NSEC	1000000000ULL
#define RAM	(4ULL << 20)

static void setup(void)
{
	fake_machine(RAM);
	fm.nr_vcpus = 3;
	ck_assert_int_eq(acpi_pm_create(&fm), 0);
	ck_assert_int_eq(i8042_create(&fm), 0);
	ck_assert_int_eq(fw_cfg_create(&fm), 0);
	ck_assert_int_eq(debug_exit_create(&fm, 0x501), 0);
	ck_assert_int_eq(pvpanic_create(&fm), 0);
	ck_assert_int_eq(fw_cfg_add(&fm, "opt/test", "0123456789", 10), 0);
	ck_assert_int_eq(fw_cfg_add(&fm, "etc/empty", "", 0), 0);
}

/* ------------------------------------------------------------------------ ACPI */

START_TEST(pm_timer)
{
	uint32_t a = inl(BOARD_PM_TMR);

	fake_advance(NSEC);
	ck_assert_uint_eq(inl(BOARD_PM_TMR) - a, 3579545);
	/* By bytes too. */
	ck_assert_uint_eq(inb(BOARD_PM_TMR + 1), inl(BOARD_PM_TMR) >> 8 & 0xff);
}
END_TEST

START_TEST(timer_carry)
{
	/* Bit 31 changes every 2^31 ticks: 599.9 s. */
	outw(BOARD_PM1A_EVT + 2, 1);
	fake_advance(599 * NSEC);
	ck_assert(!fake.line[9]);
	fake_advance(NSEC);
	ck_assert(fake.line[9]);
	ck_assert(inw(BOARD_PM1A_EVT) & 1);
	outw(BOARD_PM1A_EVT, 1);
	ck_assert(!fake.line[9]);
	ck_assert(!(inw(BOARD_PM1A_EVT) & 1));
	fake_advance(600 * NSEC);
	ck_assert(fake.line[9]);
}
END_TEST

START_TEST(power_button)
{
	acpi_pm_power_button(&fm);
	ck_assert(!fake.line[9]);
	outw(BOARD_PM1A_EVT + 2, 0x100);
	ck_assert(fake.line[9]);
	ck_assert_uint_eq(inw(BOARD_PM1A_EVT), 0x100);
	outw(BOARD_PM1A_EVT, 0x100);
	ck_assert(!fake.line[9]);
}
END_TEST

START_TEST(power_off)
{
	ck_assert(inw(BOARD_PM1A_CNT) & 1);		/* SCI_EN */
	outw(BOARD_PM1A_CNT, BOARD_SLP_TYP_S5 << 10);
	ck_assert_int_eq(fake.event, EV_NONE);
	outw(BOARD_PM1A_CNT, 3 << 10 | 1 << 13);	/* not a state that we have */
	ck_assert_int_eq(fake.event, EV_NONE);
	outw(BOARD_PM1A_CNT, BOARD_SLP_TYP_S5 << 10 | 1 << 13);
	ck_assert_int_eq(fake.event, EV_POWEROFF);
	ck_assert(!(inw(BOARD_PM1A_CNT) & 1 << 13));	/* SLP_EN reads as 0 */
}
END_TEST

START_TEST(gpe)
{
	outb(BOARD_GPE0 + 2, 0xff);
	ck_assert_uint_eq(inb(BOARD_GPE0 + 2), 0xff);
	ck_assert_uint_eq(inb(BOARD_GPE0), 0);
	ck_assert(!fake.line[9]);
}
END_TEST

/* ----------------------------------------------------------------------- i8042 */

START_TEST(keyboard_reset)
{
	outb(0x64, 0xfe);
	ck_assert_int_eq(fake.event, EV_RESET);
	fake.event = EV_NONE;
	outb(0x64, 0xff);		/* pulses nothing */
	ck_assert_int_eq(fake.event, EV_NONE);
	outb(0x64, 0xd1);
	outb(0x60, 0xdf);
	ck_assert_int_eq(fake.event, EV_NONE);
	outb(0x64, 0xd1);
	outb(0x60, 0xde);
	ck_assert_int_eq(fake.event, EV_RESET);
	fake.event = EV_NONE;
	outb(0x92, inb(0x92) | 1);
	ck_assert_int_eq(fake.event, EV_RESET);
}
END_TEST

START_TEST(keyboard_controller)
{
	outb(0x64, 0xaa);
	ck_assert_uint_eq(inb(0x64) & 1, 1);
	ck_assert_uint_eq(inb(0x60), 0x55);
	ck_assert_uint_eq(inb(0x64) & 1, 0);
	outb(0x64, 0x60);
	outb(0x60, 0x44);
	outb(0x64, 0x20);
	ck_assert_uint_eq(inb(0x60), 0x64);	/* the second port stays off */
	/* No keyboard: at once a time-out. */
	outb(0x60, 0xf2);
	ck_assert_uint_eq(inb(0x64) & 0x41, 0x41);
	ck_assert_uint_eq(inb(0x60), 0xfe);
	outb(0x64, 0xa9);
	ck_assert_uint_ne(inb(0x60), 0);	/* no mouse port */
}
END_TEST

START_TEST(keyboard_interrupt)
{
	outb(0x64, 0x60);
	outb(0x60, 0x45);
	outb(0x64, 0xaa);
	ck_assert(fake.line[1]);
	inb(0x60);
	ck_assert(!fake.line[1]);
}
END_TEST

/* ---------------------------------------------------------------------- fw_cfg */

static void select_key(uint16_t key)
{
	outw(BOARD_FW_CFG_BASE, key);
}

static uint32_t read_be32(void)
{
	uint32_t v = 0;
	int i;

	for (i = 0; i < 4; i++)
		v = v << 8 | inb(BOARD_FW_CFG_BASE + 1);
	return v;
}

static unsigned int find_file(const char *name)
{
	uint32_t n, i, j, key = 0;
	char entry[56];

	select_key(0x19);
	n = read_be32();
	for (i = 0; i < n; i++) {
		uint32_t k;

		read_be32();
		k = read_be32() >> 16;
		for (j = 0; j < 56; j++)
			entry[j] = inb(BOARD_FW_CFG_BASE + 1);
		if (!strcmp(entry, name))
			key = k;
	}
	return key;
}

START_TEST(fw_ports)
{
	char text[11] = { 0 };
	unsigned int i, key;

	select_key(0);
	for (i = 0; i < 4; i++)
		text[i] = inb(BOARD_FW_CFG_BASE + 1);
	ck_assert_str_eq(text, "QEMU");
	select_key(1);
	ck_assert_uint_eq(read_be32(), 0x03000000);
	select_key(5);
	ck_assert_uint_eq(inb(BOARD_FW_CFG_BASE + 1), 3);
	key = find_file("opt/test");
	ck_assert_uint_ge(key, 0x20);
	select_key(key);
	for (i = 0; i < 10; i++)
		text[i] = inb(BOARD_FW_CFG_BASE + 1);
	ck_assert_str_eq(text, "0123456789");
	ck_assert_uint_eq(inb(BOARD_FW_CFG_BASE + 1), 0);
	select_key(0x3fff);
	ck_assert_uint_eq(inb(BOARD_FW_CFG_BASE + 1), 0);
	ck_assert_uint_eq(be32toh(inl(BOARD_FW_CFG_BASE + 4)), 0x51454d55);
	ck_assert_uint_eq(be32toh(inl(BOARD_FW_CFG_BASE + 8)), 0x20434647);
}
END_TEST

static uint32_t dma(uint32_t control, uint32_t len, uint64_t addr)
{
	struct { uint32_t control, len; uint64_t addr; } __attribute__((packed)) d = {
		htobe32(control), htobe32(len), htobe64(addr),
	};

	ck_assert_int_eq(guest_write(&fm.mem, 0x1000, &d, sizeof(d)), 0);
	outl(BOARD_FW_CFG_BASE + 4, 0);
	outl(BOARD_FW_CFG_BASE + 8, htobe32(0x1000));
	guest_read(&fm.mem, 0x1000, &d, sizeof(d));
	return be32toh(d.control);
}

START_TEST(fw_dma)
{
	unsigned int key = find_file("opt/test");
	char buf[16];

	memset(guest_ptr(&fm.mem, 0x2000, 32, true), 0xee, 32);
	ck_assert_uint_eq(dma(key << 16 | 8 | 2, 12, 0x2000), 0);
	guest_read(&fm.mem, 0x2000, buf, 16);
	ck_assert_mem_eq(buf, "0123456789\0\0\xee\xee", 14);
	ck_assert_uint_eq(dma(key << 16 | 8 | 4, 4, 0), 0);	/* skip */
	ck_assert_uint_eq(dma(2, 3, 0x2000), 0);
	guest_read(&fm.mem, 0x2000, buf, 3);
	ck_assert_mem_eq(buf, "456", 3);
	ck_assert_uint_eq(dma(4, 0xffffffff, 0), 0);
	ck_assert_uint_eq(dma(2, 1, 0x2000), 0);
}
END_TEST

START_TEST(fw_dma_bad)
{
	unsigned int key = find_file("opt/test");

	ck_assert_uint_eq(dma(key << 16 | 8 | 2, 10, RAM), 1);
	ck_assert_uint_eq(dma(key << 16 | 8 | 2, 10, RAM - 5), 1);
	ck_assert_uint_eq(dma(key << 16 | 8 | 2, 10, 0xa0000), 1);
	ck_assert_uint_eq(dma(key << 16 | 8 | 2, 10, ~0ULL - 4), 1);
	ck_assert_uint_eq(dma(key << 16 | 8 | 2, 0xffffffff, 0), 1);
	ck_assert_uint_eq(dma(key << 16 | 8 | 16, 4, 0x2000), 1);	/* write */
	/* A descriptor outside of RAM: nothing happens. */
	outl(BOARD_FW_CFG_BASE + 4, htobe32(0xffffffff));
	outl(BOARD_FW_CFG_BASE + 8, htobe32(0xfffffff8));
	bus_write(&fm.pio, BOARD_FW_CFG_BASE + 4, 8, htobe64(RAM - 8));
}
END_TEST

START_TEST(fw_names)
{
	char name[80];
	unsigned int i;

	memset(name, 'x', sizeof(name));
	name[56] = 0;
	ck_assert_int_eq(fw_cfg_add(&fm, name, "", 0), -EINVAL);
	name[55] = 0;
	ck_assert_int_eq(fw_cfg_add(&fm, name, "", 0), 0);
	for (i = 0; i < 61; i++)
		ck_assert_int_eq(fw_cfg_add(&fm, "f", "", 0), 0);
	ck_assert_int_eq(fw_cfg_add(&fm, "f", "", 0), -ENOSPC);
}
END_TEST

/* -------------------------------------------------------------- guest to host */

START_TEST(exits)
{
	outl(0x501, 0x21);
	ck_assert_int_eq(fake.event, EV_DEBUG_EXIT);
	ck_assert_int_eq(fake.event_status, 0x21);
	outb(0x501, 3);
	ck_assert_int_eq(fake.event_status, 3);
	ck_assert_int_eq(debug_exit_create(&fm, 0x502), -EEXIST);
	ck_assert_uint_eq(inb(0x505) & 1, 1);
	outb(0x505, 2);
	ck_assert_int_eq(fake.event, EV_DEBUG_EXIT);
	outb(0x505, 1);
	ck_assert_int_eq(fake.event, EV_PANIC);
}
END_TEST

START_TEST(anything)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		static const uint16_t bases[] = { 0x60, 0x64, 0x92, 0x500, 0x510, 0x518, 0x600, 0x620 };
		uint32_t r = fake_random();
		uint16_t port = bases[r & 7] + (r >> 3 & 15);

		if (r & 0x100)
			bus_write(&fm.pio, port, 1 << (r >> 9 & 3), fake_random());
		else
			bus_read(&fm.pio, port, 1 << (r >> 9 & 3));
		if (!(r & 0xff0000))
			fake_advance(fake_random());
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("platform");
	TCase *t = tcase_create("platform");

	tcase_add_checked_fixture(t, setup, fake_free);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, pm_timer);
	tcase_add_test(t, timer_carry);
	tcase_add_test(t, power_button);
	tcase_add_test(t, power_off);
	tcase_add_test(t, gpe);
	tcase_add_test(t, keyboard_reset);
	tcase_add_test(t, keyboard_controller);
	tcase_add_test(t, keyboard_interrupt);
	tcase_add_test(t, fw_ports);
	tcase_add_test(t, fw_dma);
	tcase_add_test(t, fw_dma_bad);
	tcase_add_test(t, fw_names);
	tcase_add_test(t, exits);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
