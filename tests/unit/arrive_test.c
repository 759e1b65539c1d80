// SPDX-License-Identifier: GPL-2.0-only
/* units: cli/arrive.c devices/storage/image.c devices/storage/overlay*.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/hvxapi.c vmm/hv_*.c vmm/state.c devices/device.c vmm/domxml*.c vmm/config.c vmm/unnamed.c vmm/log.c vmm/sandbox.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c */
/* Images for disks that come with a guest: there when it runs, and nothing is left where it does not. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "cli/arrive.h"
#include "cli/cli.h"
#include "devices/storage/image.h"

static char dir[64], path[3][128], said[1024], why[512];
static struct domain *dom;
static struct arriving a;

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
}

static void setup(void)
{
	static const char *const target[] = { "vda", "vdb", "vdc" };

	strcpy(dir, "/var/tmp/hvx-arrive.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	dom = calloc(1, sizeof(*dom));
	dom->nr_disks = 3;
	for (int i = 0; i < 3; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%c.img", dir, 'a' + i);
		dom->disk[i] = (struct dom_disk){ .file = strdup(path[i]), .target = strdup(target[i]) };
	}
	memset(&a, 0, sizeof(a));
}

static void teardown(void)
{
	arriving_close(&a);
	for (int i = 0; i < 3; i++)
		unlink(path[i]);
	ck_assert_int_eq(rmdir(dir), 0);	/* and nothing else is in it */
	domain_free(dom);
}

static bool empty(void)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n == 2;
}

static int open_text(const char *list, bool overwrite)
{
	struct json_object *o = json_tokener_parse(list);
	int ret = arriving_open(&a, o, dom, overwrite, why, sizeof(why));

	json_object_put(o);
	return ret;
}

#define TWO "[{\"target\":\"vda\",\"size\":1048576},{\"target\":\"vdb\",\"size\":1099511627776}]"

START_TEST(test_made)
{
	struct stat st;

	umask(0);
	ck_assert_msg(!open_text(TWO, false), "%s", why);
	ck_assert_uint_eq(a.nr, 2);
	ck_assert(empty());
	ck_assert_int_eq(arriving_find(&a, "vdb"), 1);
	ck_assert_int_eq(arriving_find(&a, "vdc"), -1);
	if (_i) {	/* the guest has not come */
		arriving_close(&a);
		ck_assert(empty());
		return;
	}
	ck_assert_msg(!arriving_name(&a), "%s", said);
	arriving_close(&a);
	ck_assert_int_eq(stat(path[1], &st), 0);
	ck_assert_int_eq(st.st_size, 1LL << 40);
	ck_assert_uint_eq(st.st_blocks, 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(path[0], &st), 0);
	ck_assert_int_eq(st.st_size, 1 << 20);
}
END_TEST

/* Somebody takes a name meanwhile: it is his, and the other image goes, too. */
START_TEST(test_name_taken)
{
	char buf[8];
	int fd;

	ck_assert_int_eq(open_text(TWO, false), 0);
	fd = open(path[1], O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_eq(write(fd, "his", 3), 3);
	close(fd);
	ck_assert_int_eq(arriving_name(&a), -1);
	ck_assert_ptr_nonnull(strstr(said, "File exists"));
	arriving_close(&a);
	ck_assert_int_eq(access(path[0], F_OK), -1);
	fd = open(path[1], O_RDONLY);
	ck_assert_int_eq(read(fd, buf, sizeof(buf)), 3);
	close(fd);
}
END_TEST

START_TEST(test_exists)
{
	int fd = open(path[0], O_RDWR | O_CREAT, 0644), other;
	struct stat st;

	ck_assert_int_eq(ftruncate(fd, 512), 0);
	ck_assert_int_eq(open_text(TWO, false), -1);
	ck_assert_msg(strstr(why, "--overwrite"), "%s", why);
	ck_assert_uint_eq(a.nr, 0);
	/* Another guest's. */
	ck_assert_int_eq(image_lock(fd, true, false), 0);
	ck_assert_int_eq(open_text(TWO, true), -1);
	ck_assert_msg(strstr(why, "in use"), "%s", why);
	image_unlock(fd);
	/* As long as it comes; and locked. */
	ck_assert_msg(!open_text(TWO, true), "%s", why);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 1 << 20);
	other = open(path[0], O_RDWR);
	ck_assert_int_eq(image_lock(other, true, false), -EAGAIN);
	close(other);
	ck_assert_int_eq(arriving_name(&a), 0);
	arriving_close(&a);
	ck_assert_int_eq(access(path[0], F_OK), 0);
	unlink(path[1]);
	/* What snapshots are made on stays as it is. */
	if (!fsetxattr(fd, IMAGE_BASE_XATTR, "web", 3, 0)) {
		ck_assert_int_eq(open_text(TWO, true), -1);
		ck_assert_msg(strstr(why, "snapshots"), "%s", why);
	}
	close(fd);
	unlink(path[0]);
	ck_assert_int_eq(mkdir(path[0], 0700), 0);
	ck_assert_int_eq(open_text(TWO, true), -1);
	ck_assert_int_eq(rmdir(path[0]), 0);
	ck_assert(empty());
}
END_TEST

/* What a stranger may send. */
START_TEST(test_lies)
{
	static const char *const bad[] = {
		"[{}]", "[1]", "[null]", "[{\"target\":\"vda\"}]", "[{\"target\":\"vda\",\"size\":0}]",
		"[{\"target\":\"vda\",\"size\":-512}]", "[{\"target\":\"vda\",\"size\":1000}]",
		"[{\"target\":\"vda\",\"size\":9223372036854775296}]",
		"[{\"target\":\"../a\",\"size\":512}]", "[{\"target\":\"\",\"size\":512}]",
		"[{\"target\":\"vdx\",\"size\":512}]", "[{\"target\":7,\"size\":512}]",
		"[{\"target\":\"vda\",\"size\":512},{\"target\":\"vda\",\"size\":512}]",
		"[{\"target\":\"vdc\",\"size\":512}]",
	};
	size_t i;

	dom->disk[2].transient = true;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(open_text(bad[i], false) == -1, "%s", bad[i]);
		ck_assert_uint_eq(a.nr, 0);
		ck_assert(empty());
	}
	ck_assert_int_eq(open_text("{\"a\":1}", false), 0);
	ck_assert_uint_eq(a.nr, 0);
	free(dom->disk[0].file);
	dom->disk[0].file = strdup("/var/tmp/hvx-no-such-folder/a.img");
	ck_assert_int_eq(open_text(TWO, false), -1);
	ck_assert_msg(strstr(why, "folder"), "%s", why);
	dom->disk[0].block = true;
	ck_assert_int_eq(open_text(TWO, false), -1);
	ck_assert_msg(strstr(why, "block device"), "%s", why);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("arrive");
	TCase *tc = tcase_create("arrive");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_made, 0, 2);
	tcase_add_test(tc, test_name_taken);
	tcase_add_test(tc, test_exists);
	tcase_add_test(tc, test_lies);
	suite_add_tcase(suite, tc);
	sr = srunner_create(suite);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
