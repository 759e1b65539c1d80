// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/pit.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* 8254: counting in each mode, latches, gates, and IRQ 0, on a clock that the test moves. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "vmm/board.h"

#define HZ	1193182ULL
#define NSEC	1000000000ULL
#define PIT	BOARD_PIT_BASE

static uint64_t ticks(uint64_t n)
{
	return (n * NSEC + HZ - 1) / HZ;
}

static void setup(void)
{
	fake_machine(0);
	ck_assert_int_eq(pit_create(&fm), 0);
}

static void program(unsigned int ch, unsigned int mode, uint16_t count)
{
	outb(PIT + 3, ch << 6 | 3 << 4 | mode << 1);
	outb(PIT + ch, count);
	outb(PIT + ch, count >> 8);
}

static uint16_t both_bytes(unsigned int ch)
{
	uint16_t low = inb(PIT + ch);

	return low | inb(PIT + ch) << 8;
}

static uint16_t latched(unsigned int ch)
{
	outb(PIT + 3, ch << 6);
	return both_bytes(ch);
}

START_TEST(mode2_counts)
{
	program(0, 2, 1000);
	ck_assert_uint_eq(latched(0), 1000);
	fake_advance(ticks(1));
	ck_assert_uint_eq(latched(0), 999);
	fake_advance(ticks(998));
	ck_assert_uint_eq(latched(0), 1);
	fake_advance(ticks(1));
	ck_assert_uint_eq(latched(0), 1000);
}
END_TEST

START_TEST(mode2_irq)
{
	unsigned int before;

	program(0, 2, 11932);		/* 100 Hz */
	before = fake.rises[0];
	fake_advance(NSEC);
	ck_assert_uint_ge(fake.rises[0] - before, 99);
	ck_assert_uint_le(fake.rises[0] - before, 101);
}
END_TEST

START_TEST(mode0_irq)
{
	program(0, 0, 1000);
	ck_assert(!fake.line[0]);
	fake_advance(ticks(999));
	ck_assert(!fake.line[0]);
	fake_advance(ticks(2));
	ck_assert(fake.line[0]);
	fake_advance(NSEC);
	ck_assert_uint_eq(fake.rises[0], 1);
	/* It goes on counting, through zero. */
	ck_assert_uint_ne(latched(0), 0);
}
END_TEST

START_TEST(mode0_rewrite)
{
	program(0, 0, 1000);
	fake_advance(ticks(500));
	outb(PIT, 0xe8);		/* the first byte stops it */
	fake_advance(ticks(2000));
	ck_assert(!fake.line[0]);
	outb(PIT, 3);
	fake_advance(ticks(999));
	ck_assert(!fake.line[0]);
	fake_advance(ticks(2));
	ck_assert(fake.line[0]);
}
END_TEST

START_TEST(mode3_square)
{
	program(2, 3, 1000);
	outb(0x61, 1);
	ck_assert(inb(0x61) & 0x20);
	fake_advance(ticks(400));
	ck_assert(inb(0x61) & 0x20);
	ck_assert_uint_eq(latched(2), 200);	/* by twos */
	fake_advance(ticks(200));
	ck_assert(!(inb(0x61) & 0x20));
	fake_advance(ticks(500));
	ck_assert(inb(0x61) & 0x20);
}
END_TEST

START_TEST(mode4_strobe)
{
	program(0, 4, 100);
	ck_assert(fake.line[0]);
	fake_advance(ticks(200));
	ck_assert(fake.line[0]);
	ck_assert_uint_eq(fake.rises[0], 2);	/* high from the mode, then the strobe */
}
END_TEST

/* As kernels calibrate: channel 2, mode 0, gate open, watch OUT in port 0x61. */
START_TEST(gate_and_port61)
{
	outb(0x61, 0);
	program(2, 0, 1000);
	fake_advance(ticks(5000));
	ck_assert(!(inb(0x61) & 0x20));
	outb(0x61, 1);
	fake_advance(ticks(500));
	ck_assert_uint_le(latched(2), 501);
	ck_assert_uint_ge(latched(2), 499);
	outb(0x61, 0);			/* the count stands still */
	fake_advance(ticks(5000));
	ck_assert_uint_ge(latched(2), 499);
	outb(0x61, 3);
	fake_advance(ticks(502));
	ck_assert_uint_eq(inb(0x61) & 0x23, 0x23);
}
END_TEST

START_TEST(one_shot_by_gate)
{
	outb(0x61, 0);
	program(2, 1, 1000);
	fake_advance(ticks(5000));
	ck_assert(inb(0x61) & 0x20);	/* not triggered */
	outb(0x61, 1);
	fake_advance(ticks(10));
	ck_assert(!(inb(0x61) & 0x20));
	fake_advance(ticks(1000));
	ck_assert(inb(0x61) & 0x20);
}
END_TEST

START_TEST(latch_holds)
{
	program(0, 2, 1000);
	outb(PIT + 3, 0);
	fake_advance(ticks(100));
	outb(PIT + 3, 0);		/* a second latch does nothing until it is read */
	ck_assert_uint_eq(both_bytes(0), 1000);
	ck_assert_uint_eq(latched(0), 900);
}
END_TEST

START_TEST(read_back)
{
	uint8_t status;

	program(0, 2, 1000);
	outb(PIT + 3, 0xc2);		/* count and status of channel 0 */
	fake_advance(ticks(100));
	status = inb(PIT);
	ck_assert_uint_eq(status & 0x7f, 0x34);
	ck_assert(status & 0x80);
	ck_assert_uint_eq(both_bytes(0), 1000);
	outb(PIT + 3, 0x30);		/* mode 0, no count yet: null count */
	outb(PIT + 3, 0xe2);
	ck_assert_uint_eq(inb(PIT) & 0xc0, 0x40);
}
END_TEST

START_TEST(single_bytes_and_bcd)
{
	outb(PIT + 3, 0x10 | 2 << 1);	/* low byte only */
	outb(PIT, 100);
	ck_assert_uint_eq(inb(PIT), 100);
	outb(PIT + 3, 0x20 | 2 << 1);	/* high byte only */
	outb(PIT, 2);
	ck_assert_uint_eq(inb(PIT), 2);
	outb(PIT + 3, 0x35);		/* mode 2, BCD */
	outb(PIT, 0x00);
	outb(PIT, 0x10);
	fake_advance(ticks(1));
	ck_assert_uint_eq(latched(0), 0x0999);
}
END_TEST

/* A host that slept: ticks are made up, but not without bound. */
START_TEST(no_burst)
{
	unsigned int before;

	program(0, 2, 11932);
	fake_advance(ticks(11932) * 3);
	before = fake.rises[0];
	fake_now += 3600 * NSEC;
	fake_advance(1);
	ck_assert_uint_le(fake.rises[0] - before, 2);
	fake_advance(NSEC);
	ck_assert_uint_le(fake.rises[0] - before, 125);
	ck_assert_uint_ge(fake.rises[0] - before, 110);
}
END_TEST

START_TEST(discard_policy)
{
	unsigned int before;

	fake_free();
	fdom.clock.pit.tickpolicy = (char *)"discard";
	setup();
	program(0, 2, 11932);
	fake_now += 3600 * NSEC;
	fake_advance(1);
	before = fake.rises[0];
	fake_advance(NSEC);
	ck_assert_uint_le(fake.rises[0] - before, 101);
}
END_TEST

START_TEST(fastest)
{
	program(0, 2, 1);
	fake_advance(NSEC / 10);
	ck_assert_uint_le(fake.rises[0], 1010);
}
END_TEST

START_TEST(anything)
{
	unsigned int i;

	for (i = 0; i < 100000; i++) {
		uint32_t r = fake_random();
		uint16_t port = r & 8 ? 0x61 : PIT + (r & 3);

		if (r & 0x10)
			outb(port, r >> 16);
		else
			inb(port);
		fake_advance(r >> 20 & 0xfff);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pit");
	TCase *t = tcase_create("pit");

	tcase_add_checked_fixture(t, setup, fake_free);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, mode2_counts);
	tcase_add_test(t, mode2_irq);
	tcase_add_test(t, mode0_irq);
	tcase_add_test(t, mode0_rewrite);
	tcase_add_test(t, mode3_square);
	tcase_add_test(t, mode4_strobe);
	tcase_add_test(t, gate_and_port61);
	tcase_add_test(t, one_shot_by_gate);
	tcase_add_test(t, latch_holds);
	tcase_add_test(t, read_back);
	tcase_add_test(t, single_bytes_and_bcd);
	tcase_add_test(t, no_burst);
	tcase_add_test(t, discard_policy);
	tcase_add_test(t, fastest);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
