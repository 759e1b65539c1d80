// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port and MMIO dispatch. An access costs one sequence-checked look at the slot
 * that was hit last, a binary search if that was another, and the machine lock.
 */
#include <errno.h>
#include <string.h>

#include "bus.h"

void bus_init(struct bus *bus, pthread_mutex_t *machine_lock)
{
	memset(bus, 0, sizeof(*bus));
	bus->machine_lock = machine_lock;
	pthread_mutex_init(&bus->change_lock, NULL);
}

void bus_fini(struct bus *bus)
{
	pthread_mutex_destroy(&bus->change_lock);
	bus->nr = 0;
}

/* Slots are read while they change: each word whole, the sequence says whether together. */
#define LOAD(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define STORE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

static void put_slot(struct bus_slot *to, const struct bus_slot *from)
{
	STORE(to->base, from->base);
	STORE(to->last, from->last);
	STORE(to->region, from->region);
}

static void change_begin(struct bus *bus)
{
	STORE(bus->seq, bus->seq + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static void change_end(struct bus *bus)
{
	__atomic_store_n(&bus->seq, bus->seq + 1, __ATOMIC_RELEASE);
}

int bus_add(struct bus *bus, struct bus_region *r)
{
	struct bus_slot slot = { r->base, r->base + r->size - 1, r };
	uint32_t at, i;
	int ret = 0;

	if (!r->size || slot.last < slot.base)
		return -EINVAL;
	pthread_mutex_lock(&bus->change_lock);
	for (at = 0; at < bus->nr && bus->slot[at].last < slot.base; at++)
		;
	if (at < bus->nr && bus->slot[at].base <= slot.last)
		ret = -EEXIST;
	else if (bus->nr == BUS_MAX_REGIONS)
		ret = -ENOSPC;
	if (!ret) {
		change_begin(bus);
		for (i = bus->nr; i > at; i--)
			put_slot(&bus->slot[i], &bus->slot[i - 1]);
		put_slot(&bus->slot[at], &slot);
		STORE(bus->nr, bus->nr + 1);
		change_end(bus);
	}
	pthread_mutex_unlock(&bus->change_lock);
	return ret;
}

void bus_remove(struct bus *bus, struct bus_region *r)
{
	uint32_t at, i;

	pthread_mutex_lock(&bus->change_lock);
	for (at = 0; at < bus->nr && bus->slot[at].region != r; at++)
		;
	if (at < bus->nr) {
		change_begin(bus);
		STORE(bus->nr, bus->nr - 1);
		for (i = at; i < bus->nr; i++)
			put_slot(&bus->slot[i], &bus->slot[i + 1]);
		change_end(bus);
	}
	pthread_mutex_unlock(&bus->change_lock);
}

static bool slot_hit(struct bus *bus, uint32_t i, uint64_t addr, struct bus_slot *hit)
{
	hit->base = LOAD(bus->slot[i].base);
	hit->last = LOAD(bus->slot[i].last);
	hit->region = LOAD(bus->slot[i].region);
	return addr >= hit->base && addr <= hit->last;
}

static bool search(struct bus *bus, uint64_t addr, struct bus_slot *hit)
{
	uint32_t lo = 0, hi = LOAD(bus->nr);

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (slot_hit(bus, mid, addr, hit)) {
			STORE(bus->hint, mid);
			return true;
		}
		if (addr < hit->base)
			hi = mid;
		else
			lo = mid + 1;
	}
	return false;
}

/* The slot of addr, and the sequence number it was seen at. */
static bool lookup(struct bus *bus, uint64_t addr, struct bus_slot *hit, uint32_t *seq)
{
	uint32_t hint;
	bool found;

	do {
		while ((*seq = __atomic_load_n(&bus->seq, __ATOMIC_ACQUIRE)) & 1)
			__builtin_ia32_pause();
		hint = LOAD(bus->hint);
		found = (hint < LOAD(bus->nr) && slot_hit(bus, hint, addr, hit)) ||
			search(bus, addr, hit);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__builtin_expect(LOAD(bus->seq) != *seq, 0));
	return found;
}

static uint64_t access_one(struct bus *bus, uint64_t addr, unsigned int size, uint64_t val,
			   bool write);

/* The access lies partly outside its region: a byte at a time, as a bus would. */
static uint64_t access_bytes(struct bus *bus, uint64_t addr, unsigned int size, uint64_t val,
			     bool write)
{
	uint64_t ret = 0;
	unsigned int i;

	for (i = 0; i < size; i++)
		ret |= (access_one(bus, addr + i, 1, (val >> (8 * i)) & 0xff, write) & 0xff)
		       << (8 * i);
	return ret;
}

static uint64_t call(const struct bus_region *r, uint64_t offset, unsigned int size, uint64_t val,
		     bool write)
{
	if (write) {
		if (r->ops->write)
			r->ops->write(r->opaque, offset, size, val);
		return 0;
	}
	return r->ops->read ? r->ops->read(r->opaque, offset, size) : ~0ULL;
}

static uint64_t access_one(struct bus *bus, uint64_t addr, unsigned int size, uint64_t val,
			   bool write)
{
	struct bus_slot hit;
	uint32_t seq;

	for (;;) {
		if (!lookup(bus, addr, &hit, &seq)) {
			if (size == 1)
				return ~0ULL;
			/* Nothing at the first byte; something further on? */
			if (!lookup(bus, addr + size - 1, &hit, &seq))
				return ~0ULL;
			if (hit.base <= addr)
				continue;	/* it has come in between */
			return access_bytes(bus, addr, size, val, write);
		}
		if (hit.last - addr < size - 1)
			return access_bytes(bus, addr, size, val, write);
		if (hit.region->flags & BUS_NOLOCK)
			return call(hit.region, addr - hit.base, size, val, write);

		pthread_mutex_lock(bus->machine_lock);
		if (__builtin_expect(LOAD(bus->seq) == seq, 1)) {
			val = call(hit.region, addr - hit.base, size, val, write);
			pthread_mutex_unlock(bus->machine_lock);
			return val;
		}
		/* Moved or removed while waiting for the lock. */
		pthread_mutex_unlock(bus->machine_lock);
	}
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size)
{
	uint64_t val = access_one(bus, addr, size, 0, false);

	return size < 8 ? val & ((1ULL << (8 * size)) - 1) : val;
}

void bus_write(struct bus *bus, uint64_t addr, unsigned int size, uint64_t val)
{
	access_one(bus, addr, size, val, true);
}
