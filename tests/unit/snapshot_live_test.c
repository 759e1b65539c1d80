// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/cgroup.c vmm/stream.c vmm/state.c devices/device.c devices/storage/image.c devices/storage/overlay*.c devices/net/tap.c devices/net/user.c vmm/helper.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/sandbox.c vmm/log.c vmm/logfile.c cli/[!m]*.c vmm/domxml*.c vmm/config.c vmm/hvxapi.c vmm/hv_*.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c vmm/qmp_frame.c */
/*
 * Snapshots of a guest that runs, whose files are merged under it; and on a file system that
 * is really full. Every merge is killed at each of its steps.
 */
#include "snapshot_fixture.h"

/* ----------------------------------------------------------- a guest that runs */

/* What the guest sees, whatever has been done to the files. */
static void seen(const struct image img[2], char out[64])
{
	static uint8_t buf[SIZE];

	memset(out, 0, 64);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(overlay_read(img[i].overlay, buf, SIZE, 0), 0);
		add_sum(buf, i, out);
	}
}

static void write_live(const struct image img[2], unsigned int block, int value)
{
	uint8_t page[4096];

	memset(page, value, sizeof(page));
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(pwrite_full(img[i].overlay->fd, page, sizeof(page), img[i].overlay->data + block * 4096ULL), 0);
		overlay_commit(img[i].overlay, block * 4096ULL, sizeof(page));
	}
}

static struct image *live;	/* the disks of the guest that runs */

/* As its VMM does for who merges into its images. */
static void let_write(struct image img[2])
{
	char why[1024] = "";

	for (unsigned int i = 0; live_serve && i < 2; i++) {
		int ro = open(disk[i], O_RDONLY), fd = open(disk[i], O_RDWR);

		ck_assert_int_eq(nbd_disk_merge(img[i].served, ro, why, sizeof(why)), -EIO);
		ck_assert_ptr_nonnull(strstr(why, "open for writing"));
		ck_assert_int_eq(nbd_disk_write(img[i].served, "x", 1, 0), -EIO);
		ck_assert_msg(!nbd_disk_merge(img[i].served, fd, why, sizeof(why)), "%s", why);
		close(fd);
		close(ro);
	}
	live = img;
}

static struct nbd_disk *serve_live(const struct snap_disk *d, void *opaque)
{
	(void)opaque;
	return nbd_disk_on(nbd_disk_hand_out(live[!strcmp(d->file, disk[1])].served), d->file);
}

/* As its VMM does when it is told; how many files lie on each other then. */
static unsigned int relink(struct image img[2])
{
	uint8_t keep[OVERLAY_DEPTH][OVERLAY_ID] = { 0 };
	struct snap_tree *t = tree();
	unsigned int n = 0;

	for (unsigned int i = 0; i < 2; i++) {
		struct snap_disk *d = snap_disk(t, disk[i]);
		struct snap_layer *l = snap_layer(d, d->active);

		for (n = 0; l->layer; l = snap_layer(d, l->below), n++)
			for (int k = 0; k < 8; k++)
				sscanf(l->id + 2 * k, "%2hhx", &keep[n][k]);
		if (live_serve)
			ck_assert_int_eq(nbd_disk_merged(img[i].served), 0);
		ck_assert_int_eq(overlay_relink(img[i].overlay, (const uint8_t (*)[OVERLAY_ID])keep, n), 0);
	}
	snap_close(t);
	return n;
}

/* Files that nobody needs, on each other, under what the guest writes to. */
static void live_scene(void)
{
	static const char *const gone[] = { "a", "b", "d", "new" };
	struct snap_tree *t;

	three_in_a_row();
	ck_assert_int_eq(take("d"), 0);
	guest_writes(310, 30, 5);
	ck_assert_int_eq(take("new"), 0);
	guest_writes(5, 50, 6);
	t = tree();
	for (int i = 0; i < 4; i++)
		snap_remove(t, snap_find(t, gone[i]));
	ck_assert_int_eq(snap_commit(t), 0);
	ck_assert_int_eq(snap_recover(t, true), 0);
	snap_close(t);
}

/* With a guest that has all files open, the process that merges them is stopped at a step. True: it came to its end. */
static bool merge_under(const char *var, unsigned int step, const char *before)
{
	struct image img[2];
	char got[64], after[64];
	struct snap_tree *t;
	bool ended;

	start_over();
	t = tree();
	open_disk(t, 0, &img[0]);
	open_disk(t, 1, &img[1]);
	snap_close(t);
	seen(img, got);
	ck_assert_str_eq(got, before);
	let_write(img);
	ended = attempt(LIVE_OP, var, step);
	seen(img, got);
	ck_assert_msg(!strcmp(got, before), "step %u: the guest sees something else", step);
	/* The guest goes on, and is told of what there is; then it is done whole. */
	write_live(img, 120 + step, 9);
	seen(img, after);
	relink(img);
	seen(img, got);
	ck_assert_msg(!strcmp(got, after), "step %u: the guest sees something else when it is told", step);
	let_write(img);
	ck_assert_int_eq(merge_live(NULL), 0);
	seen(img, got);
	ck_assert_str_eq(got, after);
	ck_assert_uint_eq(relink(img), served && !live_serve ? 3 : 2);
	seen(img, got);
	ck_assert_str_eq(got, after);
	write_live(img, 300, 10);
	seen(img, after);
	image_close(&img[0]);
	image_close(&img[1]);
	t = tree();
	memset(got, 0, sizeof(got));
	digest(t, got);
	ck_assert_msg(!strcmp(got, after), "step %u: what it wrote is not there", step);
	snap_close(t);
	return ended;
}

static void merge_at_each_step(unsigned int stride)
{
	struct view first, got;
	struct snap_tree *t;
	unsigned int step;

	live_scene();
	t = tree();
	memset(&first, 0, sizeof(first));
	memset(&got, 0, sizeof(got));
	digest(t, first.now);
	digest_of(t, snap_find(t, "c"), first.snap[2]);
	snap_close(t);
	keep_scene();
	for (step = 1; step < 100; step += stride) {
		bool ended = merge_under("HVX_TEST_KILL_AT", step, first.now);

		merge_under("HVX_TEST_FULL_AT", step, first.now);
		t = tree();
		ck_assert_uint_eq(t->nr_snaps, 1);
		memset(&got, 0, sizeof(got));
		digest_of(t, snap_find(t, "c"), got.snap[2]);
		ck_assert_str_eq(got.snap[2], first.snap[2]);
		snap_close(t);
		if (ended)
			break;
	}
	ck_assert_uint_gt(step, 5);
	run("rm -rf '%s.scene'", dir);
}

START_TEST(merged_live)
{
	merge_at_each_step(1);
}
END_TEST

/* Its image is the VMM's: the layers on it are merged, and where the VMM lets it be written to those into it. */
START_TEST(merged_live_served)
{
	live_serve = _i ? serve_live : NULL;
	merge_at_each_step(_i ? 9 : 6);
}
END_TEST

/* ------------------------------------------------------ a disk that is really full */

/* dir becomes a file system of its own, seen by this process alone. False: not allowed here. */
static bool small_disk(void)
{
	char map[32];
	unsigned int uid = getuid(), gid = getgid();
	FILE *f;

	if (uid && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return false;
	if (!uid && unshare(CLONE_NEWNS))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (uid && (f = fopen("/proc/self/uid_map", "w"))) {
		fputs(map, f);
		fclose(f);
	}
	if (uid && (f = fopen("/proc/self/setgroups", "w"))) {
		fputs("deny", f);
		fclose(f);
	}
	snprintf(map, sizeof(map), "0 %u 1", gid);
	if (uid && (f = fopen("/proc/self/gid_map", "w"))) {
		fputs(map, f);
		fclose(f);
	}
	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) && !mount("none", "/var/tmp", "tmpfs", 0, "size=64M");
}

/* Files that were removed and that a daemon was confined to (Landlock) go only some time after it. */
static void wait_removed(void)
{
	unsigned long long used, there;
	struct statvfs v;
	FILE *f;

	do {
		f = popen("du -s --block-size=1 /var/tmp", "r");
		ck_assert_int_eq(fscanf(f, "%llu", &there), 1);
		pclose(f);
		ck_assert_int_eq(statvfs(dir, &v), 0);
		used = (unsigned long long)(v.f_blocks - v.f_bfree) * v.f_bsize;
	} while (used > there && !usleep(2000));
}

/* The room that is left: so many KiB. */
static void leave_room(unsigned int kib)
{
	char path[160];
	struct statvfs v;
	int fd;

	wait_removed();
	snprintf(path, sizeof(path), "%s/.filler", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_eq(statvfs(dir, &v), 0);
	ck_assert_int_eq(fallocate(fd, 0, 0, (off_t)(v.f_bavail * v.f_bsize - kib * 1024ULL)), 0);
	close(fd);
}

/*
 * Whatever the room is, an operation is done or not, and the next command, with the disk as
 * full, loses nothing either. With room once more, it can be done.
 */
static void with_little_room(int op)
{
	struct trial t;
	char path[160];

	if (!small_disk()) {
		fprintf(stderr, "skipped: no file system of its own for a test: %s\n", strerror(errno));
		return;
	}
	setup_in("/var/tmp", false);
	trial_begin(&t, op);
	snprintf(path, sizeof(path), "%s/.filler", dir);
	for (unsigned int kib = 0; kib < 8192; kib = kib < 16 ? kib + 4 : kib * 2) {
		start_over();
		leave_room(kib);
		attempt(op, "HVX_TEST_NOTHING", 0);
		attempt(op, "HVX_TEST_RECOVER", 0);
		ck_assert_int_eq(unlink(path), 0);
		trial_check(&t, kib, "KiB left");
	}
	trial_end(&t);
}

static const int growing[] = { 0, 1, 4, 6 };	/* of ops: those that need room */

START_TEST(full_disk)
{
	with_little_room(growing[_i]);
}
END_TEST

START_TEST(full_disk_served)
{
	served = true;
	with_little_room(merges[_i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snapshot_live");
	TCase *t = tcase_create("live");
	SRunner *r;
	int failed;

	place_helper();
	tcase_set_timeout(t, 600);	/* a guard against hangs */
	tcase_add_checked_fixture(t, setup_fast, teardown);
	tcase_add_test(t, merged_live);
	suite_add_tcase(s, t);
	if (can_serve()) {
		t = tcase_create("other formats");
		tcase_set_timeout(t, 600);	/* a guard against hangs */
		tcase_add_checked_fixture(t, setup_served, teardown);
		tcase_add_loop_test(t, merged_live_served, 0, 2);
		suite_add_tcase(s, t);
	}
	t = tcase_create("full disk");
	tcase_set_timeout(t, 600);	/* a guard against hangs */
	tcase_add_loop_test(t, full_disk, 0, sizeof(growing) / sizeof(growing[0]));
	if (can_serve())
		tcase_add_loop_test(t, full_disk_served, 0, sizeof(merges) / sizeof(merges[0]));
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
