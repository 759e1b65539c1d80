/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Port and MMIO dispatch. Handlers run on the vCPU's thread. Unless the region
 * says BUS_NOLOCK, the machine lock is held around the handler, so that a
 * device's state needs no lock of its own as long as its loop callbacks take
 * the machine lock too (loop.h does that for them).
 *
 * Regions may be added, moved and removed while vCPUs run (PCI BARs): lookups
 * take a read lock, changes the write lock.
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

struct bus {
	pthread_rwlock_t rwlock;
	pthread_mutex_t *machine_lock;
	struct bus_region **region;	/* sorted by base */
	unsigned int nr, room;
};

void bus_init(struct bus *bus, pthread_mutex_t *machine_lock);
void bus_fini(struct bus *bus);
/* The region struct stays the caller's and must outlive its registration. -EEXIST: overlap. */
int bus_add(struct bus *bus, struct bus_region *r);
void bus_remove(struct bus *bus, struct bus_region *r);
/* Unclaimed reads give all ones; unclaimed writes vanish. */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int size);
void bus_write(struct bus *bus, uint64_t addr, unsigned int size, uint64_t val);

#endif
