// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvpanic (ACPI id QEMU0001): one port. Reading tells the events that are
 * understood; the guest's panic handler writes the event.
 */
#include <errno.h>
#include <stdlib.h>
#include "devices/device.h"
#include "vmm/board.h"

#define PVPANIC_PANICKED	0x01	/* the guest has panicked */
#define PVPANIC_CRASH_LOADED	0x02	/* it panicked and its crash kernel takes over */

struct pvpanic {
	struct device dev;
	struct bus_region pio;
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned int size)
{
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pvpanic *p = opaque;

	if (val & PVPANIC_PANICKED)
		machine_event(p->dev.m, EV_PANIC, 0);
	else if (val & PVPANIC_CRASH_LOADED)
		log_guest("the guest has panicked; its crash kernel takes over");
}

static const struct bus_ops pvpanic_bus_ops = { .read = pvpanic_read, .write = pvpanic_write };

static void pvpanic_destroy(struct device *dev)
{
	struct pvpanic *p = (struct pvpanic *)dev;

	bus_remove(&dev->m->pio, &p->pio);
	free(p);
}

static const struct device_ops pvpanic_ops = {
	.name = "pvpanic",
	.xml = "<panic model='isa'>",
	.help = "Tells the host of a guest panic (port 0x505); what follows is <on_crash>.",
	.destroy = pvpanic_destroy,
	.state = &state_nothing,
};
DEVICE_REGISTER(pvpanic_ops);

int pvpanic_create(struct machine *m)
{
	struct pvpanic *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	p->pio = (struct bus_region){
		.name = "pvpanic", .base = BOARD_PVPANIC_PORT, .size = 1,
		.ops = &pvpanic_bus_ops, .opaque = p,
	};
	ret = bus_add(&m->pio, &p->pio);
	if (ret) {
		log_error("pvpanic: port %#x is taken", BOARD_PVPANIC_PORT);
		free(p);
		return ret;
	}
	device_init(&p->dev, m, &pvpanic_ops, "pvpanic");
	return 0;
}
