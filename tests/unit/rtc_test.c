// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/legacy/rtc.c devices/device.c vmm/bus.c vmm/memory.c vmm/log.c */
/* Real-time clock: the date in all formats, setting it, alarm, periodic and update interrupts. */
#define FAKE_CLOCK
#include "fake_machine.h"
#include "vmm/board.h"

#define NSEC 1000000000ULL

static uint8_t rd(uint8_t reg)
{
	outb(BOARD_RTC_BASE, reg);
	return inb(BOARD_RTC_BASE + 1);
}

static void wr(uint8_t reg, uint8_t val)
{
	outb(BOARD_RTC_BASE, reg);
	outb(BOARD_RTC_BASE + 1, val);
}

static void make(void)
{
	fake_machine(0);
	fm.mem.ram_size = 5ULL << 30;
	fm.mem.low_size = 3ULL << 30;
	fm.mem.high_size = 2ULL << 30;
	fm.nr_vcpus = 4;
	ck_assert_int_eq(rtc_create(&fm), 0);
}

static void setup(void)
{
	memset(&fdom, 0, sizeof(fdom));
	make();
}

static unsigned int bcd(uint8_t v)
{
	ck_assert_uint_le(v & 15, 9);
	ck_assert_uint_le(v >> 4, 9);
	return (v >> 4) * 10 + (v & 15);
}

/* The guest's clock in s since the epoch, read as an operating system does. */
static time_t guest_time(void)
{
	struct tm tm;
	uint8_t s;

	do {
		while (rd(10) & 0x80)
			;
		s = rd(0);
		tm = (struct tm){
			.tm_sec = bcd(s), .tm_min = bcd(rd(2)), .tm_hour = bcd(rd(4)),
			.tm_mday = bcd(rd(7)), .tm_mon = bcd(rd(8)) - 1,
			.tm_year = bcd(rd(0x32)) * 100 + bcd(rd(9)) - 1900,
		};
	} while (rd(0) != s);
	return timegm(&tm);
}

static void assert_near(int64_t offset)
{
	int64_t diff = (int64_t)guest_time() - (int64_t)time(NULL) - offset;

	ck_assert_msg(diff >= -2 && diff <= 1, "%lld s off", (long long)diff);
}

START_TEST(shows_host_time)
{
	assert_near(0);
	ck_assert_uint_eq(rd(13), 0x80);
	ck_assert_uint_eq(rd(10) & 0x7f, 0x26);
	ck_assert_uint_eq(rd(11), 0x02);
}
END_TEST

START_TEST(offsets)
{
	fake_free();
	fdom.clock.offset = CLOCK_VARIABLE;
	fdom.clock.adjustment = -86400 * 400;
	make();
	assert_near(-86400 * 400);
	fake_free();
	fdom.clock.offset = CLOCK_ABSOLUTE;
	fdom.clock.adjustment = 951782400;	/* 2000-02-29 */
	make();
	ck_assert_int_ge(guest_time(), 951782400);
	ck_assert_int_le(guest_time(), 951782402);
	ck_assert_uint_eq(rd(7), 0x29);
	ck_assert_uint_eq(rd(6), 3);		/* a Tuesday */
	fake_free();
	fdom.clock.offset = CLOCK_TIMEZONE;
	fdom.clock.timezone = (char *)"XYZ-5:30";
	make();
	assert_near(5 * 3600 + 30 * 60);
}
END_TEST

/* As far from now as XML and saved state can put the clock: digits all the same. */
START_TEST(far_away)
{
	static const int64_t seconds[] = { -100000000000LL, 100000000000LL, -60000000000000LL, 60000000000000LL };
	unsigned int i;

	fake_free();
	memset(&fdom, 0, sizeof(fdom));
	fdom.clock.offset = CLOCK_VARIABLE;
	fdom.clock.adjustment = seconds[_i];
	make();
	for (i = 0; i < 10; i += 2)
		bcd(rd(i));
	ck_assert_uint_le(bcd(rd(9)), 99);
	ck_assert_uint_le(bcd(rd(0x32)), 99);
}
END_TEST

START_TEST(setting)
{
	wr(11, 0x82);		/* SET */
	wr(0, 0x56); wr(2, 0x34); wr(4, 0x12);
	wr(7, 0x31); wr(8, 0x12); wr(9, 0x99); wr(0x32, 0x20);
	ck_assert_uint_eq(rd(9), 0x99);
	wr(11, 0x02);
	/* 2099-12-31 12:34:56 */
	ck_assert_int_ge(guest_time(), 4102403696);
	ck_assert_int_le(guest_time(), 4102403698);
}
END_TEST

START_TEST(formats)
{
	uint8_t hour;

	wr(11, 0x82);
	wr(0, 0); wr(2, 0); wr(4, 0x13); wr(7, 1); wr(8, 1); wr(9, 0x30); wr(0x32, 0x20);
	wr(11, 0x02);
	wr(11, 0x00);		/* 12 hours, BCD: 1 pm */
	ck_assert_uint_eq(rd(4), 0x81);
	wr(11, 0x04);		/* 12 hours, binary */
	ck_assert_uint_eq(rd(4), 0x81);
	wr(11, 0x06);
	ck_assert_uint_eq(rd(4), 13);
	ck_assert_uint_eq(rd(9), 30);
	wr(11, 0x82);
	wr(4, 0x00);
	wr(11, 0x02);
	wr(11, 0x00);		/* midnight is 12 am */
	hour = rd(4);
	ck_assert_uint_eq(hour, 0x12);
}
END_TEST

START_TEST(nonsense_date)
{
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		uint32_t r = fake_random();

		if (r & 1)
			wr(r >> 8 & 0x7f, r >> 16);
		else
			rd(r >> 8 & 0x7f);
		if (!(r & 0xe))
			fake_advance(r);
	}
}
END_TEST

START_TEST(periodic)
{
	wr(10, 0x26);		/* 1024 Hz */
	wr(11, 0x42);
	fake_advance(NSEC / 1024 + 1);
	ck_assert(fake.line[8]);
	ck_assert_uint_eq(rd(12) & 0xc0, 0xc0);
	ck_assert(!fake.line[8]);
	ck_assert_uint_eq(rd(12) & 0xc0, 0);
	fake_advance(NSEC / 1024);
	ck_assert(fake.line[8]);
	wr(11, 0x02);
	ck_assert(!fake.line[8]);
	/* The flag is set with the interrupt off too. */
	rd(12);
	fake_advance(NSEC / 512);
	ck_assert(rd(12) & 0x40);
	ck_assert(!fake.line[8]);
}
END_TEST

START_TEST(fast_periodic_is_bounded)
{
	unsigned int i, n = 0;

	wr(10, 0x23);		/* 8192 Hz */
	wr(11, 0x42);
	for (i = 0; i < 1000; i++) {
		fake_advance(NSEC / 100000);
		n += rd(12) >> 7;
	}
	ck_assert_uint_ge(n, 78);
	ck_assert_uint_le(n, 84);
}
END_TEST

START_TEST(divider_stops)
{
	wr(10, 0x76);
	wr(0, 0x30);
	ck_assert_uint_eq(rd(0), 0x30);
	usleep(1100000);
	ck_assert_uint_eq(rd(0), 0x30);
	ck_assert(!(rd(10) & 0x80));
	wr(10, 0x26);
	ck_assert_uint_le(bcd(rd(0)), 31);
}
END_TEST

START_TEST(memory_sizes)
{
	/* 64 KiB units above 16 MiB, and above 4 GiB; CPUs less one. */
	ck_assert_uint_eq(rd(0x34) | rd(0x35) << 8, ((3ULL << 30) - (16 << 20)) >> 16);
	ck_assert_uint_eq(rd(0x5b) | rd(0x5c) << 8 | rd(0x5d) << 16, (2ULL << 30) >> 16);
	ck_assert_uint_eq(rd(0x5f), 3);
	ck_assert_uint_eq(rd(0x15) | rd(0x16) << 8, 640);
	wr(0x70 & 0x7f, 0xa5);
	ck_assert_uint_eq(rd(0xf0), 0xa5);	/* bit 7 masks NMI, no more */
}
END_TEST

START_TEST(keeps_over_reset)
{
	wr(0x0f, 0x5a);		/* the shutdown byte */
	fm.devices->ops->reset(fm.devices);
	ck_assert_uint_eq(rd(0x0f), 0x5a);
	assert_near(0);
}
END_TEST

/* The update interrupt comes when the host's second changes. */
START_TEST(update_interrupt)
{
	unsigned int i;

	wr(11, 0x12);
	rd(12);
	for (i = 0; i < 30 && !fake.line[8]; i++) {
		usleep(50000);
		fake_advance(50000000);
		if (fake_timer[0].deadline)
			fake_timer[0].cb(fake_timer[0].opaque);
	}
	ck_assert(fake.line[8]);
	ck_assert_uint_eq(rd(12) & 0x90, 0x90);
}
END_TEST

START_TEST(alarm_interrupt)
{
	unsigned int i;

	wr(1, 0xff); wr(3, 0xff); wr(5, 0xff);	/* every second */
	wr(11, 0x22);
	rd(12);
	for (i = 0; i < 30 && !fake.line[8]; i++) {
		usleep(50000);
		if (fake_timer[0].deadline)
			fake_timer[0].cb(fake_timer[0].opaque);
	}
	ck_assert_uint_eq(rd(12) & 0xa0, 0xa0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rtc");
	TCase *t = tcase_create("rtc");

	tcase_add_checked_fixture(t, setup, fake_free);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, shows_host_time);
	tcase_add_test(t, offsets);
	tcase_add_loop_test(t, far_away, 0, 4);
	tcase_add_test(t, setting);
	tcase_add_test(t, formats);
	tcase_add_test(t, nonsense_date);
	tcase_add_test(t, periodic);
	tcase_add_test(t, fast_periodic_is_bounded);
	tcase_add_test(t, divider_stops);
	tcase_add_test(t, memory_sizes);
	tcase_add_test(t, keeps_over_reset);
	tcase_add_test(t, update_interrupt);
	tcase_add_test(t, alarm_interrupt);
	suite_add_tcase(s, t);
	return fake_main(s);
}
