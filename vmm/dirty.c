// SPDX-License-Identifier: GPL-2.0-only
/* The three dirty logs, as one map. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/virtio/vhost.h"
#include "dirty.h"
#include "machine.h"

/* vhost's: one bit for 4096 bytes of guest-physical addresses, those of the hole included. */
static _Atomic uint64_t *vhost_bits;
static size_t vhost_bytes;

/* ------------------------------------------------------------ of the machine */

static int set_slots(struct machine *m, bool on)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < m->mem.nr && !ret; i++) {
		const struct guest_region *r = &m->mem.region[i];

		if (r->fd_offset == ~0ULL || r->readonly)
			continue;
		ret = hv_set_slot(&m->hv, r->slot, on ? HVX_SLOT_LOG_DIRTY : 0, r->gpa, r->size, r->hva);
	}
	return ret;
}

static int open_vhost_log(struct machine *m)
{
	uint64_t top = guest_mem_top(&m->mem);

	if (!vhost_present())
		return 0;
	vhost_bytes = (size_t)(top / DIRTY_PAGE / 8 + 8);
	vhost_bits = dirty_new_map(vhost_bytes);
	return vhost_bits ? vhost_set_log((void *)vhost_bits) : -ENOMEM;
}

static void close_vhost_log(void)
{
	if (!vhost_bits)
		return;
	vhost_set_log(NULL);
	munmap((void *)vhost_bits, vhost_bytes);
	vhost_bits = NULL;
}

int dirty_start(struct machine *m)
{
	int ret;

	if (atomic_load(&dirty_on))
		return -EALREADY;
	ret = dirty_log_open(m->mem.region[0].hva, m->mem.ram_size) ?: open_vhost_log(m) ?:
	      set_slots(m, true);
	if (ret) {
		set_slots(m, false);
		close_vhost_log();
		dirty_log_close();
	}
	return ret;
}

void dirty_stop(struct machine *m)
{
	if (!atomic_load(&dirty_on))
		return;
	set_slots(m, false);
	close_vhost_log();
	dirty_log_close();
}

/* n bits of from, beginning with its first, into map from bit `at` on. */
static void merge(uint64_t *map, uint64_t at, const uint64_t *from, uint64_t n)
{
	unsigned int shift = at % 64;
	uint64_t i, w;

	map += at / 64;
	for (i = 0; i < n; i += 64, map++) {
		w = *from++;
		if (n - i < 64)
			w &= (1ULL << (n - i)) - 1;
		if (!w)
			continue;
		map[0] |= w << shift;
		if (shift && w >> (64 - shift))
			map[1] |= w >> (64 - shift);
	}
}

static int sync_module(struct machine *m, const struct guest_region *r, uint64_t *map)
{
	uint64_t pages = r->size / DIRTY_PAGE;
	uint64_t *part = calloc(dirty_words(r->size), sizeof(*part));
	int ret;

	if (!part)
		return -ENOMEM;
	ret = hv_get_dirty(&m->hv, r->slot, HVX_DIRTY_CLEAR, 0, pages, part);
	merge(map, r->fd_offset / DIRTY_PAGE, part, pages);
	free(part);
	return ret < 0 ? ret : 0;
}

static void sync_vhost(const struct guest_region *r, uint64_t *map)
{
	uint64_t first = r->gpa / DIRTY_PAGE, pages = r->size / DIRTY_PAGE, i, w;
	uint64_t to = r->fd_offset / DIRTY_PAGE;

	/* Regions begin at multiples of 64 pages, as do words of the log. */
	for (i = 0; i < pages; i += 64) {
		_Atomic uint64_t *word = &vhost_bits[(first + i) / 64];

		if (!atomic_load_explicit(word, memory_order_relaxed))
			continue;
		w = atomic_exchange(word, 0);
		merge(map, to + i, &w, pages - i < 64 ? pages - i : 64);
	}
}

int dirty_sync(struct machine *m, uint64_t *map)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < m->mem.nr && !ret; i++) {
		const struct guest_region *r = &m->mem.region[i];

		if (r->fd_offset == ~0ULL || r->readonly)
			continue;
		ret = sync_module(m, r, map);
		if (!ret && vhost_bits)
			sync_vhost(r, map);
	}
	dirty_log_take(map);
	return ret;
}
