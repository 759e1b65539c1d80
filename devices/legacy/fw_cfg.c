// SPDX-License-Identifier: GPL-2.0-only
/*
 * fw_cfg: how firmware fetches tables and settings from the VMM. A 16-bit key is
 * written to the selector port, then bytes are read from the data port, or a
 * descriptor in guest memory asks for a whole transfer (DMA). Keys from 0x20 up
 * are named files, listed by key 0x19.
 *
 * All state is under the machine lock. Guest-given addresses and lengths go
 * through guest_read() and guest_write() alone.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/device.h"
#include "vmm/board.h"

#define KEY_SIGNATURE	0x00
#define KEY_ID		0x01
#define KEY_RAM_SIZE	0x03
#define KEY_NB_CPUS	0x05
#define KEY_MAX_CPUS	0x0f
#define KEY_FILE_DIR	0x19
#define KEY_FILES	0x20
#define MAX_FILES	64
#define FILE_NAME	56		/* NUL included */
#define KEY_MASK	0x3fff

#define ID_PORTS	0x01
#define ID_DMA		0x02

#define DMA_ERROR	0x01
#define DMA_READ	0x02
#define DMA_SKIP	0x04
#define DMA_SELECT	0x08
#define DMA_WRITE	0x10
/* Zeroes that a transfer may ask for beyond an item's end. */
#define DMA_MAX_TAIL	(1U << 20)
#define DMA_SIGNATURE	0x51454d5520434647ULL	/* what the DMA port reads as */

struct fw_file {		/* directory entry, big-endian */
	uint32_t size;
	uint16_t key;
	uint16_t reserved;
	char name[FILE_NAME];
};

/* Directory as the guest reads it: be32 count, then the entries. */
struct fw_dir {
	uint32_t count;
	struct fw_file entry[];
} __attribute__((packed));

struct fw_dma {			/* in guest memory, big-endian */
	uint32_t control;
	uint32_t length;
	uint64_t address;
};

struct fw_item {
	void *data;
	uint32_t len;
};

struct fw_cfg {
	struct device dev;
	struct bus_region pio;
	struct fw_item file[MAX_FILES];
	struct fw_dir *dir;
	unsigned int nr;
	uint16_t key;
	uint32_t offset;
	uint32_t dma_high;
	uint8_t scratch[8];	/* contents of a small fixed item */
};

static const struct device_ops fw_cfg_ops;

static struct fw_item small_item(struct fw_cfg *f, uint64_t val, uint32_t len)
{
	val = htole64(val);
	memcpy(f->scratch, &val, len);
	return (struct fw_item){ f->scratch, len };
}

/* The selected item; len 0 where there is none. */
static struct fw_item selected(struct fw_cfg *f)
{
	const struct machine *m = f->dev.m;
	unsigned int key = f->key & KEY_MASK;

	switch (key) {
	case KEY_SIGNATURE:
		memcpy(f->scratch, "QEMU", 4);
		return (struct fw_item){ f->scratch, 4 };
	case KEY_ID:
		return small_item(f, ID_PORTS | ID_DMA, 4);
	case KEY_RAM_SIZE:
		return small_item(f, m->mem.boot_size, 8);
	case KEY_NB_CPUS:
	case KEY_MAX_CPUS:
		return small_item(f, m->nr_vcpus, 2);
	case KEY_FILE_DIR:
		return (struct fw_item){ f->dir, sizeof(uint32_t) + f->nr * sizeof(struct fw_file) };
	}
	if (key >= KEY_FILES && key < KEY_FILES + f->nr)
		return f->file[key - KEY_FILES];
	return (struct fw_item){ NULL, 0 };
}

static void select_key(struct fw_cfg *f, uint16_t key)
{
	f->key = key;
	f->offset = 0;
}

/* ---------------------------------------------------------------------- DMA */

static int zero_guest(const struct guest_mem *mem, uint64_t gpa, uint32_t len)
{
	static const uint8_t zero[512];

	while (len) {
		uint32_t n = len < sizeof(zero) ? len : sizeof(zero);

		if (guest_write(mem, gpa, zero, n))
			return -EFAULT;
		gpa += n;
		len -= n;
	}
	return 0;
}

static int dma_read(struct fw_cfg *f, uint64_t gpa, uint32_t len)
{
	const struct guest_mem *mem = &f->dev.m->mem;
	struct fw_item item = selected(f);
	uint32_t left = f->offset < item.len ? item.len - f->offset : 0;
	uint32_t n = len < left ? len : left;

	if (len - n > DMA_MAX_TAIL || gpa + len < gpa)
		return -EINVAL;
	if (n && guest_write(mem, gpa, (uint8_t *)item.data + f->offset, n))
		return -EFAULT;
	if (zero_guest(mem, gpa + n, len - n))
		return -EFAULT;
	f->offset += n;
	return 0;
}

static void run_dma(struct fw_cfg *f, uint64_t gpa)
{
	const struct guest_mem *mem = &f->dev.m->mem;
	struct fw_dma d;
	uint32_t control, length;
	int ret = 0;

	if (guest_read(mem, gpa, &d, sizeof(d))) {
		log_guest("fw_cfg: DMA descriptor at %#llx is not in RAM", (unsigned long long)gpa);
		return;
	}
	control = be32toh(d.control);
	length = be32toh(d.length);
	if (control & DMA_SELECT)
		select_key(f, control >> 16);
	if (control & DMA_READ) {
		ret = dma_read(f, be64toh(d.address), length);
	} else if (control & DMA_SKIP) {
		struct fw_item item = selected(f);

		f->offset = length < item.len - f->offset ? f->offset + length : item.len;
	} else if (control & DMA_WRITE) {
		ret = -EPERM;	/* no item can be written */
	}
	d.control = htobe32(ret ? DMA_ERROR : 0);
	guest_write(mem, gpa, &d.control, sizeof(d.control));
}

/* -------------------------------------------------------------------- ports */

static uint8_t read_data(struct fw_cfg *f)
{
	struct fw_item item = selected(f);

	if (f->offset >= item.len)
		return 0;
	return ((uint8_t *)item.data)[f->offset++];
}

static uint64_t fw_cfg_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct fw_cfg *f = opaque;
	uint64_t val = 0;
	unsigned int i;

	if (offset == 1)
		return read_data(f);
	for (i = 0; i < size; i++) {
		uint64_t at = offset + i;

		if (at >= 4 && at < 12)
			val |= (DMA_SIGNATURE >> 8 * (11 - at) & 0xff) << 8 * i;
	}
	return val;
}

static void fw_cfg_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct fw_cfg *f = opaque;

	if (offset == 0 && size == 2) {
		select_key(f, val);
	} else if (offset == 4 && size == 4) {
		f->dma_high = be32toh((uint32_t)val);
	} else if (offset == 8 && size == 4) {
		uint64_t gpa = (uint64_t)f->dma_high << 32 | be32toh((uint32_t)val);

		f->dma_high = 0;
		run_dma(f, gpa);
	} else if (offset == 4 && size == 8) {
		f->dma_high = 0;
		run_dma(f, be64toh(val));
	}
}

static const struct bus_ops fw_cfg_bus_ops = { .read = fw_cfg_read, .write = fw_cfg_write };

static struct fw_cfg *find(struct machine *m)
{
	struct device *d;

	for (d = m->devices; d; d = d->next) {
		if (d->ops == &fw_cfg_ops)
			return (struct fw_cfg *)d;
	}
	return NULL;
}

int fw_cfg_add(struct machine *m, const char *name, const void *data, uint32_t len)
{
	struct fw_cfg *f = find(m);
	struct fw_dir *dir;
	void *copy;

	if (!f || strlen(name) >= FILE_NAME)
		return -EINVAL;
	if (f->nr == MAX_FILES)
		return -ENOSPC;
	copy = malloc(len ? len : 1);
	dir = realloc(f->dir, sizeof(uint32_t) + (f->nr + 1) * sizeof(struct fw_file));
	if (dir)
		f->dir = dir;
	if (!copy || !dir) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, data, len);
	f->file[f->nr] = (struct fw_item){ copy, len };
	memset(&dir->entry[f->nr], 0, sizeof(struct fw_file));
	dir->entry[f->nr].size = htobe32(len);
	dir->entry[f->nr].key = htobe16(KEY_FILES + f->nr);
	strcpy(dir->entry[f->nr].name, name);
	f->nr++;
	dir->count = htobe32(f->nr);
	return 0;
}

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	select_key(f, 0);
	f->dma_high = 0;
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;

	bus_remove(&dev->m->pio, &f->pio);
	while (f->nr)
		free(f->file[--f->nr].data);
	free(f->dir);
	free(f);
}

struct fw_cfg_state {
	uint16_t key;
	uint32_t offset, dma_high;
};

static const struct state_field fw_cfg_fields[] = {
	STATE_NUM(struct fw_cfg_state, key, 1),
	STATE_NUM(struct fw_cfg_state, offset, 1),
	STATE_NUM(struct fw_cfg_state, dma_high, 1),
	STATE_END
};

static int fw_cfg_save(struct device *dev, void *state, struct state_error *err)
{
	const struct fw_cfg *f = (struct fw_cfg *)dev;
	struct fw_cfg_state *s = state;

	s->key = f->key;
	s->offset = f->offset;
	s->dma_high = f->dma_high;
	return 0;
}

static int fw_cfg_load(struct device *dev, const void *state, unsigned int version,
		       struct state_error *err)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;
	const struct fw_cfg_state *s = state;

	select_key(f, s->key);
	if (s->offset > selected(f).len)
		return state_error(err, "offset %u is beyond item %#x", s->offset, s->key);
	f->offset = s->offset;
	f->dma_high = s->dma_high;
	return 0;
}

static const struct state_desc fw_cfg_state_desc = {
	.version = 1, .size = sizeof(struct fw_cfg_state), .fields = fw_cfg_fields,
	.save = fw_cfg_save, .load = fw_cfg_load,
};

static const struct device_ops fw_cfg_ops = {
	.name = "fw-cfg",
	.help = "Firmware configuration at 0x510, with DMA. Always present.",
	.reset = fw_cfg_reset,
	.destroy = fw_cfg_destroy,
	.state = &fw_cfg_state_desc,
};
DEVICE_REGISTER(fw_cfg_ops);

int fw_cfg_create(struct machine *m)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));
	int ret;

	if (!f)
		return -ENOMEM;
	f->dir = calloc(1, sizeof(uint32_t));
	if (!f->dir) {
		free(f);
		return -ENOMEM;
	}
	f->pio = (struct bus_region){
		.name = "fw-cfg", .base = BOARD_FW_CFG_BASE, .size = BOARD_FW_CFG_LEN,
		.ops = &fw_cfg_bus_ops, .opaque = f,
	};
	ret = bus_add(&m->pio, &f->pio);
	if (ret) {
		log_error("fw-cfg: port %#x is taken", BOARD_FW_CFG_BASE);
		free(f->dir);
		free(f);
		return ret;
	}
	device_init(&f->dev, m, &fw_cfg_ops, "fw-cfg");
	fw_cfg_reset(&f->dev);
	return 0;
}
