// SPDX-License-Identifier: GPL-2.0-only
/*
 * 8254 interval timer at 0x40 and the system control port 0x61 (gate of channel
 * 2, speaker, refresh toggle). Counts are worked out from the monotonic clock
 * when they are read; only channel 0 has a timer, for IRQ 0.
 *
 * Counter modes are as in the 8254 data sheet. All state is under the machine lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/device.h"
#include "vmm/board.h"

#define PIT_HZ		1193182ULL
#define NSEC		1000000000ULL
/*
 * Shortest distance between two IRQ 0: a guest's count of 2 would otherwise
 * keep a host CPU busy.
 */
#define MIN_PERIOD_NS	100000ULL
/* Ticks owed that are made up for (tickpolicy delay or catchup); more are lost. */
#define MAX_BACKLOG	20

#define CTRL_BCD	0x01
#define CTRL_MODE(v)	(((v) >> 1) & 7)
#define CTRL_ACCESS(v)	(((v) >> 4) & 3)
#define CTRL_CHANNEL(v)	((v) >> 6)
#define READBACK	3
#define RB_NO_COUNT	0x20
#define RB_NO_STATUS	0x10

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

struct pit_channel {
	uint8_t mode;		/* 0..5 */
	uint8_t access;
	bool bcd, gate;
	bool null_count;	/* mode set, count not yet loaded */
	bool started;		/* a count is loaded and (modes 1, 5) triggered */
	uint32_t count;		/* reload value, 1..65536 (10000 in BCD) */
	uint64_t start_ns;	/* when it was loaded */
	uint64_t frozen;	/* ticks gone by when the gate closed */
	bool write_high, read_high;	/* second byte of a pair is next */
	uint8_t write_low;
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct pit {
	struct device dev;
	struct bus_region pio, port61;
	struct pit_channel ch[3];
	struct loop_timer *timer;
	uint64_t next_tick_ns;	/* grid of channel 0, 0: not running */
	unsigned int backlog;
	bool make_up;		/* deliver ticks that were late */
	bool speaker;
};

static uint64_t ticks_to_ns(uint64_t ticks)
{
	/* Round up, so that a timer is never early by its own count. */
	return (uint64_t)(((unsigned __int128)ticks * NSEC + PIT_HZ - 1) / PIT_HZ);
}

static uint64_t elapsed(const struct pit_channel *c)
{
	if (!c->started)
		return 0;
	if (!c->gate && c->mode != 1 && c->mode != 5)
		return c->frozen;
	return (uint64_t)((unsigned __int128)(clock_now_ns() - c->start_ns) * PIT_HZ / NSEC);
}

static bool periodic(const struct pit_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* What the counting element holds. */
static uint16_t counter(const struct pit_channel *c)
{
	uint64_t t = elapsed(c);
	uint32_t span = c->bcd ? 10000 : 65536, v;

	if (c->mode == 3)
		v = c->count - (2 * t) % c->count;
	else if (c->mode == 2)
		v = c->count - t % c->count;
	else
		v = (c->count + span - t % span) % span;
	if (c->mode == 3)
		v &= ~1U;	/* counts by two */
	v %= span;
	if (c->bcd)
		v = v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
	return v;
}

static bool output(const struct pit_channel *c)
{
	uint64_t t = elapsed(c);

	switch (c->mode) {
	case 0:
		return c->started && t >= c->count;
	case 1:
		return !c->started || t >= c->count;
	case 2:
		return !c->gate || t % c->count != c->count - 1;
	case 3:
		return !c->gate || t % c->count < (c->count + 1) / 2;
	default:
		return !c->started || t != c->count;
	}
}

/* ------------------------------------------------------------ channel 0 IRQ */

static uint64_t tick_period(const struct pit *pit)
{
	uint64_t ns = ticks_to_ns(pit->ch[0].count);

	return ns < MIN_PERIOD_NS ? MIN_PERIOD_NS : ns;
}

static void pulse(struct pit *pit)
{
	irq_set(pit->dev.m, 0, false);
	irq_set(pit->dev.m, 0, true);
}

static void arm(struct pit *pit)
{
	uint64_t deadline = pit->next_tick_ns;

	if (deadline && pit->backlog) {
		uint64_t soon = clock_now_ns() + tick_period(pit) / 2;

		if (soon < deadline)
			deadline = soon;
	}
	loop_timer_set(pit->timer, deadline);
}

/* Channel 0 was programmed anew. */
static void restart_irq(struct pit *pit)
{
	struct pit_channel *c = &pit->ch[0];

	pit->backlog = 0;
	pit->next_tick_ns = 0;
	if (c->started && c->mode != 1 && c->mode != 5)
		pit->next_tick_ns = c->start_ns + (periodic(c) ? tick_period(pit) :
						   ticks_to_ns(c->count));
	/* OUT: low in mode 0 until the terminal count, else high. */
	irq_set(pit->dev.m, 0, c->mode != 0);
	arm(pit);
}

static void pit_tick(void *opaque)
{
	struct pit *pit = opaque;
	uint64_t now = clock_now_ns(), period, missed;

	if (!pit->next_tick_ns)
		return;
	if (!periodic(&pit->ch[0])) {
		pit->next_tick_ns = 0;
		pulse(pit);
		return;
	}
	period = tick_period(pit);
	if (now >= pit->next_tick_ns) {
		missed = (now - pit->next_tick_ns) / period;
		pit->next_tick_ns += (missed + 1) * period;
		if (pit->make_up)
			pit->backlog = missed > MAX_BACKLOG - pit->backlog ?
				       MAX_BACKLOG : pit->backlog + missed;
	} else if (pit->backlog) {
		pit->backlog--;
	}
	pulse(pit);
	arm(pit);
}

/* ---------------------------------------------------------------- registers */

static void load(struct pit *pit, struct pit_channel *c, uint16_t raw)
{
	uint32_t count = raw;

	if (c->bcd) {
		count = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 +
			(raw & 15);
		if (!count || count > 10000)
			count = 10000;
	} else if (!count) {
		count = 65536;
	}
	/* Modes 2 and 3 cannot count 1. */
	if (periodic(c) && count == 1)
		count = 2;
	c->count = count;
	c->null_count = false;
	c->start_ns = clock_now_ns();
	c->frozen = 0;
	/* Modes 1 and 5 wait for the gate's rising edge. */
	c->started = c->mode != 1 && c->mode != 5;
	if (c == &pit->ch[0])
		restart_irq(pit);
}

static void write_count(struct pit *pit, struct pit_channel *c, uint8_t val)
{
	switch (c->access) {
	case ACCESS_LOW:
		load(pit, c, val);
		break;
	case ACCESS_HIGH:
		load(pit, c, val << 8);
		break;
	case ACCESS_BOTH:
		if (c->write_high) {
			c->write_high = false;
			load(pit, c, val << 8 | c->write_low);
		} else {
			c->write_high = true;
			c->write_low = val;
			if (c->mode == 0) {
				/* The first byte stops the count and drops OUT. */
				c->started = false;
				if (c == &pit->ch[0])
					restart_irq(pit);
			}
		}
		break;
	}
}

static void latch_count(struct pit_channel *c)
{
	if (c->count_latched)
		return;
	c->latch = counter(c);
	c->count_latched = true;
}

static void latch_status(struct pit_channel *c)
{
	if (c->status_latched)
		return;
	c->status = output(c) << 7 | c->null_count << 6 | c->access << 4 | c->mode << 1 | c->bcd;
	c->status_latched = true;
}

static void write_control(struct pit *pit, uint8_t val)
{
	struct pit_channel *c;
	unsigned int i;

	if (CTRL_CHANNEL(val) == READBACK) {
		for (i = 0; i < 3; i++) {
			if (!(val & (2U << i)))
				continue;
			if (!(val & RB_NO_COUNT))
				latch_count(&pit->ch[i]);
			if (!(val & RB_NO_STATUS))
				latch_status(&pit->ch[i]);
		}
		return;
	}
	c = &pit->ch[CTRL_CHANNEL(val)];
	if (CTRL_ACCESS(val) == ACCESS_LATCH) {
		latch_count(c);
		return;
	}
	c->access = CTRL_ACCESS(val);
	c->mode = CTRL_MODE(val) > 5 ? CTRL_MODE(val) - 4 : CTRL_MODE(val);
	c->bcd = val & CTRL_BCD;
	c->null_count = true;
	c->started = false;
	c->write_high = c->read_high = false;
	c->count_latched = c->status_latched = false;
	if (c == &pit->ch[0])
		restart_irq(pit);
}

static uint8_t read_count(struct pit_channel *c)
{
	uint16_t v;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->count_latched ? c->latch : counter(c);
	if (c->access == ACCESS_BOTH) {
		high = c->read_high;
		c->read_high = !high;
		if (high)
			c->count_latched = false;
	} else {
		high = c->access == ACCESS_HIGH;
		c->count_latched = false;
	}
	return high ? v >> 8 : v;
}

static void set_gate(struct pit_channel *c, bool gate)
{
	uint64_t t = elapsed(c);

	if (gate == c->gate)
		return;
	c->gate = gate;
	switch (c->mode) {
	case 0:
	case 4:			/* low level stops the count, high goes on */
		if (gate)
			c->start_ns = clock_now_ns() - ticks_to_ns(c->frozen);
		else
			c->frozen = t;
		break;
	default:		/* rising edge (re)starts; low level stops modes 2 and 3 */
		c->frozen = t;
		if (gate && !c->null_count) {
			c->start_ns = clock_now_ns();
			c->started = true;
		}
		break;
	}
}

static void pit_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pit *pit = opaque;

	if (offset == 3)
		write_control(pit, val);
	else
		write_count(pit, &pit->ch[offset], val);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pit *pit = opaque;

	return offset == 3 ? 0xff : read_count(&pit->ch[offset]);
}

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pit *pit = opaque;
	uint8_t val = pit->ch[2].gate | pit->speaker << 1;

	/* Bit 4 toggles with each memory refresh, about every 15 us. */
	val |= (clock_now_ns() / 15085 & 1) << 4;
	return val | output(&pit->ch[2]) << 5;
}

static void port61_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pit *pit = opaque;

	set_gate(&pit->ch[2], val & 1);
	pit->speaker = val & 2;
}

static const struct bus_ops pit_bus_ops = { .read = pit_read, .write = pit_write };
static const struct bus_ops port61_bus_ops = { .read = port61_read, .write = port61_write };

static void pit_reset(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		pit->ch[i] = (struct pit_channel){
			.mode = 3, .access = ACCESS_BOTH, .count = 65536, .gate = i != 2,
			.null_count = true, .start_ns = clock_now_ns(),
		};
	}
	pit->speaker = false;
	pit->next_tick_ns = 0;
	pit->backlog = 0;
	loop_timer_set(pit->timer, 0);
}

static void pit_pause(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	loop_timer_set(pit->timer, 0);
}

static void pit_resume(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	arm(pit);
}

static void pit_destroy(struct device *dev)
{
	struct pit *pit = (struct pit *)dev;

	bus_remove(&dev->m->pio, &pit->pio);
	bus_remove(&dev->m->pio, &pit->port61);
	loop_del_timer(pit->timer);
	free(pit);
}

/* -------------------------------------------------------------------- state */

struct pit_channel_state {
	uint8_t mode, access, bcd, gate, null_count, started;
	uint32_t count;
	uint64_t elapsed_ns, frozen;
	uint8_t write_high, read_high, write_low, count_latched, status_latched, status;
	uint16_t latch;
};

struct pit_state {
	struct pit_channel_state ch[3];
	uint8_t ticking, speaker;
	uint64_t tick_in_ns;		/* where ticking; 0: it is late */
	uint32_t backlog;
};

static const struct state_field pit_channel_fields[] = {
	STATE_NUM(struct pit_channel_state, mode, 1, .max = 5),
	STATE_NUM(struct pit_channel_state, access, 1, .max = ACCESS_BOTH),
	STATE_BOOL(struct pit_channel_state, bcd, 1),
	STATE_BOOL(struct pit_channel_state, gate, 1),
	STATE_BOOL(struct pit_channel_state, null_count, 1),
	STATE_BOOL(struct pit_channel_state, started, 1),
	STATE_NUM(struct pit_channel_state, count, 1, .max = 65536),
	STATE_NUM(struct pit_channel_state, elapsed_ns, 1, .max = INT64_MAX),
	STATE_NUM(struct pit_channel_state, frozen, 1),
	STATE_BOOL(struct pit_channel_state, write_high, 1),
	STATE_BOOL(struct pit_channel_state, read_high, 1),
	STATE_NUM(struct pit_channel_state, write_low, 1),
	STATE_BOOL(struct pit_channel_state, count_latched, 1),
	STATE_BOOL(struct pit_channel_state, status_latched, 1),
	STATE_NUM(struct pit_channel_state, status, 1),
	STATE_NUM(struct pit_channel_state, latch, 1),
	STATE_END
};

static const struct state_field pit_fields[] = {
	STATE_GROUPS(struct pit_state, ch, pit_channel_fields, 1),
	STATE_BOOL(struct pit_state, ticking, 1),
	STATE_BOOL(struct pit_state, speaker, 1),
	STATE_NUM(struct pit_state, tick_in_ns, 1, .max = NSEC),
	STATE_NUM(struct pit_state, backlog, 1, .max = MAX_BACKLOG),
	STATE_END
};

static int pit_save(struct device *dev, void *state, struct state_error *err)
{
	const struct pit *pit = (struct pit *)dev;
	struct pit_state *s = state;
	uint64_t now = clock_now_ns();
	unsigned int i;

	for (i = 0; i < 3; i++) {
		const struct pit_channel *c = &pit->ch[i];

		s->ch[i] = (struct pit_channel_state){
			.mode = c->mode, .access = c->access, .bcd = c->bcd, .gate = c->gate,
			.null_count = c->null_count, .started = c->started, .count = c->count,
			.elapsed_ns = now - c->start_ns, .frozen = c->frozen,
			.write_high = c->write_high, .read_high = c->read_high,
			.write_low = c->write_low, .count_latched = c->count_latched,
			.status_latched = c->status_latched, .status = c->status,
			.latch = c->latch,
		};
	}
	s->speaker = pit->speaker;
	s->ticking = pit->next_tick_ns != 0;
	s->tick_in_ns = pit->next_tick_ns > now ? pit->next_tick_ns - now : 0;
	s->backlog = pit->backlog;
	return 0;
}

static int pit_load(struct device *dev, const void *state, unsigned int version,
		    struct state_error *err)
{
	struct pit *pit = (struct pit *)dev;
	const struct pit_state *s = state;
	uint64_t now = clock_now_ns();
	unsigned int i;

	for (i = 0; i < 3; i++) {
		const struct pit_channel_state *c = &s->ch[i];

		if (c->access == ACCESS_LATCH || c->count < (c->mode == 2 || c->mode == 3 ? 2 : 1))
			return state_error(err, "ch[%u] counts %u by access mode %u", i, c->count,
					   c->access);
	}
	for (i = 0; i < 3; i++) {
		const struct pit_channel_state *c = &s->ch[i];

		pit->ch[i] = (struct pit_channel){
			.mode = c->mode, .access = c->access, .bcd = c->bcd, .gate = c->gate,
			.null_count = c->null_count, .started = c->started, .count = c->count,
			.start_ns = now - c->elapsed_ns, .frozen = c->frozen,
			.write_high = c->write_high, .read_high = c->read_high,
			.write_low = c->write_low, .count_latched = c->count_latched,
			.status_latched = c->status_latched, .status = c->status,
			.latch = c->latch,
		};
	}
	pit->speaker = s->speaker;
	pit->next_tick_ns = s->ticking ? now + s->tick_in_ns : 0;
	pit->backlog = s->backlog;
	return 0;
}

static const struct state_desc pit_state_desc = {
	.version = 1, .size = sizeof(struct pit_state), .fields = pit_fields,
	.save = pit_save, .load = pit_load,
};

static const struct device_ops pit_ops = {
	.name = "pit",
	.xml = "<clock><timer name='pit' tickpolicy= present=>",
	.help = "8254 interval timer, IRQ 0. tickpolicy 'delay' and 'catchup' make up for late ticks, 'merge' and 'discard' drop them.",
	.reset = pit_reset,
	.pause = pit_pause,
	.resume = pit_resume,
	.destroy = pit_destroy,
	.state = &pit_state_desc,
};
DEVICE_REGISTER(pit_ops);

int pit_create(struct machine *m)
{
	struct pit *pit = calloc(1, sizeof(*pit));
	const char *policy = m->dom ? m->dom->clock.pit.tickpolicy : NULL;
	int ret = -ENOMEM;

	if (!pit)
		return ret;
	pit->make_up = !policy || !strcmp(policy, "delay") || !strcmp(policy, "catchup");
	pit->timer = loop_add_timer(m->loop, pit_tick, pit);
	if (!pit->timer)
		goto fail;
	pit->pio = (struct bus_region){
		.name = "pit", .base = BOARD_PIT_BASE, .size = 4,
		.ops = &pit_bus_ops, .opaque = pit,
	};
	ret = bus_add(&m->pio, &pit->pio);
	if (ret)
		goto fail;
	pit->port61 = (struct bus_region){
		.name = "port61", .base = BOARD_PORT61, .size = 1,
		.ops = &port61_bus_ops, .opaque = pit,
	};
	ret = bus_add(&m->pio, &pit->port61);
	if (ret) {
		bus_remove(&m->pio, &pit->pio);
		goto fail;
	}
	device_init(&pit->dev, m, &pit_ops, "pit");
	pit_reset(&pit->dev);
	return 0;

fail:
	log_error("pit: cannot be made: %s", strerror(-ret));
	if (pit->timer)
		loop_del_timer(pit->timer);
	free(pit);
	return ret;
}
