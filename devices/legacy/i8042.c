// SPDX-License-Identifier: GPL-2.0-only
/*
 * i8042 keyboard controller with nothing plugged in, at 0x60 and 0x64, and the
 * fast A20 and reset port 0x92. What guests want of it is the reset pulse; the
 * controller answers its own commands, and a byte for the keyboard gives the
 * time-out of a missing device at once, so that probing takes no time.
 *
 * All state is under the machine lock.
 */
#include <errno.h>
#include <stdlib.h>
#include "devices/device.h"
#include "vmm/board.h"

#define PORT92		0x92

#define STATUS_OBF	0x01
#define STATUS_SYSTEM	0x04
#define STATUS_CMD	0x08
#define STATUS_UNLOCKED	0x10
#define STATUS_TIMEOUT	0x40

#define MODE_KBD_INT	0x01
#define MODE_SYSTEM	0x04
#define MODE_KBD_OFF	0x10
#define MODE_AUX_OFF	0x20

#define CMD_READ_MODE	0x20
#define CMD_WRITE_MODE	0x60
#define CMD_AUX_OFF	0xa7
#define CMD_AUX_ON	0xa8
#define CMD_AUX_TEST	0xa9
#define CMD_SELF_TEST	0xaa
#define CMD_KBD_TEST	0xab
#define CMD_KBD_OFF	0xad
#define CMD_KBD_ON	0xae
#define CMD_READ_OUT	0xd0
#define CMD_WRITE_OUT	0xd1
#define CMD_KBD_LOOP	0xd2
#define CMD_AUX_LOOP	0xd3
#define CMD_AUX_SEND	0xd4
#define CMD_PULSE	0xf0		/* low 4 bits: lines not to pulse; bit 0 is reset */

#define OUT_NO_RESET	0x01
#define OUT_A20		0x02
#define ANSWER_NO_DEVICE 0xfe
#define AUX_CLOCK_LOW	0x01		/* port test: nothing there */

struct i8042 {
	struct device dev;
	struct bus_region data, cmd, port92;
	uint8_t mode, out, command, last;
	bool full, timed_out, last_was_cmd;
};

static void update_irq(struct i8042 *k)
{
	irq_set(k->dev.m, BOARD_I8042_KBD_IRQ, k->full && (k->mode & MODE_KBD_INT));
}

static void answer(struct i8042 *k, uint8_t val, bool timed_out)
{
	k->last = val;
	k->full = true;
	k->timed_out = timed_out;
}

static void reset_machine(struct i8042 *k)
{
	machine_event(k->dev.m, EV_RESET, 0);
}

static void write_command(struct i8042 *k, uint8_t cmd)
{
	k->command = 0;
	switch (cmd) {
	case CMD_READ_MODE:
		answer(k, k->mode, false);
		break;
	case CMD_WRITE_MODE:
	case CMD_WRITE_OUT:
	case CMD_KBD_LOOP:
	case CMD_AUX_LOOP:
	case CMD_AUX_SEND:
		k->command = cmd;
		break;
	case CMD_AUX_OFF:
	case CMD_AUX_ON:	/* there is no second port to switch on */
		k->mode |= MODE_AUX_OFF;
		break;
	case CMD_AUX_TEST:
		answer(k, AUX_CLOCK_LOW, false);
		break;
	case CMD_SELF_TEST:
		k->mode |= MODE_SYSTEM;
		answer(k, 0x55, false);
		break;
	case CMD_KBD_TEST:
		answer(k, 0, false);
		break;
	case CMD_KBD_OFF:
		k->mode |= MODE_KBD_OFF;
		break;
	case CMD_KBD_ON:
		k->mode &= ~MODE_KBD_OFF;
		break;
	case CMD_READ_OUT:
		answer(k, k->out, false);
		break;
	default:
		if (cmd >= CMD_PULSE && !(cmd & OUT_NO_RESET))
			reset_machine(k);
		break;
	}
}

static void write_data(struct i8042 *k, uint8_t val)
{
	uint8_t cmd = k->command;

	k->command = 0;
	switch (cmd) {
	case CMD_WRITE_MODE:
		k->mode = val | MODE_AUX_OFF;
		break;
	case CMD_WRITE_OUT:
		k->out = val | OUT_A20;
		if (!(val & OUT_NO_RESET))
			reset_machine(k);
		break;
	case CMD_KBD_LOOP:
		answer(k, val, false);
		break;
	default:	/* the keyboard, or the mouse of the second port */
		answer(k, ANSWER_NO_DEVICE, true);
		break;
	}
}

static uint64_t i8042_read_data(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *k = opaque;

	k->full = false;
	k->timed_out = false;
	update_irq(k);
	return k->last;
}

static void i8042_write_data(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct i8042 *k = opaque;

	k->last_was_cmd = false;
	write_data(k, val);
	update_irq(k);
}

static uint64_t i8042_read_status(void *opaque, uint64_t offset, unsigned int size)
{
	struct i8042 *k = opaque;

	return STATUS_UNLOCKED | (k->full ? STATUS_OBF : 0) |
	       (k->mode & MODE_SYSTEM ? STATUS_SYSTEM : 0) |
	       (k->last_was_cmd ? STATUS_CMD : 0) | (k->timed_out ? STATUS_TIMEOUT : 0);
}

static void i8042_write_cmd(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct i8042 *k = opaque;

	k->last_was_cmd = true;
	write_command(k, val);
	update_irq(k);
}

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned int size)
{
	return OUT_A20;
}

static void port92_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	if (val & 1)
		reset_machine(opaque);
}

static const struct bus_ops data_ops = { .read = i8042_read_data, .write = i8042_write_data };
static const struct bus_ops cmd_ops = { .read = i8042_read_status, .write = i8042_write_cmd };
static const struct bus_ops port92_ops = { .read = port92_read, .write = port92_write };

static void i8042_reset(struct device *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	k->mode = MODE_SYSTEM | MODE_AUX_OFF | MODE_KBD_INT;
	k->out = OUT_NO_RESET | OUT_A20;
	k->command = 0;
	k->full = k->timed_out = k->last_was_cmd = false;
	update_irq(k);
}

static void i8042_destroy(struct device *dev)
{
	struct i8042 *k = (struct i8042 *)dev;

	bus_remove(&dev->m->pio, &k->data);
	bus_remove(&dev->m->pio, &k->cmd);
	bus_remove(&dev->m->pio, &k->port92);
	free(k);
}

struct i8042_state {
	uint8_t mode, out, command, last, full, timed_out, last_was_cmd;
};

static const struct state_field i8042_fields[] = {
	STATE_NUM(struct i8042_state, mode, 1),
	STATE_NUM(struct i8042_state, out, 1),
	STATE_NUM(struct i8042_state, command, 1),
	STATE_NUM(struct i8042_state, last, 1),
	STATE_BOOL(struct i8042_state, full, 1),
	STATE_BOOL(struct i8042_state, timed_out, 1),
	STATE_BOOL(struct i8042_state, last_was_cmd, 1),
	STATE_END
};

static int i8042_save(struct device *dev, void *state, struct state_error *err)
{
	const struct i8042 *k = (struct i8042 *)dev;

	*(struct i8042_state *)state = (struct i8042_state){
		.mode = k->mode, .out = k->out, .command = k->command, .last = k->last,
		.full = k->full, .timed_out = k->timed_out, .last_was_cmd = k->last_was_cmd,
	};
	return 0;
}

static int i8042_load(struct device *dev, const void *state, unsigned int version,
		      struct state_error *err)
{
	struct i8042 *k = (struct i8042 *)dev;
	const struct i8042_state *s = state;

	k->mode = s->mode | MODE_AUX_OFF;
	k->out = s->out | OUT_A20;
	k->command = s->command;
	k->last = s->last;
	k->full = s->full;
	k->timed_out = s->timed_out;
	k->last_was_cmd = s->last_was_cmd;
	return 0;
}

static const struct state_desc i8042_state_desc = {
	.version = 1, .size = sizeof(struct i8042_state), .fields = i8042_fields,
	.save = i8042_save, .load = i8042_load,
};

static const struct device_ops i8042_ops = {
	.name = "i8042",
	.help = "Keyboard controller without a keyboard: self test, A20 and reset. Always present.",
	.reset = i8042_reset,
	.destroy = i8042_destroy,
	.state = &i8042_state_desc,
};
DEVICE_REGISTER(i8042_ops);

int i8042_create(struct machine *m)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	k->data = (struct bus_region){ "i8042-data", BOARD_I8042_DATA, 1, &data_ops, k, 0 };
	k->cmd = (struct bus_region){ "i8042-cmd", BOARD_I8042_CMD, 1, &cmd_ops, k, 0 };
	k->port92 = (struct bus_region){ "port92", PORT92, 1, &port92_ops, k, 0 };
	ret = bus_add(&m->pio, &k->data);
	if (ret)
		goto fail;
	ret = bus_add(&m->pio, &k->cmd);
	if (ret)
		goto fail_data;
	ret = bus_add(&m->pio, &k->port92);
	if (ret)
		goto fail_cmd;
	device_init(&k->dev, m, &i8042_ops, "i8042");
	i8042_reset(&k->dev);
	return 0;

fail_cmd:
	bus_remove(&m->pio, &k->cmd);
fail_data:
	bus_remove(&m->pio, &k->data);
fail:
	log_error("i8042: ports are taken");
	free(k);
	return ret;
}
