// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/pic.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* The 8259 pair: initialisation, priorities, EOI, rotation, masks, cascade, spurious. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "vmm/board.h"

#define MASTER	BOARD_PIC_MASTER
#define SLAVE	BOARD_PIC_SLAVE

static void init_pics(uint8_t icw4)
{
	outb(MASTER, 0x11);
	outb(SLAVE, 0x11);
	outb(MASTER + 1, 0x20);
	outb(SLAVE + 1, 0x28);
	outb(MASTER + 1, 4);
	outb(SLAVE + 1, 2);
	outb(MASTER + 1, icw4);
	outb(SLAVE + 1, icw4 & ~0x10);
	outb(MASTER + 1, 0);
	outb(SLAVE + 1, 0);
}

static void setup(void)
{
	fake_machine(0);
	ck_assert_int_eq(pic_create(&fm), 0);
	init_pics(1);
}

static void pulse(unsigned int irq)
{
	pic_set_irq(fm.pic, irq, true);
	pic_set_irq(fm.pic, irq, false);
}

static uint8_t isr(uint16_t base)
{
	outb(base, 0x0b);
	return inb(base);
}

static uint8_t irr(uint16_t base)
{
	outb(base, 0x0a);
	return inb(base);
}

START_TEST(edge_and_eoi)
{
	pic_set_irq(fm.pic, 4, true);
	ck_assert(fake.extint);
	ck_assert_uint_eq(irr(MASTER), 0x10);
	ck_assert_int_eq(pic_ack(fm.pic), 0x24);
	ck_assert(!fake.extint);
	ck_assert_uint_eq(isr(MASTER), 0x10);
	ck_assert_uint_eq(irr(MASTER), 0);
	/* The line stays high: no second interrupt, EOI or not. */
	outb(MASTER, 0x20);
	ck_assert(!fake.extint);
	ck_assert_uint_eq(isr(MASTER), 0);
	pic_set_irq(fm.pic, 4, false);
	pic_set_irq(fm.pic, 4, true);
	ck_assert(fake.extint);
}
END_TEST

START_TEST(priority)
{
	pic_set_irq(fm.pic, 5, true);
	pic_set_irq(fm.pic, 1, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x21);
	/* 5 is lower than 1, which is in service. */
	ck_assert(!fake.extint);
	/* 0 is higher. */
	pic_set_irq(fm.pic, 0, true);
	ck_assert(fake.extint);
	ck_assert_int_eq(pic_ack(fm.pic), 0x20);
	outb(MASTER, 0x20);		/* non-specific: ends 0 */
	ck_assert_uint_eq(isr(MASTER), 0x02);
	outb(MASTER, 0x61);		/* specific: ends 1 */
	ck_assert_int_eq(pic_ack(fm.pic), 0x25);
}
END_TEST

START_TEST(masks)
{
	outb(MASTER + 1, 0x10);
	pic_set_irq(fm.pic, 4, true);
	ck_assert(!fake.extint);
	ck_assert_uint_eq(inb(MASTER + 1), 0x10);
	outb(MASTER + 1, 0);
	ck_assert(fake.extint);
	/* A request whose line drops before INTA gives the spurious vector and no ISR bit. */
	pic_set_irq(fm.pic, 4, false);
	ck_assert(!fake.extint);
	ck_assert_int_eq(pic_ack(fm.pic), 0x27);
	ck_assert_uint_eq(isr(MASTER), 0);
}
END_TEST

START_TEST(cascade)
{
	pic_set_irq(fm.pic, 12, true);
	ck_assert(fake.extint);
	pic_set_irq(fm.pic, 8, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x28);
	ck_assert_uint_eq(isr(MASTER), 0x04);
	ck_assert_uint_eq(isr(SLAVE), 0x01);
	ck_assert(!fake.extint);
	outb(SLAVE, 0x20);
	outb(MASTER, 0x20);
	ck_assert(fake.extint);
	ck_assert_int_eq(pic_ack(fm.pic), 0x2c);
	outb(SLAVE, 0x20);
	outb(MASTER, 0x20);
	ck_assert(!fake.extint);
	/* IRQ 2 does not exist as an input. */
	pic_set_irq(fm.pic, 2, true);
	ck_assert(!fake.extint);
}
END_TEST

START_TEST(slave_spurious)
{
	pic_set_irq(fm.pic, 10, true);
	outb(MASTER + 1, 0);
	pic_set_irq(fm.pic, 10, false);
	ck_assert(!fake.extint);
	ck_assert_int_eq(pic_ack(fm.pic), 0x27);
}
END_TEST

START_TEST(level)
{
	outb(BOARD_PIC_ELCR, 0xff);
	ck_assert_uint_eq(inb(BOARD_PIC_ELCR), 0xf8);
	outb(BOARD_PIC_ELCR + 1, 0xff);
	ck_assert_uint_eq(inb(BOARD_PIC_ELCR + 1), 0xde);
	pic_set_irq(fm.pic, 9, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x29);
	outb(SLAVE, 0x20);
	outb(MASTER, 0x20);
	/* Still asserted: again. */
	ck_assert_int_eq(pic_ack(fm.pic), 0x29);
	pic_set_irq(fm.pic, 9, false);
	outb(SLAVE, 0x20);
	outb(MASTER, 0x20);
	ck_assert(!fake.extint);
}
END_TEST

START_TEST(auto_eoi)
{
	init_pics(3);
	pulse(3);
	pic_set_irq(fm.pic, 3, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x23);
	ck_assert_uint_eq(isr(MASTER), 0);
}
END_TEST

START_TEST(rotation)
{
	outb(MASTER, 0xc0 | 3);		/* 3 lowest: 4 is highest */
	pic_set_irq(fm.pic, 0, true);
	pic_set_irq(fm.pic, 4, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x24);
	outb(MASTER, 0xa0);		/* rotate on non-specific EOI: 4 lowest */
	ck_assert_int_eq(pic_ack(fm.pic), 0x20);
	outb(MASTER, 0x20);
	pic_set_irq(fm.pic, 4, false);
	pic_set_irq(fm.pic, 4, true);
	pic_set_irq(fm.pic, 3, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x23);
}
END_TEST

START_TEST(special_mask)
{
	pic_set_irq(fm.pic, 1, true);
	ck_assert_int_eq(pic_ack(fm.pic), 0x21);
	outb(MASTER + 1, 0x02);
	outb(MASTER, 0x68);
	pic_set_irq(fm.pic, 6, true);
	ck_assert(fake.extint);
	ck_assert_int_eq(pic_ack(fm.pic), 0x26);
}
END_TEST

START_TEST(poll)
{
	pic_set_irq(fm.pic, 6, true);
	outb(MASTER, 0x0c);
	ck_assert_uint_eq(inb(MASTER), 0x86);
	ck_assert_uint_eq(isr(MASTER), 0x40);
	outb(MASTER, 0x0c);
	ck_assert_uint_eq(inb(MASTER), 0);
}
END_TEST

START_TEST(anything)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
		uint32_t r = fake_random();
		uint16_t port = ports[r % 6];

		if (r & 0x100)
			outb(port, r >> 16);
		else if (r & 0x200)
			inb(port);
		else if (r & 0x400)
			pic_set_irq(fm.pic, r >> 16 & 31, r & 0x800);
		else
			ck_assert_int_lt(pic_ack(fm.pic), 256);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pic");
	TCase *t = tcase_create("pic");

	tcase_add_checked_fixture(t, setup, fake_free);
	tcase_add_test(t, edge_and_eoi);
	tcase_add_test(t, priority);
	tcase_add_test(t, masks);
	tcase_add_test(t, cascade);
	tcase_add_test(t, slave_spurious);
	tcase_add_test(t, level);
	tcase_add_test(t, auto_eoi);
	tcase_add_test(t, rotation);
	tcase_add_test(t, special_mask);
	tcase_add_test(t, poll);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
