// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/bus.c */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bus.h"

static pthread_mutex_t lock;
static struct bus bus;

/* A device that answers with its number and the offset, and remembers what it was told. */
struct chip {
	uint8_t number;
	unsigned int reads, writes, last_size;
	uint64_t last_offset, last_val;
	bool locked;
};

static uint64_t chip_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct chip *c = opaque;

	c->reads++;
	c->last_offset = offset;
	c->last_size = size;
	c->locked = pthread_mutex_trylock(&lock) == EBUSY;
	if (!c->locked)
		pthread_mutex_unlock(&lock);
	return (uint64_t)c->number << 8 | offset | 0xf00000000ULL;
}

static void chip_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct chip *c = opaque;

	c->writes++;
	c->last_offset = offset;
	c->last_size = size;
	c->last_val = val;
}

static const struct bus_ops ops = { chip_read, chip_write };
static struct chip chip[8];
static struct bus_region region[8];

static struct bus_region *at(unsigned int i, uint64_t base, uint64_t size)
{
	chip[i].number = (uint8_t)(i + 1);
	region[i] = (struct bus_region){ "chip", base, size, &ops, &chip[i], 0 };
	return &region[i];
}

static void setup(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_NORMAL);
	pthread_mutex_init(&lock, &attr);
	memset(chip, 0, sizeof(chip));
	bus_init(&bus, &lock);
}

static void teardown(void)
{
	bus_fini(&bus);
}

START_TEST(dispatch)
{
	ck_assert_int_eq(bus_add(&bus, at(0, 0x3f8, 8)), 0);
	ck_assert_int_eq(bus_add(&bus, at(1, 0x20, 2)), 0);
	ck_assert_int_eq(bus_add(&bus, at(2, 0xcf8, 8)), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x3f8, 1), 0x00);	/* size truncates */
	ck_assert_uint_eq(bus_read(&bus, 0x3fa, 2), 0x102);
	ck_assert_uint_eq(chip[0].last_offset, 2);
	ck_assert_uint_eq(chip[0].last_size, 2);
	ck_assert(chip[0].locked);
	ck_assert_uint_eq(bus_read(&bus, 0x21, 1), 0x01);
	ck_assert_uint_eq(bus_read(&bus, 0xcfc, 4), 0x304);
	bus_write(&bus, 0xcff, 1, 0xaa);
	ck_assert_uint_eq(chip[2].last_offset, 7);
	ck_assert_uint_eq(chip[2].last_val, 0xaa);
	ck_assert_uint_eq(bus_read(&bus, 0x3f8, 8), 0xf00000100ULL);
}
END_TEST

START_TEST(unclaimed)
{
	bus_add(&bus, at(0, 0x100, 0x10));
	ck_assert_uint_eq(bus_read(&bus, 0xff, 1), 0xff);
	ck_assert_uint_eq(bus_read(&bus, 0x110, 2), 0xffff);
	ck_assert_uint_eq(bus_read(&bus, 0x110, 8), ~0ULL);
	ck_assert_uint_eq(bus_read(&bus, ~0ULL, 1), 0xff);
	bus_write(&bus, 0x110, 4, 1);
	ck_assert_uint_eq(chip[0].reads + chip[0].writes, 0);
}
END_TEST

/* A wide access that is not within one region goes byte by byte, to each its own. */
START_TEST(straddling)
{
	bus_add(&bus, at(0, 0x100, 2));
	bus_add(&bus, at(1, 0x102, 1));
	ck_assert_uint_eq(bus_read(&bus, 0x101, 4), 0xffff0001U);
	ck_assert_uint_eq(chip[0].last_size, 1);
	ck_assert_uint_eq(chip[0].last_offset, 1);
	ck_assert_uint_eq(chip[1].reads, 1);
	bus_write(&bus, 0xff, 4, 0x44332211);
	ck_assert_uint_eq(chip[0].writes, 2);
	ck_assert_uint_eq(chip[0].last_val, 0x33);
	ck_assert_uint_eq(chip[1].last_val, 0x44);
	/* At the end of the address space. */
	bus_add(&bus, at(2, ~0ULL - 1, 1));
	ck_assert_uint_eq(bus_read(&bus, ~0ULL - 1, 2), 0xff00);
}
END_TEST

START_TEST(overlap)
{
	ck_assert_int_eq(bus_add(&bus, at(0, 0x100, 0x10)), 0);
	ck_assert_int_eq(bus_add(&bus, at(1, 0x10f, 1)), -EEXIST);
	ck_assert_int_eq(bus_add(&bus, at(1, 0xff, 2)), -EEXIST);
	ck_assert_int_eq(bus_add(&bus, at(1, 0x0, 0x1000)), -EEXIST);
	ck_assert_int_eq(bus_add(&bus, at(1, 0x104, 4)), -EEXIST);
	ck_assert_int_eq(bus_add(&bus, at(1, 0x110, 0)), -EINVAL);
	ck_assert_int_eq(bus_add(&bus, at(1, ~0ULL, 2)), -EINVAL);
	ck_assert_int_eq(bus_add(&bus, at(1, 0x110, 1)), 0);
	ck_assert_int_eq(bus_add(&bus, at(2, 0xff, 1)), 0);
	bus_remove(&bus, &region[0]);
	ck_assert_uint_eq(bus_read(&bus, 0x100, 1), 0xff);
	ck_assert_uint_eq(bus_read(&bus, 0x110, 1), 0x00);
	bus_remove(&bus, &region[0]);	/* not there: nothing happens */
	ck_assert_int_eq(bus_add(&bus, &region[0]), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x10f, 2), 0x000f);
}
END_TEST

START_TEST(full)
{
	static struct bus_region many[BUS_MAX_REGIONS + 1];
	unsigned int i;

	for (i = 0; i <= BUS_MAX_REGIONS; i++) {
		many[i] = (struct bus_region){ "r", i * 16, 16, &ops, &chip[0], 0 };
		ck_assert_int_eq(bus_add(&bus, &many[i]), i < BUS_MAX_REGIONS ? 0 : -ENOSPC);
	}
	for (i = 0; i < BUS_MAX_REGIONS; i++) {
		bus_write(&bus, i * 16 + 3, 1, 1);
		ck_assert_uint_eq(chip[0].last_offset, 3);
	}
	ck_assert_uint_eq(chip[0].writes, BUS_MAX_REGIONS);
}
END_TEST

START_TEST(nolock)
{
	struct bus_region *r = at(0, 0x100, 4);

	r->flags = BUS_NOLOCK;
	bus_add(&bus, r);
	bus_read(&bus, 0x100, 4);
	ck_assert_uint_eq(chip[0].reads, 1);
	ck_assert(!chip[0].locked);
}
END_TEST

/* Lookups while regions come and go: each finds its own, or nothing. */
static bool stop;

static void *mover(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pthread_mutex_lock(&lock);
		bus_remove(&bus, &region[0]);
		region[0].base ^= 0x1000;
		bus_add(&bus, &region[0]);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

START_TEST(moving)
{
	unsigned int i, hits = 0;
	pthread_t t;

	chip[1].number = 2;
	bus_add(&bus, at(0, 0x1000, 0x10));
	bus_add(&bus, at(1, 0x1800, 0x10));
	ck_assert_int_eq(pthread_create(&t, NULL, mover, NULL), 0);
	for (i = 0; i < 200000; i++) {
		uint64_t v = bus_read(&bus, i & 1 ? 0x1000 : 0x0, 4);

		ck_assert(v == 0xffffffff || v == 0x100);
		hits += v == 0x100;
		ck_assert_uint_eq(bus_read(&bus, 0x1804, 4), 0x204);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	ck_assert_uint_gt(hits, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bus");
	TCase *t = tcase_create("bus");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, dispatch);
	tcase_add_test(t, unclaimed);
	tcase_add_test(t, straddling);
	tcase_add_test(t, overlap);
	tcase_add_test(t, full);
	tcase_add_test(t, nolock);
	tcase_add_test(t, moving);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
