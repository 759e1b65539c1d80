/* SPDX-License-Identifier: GPL-2.0-only */
/* virtio-blk on a file of its own, and on layers over it: what its tests share. */
#ifndef TESTS_UNIT_BLK_FIXTURE_H
#define TESTS_UNIT_BLK_FIXTURE_H

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/stat.h>
#include "virtio_driver.h"
#include "devices/virtio/blk_int.h"

#define SECTORS	2048U		/* 1 MiB */
#define HDR	DRV_DATA
#define STATUS	(DRV_DATA + 0x1000)
#define DATA	(DRV_DATA + 0x2000)
#define FLUSH	(1ULL << VIRTIO_BLK_F_FLUSH)
#define RANGES	(FLUSH | 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES)

static struct dom_disk cfg;
static char path[64];

static inline void make_file(void)
{
	unsigned int i;
	int fd;

	/* Not in /tmp: that may be without O_DIRECT. */
	strcpy(path, "/var/tmp/hvx-blk-test.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	for (i = 0; i < SECTORS; i++) {
		uint32_t sector[128];
		unsigned int k;

		for (k = 0; k < 128; k++)
			sector[k] = i * 1000 + k;
		ck_assert_int_eq(write(fd, sector, 512), 512);
	}
	close(fd);
	memset(&fdom, 0, sizeof(fdom));
	cfg = (struct dom_disk){ .file = path, .target = (char *)"vda", .serial = (char *)"SERIAL-1" };
}

static inline void up(void)
{
	drv_machine();
	pthread_mutex_lock(&fm.lock);
	ck_assert_int_eq(virtio_blk_create(&fm, &cfg), 0);
	pthread_mutex_unlock(&fm.lock);
	drv_up();
}

static inline void setup(void)
{
	make_file();
}

static inline void teardown(void)
{
	drv_free();
	unlink(path);
}

static inline void header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { type, 0, sector };

	memcpy(ram(HDR), &h, sizeof(h));
	*(uint8_t *)ram(STATUS) = 0xee;
}

/* One request with one piece of data; its status. */
static inline uint8_t request(uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct drv_buf b[3] = { { HDR, 16, false }, { data, len, in }, { STATUS, 1, true } };

	header(type, sector);
	if (!len)
		b[1] = b[2];
	drv_add(0, b, len ? 3 : 2);
	drv_kick(0);
	drv_wait(0, NULL);
	return *(uint8_t *)ram(STATUS);
}

static inline void assert_sector(const void *data, unsigned int sector)
{
	const uint32_t *w = data;
	unsigned int k;

	for (k = 0; k < 128; k++)
		ck_assert_uint_eq(w[k], sector * 1000 + k);
}

static inline void file_sector(unsigned int sector, void *buf)
{
	int fd = open(path, O_RDONLY);

	ck_assert_int_eq(pread(fd, buf, 512, sector * 512), 512);
	close(fd);
}

/* ------------------------------------------------------------------- transfers */

static char layer_path[2][80];

static inline void make_layers(void)
{
	static struct dom_backing below[2];
	uint8_t id[OVERLAY_ID] = { 0 };
	int fd, i;

	for (i = 0; i < 2; i++) {
		snprintf(layer_path[i], sizeof(layer_path[i]), "%s.%d", path, i);
		fd = open(layer_path[i], O_RDWR | O_CREAT | O_EXCL, 0600);
		id[0] = (uint8_t)i;
		ck_assert_int_eq(overlay_format(fd, id, SECTORS * 512), 0);
		close(fd);
	}
	below[0] = (struct dom_backing){ .file = layer_path[0], .layer = true };
	below[1] = (struct dom_backing){ .file = path };
	cfg.file = layer_path[1];
	cfg.backing = below;
	cfg.nr_backing = 2;
}

static inline void unlink_layers(void)
{
	unlink(layer_path[0]);
	unlink(layer_path[1]);
}

#endif
