// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O APIC: 24 pins, version 0x20 (82093AA register layout with the EOI
 * register of the ICH family), at 0xfec00000.
 *
 * A pin that fires becomes an interrupt message to the local APICs in the
 * kernel (SDM vol. 3, "Message Signalled Interrupts"). A level-triggered
 * message carries data bit 15, so that the local APIC sets TMR and its EOI
 * comes back through ioapic_eoi().
 *
 * All state is under the machine lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/device.h"
#include "vmm/board.h"

#define IOAPIC_PINS	BOARD_IOAPIC_PINS
#define IOAPIC_VERSION	0x20

#define REG_SELECT	0x00
#define REG_WINDOW	0x10
#define REG_EOI		0x40

#define RTE_VECTOR	0xffULL
#define RTE_DELIVERY(r)	(((r) >> 8) & 7)
#define RTE_LOGICAL	(1ULL << 11)
#define RTE_STATUS	(1ULL << 12)	/* read only */
#define RTE_REMOTE_IRR	(1ULL << 14)	/* read only */
#define RTE_LEVEL	(1ULL << 15)
#define RTE_MASKED	(1ULL << 16)
#define RTE_WRITABLE	0xfffe00000001afffULL

#define DELIVERY_EXTINT	7

struct ioapic {
	struct device dev;
	struct bus_region mmio;
	uint64_t rte[IOAPIC_PINS];
	uint32_t lines;		/* asserted inputs (polarity already taken out) */
	uint8_t id, select;
};

/* Address of a message for an RTE; the 7 extra destination bits are RTE 55:49. */
static uint64_t rte_address(uint64_t rte)
{
	return 0xfee00000ULL | ((rte >> 56) & 0xff) << 12 | ((rte >> 49) & 0x7f) << 5 |
	       (rte & RTE_LOGICAL ? 4 : 0);
}

static void fire(struct ioapic *io, unsigned int pin)
{
	uint64_t rte = io->rte[pin];
	uint32_t data = (rte & RTE_VECTOR) | RTE_DELIVERY(rte) << 8;

	/* The 8259's output reaches the vCPU through LINT0, not through here. */
	if (RTE_DELIVERY(rte) == DELIVERY_EXTINT)
		return;
	if (rte & RTE_LEVEL) {
		data |= 1U << 15 | 1U << 14;
		io->rte[pin] |= RTE_REMOTE_IRR;
	}
	msi_send(io->dev.m, rte_address(rte), data);
}

/* Deliver a level-triggered pin that is asserted, open, and not already being served. */
static void service_level(struct ioapic *io, unsigned int pin)
{
	uint64_t rte = io->rte[pin];

	if ((io->lines & (1U << pin)) && (rte & RTE_LEVEL) &&
	    !(rte & (RTE_MASKED | RTE_REMOTE_IRR)))
		fire(io, pin);
}

void ioapic_set_irq(struct ioapic *io, unsigned int pin, bool level)
{
	uint32_t bit;
	bool rising;

	if (pin >= IOAPIC_PINS)
		return;
	bit = 1U << pin;
	rising = level && !(io->lines & bit);
	if (level)
		io->lines |= bit;
	else
		io->lines &= ~bit;
	if (io->rte[pin] & RTE_LEVEL)
		service_level(io, pin);
	else if (rising && !(io->rte[pin] & RTE_MASKED))
		/* 82093AA: edges on a masked pin are not held. */
		fire(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t rte = io->rte[pin];

		if ((rte & RTE_VECTOR) != vector || !(rte & RTE_LEVEL) || !(rte & RTE_REMOTE_IRR))
			continue;
		io->rte[pin] &= ~RTE_REMOTE_IRR;
		service_level(io, pin);
	}
}

static void write_rte(struct ioapic *io, unsigned int pin, bool high, uint32_t val)
{
	uint64_t old = io->rte[pin], rte = old;

	if (high)
		rte = (rte & 0xffffffffULL) | (uint64_t)val << 32;
	else
		rte = (rte & ~0xffffffffULL) | val;
	rte = (rte & RTE_WRITABLE) | (old & RTE_REMOTE_IRR);
	/* Remote IRR means nothing for edges; a switch to edge mode clears it. */
	if (!(rte & RTE_LEVEL))
		rte &= ~RTE_REMOTE_IRR;
	io->rte[pin] = rte;
	service_level(io, pin);
}

static uint32_t read_window(struct ioapic *io)
{
	unsigned int pin;

	switch (io->select) {
	case 0:		/* ID */
	case 2:		/* arbitration ID: loaded from the ID */
		return (uint32_t)io->id << 24;
	case 1:
		return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
	}
	if (io->select < 0x10)
		return 0;
	pin = (io->select - 0x10) >> 1;
	if (pin >= IOAPIC_PINS)
		return 0;
	return io->select & 1 ? io->rte[pin] >> 32 : io->rte[pin];
}

static void write_window(struct ioapic *io, uint32_t val)
{
	unsigned int pin;

	if (io->select == 0) {
		io->id = (val >> 24) & 0xf;
		return;
	}
	if (io->select < 0x10)
		return;
	pin = (io->select - 0x10) >> 1;
	if (pin < IOAPIC_PINS)
		write_rte(io, pin, io->select & 1, val);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ioapic *io = opaque;

	switch (offset & 0xff) {
	case REG_SELECT:
		return io->select;
	case REG_WINDOW:
		return read_window(io);
	}
	return 0;
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct ioapic *io = opaque;

	switch (offset & 0xff) {
	case REG_SELECT:
		io->select = val;
		break;
	case REG_WINDOW:
		write_window(io, val);
		break;
	case REG_EOI:
		ioapic_eoi(io, val);
		break;
	}
}

static const struct bus_ops ioapic_bus_ops = { .read = ioapic_read, .write = ioapic_write };

static void ioapic_reset(struct device *dev)
{
	struct ioapic *io = (struct ioapic *)dev;
	unsigned int pin;

	io->id = 0;
	io->select = 0;
	for (pin = 0; pin < IOAPIC_PINS; pin++)
		io->rte[pin] = RTE_MASKED;
}

static void ioapic_destroy(struct device *dev)
{
	struct ioapic *io = (struct ioapic *)dev;

	bus_remove(&dev->m->mmio, &io->mmio);
	dev->m->ioapic = NULL;
	free(io);
}

/* -------------------------------------------------------------------- state */

struct ioapic_state {
	uint64_t rte[IOAPIC_PINS];
	uint32_t lines;
	uint8_t id, select;
};

static const struct state_field ioapic_fields[] = {
	STATE_ARRAY(struct ioapic_state, rte, 1, .bits = RTE_WRITABLE | RTE_REMOTE_IRR),
	STATE_NUM(struct ioapic_state, lines, 1, .bits = (1U << IOAPIC_PINS) - 1),
	STATE_NUM(struct ioapic_state, id, 1, .max = 0xf),
	STATE_NUM(struct ioapic_state, select, 1),
	STATE_END
};

static int ioapic_save(struct device *dev, void *state, struct state_error *err)
{
	const struct ioapic *io = (struct ioapic *)dev;
	struct ioapic_state *s = state;

	memcpy(s->rte, io->rte, sizeof(s->rte));
	s->lines = io->lines;
	s->id = io->id;
	s->select = io->select;
	return 0;
}

/* Messages that were sent are in the local APICs: nothing is sent here. */
static int ioapic_load(struct device *dev, const void *state, unsigned int version,
		       struct state_error *err)
{
	struct ioapic *io = (struct ioapic *)dev;
	const struct ioapic_state *s = state;
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_PINS; pin++)
		if ((s->rte[pin] & RTE_REMOTE_IRR) && !(s->rte[pin] & RTE_LEVEL))
			return state_error(err, "rte[%u] waits for an EOI of an edge", pin);
	memcpy(io->rte, s->rte, sizeof(io->rte));
	io->lines = s->lines;
	io->id = s->id;
	io->select = s->select;
	return 0;
}

static const struct state_desc ioapic_state_desc = {
	.version = 1, .size = sizeof(struct ioapic_state), .fields = ioapic_fields,
	.save = ioapic_save, .load = ioapic_load,
};

static const struct device_ops ioapic_ops = {
	.name = "ioapic",
	.xml = "<features><apic/>",
	.help = "I/O APIC with 24 pins at 0xfec00000. Always present.",
	.reset = ioapic_reset,
	.destroy = ioapic_destroy,
	.state = &ioapic_state_desc,
};
DEVICE_REGISTER(ioapic_ops);

int ioapic_create(struct machine *m)
{
	struct ioapic *io = calloc(1, sizeof(*io));
	int ret;

	if (!io)
		return -ENOMEM;
	io->mmio = (struct bus_region){
		.name = "ioapic", .base = BOARD_IOAPIC_BASE, .size = 0x1000,
		.ops = &ioapic_bus_ops, .opaque = io,
	};
	ret = bus_add(&m->mmio, &io->mmio);
	if (ret) {
		log_error("ioapic: address %#x is taken", BOARD_IOAPIC_BASE);
		free(io);
		return ret;
	}
	device_init(&io->dev, m, &ioapic_ops, "ioapic");
	ioapic_reset(&io->dev);
	m->ioapic = io;
	return 0;
}
