/* SPDX-License-Identifier: GPL-2.0-only */
/* A disk that another process serves, a folder for it, and the requests of one thread. */
#ifndef HVX_TESTS_FOREIGN_FIXTURE_H
#define HVX_TESTS_FOREIGN_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "devices/storage/aio.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "vmm/log.h"

#define SIZE	(8U << 20)
#define OPS	24

bool sandbox_entered(void)
{
	return false;
}

static char dir[] = "/var/tmp/hvx-foreign-XXXXXX";

static inline void make_dir(void)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void remove_dir(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

/* --------------------------------------------------- a disk, with a thread's requests */

static struct {
	struct dom_disk cfg;
	struct image img;
	struct loop *loop;
	struct aio *aio;
	unsigned int left;
	int err[OPS];
	struct aio_op op[OPS];
	struct iovec iov[OPS][4];
	uint8_t *model, *data;
	char *file;
} t;

static inline void idle(void *opaque)
{
	(void)opaque;
}

static inline void done(struct aio_op *op, int err)
{
	t.err[op - t.op] = err;
	if (!--t.left)
		loop_stop(t.loop);
}

static inline void queue_up(void)
{
	t.loop = loop_new(NULL);
	t.aio = aio_new(t.loop, idle, NULL);
	ck_assert_ptr_nonnull(t.aio);
	ck_assert_int_eq(aio_serve_by(t.aio, t.img.served, t.loop), 0);
}

static inline void queue_down(void)
{
	aio_free(t.aio);
	loop_free(t.loop);
}

/* n operations, prepared: all are under way at once. */
static inline void run(unsigned int n)
{
	unsigned int i;

	t.left = n + 1;
	for (i = 0; i < n; i++) {
		t.err[i] = 1;
		aio_add(t.aio, &t.op[i]);
	}
	aio_kick(t.aio);
	if (--t.left)
		loop_run(t.loop);
	for (i = 0; i < n; i++)
		ck_assert_int_le(t.err[i], 0);
}

/* Data in odd pieces. */
static inline void prepare(unsigned int i, enum aio_type type, uint64_t offset, uint32_t len)
{
	uint8_t *at = t.data + offset;
	uint32_t a = len / 3, b = len / 5;

	t.iov[i][0] = (struct iovec){ at, a };
	t.iov[i][1] = (struct iovec){ at + a, 0 };
	t.iov[i][2] = (struct iovec){ at + a, b };
	t.iov[i][3] = (struct iovec){ at + a + b, len - a - b };
	t.op[i] = (struct aio_op){ .type = type, .fd = AIO_SERVED, .offset = offset, .len = len,
				   .iov = t.iov[i], .nr_iov = 4, .done = done };
	if (type == AIO_ALLOCATE)
		t.op[i].mode = FALLOC_FL_KEEP_SIZE | (i & 1 ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static inline void all_good(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		ck_assert_msg(!t.err[i], "operation %u (type %d, mode %d): %d", i, t.op[i].type, t.op[i].mode, t.err[i]);
}

static inline void setup(void)
{
	make_dir();
	memset(&t, 0, sizeof(t));
	t.model = calloc(1, SIZE);
	t.data = calloc(1, SIZE);
	t.cfg = (struct dom_disk){ .target = (char *)"vda" };
	ck_assert_int_gt(asprintf(&t.file, "%s/disk", dir), 0);
	t.cfg.file = t.file;
}

static inline void teardown(void)
{
	free(t.model);
	free(t.data);
	free(t.file);
	remove_dir();
}

/* main(): each case with a disk of its own. */
static inline int foreign_main(const char *name, void (*add)(TCase *tc))
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *sr;
	int failed;

	log_init("test", -2);
	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 300);	/* against hangs only */
	tcase_add_checked_fixture(tc, setup, teardown);
	add(tc);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}

#endif
