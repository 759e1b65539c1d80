// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c vmm/loop.c vmm/log.c vmm/unnamed.c */
/*
 * Images of other formats than raw: headers that lead elsewhere, QEMU's storage daemon with
 * images of each format. Servers that are none are served_test.c's.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "devices/storage/foreign.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "devices/storage/nbd_wire.h"
#include "vmm/log.h"
#include "foreign_fixture.h"

static unsigned int find_daemon(void);

static char path[PATH_MAX];

static int shell(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = snprintf(cmd, sizeof(cmd), "cd %s && exec >/dev/null 2>&1; ", dir);
	vsnprintf(cmd + n, sizeof(cmd) - (size_t)n, fmt, ap);
	va_end(ap);
	n = system(cmd);
	return WIFEXITED(n) ? WEXITSTATUS(n) : -1;
}

/* ------------------------------------------------------------------- headers */

static const char *look(const char *name, enum disk_format format, bool backing, bool write)
{
	static char buf[700];
	const char *why;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	why = foreign_check(fd, format, backing, write, buf, sizeof(buf));
	close(fd);
	return why;
}

static void poke(const char *name, unsigned int at, const void *data, size_t len)
{
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(pwrite(fd, data, len, at), (ssize_t)len);
	close(fd);
}

static void has(const char *why, const char *what)
{
	ck_assert_msg(why && strstr(why, what), "'%s' does not say '%s'", why ? why : "(nothing)", what);
}

START_TEST(headers)
{
	static const char *const formats[] = { "qcow2", "qed", "vdi", "vmdk", "vhdx", "vpc" };
	enum disk_format f, g;
	unsigned int i, k;

	for (i = 0; i < 6; i++) {
		ck_assert_int_eq(shell("qemu-img create -f %s %s 8M", formats[i], formats[i]), 0);
		ck_assert(foreign_format(formats[i], &f));
		ck_assert_ptr_null(look(formats[i], f, false, f != DISK_QED));
		has(look(formats[i], f, true, false), "take <backingStore> out");
		/* Of VPC images the footer alone tells, and of VMDK there are others. */
		for (k = 0; k < 5; k++) {
			ck_assert(foreign_format(formats[k], &g));
			if (k != i)
				ck_assert_ptr_nonnull(look(formats[i], g, false, false));
		}
	}
	has(look("qed", DISK_QED, false, true), "convert it");
	ck_assert(!foreign_format("luks", &f));
	/* They lie on others. */
	ck_assert_int_eq(shell("qemu-img create -f qcow2 -b vdi -F vdi over && qemu-img create -f vmdk -b vmdk -F vmdk vover &&"
			       "qemu-img create -f qed -b vdi -F vdi qover"), 0);
	has(look("over", DISK_QCOW2, false, true), "calls 'vdi'");
	ck_assert_ptr_null(look("over", DISK_QCOW2, true, true));
	has(look("vover", DISK_VMDK, false, true), "lies on another");
	has(look("qover", DISK_QED, false, false), "lies on another");
	/* Their data are elsewhere. */
	ck_assert_int_eq(shell("qemu-img create -f qcow2 -o data_file=secret ext 8M && qemu-img create -f vmdk -o subformat=monolithicFlat flat 8M"), 0);
	has(look("ext", DISK_QCOW2, false, true), "data are in another file");
	has(look("flat", DISK_VMDK, false, true), "one file");
	ck_assert_int_eq(shell("qemu-img convert -O vmdk -o subformat=streamOptimized vdi stream"), 0);
	has(look("stream", DISK_VMDK, false, true), "compressed");
	ck_assert_ptr_null(look("stream", DISK_VMDK, false, false));
	poke("vmdk", 12, "\0\0\0\0\0\0\0\0", 8);
	has(look("vmdk", DISK_VMDK, false, true), "other files");
	/* Broken, encrypted, of another time. */
	poke("qcow2", 79, "\2", 1);
	has(look("qcow2", DISK_QCOW2, false, true), "corrupt");
	poke("qcow2", 79, "\0", 1);
	poke("qcow2", 35, "\2", 1);
	has(look("qcow2", DISK_QCOW2, false, true), "encrypted");
	poke("qcow2", 7, "\4", 1);
	has(look("qcow2", DISK_QCOW2, false, true), "version");
	/* A name that would talk to a terminal, and one that leads nowhere. */
	poke("over", 16, "\0\0\x40\0", 4);
	has(look("over", DISK_QCOW2, false, true), "calls 'vdi??");
	poke("over", 8, "\x7f\xff\xff\xff\xff\xff\xff\xff", 8);
	has(look("over", DISK_QCOW2, false, true), "no file is opened");
	poke("empty", 0, "", 0);
	for (f = DISK_QCOW2; f <= DISK_VPC; f++)
		if (f != DISK_VPC)
			ck_assert_ptr_nonnull(look("empty", f, false, true));
}
END_TEST

/* ---------------------------------------------------------- a disk of each format */

/* Writes and zeroes here and there, disjoint at a time; then all is read. */
static void use_disk(void)
{
	unsigned int round, i, k, piece = SIZE / OPS & ~511U;

	for (round = 0; round < 12; round++) {
		for (i = 0; i < OPS; i++) {
			uint64_t at = (uint64_t)i * piece + (unsigned int)(rand() % 100) * 512;
			uint32_t len = (1 + (uint32_t)rand() % 200) * 512;
			bool zero = rand() % 4 == 0;

			for (k = 0; k < len && !zero; k++)
				t.data[at + k] = (uint8_t)rand();
			prepare(i, zero ? AIO_ALLOCATE : AIO_WRITE, at, len);
			if (zero)
				memset(t.model + at, 0, len);
			else
				memcpy(t.model + at, t.data + at, len);
		}
		run(OPS);
		all_good(OPS);
		prepare(0, AIO_SYNC, 0, 0);
		run(1);
		all_good(1);
		memset(t.data, 0xee, SIZE);
		for (i = 0; i < OPS; i++)
			prepare(i, AIO_READ, (uint64_t)i * piece, i == OPS - 1 ? SIZE - i * piece : piece);
		run(OPS);
		all_good(OPS);
		ck_assert_int_eq(memcmp(t.data, t.model, SIZE), 0);
	}
	/* Of no bytes, wherever: done, and the connection is as good as before. */
	prepare(0, AIO_READ, 0, 0);
	prepare(1, AIO_WRITE, SIZE, 0);
	prepare(2, AIO_ALLOCATE, 512, 0);
	t.op[0].nr_iov = 0;
	prepare(3, AIO_READ, SIZE - 512, 512);
	run(4);
	all_good(4);
	/* Beyond the end is an error, and no more than that. */
	prepare(0, AIO_READ, SIZE - 512, 512);
	t.op[0].offset = SIZE;
	run(1);
	ck_assert_int_eq(t.err[0], -EIO);
}

/* The code under test looks for its helper beside the running program. */
static void place_helper(void)
{
	char helper[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", helper, sizeof(helper) - 64);

	ck_assert_int_gt(n, 0);
	helper[n] = '\0';
	slash = strrchr(helper, '/');
	strcpy(slash + 1, FOREIGN_HELPER);
	ck_assert(!symlink("../../" FOREIGN_HELPER, helper) || errno == EEXIST);
}

static bool can_run(void)
{
	char helper[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", helper, sizeof(helper) - 64);

	ck_assert_int_gt(n, 0);
	helper[n] = '\0';
	strcpy(strrchr(helper, '/') + 1, FOREIGN_HELPER);
	return !access(helper, X_OK) && !access("/usr/bin/qemu-storage-daemon", X_OK);
}

static void save_model(void)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/model", dir);
	f = fopen(path, "w");
	ck_assert_uint_eq(fwrite(t.model, 1, SIZE, f), SIZE);
	fclose(f);
}

START_TEST(each_format)
{
	static const char *const formats[] = { "qcow2", "vdi", "vmdk", "vhdx", "vpc" };
	const char *name = formats[_i];

	if (!can_run())
		return;
	ck_assert(foreign_format(name, &t.cfg.format));
	t.cfg.cache = _i % 2 ? CACHE_WRITETHROUGH : CACHE_NONE;
	t.cfg.discard_unmap = true;
	ck_assert_int_eq(shell("qemu-img create -f %s %s disk 8M", name, _i == 4 ? "-o force_size=on" : ""), 0);
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	ck_assert_uint_eq(t.img.size, SIZE);
	queue_up();
	use_disk();
	/* Nobody else opens it meanwhile (QEMU's locks). */
	ck_assert_int_ne(shell("qemu-io -f %s -c 'write 0 512' disk", name), 0);
	queue_down();
	image_close(&t.img);
	save_model();
	ck_assert_int_eq(shell("qemu-img compare -f raw -F %s model disk", name), 0);
	/* 63: this format has no check. */
	ck_assert_msg(shell("qemu-img check -f %s disk", name) == 0 || _i == 4, "qemu-img check");
}
END_TEST

START_TEST(on_others)
{
	struct dom_backing below[2] = { { .format = DISK_QCOW2 }, { .format = DISK_VDI } };
	struct overlay_claim *claim;

	if (!can_run())
		return;
	ck_assert_int_gt(asprintf(&below[0].file, "%s/mid", dir), 0);
	ck_assert_int_gt(asprintf(&below[1].file, "%s/low", dir), 0);
	ck_assert_int_eq(shell("qemu-img create -f vdi low 8M && qemu-io -f vdi -c 'write -P 0x55 4096 4096' low &&"
			       "qemu-img create -f qcow2 -b low -F vdi mid && qemu-img create -f qcow2 -b mid -F qcow2 disk"), 0);
	t.cfg.format = DISK_QCOW2;
	/* Only what the XML names is opened. */
	ck_assert_int_ne(image_open(&t.img, &t.cfg, "test.xml"), 0);
	t.cfg.chain = below;
	t.cfg.nr_chain = 1;
	ck_assert_int_ne(image_open(&t.img, &t.cfg, "test.xml"), 0);
	t.cfg.nr_chain = 2;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	memset(t.model + 4096, 0x55, 4096);
	queue_up();
	use_disk();
	queue_down();
	image_close(&t.img);
	/* What is written to a transient disk goes, over all of it. */
	t.cfg.transient = true;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	ck_assert_ptr_nonnull(t.img.overlay);
	ck_assert_int_eq(overlay_read(t.img.overlay, t.data, SIZE, 0), 0);
	ck_assert_int_eq(memcmp(t.data, t.model, SIZE), 0);
	ck_assert_int_eq(overlay_begin(t.img.overlay, 512, 512, false, &claim), 0);
	ck_assert_ptr_null(claim);
	image_close(&t.img);
	save_model();
	ck_assert_int_eq(shell("qemu-img compare -f raw -F qcow2 model disk && qemu-img check disk"), 0);
	free(below[0].file);
	free(below[1].file);
}
END_TEST

/* Let go of, taken by another, and taken back. */
START_TEST(handed_over)
{
	struct image other;

	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f qcow2 disk 8M"), 0);
	t.cfg.format = DISK_QCOW2;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	ck_assert_int_ne(image_open(&other, &t.cfg, "second.xml"), 0);
	/* Who waits for it knows its size before. */
	t.cfg.incoming = true;
	ck_assert_int_eq(image_open(&other, &t.cfg, "third.xml"), 0);
	ck_assert_uint_eq(other.size, SIZE);
	ck_assert_int_eq(image_own(&other, true), -EAGAIN);
	ck_assert_int_eq(image_own(&t.img, false), 0);
	ck_assert_int_eq(image_own(&other, true), 0);
	ck_assert_int_eq(image_own(&t.img, true), -EAGAIN);
	ck_assert_int_eq(image_own(&other, false), 0);
	image_close(&other);
	ck_assert_int_eq(image_own(&t.img, true), 0);
	queue_up();
	use_disk();
	queue_down();
	image_close(&t.img);
	ck_assert_int_eq(shell("qemu-img check disk"), 0);
}
END_TEST

/* Of a template the image is read, by it and by its forks, and written by nobody; or all is as before. */
START_TEST(shared)
{
	struct image other;

	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f qcow2 disk 8M"), 0);
	t.cfg.format = DISK_QCOW2;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	queue_up();
	use_disk();
	queue_down();
	ck_assert_int_eq(nbd_disk_share(t.img.served, true), 0);
	ck_assert_int_ne(image_open(&other, &t.cfg, "writer.xml"), 0);
	t.cfg.transient = true;
	ck_assert_int_eq(image_open(&other, &t.cfg, "fork.xml"), 0);
	ck_assert_int_eq(overlay_read(other.overlay, t.data, SIZE, 0), 0);
	ck_assert_int_eq(memcmp(t.data, t.model, SIZE), 0);
	ck_assert_int_ne(nbd_disk_write(t.img.served, t.data, 512, 0), 0);
	ck_assert_int_ne(nbd_disk_share(t.img.served, false), 0);
	image_close(&other);
	t.cfg.transient = false;
	ck_assert_int_eq(nbd_disk_share(t.img.served, false), 0);
	queue_up();
	use_disk();
	queue_down();
	image_close(&t.img);
	ck_assert_int_eq(shell("qemu-img check disk"), 0);
}
END_TEST

static void *loop_thread(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

static void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

/* While the thread of its queue stands by, as a guest's does. */
static int resize_disk(uint64_t size, char why[FOREIGN_ANSWER])
{
	pthread_t thread;
	int ret;

	pthread_create(&thread, NULL, loop_thread, t.loop);
	ret = nbd_disk_resize(t.img.served, size, why, FOREIGN_ANSWER);
	ck_assert_int_eq(loop_post(t.loop, stop_loop, t.loop), 0);
	pthread_join(thread, NULL);
	return ret;
}

static bool reads(uint64_t at, uint8_t first)
{
	prepare(0, AIO_READ, 0, 512);
	t.op[0].offset = at;
	memset(t.data, 0xee, 512);
	run(1);
	return !t.err[0] && t.data[0] == first && t.data[511] == first;
}

/* Another size under a queue that goes on; the image is nobody's else at any moment. */
START_TEST(resized)
{
	char why[FOREIGN_ANSWER];
	unsigned int i;

	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f raw low 8M && qemu-img create -f qcow2 -b low -F raw disk"), 0);
	t.cfg.format = DISK_QCOW2;
	t.cfg.chain = &(struct dom_backing){ .format = DISK_RAW };
	ck_assert_int_gt(asprintf(&t.cfg.chain->file, "%s/low", dir), 0);
	t.cfg.nr_chain = 1;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	ck_assert_int_eq(shell("(until [ -e stop ]; do qemu-io -f qcow2 -c 'write -P 9 0 512' disk && touch stolen; done; rm stop) &"), 0);
	queue_up();
	use_disk();
	for (i = 1; i <= 4; i++) {
		ck_assert_msg(!resize_disk(SIZE + i * 4096, why), "%s", why);
		ck_assert_uint_eq(nbd_disk_size(t.img.served), SIZE + i * 4096);
		ck_assert(reads(SIZE + i * 4096 - 512, 0));
		ck_assert(!reads(SIZE + i * 4096, 0));
		ck_assert_int_eq(nbd_disk_write(t.img.served, "x", 1, SIZE + i * 4096 - 512), 0);
	}
	ck_assert_msg(!resize_disk(SIZE - 65536, why), "%s", why);
	ck_assert(!reads(SIZE - 65536, 0));
	ck_assert_msg(!resize_disk(SIZE, why), "%s", why);
	ck_assert(reads(SIZE - 512, 0));
	/* What was cut off is gone, and all else there. */
	memset(t.model + SIZE - 65536, 0, 65536);
	ck_assert_int_eq(nbd_disk_read(t.img.served, t.data, SIZE, 0), 0);
	ck_assert_int_eq(memcmp(t.data, t.model, SIZE), 0);
	use_disk();
	/* What cannot be leaves all as it was. */
	ck_assert_int_eq(resize_disk(1ULL << 62, why), -EIO);
	ck_assert_msg(*why, "no reason");
	use_disk();
	ck_assert_int_ne(shell("[ -e stolen ]"), 0);
	ck_assert_int_eq(shell("touch stop"), 0);
	ck_assert_int_eq(shell("while [ -e stop ]; do sleep 0.1; done"), 0);
	queue_down();
	image_close(&t.img);
	save_model();
	ck_assert_int_eq(shell("qemu-img compare -f raw -F qcow2 model disk && qemu-img check disk"), 0);
	free(t.cfg.chain->file);
}
END_TEST

/* Of a format that has one size for ever, of one that is only read, and by a daemon that is gone. */
START_TEST(not_resized)
{
	char why[FOREIGN_ANSWER];

	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f vdi disk 8M"), 0);
	t.cfg.format = DISK_VDI;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	queue_up();
	ck_assert_int_eq(resize_disk(2 * SIZE, why), -EIO);
	has(why, "resize");
	use_disk();
	queue_down();
	ck_assert_int_eq(nbd_disk_share(t.img.served, true), 0);
	ck_assert_int_eq(nbd_disk_resize(t.img.served, 2 * SIZE, why, sizeof(why)), -EIO);
	has(why, "only read");
	ck_assert_int_eq(nbd_disk_read(t.img.served, t.data, SIZE, 0), 0);
	ck_assert_int_eq(memcmp(t.data, t.model, SIZE), 0);
	image_close(&t.img);
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	ck_assert_int_eq(kill((pid_t)find_daemon(), SIGKILL), 0);
	ck_assert_int_ne(nbd_disk_resize(t.img.served, 2 * SIZE, why, sizeof(why)), 0);
	ck_assert_int_ne(nbd_disk_read(t.img.served, t.data, 512, 0), 0);
	image_close(&t.img);
}
END_TEST

/* As by attach-disk: opened by one process, used by another. */
START_TEST(plugged_in)
{
	struct image first;
	int control;

	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f qcow2 disk 8M"), 0);
	t.cfg.format = DISK_QCOW2;
	t.cfg.handed_on = true;
	ck_assert_int_eq(image_open(&first, &t.cfg, "test.xml"), 0);
	control = dup(nbd_disk_control(first.served));
	image_hand_on(&first);
	ck_assert_int_ne(image_adopt_served(&t.img, &t.cfg, open("/dev/null", O_RDWR)), 0);
	ck_assert_int_eq(image_adopt_served(&t.img, &t.cfg, control), 0);
	ck_assert_uint_eq(t.img.size, SIZE);
	ck_assert_int_ne(image_open(&first, &t.cfg, "second.xml"), 0);
	queue_up();
	use_disk();
	queue_down();
	image_close(&t.img);
	ck_assert_uint_eq(find_daemon(), 0);
	ck_assert_int_eq(shell("qemu-img check disk"), 0);
}
END_TEST

static unsigned int find_daemon(void)
{
	char line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "pgrep -f '[q]emu-storage-daemon.*%s/disk'", dir);
	f = popen(path, "r");
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	pclose(f);
	return (unsigned int)atoi(line);
}

/* Somebody stops the daemon: the process that is to end wakes it, or its end does. */
START_TEST(stopped)
{
	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f qcow2 disk 8M"), 0);
	t.cfg.format = DISK_QCOW2;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	queue_up();
	use_disk();
	ck_assert_int_eq(kill((pid_t)find_daemon(), SIGSTOP), 0);
	prepare(0, AIO_READ, 0, 4096);
	t.err[0] = 1;
	t.left = 2;
	aio_add(t.aio, &t.op[0]);
	ck_assert_int_eq(t.err[0], 1);
	nbd_disks_wake();
	aio_drain(t.aio);
	ck_assert_int_eq(t.err[0], 0);
	queue_down();
	ck_assert_int_eq(kill((pid_t)find_daemon(), SIGSTOP), 0);
	image_close(&t.img);
	ck_assert_uint_eq(find_daemon(), 0);
	ck_assert_int_eq(shell("qemu-img check disk"), 0);
}
END_TEST

/* It is killed: errors. We are, or all of our descriptors are closed: it ends. */
START_TEST(killed)
{
	unsigned int pid, n = 0;

	if (!can_run())
		return;
	ck_assert_int_eq(shell("qemu-img create -f qcow2 disk 8M"), 0);
	t.cfg.format = DISK_QCOW2;
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	queue_up();
	pid = find_daemon();
	ck_assert_uint_gt(pid, 1);
	ck_assert_int_eq(kill((pid_t)pid, SIGKILL), 0);
	/* Until its death is through, it may still answer. */
	do {
		prepare(0, AIO_READ, 0, 4096);
		prepare(1, AIO_WRITE, 65536, 1 << 20);
		run(2);
	} while ((!t.err[0] || !t.err[1]) && n++ < 100000);
	ck_assert_int_eq(t.err[0], -EIO);
	ck_assert_int_eq(t.err[1], -EIO);
	ck_assert_int_eq(nbd_disk_read(t.img.served, t.data, 512, 0), -EIO);
	queue_down();
	image_close(&t.img);
	ck_assert_uint_eq(find_daemon(), 0);
	/* As when a VMM is killed: nobody says anything. */
	ck_assert_int_eq(image_open(&t.img, &t.cfg, "test.xml"), 0);
	close(t.img.served->control);
	t.img.served->control = -1;
	ck_assert_int_eq(waitpid(t.img.served->pid, NULL, 0), t.img.served->pid);
	t.img.served->pid = 0;
	ck_assert_uint_eq(find_daemon(), 0);
	image_close(&t.img);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_checked_fixture(tc, place_helper, NULL);
	if (!system("command -v qemu-img > /dev/null"))
		tcase_add_test(tc, headers);
	tcase_add_loop_test(tc, each_format, 0, 5);
	tcase_add_test(tc, on_others);
	tcase_add_test(tc, handed_over);
	tcase_add_test(tc, plugged_in);
	tcase_add_test(tc, shared);
	tcase_add_test(tc, resized);
	tcase_add_test(tc, not_resized);
	tcase_add_test(tc, stopped);
	tcase_add_test(tc, killed);
}

int main(void)
{
	return foreign_main("foreign", add);
}
