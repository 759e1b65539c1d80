// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/storage/overlay.c vmm/unnamed.c */
/* Writes to an overlay that meet in one block: nothing that either wrote is lost. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>
#include "devices/storage/nbd_disk.h"
#include "devices/storage/overlay.h"
#include "vmm/fileio.h"

#define BLOCKS	8U
#define SIZE	(BLOCKS * OVERLAY_BLOCK)
#define SECTOR	512U

static struct overlay *o;
/* The lower layer says that somebody reads, and answers when it may. */
static struct {
	bool slow;
	sem_t reads, may;
	int err;
} below;

int nbd_disk_read(struct nbd_disk *d, void *buf, uint64_t len, uint64_t offset)
{
	(void)d;
	(void)offset;
	if (below.slow) {
		sem_post(&below.reads);
		sem_wait(&below.may);
	}
	memset(buf, 'b', len);
	return below.err;
}

static void setup(void)
{
	memset(&below, 0, sizeof(below));
	sem_init(&below.reads, 0, 0);
	sem_init(&below.may, 0, 0);
	o = overlay_new("/var/tmp", AIO_SERVED, SIZE);
	ck_assert_ptr_nonnull(o);
}

static void teardown(void)
{
	ck_assert_ptr_null(o->claims);
	overlay_free(o);
}

static void put(uint64_t at, uint64_t len, char c)
{
	char buf[SIZE];

	memset(buf, c, len);
	ck_assert_int_eq(pwrite_full(o->fd, buf, len, at), 0);
}

static void put_all(uint64_t at, uint64_t len, char c)
{
	struct overlay_claim *claim;

	ck_assert_int_eq(overlay_begin(o, at, len, true, &claim), 0);
	put(at, len, c);
	overlay_end(o, claim, true);
}

/* The sectors from the first on: one letter each. */
static void shows(uint64_t at, const char *sectors)
{
	char buf[SIZE];
	size_t n = strlen(sectors);

	ck_assert_int_eq(overlay_read(o, buf, n * SECTOR, at), 0);
	for (size_t i = 0; i < n * SECTOR; i++)
		if (buf[i] != sectors[i / SECTOR])
			ck_abort_msg("byte %zu is %c, not %c", i, buf[i], sectors[i / SECTOR]);
}

/* Of the whole block, its data are in the file already, its bit is not set. */
START_TEST(whole_then_part)
{
	struct overlay_claim *whole, *part;
	int ret;

	ck_assert_int_eq(overlay_begin(o, OVERLAY_BLOCK, OVERLAY_BLOCK, false, &whole), 0);
	put(OVERLAY_BLOCK, OVERLAY_BLOCK, 'w');
	ret = overlay_begin(o, OVERLAY_BLOCK + SECTOR, SECTOR, false, &part);
	overlay_end(o, whole, true);
	shows(OVERLAY_BLOCK, "wwwwwwww");
	ck_assert_int_eq(ret, -EAGAIN);
	put_all(OVERLAY_BLOCK + SECTOR, SECTOR, 'p');
	shows(OVERLAY_BLOCK, "wpwwwwww");
}
END_TEST

static void *write_part(void *opaque)
{
	(void)opaque;
	put_all(OVERLAY_BLOCK, SECTOR, 'p');
	return NULL;
}

static void *write_whole(void *opaque)
{
	(void)opaque;
	put_all(OVERLAY_BLOCK, OVERLAY_BLOCK, 'w');
	return NULL;
}

/* What is below the block has been asked for, and comes when the whole block could be there. */
START_TEST(part_then_whole)
{
	struct overlay_claim *whole;
	pthread_t part, waits;
	int ret;

	below.slow = true;
	pthread_create(&part, NULL, write_part, NULL);
	sem_wait(&below.reads);
	ret = overlay_begin(o, 0, 2 * OVERLAY_BLOCK, false, &whole);
	if (!ret) {
		put(0, 2 * OVERLAY_BLOCK, 'w');
		overlay_end(o, whole, true);
	}
	/* Others are nobody's business. */
	ck_assert_int_eq(overlay_begin(o, 2 * OVERLAY_BLOCK, OVERLAY_BLOCK, false, &whole), 0);
	overlay_end(o, whole, false);
	ck_assert(!overlay_has(o, 2));
	if (ret)
		pthread_create(&waits, NULL, write_whole, NULL);
	sem_post(&below.may);
	pthread_join(part, NULL);
	if (ret)
		pthread_join(waits, NULL);
	below.slow = false;
	shows(OVERLAY_BLOCK + SECTOR, "wwwwwww");
	ck_assert_int_eq(ret, -EAGAIN);
}
END_TEST

/* Ends: filled, and then free for who has the rest of the block. */
START_TEST(neighbours)
{
	struct overlay_claim *a, *b, *c;

	ck_assert_int_eq(overlay_begin(o, SECTOR, 2 * OVERLAY_BLOCK, false, &a), 0);
	ck_assert(overlay_has(o, 0) && !overlay_has(o, 1) && overlay_has(o, 2));
	ck_assert_uint_eq(a->first, 1);
	ck_assert_uint_eq(a->last, 1);
	ck_assert_int_eq(overlay_begin(o, 2 * OVERLAY_BLOCK + SECTOR, 2 * OVERLAY_BLOCK, false, &b), 0);
	/* Within blocks that are there: no claim at all. */
	ck_assert_int_eq(overlay_begin(o, 0, SECTOR, false, &c), 0);
	ck_assert_ptr_null(c);
	overlay_end(o, c, true);
	put(SECTOR, 2 * OVERLAY_BLOCK, 'a');
	put(2 * OVERLAY_BLOCK + SECTOR, 2 * OVERLAY_BLOCK, 'n');
	overlay_end(o, b, true);
	overlay_end(o, a, true);
	shows(0, "baaaaaaaaaaaaaaaannnnnnnnnnnnnnnnbbbbbbb");
}
END_TEST

/* What fails leaves no claim, and nothing in the overlay. */
START_TEST(fails)
{
	struct overlay_claim *claim;

	below.err = -EIO;
	ck_assert_int_eq(overlay_begin(o, SECTOR, SECTOR, false, &claim), -EIO);
	ck_assert_ptr_null(claim);
	ck_assert(!overlay_has(o, 0));
	below.err = 0;
	ck_assert_int_eq(overlay_begin(o, 0, OVERLAY_BLOCK, false, &claim), 0);
	put(0, OVERLAY_BLOCK, 'x');
	overlay_end(o, claim, false);
	shows(0, "bbbbbbbb");
	put_all(SECTOR, SECTOR, 'p');
	shows(0, "bpbbbbbb");
}
END_TEST

/* Whole blocks by one, a sector of each by another, at the same time. */
static void *all_whole(void *opaque)
{
	(void)opaque;
	for (unsigned int i = 0; i < BLOCKS; i++)
		put_all(i * OVERLAY_BLOCK, OVERLAY_BLOCK, 'w');
	return NULL;
}

static void *all_parts(void *opaque)
{
	(void)opaque;
	for (unsigned int i = 0; i < BLOCKS; i++)
		put_all(i * OVERLAY_BLOCK + 3 * SECTOR, SECTOR, 'w');
	return NULL;
}

START_TEST(at_once)
{
	pthread_t a, b;

	for (unsigned int round = 0; round < 500; round++) {
		pthread_create(&a, NULL, all_whole, NULL);
		pthread_create(&b, NULL, all_parts, NULL);
		pthread_join(a, NULL);
		pthread_join(b, NULL);
		for (unsigned int i = 0; i < BLOCKS; i++)
			shows(i * OVERLAY_BLOCK, "wwwwwwww");
		teardown();
		o = overlay_new("/var/tmp", AIO_SERVED, SIZE);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("overlay");
	TCase *tc = tcase_create("writes");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, whole_then_part);
	tcase_add_test(tc, part_then_whole);
	tcase_add_test(tc, neighbours);
	tcase_add_test(tc, fails);
	tcase_add_test(tc, at_once);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
