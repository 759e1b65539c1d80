// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/memory.c vmm/dirty.c devices/virtio/virtqueue.c vmm/log.c */
/* The dirty log of RAM: each way that this process writes to it, the module's bits and vhost's, and how they merge. */
#include <check.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include "devices/virtio/vhost.h"
#include "devices/virtio/virtqueue.h"
#include "vmm/dirty.h"
#include "vmm/machine.h"

#define MIB	(1ULL << 20)

static struct machine m;
static uint64_t map[65536];
static uint32_t slot_flags[GUEST_MEM_MAX_REGIONS];
static int fail_slot = -1;
static bool with_vhost;
static uint64_t *vhost_map;
static uint64_t module_page = ~0ULL;	/* of slot module_slot, that the guest has written to */
static uint32_t module_slot;

int hv_set_slot(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	if ((int)slot == fail_slot && flags)
		return -ENOMEM;
	slot_flags[slot] = flags;
	return 0;
}

int hv_get_dirty(struct hv *hv, uint32_t slot, uint32_t flags, uint64_t first, uint64_t pages,
		 uint64_t *bits)
{
	ck_assert_int_eq(flags, HVX_DIRTY_CLEAR);
	ck_assert_int_eq(first % 64, 0);
	if (slot == module_slot && module_page - first < pages)
		bits[(module_page - first) / 64] |= 1ULL << module_page % 64;
	return 0;
}

int vhost_set_log(void *log)
{
	vhost_map = log;
	return 0;
}

bool vhost_present(void)
{
	return with_vhost;
}

static void setup(void)
{
	static const struct mem_backing backing;

	memset(&m, 0, sizeof(m));
	memset(map, 0, sizeof(map));
	memset(slot_flags, 0, sizeof(slot_flags));
	fail_slot = -1;
	with_vhost = false;
	module_page = ~0ULL;
	/* 5 GiB that take no room: RAM above the hole, too. */
	ck_assert_int_eq(guest_mem_init(&m.mem, 5120 * MIB, &backing), 0);
}

static void teardown(void)
{
	dirty_stop(&m);
	guest_mem_fini(&m.mem);
}

static unsigned int count(void)
{
	unsigned int n = 0;

	for (size_t i = 0; i < dirty_words(m.mem.ram_size); i++)
		n += (unsigned int)__builtin_popcountll(map[i]);
	return n;
}

/* Exactly this page of RAM, and then nothing. */
static void expect(uint64_t page)
{
	ck_assert_int_eq(dirty_sync(&m, map), 0);
	ck_assert_msg(map[page / 64] >> page % 64 & 1, "page %llu", (unsigned long long)page);
	ck_assert_uint_eq(count(), 1);
	memset(map, 0, sizeof(map));
	module_page = ~0ULL;
	ck_assert_int_eq(dirty_sync(&m, map), 0);
	ck_assert_uint_eq(count(), 0);
}

START_TEST(test_own)
{
	uint8_t buf[8192] = { 1 };

	ck_assert_int_eq(guest_write(&m.mem, 0x5000, buf, 8), 0);
	ck_assert_int_eq(dirty_start(&m), 0);
	ck_assert_int_eq(dirty_start(&m), -EALREADY);
	expect((guest_write(&m.mem, 0x7fff, buf, 1), 7));
	/* Above the hole: RAM goes on where it stopped at 3 GiB. */
	expect((guest_write(&m.mem, RAM_HIGH_START + 0x3000, buf, 1), PCI_HOLE_START / 4096 + 3));
	expect((guest_write(&m.mem, RAM_HIGH_START + m.mem.high_size - 1, buf, 1),
		m.mem.ram_size / 4096 - 1));
	guest_read(&m.mem, 0x9000, buf, 8);
	dirty_mark(buf, sizeof(buf));		/* no RAM */
	dirty_mark(m.mem.region[0].hva, 0);
	guest_write(&m.mem, 0xfff, buf, 8192);	/* three pages */
	ck_assert_int_eq(dirty_sync(&m, map), 0);
	ck_assert_uint_eq(map[0], 7);
	ck_assert_uint_eq(count(), 3);
	dirty_stop(&m);
	memset(map, 0, sizeof(map));
	guest_write(&m.mem, 0x5000, buf, 8);
	/* What was written while nobody wanted to know is forgotten. */
	ck_assert_int_eq(dirty_start(&m), 0);
	ck_assert_int_eq(dirty_sync(&m, map), 0);
	ck_assert_uint_eq(count(), 0);
}
END_TEST

START_TEST(test_module)
{
	unsigned int i;

	ck_assert_int_eq(dirty_start(&m), 0);
	for (i = 0; i < m.mem.nr; i++)
		ck_assert_uint_eq(slot_flags[i], HVX_SLOT_LOG_DIRTY);
	for (i = 0; i < m.mem.nr; i++) {
		const struct guest_region *r = &m.mem.region[i];

		module_slot = r->slot;
		module_page = 0;
		expect(r->fd_offset / 4096);
		module_page = r->size / 4096 - 1;
		expect((r->fd_offset + r->size) / 4096 - 1);
	}
	dirty_stop(&m);
	for (i = 0; i < m.mem.nr; i++)
		ck_assert_uint_eq(slot_flags[i], 0);
	/* A log that cannot be had leaves nothing behind. */
	fail_slot = 1;
	ck_assert_int_eq(dirty_start(&m), -ENOMEM);
	ck_assert(!atomic_load(&dirty_on));
	ck_assert_uint_eq(slot_flags[0], 0);
}
END_TEST

START_TEST(test_vhost)
{
	with_vhost = true;
	ck_assert_int_eq(dirty_start(&m), 0);
	ck_assert_ptr_nonnull(vhost_map);
	expect((vhost_map[0x12345 / 64] |= 1ULL << 0x12345 % 64, 0x12345));
	expect((vhost_map[(0x100000 + 70) / 64] |= 1ULL << (0x100000 + 70) % 64, 0xc0000 + 70));
	/* Where nothing is: the window of VGA, the hole. */
	vhost_map[0xa0 / 64] |= 1ULL << 0xa0 % 64;
	vhost_map[0xd0000 / 64] |= 1;
	ck_assert_int_eq(dirty_sync(&m, map), 0);
	ck_assert_uint_eq(count(), 0);
	dirty_stop(&m);
	ck_assert_ptr_null(vhost_map);
}
END_TEST

START_TEST(test_queue)
{
	const uint64_t desc = 0x10000, avail = 0x11000, used = 0x12000;
	struct vring_desc d = { .addr = 0x20000, .len = 16, .flags = VRING_DESC_F_WRITE };
	uint16_t ring[4] = { 0, 1, 0 };
	struct virtqueue vq;
	struct vq_chain c;

	guest_write(&m.mem, desc, &d, sizeof(d));
	guest_write(&m.mem, avail, ring, sizeof(ring));
	ck_assert_int_eq(vq_start(&vq, &m.mem, 16, desc, avail, used, true), 0);
	ck_assert_int_eq(dirty_start(&m), 0);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	expect((iov_write(c.in, c.nr_in, 0, "x", 1), 0x20));
	expect((iov_zero(c.in, c.nr_in, 0, 4), 0x20));
	expect((vq_push(&vq, c.head, 1), 0x12));
	expect((vq_publish(&vq), 0x12));
	expect((vq_enable_kick(&vq), 0x12));
	vq.event_idx = false;
	expect((vq_enable_kick(&vq), 0x12));
	expect((vq_disable_kick(&vq), 0x12));
	vq_stop(&vq);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dirty");
	TCase *tc = tcase_create("log");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_own);
	tcase_add_test(tc, test_module);
	tcase_add_test(tc, test_vhost);
	tcase_add_test(tc, test_queue);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
