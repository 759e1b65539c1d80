// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pair of 8259A interrupt controllers of a PC, master at 0x20 and slave at
 * 0xa0 cascaded on IR2, with the edge/level control registers at 0x4d0.
 *
 * The master's INT output is the level given to hv_set_extint(): the kernel's
 * local APIC decides whether LINT0 lets it through and, when the vCPU can take
 * it, exits so that pic_ack() runs the INTA cycle.
 *
 * All state is under the machine lock.
 */
#include <errno.h>
#include <stdlib.h>
#include "devices/device.h"
#include "vmm/board.h"

#define CASCADE_IRQ	2
#define SPURIOUS_IR	7

#define ICW1_IC4	0x01
#define ICW1_SNGL	0x02
#define ICW1_LTIM	0x08
#define ICW1_SELECT	0x10
#define ICW4_AEOI	0x02
#define ICW4_SFNM	0x10
#define OCW3_SELECT	0x08
#define OCW3_RIS	0x01
#define OCW3_RR		0x02
#define OCW3_POLL	0x04
#define OCW3_SMM	0x20
#define OCW3_ESMM	0x40

struct i8259 {
	uint8_t irr, isr, imr;
	uint8_t lines;		/* level at the inputs */
	uint8_t elcr, elcr_mask; /* 1 = level-triggered; bits that can be so */
	uint8_t base;		/* ICW2: vector of IR0 */
	uint8_t lowest;		/* IR with the lowest priority (rotation) */
	uint8_t icw4;
	uint8_t init_step;	/* next ICW expected: 0 none, 2, 3, 4 */
	bool need_icw4, single, ltim;
	bool read_isr, poll, special_mask, rotate_aeoi;
};

struct pic {
	struct device dev;
	struct i8259 chip[2];	/* 0 master, 1 slave */
	struct bus_region cmd[2], elcr;
	bool intr;		/* level last told to the kernel */
};

static bool is_level(const struct i8259 *c, unsigned int ir)
{
	return c->ltim || (c->elcr & (1U << ir));
}

/* IR with the highest priority among bits, or -1. Priority is relative to c->lowest. */
static int highest(const struct i8259 *c, uint8_t bits)
{
	unsigned int i;

	for (i = 1; i <= 8; i++) {
		unsigned int ir = (c->lowest + i) & 7;

		if (bits & (1U << ir))
			return ir;
	}
	return -1;
}

/* Rank of an IR: 0 is the highest priority. */
static unsigned int rank(const struct i8259 *c, unsigned int ir)
{
	return (ir - c->lowest - 1) & 7;
}

/* IR that the chip would now raise INT for, or -1. */
static int chip_pending(const struct i8259 *c, bool master)
{
	int ir = highest(c, c->irr & ~c->imr);
	uint8_t isr = c->isr;
	int busy;

	if (ir < 0)
		return -1;
	if (c->special_mask) {
		isr &= ~c->imr;
		/* In special mask mode only the level itself is inhibited. */
		return (isr & (1U << ir)) ? -1 : ir;
	}
	/* Special fully nested: the slave may interrupt again while in service. */
	if (master && (c->icw4 & ICW4_SFNM))
		isr &= ~(1U << CASCADE_IRQ);
	busy = highest(c, isr);
	if (busy >= 0 && rank(c, ir) >= rank(c, busy))
		return -1;
	return ir;
}

static void chip_line(struct i8259 *c, unsigned int ir, bool level)
{
	uint8_t bit = 1U << ir;

	if (is_level(c, ir)) {
		if (level)
			c->irr |= bit;
		else
			c->irr &= ~bit;
	} else if (level && !(c->lines & bit)) {
		c->irr |= bit;
	} else if (!level) {
		/* The input must stay high until INTA; a request that drops is gone. */
		c->irr &= ~bit;
	}
	if (level)
		c->lines |= bit;
	else
		c->lines &= ~bit;
}

static void pic_update(struct pic *pic)
{
	bool intr;

	/* A fresh request of the slave is a fresh edge on the cascade input. */
	chip_line(&pic->chip[0], CASCADE_IRQ, chip_pending(&pic->chip[1], false) >= 0);
	intr = chip_pending(&pic->chip[0], true) >= 0;
	if (intr != pic->intr) {
		pic->intr = intr;
		hv_set_extint(&pic->dev.m->vcpu[0].hv, intr);
	}
}

static void chip_end_of_interrupt(struct i8259 *c, int ir, bool rotate)
{
	if (ir < 0)
		return;
	c->isr &= ~(1U << ir);
	if (rotate)
		c->lowest = ir;
}

/* The INTA cycle at one chip. */
static void chip_take(struct i8259 *c, int ir)
{
	if (!is_level(c, ir))
		c->irr &= ~(1U << ir);
	if (c->icw4 & ICW4_AEOI) {
		if (c->rotate_aeoi)
			c->lowest = ir;
	} else {
		c->isr |= 1U << ir;
	}
}

int pic_ack(struct pic *pic)
{
	struct i8259 *master = &pic->chip[0], *slave = &pic->chip[1];
	int ir = chip_pending(master, true);
	int vector;

	if (ir < 0) {
		/* The request went away before INTA: IR7's vector, ISR untouched. */
		vector = master->base + SPURIOUS_IR;
	} else if (ir != CASCADE_IRQ || master->single) {
		chip_take(master, ir);
		vector = master->base + ir;
	} else {
		int sir = chip_pending(slave, false);

		chip_take(master, CASCADE_IRQ);
		if (sir < 0) {
			vector = slave->base + SPURIOUS_IR;
		} else {
			chip_take(slave, sir);
			vector = slave->base + sir;
		}
		/* INT of the slave falls with INTA; pic_update() raises it anew. */
		chip_line(master, CASCADE_IRQ, false);
	}
	pic_update(pic);
	return vector;
}

void pic_set_irq(struct pic *pic, unsigned int irq, bool level)
{
	if (irq >= 16 || irq == CASCADE_IRQ)
		return;
	chip_line(&pic->chip[irq >> 3], irq & 7, level);
	pic_update(pic);
}

static void chip_init(struct i8259 *c, uint8_t val)
{
	c->imr = 0;
	c->isr = 0;
	c->irr = 0;
	c->lowest = 7;
	c->special_mask = false;
	c->read_isr = false;
	c->poll = false;
	c->rotate_aeoi = false;
	c->need_icw4 = val & ICW1_IC4;
	c->single = val & ICW1_SNGL;
	c->ltim = val & ICW1_LTIM;
	if (!c->need_icw4)
		c->icw4 = 0;
	c->init_step = 2;
	/* Edge sensing restarts: a line that is high must fall first, a level does not. */
	c->irr = c->lines & (c->ltim ? 0xff : c->elcr);
}

static void chip_ocw2(struct i8259 *c, uint8_t val)
{
	unsigned int ir = val & 7;

	switch (val >> 5) {
	case 0:			/* rotate in automatic EOI: clear */
	case 4:			/* set */
		c->rotate_aeoi = val >> 7;
		break;
	case 1:			/* non-specific EOI, without and with rotation */
	case 5:
		chip_end_of_interrupt(c, highest(c, c->special_mask ? c->isr & ~c->imr : c->isr),
				      val & 0x80);
		break;
	case 3:			/* specific EOI */
	case 7:
		chip_end_of_interrupt(c, ir, val & 0x80);
		break;
	case 6:			/* set priority */
		c->lowest = ir;
		break;
	default:		/* 2: no operation */
		break;
	}
}

static void chip_ocw3(struct i8259 *c, uint8_t val)
{
	if (val & OCW3_POLL)
		c->poll = true;
	if (val & OCW3_RR)
		c->read_isr = val & OCW3_RIS;
	if (val & OCW3_ESMM)
		c->special_mask = val & OCW3_SMM;
}

static void chip_write_data(struct i8259 *c, uint8_t val)
{
	switch (c->init_step) {
	case 2:
		c->base = val & 0xf8;
		c->init_step = c->single ? (c->need_icw4 ? 4 : 0) : 3;
		break;
	case 3:			/* the cascade wiring is fixed */
		c->init_step = c->need_icw4 ? 4 : 0;
		break;
	case 4:
		c->icw4 = val;
		c->init_step = 0;
		break;
	default:
		c->imr = val;
		break;
	}
}

static void pic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pic *pic = opaque;
	struct i8259 *c = &pic->chip[offset >> 8];
	uint8_t v = val;

	if (offset & 1)
		chip_write_data(c, v);
	else if (v & ICW1_SELECT)
		chip_init(c, v);
	else if (v & OCW3_SELECT)
		chip_ocw3(c, v);
	else
		chip_ocw2(c, v);
	pic_update(pic);
}

static uint64_t pic_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pic *pic = opaque;
	struct i8259 *c = &pic->chip[offset >> 8];
	int ir;

	if (c->poll) {
		/* Poll command: this read is the INTA cycle. */
		c->poll = false;
		ir = chip_pending(c, c == &pic->chip[0]);
		if (ir < 0)
			return 0;
		chip_take(c, ir);
		pic_update(pic);
		return 0x80 | ir;
	}
	if (offset & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

/* One region a chip; the slave's ops add what tells it apart. */
static uint64_t slave_read(void *opaque, uint64_t offset, unsigned int size)
{
	return pic_read(opaque, offset | 0x100, size);
}

static void slave_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	pic_write(opaque, offset | 0x100, size, val);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pic *pic = opaque;

	return pic->chip[offset & 1].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pic *pic = opaque;
	struct i8259 *c = &pic->chip[offset & 1];

	c->elcr = val & c->elcr_mask;
	pic_update(pic);
}

static const struct bus_ops pic_bus_ops[2] = {
	{ .read = pic_read, .write = pic_write },
	{ .read = slave_read, .write = slave_write },
};
static const struct bus_ops elcr_bus_ops = { .read = elcr_read, .write = elcr_write };

static void pic_reset(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct i8259 *c = &pic->chip[i];
		uint8_t lines = c->lines;

		*c = (struct i8259){ .lines = lines, .lowest = 7, .imr = 0xff };
		/* IRQ 0, 1, 2, 8 and 13 are edge-triggered by wiring. */
		c->elcr_mask = i ? 0xde : 0xf8;
	}
	pic_update(pic);
}

static void pic_destroy(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;
	unsigned int i;

	for (i = 0; i < 2; i++)
		bus_remove(&dev->m->pio, &pic->cmd[i]);
	bus_remove(&dev->m->pio, &pic->elcr);
	dev->m->pic = NULL;
	free(pic);
}

/* -------------------------------------------------------------------- state */

struct pic_chip_state {
	uint8_t irr, isr, imr, lines, elcr, base, lowest, icw4, init_step;
	uint8_t need_icw4, single, ltim, read_isr, poll, special_mask, rotate_aeoi;
};

struct pic_state {
	struct pic_chip_state chip[2];
};

static const struct state_field pic_chip_fields[] = {
	STATE_NUM(struct pic_chip_state, irr, 1),
	STATE_NUM(struct pic_chip_state, isr, 1),
	STATE_NUM(struct pic_chip_state, imr, 1),
	STATE_NUM(struct pic_chip_state, lines, 1),
	STATE_NUM(struct pic_chip_state, elcr, 1),
	STATE_NUM(struct pic_chip_state, base, 1, .bits = 0xf8),
	STATE_NUM(struct pic_chip_state, lowest, 1, .max = 7),
	STATE_NUM(struct pic_chip_state, icw4, 1),
	STATE_NUM(struct pic_chip_state, init_step, 1, .max = 4),
	STATE_BOOL(struct pic_chip_state, need_icw4, 1),
	STATE_BOOL(struct pic_chip_state, single, 1),
	STATE_BOOL(struct pic_chip_state, ltim, 1),
	STATE_BOOL(struct pic_chip_state, read_isr, 1),
	STATE_BOOL(struct pic_chip_state, poll, 1),
	STATE_BOOL(struct pic_chip_state, special_mask, 1),
	STATE_BOOL(struct pic_chip_state, rotate_aeoi, 1),
	STATE_END
};

static const struct state_field pic_fields[] = {
	STATE_GROUPS(struct pic_state, chip, pic_chip_fields, 1),
	STATE_END
};

static int pic_save(struct device *dev, void *state, struct state_error *err)
{
	const struct pic *pic = (struct pic *)dev;
	struct pic_state *s = state;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		const struct i8259 *c = &pic->chip[i];

		s->chip[i] = (struct pic_chip_state){
			.irr = c->irr, .isr = c->isr, .imr = c->imr, .lines = c->lines,
			.elcr = c->elcr, .base = c->base, .lowest = c->lowest, .icw4 = c->icw4,
			.init_step = c->init_step, .need_icw4 = c->need_icw4, .single = c->single,
			.ltim = c->ltim, .read_isr = c->read_isr, .poll = c->poll,
			.special_mask = c->special_mask, .rotate_aeoi = c->rotate_aeoi,
		};
	}
	return 0;
}

static int pic_load(struct device *dev, const void *state, unsigned int version,
		    struct state_error *err)
{
	struct pic *pic = (struct pic *)dev;
	const struct pic_state *s = state;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		if (s->chip[i].init_step == 1)
			return state_error(err, "chip[%u]: ICW1 is no step of an initialisation", i);
		if (s->chip[i].elcr & ~pic->chip[i].elcr_mask)
			return state_error(err, "chip[%u]: elcr %#x has bits that are wired to edges", i,
					   s->chip[i].elcr);
	}
	for (i = 0; i < 2; i++) {
		const struct pic_chip_state *c = &s->chip[i];

		pic->chip[i] = (struct i8259){
			.irr = c->irr, .isr = c->isr, .imr = c->imr, .lines = c->lines,
			.elcr = c->elcr, .elcr_mask = pic->chip[i].elcr_mask, .base = c->base,
			.lowest = c->lowest, .icw4 = c->icw4, .init_step = c->init_step,
			.need_icw4 = c->need_icw4, .single = c->single, .ltim = c->ltim,
			.read_isr = c->read_isr, .poll = c->poll, .special_mask = c->special_mask,
			.rotate_aeoi = c->rotate_aeoi,
		};
	}
	pic_update(pic);
	return 0;
}

static const struct state_desc pic_state_desc = {
	.version = 1, .size = sizeof(struct pic_state), .fields = pic_fields,
	.save = pic_save, .load = pic_load,
};

static const struct device_ops pic_ops = {
	.name = "pic",
	.help = "Two 8259A interrupt controllers at 0x20 and 0xa0. Always present.",
	.reset = pic_reset,
	.destroy = pic_destroy,
	.state = &pic_state_desc,
};
DEVICE_REGISTER(pic_ops);

int pic_create(struct machine *m)
{
	struct pic *pic = calloc(1, sizeof(*pic));
	unsigned int i;
	int ret;

	if (!pic)
		return -ENOMEM;
	for (i = 0; i < 2; i++) {
		pic->cmd[i] = (struct bus_region){
			.name = "pic", .base = i ? BOARD_PIC_SLAVE : BOARD_PIC_MASTER, .size = 2,
			.ops = &pic_bus_ops[i], .opaque = pic,
		};
		ret = bus_add(&m->pio, &pic->cmd[i]);
		if (ret)
			goto fail;
	}
	pic->elcr = (struct bus_region){
		.name = "elcr", .base = BOARD_PIC_ELCR, .size = 2, .ops = &elcr_bus_ops, .opaque = pic,
	};
	ret = bus_add(&m->pio, &pic->elcr);
	if (ret)
		goto fail;
	device_init(&pic->dev, m, &pic_ops, "pic");
	pic_reset(&pic->dev);
	m->pic = pic;
	return 0;

fail:
	while (i--)
		bus_remove(&m->pio, &pic->cmd[i]);
	log_error("pic: ports are taken");
	free(pic);
	return ret;
}
