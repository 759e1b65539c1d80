// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 16550A UART. Characters take no time: what is written to THR has left at
 * once, so that THRE and TEMT always read as set, and a received character
 * raises the time-out indication as soon as it is there instead of after four
 * character times.
 *
 * All state is under the machine lock.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "devices/device.h"
#include "vmm/board.h"

#define FIFO_SIZE	16

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RDI		0x01
#define IER_THRI	0x02
#define IER_RLSI	0x04
#define IER_MSI		0x08
#define IIR_NONE	0x01
#define IIR_MSI		0x00
#define IIR_THRI	0x02
#define IIR_RDI		0x04
#define IIR_RLSI	0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFO_ON	0xc0
#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_CLEAR_TX	0x04
#define LCR_DLAB	0x80
#define LCR_BREAK	0x40
#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_BI		0x10
#define LSR_THRE	0x20
#define LSR_TEMT	0x40
#define MSR_DELTAS	0x0f
#define MSR_DCTS	0x01
#define MSR_DDSR	0x02
#define MSR_TERI	0x04
#define MSR_DDCD	0x08
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

struct serial {
	struct device dev;
	struct bus_region pio;
	struct chardev *chr;
	unsigned int irq;
	bool line;		/* what this port asks of its interrupt line */
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr;
	uint8_t lsr_errors;	/* LSR_OE, LSR_BI until LSR is read */
	uint8_t msr;
	bool thr_pending;	/* THRE interrupt not yet acknowledged */
	uint8_t fifo[FIFO_SIZE];
	unsigned int head, count;
};

static const struct {
	uint16_t base;
	uint8_t irq;
} serial_ports[DOM_MAX_SERIALS] = {
	{ BOARD_COM1_BASE, BOARD_COM1_IRQ },
	{ BOARD_COM2_BASE, BOARD_COM2_IRQ },
	{ BOARD_COM3_BASE, BOARD_COM1_IRQ },
	{ BOARD_COM4_BASE, BOARD_COM2_IRQ },
};

static const struct device_ops serial_ops;

static unsigned int rx_depth(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned int rx_trigger(const struct serial *s)
{
	static const uint8_t level[4] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

/* The cause with the highest priority, as IIR shows it. */
static uint8_t serial_cause(const struct serial *s)
{
	if ((s->ier & IER_RLSI) && s->lsr_errors)
		return IIR_RLSI;
	if ((s->ier & IER_RDI) && s->count)
		return s->count >= rx_trigger(s) ? IIR_RDI : IIR_TIMEOUT;
	if ((s->ier & IER_THRI) && s->thr_pending)
		return IIR_THRI;
	if ((s->ier & IER_MSI) && (s->msr & MSR_DELTAS))
		return IIR_MSI;
	return IIR_NONE;
}

/* COM1 and COM3 share a line, and so do COM2 and COM4. */
static bool line_wanted(const struct machine *m, unsigned int irq)
{
	const struct device *d;

	for (d = m->devices; d; d = d->next) {
		const struct serial *s = (const struct serial *)d;

		if (d->ops == &serial_ops && s->irq == irq && s->line)
			return true;
	}
	return false;
}

static void serial_update(struct serial *s)
{
	bool line = serial_cause(s) != IIR_NONE;

	if (line == s->line)
		return;
	s->line = line;
	irq_set(s->dev.m, s->irq, line_wanted(s->dev.m, s->irq));
}

static void rx_push(struct serial *s, uint8_t c)
{
	if (s->count >= rx_depth(s)) {
		s->lsr_errors |= LSR_OE;
		/* Without a FIFO the new character replaces the old one. */
		if (s->fcr & FCR_ENABLE)
			return;
		s->count = 0;
	}
	s->fifo[(s->head + s->count) % FIFO_SIZE] = c;
	s->count++;
}

static size_t serial_rx_room(void *opaque)
{
	struct serial *s = opaque;

	return s->mcr & MCR_LOOP ? 0 : rx_depth(s) - s->count;
}

static void serial_rx(void *opaque, const uint8_t *buf, size_t len)
{
	struct serial *s = opaque;
	size_t i;

	for (i = 0; i < len; i++)
		rx_push(s, buf[i]);
	serial_update(s);
}

/* Modem inputs: a peer that is always there, or the outputs in loopback. */
static void update_msr(struct serial *s)
{
	uint8_t now = MSR_CTS | MSR_DSR | MSR_DCD, changed;

	if (s->mcr & MCR_LOOP) {
		now = (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
		      (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
	}
	changed = (s->msr ^ now) & 0xf0;
	if (!(changed & s->msr & MSR_RI))
		changed &= ~MSR_RI;	/* only RI's trailing edge counts */
	s->msr = now | (s->msr & MSR_DELTAS) | changed >> 4;
}

static void write_thr(struct serial *s, uint8_t val)
{
	if (s->mcr & MCR_LOOP)
		rx_push(s, val);
	else if (s->chr)
		chardev_write(s->chr, &val, 1);
	s->thr_pending = true;
}

static void write_fcr(struct serial *s, uint8_t val)
{
	/* Turning the FIFO on or off empties it. */
	if ((val ^ s->fcr) & FCR_ENABLE)
		val |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	if (val & FCR_CLEAR_RX)
		s->count = 0;
	if (val & FCR_CLEAR_TX)
		s->thr_pending = true;
	s->fcr = val & FCR_ENABLE ? val & (0xc0 | FCR_ENABLE) : 0;
}

static void write_mcr(struct serial *s, uint8_t val)
{
	s->mcr = val & 0x1f;
	update_msr(s);
}

static void write_lcr(struct serial *s, uint8_t val)
{
	/* In loopback a break arrives as a zero character with BI. */
	if ((val & ~s->lcr & LCR_BREAK) && (s->mcr & MCR_LOOP)) {
		rx_push(s, 0);
		s->lsr_errors |= LSR_BI;
	}
	s->lcr = val;
}

static void serial_write(void *opaque, uint64_t offset, unsigned int size, uint64_t v)
{
	struct serial *s = opaque;
	uint8_t val = v;
	size_t room = serial_rx_room(s);

	switch (offset) {
	case RBR_THR:
		if (s->lcr & LCR_DLAB)
			s->dll = val;
		else
			write_thr(s, val);
		break;
	case IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = val;
			break;
		}
		/* THR is empty: enabling its interrupt raises it. */
		if (val & ~s->ier & IER_THRI)
			s->thr_pending = true;
		s->ier = val & 0x0f;
		break;
	case IIR_FCR:
		write_fcr(s, val);
		break;
	case LCR:
		write_lcr(s, val);
		break;
	case MCR:
		write_mcr(s, val);
		break;
	case SCR:
		s->scr = val;
		break;
	}
	serial_update(s);
	if (s->chr && serial_rx_room(s) > room)
		chardev_rx_ready(s->chr);
}

static uint8_t read_rbr(struct serial *s)
{
	uint8_t val = s->fifo[s->head];

	if (!s->count)
		return 0;
	s->head = (s->head + 1) % FIFO_SIZE;
	s->count--;
	return val;
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct serial *s = opaque;
	size_t room = serial_rx_room(s);
	uint8_t val = 0;

	switch (offset) {
	case RBR_THR:
		val = s->lcr & LCR_DLAB ? s->dll : read_rbr(s);
		break;
	case IER:
		val = s->lcr & LCR_DLAB ? s->dlm : s->ier;
		break;
	case IIR_FCR:
		val = serial_cause(s);
		if (val == IIR_THRI)
			s->thr_pending = false;
		if (s->fcr & FCR_ENABLE)
			val |= IIR_FIFO_ON;
		break;
	case LCR:
		val = s->lcr;
		break;
	case MCR:
		val = s->mcr;
		break;
	case LSR:
		val = LSR_THRE | LSR_TEMT | s->lsr_errors | (s->count ? LSR_DR : 0);
		s->lsr_errors = 0;
		break;
	case MSR:
		val = s->msr;
		s->msr &= ~MSR_DELTAS;
		break;
	case SCR:
		val = s->scr;
		break;
	}
	serial_update(s);
	if (s->chr && serial_rx_room(s) > room)
		chardev_rx_ready(s->chr);
	return val;
}

static const struct bus_ops serial_bus_ops = { .read = serial_read, .write = serial_write };

static void serial_reset(struct device *dev)
{
	struct serial *s = (struct serial *)dev;

	s->ier = 0;
	s->lcr = 0;
	s->mcr = 0;
	s->fcr = 0;
	s->scr = 0;
	s->dll = 12;		/* 9600 baud */
	s->dlm = 0;
	s->lsr_errors = 0;
	s->thr_pending = true;
	s->head = 0;
	s->count = 0;
	s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	serial_update(s);
	if (s->chr)
		chardev_rx_ready(s->chr);
}

static void serial_destroy(struct device *dev)
{
	struct serial *s = (struct serial *)dev;

	bus_remove(&dev->m->pio, &s->pio);
	if (s->chr)
		chardev_close(s->chr);
	free(s);
}

/* -------------------------------------------------------------------- state */

struct serial_state {
	uint8_t ier, lcr, mcr, scr, dll, dlm, fcr, lsr_errors, msr, thr_pending;
	uint32_t count;
	uint8_t fifo[FIFO_SIZE];	/* the oldest first */
};

static const struct state_field serial_fields[] = {
	STATE_NUM(struct serial_state, ier, 1, .bits = 0x0f),
	STATE_NUM(struct serial_state, lcr, 1),
	STATE_NUM(struct serial_state, mcr, 1, .bits = 0x1f),
	STATE_NUM(struct serial_state, scr, 1),
	STATE_NUM(struct serial_state, dll, 1),
	STATE_NUM(struct serial_state, dlm, 1),
	STATE_NUM(struct serial_state, fcr, 1, .bits = 0xc0 | FCR_ENABLE),
	STATE_NUM(struct serial_state, lsr_errors, 1, .bits = LSR_OE | LSR_BI),
	STATE_NUM(struct serial_state, msr, 1),
	STATE_BOOL(struct serial_state, thr_pending, 1),
	STATE_NUM(struct serial_state, count, 1, .max = FIFO_SIZE),
	STATE_SOME(struct serial_state, fifo, count, 1),
	STATE_END
};

static int serial_save(struct device *dev, void *state, struct state_error *err)
{
	const struct serial *s = (struct serial *)dev;
	struct serial_state *st = state;
	unsigned int i;

	*st = (struct serial_state){
		.ier = s->ier, .lcr = s->lcr, .mcr = s->mcr, .scr = s->scr, .dll = s->dll,
		.dlm = s->dlm, .fcr = s->fcr, .lsr_errors = s->lsr_errors, .msr = s->msr,
		.thr_pending = s->thr_pending, .count = s->count,
	};
	for (i = 0; i < s->count; i++)
		st->fifo[i] = s->fifo[(s->head + i) % FIFO_SIZE];
	return 0;
}

static int serial_load(struct device *dev, const void *state, unsigned int version,
		       struct state_error *err)
{
	struct serial *s = (struct serial *)dev;
	const struct serial_state *st = state;

	if (st->count > (st->fcr & FCR_ENABLE ? FIFO_SIZE : 1))
		return state_error(err, "%u characters wait where there is room for one", st->count);
	if (!(st->fcr & FCR_ENABLE) && st->fcr)
		return state_error(err, "fcr %#x sets a FIFO that is off", st->fcr);
	s->ier = st->ier;
	s->lcr = st->lcr;
	s->mcr = st->mcr;
	s->scr = st->scr;
	s->dll = st->dll;
	s->dlm = st->dlm;
	s->fcr = st->fcr;
	s->lsr_errors = st->lsr_errors;
	s->msr = st->msr;
	s->thr_pending = st->thr_pending;
	s->head = 0;
	s->count = st->count;
	memcpy(s->fifo, st->fifo, sizeof(s->fifo));
	/* The interrupt controllers have their lines from their own state. */
	s->line = serial_cause(s) != IIR_NONE;
	return 0;
}

static const struct state_desc serial_state_desc = {
	.version = 1, .size = sizeof(struct serial_state), .fields = serial_fields,
	.save = serial_save, .load = serial_load,
};

static const struct device_ops serial_ops = {
	.name = "serial",
	.xml = "<serial> with <target port='0'> to 3, <console>",
	.help = "16550A serial ports COM1 to COM4 (0x3f8, 0x2f8, 0x3e8, 0x2e8; IRQ 4, 3, 4, 3).",
	.reset = serial_reset,
	.destroy = serial_destroy,
	.state = &serial_state_desc,
};
DEVICE_REGISTER(serial_ops);

int serial_create(struct machine *m, const struct dom_serial *cfg)
{
	struct serial *s;
	char id[16];
	int ret;

	if (cfg->port >= DOM_MAX_SERIALS) {
		log_error("serial: port %u does not exist; the ports are 0 to 3", cfg->port);
		return -EINVAL;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	snprintf(id, sizeof(id), "serial%u", cfg->port);
	s->irq = serial_ports[cfg->port].irq;
	s->pio = (struct bus_region){
		.name = "serial", .base = serial_ports[cfg->port].base, .size = 8,
		.ops = &serial_bus_ops, .opaque = s,
	};
	ret = bus_add(&m->pio, &s->pio);
	if (ret) {
		log_error("serial%u: port %#x is taken; two <serial> with the same target?",
			  cfg->port, serial_ports[cfg->port].base);
		free(s);
		return ret;
	}
	s->chr = chardev_open(m, &cfg->chr, id);
	if (!s->chr && cfg->chr.type != CHR_NONE) {
		bus_remove(&m->pio, &s->pio);
		free(s);
		return -EIO;
	}
	device_init(&s->dev, m, &serial_ops, "%s", id);
	if (s->chr)
		chardev_set_rx(s->chr, serial_rx_room, serial_rx, s);
	serial_reset(&s->dev);
	return 0;
}
