// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is plugged into a running guest, as its AML sees it (vmm/boot/acpi_hotplug.c):
 * registers of 32 bits at BOARD_HOTPLUG_BASE, a bit for each PCI slot.
 *
 *   +0 UP     slots that were filled; write 1 to clear
 *   +4 DOWN   slots that the guest shall let go of; write 1 to clear
 *   +8 EJECT  write: it has let go of these; reads as zero
 *
 * and behind them the same for vCPUs, of 64 bits each, after those that are there:
 * +0x10 PRESENT, +0x18 UP, +0x20 DOWN, +0x28 EJECT.
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
	uint32_t cpu_up[2], cpu_down[2];
};

static const struct device_ops acpi_hotplug_ops;

static uint32_t *reg(struct acpi_hotplug *h, uint64_t offset)
{
	switch (offset) {
	case BOARD_PLUG_UP:
		return &h->up;
	case BOARD_PLUG_DOWN:
		return &h->down;
	case BOARD_CPU_UP:
	case BOARD_CPU_UP + 4:
		return &h->cpu_up[(offset - BOARD_CPU_UP) / 4];
	case BOARD_CPU_DOWN:
	case BOARD_CPU_DOWN + 4:
		return &h->cpu_down[(offset - BOARD_CPU_DOWN) / 4];
	default:
		return NULL;
	}
}

/* The AML makes aligned accesses of 4 bytes; others read as zero and change nothing. */
static uint64_t hotplug_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct acpi_hotplug *h = opaque;
	uint32_t *r = size == 4 ? reg(h, offset) : NULL;

	if (size == 4 && (offset == BOARD_CPU_PRESENT || offset == BOARD_CPU_PRESENT + 4))
		return (uint32_t)(h->dev.m->cpus_present >> 8 * (offset - BOARD_CPU_PRESENT));
	return r ? *r : 0;
}

static void eject_cpus(struct acpi_hotplug *h, unsigned int word, uint32_t bits)
{
	unsigned int i;

	h->cpu_up[word] &= ~bits;
	h->cpu_down[word] &= ~bits;
	for (i = 0; i < 32; i++)
		if (bits >> i & 1)
			hotplug_cpu_ejected(h->dev.m, 32 * word + i);
}

static void hotplug_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct acpi_hotplug *h = opaque;
	uint32_t *r = size == 4 ? reg(h, offset) : NULL;
	unsigned int slot;

	if (r)
		*r &= ~(uint32_t)val;
	if (size == 4 && (offset == BOARD_CPU_EJECT || offset == BOARD_CPU_EJECT + 4))
		eject_cpus(h, (offset - BOARD_CPU_EJECT) / 4, (uint32_t)val);
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

void acpi_hotplug_cpus(struct machine *m, uint64_t up, uint64_t down)
{
	struct acpi_hotplug *h = find(m);
	unsigned int i;

	for (i = 0; h && i < 2; i++) {
		h->cpu_up[i] |= (uint32_t)(up >> 32 * i);
		h->cpu_down[i] = (h->cpu_down[i] | (uint32_t)(down >> 32 * i)) & ~(uint32_t)(up >> 32 * i);
	}
	acpi_pm_gpe(m, BOARD_CPUHP_GPE);
}

/* The guest begins anew, and finds what is there. */
static void acpi_hotplug_reset(struct device *dev)
{
	struct acpi_hotplug *h = (struct acpi_hotplug *)dev;

	h->up = h->down = 0;
	memset(h->cpu_up, 0, sizeof(h->cpu_up));
	memset(h->cpu_down, 0, sizeof(h->cpu_down));
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
	uint32_t cpu_up[2], cpu_down[2];
	uint64_t cpu_present;
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
	STATE_ARRAY(struct hotplug_state, cpu_up, 1),
	STATE_ARRAY(struct hotplug_state, cpu_down, 1),
	STATE_NUM(struct hotplug_state, cpu_present, 1),
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
	memcpy(s->cpu_up, h->cpu_up, sizeof(s->cpu_up));
	memcpy(s->cpu_down, h->cpu_down, sizeof(s->cpu_down));
	s->cpu_present = dev->m->cpus_present;
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

	if (!(s->cpu_present & 1) || (dev->m->nr_vcpus < 64 && s->cpu_present >> dev->m->nr_vcpus))
		return state_error(err, "vCPUs %#llx, of %u that can be", (unsigned long long)s->cpu_present,
				   dev->m->nr_vcpus);
	for (i = 0; i < s->nr_places; i++) {
		func[i] = find_func(dev->m, s->place[i].device);
		devfn[i] = s->place[i].devfn;
		if (!func[i])
			return state_error(err, "PCI device %.31s, which this machine has not",
					   (const char *)s->place[i].device);
	}
	if (pci_place(dev->m, func, devfn, s->nr_places))
		return state_error(err, "the PCI devices are not those of this machine");
	dev->m->cpus_present = s->cpu_present;
	for (i = 0; i < dev->m->nr_vcpus; i++)
		dev->m->vcpu[i].absent = !(s->cpu_present >> i & 1);
	memcpy(h->cpu_up, s->cpu_up, sizeof(h->cpu_up));
	memcpy(h->cpu_down, s->cpu_down, sizeof(h->cpu_down));
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
	.help = "Plugging of disks, network interfaces and vCPUs while the guest runs: `hvx attach-device`, `hvx detach-device`, `hvx setvcpus`.",
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
