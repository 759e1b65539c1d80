/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine for device tests: real buses and guest memory, and in place of the
 * hypervisor, interrupts and character devices something that keeps a record.
 * Included by one file of a test program. FAKE_CLOCK before the include gives a
 * clock and timers that the test moves by hand; else vmm/loop.c is linked.
 */
#ifndef HVX_TESTS_FAKE_MACHINE_H
#define HVX_TESTS_FAKE_MACHINE_H

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/device.h"
#include "vmm/sandbox.h"
#include "vmm/tune.h"

#define FAKE_MAX_MSI 4096

static struct machine fm;
static struct domain fdom;

static struct {
	bool line[24];
	unsigned int rises[24];
	int event, event_status;
	bool extint;
	pthread_mutex_t lock;
	unsigned int nr_msi;
	struct { uint64_t address; uint32_t data; } msi[FAKE_MAX_MSI];
	unsigned int nr_ioeventfd;
	char tx[65536];		/* what went to character devices */
	size_t tx_len;
} fake;

struct chardev {
	size_t (*room)(void *);
	void (*rx)(void *, const uint8_t *, size_t);
	void *opaque;
	unsigned int ready;
};

static struct chardev *fake_chr[32];
static unsigned int fake_nr_chr;

int hv_signal_msi(struct hv *hv, uint64_t address, uint32_t data)
{
	(void)hv;
	pthread_mutex_lock(&fake.lock);
	if (fake.nr_msi < FAKE_MAX_MSI) {
		fake.msi[fake.nr_msi].address = address;
		fake.msi[fake.nr_msi].data = data;
	}
	fake.nr_msi++;
	pthread_mutex_unlock(&fake.lock);
	return 1;
}

static inline unsigned int fake_msis(void)
{
	unsigned int n;

	pthread_mutex_lock(&fake.lock);
	n = fake.nr_msi;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

int hv_irqfd(struct hv *hv, int fd, int resample_fd, uint32_t flags, uint64_t address, uint32_t data)
{
	return -ENOSYS;
}

int hv_ioeventfd(struct hv *hv, uint32_t flags, uint64_t addr, uint32_t len, uint64_t match, int fd)
{
	if (flags & HVX_IOEVENTFD_DEASSIGN)
		fake.nr_ioeventfd--;
	else
		fake.nr_ioeventfd++;
	return 0;
}

int hv_set_extint(struct hv_vcpu *v, bool level)
{
	(void)v;
	fake.extint = level;
	return 0;
}

#ifndef FAKE_OWN_IRQ_SET
void irq_set(struct machine *m, unsigned int gsi, bool level)
{
	(void)m;
	if (level && !fake.line[gsi])
		fake.rises[gsi]++;
	fake.line[gsi] = level;
}
#endif

void machine_event(struct machine *m, enum machine_event ev, int status)
{
	(void)m;
	fake.event = ev;
	fake.event_status = status;
}

int sandbox_thread(pthread_t *thread, const struct sandbox_thread *what)
{
	return -pthread_create(thread, NULL, what->run, what->arg);
}

void tune_io_thread(void)
{
}

static bool fake_sandboxed;	/* and so without io_uring */

bool sandbox_entered(void)
{
	return fake_sandboxed;
}

struct chardev *chardev_open(struct machine *m, const struct dom_chr *cfg, const char *id)
{
	if (cfg->type == CHR_NONE || fake_nr_chr == 32)
		return NULL;
	return fake_chr[fake_nr_chr++] = calloc(1, sizeof(struct chardev));
}

void chardev_close(struct chardev *chr)
{
	free(chr);
}

size_t chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	size_t n = len < sizeof(fake.tx) - fake.tx_len ? len : sizeof(fake.tx) - fake.tx_len;

	memcpy(fake.tx + fake.tx_len, buf, n);
	fake.tx_len += n;
	return len;
}

void chardev_set_rx(struct chardev *chr, size_t (*room)(void *),
		    void (*rx)(void *, const uint8_t *, size_t), void *opaque)
{
	chr->room = room;
	chr->rx = rx;
	chr->opaque = opaque;
}

void chardev_rx_ready(struct chardev *chr)
{
	chr->ready++;
}

#ifdef FAKE_CLOCK
struct loop_timer {
	void (*cb)(void *);
	void *opaque;
	uint64_t deadline;
	bool used;
};

static uint64_t fake_now = 1000000000000ULL;
static struct loop_timer fake_timer[16];

uint64_t clock_now_ns(void)
{
	return fake_now;
}

struct loop_timer *loop_add_timer(struct loop *loop, void (*cb)(void *), void *opaque)
{
	unsigned int i;

	for (i = 0; i < 16; i++) {
		if (!fake_timer[i].used) {
			fake_timer[i] = (struct loop_timer){ cb, opaque, 0, true };
			return &fake_timer[i];
		}
	}
	return NULL;
}

void loop_timer_set(struct loop_timer *t, uint64_t deadline_ns)
{
	t->deadline = deadline_ns;
}

void loop_del_timer(struct loop_timer *t)
{
	t->used = false;
	t->deadline = 0;
}

/* Let time pass; timers fire in order, at their time. */
static inline void fake_advance(uint64_t ns)
{
	uint64_t end = fake_now + ns;
	struct loop_timer *first;
	unsigned int i;

	for (;;) {
		first = NULL;
		for (i = 0; i < 16; i++) {
			struct loop_timer *t = &fake_timer[i];

			if (t->used && t->deadline && t->deadline <= end &&
			    (!first || t->deadline < first->deadline))
				first = t;
		}
		if (!first)
			break;
		if (first->deadline > fake_now)
			fake_now = first->deadline;
		first->deadline = 0;
		first->cb(first->opaque);
	}
	fake_now = end;
}
#endif

/* ram: bytes. With FAKE_CLOCK there is no loop. */
static inline void fake_machine(uint64_t ram)
{
	struct mem_backing backing = { .device_size = fdom.device_room };
	pthread_mutexattr_t attr;

	memset(&fm, 0, sizeof(fm));
	memset(&fake, 0, sizeof(fake));
	fake_nr_chr = 0;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&fm.lock, &attr);
	pthread_mutex_init(&fake.lock, NULL);
	bus_init(&fm.pio, &fm.lock);
	bus_init(&fm.mmio, &fm.lock);
	fm.dom = &fdom;
	fdom.file = (char *)"test.xml";
	fm.nr_vcpus = 1;
	fm.mem.fd = -1;
	if (ram)
		ck_assert_int_eq(guest_mem_init(&fm.mem, ram, &backing), 0);
#ifndef FAKE_CLOCK
	fm.loop = loop_new(&fm.lock);
	ck_assert_ptr_nonnull(fm.loop);
#endif
}

static inline void fake_free(void)
{
	struct device *d;

	pthread_mutex_lock(&fm.lock);
	/* Last made, first gone. */
	while (fm.devices) {
		struct device **at = &fm.devices;

		while ((*at)->next)
			at = &(*at)->next;
		d = *at;
		*at = NULL;
		d->ops->destroy(d);
	}
	pthread_mutex_unlock(&fm.lock);
#ifndef FAKE_CLOCK
	loop_free(fm.loop);
#endif
	guest_mem_fini(&fm.mem);
	bus_fini(&fm.pio);
	bus_fini(&fm.mmio);
	pthread_mutex_destroy(&fm.lock);
}

static inline void outb(uint16_t port, uint8_t v) { bus_write(&fm.pio, port, 1, v); }
static inline void outw(uint16_t port, uint16_t v) { bus_write(&fm.pio, port, 2, v); }
static inline void outl(uint16_t port, uint32_t v) { bus_write(&fm.pio, port, 4, v); }
static inline uint8_t inb(uint16_t port) { return bus_read(&fm.pio, port, 1); }
static inline uint16_t inw(uint16_t port) { return bus_read(&fm.pio, port, 2); }
static inline uint32_t inl(uint16_t port) { return bus_read(&fm.pio, port, 4); }

/* Small, fast, the same each time. */
static inline uint32_t fake_random(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x >> 16;
}

static inline int fake_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}

#endif
