/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of snapshots share: a guest with two disks, and operations that are killed or find no room. */
#ifndef SNAPSHOT_FIXTURE_H
#define SNAPSHOT_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/snapdisk.h"
#include "cli/snapmerge.h"
#include "cli/store.h"
#include "devices/storage/foreign.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "vmm/config.h"
#include "vmm/fileio.h"

#define BLOCKS	600U	/* of the disk, and half a block */
#define SIZE	(BLOCKS * 4096 + 2048)

static char dir[64], disk[2][96];
static bool with_clones, served;	/* served: images of other formats than raw */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/* ------------------------------------------------------------------ the guest */

static int copy_clone(int out, int in)
{
	static char buf[SIZE];
	ssize_t n = pread(in, buf, sizeof(buf), 0);

	return n < 0 || pwrite(out, buf, (size_t)n, 0) != n ? -1 : 0;
}

static int no_clone(int out, int in)
{
	(void)out;
	(void)in;
	errno = EOPNOTSUPP;
	return -1;
}

static void run(const char *fmt, const char *arg)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), fmt, arg);
	ck_assert_int_eq(system(cmd), 0);
}

static void define(unsigned int mem)
{
	char *text = NULL, *name = NULL, chain[256];

	snprintf(chain, sizeof(chain), "<backingStore type='file'><format type='raw'/><source file='%s/.below'/></backingStore>", dir);
	ck_assert_int_gt(asprintf(&text, "<domain type='hvx'><name>web</name><memory unit='MiB'>%u</memory>"
				  "<os><type>hvm</type><kernel>/vmlinuz</kernel></os><devices>"
				  "<disk type='file'>%s<source file='%s'/>%s<target dev='vda' bus='virtio'/></disk>"
				  "<disk type='file'>%s<source file='%s'/><target dev='vdb' bus='virtio'/></disk>"
				  "</devices></domain>", mem, served ? "<driver name='qemu' type='qcow2'/>" : "", disk[0],
				  served ? chain : "", served ? "<driver name='qemu' type='vdi'/>" : "", disk[1]), 0);
	ck_assert_int_eq(store_define("web.xml", text, strlen(text), true, &name), 0);
	free(text);
	free(name);
}

/* A qcow2 image over a raw one, and one of VDI. */
static void make_served(void)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "cd %s && yes below | head -c %u > .below && qemu-img create -q -f qcow2 -b .below -F raw disk0 && "
		 "qemu-img create -q -f vdi disk1 %u", dir, SIZE, SIZE);
	ck_assert_int_eq(system(cmd), 0);
}

static void setup_in(const char *where, bool clones)
{
	char path[160];
	int i, fd;

	with_clones = clones;
	snprintf(dir, sizeof(dir), "%s/hvx-snap.XXXXXX", where);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/etc", dir);
	setenv("HVX_CONFIG_DIR", path, 1);
	snprintf(path, sizeof(path), "%s/lib", dir);
	setenv("HVX_STATE_DIR", path, 1);
	unsetenv("HVX_TEST_KILL_AT");
	unsetenv("HVX_TEST_FULL_AT");
	for (i = 0; i < 2; i++) {
		snprintf(disk[i], sizeof(disk[i]), "%s/disk%d", dir, i);
		if (served)
			continue;
		fd = open(disk[i], O_RDWR | O_CREAT | O_EXCL, 0640);
		ck_assert_int_eq(ftruncate(fd, SIZE), 0);
		close(fd);
	}
	if (served)
		make_served();
	define(64);
	snap_clone = with_clones ? copy_clone : no_clone;
}

static void setup(void)
{
	setup_in("/var/tmp", false);
}

static void setup_clones(void)
{
	setup_in("/var/tmp", true);
}

/* Thousands of files, and nothing is lost if the host is. */
static const char *fast(void)
{
	return access("/dev/shm", W_OK) ? "/var/tmp" : "/dev/shm";
}

static void setup_fast(void)
{
	setup_in(fast(), false);
}

/* Sharing blocks works, and is not asked for. */
static void setup_served(void)
{
	served = true;
	setup_in(fast(), true);
}

static void setup_fast_clones(void)
{
	setup_in(fast(), true);
}

static void teardown(void)
{
	run("rm -rf '%s'", dir);
}

static struct snap_tree *tree(void)
{
	struct snap_tree *t = snap_open("web", true);

	ck_assert_ptr_nonnull(t);
	t->quiet = true;
	return t;
}

static struct domain *domain(char **text)
{
	size_t len;

	*text = store_read("web", &len);
	ck_assert_ptr_nonnull(*text);
	return store_parse("web.xml", *text, len, false);
}

/* Open the disk as its VMM would, by the mapped definition. */
static void open_disk(struct snap_tree *t, unsigned int i, struct image *img)
{
	char *text;
	struct domain *dom = domain(&text);
	size_t len = strlen(text);

	text = snap_map_text(t, text, &len);
	ck_assert_ptr_nonnull(text);
	domain_free(dom);
	dom = store_parse("mapped.xml", text, len, false);
	ck_assert_ptr_nonnull(dom);
	ck_assert_int_eq(image_open(img, &dom->disk[i], "mapped.xml"), 0);
	ck_assert_uint_eq(img->size, SIZE);
	domain_free(dom);
	free(text);
}

static void guest_writes(unsigned int block, unsigned int n, int value)
{
	struct snap_tree *t = tree();
	static uint8_t buf[SIZE];

	ck_assert_int_eq(snap_recover(t, false), 0);
	memset(buf, value, sizeof(buf));
	for (unsigned int i = 0; i < 2; i++) {
		struct image img;
		uint64_t at = block * 4096ULL, len = n * 4096ULL;

		if (at + len > SIZE)
			len = SIZE - at;
		open_disk(t, i, &img);
		/* The second disk has the value's other half. */
		if (i)
			memset(buf, value ^ 0x80, sizeof(buf));
		if (img.overlay) {
			struct overlay_claim *claim;

			ck_assert_int_eq(overlay_begin(img.overlay, at, len, true, &claim), 0);
			ck_assert_int_eq(pwrite_full(img.overlay->fd, buf, len, img.overlay->data + at), 0);
			overlay_end(img.overlay, claim, true);
		} else if (img.served) {
			ck_assert_int_eq(nbd_disk_write(img.served, buf, len, at), 0);
			ck_assert_int_eq(image_flush(&img), 0);
		} else {
			ck_assert_int_eq(pwrite_full(img.fd, buf, len, at), 0);
		}
		image_close(&img);
	}
	snap_close(t);
}

static void add_sum(const uint8_t *buf, unsigned int i, char out[64])
{
	uint64_t sum = 1469598103934665603ULL, word;

	for (unsigned int k = 0; k < SIZE; k += 8) {
		memcpy(&word, buf + k, 8);
		sum = (sum ^ word) * 1099511628211ULL;
	}
	snprintf(out + 17 * i, 64 - 17 * i, "%016llx.", (unsigned long long)sum);
}

/* A digest of what both disks hold. */
static void digest(struct snap_tree *t, char out[64])
{
	static uint8_t buf[SIZE];

	for (unsigned int i = 0; i < 2; i++) {
		struct image img;

		open_disk(t, i, &img);
		ck_assert_int_eq(img.overlay ? overlay_read(img.overlay, buf, SIZE, 0) : img.served ?
				 nbd_disk_read(img.served, buf, SIZE, 0) : file_read(img.fd, buf, SIZE, 0), 0);
		image_close(&img);
		add_sum(buf, i, out);
	}
}

/* The same of a snapshot's, read from its files. */
static void read_chain(struct snap_disk *d, struct snap_layer *l, uint8_t *buf)
{
	char *path = layer_path(d, l);
	int fd = open(path, O_RDONLY);
	struct overlay_part part;
	struct overlay *o;
	const char *why;

	ck_assert_int_ge(fd, 0);
	free(path);
	if (!l->layer && served) {
		struct nbd_disk *image = snap_serve(d, l, false);

		close(fd);
		ck_assert_ptr_nonnull(image);
		ck_assert_int_eq(nbd_disk_read(image, buf, SIZE, 0), 0);
		nbd_disk_close(image);
		return;
	}
	if (!l->layer) {
		ck_assert_int_eq(file_read(fd, buf, SIZE, 0), 0);
		close(fd);
		return;
	}
	read_chain(d, snap_layer(d, l->below), buf);
	o = overlay_load(fd, &why);
	ck_assert_ptr_nonnull(o);
	for (uint64_t at = 0, n; at < SIZE; at += n) {
		n = overlay_run(o, at, SIZE - at, &part);
		if (part.top)
			ck_assert_int_eq(file_read(part.fd, buf + at, n, part.offset), 0);
	}
	overlay_free(o);
}

static void digest_of(struct snap_tree *t, const struct snapshot *s, char out[64])
{
	static uint8_t buf[SIZE];

	ck_assert_uint_eq(s->nr_refs, 2);
	for (unsigned int i = 0; i < 2; i++) {
		struct snap_disk *d = snap_disk(t, s->ref[i].file);

		ck_assert_str_eq(d->file, disk[i]);
		read_chain(d, snap_layer(d, s->ref[i].layer), buf);
		add_sum(buf, i, out);
	}
}

static int take(const char *name)
{
	struct snap_tree *t = tree();
	char *text;
	struct domain *dom = domain(&text);
	int ret = snap_recover(t, false);

	if (!ret)
		ret = snap_disks_ok("web", dom);
	if (!ret && (!snap_prepare(t, dom, name, "", text, strlen(text)) || snap_commit(t))) {
		ret = -1;
		snap_reload(t);
	}
	if (snap_recover(t, false))
		ret = -1;
	domain_free(dom);
	free(text);
	snap_close(t);
	return ret;
}

static int revert(const char *name)
{
	struct snap_tree *t = tree();
	struct snapshot *s;
	int ret = snap_recover(t, false);

	s = snap_find(t, name);
	if (!ret)
		ret = s ? snap_revert(t, s) : -1;
	snap_close(t);
	return ret;
}

static int delete(const char *name)
{
	struct snap_tree *t = tree();
	struct snapshot *s;
	int ret = snap_recover(t, false);

	s = snap_find(t, name);
	if (!ret && s)
		snap_remove(t, s);
	if (!ret)
		ret = s ? snap_commit(t) ?: snap_recover(t, false) : -1;
	snap_close(t);
	return ret;
}

static int flatten(const char *name)
{
	struct snap_tree *t = tree();
	int ret = snap_recover(t, false) ?: snap_flatten(t);

	(void)name;
	snap_close(t);
	return ret;
}

/* What each snapshot shows: the disks as they would be after a revert to it, in a copy of everything. */
static void show(const char *name, char out[64])
{
	struct snap_tree *t;

	run("rm -rf '%s.keep'", dir);
	run("cp -a --sparse=always '%s' '%1$s.keep'", dir);
	if (name)
		ck_assert_int_eq(revert(name), 0);
	t = tree();
	ck_assert_int_eq(snap_recover(t, false), 0);
	digest(t, out);
	snap_close(t);
	run("rm -rf '%s'; mv '%1$s.keep' '%1$s'", dir);
}

static unsigned int files(void)
{
	unsigned int n = 0;
	struct dirent *e;
	DIR *d = opendir(dir);

	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n - 2;	/* but the two folders */
}

/* ----------------------------------------------------- killed, and a full disk */

/* Snapshots a, b and c on each other, and something written since. */
static void three_in_a_row(void)
{
	guest_writes(0, 300, 1);
	ck_assert_int_eq(take("a"), 0);
	guest_writes(100, 200, 2);
	ck_assert_int_eq(take("b"), 0);
	guest_writes(250, 350, 3);
	ck_assert_int_eq(take("c"), 0);
	guest_writes(50, 20, 4);
}

static void scene(void)
{
	three_in_a_row();
	ck_assert_int_eq(revert("b"), 0);
	guest_writes(10, 3, 5);
}

struct view {
	char now[64], snap[5][64];
	bool has[5];
};
static const char *const names[5] = { "a", "b", "c", "new", "x" };

static void look(struct view *v)
{
	struct snap_tree *t = tree();
	int i;

	memset(v, 0, sizeof(*v));
	ck_assert_int_eq(snap_recover(t, false), 0);
	for (i = 0; i < 5; i++) {
		v->has[i] = snap_find(t, names[i]);
		if (v->has[i])
			digest_of(t, snap_find(t, names[i]), v->snap[i]);
	}
	digest(t, v->now);
	snap_close(t);
}

/* By the daemon of the guest that runs; NULL: it does not let others write to its image. */
static struct nbd_disk *(*live_serve)(const struct snap_disk *d, void *opaque);

/* What lies under the layer that a running guest writes to. */
static int merge_live(const char *name)
{
	struct snap_tree *t = tree();
	int ret;

	(void)name;
	t->live = true;
	t->serve = live_serve;
	ret = snap_recover(t, true);
	snap_close(t);
	return ret;
}

#define LIVE_OP	7	/* of ops: the others are of a guest that is off */

static const struct {
	const char *what;
	int (*fn)(const char *name);
	const char *name;
} ops[] = {
	{ "take", take, "new" }, { "revert to the parent", revert, "a" }, { "revert to another branch", revert, "c" },
	{ "delete the root", delete, "a" }, { "delete in the middle", delete, "b" }, { "delete a leaf", delete, "c" },
	{ "flatten", flatten, NULL }, { "merge under it", merge_live, NULL },
};

/* A process that was killed may have left a daemon, which ends because of that: soon. */
static void wait_free(void)
{
	for (int i = 0; served && i < 2; i++) {
		int fd = open(disk[i], O_RDWR);

		ck_assert_int_ge(fd, 0);
		while (image_lock(fd, true, false)) {
			image_unlock(fd);
			usleep(1000);
		}
		close(fd);
	}
}

/* In a process of its own. True: it came to its end. */
static bool attempt(int op, const char *var, unsigned int step)
{
	char text[16];
	int status;
	pid_t pid;

	snprintf(text, sizeof(text), "%u", step);
	pid = fork();
	if (!pid) {
		setenv(var, text, 1);
		close(STDERR_FILENO);
		open("/dev/null", O_WRONLY);
		/* The next command, whichever: it finishes or undoes. */
		if (!strcmp(var, "HVX_TEST_RECOVER"))
			_exit(snap_recover(tree(), false) ? 1 : 0);
		_exit(ops[op].fn(ops[op].name) ? 1 : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (op != LIVE_OP)
		wait_free();
	if (WIFSIGNALED(status))
		ck_assert_int_eq(WTERMSIG(status), SIGKILL);
	else if (!strcmp(var, "HVX_TEST_KILL_AT"))
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	return WIFEXITED(status) && !strcmp(var, "HVX_TEST_KILL_AT");
}

static bool same(const struct view *a, const struct view *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void keep_scene(void)
{
	run("rm -rf '%s.scene'; cp -a --sparse=always '%1$s' '%1$s.scene'", dir);
}

static void start_over(void)
{
	run("rm -rf '%s'; cp -a --sparse=always '%1$s.scene' '%1$s'", dir);
}

/* An operation that is stopped in all ways: everything is as before, or as after it. */
struct trial {
	int op;
	struct view before, after;
	unsigned int befores, afters;	/* how often */
};

static void trial_begin(struct trial *t, int op)
{
	*t = (struct trial){ .op = op };
	scene();
	look(&t->before);
	keep_scene();
	ck_assert_int_eq(ops[op].fn(ops[op].name), 0);
	look(&t->after);
}

/* It was stopped, or not, by what there were n of. */
static void trial_check(struct trial *t, unsigned int n, const char *of)
{
	const char *what = ops[t->op].what;
	struct view got;
	bool before, after;

	look(&got);
	before = same(&got, &t->before);
	after = same(&got, &t->after);
	ck_assert_msg(before || after, "%s, %u %s: neither as before nor as after", what, n, of);
	t->befores += before;
	t->afters += after;
	/* Whatever happened, it can be done again. */
	if (before) {
		ck_assert_int_eq(ops[t->op].fn(ops[t->op].name), 0);
		look(&got);
		ck_assert_msg(same(&got, &t->after), "%s, after %u %s: not as it should be", what, n, of);
	}
}

static void trial_end(struct trial *t)
{
	ck_assert_msg(t->befores && t->afters, "%s: %u as before, %u as after", ops[t->op].what, t->befores, t->afters);
	run("rm -rf '%s.scene'", dir);
}

static void at_each_step(int op, const char *var, unsigned int limit, unsigned int stride)
{
	struct trial t;
	unsigned int step;

	trial_begin(&t, op);
	for (step = 1; step < limit; step += stride) {
		bool ended;

		start_over();
		ended = attempt(op, var, step);
		trial_check(&t, step, "steps");
		if (ended)
			break;
	}
	ck_assert_msg(step > 3, "%s: %u steps", ops[op].what, step);
	trial_end(&t);
}

static const int merges[] __attribute__((unused)) = { 3, 6 };	/* of ops: what merges into an image */

/* The code under test looks for it beside the running program. */
static void helper_path(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 64);

	path[n > 0 ? n : 0] = '\0';
	if (strrchr(path, '/'))
		strcpy(strrchr(path, '/') + 1, FOREIGN_HELPER);
}

static void place_helper(void)
{
	char path[4096];

	helper_path(path, sizeof(path));
	if (symlink("../../" FOREIGN_HELPER, path) && errno != EEXIST)
		perror(path);
}

static bool can_serve(void)
{
	char path[4096];

	helper_path(path, sizeof(path));
	if (!access(path, X_OK) && !access("/usr/bin/qemu-storage-daemon", X_OK))
		return true;
	fprintf(stderr, "skipped: qemu-storage-daemon or %s is missing\n", FOREIGN_HELPER);
	return false;
}

#pragma GCC diagnostic pop
#endif
