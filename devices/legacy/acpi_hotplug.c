// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is plugged into a running guest, as its AML sees it (vmm/boot/acpi_hotplug.c):
 * three registers of 32 bits at BOARD_HOTPLUG_BASE, a bit for each PCI slot.
 *
 *   +0 UP     slots that were filled; write 1 to clear
 *   +4 DOWN   slots that the guest shall let go of; write 1 to clear
 *   +8 EJECT  write: it has let go of these; reads as zero
 *
 * A bit that comes into UP or DOWN raises a GPE. Saved state has the slot of each
 * device, too: which one a device gets depends on what was there when it came.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/pci.h"
#include "vmm/board.h"
#include "vmm/hotplug.h"

#define NR_DEVFN	256

struct acpi_hotplug {
	struct device dev;
	struct bus_region pio;
	uint32_t up, down;
};

static const struct device_ops acpi_hotplug_ops;

static uint32_t *reg(struct acpi_hotplug *h, uint64_t offset)
{
	return offset == BOARD_PLUG_UP ? &h->up : offset == BOARD_PLUG_DOWN ? &h->down : NULL;
}

/* The AML makes aligned accesses of 4 bytes; others read as zero and change nothing. */
static uint64_t hotplug_read(void *opaque, uint64_t offset, unsigned int size)
{
	uint32_t *r = size == 4 ? reg(opaque, offset) : NULL;

	return r ? *r : 0;
}

static void hotplug_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct acpi_hotplug *h = opaque;
	uint32_t *r = size == 4 ? reg(h, offset) : NULL;
	unsigned int slot;

	if (r)
		*r &= ~(uint32_t)val;
	if (size != 4 || offset != BOARD_PLUG_EJECT)
		return;
	for (slot = 0; slot < PCI_NR_SLOTS; slot++) {
		if (!(val >> slot & 1))
			continue;
		h->up &= ~(1U << slot);
		h->down &= ~(1U << slot);
		hotplug_ejected(h->dev.m, slot);
	}
}

static const struct bus_ops hotplug_bus_ops = { .read = hotplug_read, .write = hotplug_write };

static struct acpi_hotplug *find(struct machine *m)
{
	struct device *d;

	for (d = m->devices; d; d = d->next)
		if (d->ops == &acpi_hotplug_ops)
			return (struct acpi_hotplug *)d;
	return NULL;
}

void acpi_hotplug_filled(struct machine *m, unsigned int slot)
{
	struct acpi_hotplug *h = find(m);

	if (!h)
		return;
	h->up |= 1U << slot;
	acpi_pm_gpe(m, BOARD_PCIHP_GPE);
}

void acpi_hotplug_ask(struct machine *m, unsigned int slot)
{
	struct acpi_hotplug *h = find(m);

	if (!h)
		return;
	h->down |= 1U << slot;
	acpi_pm_gpe(m, BOARD_PCIHP_GPE);
}

/* The guest begins anew, and finds what is there. */
static void acpi_hotplug_reset(struct device *dev)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)dev;

	h->up = h->down = 0;
}

static void acpi_hotplug_destroy(struct device *dev)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)dev;

	bus_remove(&dev->m->pio, &h->pio);
	free(h);
}

/* -------------------------------------------------------------------- state */

struct place_state {
	uint8_t device[sizeof(((struct device *)0)->id)];	/* ends with 0 */
	uint8_t devfn;
};

struct hotplug_state {
	uint32_t up, down;
	uint32_t nr_places;
	struct place_state place[NR_DEVFN];
};

static const struct state_field place_fields[] = {
	STATE_ARRAY(struct place_state, device, 1),
	STATE_NUM(struct place_state, devfn, 1),
	STATE_END
};

static const struct state_field hotplug_fields[] = {
	STATE_NUM(struct hotplug_state, up, 1),
	STATE_NUM(struct hotplug_state, down, 1),
	STATE_NUM(struct hotplug_state, nr_places, 1, .max = NR_DEVFN),
	STATE_SOME_GROUPS(struct hotplug_state, place, nr_places, place_fields, 1),
	STATE_END
};

static int acpi_hotplug_save(struct device *dev, void *state, struct state_error *err)
{
	const struct acpi_hotplug *h = (struct acpi_hotplug *)dev;
	struct hotplug_state *s = state;
	struct device *d;

	s->up = h->up;
	s->down = h->down;
	for (d = dev->m->devices; d; d = d->next) {
		struct pci_func *f = pci_of_device(dev->m, d);
		struct place_state *p = &s->place[s->nr_places];

		if (!f)
			continue;
		memcpy(p->device, d->id, sizeof(p->device));
		p->devfn = f->devfn;
		s->nr_places++;
	}
	return hotplug_can_save(dev->m, err);
}

static struct pci_func *find_func(struct machine *m, const uint8_t *id)
{
	struct device *d;

	for (d = m->devices; d; d = d->next)
		if (!memcmp(d->id, id, strnlen(d->id, sizeof(d->id) - 1) + 1))
			return pci_of_device(m, d);
	return NULL;
}

/* Before any function is loaded: none has BARs yet. */
static int acpi_hotplug_load(struct device *dev, const void *state, unsigned int version,
			     struct state_error *err)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)dev;
	const struct hotplug_state *s = state;
	struct pci_func *func[NR_DEVFN];
	uint8_t devfn[NR_DEVFN];
	unsigned int i;

	for (i = 0; i < s->nr_places; i++) {
		func[i] = find_func(dev->m, s->place[i].device);
		devfn[i] = s->place[i].devfn;
		if (!func[i])
			return state_error(err, "PCI device %.31s, which this machine has not",
					   (const char *)s->place[i].device);
	}
	if (pci_place(dev->m, func, devfn, s->nr_places))
		return state_error(err, "the PCI devices are not those of this machine");
	h->up = s->up;
	h->down = s->down;
	return 0;
}

static const struct state_desc acpi_hotplug_state_desc = {
	.version = 1, .size = sizeof(struct hotplug_state), .fields = hotplug_fields, .may_lack = true,
	.save = acpi_hotplug_save, .load = acpi_hotplug_load,
};

static const struct device_ops acpi_hotplug_ops = {
	.name = "acpi-hotplug",
	.xml = "<features><acpi/>",
	.help = "Plugging of disks and network interfaces while the guest runs: `hvx attach-device`, `hvx detach-device`.",
	.reset = acpi_hotplug_reset,
	.destroy = acpi_hotplug_destroy,
	.state = &acpi_hotplug_state_desc,
};
DEVICE_REGISTER(acpi_hotplug_ops);

int acpi_hotplug_create(struct machine *m)
{
	struct acpi_hotplug *h = calloc(1, sizeof(*h));
	int ret = -ENOMEM;

	if (!h)
		return ret;
	h->pio = (struct bus_region){
		.name = "acpi-hotplug", .base = BOARD_HOTPLUG_BASE, .size = BOARD_HOTPLUG_SIZE,
		.ops = &hotplug_bus_ops, .opaque = h,
	};
	ret = bus_add(&m->pio, &h->pio);
	if (ret) {
		log_error("acpi-hotplug: cannot be made: %s", strerror(-ret));
		free(h);
		return ret;
	}
	device_init(&h->dev, m, &acpi_hotplug_ops, "acpi-hotplug");
	return 0;
}
