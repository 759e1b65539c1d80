// SPDX-License-Identifier: GPL-2.0-only
/*
 * A port that ends the machine: a value v written to it becomes the exit status
 * (v << 1) | 1 of `hvx run`. For tests that run as a guest.
 */
#include <errno.h>
#include <stdlib.h>
#include "devices/device.h"

#define DEBUG_EXIT_PORTS 4

struct debug_exit {
	struct device dev;
	struct bus_region pio;
};

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct debug_exit *d = opaque;

	machine_event(d->dev.m, EV_DEBUG_EXIT, (int)val);
}

static const struct bus_ops debug_exit_bus_ops = {
	.read = debug_exit_read, .write = debug_exit_write,
};

static void debug_exit_destroy(struct device *dev)
{
	struct debug_exit *d = (struct debug_exit *)dev;

	bus_remove(&dev->m->pio, &d->pio);
	free(d);
}

static const struct device_ops debug_exit_ops = {
	.name = "debug-exit",
	.xml = "<hvx:debug-exit port=>, <qemu:arg value='isa-debug-exit,...'>",
	.help = "A write of v to the port (default 0x501) ends the guest; the exit status is (v << 1) | 1.",
	.destroy = debug_exit_destroy,
	.state = &state_nothing,
};
DEVICE_REGISTER(debug_exit_ops);

int debug_exit_create(struct machine *m, uint16_t port)
{
	struct debug_exit *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	d->pio = (struct bus_region){
		.name = "debug-exit", .base = port, .size = DEBUG_EXIT_PORTS,
		.ops = &debug_exit_bus_ops, .opaque = d,
	};
	ret = bus_add(&m->pio, &d->pio);
	if (ret) {
		log_error("debug-exit: port %#x belongs to another device; choose another", port);
		free(d);
		return ret;
	}
	device_init(&d->dev, m, &debug_exit_ops, "debug-exit");
	return 0;
}
