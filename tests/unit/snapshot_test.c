/* units: vmm/cgroup.c vmm/stream.c vmm/state.c devices/device.c devices/storage/image.c devices/storage/overlay*.c devices/net/tap.c devices/net/user.c vmm/helper.c vmm/livexml.c vmm/cpu.c vmm/cpu_*.c vmm/sandbox.c vmm/log.c cli/[!m]*.c vmm/domxml*.c vmm/config.c vmm/hvxapi.c vmm/hv_*.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c devices/storage/disklog.c devices/storage/aio.c vmm/loop.c */
// SPDX-License-Identifier: GPL-2.0-only
/*
 * Snapshots of a guest that is off. A disk has one byte value a block, so that what
 * each snapshot must show is a short text. Every operation is killed, and finds the
 * disk full, at each of its steps; then all must be as before it or as after it.
 */
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
			ck_assert_int_eq(overlay_prepare(img.overlay, at, len), 0);
			ck_assert_int_eq(pwrite_full(img.overlay->fd, buf, len, img.overlay->data + at), 0);
			overlay_commit(img.overlay, at, len);
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

static void scene(void)
{
	guest_writes(0, 300, 1);
	ck_assert_int_eq(take("a"), 0);
	guest_writes(100, 200, 2);
	ck_assert_int_eq(take("b"), 0);
	guest_writes(250, 350, 3);
	ck_assert_int_eq(take("c"), 0);
	guest_writes(50, 20, 4);
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

static const struct {
	const char *what;
	int (*fn)(const char *name);
	const char *name;
} ops[] = {
	{ "take", take, "new" }, { "revert to the parent", revert, "a" }, { "revert to another branch", revert, "c" },
	{ "delete the root", delete, "a" }, { "delete in the middle", delete, "b" }, { "delete a leaf", delete, "c" },
	{ "flatten", flatten, NULL },
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

static void start_over(void)
{
	run("rm -rf '%s'; cp -a --sparse=always '%1$s.scene' '%1$s'", dir);
}

static void at_each_step(int op, const char *var, unsigned int limit, unsigned int stride)
{
	struct view before, after, got;
	unsigned int step, afters = 0, befores = 0;

	scene();
	look(&before);
	run("rm -rf '%s.scene'; cp -a --sparse=always '%1$s' '%1$s.scene'", dir);
	ck_assert_int_eq(ops[op].fn(ops[op].name), 0);
	look(&after);
	for (step = 1; step < limit; step += stride) {
		bool ended;

		start_over();
		ended = attempt(op, var, step);
		look(&got);
		ck_assert_msg(same(&got, &before) || same(&got, &after), "%s, step %u: neither as before nor as after", ops[op].what, step);
		befores += same(&got, &before);
		afters += same(&got, &after);
		/* Whatever happened, it can be done again. */
		if (same(&got, &before)) {
			ck_assert_int_eq(ops[op].fn(ops[op].name), 0);
			look(&got);
			ck_assert_msg(same(&got, &after), "%s, after step %u: not as it should be", ops[op].what, step);
		}
		if (ended)
			break;
	}
	ck_assert_msg(step > 3 && befores && afters, "%s: %u steps, %u as before, %u as after", ops[op].what, step, befores, afters);
	run("rm -rf '%s.scene'", dir);
}

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
static const int merges[] = { 3, 6 };

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

/* The room that is left: so many KiB. */
static void leave_room(unsigned int kib)
{
	char path[160];
	struct statvfs v;
	int fd;

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
	struct view before, after, got;
	unsigned int kib, afters = 0, befores = 0;
	char path[160];

	setup_in("/var/tmp", false);
	scene();
	look(&before);
	snprintf(path, sizeof(path), "%s/.filler", dir);
	run("rm -rf /var/tmp/scene; cp -a --sparse=always '%s' /var/tmp/scene", dir);
	ck_assert_int_eq(ops[op].fn(ops[op].name), 0);
	look(&after);
	for (kib = 0; kib < 8192; kib = kib < 16 ? kib + 4 : kib * 2) {
		bool done;

		run("rm -rf '%s'; cp -a --sparse=always /var/tmp/scene '%1$s'", dir);
		leave_room(kib);
		attempt(op, "HVX_TEST_NOTHING", 0);
		attempt(op, "HVX_TEST_RECOVER", 0);
		ck_assert_int_eq(unlink(path), 0);
		look(&got);
		done = same(&got, &after);
		ck_assert_msg(done || same(&got, &before), "%s with %u KiB left: neither as before nor as after", ops[op].what, kib);
		befores += same(&got, &before);
		afters += done;
		if (!done) {
			ck_assert_int_eq(ops[op].fn(ops[op].name), 0);
			look(&got);
			ck_assert_msg(same(&got, &after), "%s, after %u KiB: not as it should be", ops[op].what, kib);
		}
	}
	ck_assert_msg(befores && afters, "%s: %u as before, %u as after", ops[op].what, befores, afters);
}

static const int growing[] = { 0, 1, 4, 6 };	/* of ops: those that need room */

START_TEST(full_disk)
{
	if (small_disk())
		with_little_room(growing[_i]);
	else
		fprintf(stderr, "skipped: no file system of its own for a test: %s\n", strerror(errno));
}
END_TEST

START_TEST(full_disk_served)
{
	served = true;
	if (small_disk())
		with_little_room(merges[_i]);
	else
		fprintf(stderr, "skipped: no file system of its own for a test: %s\n", strerror(errno));
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
	t = tcase_create("full disk");
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, full_disk, 0, sizeof(growing) / sizeof(growing[0]));
	if (can_serve())
		tcase_add_loop_test(t, full_disk_served, 0, 2);
	suite_add_tcase(s, t);
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
		tcase_add_loop_test(t, killed, 0, sizeof(ops) / sizeof(ops[0]));
		tcase_add_loop_test(t, full, 0, sizeof(ops) / sizeof(ops[0]));
		suite_add_tcase(s, t);
	}
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
