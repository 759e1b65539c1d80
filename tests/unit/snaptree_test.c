// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/snaptree.c */
/* Who cannot have the lock of a guest's snapshots does not go on without it. */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/rundir.h"
#include "cli/savefile.h"
#include "cli/snaptree.h"
#include "devices/storage/foreign.h"

static char dir[] = "/tmp/hvx-snaptree.XXXXXX", said[512];
static int errors[2];		/* of flock(), the first of them first; 0: it works */
static unsigned int calls;

int flock(int fd, int operation)
{
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(operation, LOCK_EX);
	ck_assert_uint_lt(calls, 2);
	errno = errors[calls++];
	return errno ? -1 : 0;
}

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
}

bool guest_name_ok(const char *name) { return *name; }
const char *foreign_name(enum disk_format format) { return format ? "qcow2" : "raw"; }

bool foreign_format(const char *name, enum disk_format *format)
{
	*format = DISK_RAW;
	return *name;
}

int savefile_begin(struct savefile *f, const char *path) { return f && path ? -1 : 0; }
int savefile_commit(struct savefile *f) { return f ? -1 : 0; }
void savefile_abort(struct savefile *f) { f->fd = -1; }

START_TEST(lock)
{
	static const int error[][2] = { { 0, 0 }, { EINTR, 0 }, { ENOLCK, 0 }, { EINTR, EBADF } };
	struct snap_tree *t;

	memcpy(errors, error[_i], sizeof(errors));
	t = snap_open("guest", true);
	if (_i < 2) {
		ck_assert_ptr_nonnull(t);
		ck_assert_int_ge(t->lock, 0);
		ck_assert_uint_eq(calls, (unsigned int)_i + 1);
		snap_close(t);
		return;
	}
	ck_assert_ptr_null(t);
	ck_assert_msg(strstr(said, strerror(_i == 2 ? ENOLCK : EBADF)), "%s", said);
}
END_TEST

static void begin(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("HVX_STATE_DIR", dir, 1);
}

static void end(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

int main(void)
{
	Suite *s = suite_create("snaptree");
	TCase *t = tcase_create("snaptree");
	SRunner *sr;
	int failed;

	tcase_add_unchecked_fixture(t, begin, end);
	tcase_add_loop_test(t, lock, 0, 4);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
