// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that comes and goes in blocks (virtio 1.2, 5.15). The device's range is part of
 * the room for memory devices, which is mapped from the beginning and empty: a block takes
 * host memory when the guest writes to it, and is punched out when the guest unplugs it.
 * Blocks that are not plugged read as zeroes; a guest that writes to them all the same takes
 * memory up to the device's size, no more. Main loop.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/virtio/mem.h"
#include "devices/virtio/virtio.h"
#include "vmm/dirty.h"
#include "vmm/qmp.h"

#define QUEUE_SIZE	128
#define TELL_NS		100000000ULL	/* changes of size are told together */

struct virtio_mem {
	struct virtio_device v;
	const struct dom_memdev *cfg;
	uint64_t addr, size, block;
	uint64_t nr_blocks, nr_plugged;
	uint8_t *hva;			/* of addr */
	struct loop_timer *timer;
	bool telling;			/* the timer runs */
	uint8_t plugged[MEM_MAX_BLOCKS / 8];
};

static const struct device_ops mem_ops;

static struct virtio_mem_config *config(struct virtio_mem *d)
{
	return (void *)d->v.config;
}

static uint64_t requested(struct virtio_mem *d)
{
	return le64toh(config(d)->requested_size);
}

static bool is_plugged(const struct virtio_mem *d, uint64_t b)
{
	return d->plugged[b / 8] >> b % 8 & 1;
}

static void size_changed(struct virtio_mem *d)
{
	pthread_mutex_lock(&d->v.config_lock);
	config(d)->plugged_size = htole64(d->nr_plugged * d->block);
	pthread_mutex_unlock(&d->v.config_lock);
	if (!d->telling)
		loop_timer_set(d->timer, clock_now_ns() + TELL_NS);
	d->telling = true;
}

static void tell(void *opaque)
{
	struct virtio_mem *d = opaque;
	struct json_object *data = json_object_new_object();
	char path[80];

	d->telling = false;
	snprintf(path, sizeof(path), "/machine/peripheral/%s", d->cfg->id);
	json_object_object_add(data, "id", json_object_new_string(d->cfg->id));
	json_object_object_add(data, "size", json_object_new_int64((int64_t)(d->nr_plugged * d->block)));
	json_object_object_add(data, "qom-path", json_object_new_string(path));
	qmp_event(d->v.dev.m, "MEMORY_DEVICE_SIZE_CHANGE", data);
}

/* ------------------------------------------------------------------- blocks */

/* Give blocks back to the host. Memory that is a private copy of a file's loses what it has of its own. */
static void discard(struct virtio_mem *d, uint64_t first, uint64_t nr)
{
	uint8_t *at = d->hva + first * d->block;
	size_t len = nr * d->block;

	if (madvise(at, len, MADV_REMOVE) && madvise(at, len, MADV_DONTNEED))
		return;		/* locked: it stays, for the next time that they are plugged */
	dirty_mark(at, len);
}

static void set_blocks(struct virtio_mem *d, uint64_t first, uint64_t nr, bool on)
{
	uint64_t b;

	for (b = first; b < first + nr; b++) {
		if (on)
			d->plugged[b / 8] |= (uint8_t)(1U << b % 8);
		else
			d->plugged[b / 8] &= (uint8_t)~(1U << b % 8);
	}
	d->nr_plugged = on ? d->nr_plugged + nr : d->nr_plugged - nr;
	if (!on)
		discard(d, first, nr);
	size_changed(d);
}

static void unplug_all(struct virtio_mem *d)
{
	if (!d->nr_plugged)
		return;
	memset(d->plugged, 0, sizeof(d->plugged));
	d->nr_plugged = 0;
	discard(d, 0, d->nr_blocks);
	size_changed(d);
}

/* How many of the blocks are plugged. */
static uint64_t count(const struct virtio_mem *d, uint64_t first, uint64_t nr)
{
	uint64_t b, n = 0;

	for (b = first; b < first + nr; b++)
		n += is_plugged(d, b);
	return n;
}

/* --------------------------------------------------------------- requests */

/* A range of blocks that is this device's: 5.15.6.1. */
static bool range(const struct virtio_mem *d, uint64_t addr, uint16_t nr, uint64_t *first)
{
	if (addr < d->addr || (addr - d->addr) % d->block || !nr)
		return false;
	*first = (addr - d->addr) / d->block;
	return *first < d->nr_blocks && nr <= d->nr_blocks - *first;
}

static uint16_t plug(struct virtio_mem *d, uint64_t addr, uint16_t nr)
{
	uint64_t first;

	if (!range(d, addr, nr, &first) || count(d, first, nr))
		return VIRTIO_MEM_RESP_ERROR;
	if ((d->nr_plugged + nr) * d->block > requested(d))
		return VIRTIO_MEM_RESP_NACK;
	set_blocks(d, first, nr, true);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug(struct virtio_mem *d, uint64_t addr, uint16_t nr)
{
	uint64_t first;

	if (!range(d, addr, nr, &first) || count(d, first, nr) != nr)
		return VIRTIO_MEM_RESP_ERROR;
	set_blocks(d, first, nr, false);
	return VIRTIO_MEM_RESP_ACK;
}

static uint16_t state(const struct virtio_mem *d, uint64_t addr, uint16_t nr, uint16_t *out)
{
	uint64_t first, n;

	if (!range(d, addr, nr, &first))
		return VIRTIO_MEM_RESP_ERROR;
	n = count(d, first, nr);
	*out = n == nr ? VIRTIO_MEM_STATE_PLUGGED : n ? VIRTIO_MEM_STATE_MIXED : VIRTIO_MEM_STATE_UNPLUGGED;
	return VIRTIO_MEM_RESP_ACK;
}

static void answer(struct virtio_mem *d, const struct virtio_mem_req *req, struct virtio_mem_resp *resp)
{
	uint16_t what = 0, type;

	switch (le16toh(req->type)) {
	case VIRTIO_MEM_REQ_PLUG:
		type = plug(d, le64toh(req->u.plug.addr), le16toh(req->u.plug.nb_blocks));
		break;
	case VIRTIO_MEM_REQ_UNPLUG:
		type = unplug(d, le64toh(req->u.unplug.addr), le16toh(req->u.unplug.nb_blocks));
		break;
	case VIRTIO_MEM_REQ_UNPLUG_ALL:
		unplug_all(d);
		type = VIRTIO_MEM_RESP_ACK;
		break;
	case VIRTIO_MEM_REQ_STATE:
		type = state(d, le64toh(req->u.state.addr), le16toh(req->u.state.nb_blocks), &what);
		break;
	default:
		type = VIRTIO_MEM_RESP_ERROR;
	}
	resp->type = htole16(type);
	resp->u.state.state = htole16(what);
}

static void mem_handle(struct virtio_queue *q)
{
	struct virtio_mem *d = (struct virtio_mem *)q->v;
	struct virtio_mem_req req;
	struct vq_chain c;

	while (virtio_pop(q, &c)) {
		struct virtio_mem_resp resp = { 0 };

		if (iov_read(c.out, c.nr_out, 0, &req, sizeof(req)) != sizeof(req) || c.in_len < sizeof(resp)) {
			virtio_broken(q, "a request of a memory device without room for it or its answer");
			break;
		}
		answer(d, &req, &resp);
		iov_write(c.in, c.nr_in, 0, &resp, sizeof(resp));
		vq_push(&q->vq, c.head, sizeof(resp));
	}
	virtio_publish(q);
}

/* ---------------------------------------------------------------- saved state */

struct mem_state {
	struct virtio_state v;
	uint64_t nr_blocks;
	uint32_t bytes;
	uint8_t plugged[MEM_MAX_BLOCKS / 8];
};

static const struct state_field mem_fields[] = {
	{ .name = "virtio", .size = sizeof(struct virtio_state), .count = 1, .since = 1, .group = virtio_state_fields },
	STATE_NUM(struct mem_state, nr_blocks, 1, .max = MEM_MAX_BLOCKS),
	STATE_NUM(struct mem_state, bytes, 1, .max = MEM_MAX_BLOCKS / 8),
	STATE_SOME(struct mem_state, plugged, bytes, 1),
	STATE_END
};

static int mem_save(struct device *dev, void *to, struct state_error *err)
{
	struct virtio_mem *d = (struct virtio_mem *)dev;
	struct mem_state *s = to;

	s->nr_blocks = d->nr_blocks;
	s->bytes = (uint32_t)((d->nr_blocks + 7) / 8);
	memcpy(s->plugged, d->plugged, s->bytes);
	return virtio_save(dev, s, err);
}

/* Where it is and how large stays; what was asked of it is as it was there. */
static int mem_load_config(struct virtio_device *v, const uint8_t *saved, struct state_error *err)
{
	struct virtio_mem *d = (struct virtio_mem *)v;
	const struct virtio_mem_config *s = (const void *)saved, *c = config(d);
	uint64_t want = le64toh(s->requested_size);

	if (s->block_size != c->block_size || s->addr != c->addr || s->region_size != c->region_size)
		return state_error(err, "%llu bytes in blocks of %llu at %#llx; the XML has %llu in blocks of %llu at %#llx",
				   (unsigned long long)le64toh(s->region_size), (unsigned long long)le64toh(s->block_size),
				   (unsigned long long)le64toh(s->addr), (unsigned long long)d->size,
				   (unsigned long long)d->block, (unsigned long long)d->addr);
	if (want > d->size || want % d->block)
		return state_error(err, "%llu bytes are requested of it", (unsigned long long)want);
	memcpy(v->config, saved, v->config_len);
	return 0;
}

static int mem_load(struct device *dev, const void *from, unsigned int version, struct state_error *err)
{
	struct virtio_mem *d = (struct virtio_mem *)dev;
	const struct mem_state *s = from;
	uint64_t b, n = 0;
	int ret;

	if (s->nr_blocks != d->nr_blocks || s->bytes != (d->nr_blocks + 7) / 8)
		return state_error(err, "%llu blocks, the XML has %llu", (unsigned long long)s->nr_blocks,
				   (unsigned long long)d->nr_blocks);
	for (b = 0; b < s->bytes * 8U; b++) {
		if (!(s->plugged[b / 8] >> b % 8 & 1))
			continue;
		if (b >= d->nr_blocks)
			return state_error(err, "a block that it does not have is plugged");
		n++;
	}
	ret = virtio_load(dev, s, version, err);
	if (ret)
		return ret;
	if (le64toh(config(d)->plugged_size) != n * d->block)
		return state_error(err, "%llu blocks are plugged, it says %llu bytes", (unsigned long long)n,
				   (unsigned long long)le64toh(config(d)->plugged_size));
	memcpy(d->plugged, s->plugged, s->bytes);
	d->nr_plugged = n;
	return 0;
}

static const struct state_desc mem_state_desc = {
	.version = 1, .size = sizeof(struct mem_state), .fields = mem_fields, .save = mem_save, .load = mem_load,
};

/* -------------------------------------------------------------------- control */

static struct virtio_mem *next(struct device *dev)
{
	while (dev && dev->ops != &mem_ops)
		dev = dev->next;
	return (struct virtio_mem *)dev;
}

bool mem_device_info(struct machine *m, unsigned int n, struct mem_device_info *info)
{
	struct virtio_mem *d = next(m->devices);

	while (d && n--)
		d = next(d->v.dev.next);
	if (d)
		*info = (struct mem_device_info){
			.id = d->cfg->id, .addr = d->addr, .size = d->size, .block = d->block,
			.requested = requested(d), .plugged = d->nr_plugged * d->block,
		};
	return d;
}

int mem_device_request(struct machine *m, const char *id, uint64_t bytes)
{
	struct virtio_mem *d;

	for (d = next(m->devices); d && strcmp(d->cfg->id, id); d = next(d->v.dev.next))
		;
	if (!d)
		return -ENODEV;
	if (bytes > d->size || bytes % d->block)
		return -EINVAL;
	pthread_mutex_lock(&d->v.config_lock);
	config(d)->requested_size = htole64(bytes);
	pthread_mutex_unlock(&d->v.config_lock);
	virtio_config_changed(&d->v);
	return 0;
}

const char *mem_device_busy(struct device *dev)
{
	struct virtio_mem *d = (struct virtio_mem *)dev;

	if (dev->ops != &mem_ops)
		return NULL;
	if (requested(d))
		return "memory is requested of it: set its requested size to 0 first";
	return d->nr_plugged ? "the guest has not given back all of its memory yet" : NULL;
}

/* --------------------------------------------------------------------- making */

/* Of the machine, not of the driver: what is plugged outlives the driver's reset (5.15.5). */
static void mem_reset(struct device *dev)
{
	virtio_reset(dev);
	unplug_all((struct virtio_mem *)dev);
}

static void mem_destroy(struct device *dev)
{
	struct virtio_mem *d = (struct virtio_mem *)dev;

	virtio_reset(dev);
	virtio_fini(&d->v);
	loop_del_timer(d->timer);
	free(d);
}

static const struct virtio_ops mem_virtio_ops = { .handle = mem_handle, .load_config = mem_load_config };

static const struct device_ops mem_ops = {
	.name = "virtio-mem",
	.xml = "<memory model='virtio-mem'> with <target>: <size>, <block>, <requested>",
	.help = "Memory that the guest gets and gives back in blocks while it runs: `hvx update-memory-device`.",
	.reset = mem_reset,
	.pause = virtio_pause,
	.resume = virtio_resume,
	.destroy = mem_destroy,
	.pluggable = true,
	.state = &mem_state_desc,
};
DEVICE_REGISTER(mem_ops);

static bool overlaps(struct machine *m, uint64_t addr, uint64_t size)
{
	struct virtio_mem *d;

	for (d = next(m->devices); d; d = next(d->v.dev.next))
		if (addr < d->addr + d->size && d->addr < addr + size)
			return true;
	return false;
}

/* Where the XML says, else the first place that is free. 0: there is none. */
static uint64_t find_place(struct machine *m, const struct dom_memdev *cfg)
{
	uint64_t at, end = m->mem.device_gpa + m->mem.device_size;

	if (cfg->size > m->mem.device_size)
		return 0;
	if (cfg->base)
		return cfg->base >= m->mem.device_gpa && cfg->base <= end - cfg->size && !(cfg->base % cfg->block) &&
		       !overlaps(m, cfg->base, cfg->size) ? cfg->base : 0;
	for (at = m->mem.device_gpa; at <= end - cfg->size; at += MEMDEV_ALIGN)
		if (!(at % cfg->block) && !overlaps(m, at, cfg->size))
			return at;
	return 0;
}

static int no_place(struct machine *m, const struct dom_memdev *cfg)
{
	log_error("<memory> %s: no room for %llu MiB%s in the %llu MiB that memory devices have; raise <maxMemory>",
		  cfg->id, (unsigned long long)(cfg->size >> 20), cfg->base ? " at its <address base=>" : "",
		  (unsigned long long)(m->mem.device_size >> 20));
	return -ENOSPC;
}

int virtio_mem_create(struct machine *m, const struct dom_memdev *cfg)
{
	static const uint16_t size = QUEUE_SIZE;
	uint64_t addr = find_place(m, cfg);
	struct virtio_mem *d;
	char id[32];
	int ret;

	if (!addr)
		return no_place(m, cfg);
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->cfg = cfg;
	d->addr = addr;
	d->size = cfg->size;
	d->block = cfg->block;
	d->nr_blocks = cfg->size / cfg->block;
	d->hva = guest_ptr(&m->mem, addr, cfg->size, true);
	d->timer = loop_add_timer(m->loop, tell, d);
	snprintf(id, sizeof(id), "memory %.20s", cfg->id);
	ret = d->timer && d->hva ? virtio_init(&d->v, m, &mem_ops, &mem_virtio_ops, VIRTIO_ID_MEM,
					       1ULL << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE,
					       sizeof(struct virtio_mem_config), 1, &size, id) : -ENOMEM;
	if (ret) {
		if (d->timer)
			loop_del_timer(d->timer);
		free(d);
		return ret;
	}
	*config(d) = (struct virtio_mem_config){
		.block_size = htole64(d->block), .addr = htole64(addr), .region_size = htole64(d->size),
		.usable_region_size = htole64(d->size), .requested_size = htole64(cfg->requested),
	};
	ret = virtio_add_kicks(&d->v);
	if (ret)
		mem_destroy(&d->v.dev);
	return ret;
}
