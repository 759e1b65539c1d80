// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI bus: configuration space through ECAM and through 0xcf8/0xcfc, BARs,
 * capabilities, MSI-X (PCI Local Bus 3.0, chapter 6). One bus; functions are
 * conventional ones on the root bus, with extended space that reads as zero.
 *
 * Configuration and the BARs are under the machine lock; MSI-X messages under
 * msix_lock too, since I/O threads send them.
 */
#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#undef PCI_IO_BASE		/* a bridge register there, the I/O window here */
#include <stdlib.h>
#include <string.h>
#include "devices/pci.h"
#include "vmm/board.h"

#define HOST_VENDOR	0x1b36
#define HOST_DEVICE	0x0008		/* a PCI Express host bridge without a chipset's registers */
#define NR_DEVFN	256
#define CAPS_START	0x40
#define MSIX_ENTRY	16		/* bytes of a table entry */
#define HEADER_MULTI_FUNC 0x80
#define CF8_ENABLE	0x80000000U

struct pci_bus {
	struct device dev;
	struct pci_func host;
	struct pci_func *func[NR_DEVFN];
	struct bus_region ports, ecam;
	uint32_t address;		/* 0xcf8 */
};

static uint16_t get16(const struct pci_func *f, unsigned int off)
{
	return f->config[off] | f->config[off + 1] << 8;
}

static uint32_t get32(const struct pci_func *f, unsigned int off)
{
	return get16(f, off) | (uint32_t)get16(f, off + 2) << 16;
}

static void put16(uint8_t *bytes, unsigned int off, uint16_t val)
{
	bytes[off] = val;
	bytes[off + 1] = val >> 8;
}

static void put32(uint8_t *bytes, unsigned int off, uint32_t val)
{
	put16(bytes, off, val);
	put16(bytes, off + 2, val >> 16);
}

/* ---------------------------------------------------------------------- BARs */

static unsigned int bar_reg(unsigned int bar)
{
	return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static uint64_t bar_address(const struct pci_func *f, unsigned int bar)
{
	uint64_t addr = get32(f, bar_reg(bar));

	if (f->bar_io[bar])
		return addr & PCI_BASE_ADDRESS_IO_MASK & 0xffff;
	addr &= ~0xfULL;
	if (f->bar_64[bar])
		addr |= (uint64_t)get32(f, bar_reg(bar + 1)) << 32;
	return addr;
}

static struct bus *bar_bus(const struct pci_func *f, unsigned int bar)
{
	return f->bar_io[bar] ? &f->m->pio : &f->m->mmio;
}

static void unmap_bar(struct pci_func *f, unsigned int bar)
{
	if (!f->bar_mapped[bar])
		return;
	bus_remove(bar_bus(f, bar), &f->bar[bar]);
	f->bar_mapped[bar] = false;
	if (f->ops && f->ops->bar_changed)
		f->ops->bar_changed(f, bar);
}

static void map_bar(struct pci_func *f, unsigned int bar, uint64_t addr)
{
	f->bar[bar].base = addr;
	/* Where a guest puts it over something else, that keeps its place. */
	if (bus_add(bar_bus(f, bar), &f->bar[bar]))
		return;
	f->bar_mapped[bar] = true;
	if (f->ops && f->ops->bar_changed)
		f->ops->bar_changed(f, bar);
}

/* Does the guest want it to be seen, and where? */
static bool bar_wanted(const struct pci_func *f, unsigned int bar, uint64_t *addr)
{
	*addr = bar_address(f, bar);
	/* Zero: no address yet. The top: the guest asks for the size. */
	return get16(f, PCI_COMMAND) & (f->bar_io[bar] ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY) &&
	       *addr && *addr + f->bar_size[bar] >= *addr;
}

/* Something has left its place: others that were put over it show there now. */
static void map_covered(struct pci_bus *bus)
{
	unsigned int i, bar;
	uint64_t addr;

	for (i = 0; i < NR_DEVFN; i++) {
		struct pci_func *f = bus->func[i];

		for (bar = 0; f && bar < PCI_MAX_BARS; bar++)
			if (f->bar_size[bar] && !f->bar_mapped[bar] && bar_wanted(f, bar, &addr))
				map_bar(f, bar, addr);
	}
}

/* Make the decoding follow the command register and the addresses. */
static void update_bars(struct pci_func *f)
{
	bool left = false;
	uint64_t addr;
	unsigned int i;

	for (i = 0; i < PCI_MAX_BARS; i++) {
		bool on;

		if (!f->bar_size[i])
			continue;
		on = bar_wanted(f, i, &addr);
		if (f->bar_mapped[i] && (!on || f->bar[i].base != addr)) {
			unmap_bar(f, i);
			left = true;
		}
		if (on && !f->bar_mapped[i])
			map_bar(f, i, addr);
	}
	if (left)
		map_covered(f->m->pci);
}

int pci_add_bar(struct pci_func *f, unsigned int bar, uint64_t size, bool is_64, const char *name,
		const struct bus_ops *ops, void *opaque, unsigned int bus_flags)
{
	unsigned int reg = bar_reg(bar);

	if (bar >= PCI_MAX_BARS || (is_64 && bar + 1 >= PCI_MAX_BARS) || f->bar_size[bar] ||
	    size < 16 || size & (size - 1) || (!is_64 && size > 1ULL << 31))
		return -EINVAL;
	f->bar_size[bar] = size;
	f->bar_64[bar] = is_64;
	f->bar[bar] = (struct bus_region){
		.name = name, .size = size, .ops = ops, .opaque = opaque, .flags = bus_flags,
	};
	put32(f->wmask, reg, ~(uint32_t)(size - 1));
	if (is_64) {
		put32(f->config, reg, PCI_BASE_ADDRESS_MEM_TYPE_64);
		put32(f->wmask, reg + 4, ~((size - 1) >> 32));
	}
	if (f->bar_io[bar])
		put32(f->config, reg, PCI_BASE_ADDRESS_SPACE_IO);
	put16(f->wmask, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER |
	      PCI_COMMAND_INTX_DISABLE);
	return 0;
}

/* Lay BARs of one kind out, the largest first so that nothing is lost to alignment. */
static void assign_kind(struct pci_bus *bus, bool io, uint64_t next, uint64_t end)
{
	uint64_t size;
	unsigned int i, bar;

	for (size = io ? 1ULL << 8 : 1ULL << 31; size >= 16; size >>= 1) {
		for (i = 0; i < NR_DEVFN * PCI_MAX_BARS; i++) {
			struct pci_func *f = bus->func[i / PCI_MAX_BARS];

			bar = i % PCI_MAX_BARS;
			if (!f || f->bar_size[bar] != size || f->bar_io[bar] != io)
				continue;
			next = (next + size - 1) & ~(size - 1);
			if (next + size > end) {
				log_warn("PCI %02x.%x: no room for BAR %u of %llu bytes",
					 f->devfn >> 3, f->devfn & 7, bar,
					 (unsigned long long)size);
				continue;
			}
			put32(f->config, bar_reg(bar), (uint32_t)next |
			      (get32(f, bar_reg(bar)) & 0xf));
			if (f->bar_64[bar])
				put32(f->config, bar_reg(bar + 1), next >> 32);
			next += size;
		}
	}
}

void pci_assign(struct machine *m)
{
	struct pci_bus *bus = m->pci;
	unsigned int i;

	for (i = 0; i < NR_DEVFN; i++) {
		struct pci_func *f = bus->func[i];

		if (f) {
			put16(f->config, PCI_COMMAND, 0);
			update_bars(f);
		}
	}
	assign_kind(bus, false, PCI_MMIO32_BASE, PCI_MMIO32_END);
	assign_kind(bus, true, PCI_IO_BASE, 0x10000);
	for (i = 0; i < NR_DEVFN; i++) {
		struct pci_func *f = bus->func[i];

		if (!f)
			continue;
		put16(f->config, PCI_COMMAND, (PCI_COMMAND_IO | PCI_COMMAND_MEMORY) &
		      (f->wmask[PCI_COMMAND] | f->wmask[PCI_COMMAND + 1] << 8));
		update_bars(f);
	}
}

/* --------------------------------------------------------------------- MSI-X */

/* msix_lock held. */
static bool deliverable(const struct pci_func *f, unsigned int vector)
{
	return f->msix_enabled && !f->msix_func_mask && !f->msix[vector].masked;
}

bool pci_msix_message(struct pci_func *f, unsigned int vector, uint64_t *address, uint32_t *data)
{
	bool ok = false;

	pthread_mutex_lock(&f->msix_lock);
	if (vector < f->nr_vectors && deliverable(f, vector)) {
		*address = f->msix[vector].address;
		*data = f->msix[vector].data;
		ok = true;
	}
	pthread_mutex_unlock(&f->msix_lock);
	return ok;
}

void pci_msix_notify(struct pci_func *f, unsigned int vector)
{
	struct pci_msix_entry e = { 0 };
	bool send = false;

	pthread_mutex_lock(&f->msix_lock);
	if (vector < f->nr_vectors && f->msix_enabled) {
		send = deliverable(f, vector);
		f->msix[vector].pending = !send;
		e = f->msix[vector];
	}
	pthread_mutex_unlock(&f->msix_lock);
	if (send)
		msi_send(f->m, e.address, e.data);
}

/* Send what has become deliverable, and tell the device. vector -1: all. */
static void msix_update(struct pci_func *f, int vector)
{
	unsigned int i, last = vector < 0 ? f->nr_vectors : (unsigned int)vector + 1;

	for (i = vector < 0 ? 0 : vector; i < last; i++) {
		struct pci_msix_entry e;
		bool send;

		pthread_mutex_lock(&f->msix_lock);
		send = f->msix[i].pending && deliverable(f, i);
		if (send)
			f->msix[i].pending = false;
		e = f->msix[i];
		pthread_mutex_unlock(&f->msix_lock);
		if (send)
			msi_send(f->m, e.address, e.data);
	}
	if (f->ops && f->ops->msix_changed)
		f->ops->msix_changed(f, vector);
}

static void msix_control_written(struct pci_func *f)
{
	uint16_t control = get16(f, f->msix_cap + PCI_MSIX_FLAGS);
	bool enabled = control & PCI_MSIX_FLAGS_ENABLE, mask = control & PCI_MSIX_FLAGS_MASKALL;

	if (enabled == f->msix_enabled && mask == f->msix_func_mask)
		return;
	pthread_mutex_lock(&f->msix_lock);
	f->msix_enabled = enabled;
	f->msix_func_mask = mask;
	pthread_mutex_unlock(&f->msix_lock);
	msix_update(f, -1);
}

static unsigned int pba_offset(const struct pci_func *f)
{
	return f->nr_vectors * MSIX_ENTRY;
}

static uint32_t msix_read32(struct pci_func *f, unsigned int offset)
{
	const struct pci_msix_entry *e;
	uint32_t bits = 0;
	unsigned int i;

	if (offset >= pba_offset(f)) {
		unsigned int first = (offset - pba_offset(f)) * 8;

		for (i = 0; i < 32 && first + i < f->nr_vectors; i++)
			bits |= (uint32_t)f->msix[first + i].pending << i;
		return bits;
	}
	e = &f->msix[offset / MSIX_ENTRY];
	switch (offset % MSIX_ENTRY) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return e->address;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return e->address >> 32;
	case PCI_MSIX_ENTRY_DATA:
		return e->data;
	default:
		return e->masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
	}
}

static void msix_write32(struct pci_func *f, unsigned int offset, uint32_t val)
{
	struct pci_msix_entry *e;

	if (offset >= pba_offset(f))
		return;
	e = &f->msix[offset / MSIX_ENTRY];
	pthread_mutex_lock(&f->msix_lock);
	switch (offset % MSIX_ENTRY) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		e->address = (e->address & ~0xffffffffULL) | (val & ~3U);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		e->address = (e->address & 0xffffffffULL) | (uint64_t)val << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		e->data = val;
		break;
	default:
		e->masked = val & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		break;
	}
	pthread_mutex_unlock(&f->msix_lock);
	msix_update(f, offset / MSIX_ENTRY);
}

/* Software shall use aligned dwords or quadwords; anything else is dropped or reads as zero. */
static uint64_t msix_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_func *f = opaque;
	uint64_t val;

	if (offset & 3 || size < 4)
		return 0;
	pthread_mutex_lock(&f->msix_lock);
	val = msix_read32(f, offset);
	if (size == 8)
		val |= (uint64_t)msix_read32(f, offset + 4) << 32;
	pthread_mutex_unlock(&f->msix_lock);
	return val;
}

static void msix_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pci_func *f = opaque;

	if (offset & 3 || size < 4)
		return;
	msix_write32(f, offset, val);
	if (size == 8)
		msix_write32(f, offset + 4, val >> 32);
}

static const struct bus_ops msix_bus_ops = { .read = msix_read, .write = msix_write };

int pci_add_msix(struct pci_func *f, unsigned int bar, unsigned int nr_vectors)
{
	unsigned int bytes = nr_vectors * MSIX_ENTRY + (nr_vectors + 63) / 64 * 8, size = 4096;
	int cap, ret;

	if (!nr_vectors || nr_vectors > PCI_MAX_VECTORS || f->msix_cap)
		return -EINVAL;
	while (size < bytes)
		size *= 2;
	ret = pci_add_bar(f, bar, size, false, "msix", &msix_bus_ops, f, 0);
	if (ret)
		return ret;
	cap = pci_add_cap(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	if (cap < 0)
		return cap;
	f->msix = calloc(nr_vectors, sizeof(*f->msix));
	if (!f->msix)
		return -ENOMEM;
	f->msix_cap = cap;
	f->msix_bar = bar;
	f->nr_vectors = nr_vectors;
	put16(f->config, cap + PCI_MSIX_FLAGS, nr_vectors - 1);
	put16(f->wmask, cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	put32(f->config, cap + PCI_MSIX_TABLE, bar);
	put32(f->config, cap + PCI_MSIX_PBA, pba_offset(f) | bar);
	pci_reset_func(f);
	return 0;
}

/* -------------------------------------------------------------- config space */

static bool overlaps(unsigned int offset, unsigned int size, unsigned int at, unsigned int len)
{
	return offset < at + len && at < offset + size;
}

static uint32_t config_read(struct pci_func *f, unsigned int offset, unsigned int size)
{
	uint32_t val = 0;

	if (offset >= sizeof(f->config))
		return 0;
	if (f->ops && f->ops->config_read)
		f->ops->config_read(f, offset, size);
	memcpy(&val, f->config + offset, size);
	return le32toh(val);
}

static void config_write(struct pci_func *f, unsigned int offset, unsigned int size, uint32_t val)
{
	unsigned int i;

	if (offset >= sizeof(f->config))
		return;
	for (i = 0; i < size; i++) {
		uint8_t mask = f->wmask[offset + i];

		f->config[offset + i] = (f->config[offset + i] & ~mask) | (val >> 8 * i & mask);
	}
	if (overlaps(offset, size, PCI_COMMAND, 2) ||
	    overlaps(offset, size, PCI_BASE_ADDRESS_0, 4 * PCI_MAX_BARS))
		update_bars(f);
	if (f->msix_cap && overlaps(offset, size, f->msix_cap + PCI_MSIX_FLAGS, 2))
		msix_control_written(f);
	if (f->ops && f->ops->config_written)
		f->ops->config_written(f, offset, size);
}

/* One access of at most 4 bytes that does not cross a dword; wider ones are split by the caller. */
static uint32_t bus_config_read(struct pci_bus *bus, unsigned int devfn, unsigned int offset,
				unsigned int size)
{
	struct pci_func *f = bus->func[devfn];

	return f ? config_read(f, offset, size) : ~0U;
}

static void bus_config_write(struct pci_bus *bus, unsigned int devfn, unsigned int offset,
			     unsigned int size, uint32_t val)
{
	struct pci_func *f = bus->func[devfn];

	if (f)
		config_write(f, offset, size, val);
}

/* Bytes of this access that lie in offset's dword. */
static unsigned int in_dword(uint64_t offset, unsigned int size)
{
	unsigned int room = 4 - (offset & 3);

	return size < room ? size : room;
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_bus *bus = opaque;
	unsigned int done, n;
	uint64_t val = 0;

	for (done = 0; done < size; done += n, offset += n) {
		uint32_t part = ~0U;

		n = in_dword(offset, size - done);
		if (!(offset >> 20))
			part = bus_config_read(bus, offset >> 12 & 0xff, offset & 0xfff, n);
		if (n < 4)
			part &= (1U << 8 * n) - 1;
		val |= (uint64_t)part << 8 * done;
	}
	return val;
}

static void ecam_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pci_bus *bus = opaque;
	unsigned int done, n;

	for (done = 0; done < size; done += n, offset += n) {
		n = in_dword(offset, size - done);
		if (!(offset >> 20))
			bus_config_write(bus, offset >> 12 & 0xff, offset & 0xfff, n,
					 val >> 8 * done);
	}
}

/*
 * 0xcf8 is the address by dwords and 0xcfc to 0xcff the data. A byte write to
 * 0xcf9 is the chipset's reset control: bit 2 pulls reset.
 */
static uint64_t ports_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci_bus *bus = opaque;

	if (offset < 4)
		return offset == 0 && size == 4 ? bus->address : size == 4 ? ~0U : 0;
	if (!(bus->address & CF8_ENABLE) || bus->address >> 16 & 0xff)
		return ~0ULL;
	if (size > in_dword(offset, size))
		return ~0ULL;
	return bus_config_read(bus, bus->address >> 8 & 0xff,
			       (bus->address & 0xfc) | (offset & 3), size);
}

static void ports_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct pci_bus *bus = opaque;

	if (offset < 4) {
		if (offset == 0 && size == 4)
			bus->address = val & ~3U;
		else if (offset == 1 && size == 1 && (val & 4))
			machine_event(bus->dev.m, EV_RESET, 0);
		return;
	}
	if (!(bus->address & CF8_ENABLE) || bus->address >> 16 & 0xff ||
	    size > in_dword(offset, size))
		return;
	bus_config_write(bus, bus->address >> 8 & 0xff, (bus->address & 0xfc) | (offset & 3),
			 size, val);
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };
static const struct bus_ops ports_ops = { .read = ports_read, .write = ports_write };

/* ----------------------------------------------------------------- functions */

static int free_devfn(const struct pci_bus *bus)
{
	unsigned int slot, fn;

	for (slot = 0; slot < 32; slot++) {
		if (!bus->func[slot << 3])
			return slot << 3;
	}
	for (fn = 1; fn < 8; fn++) {
		for (slot = 1; slot < 32; slot++) {
			if (!bus->func[slot << 3 | fn])
				return slot << 3 | fn;
		}
	}
	return -ENOSPC;
}

static unsigned int functions_in(const struct pci_bus *bus, unsigned int slot)
{
	unsigned int fn, n = 0;

	for (fn = 0; fn < 8; fn++)
		n += !!bus->func[slot << 3 | fn];
	return n;
}

/* Function 0 tells the guest to look for the others. */
static void mark_functions(struct pci_bus *bus, unsigned int slot)
{
	struct pci_func *f = bus->func[slot << 3];

	if (!f)
		return;
	f->config[PCI_HEADER_TYPE] &= ~HEADER_MULTI_FUNC;
	if (functions_in(bus, slot) > 1)
		f->config[PCI_HEADER_TYPE] |= HEADER_MULTI_FUNC;
}

int pci_add(struct machine *m, struct pci_func *f, const struct pci_ids *ids, int devfn,
	    const struct pci_func_ops *ops, void *opaque)
{
	struct pci_bus *bus = m->pci;

	if (devfn < 0)
		devfn = free_devfn(bus);
	if (devfn < 0 || devfn >= NR_DEVFN)
		return -ENOSPC;
	if (bus->func[devfn])
		return -EEXIST;
	memset(f, 0, sizeof(*f));
	f->m = m;
	f->ops = ops;
	f->opaque = opaque;
	f->devfn = devfn;
	pthread_mutex_init(&f->msix_lock, NULL);
	put16(f->config, PCI_VENDOR_ID, ids->vendor);
	put16(f->config, PCI_DEVICE_ID, ids->device);
	put16(f->config, PCI_SUBSYSTEM_VENDOR_ID, ids->subvendor);
	put16(f->config, PCI_SUBSYSTEM_ID, ids->subdevice);
	f->config[PCI_REVISION_ID] = ids->revision;
	f->config[PCI_CLASS_PROG] = ids->prog_if;
	f->config[PCI_CLASS_DEVICE] = ids->class_sub;
	f->config[PCI_CLASS_DEVICE + 1] = ids->class_base;
	f->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
	f->wmask[PCI_INTERRUPT_LINE] = 0xff;
	f->cap_end = CAPS_START;
	bus->func[devfn] = f;
	mark_functions(bus, devfn >> 3);
	return 0;
}

int pci_free_slot(const struct machine *m)
{
	unsigned int slot;

	for (slot = 1; slot < PCI_NR_SLOTS; slot++)
		if (!functions_in(m->pci, slot))
			return (int)slot;
	return -ENOSPC;
}

struct pci_func *pci_alone(const struct machine *m, unsigned int slot)
{
	return slot < PCI_NR_SLOTS && functions_in(m->pci, slot) == 1 ? m->pci->func[slot << 3] : NULL;
}

struct pci_func *pci_of_device(const struct machine *m, const struct device *dev)
{
	unsigned int i;

	for (i = 0; i < NR_DEVFN; i++)
		if (m->pci->func[i] && m->pci->func[i]->dev == dev)
			return m->pci->func[i];
	return NULL;
}

void pci_hide(struct pci_func *f)
{
	struct pci_bus *bus = f->m->pci;
	unsigned int i;

	for (i = 0; i < PCI_MAX_BARS; i++)
		unmap_bar(f, i);
	if (bus && bus->func[f->devfn] == f) {
		bus->func[f->devfn] = NULL;
		mark_functions(bus, f->devfn >> 3);
	}
}

int pci_place(struct machine *m, struct pci_func *const *func, const uint8_t *devfn, unsigned int n)
{
	struct pci_func *place[NR_DEVFN] = { NULL };
	struct pci_bus *bus = m->pci;
	unsigned int i, j, had = 0, bar;

	for (i = 0; i < NR_DEVFN; i++) {
		if (bus->func[i] && bus->func[i]->dev)
			had++;
		else
			place[i] = bus->func[i];
	}
	for (i = 0; i < n; i++) {
		if (!func[i]->dev || place[devfn[i]])
			return -EINVAL;
		for (j = 0; j < i; j++)
			if (func[j] == func[i])
				return -EINVAL;
		place[devfn[i]] = func[i];
	}
	if (n != had)
		return -EINVAL;
	for (i = 0; i < n; i++)
		for (bar = 0; bar < PCI_MAX_BARS; bar++)
			unmap_bar(func[i], bar);
	for (i = 0; i < NR_DEVFN; i++) {
		bus->func[i] = place[i];
		if (place[i])
			place[i]->devfn = i;
	}
	for (i = 0; i < PCI_NR_SLOTS; i++)
		mark_functions(bus, i);
	return 0;
}

void pci_remove(struct pci_func *f)
{
	pci_hide(f);
	pthread_mutex_destroy(&f->msix_lock);
	free(f->msix);
	f->msix = NULL;
}

int pci_add_cap(struct pci_func *f, uint8_t id, unsigned int len)
{
	unsigned int at = f->cap_end;

	if (len < 2 || at + len > sizeof(f->config))
		return -ENOSPC;
	f->config[at + PCI_CAP_LIST_ID] = id;
	f->config[at + PCI_CAP_LIST_NEXT] = 0;
	f->config[f->cap_last ? f->cap_last + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] = at;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->cap_last = at;
	f->cap_end = (at + len + 3) & ~3U;
	return at;
}

void pci_reset_func(struct pci_func *f)
{
	unsigned int i;

	put16(f->config, PCI_COMMAND, 0);
	f->config[PCI_INTERRUPT_LINE] = 0;
	f->config[PCI_CACHE_LINE_SIZE] = 0;
	update_bars(f);
	for (i = 0; i < PCI_MAX_BARS; i++) {
		if (!f->bar_size[i])
			continue;
		put32(f->config, bar_reg(i), get32(f, bar_reg(i)) & 0xf);
		if (f->bar_64[i])
			put32(f->config, bar_reg(i + 1), 0);
	}
	if (!f->msix_cap)
		return;
	put16(f->config, f->msix_cap + PCI_MSIX_FLAGS, f->nr_vectors - 1);
	pthread_mutex_lock(&f->msix_lock);
	f->msix_enabled = f->msix_func_mask = false;
	for (i = 0; i < f->nr_vectors; i++)
		f->msix[i] = (struct pci_msix_entry){ .masked = true };
	pthread_mutex_unlock(&f->msix_lock);
	msix_update(f, -1);
}

/* -------------------------------------------------------------------- state */

static const struct state_field msix_fields[] = {
	STATE_NUM(struct pci_msix_state, address, 1, .bits = ~3ULL),
	STATE_NUM(struct pci_msix_state, data, 1),
	STATE_BOOL(struct pci_msix_state, masked, 1),
	STATE_BOOL(struct pci_msix_state, pending, 1),
	STATE_END
};

const struct state_field pci_state_fields[] = {
	STATE_ARRAY(struct pci_state, config, 1),
	STATE_NUM(struct pci_state, nr_vectors, 1, .max = PCI_MAX_VECTORS),
	STATE_SOME_GROUPS(struct pci_state, msix, nr_vectors, msix_fields, 1),
	STATE_END
};

void pci_save(struct pci_func *f, struct pci_state *s)
{
	unsigned int i;

	memcpy(s->config, f->config, sizeof(s->config));
	s->nr_vectors = f->nr_vectors;
	pthread_mutex_lock(&f->msix_lock);
	for (i = 0; i < f->nr_vectors; i++)
		s->msix[i] = (struct pci_msix_state){
			.address = f->msix[i].address, .data = f->msix[i].data,
			.masked = f->msix[i].masked, .pending = f->msix[i].pending,
		};
	pthread_mutex_unlock(&f->msix_lock);
}

static void load_msix(struct pci_func *f, const struct pci_state *s)
{
	uint16_t control = get16(f, f->msix_cap + PCI_MSIX_FLAGS);
	unsigned int i;

	pthread_mutex_lock(&f->msix_lock);
	f->msix_enabled = control & PCI_MSIX_FLAGS_ENABLE;
	f->msix_func_mask = control & PCI_MSIX_FLAGS_MASKALL;
	for (i = 0; i < f->nr_vectors; i++)
		f->msix[i] = (struct pci_msix_entry){
			.address = s->msix[i].address, .data = s->msix[i].data,
			.masked = s->msix[i].masked, .pending = s->msix[i].pending,
		};
	pthread_mutex_unlock(&f->msix_lock);
	if (f->ops && f->ops->msix_changed)
		f->ops->msix_changed(f, -1);
}

int pci_load(struct pci_func *f, const struct pci_state *s, struct state_error *err)
{
	unsigned int i;

	/* What the guest cannot write tells whether it is the same function. */
	for (i = 0; i < sizeof(f->config); i++)
		if ((s->config[i] ^ f->config[i]) & ~f->wmask[i])
			return state_error(err, "PCI configuration byte %#x is %#x, here it is %#x: the device was made differently",
					   i, s->config[i], f->config[i]);
	if (s->nr_vectors != f->nr_vectors)
		return state_error(err, "%u MSI-X vectors, here there are %u", s->nr_vectors,
				   f->nr_vectors);
	memcpy(f->config, s->config, sizeof(f->config));
	update_bars(f);
	if (f->msix_cap)
		load_msix(f, s);
	return 0;
}

/* --------------------------------------------------------------- host bridge */

static void pci_host_reset(struct device *dev)
{
	struct pci_bus *bus = (struct pci_bus *)dev;

	bus->address = 0;
	pci_reset_func(&bus->host);
}

static void pci_host_destroy(struct device *dev)
{
	struct pci_bus *bus = (struct pci_bus *)dev;

	pci_remove(&bus->host);
	bus_remove(&dev->m->pio, &bus->ports);
	bus_remove(&dev->m->mmio, &bus->ecam);
	dev->m->pci = NULL;
	free(bus);
}

struct pci_host_state {
	uint32_t address;
	struct pci_state host;
};

static const struct state_field pci_host_fields[] = {
	STATE_NUM(struct pci_host_state, address, 1, .bits = ~3U),
	STATE_GROUP(struct pci_host_state, host, pci_state_fields, 1),
	STATE_END
};

static int pci_host_save(struct device *dev, void *state, struct state_error *err)
{
	struct pci_bus *bus = (struct pci_bus *)dev;
	struct pci_host_state *s = state;

	s->address = bus->address;
	pci_save(&bus->host, &s->host);
	return 0;
}

static int pci_host_load(struct device *dev, const void *state, unsigned int version,
			 struct state_error *err)
{
	struct pci_bus *bus = (struct pci_bus *)dev;
	const struct pci_host_state *s = state;

	bus->address = s->address;
	return pci_load(&bus->host, &s->host, err);
}

static const struct state_desc pci_host_state_desc = {
	.version = 1, .size = sizeof(struct pci_host_state), .fields = pci_host_fields,
	.save = pci_host_save, .load = pci_host_load,
};

static const struct device_ops pci_host_ops = {
	.name = "pci-host",
	.xml = "<controller type='pci' model='pcie-root'>",
	.help = "PCI host bridge: bus 0 with ECAM at 0xe0000000 and configuration ports 0xcf8/0xcfc; reset register 0xcf9.",
	.reset = pci_host_reset,
	.destroy = pci_host_destroy,
	.state = &pci_host_state_desc,
};
DEVICE_REGISTER(pci_host_ops);

int pci_host_create(struct machine *m)
{
	static const struct pci_ids ids = {
		.vendor = HOST_VENDOR, .device = HOST_DEVICE, .class_base = 0x06,
	};
	struct pci_bus *bus = calloc(1, sizeof(*bus));
	int ret;

	if (!bus)
		return -ENOMEM;
	bus->ports = (struct bus_region){
		.name = "pci-ports", .base = BOARD_PCI_CF8, .size = 8,
		.ops = &ports_ops, .opaque = bus,
	};
	ret = bus_add(&m->pio, &bus->ports);
	if (ret)
		goto fail;
	bus->ecam = (struct bus_region){
		.name = "pci-ecam", .base = PCI_ECAM_BASE, .size = PCI_ECAM_SIZE,
		.ops = &ecam_ops, .opaque = bus,
	};
	ret = bus_add(&m->mmio, &bus->ecam);
	if (ret) {
		bus_remove(&m->pio, &bus->ports);
		goto fail;
	}
	m->pci = bus;
	pci_add(m, &bus->host, &ids, 0, NULL, NULL);
	device_init(&bus->dev, m, &pci_host_ops, "pci-host");
	return 0;

fail:
	log_error("pci-host: cannot be made: %s", strerror(-ret));
	free(bus);
	return ret;
}
