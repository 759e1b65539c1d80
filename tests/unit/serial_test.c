// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/serial.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* 16550A: transmit, receive, FIFO, interrupts, loopback, shared lines. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "vmm/board.h"

#define COM1	BOARD_COM1_BASE

static struct chardev *chr;

static void setup(void)
{
	struct dom_serial cfg = { .chr.type = CHR_STDIO };

	fake_machine(0);
	ck_assert_int_eq(serial_create(&fm, &cfg), 0);
	chr = fake_chr[0];
}

static void input(const char *text)
{
	size_t n = strlen(text);

	ck_assert_uint_ge(chr->room(chr->opaque), n);
	chr->rx(chr->opaque, (const uint8_t *)text, n);
}

START_TEST(transmit)
{
	const char *text = "hello";

	while (*text) {
		ck_assert_uint_eq(inb(COM1 + 5) & 0x60, 0x60);
		outb(COM1, *text++);
	}
	ck_assert_uint_eq(fake.tx_len, 5);
	ck_assert_mem_eq(fake.tx, "hello", 5);
}
END_TEST

START_TEST(transmit_interrupt)
{
	ck_assert(!fake.line[4]);
	outb(COM1 + 1, 2);
	ck_assert(fake.line[4]);
	ck_assert_uint_eq(inb(COM1 + 2), 2);
	ck_assert(!fake.line[4]);		/* acknowledged by the read */
	ck_assert_uint_eq(inb(COM1 + 2), 1);
	outb(COM1, 'x');
	ck_assert(fake.line[4]);
	inb(COM1 + 2);
	/* Off and on again raises it anew: drivers test for that. */
	outb(COM1 + 1, 0);
	outb(COM1 + 1, 2);
	ck_assert_uint_eq(inb(COM1 + 2), 2);
}
END_TEST

START_TEST(receive)
{
	ck_assert_uint_eq(chr->room(chr->opaque), 1);
	outb(COM1 + 2, 0xc1);			/* FIFO, trigger 14 */
	outb(COM1 + 1, 1);
	ck_assert_uint_eq(chr->room(chr->opaque), 16);
	input("ab");
	ck_assert(fake.line[4]);
	ck_assert_uint_eq(inb(COM1 + 2), 0xcc);	/* below the trigger: time-out */
	input("cdefghijklmn");
	ck_assert_uint_eq(inb(COM1 + 2), 0xc4);
	ck_assert_uint_eq(inb(COM1), 'a');
	ck_assert_uint_gt(chr->ready, 0);
	while (inb(COM1 + 5) & 1)
		inb(COM1);
	ck_assert(!fake.line[4]);
	ck_assert_uint_eq(inb(COM1), 0);
}
END_TEST

START_TEST(fifo_clear)
{
	outb(COM1 + 2, 0x01);
	input("abc");
	outb(COM1 + 2, 0x03);
	ck_assert(!(inb(COM1 + 5) & 1));
	input("abc");
	outb(COM1 + 2, 0x00);			/* off: emptied too */
	ck_assert(!(inb(COM1 + 5) & 1));
	ck_assert_uint_eq(inb(COM1 + 2), 1);
}
END_TEST

START_TEST(loopback)
{
	unsigned int i;

	outb(COM1 + 4, 0x1a);			/* loop, RTS, OUT2 */
	ck_assert_uint_eq(inb(COM1 + 6) & 0xf0, 0x90);
	outb(COM1, 'q');
	ck_assert_uint_eq(fake.tx_len, 0);
	ck_assert_uint_eq(inb(COM1), 'q');
	ck_assert_uint_eq(chr->room(chr->opaque), 0);
	outb(COM1 + 2, 1);
	for (i = 0; i < 20; i++)
		outb(COM1, 'a' + i);
	ck_assert_uint_eq(inb(COM1 + 5) & 3, 3);	/* overrun */
	ck_assert_uint_eq(inb(COM1 + 5) & 3, 1);
	for (i = 0; i < 16; i++)
		ck_assert_uint_eq(inb(COM1), 'a' + i);
	outb(COM1 + 3, 0x43);			/* break */
	ck_assert(inb(COM1 + 5) & 0x10);
}
END_TEST

START_TEST(divisor_and_scratch)
{
	outb(COM1 + 3, 0x80);
	outb(COM1, 0x34);
	outb(COM1 + 1, 0x12);
	ck_assert_uint_eq(inb(COM1), 0x34);
	ck_assert_uint_eq(inb(COM1 + 1), 0x12);
	outb(COM1 + 3, 0x03);
	ck_assert_uint_eq(inb(COM1 + 1), 0);
	outb(COM1 + 7, 0xa5);
	ck_assert_uint_eq(inb(COM1 + 7), 0xa5);
	ck_assert_uint_eq(fake.tx_len, 0);
}
END_TEST

START_TEST(shared_line)
{
	struct dom_serial com3 = { .chr.type = CHR_STDIO, .port = 2 };

	ck_assert_int_eq(serial_create(&fm, &com3), 0);
	outb(COM1 + 1, 2);
	outb(BOARD_COM3_BASE + 1, 2);
	inb(COM1 + 2);
	ck_assert(fake.line[4]);
	inb(BOARD_COM3_BASE + 2);
	ck_assert(!fake.line[4]);
}
END_TEST

START_TEST(bad_port)
{
	struct dom_serial again = { .port = 0 }, none = { .port = 4 };

	ck_assert_int_eq(serial_create(&fm, &again), -EEXIST);
	ck_assert_int_eq(serial_create(&fm, &none), -EINVAL);
}
END_TEST

START_TEST(anything)
{
	unsigned int i;

	for (i = 0; i < 200000; i++) {
		uint32_t r = fake_random();

		fake.tx_len = 0;
		if (r & 0x100)
			outb(COM1 + (r & 7), r >> 16);
		else if (r & 0x200)
			inb(COM1 + (r & 7));
		else if (chr->room(chr->opaque))
			input("z");
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("serial");
	TCase *t = tcase_create("serial");

	tcase_add_checked_fixture(t, setup, fake_free);
	tcase_add_test(t, transmit);
	tcase_add_test(t, transmit_interrupt);
	tcase_add_test(t, receive);
	tcase_add_test(t, fifo_clear);
	tcase_add_test(t, loopback);
	tcase_add_test(t, divisor_and_scratch);
	tcase_add_test(t, shared_line);
	tcase_add_test(t, bad_port);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
