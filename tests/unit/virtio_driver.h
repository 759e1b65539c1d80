/* SPDX-License-Identifier: GPL-2.0-only */
/* A small virtio-pci driver for device tests: it finds the registers as a guest does. */
#ifndef HVX_TESTS_VIRTIO_DRIVER_H
#define HVX_TESTS_VIRTIO_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include "devices/virtio/virtio.h"
#include "fake_machine.h"

#define DRV_QUEUES	8
#define DRV_SIZE	16
#define DRV_RINGS	0x100000ULL	/* guest-physical: 64 KiB a queue */
#define DRV_DATA	0x200000ULL
#define DRV_RAM		(16ULL << 20)

struct drv_queue {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size, next_desc, seen;
};

static struct {
	unsigned int devfn;
	uint64_t common, notify, device, isr;
	uint32_t mult;
	uint16_t notify_off[DRV_QUEUES];
	struct drv_queue q[DRV_QUEUES];
} drv;

static inline uint32_t drv_config(unsigned int reg, unsigned int size)
{
	return bus_read(&fm.mmio, PCI_ECAM_BASE + (drv.devfn << 12) + reg, size);
}

static inline void drv_config_write(unsigned int reg, unsigned int size, uint32_t val)
{
	bus_write(&fm.mmio, PCI_ECAM_BASE + (drv.devfn << 12) + reg, size, val);
}

static inline uint64_t common(unsigned int off, unsigned int size)
{
	return bus_read(&fm.mmio, drv.common + off, size);
}

static inline void set_common(unsigned int off, unsigned int size, uint64_t val)
{
	bus_write(&fm.mmio, drv.common + off, size, val);
}

/* Find the registers of the function at devfn. */
static inline void drv_probe(unsigned int devfn)
{
	unsigned int at;

	memset(&drv, 0, sizeof(drv));
	drv.devfn = devfn;
	ck_assert_uint_eq(drv_config(0, 2), 0x1af4);
	for (at = drv_config(0x34, 1); at; at = drv_config(at + 1, 1)) {
		unsigned int bar;
		uint64_t base;

		if (drv_config(at, 1) != 9)
			continue;
		bar = drv_config(at + VIRTIO_PCI_CAP_BAR, 1);
		base = (drv_config(0x10 + 4 * bar, 4) & ~15U) +
		       drv_config(at + VIRTIO_PCI_CAP_OFFSET, 4);
		switch (drv_config(at + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
		case VIRTIO_PCI_CAP_COMMON_CFG: drv.common = base; break;
		case VIRTIO_PCI_CAP_ISR_CFG: drv.isr = base; break;
		case VIRTIO_PCI_CAP_DEVICE_CFG: drv.device = base; break;
		case VIRTIO_PCI_CAP_NOTIFY_CFG:
			drv.notify = base;
			drv.mult = drv_config(at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
			break;
		}
	}
	ck_assert(drv.common && drv.notify && drv.isr);
}

static inline uint8_t drv_status(void)
{
	return common(VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline void drv_set_status(uint8_t s)
{
	set_common(VIRTIO_PCI_COMMON_STATUS, 1, s);
}

static inline uint64_t drv_offered(void)
{
	uint64_t f;

	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	f = common(VIRTIO_PCI_COMMON_DF, 4);
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	return f | common(VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static inline void drv_accept(uint64_t f)
{
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	set_common(VIRTIO_PCI_COMMON_GF, 4, f);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	set_common(VIRTIO_PCI_COMMON_GF, 4, f >> 32);
}

/* Up to FEATURES_OK, with those features and VERSION_1. */
static inline void drv_begin(uint64_t features)
{
	drv_set_status(0);
	ck_assert_uint_eq(drv_status(), 0);
	drv_set_status(1);
	drv_set_status(3);
	drv_accept(features | 1ULL << VIRTIO_F_VERSION_1);
	drv_set_status(11);
	ck_assert_uint_eq(drv_status(), 11);
}

static inline uint64_t drv_ring(unsigned int i)
{
	return DRV_RINGS + i * 0x10000;
}

static inline void drv_layout(unsigned int i, uint16_t size)
{
	struct drv_queue *q = &drv.q[i];
	uint64_t at = drv_ring(i);

	memset(guest_ptr(&fm.mem, at, 0x10000, true), 0, 0x10000);
	q->desc = guest_ptr(&fm.mem, at, 0x4000, true);
	q->avail = guest_ptr(&fm.mem, at + 0x4000, 0x1000, true);
	q->used = guest_ptr(&fm.mem, at + 0x8000, 0x4000, true);
	q->size = size;
	q->next_desc = q->seen = 0;
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), size);
	set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 4, at);
	set_common(VIRTIO_PCI_COMMON_Q_DESCHI, 4, at >> 32);
	set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, at + 0x4000);
	set_common(VIRTIO_PCI_COMMON_Q_USEDLO, 4, at + 0x8000);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, i);
	drv.notify_off[i] = common(VIRTIO_PCI_COMMON_Q_NOFF, 2);
}

static inline void drv_enable(unsigned int i)
{
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, i);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

/* MSI-X on, vector v with data v at 0xfee00000. */
static inline void drv_msix(void)
{
	unsigned int at, v, n = 0;
	uint64_t table = 0;

	for (at = drv_config(0x34, 1); at; at = drv_config(at + 1, 1)) {
		if (drv_config(at, 1) != 0x11)
			continue;
		n = (drv_config(at + 2, 2) & 0x7ff) + 1;
		table = drv_config(0x10 + 4 * (drv_config(at + 4, 4) & 7), 4) & ~15U;
		drv_config_write(at + 2, 2, 0x8000);
	}
	for (v = 0; v < n; v++) {
		bus_write(&fm.mmio, table + 16 * v, 8, 0xfee00000);
		bus_write(&fm.mmio, table + 16 * v + 8, 8, v);
	}
}

/* The whole way to DRIVER_OK with nr queues. */
static inline void drv_start(uint64_t features, unsigned int nr)
{
	unsigned int i;

	drv_begin(features);
	drv_msix();
	for (i = 0; i < nr; i++) {
		drv_layout(i, DRV_SIZE);
		drv_enable(i);
	}
	drv_set_status(15);
	ck_assert_uint_eq(drv_status(), 15);
}

static inline void drv_kick(unsigned int i)
{
	bus_write(&fm.mmio, drv.notify + drv.notify_off[i] * drv.mult, 2, i);
}

struct drv_buf {
	uint64_t addr;
	uint32_t len;
	bool write;
};

/* Offer a chain; its head. Descriptors are used round robin. */
static inline uint16_t drv_add(unsigned int i, const struct drv_buf *b, unsigned int n)
{
	struct drv_queue *q = &drv.q[i];
	uint16_t head = q->next_desc;
	unsigned int k;

	for (k = 0; k < n; k++) {
		uint16_t at = q->next_desc, next = (at + 1) % q->size;

		q->desc[at] = (struct vring_desc){
			b[k].addr, b[k].len,
			(b[k].write ? VRING_DESC_F_WRITE : 0) | (k + 1 < n ? VRING_DESC_F_NEXT : 0),
			next,
		};
		q->next_desc = next;
	}
	q->avail->ring[q->avail->idx % q->size] = head;
	__atomic_store_n(&q->avail->idx, q->avail->idx + 1, __ATOMIC_RELEASE);
	return head;
}

/* Wait for the next used entry (a guard of 10 s, not a measure); its len. */
static inline uint32_t drv_wait(unsigned int i, uint16_t *head)
{
	struct drv_queue *q = &drv.q[i];
	struct vring_used_elem *e;
	unsigned int n;

	for (n = 0; __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->seen; n++) {
		ck_assert_msg(n < 100000, "queue %u: nothing came back", i);
		usleep(100);
	}
	e = &q->used->ring[q->seen++ % q->size];
	if (head)
		*head = e->id;
	return e->len;
}

static inline bool drv_idle(unsigned int i)
{
	struct drv_queue *q = &drv.q[i];

	return __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE) == q->seen;
}

/* Until NEEDS_RESET shows. */
static inline void drv_wait_broken(void)
{
	unsigned int n;

	for (n = 0; !(drv_status() & VIRTIO_CONFIG_S_NEEDS_RESET); n++) {
		ck_assert_msg(n < 100000, "the device does not ask for a reset");
		usleep(100);
	}
}

static inline void *ram(uint64_t gpa)
{
	return guest_ptr(&fm.mem, gpa, 1, true);
}

static pthread_t drv_main;

static inline void *drv_run(void *loop)
{
	loop_run(loop);
	return NULL;
}

/* RAM, PCI and a running main loop; then make the device, then drv_up(). */
static inline void drv_machine(void)
{
	fake_machine(DRV_RAM);
	ck_assert_int_eq(pci_host_create(&fm), 0);
	ck_assert_int_eq(pthread_create(&drv_main, NULL, drv_run, fm.loop), 0);
}

static inline void drv_up(void)
{
	pthread_mutex_lock(&fm.lock);
	pci_assign(&fm);
	pthread_mutex_unlock(&fm.lock);
	drv_probe(1 << 3);
}

static inline void drv_free(void)
{
	loop_stop(fm.loop);
	pthread_join(drv_main, NULL);
	fake_free();
}

/* Random accesses to all registers; the device must survive them. */
static inline void drv_fuzz(unsigned int rounds)
{
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		uint32_t r = fake_random(), v = fake_random();
		unsigned int size = 1 << (r & 3), off = r >> 8 & 0x3f;

		switch (r >> 4 & 7) {
		case 0:
			bus_write(&fm.mmio, drv.common + off, size, v);
			break;
		case 1:
			bus_read(&fm.mmio, drv.common + off, size);
			break;
		case 2:
			bus_write(&fm.mmio, drv.common + (r >> 8 & 0x3fff), size, v);
			break;
		case 3:
			bus_read(&fm.mmio, drv.common + (r >> 8 & 0x3fff), size);
			break;
		case 4:
			set_common(VIRTIO_PCI_COMMON_STATUS, 1, v & 1 ? 0 : v & 2 ? 11 : 15);
			break;
		case 5:
			set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, v & 3);
			set_common(VIRTIO_PCI_COMMON_Q_DESCLO + (r >> 8 & 0x14), 4, v & 0xfffff0);
			set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
			break;
		case 6:
			drv_accept(v & 0x10 ? drv_offered() : v | 1ULL << VIRTIO_F_VERSION_1);
			break;
		default:
			drv_config_write(r >> 8 & 0xfc, size > 4 ? 4 : size, v);
			pthread_mutex_lock(&fm.lock);
			if (!(r >> 16 & 7))
				pci_assign(&fm);
			pthread_mutex_unlock(&fm.lock);
			drv.common = drv_config(0x10, 4) & ~15U;
			break;
		}
	}
	pthread_mutex_lock(&fm.lock);
	pci_assign(&fm);
	pthread_mutex_unlock(&fm.lock);
	drv_probe(1 << 3);
	drv_set_status(0);
	ck_assert_uint_eq(drv_status(), 0);
}

#endif
