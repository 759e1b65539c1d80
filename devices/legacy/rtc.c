// SPDX-License-Identifier: GPL-2.0-only
/*
 * MC146818A real-time clock and 128 bytes of CMOS RAM at 0x70/0x71, IRQ 8.
 *
 * The clock is the host's plus an offset that the XML's <clock> and the guest's
 * own setting of the time make. Register contents are worked out when read; a
 * timer runs only while the guest has an interrupt of the clock enabled.
 *
 * All state is under the machine lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "devices/device.h"
#include "vmm/board.h"

#define NSEC		1000000000ULL
#define CMOS_SIZE	128
#define UIP_NS		244000		/* UIP is set this long before the update */
#define MIN_PERIOD_NS	122070		/* 8192 Hz, the fastest that PCs use */

enum {
	RTC_SECONDS, RTC_SECONDS_ALARM, RTC_MINUTES, RTC_MINUTES_ALARM, RTC_HOURS,
	RTC_HOURS_ALARM, RTC_WEEKDAY, RTC_DAY, RTC_MONTH, RTC_YEAR,
	RTC_A, RTC_B, RTC_C, RTC_D,
	CMOS_EQUIPMENT = 0x14,
	CMOS_BASE_LOW = 0x15, CMOS_BASE_HIGH,		/* KiB below 640 */
	CMOS_EXT_LOW, CMOS_EXT_HIGH,			/* KiB above 1 MiB, at most 63 MiB */
	CMOS_EXT2_LOW = 0x30, CMOS_EXT2_HIGH,		/* the same, POST's copy */
	CMOS_CENTURY = 0x32,
	CMOS_MEM16_LOW = 0x34, CMOS_MEM16_HIGH,		/* 64 KiB units above 16 MiB */
	CMOS_MEM4G_LOW = 0x5b, CMOS_MEM4G_MID, CMOS_MEM4G_HIGH,	/* 64 KiB units above 4 GiB */
	CMOS_CPUS = 0x5f,				/* vCPUs - 1 */
};

#define A_UIP		0x80
#define A_RATE		0x0f
#define A_DIVIDER	0x70
#define A_DIVIDER_RUN	0x20
#define B_SET		0x80
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define C_IRQF		0x80
#define C_PF		0x40
#define C_AF		0x20
#define C_UF		0x10
#define D_VALID		0x80

struct rtc {
	struct device dev;
	struct bus_region pio;
	struct loop_timer *second, *periodic;
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
	uint64_t offset;	/* s, modulo 2^64: guest clock - host CLOCK_REALTIME */
	int64_t last_update;	/* guest second for which UF and AF are worked out */
	uint64_t last_periodic;	/* monotonic ns for which PF is worked out */
	uint64_t next_periodic;
};

/* --------------------------------------------------------------- the clock */

/* Guest's clock: whole seconds, and ns since the last of them (which are the host's). */
static int64_t guest_clock(const struct rtc *rtc, uint64_t *frac)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (frac)
		*frac = ts.tv_nsec;
	/* Any offset that a guest or a file can give: modulo 2^64, not undefined. */
	return (int64_t)((uint64_t)ts.tv_sec + rtc->offset);
}

static int64_t guest_sec(const struct rtc *rtc)
{
	return guest_clock(rtc, NULL);
}

static bool running(const struct rtc *rtc)
{
	return !(rtc->cmos[RTC_B] & B_SET) && (rtc->cmos[RTC_A] & A_DIVIDER) == A_DIVIDER_RUN;
}

static uint8_t encode(const struct rtc *rtc, unsigned int v)
{
	return rtc->cmos[RTC_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10;
}

static unsigned int decode(const struct rtc *rtc, uint8_t v)
{
	return rtc->cmos[RTC_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned int hour)
{
	if (rtc->cmos[RTC_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned int decode_hour(const struct rtc *rtc, uint8_t v)
{
	if (rtc->cmos[RTC_B] & B_24H)
		return decode(rtc, v);
	return decode(rtc, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Bring the time registers up to the present. */
static void fill_time(struct rtc *rtc)
{
	time_t t = guest_sec(rtc);
	unsigned int year;
	struct tm tm;

	if (!running(rtc) || !gmtime_r(&t, &tm))
		return;
	/* Of years before 0 and after 9999 the last four digits. */
	year = (unsigned int)(((int64_t)tm.tm_year + 1900) % 10000 + 10000) % 10000;
	rtc->cmos[RTC_SECONDS] = encode(rtc, tm.tm_sec);
	rtc->cmos[RTC_MINUTES] = encode(rtc, tm.tm_min);
	rtc->cmos[RTC_HOURS] = encode_hour(rtc, tm.tm_hour);
	rtc->cmos[RTC_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	rtc->cmos[RTC_DAY] = encode(rtc, tm.tm_mday);
	rtc->cmos[RTC_MONTH] = encode(rtc, tm.tm_mon + 1);
	rtc->cmos[RTC_YEAR] = encode(rtc, year % 100);
	/* The century byte is BCD for every firmware that has one. */
	rtc->cmos[CMOS_CENTURY] = year / 1000 << 4 | year / 100 % 10;
}

/* The guest set the registers: move the offset so that the clock goes on from there. */
static void take_time(struct rtc *rtc)
{
	unsigned int century = (rtc->cmos[CMOS_CENTURY] >> 4) * 10 + (rtc->cmos[CMOS_CENTURY] & 15);
	struct tm tm = {
		.tm_sec = decode(rtc, rtc->cmos[RTC_SECONDS]),
		.tm_min = decode(rtc, rtc->cmos[RTC_MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->cmos[RTC_HOURS]),
		.tm_mday = decode(rtc, rtc->cmos[RTC_DAY]),
		.tm_mon = (int)decode(rtc, rtc->cmos[RTC_MONTH]) - 1,
		.tm_year = (int)century * 100 + (int)decode(rtc, rtc->cmos[RTC_YEAR]) - 1900,
	};

	rtc->offset += (uint64_t)timegm(&tm) - (uint64_t)guest_sec(rtc);
	rtc->last_update = guest_sec(rtc);
}

/* -------------------------------------------------------------- interrupts */

static uint64_t period_ns(const struct rtc *rtc)
{
	unsigned int rate = rtc->cmos[RTC_A] & A_RATE;
	uint64_t ns;

	if (!rate || (rtc->cmos[RTC_A] & A_DIVIDER) != A_DIVIDER_RUN)
		return 0;
	if (rate <= 2)		/* with a 32768 Hz crystal, 1 and 2 are 8 and 9 */
		rate += 7;
	ns = NSEC * (1U << (rate - 1)) / 32768;
	return ns < MIN_PERIOD_NS ? MIN_PERIOD_NS : ns;
}

static bool alarm_byte(uint8_t alarm, uint8_t now)
{
	return alarm >= 0xc0 || alarm == now;
}

/* Work out UF, AF and PF for the time that has gone by. */
static void update_flags(struct rtc *rtc)
{
	uint64_t period = period_ns(rtc), now = clock_now_ns();
	int64_t sec = guest_sec(rtc);

	if (running(rtc) && sec != rtc->last_update) {
		fill_time(rtc);
		rtc->cmos[RTC_C] |= C_UF;
		/* Seconds passed unseen (no AIE) do not ring: the timer sees each one while AIE is on. */
		if (alarm_byte(rtc->cmos[RTC_SECONDS_ALARM], rtc->cmos[RTC_SECONDS]) &&
		    alarm_byte(rtc->cmos[RTC_MINUTES_ALARM], rtc->cmos[RTC_MINUTES]) &&
		    alarm_byte(rtc->cmos[RTC_HOURS_ALARM], rtc->cmos[RTC_HOURS]))
			rtc->cmos[RTC_C] |= C_AF;
		rtc->last_update = sec;
	}
	if (period && now - rtc->last_periodic >= period) {
		rtc->cmos[RTC_C] |= C_PF;
		rtc->last_periodic = now - (now - rtc->last_periodic) % period;
	}
}

static void update_irq(struct rtc *rtc)
{
	bool irq = rtc->cmos[RTC_C] & rtc->cmos[RTC_B] & (C_PF | C_AF | C_UF);

	if (irq)
		rtc->cmos[RTC_C] |= C_IRQF;
	else
		rtc->cmos[RTC_C] &= ~C_IRQF;
	irq_set(rtc->dev.m, BOARD_RTC_IRQ, irq);
}

static void arm_second(struct rtc *rtc)
{
	uint64_t frac;

	guest_clock(rtc, &frac);
	if (running(rtc) && (rtc->cmos[RTC_B] & (B_AIE | B_UIE)))
		loop_timer_set(rtc->second, clock_now_ns() + NSEC - frac);
	else
		loop_timer_set(rtc->second, 0);
}

static void arm_periodic(struct rtc *rtc)
{
	uint64_t period = period_ns(rtc), now = clock_now_ns();

	if (!period || !(rtc->cmos[RTC_B] & B_PIE)) {
		rtc->next_periodic = 0;
		loop_timer_set(rtc->periodic, 0);
		return;
	}
	/* Stay on the grid; ticks that were missed are lost. */
	if (!rtc->next_periodic)
		rtc->next_periodic = rtc->last_periodic + period;
	if (rtc->next_periodic <= now)
		rtc->next_periodic += ((now - rtc->next_periodic) / period + 1) * period;
	loop_timer_set(rtc->periodic, rtc->next_periodic);
}

static void rtc_second(void *opaque)
{
	struct rtc *rtc = opaque;

	update_flags(rtc);
	update_irq(rtc);
	arm_second(rtc);
}

static void rtc_periodic(void *opaque)
{
	struct rtc *rtc = opaque;

	update_flags(rtc);
	update_irq(rtc);
	arm_periodic(rtc);
}

/* --------------------------------------------------------------- registers */

static uint8_t cmos_read(struct rtc *rtc, unsigned int i)
{
	uint64_t frac;
	uint8_t val;

	switch (i) {
	case RTC_SECONDS: case RTC_MINUTES: case RTC_HOURS: case RTC_WEEKDAY:
	case RTC_DAY: case RTC_MONTH: case RTC_YEAR: case CMOS_CENTURY:
		fill_time(rtc);
		return rtc->cmos[i];
	case RTC_A:
		guest_clock(rtc, &frac);
		val = rtc->cmos[i] & ~A_UIP;
		if (running(rtc) && frac >= NSEC - UIP_NS)
			val |= A_UIP;
		return val;
	case RTC_C:
		update_flags(rtc);
		update_irq(rtc);
		val = rtc->cmos[i];
		rtc->cmos[i] = 0;
		update_irq(rtc);
		return val;
	default:
		return rtc->cmos[i];
	}
}

static void write_a(struct rtc *rtc, uint8_t val)
{
	bool was = running(rtc);

	if (was)
		fill_time(rtc);
	update_flags(rtc);
	rtc->cmos[RTC_A] = val & ~A_UIP;
	if (!was && running(rtc))
		take_time(rtc);
	rtc->last_periodic = clock_now_ns();
	rtc->next_periodic = 0;
	arm_second(rtc);
	arm_periodic(rtc);
}

static void write_b(struct rtc *rtc, uint8_t val)
{
	bool was = running(rtc);

	if (was)
		fill_time(rtc);
	update_flags(rtc);
	if (val & B_SET)
		val &= ~B_UIE;
	rtc->cmos[RTC_B] = val;
	if (!was && running(rtc))
		take_time(rtc);
	update_irq(rtc);
	arm_second(rtc);
	arm_periodic(rtc);
}

static void cmos_write(struct rtc *rtc, unsigned int i, uint8_t val)
{
	bool set;

	switch (i) {
	case RTC_SECONDS: case RTC_MINUTES: case RTC_HOURS: case RTC_WEEKDAY:
	case RTC_DAY: case RTC_MONTH: case RTC_YEAR: case CMOS_CENTURY:
		set = running(rtc);
		if (set)
			fill_time(rtc);
		rtc->cmos[i] = val;
		if (set)
			take_time(rtc);
		break;
	case RTC_A:
		write_a(rtc, val);
		break;
	case RTC_B:
		write_b(rtc, val);
		break;
	case RTC_C:
	case RTC_D:		/* read only */
		break;
	default:
		rtc->cmos[i] = val;
		break;
	}
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct rtc *rtc = opaque;

	return offset ? cmos_read(rtc, rtc->index) : 0xff;
}

static void rtc_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct rtc *rtc = opaque;

	/* Bit 7 of the index is the NMI mask, which nothing on this board drives. */
	if (offset)
		cmos_write(rtc, rtc->index, val);
	else
		rtc->index = val & 0x7f;
}

static const struct bus_ops rtc_bus_ops = { .read = rtc_read, .write = rtc_write };

static void put16(struct rtc *rtc, unsigned int i, uint64_t val, uint64_t max)
{
	if (val > max)
		val = max;
	rtc->cmos[i] = val;
	rtc->cmos[i + 1] = val >> 8;
}

/* What firmware reads to learn about memory. */
static void fill_sizes(struct rtc *rtc)
{
	const struct machine *m = rtc->dev.m;
	uint64_t low = m->mem.low_size, high = m->mem.high_size >> 16;

	rtc->cmos[CMOS_EQUIPMENT] = 0x02;	/* a math coprocessor, no floppy drive */
	put16(rtc, CMOS_BASE_LOW, 640, 640);
	put16(rtc, CMOS_EXT_LOW, low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0, 63 << 10);
	put16(rtc, CMOS_EXT2_LOW, low > 1 << 20 ? (low - (1 << 20)) >> 10 : 0, 63 << 10);
	put16(rtc, CMOS_MEM16_LOW, low > 16 << 20 ? (low - (16 << 20)) >> 16 : 0, 0xffff);
	put16(rtc, CMOS_MEM4G_LOW, high & 0xffff, 0xffff);
	rtc->cmos[CMOS_MEM4G_HIGH] = high >> 16;
	rtc->cmos[CMOS_CPUS] = m->nr_vcpus ? m->nr_vcpus - 1 : 0;
}

/* A reset leaves the clock and the CMOS contents as they are, as a battery does. */
static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	rtc->index = 0;
	rtc->cmos[RTC_A] = A_DIVIDER_RUN | 6;
	rtc->cmos[RTC_B] = (rtc->cmos[RTC_B] & B_BINARY) | B_24H;
	rtc->cmos[RTC_C] = 0;
	rtc->cmos[RTC_D] = D_VALID;
	rtc->last_update = guest_sec(rtc);
	rtc->last_periodic = clock_now_ns();
	rtc->next_periodic = 0;
	fill_sizes(rtc);
	loop_timer_set(rtc->second, 0);
	loop_timer_set(rtc->periodic, 0);
	update_irq(rtc);
}

static void rtc_pause(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	loop_timer_set(rtc->second, 0);
	loop_timer_set(rtc->periodic, 0);
}

static void rtc_resume(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	arm_second(rtc);
	arm_periodic(rtc);
}

static void rtc_destroy(struct device *dev)
{
	struct rtc *rtc = (struct rtc *)dev;

	bus_remove(&dev->m->pio, &rtc->pio);
	loop_del_timer(rtc->second);
	loop_del_timer(rtc->periodic);
	free(rtc);
}

/* The clock follows the host's: what is saved is how far it is from that. */
struct rtc_state {
	uint8_t index, cmos[CMOS_SIZE];
	uint64_t offset;
	uint64_t periodic_age_ns;
};

static const struct state_field rtc_fields[] = {
	STATE_NUM(struct rtc_state, index, 1, .max = CMOS_SIZE - 1),
	STATE_ARRAY(struct rtc_state, cmos, 1),
	STATE_NUM(struct rtc_state, offset, 1),
	STATE_NUM(struct rtc_state, periodic_age_ns, 1),
	STATE_END
};

static int rtc_save(struct device *dev, void *state, struct state_error *err)
{
	struct rtc *rtc = (struct rtc *)dev;
	struct rtc_state *s = state;

	fill_time(rtc);
	s->index = rtc->index;
	memcpy(s->cmos, rtc->cmos, sizeof(s->cmos));
	s->offset = rtc->offset;
	s->periodic_age_ns = clock_now_ns() - rtc->last_periodic;
	return 0;
}

static int rtc_load(struct device *dev, const void *state, unsigned int version,
		    struct state_error *err)
{
	struct rtc *rtc = (struct rtc *)dev;
	const struct rtc_state *s = state;

	rtc->index = s->index;
	memcpy(rtc->cmos, s->cmos, sizeof(rtc->cmos));
	rtc->cmos[RTC_A] &= ~A_UIP;
	rtc->cmos[RTC_D] = D_VALID;
	rtc->offset = s->offset;
	rtc->last_update = guest_sec(rtc);
	rtc->last_periodic = clock_now_ns() - s->periodic_age_ns % NSEC;
	rtc->next_periodic = 0;
	return 0;
}

static const struct state_desc rtc_state_desc = {
	.version = 1, .size = sizeof(struct rtc_state), .fields = rtc_fields,
	.save = rtc_save, .load = rtc_load,
};

static const struct device_ops rtc_ops = {
	.name = "rtc",
	.xml = "<clock offset= adjustment= timezone= start=>",
	.help = "MC146818A real-time clock with CMOS RAM, IRQ 8. Starts at the host's time in UTC or as <clock> says.",
	.reset = rtc_reset,
	.pause = rtc_pause,
	.resume = rtc_resume,
	.destroy = rtc_destroy,
	.state = &rtc_state_desc,
};
DEVICE_REGISTER(rtc_ops);

/* Seconds east of UTC that a zone has at t. Called before any thread but ours needs TZ. */
static int64_t zone_offset(const char *zone, time_t t)
{
	char *old = getenv("TZ") ? strdup(getenv("TZ")) : NULL;
	struct tm tm = { 0 };

	if (zone) {
		setenv("TZ", zone, 1);
		tzset();
	}
	localtime_r(&t, &tm);
	if (zone) {
		if (old)
			setenv("TZ", old, 1);
		else
			unsetenv("TZ");
		tzset();
	}
	free(old);
	return tm.tm_gmtoff;
}

static int64_t start_offset(const struct domain *dom)
{
	time_t now = time(NULL);

	if (!dom)
		return 0;
	switch (dom->clock.offset) {
	case CLOCK_LOCALTIME:
		return zone_offset(NULL, now);
	case CLOCK_TIMEZONE:
		return zone_offset(dom->clock.timezone, now);
	case CLOCK_VARIABLE:
		return dom->clock.adjustment;
	case CLOCK_ABSOLUTE:
		return dom->clock.adjustment - now;
	default:
		return 0;
	}
}

int rtc_create(struct machine *m)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));
	int ret = -ENOMEM;

	if (!rtc)
		return ret;
	tzset();	/* reads the host's time zone now: the sandbox lets nothing open files later */
	rtc->offset = start_offset(m->dom);
	rtc->second = loop_add_timer(m->loop, rtc_second, rtc);
	rtc->periodic = loop_add_timer(m->loop, rtc_periodic, rtc);
	if (!rtc->second || !rtc->periodic)
		goto fail;
	rtc->pio = (struct bus_region){
		.name = "rtc", .base = BOARD_RTC_BASE, .size = 2,
		.ops = &rtc_bus_ops, .opaque = rtc,
	};
	ret = bus_add(&m->pio, &rtc->pio);
	if (ret)
		goto fail;
	device_init(&rtc->dev, m, &rtc_ops, "rtc");
	rtc_reset(&rtc->dev);
	return 0;

fail:
	log_error("rtc: cannot be made: %s", strerror(-ret));
	if (rtc->second)
		loop_del_timer(rtc->second);
	if (rtc->periodic)
		loop_del_timer(rtc->periodic);
	free(rtc);
	return ret;
}
