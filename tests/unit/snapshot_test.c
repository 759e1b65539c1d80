// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/cgroup.c vmm/stream.c vmm/state.c devices/device.c devices/storage/image.c devices/storage/overlay*.c devices/net/tap.c devices/net/user.c vmm/helper.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/sandbox.c vmm/log.c vmm/logfile.c cli/[!m]*.c vmm/domxml*.c vmm/config.c vmm/hvxapi.c vmm/hv_*.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c vmm/qmp_frame.c */
/*
 * Snapshots of a guest that is off. A disk has one byte value a block, so that what
 * each snapshot must show is a short text. Every operation is killed, and finds the
 * disk full, at each of its steps; then all must be as before it or as after it.
 */
#include "snapshot_fixture.h"

/* ---------------------------------------------------------------------- tests */

/* a - b - c, and d on a. Then b goes, then a, then all. */
START_TEST(life)
{
	char a[64], b[64], c[64], d[64], now[64], got[64];
	struct snap_tree *t;

	guest_writes(0, 300, 1);
	ck_assert_int_eq(take("a"), 0);
	show(NULL, a);
	guest_writes(100, 100, 2);
	ck_assert_int_eq(take("b"), 0);
	show(NULL, b);
	guest_writes(150, 451, 3);
	ck_assert_int_eq(take("c"), 0);
	show(NULL, c);
	guest_writes(0, 1, 0);
	ck_assert_int_eq(revert("a"), 0);
	show(NULL, got);
	ck_assert_str_eq(got, a);
	guest_writes(7, 20, 4);
	ck_assert_int_eq(take("d"), 0);
	show(NULL, d);
	guest_writes(500, 30, 5);
	show(NULL, now);
	ck_assert_str_ne(a, b);
	ck_assert_str_ne(d, now);
	t = tree();
	ck_assert_uint_eq(t->nr_snaps, 4);
	ck_assert_str_eq(t->current, snap_find(t, "d")->id);
	ck_assert_str_eq(snap_find(t, "c")->parent, snap_find(t, "b")->id);
	ck_assert_str_eq(snap_find(t, "d")->parent, snap_find(t, "a")->id);
	snap_close(t);
	show("a", got);
	ck_assert_str_eq(got, a);
	show("b", got);
	ck_assert_str_eq(got, b);
	show("c", got);
	ck_assert_str_eq(got, c);
	show("d", got);
	ck_assert_str_eq(got, d);
	ck_assert_int_eq(delete("b"), 0);
	t = tree();
	ck_assert_str_eq(snap_find(t, "c")->parent, snap_find(t, "a")->id);
	snap_close(t);
	show("c", got);
	ck_assert_str_eq(got, c);
	ck_assert_int_eq(delete("a"), 0);
	show("c", got);
	ck_assert_str_eq(got, c);
	show("d", got);
	ck_assert_str_eq(got, d);
	show(NULL, got);
	ck_assert_str_eq(got, now);
	ck_assert_int_eq(delete("c"), 0);
	show("d", got);
	ck_assert_str_eq(got, d);
	ck_assert_int_eq(delete("d"), 0);
	show(NULL, got);
	ck_assert_str_eq(got, now);
	ck_assert(!snap_exists("web"));
	ck_assert_uint_eq(files(), 2);
	ck_assert_int_lt(getxattr(disk[0], IMAGE_BASE_XATTR, got, sizeof(got)), 0);
}
END_TEST

/* The definition goes back as well. */
START_TEST(definition)
{
	char *text;
	struct domain *dom;

	ck_assert_int_eq(take("a"), 0);
	define(99);
	ck_assert_int_eq(revert("a"), 0);
	dom = domain(&text);
	ck_assert_uint_eq(dom->memory >> 20, 64);
	ck_assert_str_eq(dom->disk[0].file, disk[0]);
	domain_free(dom);
	free(text);
}
END_TEST

/* Who starts the disk by its name would destroy the snapshots. */
START_TEST(base_is_kept)
{
	struct dom_disk cfg = { .file = disk[0], .target = (char *)"vda" };
	struct image img;

	if (setxattr(disk[0], IMAGE_BASE_XATTR, "x", 1, 0)) {
		fprintf(stderr, "skipped: no extended attributes here\n");
		return;
	}
	removexattr(disk[0], IMAGE_BASE_XATTR);
	ck_assert_int_eq(take("a"), 0);
	ck_assert_int_eq(image_open(&img, &cfg, "x"), with_clones ? 0 : -EBUSY);
	if (with_clones)
		image_close(&img);
	ck_assert_int_eq(flatten(NULL), 0);
	ck_assert_int_eq(image_open(&img, &cfg, "x"), 0);
	image_close(&img);
}
END_TEST

START_TEST(base_is_kept_served)
{
	struct dom_backing below = { .format = DISK_RAW };
	struct dom_disk cfg = { .file = disk[0], .target = (char *)"vda", .format = DISK_QCOW2, .chain = &below, .nr_chain = 1 };
	struct image img;
	char path[160];

	snprintf(path, sizeof(path), "%s/.below", dir);
	below.file = path;
	if (setxattr(disk[0], IMAGE_BASE_XATTR, "x", 1, 0)) {
		fprintf(stderr, "skipped: no extended attributes here\n");
		return;
	}
	removexattr(disk[0], IMAGE_BASE_XATTR);
	ck_assert_int_eq(take("a"), 0);
	ck_assert_int_eq(image_open(&img, &cfg, "x"), -EBUSY);
	ck_assert_int_eq(flatten(NULL), 0);
	ck_assert_int_eq(image_open(&img, &cfg, "x"), 0);
	image_close(&img);
}
END_TEST

START_TEST(too_deep)
{
	char name[8], got[64], now[64];
	int i;

	for (i = 0; i < 23; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		guest_writes((unsigned int)i, 2, i + 1);
		ck_assert_int_eq(take(name), 0);
	}
	show(NULL, now);
	ck_assert_int_eq(take("more"), with_clones ? 0 : -1);
	show(NULL, got);
	ck_assert_str_eq(got, now);
	ck_assert_int_eq(delete("s7"), 0);
	ck_assert_int_eq(take("again"), 0);
	show("again", got);
	ck_assert_str_eq(got, now);
}
END_TEST

/* ----------------------------------------------------- killed, and a full disk */

START_TEST(killed)
{
	at_each_step(_i, "HVX_TEST_KILL_AT", 200, 1);
}
END_TEST

START_TEST(full)
{
	at_each_step(_i, "HVX_TEST_FULL_AT", 30, 1);
}
END_TEST

/* The same steps, with a daemon for each look: some of them, of what merges into the image. */
START_TEST(killed_served)
{
	at_each_step(merges[_i], "HVX_TEST_KILL_AT", 200, 5);
}
END_TEST

START_TEST(full_served)
{
	at_each_step(merges[_i], "HVX_TEST_FULL_AT", 30, 4);
}
END_TEST

/* ------------------------------------------ of a guest that ran, and is gone now */

static void leave_pending(void)
{
	struct snap_tree *t = tree();
	char *text, *path;
	struct domain *dom = domain(&text);
	struct snapshot *s;

	ck_assert_int_eq(snap_recover(t, false), 0);
	s = snap_prepare(t, dom, "new", "", text, strlen(text));
	ck_assert_ptr_nonnull(s);
	s->pending = s->resume = true;
	s->state = SNAP_RUNNING;
	ck_assert_int_eq(snap_commit(t), 0);
	path = snap_path(t, s->id, "state");
	close(open(path, O_WRONLY | O_CREAT, 0600));
	free(path);
	domain_free(dom);
	free(text);
	snap_close(t);
}

/* Its VMM never wrote to the new layers: what it wrote is below, and what the snapshot was to hold is not known. */
START_TEST(pending_is_dropped)
{
	struct view before, after;

	scene();
	look(&before);
	leave_pending();
	look(&after);
	ck_assert(same(&before, &after));
	ck_assert_int_eq(take("new"), 0);
}
END_TEST

/* It did: then all that comes before that was done. */
START_TEST(pending_is_done)
{
	struct view before, after;
	struct snap_tree *t;
	uint8_t page[4096];

	if (with_clones)
		return;
	scene();
	look(&before);
	leave_pending();
	/* As the VMM would: nobody else recovers before. */
	t = tree();
	memset(page, 77, sizeof(page));
	for (unsigned int i = 0; i < 2; i++) {
		struct image img;

		open_disk(t, i, &img);
		ck_assert_int_eq(pwrite_full(img.overlay->fd, page, sizeof(page), img.overlay->data + 9 * 4096), 0);
		overlay_commit(img.overlay, 9 * 4096, sizeof(page));
		image_close(&img);
	}
	snap_close(t);
	look(&after);
	ck_assert(after.has[3]);
	ck_assert_str_eq(after.snap[3], before.now);
	ck_assert_str_ne(after.now, before.now);
	t = tree();
	ck_assert_int_eq(snap_find(t, "new")->pending, false);
	ck_assert_int_eq(snap_find(t, "new")->state, SNAP_RUNNING);
	snap_close(t);
}
END_TEST

/* ----------------------------------------------------------- hostile tree.json */

static char *read_tree_json(void)
{
	struct snap_tree *t = tree();
	char *text = snap_print(t);

	snap_close(t);
	return text;
}

static bool parses(const char *text, size_t len)
{
	struct snap_tree t = { .lock = -1 };
	const char *why = NULL;
	bool ok = !snap_parse(&t, text, len, &why);

	ck_assert(ok == !why);
	if (ok) {
		char *again = snap_print(&t);

		ck_assert_ptr_nonnull(again);
		free(again);
		for (size_t i = 0; i < t.nr_disks; i++)
			for (size_t k = 0; k < t.disk[i].nr_layers; k++) {
				char *path = layer_path(&t.disk[i], &t.disk[i].layer[k]);

				/* Nothing leads away from the disk's own name. */
				ck_assert(!strncmp(path, t.disk[i].file, strlen(t.disk[i].file)));
				ck_assert(!strchr(path + strlen(t.disk[i].file), '/'));
				free(path);
			}
	}
	while (t.nr_snaps)
		snap_remove(&t, &t.snap[t.nr_snaps - 1]);
	while (t.nr_disks)
		snap_remove_disk(&t, &t.disk[t.nr_disks - 1]);
	free(t.snap);
	free(t.disk);
	return ok;
}

static void change(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out = NULL;

	ck_assert_msg(at != NULL, "%s is not in %s", from, text);
	ck_assert_int_gt(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)), 0);
	ck_assert_msg(!parses(out, strlen(out)), "%s -> %s is taken", from, to);
	free(out);
}

START_TEST(hostile_tree)
{
	char *text, *cut, path[160];
	struct snap_tree *t;
	size_t len, i;
	int fd;

	scene();
	text = read_tree_json();
	len = strlen(text);
	ck_assert(parses(text, len));
	for (i = 0; i < len; i += 3)
		ck_assert(!parses(text, i));
	cut = malloc(len + 1);
	for (i = 0; i < 4000; i++) {
		size_t at = (size_t)rand() % len;

		memcpy(cut, text, len + 1);
		cut[at] = (char)(cut[at] ^ 1 << rand() % 8);
		parses(cut, len);
	}
	change(text, "\"version\":1", "\"version\":2");
	change(text, "\"file\":\"/", "\"file\":\"../");
	change(text, "\"format\":\"raw\"", "\"format\":\"qcow3\"");
	if (!with_clones)
		change(text, "\"format\":\"layer\"", "\"format\":\"qcow2\"");
	change(text, "\"layers\":", "\"chain\":[{\"format\":\"raw\",\"file\":\"/x\"}],\"layers\":");
	change(text, "\"home\":true", "\"home\":true,\"below\":\"0123456789abcdef\"");
	change(text, "\"name\":\"a\"", "\"name\":\"b\"");
	change(text, "\"state\":\"shutoff\"", "\"state\":\"odd\"");
	change(text, "\"current\":\"", "\"current\":\"../../");
	t = tree();
	snprintf(path, sizeof(path), "\"id\":\"%s\"", t->snap[0].id);
	change(text, path, "\"id\":\"../../../../etc/passwd\"");
	snprintf(path, sizeof(path), "%s/tree.json", t->dir);
	snap_close(t);
	/* A command says so, and touches nothing. */
	ck_assert_int_eq(truncate(path, (off_t)len / 2), 0);
	ck_assert_ptr_null(snap_open("web", false));
	fd = open(path, O_WRONLY | O_TRUNC);
	ck_assert_int_eq(ftruncate(fd, SNAP_TREE_MAX + 1), 0);
	close(fd);
	ck_assert_ptr_null(snap_open("web", false));
	free(cut);
	free(text);
}
END_TEST

/* What a qcow2 image lies on is in the tree, and is said of no other. */
START_TEST(hostile_chain)
{
	char *text;

	ck_assert_int_eq(take("a"), 0);
	text = read_tree_json();
	ck_assert(parses(text, strlen(text)));
	ck_assert_msg(strstr(text, "/.below\""), "%s", text);
	change(text, "\"format\":\"qcow2\"", "\"format\":\"raw\"");
	change(text, "\"format\":\"qcow2\"", "\"format\":\"qcow2\",\"below\":\"0123456789abcdef\"");
	change(text, "\"home\":true", "\"home\":false");
	change(text, "/.below\"", "/.below\\u0000\"");
	change(text, "\"format\":\"raw\"", "\"format\":\"layer\"");
	change(text, "\"format\":\"raw\"", "\"format\":\"raw\",\"file\":\"/x\"},{\"format\":\"raw\"");
	change(text, "\"chain\":[", "\"chain\":[7,");
	free(text);
}
END_TEST

/* A layer of another disk under this one's name. */
START_TEST(swapped_layer)
{
	struct snap_tree *t;
	char from[256], to[256];

	if (with_clones)
		return;
	scene();
	t = tree();
	snprintf(from, sizeof(from), "%s.hvx-%s", disk[0], t->disk[0].active);
	snprintf(to, sizeof(to), "%s.hvx-%s", disk[1], t->disk[1].active);
	ck_assert_int_eq(rename(from, to), 0);
	snap_close(t);
	ck_assert_int_eq(delete("c"), 0);
	t = tree();
	snap_remove(t, snap_find(t, "b"));
	snap_remove(t, snap_find(t, "a"));
	ck_assert_int_eq(snap_commit(t), 0);
	/* Not merged, and no file removed but those that nobody needs. */
	ck_assert_int_eq(snap_recover(t, false), 0);
	ck_assert_uint_gt(t->disk[1].nr_layers, 1);
	ck_assert_int_eq(access(to, F_OK), 0);
	snap_close(t);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("snapshot");
	TCase *t;
	SRunner *r;
	int failed;

	place_helper();
	if (can_serve()) {
		t = tcase_create("other formats");
		tcase_set_timeout(t, 120);
		tcase_add_checked_fixture(t, setup_served, teardown);
		tcase_add_test(t, life);
		tcase_add_test(t, definition);
		tcase_add_test(t, base_is_kept_served);
		tcase_add_test(t, hostile_chain);
		tcase_add_loop_test(t, killed_served, 0, 2);
		tcase_add_loop_test(t, full_served, 0, 2);
		suite_add_tcase(s, t);
	}
	for (int clones = 0; clones < 2; clones++) {
		t = tcase_create(clones ? "clones" : "layers");
		tcase_set_timeout(t, 20);
		tcase_add_checked_fixture(t, clones ? setup_clones : setup, teardown);
		tcase_add_test(t, life);
		tcase_add_test(t, definition);
		tcase_add_test(t, base_is_kept);
		tcase_add_test(t, too_deep);
		tcase_add_test(t, pending_is_dropped);
		tcase_add_test(t, pending_is_done);
		tcase_add_test(t, hostile_tree);
		tcase_add_test(t, swapped_layer);
		suite_add_tcase(s, t);
		t = tcase_create(clones ? "clones, killed" : "layers, killed");
		tcase_set_timeout(t, 20);
		tcase_add_checked_fixture(t, clones ? setup_fast_clones : setup_fast, teardown);
		tcase_add_loop_test(t, killed, 0, LIVE_OP);
		tcase_add_loop_test(t, full, 0, LIVE_OP);
		suite_add_tcase(s, t);
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
