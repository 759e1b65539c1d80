// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c devices/virtio/blk*.c devices/storage/disklog.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c */
/* virtio-blk on a real file: transfers, cache modes, overlays, and requests that are wrong. */
#include "blk_fixture.h"

static void check_transfers(void)
{
	uint8_t buf[512];
	unsigned int i;

	for (i = 0; i < 50; i++) {
		unsigned int sector = i * 37 % (SECTORS - 8);

		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, sector, DATA, 8 * 512), 0);
		assert_sector(ram(DATA), sector);
		assert_sector((char *)ram(DATA) + 7 * 512, sector + 7);
	}
	memset(ram(DATA), 'w', 1024);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 100, DATA, 1024), 0);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
	memset(ram(DATA), 0, 4096);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 99, DATA, 2048), 0);
	assert_sector(ram(DATA), 99);
	ck_assert_int_eq(((char *)ram(DATA))[512], 'w');
	ck_assert_int_eq(((char *)ram(DATA))[1535], 'w');
	assert_sector((char *)ram(DATA) + 1536, 102);
	file_sector(101, buf);
	ck_assert_int_eq(buf[511], 'w');
	/* Memory at an odd address. */
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 200, DATA + 3, 1024), 0);
	ck_assert_uint_eq(*(uint32_t *)memcpy(buf, (char *)ram(DATA) + 3, 4), 200000);
	memset((char *)ram(DATA) + 1, 'o', 512);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 300, DATA + 1, 512), 0);
	file_sector(300, buf);
	ck_assert_int_eq(buf[0], 'o');
	ck_assert_int_eq(buf[511], 'o');
}

START_TEST(transfers)
{
	cfg.cache = _i;
	up();
	drv_start(FLUSH & drv_offered(), 1);
	check_transfers();
}
END_TEST

/* A driver that cannot flush: writes are safe by themselves. */
START_TEST(without_flush)
{
	up();
	ck_assert(drv_offered() & FLUSH);
	drv_start(0, 1);
	check_transfers();
}
END_TEST

START_TEST(config)
{
	cfg.queues = 3;
	cfg.physical_block = 4096;
	up();
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device, 8), SECTORS);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 20, 4), 512);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 24, 1), 3);
	ck_assert_uint_eq(bus_read(&fm.mmio, drv.device + 34, 2), 3);
	ck_assert_uint_eq(common(VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	ck_assert(drv_offered() & 1ULL << VIRTIO_BLK_F_MQ);
	ck_assert(!(drv_offered() & 1ULL << VIRTIO_BLK_F_DISCARD));
	drv_start(FLUSH, 3);
	memset(ram(DATA), 0, 20);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_GET_ID, 0, DATA, 20), 0);
	ck_assert_str_eq(ram(DATA), "SERIAL-1");
}
END_TEST

START_TEST(many_at_once)
{
	unsigned int round, i;

	cfg.queues = 2;
	up();
	drv_start(FLUSH, 2);
	for (round = 0; round < 100; round++) {
		for (i = 0; i < 10; i++) {
			unsigned int q = i & 1;
			uint64_t base = 0x400000 + i * 0x10000;
			struct virtio_blk_outhdr h = { VIRTIO_BLK_T_IN, 0, (round * 10 + i) % SECTORS };
			struct drv_buf b[3] = { { base, 16, false }, { base + 0x1000, 512, true }, { base + 0x800, 1, true } };

			memcpy(ram(base), &h, sizeof(h));
			*(uint8_t *)ram(base + 0x800) = 0xee;
			drv_add(q, b, 3);
			drv_kick(q);
		}
		for (i = 0; i < 10; i++)
			drv_wait(i & 1, NULL);
		for (i = 0; i < 10; i++) {
			ck_assert_uint_eq(*(uint8_t *)ram(0x400000 + i * 0x10000 + 0x800), 0);
			assert_sector(ram(0x400000 + i * 0x10000 + 0x1000), (round * 10 + i) % SECTORS);
		}
	}
}
END_TEST

/* Header, data and status split at any byte. */
START_TEST(any_layout)
{
	struct drv_buf b[6] = {
		{ HDR, 5, false }, { HDR + 5, 11, false },
		{ DATA, 100, true }, { DATA + 100, 412, true }, { DATA + 0x1000, 1, true },
	};
	struct drv_buf one[2] = { { HDR, 16 + 512, false }, { STATUS, 1, true } };
	struct drv_buf both[2] = { { HDR, 16, false }, { DATA, 513, true } };
	uint8_t buf[512];

	up();
	drv_start(FLUSH, 1);
	header(VIRTIO_BLK_T_IN, 17);
	*(uint8_t *)ram(DATA + 0x1000) = 0xee;
	drv_add(0, b, 5);
	drv_kick(0);
	ck_assert_uint_eq(drv_wait(0, NULL), 513);
	ck_assert_uint_eq(*(uint8_t *)ram(DATA + 0x1000), 0);
	assert_sector(ram(DATA), 17);
	/* Data right behind the header; status right behind the data. */
	header(VIRTIO_BLK_T_OUT, 18);
	memset((char *)ram(HDR) + 16, 'q', 512);
	drv_add(0, one, 2);
	drv_kick(0);
	drv_wait(0, NULL);
	file_sector(18, buf);
	ck_assert_int_eq(buf[0], 'q');
	header(VIRTIO_BLK_T_IN, 19);
	memset(ram(DATA), 0xee, 1024);
	drv_add(0, both, 2);
	drv_kick(0);
	drv_wait(0, NULL);
	assert_sector(ram(DATA), 19);
	ck_assert_uint_eq(((uint8_t *)ram(DATA))[512], 0);
}
END_TEST

/* ------------------------------------------------------------- wrong requests */

START_TEST(beyond_the_end)
{
	up();
	drv_start(FLUSH, 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, SECTORS - 1, DATA, 512), 0);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, SECTORS, DATA, 512), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, SECTORS - 1, DATA, 1024), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, ~0ULL, DATA, 512), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 1ULL << 55, DATA, 512), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, 511), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, DATA, 513), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, 0, 0), 1);
	ck_assert_uint_eq(request(99, 0, DATA, 512), 2);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_DISCARD, 0, DATA, 16), 2);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 5, DATA, 512), 0);
	assert_sector(ram(DATA), 5);
}
END_TEST

START_TEST(no_header)
{
	struct drv_buf status = { STATUS, 1, true }, half[2] = { { HDR, 15, false }, { STATUS, 1, true } };
	struct drv_buf blind = { HDR, 16, false };

	up();
	drv_start(FLUSH, 1);
	drv_add(0, _i == 0 ? &status : _i == 1 ? half : &blind, _i == 1 ? 2 : 1);
	drv_kick(0);
	drv_wait_broken();
	drv_start(FLUSH, 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 5, DATA, 512), 0);
}
END_TEST

START_TEST(read_only)
{
	uint8_t buf[512];

	cfg.readonly = true;
	up();
	ck_assert(drv_offered() & 1ULL << VIRTIO_BLK_F_RO);
	drv_start(1ULL << VIRTIO_BLK_F_RO, 1);
	memset(ram(DATA), 'w', 512);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 3, DATA, 512), 1);
	file_sector(3, buf);
	assert_sector(buf, 3);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 3, DATA, 512), 0);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
}
END_TEST

/* ------------------------------------------------------- discard, write zeroes */

static uint8_t ranges(uint32_t type, const struct virtio_blk_discard_write_zeroes *r, unsigned int n)
{
	memcpy(ram(DATA), r, n * sizeof(*r));
	return request(type, 0, DATA, n * sizeof(*r));
}

static void assert_zero(unsigned int sector)
{
	unsigned int k;

	memset(ram(DATA), 0xee, 512);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, sector, DATA, 512), 0);
	for (k = 0; k < 512; k++)
		ck_assert_uint_eq(((uint8_t *)ram(DATA))[k], 0);
}

static void assert_kept(unsigned int sector)
{
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, sector, DATA, 512), 0);
	assert_sector(ram(DATA), sector);
}

START_TEST(zeroes)
{
	struct virtio_blk_discard_write_zeroes r[17] = { { 8, 16, 0 }, { 100, 3, 1 } };
	struct virtio_blk_discard_write_zeroes d = { 256, 64, 0 };

	cfg.discard_unmap = true;
	cfg.transient = _i;
	up();
	drv_start(RANGES, 1);
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, r, 2), 0);
	assert_kept(7);
	assert_zero(8);
	assert_zero(23);
	assert_kept(24);
	assert_kept(99);
	assert_zero(100);
	assert_zero(102);
	assert_kept(103);
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_DISCARD, &d, 1), 0);
	assert_kept(255);
	assert_kept(320);
	/* Wrong ones. */
	r[0] = (struct virtio_blk_discard_write_zeroes){ SECTORS - 1, 2, 0 };
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, r, 1), 1);
	r[0] = (struct virtio_blk_discard_write_zeroes){ ~0ULL, 2, 0 };
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, r, 1), 1);
	r[0] = (struct virtio_blk_discard_write_zeroes){ 0, ~0U, 0 };
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_DISCARD, r, 1), 1);
	r[0] = (struct virtio_blk_discard_write_zeroes){ 0, 0, 0 };
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_DISCARD, r, 1), 1);
	r[0] = (struct virtio_blk_discard_write_zeroes){ 0, 1, 2 };
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, r, 1), 2);
	r[0] = (struct virtio_blk_discard_write_zeroes){ 0, 1, 1 };
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_DISCARD, r, 1), 2);
	ck_assert_uint_eq(ranges(VIRTIO_BLK_T_DISCARD, r, 17), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_DISCARD, 0, DATA, 15), 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_DISCARD, 0, 0, 0), 1);
	assert_kept(0);
}
END_TEST

/* -------------------------------------------------------------------- overlays */

START_TEST(transient)
{
	uint8_t buf[512];
	static uint8_t model[SECTORS * 512];
	unsigned int i;
	int fd;

	cfg.transient = true;
	cfg.cache = _i ? CACHE_NONE : CACHE_DEFAULT;
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, model, sizeof(model)), sizeof(model));
	close(fd);
	up();
	drv_start(RANGES, 1);
	for (i = 0; i < 600; i++) {
		uint32_t r = fake_random(), n = 1 + r % 40, at = fake_random() % (SECTORS - n);

		if (r & 0x10000) {
			memset(ram(DATA), r >> 17, n * 512);
			memset(model + at * 512, r >> 17, n * 512);
			ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, at, DATA, n * 512), 0);
		} else if (r & 0x20000) {
			ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, at, DATA, n * 512), 0);
			ck_assert_mem_eq(ram(DATA), model + at * 512, n * 512);
		} else {
			struct virtio_blk_discard_write_zeroes z = { at, n, 0 };

			memset(model + at * 512, 0, n * 512);
			ck_assert_uint_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, &z, 1), 0);
		}
	}
	for (i = 0; i < SECTORS; i += 64) {
		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, i, DATA, 64 * 512), 0);
		ck_assert_mem_eq(ram(DATA), model + i * 512, 64 * 512);
	}
	/* The image has not changed. */
	for (i = 0; i < SECTORS; i++) {
		file_sector(i, buf);
		assert_sector(buf, i);
	}
}
END_TEST

/* A sector of a block that is on its way already. */
START_TEST(transient_overlap)
{
	const struct virtio_blk_outhdr h[2] = { { VIRTIO_BLK_T_OUT, 0, 8 }, { VIRTIO_BLK_T_OUT, 0, 9 } };
	struct drv_buf b[3] = { { HDR, 16, false }, { DATA, 4096, false }, { STATUS, 1, true } };

	cfg.transient = true;
	up();
	drv_start(FLUSH, 1);
	memcpy(ram(HDR), h, sizeof(h));
	memset(ram(DATA), 'w', 4096);
	drv_add(0, b, 3);
	drv_add(0, (struct drv_buf[]){ { HDR + 16, 16, false }, { DATA, 512, false }, { STATUS, 1, true } }, 3);
	drv_kick(0);
	drv_wait(0, NULL);
	drv_wait(0, NULL);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 8, DATA + 4096, 4096), 0);
	ck_assert_mem_eq(ram(DATA + 4096), ram(DATA), 4096);
}
END_TEST

START_TEST(transient_short_last_block)
{
	ck_assert_int_eq(truncate(path, 9 * 512), 0);
	cfg.transient = true;
	up();
	drv_start(FLUSH, 1);
	memset(ram(DATA), 't', 512);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 8, DATA, 512), 0);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 7, DATA, 1024), 0);
	assert_sector(ram(DATA), 7);
	ck_assert_int_eq(((char *)ram(DATA))[1023], 't');
}
END_TEST

/* ---------------------------------------------------------------------- layers */

/* What is in the files: what another process would find. */
static void assert_content(const uint8_t *model)
{
	static uint8_t buf[SECTORS * 512];
	int raw = open(path, O_RDONLY);
	struct overlay *o[2];
	const char *why;
	int i;

	for (i = 0; i < 2; i++) {
		o[i] = overlay_load(open(layer_path[i], O_RDONLY), &why);
		ck_assert_ptr_nonnull(o[i]);
		ck_assert_uint_eq(o[i]->id[0], i);
	}
	o[0]->base_fd = raw;
	o[1]->below = o[0];
	ck_assert_int_eq(overlay_read(o[1], buf, sizeof(buf), 0), 0);
	for (i = 0; i < (int)sizeof(buf); i += 512)
		ck_assert_mem_eq(buf + i, model + i, 512);
	overlay_free(o[1]);
	close(raw);
}

static void one_change(uint8_t *model)
{
	uint32_t r = fake_random(), n = 1 + r % 40, at = fake_random() % (SECTORS - n);
	struct virtio_blk_discard_write_zeroes z = { at, n, 0 };

	if (r & 0x10000) {
		memset(ram(DATA), r >> 17, n * 512);
		memset(model + at * 512, r >> 17, n * 512);
		ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, at, DATA, n * 512), 0);
	} else if (r & 0x20000) {
		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, at, DATA, n * 512), 0);
		ck_assert_mem_eq(ram(DATA), model + at * 512, n * 512);
	} else {
		memset(model + at * 512, 0, n * 512);
		ck_assert_uint_eq(ranges(VIRTIO_BLK_T_WRITE_ZEROES, &z, 1), 0);
	}
}

/* The lower layer is written by a guest of its own first. */
START_TEST(layers)
{
	static uint8_t model[SECTORS * 512];
	struct dom_disk top;
	uint8_t buf[512];
	unsigned int i;
	int fd = open(path, O_RDONLY);

	ck_assert_int_eq(read(fd, model, sizeof(model)), sizeof(model));
	close(fd);
	cfg.discard_unmap = true;
	cfg.cache = _i == 1 ? CACHE_WRITETHROUGH : _i == 2 ? CACHE_UNSAFE : CACHE_DEFAULT;
	make_layers();
	top = cfg;
	cfg.file = layer_path[0];
	cfg.nr_backing = 1;
	cfg.backing = top.backing + 1;
	up();
	drv_start(RANGES & drv_offered(), 1);
	for (i = 0; i < 100; i++)
		one_change(model);
	drv_free();
	assert_content(model);
	cfg = top;
	up();
	drv_start(RANGES & drv_offered(), 1);
	for (i = 0; i < 400; i++) {
		one_change(model);
		if (i % 40 == 39) {
			/* Write-through needs no flush; the others are whole once it came back. */
			if (_i != 1)
				ck_assert_uint_eq(request(VIRTIO_BLK_T_FLUSH, 0, 0, 0), 0);
			else
				one_change(model);
			if (_i != 1)
				assert_content(model);
		}
	}
	/* Whoever stops the guest finds all of it, without a flush. */
	pthread_mutex_lock(&fm.lock);
	fm.devices->next->ops->pause(fm.devices->next);
	assert_content(model);
	fm.devices->next->ops->resume(fm.devices->next);
	pthread_mutex_unlock(&fm.lock);
	for (i = 0; i < SECTORS; i += 64) {
		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, i, DATA, 64 * 512), 0);
		ck_assert_mem_eq(ram(DATA), model + i * 512, 64 * 512);
	}
	for (i = 0; i < SECTORS; i++) {
		file_sector(i, buf);
		assert_sector(buf, i);
	}
	unlink_layers();
}
END_TEST

/* A write that was reported is there, though nobody flushed. */
START_TEST(layer_write_through)
{
	static uint8_t model[SECTORS * 512];
	int fd = open(path, O_RDONLY), i;

	ck_assert_int_eq(read(fd, model, sizeof(model)), sizeof(model));
	close(fd);
	cfg.cache = CACHE_WRITETHROUGH;
	make_layers();
	up();
	drv_start(0, 1);
	for (i = 0; i < 20; i++) {
		memset(ram(DATA), i, 3 * 512);
		memset(model + i * 11 * 512, i, 3 * 512);
		ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, i * 11, DATA, 3 * 512), 0);
		assert_content(model);
	}
	unlink_layers();
}
END_TEST

/* <transient/> over layers: none of them changes. */
START_TEST(transient_over_layers)
{
	static uint8_t model[SECTORS * 512], before[SECTORS * 512];
	int fd = open(path, O_RDONLY), i;

	ck_assert_int_eq(read(fd, model, sizeof(model)), sizeof(model));
	close(fd);
	make_layers();
	up();
	drv_start(FLUSH, 1);
	memset(ram(DATA), 'x', 4096);
	memset(model + 50 * 512, 'x', 4096);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 50, DATA, 4096), 0);
	drv_free();
	memcpy(before, model, sizeof(model));
	cfg.transient = true;
	up();
	drv_start(RANGES, 1);
	for (i = 0; i < 200; i++)
		one_change(model);
	drv_free();
	drv_machine();
	assert_content(before);
	unlink_layers();
}
END_TEST

/* A guest gets a layer while it stands still: what it wrote before stays below. */
START_TEST(layer_comes)
{
	static uint8_t model[SECTORS * 512], before[SECTORS * 512], now[SECTORS * 512];
	uint8_t id[OVERLAY_ID] = { 9 };
	struct device_stats st = { 0 };
	struct overlay *o, *small;
	struct device *d;
	const char *why;
	int fd = open(path, O_RDONLY), i, file;

	cfg.cache = _i ? CACHE_NONE : CACHE_DEFAULT;
	cfg.discard_unmap = true;
	ck_assert_int_eq(read(fd, model, sizeof(model)), sizeof(model));
	up();
	d = fm.devices->next;
	drv_start(RANGES & drv_offered(), 1);
	for (i = 0; i < 50; i++)
		one_change(model);
	pthread_mutex_lock(&fm.lock);
	d->ops->pause(d);
	memcpy(before, model, sizeof(model));
	snprintf(layer_path[0], sizeof(layer_path[0]), "%s.new", path);
	file = open(layer_path[0], O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert_int_eq(overlay_format(file, id, SECTORS * 512 - 512), 0);
	small = overlay_load(dup(file), &why);
	ck_assert_ptr_nonnull(virtio_blk_layer(&fm, "vda", small, NULL, true));
	overlay_free(small);
	ck_assert_int_eq(ftruncate(file, 0), 0);
	ck_assert_int_eq(overlay_format(file, id, SECTORS * 512), 0);
	o = overlay_load(file, &why);
	ck_assert_ptr_nonnull(o);
	ck_assert_ptr_nonnull(virtio_blk_layer(&fm, "vdb", o, NULL, true));
	ck_assert_ptr_null(virtio_blk_layer(&fm, "vda", o, NULL, true));
	ck_assert_ptr_null(virtio_blk_layer(&fm, "vda", o, strdup(layer_path[0]), false));
	d->ops->stats(d, &st);
	ck_assert(st.disk.layered && st.disk.layer[0] == 9);
	ck_assert_str_eq(st.disk.file, layer_path[0]);
	d->ops->resume(d);
	pthread_mutex_unlock(&fm.lock);
	for (i = 0; i < 100; i++)
		one_change(model);
	for (i = 0; i < (int)SECTORS; i += 64) {
		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, i, DATA, 64 * 512), 0);
		ck_assert_mem_eq(ram(DATA), model + i * 512, 64 * 512);
	}
	ck_assert_int_eq(pread(fd, now, sizeof(now), 0), sizeof(now));
	ck_assert_mem_eq(now, before, sizeof(now));
	close(fd);
	unlink(layer_path[0]);
}
END_TEST

static void poke(const char *file, off_t at, const void *data, size_t len)
{
	int fd = open(file, O_WRONLY);

	ck_assert_int_eq(pwrite(fd, data, len, at), (ssize_t)len);
	close(fd);
}

START_TEST(bad_layers)
{
	struct dom_disk c;
	struct image img;
	uint8_t head[128], id[OVERLAY_ID] = { 0 };
	const char *why = NULL;
	struct stat st;
	int fd, i;

	drv_machine();
	make_layers();
	c = cfg;
	ck_assert_int_eq(image_open(&img, &c, "test.xml"), 0);
	image_close(&img);
	fd = open(layer_path[1], O_RDONLY);
	ck_assert_int_eq(read(fd, head, sizeof(head)), sizeof(head));
	fstat(fd, &st);
	close(fd);
	/* No byte of the header may be another. */
	for (i = 0; i < (int)sizeof(head); i++) {
		uint8_t bad = (uint8_t)(head[i] ^ (1 << i % 8));

		poke(layer_path[1], i, &bad, 1);
		ck_assert_ptr_null(overlay_load(open(layer_path[1], O_RDWR), &why));
		ck_assert_ptr_nonnull(why);
		ck_assert_int_eq(image_open(&img, &c, "test.xml"), -EINVAL);
		poke(layer_path[1], i, &head[i], 1);
	}
	ck_assert_int_eq(truncate(layer_path[1], st.st_size - 1), 0);
	ck_assert_int_eq(image_open(&img, &c, "test.xml"), -EINVAL);
	ck_assert_int_eq(truncate(layer_path[1], 100), 0);
	ck_assert_int_eq(image_open(&img, &c, "test.xml"), -EINVAL);
	ck_assert_int_eq(truncate(layer_path[1], 0), 0);
	ck_assert_int_eq(image_open(&img, &c, "test.xml"), -EINVAL);
	/* Of another disk. */
	fd = open(layer_path[1], O_RDWR);
	ck_assert_int_eq(overlay_format(fd, id, SECTORS * 512 + 512), 0);
	ck_assert_int_eq(overlay_format(fd, id, 0), -EFBIG);
	ck_assert_int_eq(overlay_format(fd, id, OVERLAY_MAX + 512), -EFBIG);
	close(fd);
	ck_assert_int_eq(image_open(&img, &c, "test.xml"), -EINVAL);
	/* All bits set, also those of blocks that there are not. */
	unlink(path);
	unlink_layers();
	make_file();
	make_layers();
	memset(head, 0xff, sizeof(head));
	poke(layer_path[1], 4096, head, sizeof(head));
	ck_assert_int_eq(image_open(&img, &cfg, "test.xml"), 0);
	ck_assert_int_eq(overlay_read(img.overlay, head, sizeof(head), SECTORS * 512 - sizeof(head)), 0);
	ck_assert_uint_eq(head[0], 0);
	image_close(&img);
	unlink_layers();
}
END_TEST

/* Resets, pauses and resumes at any moment, with requests under way. */
START_TEST(reset_in_flight)
{
	struct device *d;
	unsigned int round, i;

	cfg.cache = _i ? CACHE_NONE : CACHE_DEFAULT;
	up();
	d = fm.devices->next;
	for (round = 0; round < 300; round++) {
		drv_start(FLUSH, 1);
		for (i = 0; i < 5; i++) {
			struct drv_buf b[3] = {
				{ HDR, 16, false }, { 0x400000, 0x80000, true }, { STATUS, 1, true },
			};

			header(VIRTIO_BLK_T_IN, 0);
			drv_add(0, b, 3);
		}
		drv_kick(0);
		if (round % 3 == 1) {
			pthread_mutex_lock(&fm.lock);
			d->ops->pause(d);
			memset(ram(0x400000), 0x55, 0x80000);
			for (i = 0; i < 0x80000; i += 4096)
				ck_assert_uint_eq(((uint8_t *)ram(0x400000))[i], 0x55);
			d->ops->resume(d);
			pthread_mutex_unlock(&fm.lock);
			for (i = 0; i < 5; i++)
				drv_wait(0, NULL);
		}
		drv_set_status(0);
		/* Nothing writes to the guest's memory after the reset. */
		memset(ram(0x400000), 0xaa, 0x80000);
		for (i = 0; i < 0x80000; i += 4096)
			ck_assert_uint_eq(((uint8_t *)ram(0x400000))[i], 0xaa);
	}
}
END_TEST

START_TEST(file_shrinks)
{
	up();
	drv_start(FLUSH, 1);
	ck_assert_int_eq(truncate(path, 4096), 0);
	memset(ram(DATA), 0xee, 512);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 100, DATA, 512), 0);
	ck_assert_uint_eq(((uint8_t *)ram(DATA))[0], 0);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 7, DATA, 1024), 0);
	assert_sector(ram(DATA), 7);
	ck_assert_uint_eq(((uint8_t *)ram(DATA))[600], 0);
}
END_TEST

START_TEST(random_requests)
{
	unsigned int i, k;

	cfg.discard_unmap = true;
	cfg.transient = _i;
	up();
	drv_start(RANGES, 1);
	for (i = 0; i < 3000; i++) {
		struct drv_buf b[5];
		unsigned int n = 1 + fake_random() % 5, outs = fake_random() % (n + 1);
		unsigned int used, wait;

		header(fake_random() % 15, fake_random() % (SECTORS + 4));
		for (k = 0; k < n; k++) {
			uint32_t r = fake_random();

			b[k] = (struct drv_buf){ r & 0x100 ? HDR : DATA + (r >> 9 & 0xfff),
						 1 + (r & 2 ? r >> 16 & 0x1fff : (r >> 16 & 7) * 512), k >= outs };
		}
		drv_add(0, b, n);
		drv_kick(0);
		used = drv.q[0].seen;
		for (wait = 0; drv_idle(0) && !(drv_status() & 0x40) && wait < 100000; wait++)
			usleep(20);
		ck_assert(!drv_idle(0) || drv_status() & 0x40);
		if (drv_status() & 0x40)
			drv_start(RANGES, 1);
		else
			drv.q[0].seen = used + 1;
	}
}
END_TEST

START_TEST(anything)
{
	up();
	drv_start(FLUSH, 1);
	drv_fuzz(50000);
	drv_start(FLUSH, 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 5, DATA, 512), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blk");
	TCase *t = tcase_create("blk");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 240);
	tcase_add_loop_test(t, transfers, CACHE_DEFAULT, CACHE_UNSAFE + 1);
	tcase_add_test(t, without_flush);
	tcase_add_test(t, config);
	tcase_add_test(t, many_at_once);
	tcase_add_test(t, any_layout);
	tcase_add_test(t, beyond_the_end);
	tcase_add_loop_test(t, no_header, 0, 3);
	tcase_add_test(t, read_only);
	tcase_add_loop_test(t, zeroes, 0, 2);
	tcase_add_loop_test(t, transient, 0, 2);
	tcase_add_test(t, transient_overlap);
	tcase_add_test(t, transient_short_last_block);
	tcase_add_loop_test(t, layers, 0, 3);
	tcase_add_test(t, layer_write_through);
	tcase_add_loop_test(t, layer_comes, 0, 2);
	tcase_add_test(t, transient_over_layers);
	tcase_add_test(t, bad_layers);
	tcase_add_loop_test(t, reset_in_flight, 0, 2);
	tcase_add_test(t, file_shrinks);
	tcase_add_loop_test(t, random_requests, 0, 2);
	tcase_add_test(t, anything);
	suite_add_tcase(s, t);
	return fake_main(s);
}
