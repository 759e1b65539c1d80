// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/virtio/rng.c devices/virtio/console.c devices/virtio/balloon.c devices/virtio/blk*.c devices/storage/disklog.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c devices/pci.c devices/device.c vmm/state.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c */
/* virtio devices moved to another machine in the middle of their work; saved state that lies. */
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <sys/mman.h>
#include "virtio_driver.h"

static char disk_path[] = "/tmp/hvx-state-XXXXXX";
static struct dom_disk disk = { .file = disk_path, .target = (char *)"vda", .queues = 1 };
static struct dom_port port[] = {
	{ .chr.type = CHR_UNIX, .name = (char *)"org.test.0" },
	{ .chr.type = CHR_STDIO, .console = true },
};

enum kind { RNG, CONSOLE, BALLOON, BLK, KINDS };
static enum kind kind;

static void make(void)
{
	int ret = -1;

	drv_machine();
	pthread_mutex_lock(&fm.lock);
	switch (kind) {
	case RNG:
		ret = virtio_rng_create(&fm);
		break;
	case CONSOLE:
		ret = virtio_console_create(&fm, port, 2);
		break;
	case BALLOON:
		ret = virtio_balloon_create(&fm);
		break;
	case BLK:
		ret = virtio_blk_create(&fm, &disk);
		break;
	case KINDS:
		break;
	}
	pthread_mutex_unlock(&fm.lock);
	ck_assert_int_eq(ret, 0);
}

static void setup(void)
{
	memset(&fdom, 0, sizeof(fdom));
	kind = RNG;
}

static void setup_kind(enum kind k)
{
	int fd;

	kind = k;
	if (k == BLK) {
		strcpy(disk_path, "/tmp/hvx-state-XXXXXX");
		fd = mkstemp(disk_path);
		ck_assert_int_ge(fd, 0);
		ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
		close(fd);
	}
	make();
	drv_up();
}

static void teardown(void)
{
	drv_free();
	unlink(disk_path);
}

static void each(void (*fn)(struct device *))
{
	struct device *d;

	pthread_mutex_lock(&fm.lock);
	for (d = fm.devices; d; d = d->next)
		fn(d);
	pthread_mutex_unlock(&fm.lock);
}

static void pause_one(struct device *d)
{
	if (d->ops->pause)
		d->ops->pause(d);
}

static void resume_one(struct device *d)
{
	if (d->ops->resume)
		d->ops->resume(d);
}

struct saved {
	struct sbuf dev[4];
	unsigned int nr;
	uint8_t *ram;
	uint8_t *base;
};

static struct saved saved;

static void save_one(struct device *d)
{
	struct state_error err = { .text = "" };

	ck_assert_msg(!state_save_device(&saved.dev[saved.nr++], d, &err), "%s", err.text);
}

static void save(void)
{
	memset(&saved, 0, sizeof(saved));
	each(pause_one);
	each(save_one);
	saved.base = fm.mem.region[0].hva;
	saved.ram = malloc(DRV_RAM);
	memcpy(saved.ram, saved.base, DRV_RAM);
}

/* Another machine with the same memory; the driver's pointers move along. */
static void renew(void)
{
	unsigned int i;
	ptrdiff_t delta;

	drv_free();
	make();
	delta = fm.mem.region[0].hva - saved.base;
	saved.base += delta;
	for (i = 0; i < DRV_QUEUES; i++) {
		if (!drv.q[i].desc)
			continue;
		drv.q[i].desc = (void *)((uint8_t *)drv.q[i].desc + delta);
		drv.q[i].avail = (void *)((uint8_t *)drv.q[i].avail + delta);
		drv.q[i].used = (void *)((uint8_t *)drv.q[i].used + delta);
	}
	memcpy(saved.base, saved.ram, DRV_RAM);
}

static int load_dev(unsigned int i, struct state_error *err)
{
	struct sbuf b = saved.dev[i];
	struct device *d;
	int ret;

	b.pos = 0;
	*err = (struct state_error){ .text = "" };
	pthread_mutex_lock(&fm.lock);
	ret = state_load_device(&b, &fm, &d, err);
	pthread_mutex_unlock(&fm.lock);
	return ret;
}

static void load(void)
{
	struct state_error err;
	unsigned int i;

	for (i = 0; i < saved.nr; i++)
		ck_assert_msg(!load_dev(i, &err), "%s", err.text);
	each(resume_one);
}

static void saved_free(void)
{
	while (saved.nr)
		sbuf_free(&saved.dev[--saved.nr]);
	free(saved.ram);
	saved.ram = NULL;
}

static void move(void)
{
	save();
	renew();
	load();
	saved_free();
}

static uint32_t ask(uint32_t len)
{
	struct drv_buf b = { DRV_DATA, len, true };

	drv_add(0, &b, 1);
	drv_kick(0);
	return drv_wait(0, NULL);
}

START_TEST(rng_goes_on)
{
	unsigned int i, j;

	setup_kind(RNG);
	drv_start(drv_offered(), 1);
	for (j = 0; j < 3; j++) {
		/* Beyond a ring's worth each time, so that indices wrap. */
		for (i = 0; i < 37; i++)
			ck_assert_uint_eq(ask(64), 64);
		move();
		ck_assert_uint_eq(drv_status(), 15);
	}
	ck_assert_uint_eq(ask(64), 64);
	drv_set_status(0);
	drv_start(0, 1);
	ck_assert_uint_eq(ask(10), 10);
}
END_TEST

/* A request that was made and not seen before the move is served after it. */
START_TEST(rng_has_work_waiting)
{
	struct drv_buf b = { DRV_DATA, 100, true };

	setup_kind(RNG);
	drv_start(drv_offered(), 1);
	save();
	drv_add(0, &b, 1);
	memcpy(saved.ram, saved.base, DRV_RAM);
	renew();
	load();
	ck_assert_uint_eq(drv_wait(0, NULL), 100);
	saved_free();
}
END_TEST

static uint8_t request(uint32_t type, uint64_t sector, uint8_t fill)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	struct drv_buf b[3] = {
		{ DRV_DATA, sizeof(hdr), false },
		{ DRV_DATA + 4096, 4096, type == VIRTIO_BLK_T_IN },
		{ DRV_DATA + 8192, 1, true },
	};

	memcpy(ram(DRV_DATA), &hdr, sizeof(hdr));
	memset(ram(DRV_DATA + 4096), fill, 4096);
	*(uint8_t *)ram(DRV_DATA + 8192) = 0xff;
	drv_add(0, b, 3);
	drv_kick(0);
	drv_wait(0, NULL);
	return *(uint8_t *)ram(DRV_DATA + 8192);
}

START_TEST(blk_goes_on)
{
	unsigned int i;

	setup_kind(BLK);
	drv_start(drv_offered(), 1);
	for (i = 0; i < 8; i++) {
		ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, i * 8, (uint8_t)(i + 1)), 0);
		move();
		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, i * 8, 0), 0);
		ck_assert_uint_eq(*(uint8_t *)ram(DRV_DATA + 4096), i + 1);
		ck_assert_uint_eq(*(uint8_t *)ram(DRV_DATA + 8191), i + 1);
	}
}
END_TEST

START_TEST(blk_of_another_size)
{
	struct state_error err;

	setup_kind(BLK);
	drv_start(drv_offered(), 1);
	save();
	ck_assert_int_eq(truncate(disk_path, 2 << 20), 0);
	renew();
	ck_assert_int_eq(load_dev(1, &err), -EINVAL);
	ck_assert_str_eq(err.text, "disk vda: the image had 1048576 bytes, now it has 2097152");
	saved_free();
}
END_TEST

static void try_save(struct device *d)
{
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };

	if (strcmp(d->ops->name, "virtio-blk"))
		return;
	ck_assert_int_eq(state_save_device(&b, d, &err), -EINVAL);
	ck_assert_msg(strstr(err.text, "<transient/>"), "%s", err.text);
	sbuf_free(&b);
}

START_TEST(transient_disks_are_refused)
{
	disk.transient = true;
	setup_kind(BLK);
	each(try_save);
	disk.transient = false;
}
END_TEST

START_TEST(console_goes_on)
{
	struct virtio_console_control c = { 0, VIRTIO_CONSOLE_DEVICE_READY, 1 };
	struct drv_buf out = { DRV_DATA, sizeof(c), false }, in = { DRV_DATA + 64, 64, true };
	unsigned int i;

	setup_kind(CONSOLE);
	drv_start(drv_offered() & (1ULL << VIRTIO_CONSOLE_F_MULTIPORT | 1ULL << VIRTIO_F_VERSION_1), 6);
	memcpy(ram(DRV_DATA), &c, sizeof(c));
	drv_add(3, &out, 1);
	drv_kick(3);
	drv_wait(3, NULL);
	/* Its answers wait for buffers, which come after the move. */
	move();
	for (i = 0; i < 2; i++) {
		drv_add(2, &in, 1);
		drv_kick(2);
		ck_assert_uint_eq(drv_wait(2, NULL), sizeof(c));
		memcpy(&c, ram(DRV_DATA + 64), sizeof(c));
		ck_assert_uint_eq(c.event, VIRTIO_CONSOLE_PORT_ADD);
		ck_assert_uint_eq(c.id, i);
	}
}
END_TEST

START_TEST(balloon_goes_on)
{
	struct drv_buf b = { DRV_DATA, 4, false };
	uint32_t pfn = 0x300;

	setup_kind(BALLOON);
	drv_start(drv_offered(), 2);
	memset(ram(0x300000), 1, 4096);
	move();
	ck_assert_uint_eq(*(uint8_t *)ram(0x300000), 1);
	memcpy(ram(DRV_DATA), &pfn, 4);
	drv_add(0, &b, 1);
	drv_kick(0);
	drv_wait(0, NULL);
	ck_assert_uint_eq(*(uint8_t *)ram(0x300000), 0);
}
END_TEST

/* Below the checksums: each bit of a device's state, then whatever works of it is used. */
START_TEST(any_bit_flipped)
{
	unsigned int refused = 0, taken = 0;
	struct state_error err;
	size_t bit;

	setup_kind((enum kind)_i);
	drv_start(drv_offered(), 1);
	save();
	for (bit = 0; bit < saved.dev[1].len * 8; bit += 7 + bit % 60) {
		saved.dev[1].data[bit / 8] ^= 1 << bit % 8;
		renew();
		if (load_dev(1, &err)) {
			ck_assert(err.text[0]);
			refused++;
		} else {
			each(resume_one);
			drv_fuzz(20);
			taken++;
		}
		saved.dev[1].data[bit / 8] ^= 1 << bit % 8;
		if (refused + taken > 150)
			break;
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_gt(taken, 0);
	saved_free();
}
END_TEST

/* name's data in the saved device, the nth time that it comes. */
static uint8_t *field(const char *name)
{
	struct sbuf *b = &saved.dev[1];
	size_t len = strlen(name), i;

	for (i = 6; i + len < b->len; i++)
		if (b->data[i - 6] == len && !memcmp(b->data + i, name, len))
			return b->data + i + len;
	ck_abort_msg("no field %s", name);
	return NULL;
}

static void lie(const char *name, const void *val, size_t len, const char *why)
{
	struct state_error err;
	uint8_t old[8];

	memcpy(old, field(name), len);
	memcpy(field(name), val, len);
	renew();
	ck_assert_int_eq(load_dev(1, &err), -EINVAL);
	ck_assert_msg(strstr(err.text, why), "%s", err.text);
	memcpy(field(name), old, len);
}

START_TEST(lies_are_refused)
{
	setup_kind(RNG);
	drv_start(drv_offered(), 1);
	save();
	lie("size", "\3\0", 2, "queue 0 has 3 entries");
	lie("size", "\0\2", 2, "queue 0 has 512 entries; it can have up to 16");
	lie("vector", "\11\0", 2, "vector 9");
	lie("config_vector", "\11\0", 2, "config_vector 9");
	lie("desc", "\0\0\0\0\0\1\0\0", 8, "has its rings at");
	lie("used", "\1\0\0\0\0\0\0\0", 8, "has its rings at");
	lie("features", "\0\0\0\0\0\0\1\0", 8, "are not offered here");
	lie("features", "\0\0\0\0\0\0\0\0", 8, "without the feature VERSION_1");
	lie("status", "\4", 1, "status 0x4 cannot be");
	lie("status", "\13", 1, "it runs with status 0xb");
	lie("nr_queues", "\2\0\0\0", 4, "has");
	lie("mapped", "\2", 1, "mapped is 0x2");
	lie("enabled", "\0", 1, "without being enabled");
	saved_free();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_state");
	TCase *tc = tcase_create("virtio_state");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, rng_goes_on);
	tcase_add_test(tc, rng_has_work_waiting);
	tcase_add_test(tc, blk_goes_on);
	tcase_add_test(tc, blk_of_another_size);
	tcase_add_test(tc, transient_disks_are_refused);
	tcase_add_test(tc, console_goes_on);
	tcase_add_test(tc, balloon_goes_on);
	tcase_add_loop_test(tc, any_bit_flipped, RNG, BALLOON + 1);
	tcase_add_test(tc, lies_are_refused);
	suite_add_tcase(s, tc);
	return fake_main(s);
}
