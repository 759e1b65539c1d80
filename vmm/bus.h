/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Port and MMIO dispatch. Handlers run on the vCPU's thread. Unless the region
 * says BUS_NOLOCK, the machine lock is held around the handler, so that a
 * device's state needs no lock of its own as long as its loop callbacks take
 * the machine lock too (loop.h does that for them).
 *
 * Regions may be added, moved and removed while vCPUs run (PCI BARs). Lookups
 * take no lock: a sequence count tells them to look again. A handler that runs
 * under the machine lock never runs after bus_remove() has returned, where that
 * was called under the machine lock too. A BUS_NOLOCK handler may still be
 * running then; its owner waits for what it must wait for.
 */
#ifndef HVX_VMM_BUS_H
#define HVX_VMM_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bus_ops {
	/* size: 1, 2, 4 or 8 (MMIO), offset from the region's base; the access lies within the region. */
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned int size);
	void (*write)(void *opaque, uint64_t offset, unsigned int size, uint64_t val);
};

#define BUS_NOLOCK (1U << 0)	/* handler does its own locking */

struct bus_region {
	const char *name;
	uint64_t base, size;
	const struct bus_ops *ops;
	void *opaque;
	unsigned int flags;
};

#define BUS_MAX_REGIONS	192

struct bus_slot {
	uint64_t base, last;	/* last: inclusive */
	struct bus_region *region;
};

struct bus {
	pthread_mutex_t *machine_lock;
	pthread_mutex_t change_lock;	/* one change at a time */
	uint32_t seq;			/* odd while slot[] changes */
	uint32_t hint;			/* slot that was hit last; may be wrong */
	uint32_t nr;
	struct bus_slot slot[BUS_MAX_REGIONS];	/* sorted by base */
};

void bus_init(struct bus *bus, pthread_mutex_t *machine_lock);
void bus_fini(struct bus *bus);
/*
 * The region struct stays the caller's and must outlive its registration.
 * -EEXIST: overlap; -EINVAL: empty or beyond the address space; -ENOSPC.
 */
int bus_add(struct bus *bus, struct bus_region *r);
void bus_remove(struct bus *bus, struct bus_region *r);
/* Unclaimed reads give all ones; unclaimed writes vanish. */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size);
void bus_write(struct bus *bus, uint64_t addr, unsigned int size, uint64_t val);

#endif
