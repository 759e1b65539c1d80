// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/virtio/virtqueue.c vmm/memory.c vmm/log.c */
/* The ring against drivers that follow the rules and drivers that do not. */
#include <check.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include "devices/virtio/virtqueue.h"

#define RAM	(8ULL << 20)
#define SIZE	16
#define DESC	0x10000ULL
#define AVAIL	0x11000ULL
#define USED	0x12000ULL
#define DATA	0x200000ULL
#define TABLE	0x300000ULL

static struct guest_mem mem;
static struct virtqueue vq;
static struct vq_chain c;
static struct vring_desc *desc, *table;
static struct vring_avail *avail;
static struct vring_used *used;

static void start(bool event_idx)
{
	ck_assert_int_eq(vq_start(&vq, &mem, SIZE, DESC, AVAIL, USED, event_idx), 0);
}

static void setup(void)
{
	static const struct mem_backing backing;

	ck_assert_int_eq(guest_mem_init(&mem, RAM, &backing), 0);
	desc = guest_ptr(&mem, DESC, 4096, true);
	avail = guest_ptr(&mem, AVAIL, 4096, true);
	used = guest_ptr(&mem, USED, 4096, true);
	table = guest_ptr(&mem, TABLE, 1 << 20, true);
	start(false);
}

static void teardown(void)
{
	vq_stop(&vq);
	guest_mem_fini(&mem);
}

static void set(struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	*d = (struct vring_desc){ addr, len, flags, next };
}

static void offer(uint16_t head)
{
	avail->ring[avail->idx % SIZE] = head;
	__atomic_store_n(&avail->idx, avail->idx + 1, __ATOMIC_RELEASE);
}

static void assert_broken(void)
{
	ck_assert_int_eq(vq_pop(&vq, &c), -EBADMSG);
	ck_assert_ptr_nonnull(vq.broken);
	ck_assert_int_eq(vq_pop(&vq, &c), -EBADMSG);	/* for good */
	ck_assert(!vq_has_avail(&vq));
	ck_assert(!vq_enable_kick(&vq));
}

START_TEST(chain)
{
	ck_assert_int_eq(vq_pop(&vq, &c), 0);
	set(&desc[3], DATA, 100, VRING_DESC_F_NEXT, 7);
	set(&desc[7], DATA + 4096, 200, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set(&desc[1], DATA + 8192, 300, VRING_DESC_F_WRITE, 0);
	offer(3);
	ck_assert(vq_has_avail(&vq));
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	ck_assert_uint_eq(c.head, 3);
	ck_assert_uint_eq(c.nr_out, 1);
	ck_assert_uint_eq(c.nr_in, 2);
	ck_assert_uint_eq(c.out_len, 100);
	ck_assert_uint_eq(c.in_len, 500);
	ck_assert_ptr_eq(c.in[1].iov_base, guest_ptr(&mem, DATA + 8192, 300, true));
	vq_push(&vq, 3, 250);
	ck_assert_uint_eq(used->idx, 0);
	ck_assert(vq_publish(&vq));
	ck_assert_uint_eq(used->idx, 1);
	ck_assert_uint_eq(used->ring[0].id, 3);
	ck_assert_uint_eq(used->ring[0].len, 250);
	ck_assert(!vq_publish(&vq));
	ck_assert_int_eq(vq_pop(&vq, &c), 0);
}
END_TEST

START_TEST(unpop)
{
	set(&desc[0], DATA, 10, 0, 0);
	offer(0);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	vq_unpop(&vq);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	ck_assert_uint_eq(c.head, 0);
}
END_TEST

START_TEST(wraps)
{
	unsigned int i;

	set(&desc[0], DATA, 10, 0, 0);
	for (i = 0; i < 70000; i++) {
		offer(0);
		ck_assert_int_eq(vq_pop(&vq, &c), 1);
		vq_push(&vq, 0, 0);
		vq_publish(&vq);
	}
	ck_assert_uint_eq(used->idx, 70000 % 65536);
}
END_TEST

START_TEST(indirect)
{
	unsigned int i;

	for (i = 0; i < 300; i++)
		set(&table[i], DATA + 16 * i, 16, VRING_DESC_F_WRITE | (i < 299 ? VRING_DESC_F_NEXT : 0), i + 1);
	set(&desc[5], DATA, 16, VRING_DESC_F_NEXT, 6);
	set(&desc[6], TABLE, 300 * 16, VRING_DESC_F_INDIRECT, 0);
	offer(5);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	ck_assert_uint_eq(c.nr_out, 1);
	ck_assert_uint_eq(c.nr_in, 300);
	ck_assert_uint_eq(c.in_len, 4800);
}
END_TEST

START_TEST(across_regions)
{
	/* 0xa0000 ends the first region of RAM. */
	set(&desc[0], 0xa0000 - 8, 8, 0, 0);
	offer(0);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	set(&desc[0], 0xa0000 - 8, 9, 0, 0);
	offer(0);
	assert_broken();
}
END_TEST

static const struct {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
} bad_desc[] = {
	{ DATA, 0, 0, 0 },					/* no length */
	{ RAM, 16, 0, 0 },					/* outside */
	{ RAM - 8, 16, 0, 0 },					/* partly outside */
	{ ~0ULL - 8, 16, 0, 0 },				/* wraps */
	{ DATA, 0xffffffff, VRING_DESC_F_WRITE, 0 },		/* huge */
	{ 0xb0000, 16, 0, 0 },					/* the hole */
	{ DATA, 16, VRING_DESC_F_NEXT, 0 },			/* a loop to itself */
	{ DATA, 16, VRING_DESC_F_NEXT, SIZE },			/* next beyond the table */
	{ DATA, 16, VRING_DESC_F_NEXT, 0xffff },
	{ TABLE, 0, VRING_DESC_F_INDIRECT, 0 },			/* empty table */
	{ TABLE, 17, VRING_DESC_F_INDIRECT, 0 },		/* half a descriptor */
	{ TABLE, 16 * 1025, VRING_DESC_F_INDIRECT, 0 },		/* too long */
	{ TABLE, 0xfffffff0, VRING_DESC_F_INDIRECT, 0 },
	{ RAM - 16, 32, VRING_DESC_F_INDIRECT, 0 },		/* table outside */
	{ TABLE, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 },
};

START_TEST(bad_descriptors)
{
	set(&desc[0], bad_desc[_i].addr, bad_desc[_i].len, bad_desc[_i].flags, bad_desc[_i].next);
	set(&table[0], DATA, 16, 0, 0);
	offer(0);
	assert_broken();
}
END_TEST

START_TEST(bad_head)
{
	offer(_i ? 0xffff : SIZE);
	assert_broken();
}
END_TEST

START_TEST(index_jumps)
{
	avail->idx = SIZE + 1 + _i * 40000;
	assert_broken();
}
END_TEST

/* No more in the device's hands than there are descriptors: a driver could have it hoard them without end. */
START_TEST(in_flight)
{
	unsigned int i;

	for (i = 0; i < SIZE; i++) {
		set(&desc[i], DATA, 16, 0, 0);
		offer(i);
		ck_assert_int_eq(vq_pop(&vq, &c), 1);
	}
	vq_push(&vq, 3, 0);
	offer(3);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	vq_unpop(&vq);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	offer(4);
	assert_broken();
}
END_TEST

START_TEST(long_loop)
{
	unsigned int i;

	for (i = 0; i < SIZE; i++)
		set(&desc[i], DATA, 16, VRING_DESC_F_NEXT, (i + 1) % SIZE);
	offer(2);
	assert_broken();
}
END_TEST

START_TEST(nested_indirect)
{
	set(&desc[0], TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	set(&table[0], TABLE + 64, 16, VRING_DESC_F_INDIRECT, 0);
	set(&table[4], DATA, 16, 0, 0);
	offer(0);
	assert_broken();
}
END_TEST

START_TEST(indirect_loop)
{
	set(&desc[0], TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	set(&table[0], DATA, 1, VRING_DESC_F_NEXT, 1);
	set(&table[1], DATA, 1, VRING_DESC_F_NEXT, 0);
	offer(0);
	assert_broken();
}
END_TEST

START_TEST(indirect_next_out)
{
	set(&desc[0], TABLE, 32, VRING_DESC_F_INDIRECT, 0);
	set(&table[0], DATA, 1, VRING_DESC_F_NEXT, 2);
	set(&table[2], DATA, 1, 0, 0);
	offer(0);
	assert_broken();
}
END_TEST

START_TEST(read_after_write)
{
	set(&desc[0], DATA, 16, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set(&desc[1], DATA, 16, 0, 0);
	offer(0);
	assert_broken();
}
END_TEST

/* The same megabytes named often enough make more than 4 GiB. */
START_TEST(too_many_bytes)
{
	unsigned int i;

	for (i = 0; i < 1024; i++)
		set(&table[i], 0x100000, 7 << 20, i < 1023 ? VRING_DESC_F_NEXT : 0, i + 1);
	set(&desc[0], TABLE, 1024 * 16, VRING_DESC_F_INDIRECT, 0);
	offer(0);
	assert_broken();
}
END_TEST

START_TEST(bad_rings)
{
	struct virtqueue q;

	ck_assert_int_eq(vq_start(&q, &mem, 0, DESC, AVAIL, USED, false), -EINVAL);
	ck_assert_int_eq(vq_start(&q, &mem, 3, DESC, AVAIL, USED, false), -EINVAL);
	ck_assert_int_eq(vq_start(&q, &mem, 2048, DESC, AVAIL, USED, false), -EINVAL);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, DESC + 8, AVAIL, USED, false), -EINVAL);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, DESC, AVAIL + 1, USED, false), -EINVAL);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, DESC, AVAIL, USED + 2, false), -EINVAL);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, RAM, AVAIL, USED, false), -EFAULT);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, DESC, RAM - 16, USED, false), -EFAULT);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, DESC, AVAIL, ~0ULL - 3, false), -EFAULT);
	ck_assert_int_eq(vq_start(&q, &mem, SIZE, DESC, AVAIL, 0xa0000 - 8, false), -EFAULT);
}
END_TEST

START_TEST(suppression_by_flag)
{
	set(&desc[0], DATA, 10, 0, 0);
	vq_disable_kick(&vq);
	ck_assert_uint_eq(used->flags, VRING_USED_F_NO_NOTIFY);
	offer(0);
	ck_assert(vq_enable_kick(&vq));		/* came while asleep */
	ck_assert_uint_eq(used->flags, 0);
	ck_assert_int_eq(vq_pop(&vq, &c), 1);
	avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	vq_push(&vq, 0, 0);
	ck_assert(!vq_publish(&vq));
	ck_assert(!vq_enable_kick(&vq));
}
END_TEST

START_TEST(suppression_by_index)
{
	uint16_t *used_event = &avail->ring[SIZE];
	uint16_t *avail_event = (uint16_t *)&used->ring[SIZE];
	unsigned int i;

	vq_stop(&vq);
	start(true);
	set(&desc[0], DATA, 10, 0, 0);
	for (i = 0; i < 4; i++)
		offer(0);
	*used_event = 2;
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(vq_pop(&vq, &c), 1);
		vq_push(&vq, 0, 0);
		ck_assert_int_eq(vq_publish(&vq), i == 2);
	}
	ck_assert(!vq_enable_kick(&vq));
	ck_assert_uint_eq(*avail_event, 4);
	/* Several at once pass the wanted index in between. */
	*used_event = 5;
	for (i = 0; i < 4; i++) {
		offer(0);
		ck_assert_int_eq(vq_pop(&vq, &c), 1);
		vq_push(&vq, 0, 0);
	}
	ck_assert(vq_publish(&vq));
}
END_TEST

START_TEST(iovecs)
{
	char a[] = "abc", b[] = "defgh", d[] = "ij", out[16] = { 0 };
	struct iovec iov[3] = { { a, 3 }, { b, 5 }, { d, 2 } }, *v = iov;

	ck_assert_uint_eq(iov_size(iov, 3), 10);
	ck_assert_uint_eq(iov_read(iov, 3, 2, out, 4), 4);
	ck_assert_str_eq(out, "cdef");
	ck_assert_uint_eq(iov_read(iov, 3, 8, out, 10), 2);
	ck_assert_uint_eq(iov_read(iov, 3, 10, out, 10), 0);
	ck_assert_uint_eq(iov_read(iov, 3, 1000, out, 10), 0);
	ck_assert_uint_eq(iov_write(iov, 3, 2, "XYZ", 3), 3);
	ck_assert_str_eq(a, "abX");
	ck_assert_str_eq(b, "YZfgh");
	ck_assert_uint_eq(iov_zero(iov, 3, 9, 5), 1);
	ck_assert_int_eq(d[1], 0);
	ck_assert_uint_eq(iov_slice(&v, 3, 4, 4), 1);
	ck_assert_ptr_eq(v->iov_base, b + 1);
	ck_assert_uint_eq(v->iov_len, 4);
	v = iov;
	ck_assert_uint_eq(iov_slice(&v, 1, 100, 4), 0);
	ck_assert_uint_eq(iov_slice(&v, 0, 0, 4), 0);
}
END_TEST

/* Random rings: every pop ends, and what it gives lies in RAM (ASan watches). */
START_TEST(random_rings)
{
	unsigned int round, i, popped = 0;
	uint64_t x = 12345;

	for (round = 0; round < 20000; round++) {
		for (i = 0; i < SIZE; i++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			set(&desc[i], x >> 33 & (x & 1 ? 0x7fffff : 0xffffff), x >> 20 & 0xfff,
			    x >> 50 & 7, x >> 45 & (x & 2 ? 15 : 31));
			set(&table[i], x >> 30 & 0x7fffff, x >> 21 & 0xfff, x >> 51 & 3, x >> 44 & 15);
		}
		if (round & 1)
			set(&desc[0], TABLE, 16 * (1 + round % SIZE), VRING_DESC_F_INDIRECT, 0);
		offer(round & 1 ? 0 : x >> 60);
		while (vq_pop(&vq, &c) == 1) {
			uint8_t byte;

			popped++;
			ck_assert_uint_eq(iov_size(c.out, c.nr_out), c.out_len);
			ck_assert_uint_eq(iov_size(c.in, c.nr_in), c.in_len);
			for (i = 0; i < c.nr_out; i++)
				iov_read(c.out, c.nr_out, c.out_len - 1, &byte, 1);
			vq_push(&vq, c.head, 0);
			vq_publish(&vq);
		}
		if (vq.broken) {
			vq_stop(&vq);
			avail->idx = 0;
			start(round & 2);
		}
	}
	ck_assert_uint_gt(popped, 100);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtqueue");
	TCase *t = tcase_create("virtqueue");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, chain);
	tcase_add_test(t, unpop);
	tcase_add_test(t, wraps);
	tcase_add_test(t, indirect);
	tcase_add_test(t, across_regions);
	tcase_add_loop_test(t, bad_descriptors, 0, sizeof(bad_desc) / sizeof(bad_desc[0]));
	tcase_add_loop_test(t, bad_head, 0, 2);
	tcase_add_loop_test(t, index_jumps, 0, 2);
	tcase_add_test(t, in_flight);
	tcase_add_test(t, long_loop);
	tcase_add_test(t, nested_indirect);
	tcase_add_test(t, indirect_loop);
	tcase_add_test(t, indirect_next_out);
	tcase_add_test(t, read_after_write);
	tcase_add_test(t, too_many_bytes);
	tcase_add_test(t, bad_rings);
	tcase_add_test(t, suppression_by_flag);
	tcase_add_test(t, suppression_by_index);
	tcase_add_test(t, iovecs);
	tcase_add_test(t, random_rings);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
