// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/mirror.c vmm/state.c devices/storage/nbd_*.c vmm/helper.c devices/throttle.c devices/virtio/blk*.c devices/storage/disklog.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c vmm/unnamed.c devices/storage/foreign.c */
/* A virtio disk that its driver writes to while it is copied elsewhere: the copy is the disk. */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/socket.h>
#include "virtio_driver.h"
#include "devices/storage/image.h"
#include "vmm/mirror.h"

#define SECTORS	8192U		/* 4 MiB */
#define HDR	DRV_DATA
#define STATUS	(DRV_DATA + 0x1000)
#define DATA	(DRV_DATA + 0x2000)
#define RANGES	(1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES)

static struct dom_disk cfg;
static char path[64], layer[80], copy[80];
static struct mirror m;
static struct nbd_export export;
static struct nbd_server server = { .export = &export, .nr = 1 };
static struct state_error err;
static int pair[2];

static int make(const char *name, bool data)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	uint32_t sector[128];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SECTORS * 512), 0);
	for (unsigned int i = 0; data && i < SECTORS; i += 1 + i % 7) {
		for (unsigned int k = 0; k < 128; k++)
			sector[k] = i * 1000 + k;
		ck_assert_int_eq(pwrite(fd, sector, 512, i * 512), 512);
	}
	return fd;
}

static void setup(void)
{
	static struct dom_backing below;
	uint8_t id[OVERLAY_ID] = { 1 };
	int fd;

	/* Not in /tmp: that may be without O_DIRECT. */
	snprintf(path, sizeof(path), "/var/tmp/hvx-blk-mirror.%d", (int)getpid());
	snprintf(layer, sizeof(layer), "%s.layer", path);
	snprintf(copy, sizeof(copy), "%s.copy", path);
	close(make(path, true));
	fd = open(layer, O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert_int_eq(overlay_format(fd, id, SECTORS * 512), 0);
	close(fd);
	memset(&fdom, 0, sizeof(fdom));
	cfg = (struct dom_disk){ .file = path, .target = (char *)"vda", .discard_unmap = true };
	below = (struct dom_backing){ .file = path };
	cfg.backing = &below;
}

static void teardown(void)
{
	drv_free();
	unlink(path);
	unlink(layer);
	unlink(copy);
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t len)
{
	struct virtio_blk_outhdr h = { type, 0, sector };
	struct drv_buf b[3] = { { HDR, 16, false }, { DATA, len, type == VIRTIO_BLK_T_IN }, { STATUS, 1, true } };

	memcpy(ram(HDR), &h, sizeof(h));
	*(uint8_t *)ram(STATUS) = 0xee;
	drv_add(0, b, 3);
	drv_kick(0);
	drv_wait(0, NULL);
	return *(uint8_t *)ram(STATUS);
}

static void one_change(uint8_t *model)
{
	uint32_t r = fake_random(), n = 1 + r % 64, at = fake_random() % (SECTORS - n);
	struct virtio_blk_discard_write_zeroes z = { at, n, 0 };

	if (r & 0x30000) {
		memset(ram(DATA), (int)(r >> 20), n * 512);
		memset(model + at * 512, (uint8_t)(r >> 20), n * 512);
		ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, at, n * 512), 0);
		return;
	}
	memcpy(ram(DATA), &z, sizeof(z));
	memset(model + at * 512, 0, n * 512);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(z)), 0);
}

static void pace(void *o, size_t bytes)
{
	(void)o;
	(void)bytes;
}

static void *serve(void *arg)
{
	const char *why;

	(void)arg;
	nbd_serve(&server, pair[1], &why);
	close(pair[1]);
	return NULL;
}

static _Atomic bool copied;

static void *copy_disk(void *arg)
{
	(void)arg;
	ck_assert_msg(!mirror_copy(&m, &err), "%s", err.text);
	atomic_store(&copied, true);
	return NULL;
}

/* 0 raw; 1 with O_DIRECT; 2 a layer over it. */
START_TEST(moves)
{
	static uint8_t model[SECTORS * 512], buf[SECTORS * 512];
	const struct image *img;
	struct mirror_disk *d;
	pthread_t t, server_thread;
	const char *why;
	char text[64];
	unsigned int i;
	int fd = open(path, O_RDONLY);

	ck_assert_int_eq(read(fd, model, sizeof(model)), sizeof(model));
	close(fd);
	if (_i == 1)
		cfg.cache = CACHE_NONE;
	if (_i == 2) {
		cfg.file = layer;
		cfg.nr_backing = 1;
	}
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_blk_create(&fm, &cfg), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
	drv_start(RANGES & drv_offered(), 1);
	for (i = 0; i < 50; i++)
		one_change(model);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	export = (struct nbd_export){ .name = "vda", .fd = make(copy, true), .size = SECTORS * 512 };
	mirror_init(&m);
	m.pace = pace;
	pthread_mutex_lock(&fm.lock);
	ck_assert_ptr_null(virtio_blk_log(&fm, "vdb", NULL, &why));
	img = virtio_blk_log(&fm, "vda", NULL, &why);
	ck_assert_ptr_nonnull(img);
	d = mirror_add(&m, "vda", img, img->size, pair[0]);
	ck_assert_ptr_eq(virtio_blk_log(&fm, "vda", d->log, &why), img);
	ck_assert_int_lt(virtio_blk_resize(&fm, "vda", 2 * SECTORS * 512, text, sizeof(text)), 0);
	pthread_mutex_unlock(&fm.lock);
	atomic_store(&copied, false);
	pthread_create(&server_thread, NULL, serve, NULL);
	pthread_create(&t, NULL, copy_disk, NULL);
	for (i = 0; i < 200 || !atomic_load(&copied); i++)
		one_change(model);
	pthread_join(t, NULL);
	for (i = 0; i < 100; i++)
		one_change(model);
	/* A read marks nothing. */
	mirror_hurry(&m);
	ck_assert_msg(!mirror_end(&m, &err), "%s", err.text);
	ck_assert_uint_eq(disk_log_count(d->log), 0);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, 4096), 0);
	ck_assert_uint_eq(disk_log_count(d->log), 0);
	pthread_mutex_lock(&fm.lock);
	virtio_blk_log(&fm, "vda", NULL, &why);
	pthread_mutex_unlock(&fm.lock);
	pthread_join(server_thread, NULL);
	mirror_join(&m);
	mirror_free(&m);
	one_change(buf);	/* nobody listens any more; into the disk only */
	ck_assert(export.complete);
	ck_assert_int_eq(file_read(export.fd, buf, sizeof(buf), 0), 0);
	ck_assert_mem_eq(buf, model, sizeof(buf));
	close(export.fd);
	close(pair[0]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blk_mirror");
	TCase *t = tcase_create("blk_mirror");
	SRunner *sr;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, moves, 0, 3);
	suite_add_tcase(s, t);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
