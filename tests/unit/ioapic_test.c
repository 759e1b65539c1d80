// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/ioapic.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* I/O APIC: registers, edge and level delivery, remote IRR, EOI, masks. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "vmm/board.h"

#define LEVEL	(1U << 15)
#define MASKED	(1U << 16)
#define IRR	(1U << 14)

static void wr(unsigned int reg, uint32_t val)
{
	bus_write(&fm.mmio, BOARD_IOAPIC_BASE, 4, reg);
	bus_write(&fm.mmio, BOARD_IOAPIC_BASE + 0x10, 4, val);
}

static uint32_t rd(unsigned int reg)
{
	bus_write(&fm.mmio, BOARD_IOAPIC_BASE, 4, reg);
	return bus_read(&fm.mmio, BOARD_IOAPIC_BASE + 0x10, 4);
}

static void rte(unsigned int pin, uint32_t low, uint32_t high)
{
	wr(0x11 + 2 * pin, high);
	wr(0x10 + 2 * pin, low);
}

static void setup(void)
{
	fake_machine(0);
	ck_assert_int_eq(ioapic_create(&fm), 0);
}

START_TEST(registers)
{
	unsigned int pin;

	ck_assert_uint_eq(rd(1), 0x00170020);
	wr(0, 0xffffffff);
	ck_assert_uint_eq(rd(0), 0x0f000000);
	for (pin = 0; pin < 24; pin++)
		ck_assert_uint_eq(rd(0x10 + 2 * pin), MASKED);
	/* Delivery status and remote IRR are not the guest's to set. */
	rte(5, 0xffffffff, 0xffffffff);
	ck_assert_uint_eq(rd(0x10 + 10), 0x1afff);
	ck_assert_uint_eq(rd(0x11 + 10), 0xfffe0000);
	ck_assert_uint_eq(rd(0x40), 0);
}
END_TEST

START_TEST(edge)
{
	rte(4, 0x31, 0x02000000);
	ioapic_set_irq(fm.ioapic, 4, true);
	ioapic_set_irq(fm.ioapic, 4, true);
	ck_assert_uint_eq(fake.nr_msi, 1);
	ck_assert_uint_eq(fake.msi[0].address, 0xfee02000);
	ck_assert_uint_eq(fake.msi[0].data, 0x31);
	ioapic_set_irq(fm.ioapic, 4, false);
	ioapic_set_irq(fm.ioapic, 4, true);
	ck_assert_uint_eq(fake.nr_msi, 2);
	ck_assert_uint_eq(rd(0x18), 0x31);
}
END_TEST

START_TEST(masked_edge)
{
	rte(4, 0x31 | MASKED, 0);
	ioapic_set_irq(fm.ioapic, 4, true);
	rte(4, 0x31, 0);
	ck_assert_uint_eq(fake.nr_msi, 0);
}
END_TEST

START_TEST(level)
{
	rte(11, 0x41 | LEVEL | 1 << 11 | 1 << 8, 0xff000000);
	ioapic_set_irq(fm.ioapic, 11, true);
	ck_assert_uint_eq(fake.nr_msi, 1);
	ck_assert_uint_eq(fake.msi[0].address, 0xfeeff004);
	ck_assert_uint_eq(fake.msi[0].data, 0x41 | 1 << 8 | 1 << 14 | 1 << 15);
	ck_assert(rd(0x10 + 22) & IRR);
	/* In service: nothing more until the EOI, which finds the line still high. */
	ioapic_set_irq(fm.ioapic, 11, false);
	ioapic_set_irq(fm.ioapic, 11, true);
	ck_assert_uint_eq(fake.nr_msi, 1);
	ioapic_eoi(fm.ioapic, 0x40);
	ck_assert_uint_eq(fake.nr_msi, 1);
	ioapic_eoi(fm.ioapic, 0x41);
	ck_assert_uint_eq(fake.nr_msi, 2);
	ioapic_set_irq(fm.ioapic, 11, false);
	ioapic_eoi(fm.ioapic, 0x41);
	ck_assert_uint_eq(fake.nr_msi, 2);
	ck_assert(!(rd(0x10 + 22) & IRR));
}
END_TEST

START_TEST(masked_level)
{
	rte(11, 0x41 | LEVEL | MASKED, 0);
	ioapic_set_irq(fm.ioapic, 11, true);
	ck_assert_uint_eq(fake.nr_msi, 0);
	rte(11, 0x41 | LEVEL, 0);
	ck_assert_uint_eq(fake.nr_msi, 1);
	/* Masked while in service: the EOI does not deliver again. */
	rte(11, 0x41 | LEVEL | MASKED, 0);
	ioapic_eoi(fm.ioapic, 0x41);
	ck_assert_uint_eq(fake.nr_msi, 1);
}
END_TEST

START_TEST(eoi_register)
{
	rte(9, 0x51 | LEVEL, 0);
	ioapic_set_irq(fm.ioapic, 9, true);
	ioapic_set_irq(fm.ioapic, 9, false);
	bus_write(&fm.mmio, BOARD_IOAPIC_BASE + 0x40, 4, 0x51);
	ck_assert(!(rd(0x10 + 18) & IRR));
}
END_TEST

START_TEST(to_edge_clears_irr)
{
	rte(9, 0x51 | LEVEL, 0);
	ioapic_set_irq(fm.ioapic, 9, true);
	ck_assert(rd(0x10 + 18) & IRR);
	rte(9, 0x51 | MASKED, 0);
	rte(9, 0x51 | LEVEL, 0);
	ck_assert_uint_eq(fake.nr_msi, 2);
}
END_TEST

START_TEST(wide_destination)
{
	/* 15-bit ids: the low 8 in RTE 63:56, the rest in 55:49. */
	rte(3, 0x61, 0x34000000 | 0x05 << 17);
	ioapic_set_irq(fm.ioapic, 3, true);
	ck_assert_uint_eq(fake.msi[0].address, 0xfee00000 | 0x34 << 12 | 0x05 << 5);
}
END_TEST

START_TEST(extint)
{
	rte(0, 0x700, 0);
	ioapic_set_irq(fm.ioapic, 0, true);
	ck_assert_uint_eq(fake.nr_msi, 0);
}
END_TEST

START_TEST(anything)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		uint32_t r = fake_random(), v = fake_random();

		if (r & 1)
			wr(r >> 8 & 0xff, v);
		else if (r & 2)
			rd(r >> 8 & 0xff);
		else if (r & 4)
			ioapic_set_irq(fm.ioapic, r >> 8 & 31, v & 1);
		else if (r & 8)
			bus_write(&fm.mmio, BOARD_IOAPIC_BASE + (v & 0xff0), 1 << (r >> 8 & 3), r);
		else
			ioapic_eoi(fm.ioapic, v);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ioapic");
	TCase *t = tcase_create("ioapic");

	tcase_add_checked_fixture(t, setup, fake_free);
	tcase_add_test(t, registers);
	tcase_add_test(t, edge);
	tcase_add_test(t, masked_edge);
	tcase_add_test(t, level);
	tcase_add_test(t, masked_level);
	tcase_add_test(t, eoi_register);
	tcase_add_test(t, to_edge_clears_irr);
	tcase_add_test(t, wide_destination);
	tcase_add_test(t, extint);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
