// SPDX-License-Identifier: GPL-2.0-only
/* units: devices/throttle.c devices/virtio/blk*.c devices/storage/disklog.c devices/storage/aio.c devices/storage/image.c devices/storage/overlay*.c devices/virtio/virtio_pci.c devices/virtio/virtio_state.c devices/virtio/virtqueue.c devices/virtio/iothread.c devices/pci.c devices/device.c vmm/bus.c vmm/loop.c vmm/memory.c vmm/log.c vmm/unnamed.c devices/storage/foreign.c devices/storage/nbd_*.c vmm/helper.c */
/* The images of virtio-blk: flushes that fail, locks, files that are none or of another kind. */
#include <sys/xattr.h>
#include "blk_fixture.h"

/* A full disk while bits are written: they come with the next flush. */
START_TEST(flush_fails)
{
	struct overlay *o;
	const char *why;
	int fd, keep;

	drv_machine();
	make_layers();
	fd = open(layer_path[1], O_RDWR);
	o = overlay_load(fd, &why);
	ck_assert_ptr_nonnull(o);
	overlay_commit(o, 0, 8192);
	keep = dup(fd);
	close(fd);
	ck_assert_int_eq(open(layer_path[1], O_RDONLY), fd);	/* cannot be written to */
	ck_assert_int_eq(overlay_flush(o, true), -EBADF);
	dup2(keep, fd);
	close(keep);
	ck_assert_int_eq(overlay_flush(o, true), 0);
	overlay_free(o);
	o = overlay_load(open(layer_path[1], O_RDONLY), &why);
	ck_assert(overlay_has(o, 0) && overlay_has(o, 1) && !overlay_has(o, 2));
	overlay_free(o);
	unlink_layers();
}
END_TEST

/* What the kernel says of fdatasync(), where it is called and not asked of a ring. */
static int sync_errno;

int fdatasync(int fd)
{
	(void)fd;
	errno = sync_errno;
	return sync_errno ? -1 : 0;
}

static uint8_t flush_saying(int err)
{
	sync_errno = err;
	return request(VIRTIO_BLK_T_FLUSH, 0, 0, 0);
}

/*
 * The pages that could not be written are clean ones for the kernel, and its next fdatasync() says
 * that all is well: the guest must not hear that, but of an image that is opened anew.
 */
START_TEST(flush_fails_for_good)
{
	struct image img;

	fake_sandboxed = true;
	cfg.cache = _i ? CACHE_NONE : CACHE_DEFAULT;
	up();
	drv_start(FLUSH, 1);
	ck_assert_uint_eq(flush_saying(0), VIRTIO_BLK_S_OK);
	/* Too short for O_DIRECT, where that wants more than sectors; what is written by it alone is never in the page cache. */
	((struct virtio_blk *)fm.devices->next)->img.align = _i ? 4096 : 1;
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 8, DATA, _i == 2 ? 4096 : 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(flush_saying(EIO), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(flush_saying(0), _i == 2 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(image_flush(&((struct virtio_blk *)fm.devices->next)->img), _i == 2 ? 0 : -EIO);
	/* It can be read and written as before. */
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 8, DATA, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 8, DATA, 512), VIRTIO_BLK_S_OK);
	drv_free();
	drv_machine();
	ck_assert_int_eq(image_open(&img, &cfg, "test.xml"), 0);
	ck_assert_int_eq(image_flush(&img), 0);
	/* So it is for who gives the image to another host. */
	sync_errno = EIO;
	ck_assert_int_eq(image_own(&img, false), -EIO);
	sync_errno = 0;
	ck_assert_int_eq(image_own(&img, false), _i ? 0 : -EIO);
	image_close(&img);
}
END_TEST

START_TEST(layer_flush_fails_for_good)
{
	struct overlay *o;
	const char *why;

	make_layers();
	up();
	drv_start(FLUSH, 1);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 8, DATA, 4096), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(flush_saying(EIO), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(flush_saying(0), VIRTIO_BLK_S_IOERR);
	o = overlay_load(open(layer_path[1], O_RDONLY), &why);
	ck_assert(!overlay_has(o, 1));
	overlay_free(o);
	/* What can be had is not dropped at the end. */
	drv_free();
	o = overlay_load(open(layer_path[1], O_RDONLY), &why);
	ck_assert(overlay_has(o, 1));
	overlay_free(o);
	drv_machine();
	unlink_layers();
}
END_TEST

START_TEST(base_of_snapshots)
{
	struct image img;
	int fd = open(path, O_RDWR);

	drv_machine();
	if (fsetxattr(fd, IMAGE_BASE_XATTR, "web", 3, 0)) {
		fprintf(stderr, "skipped: no extended attributes in /var/tmp\n");
		close(fd);
		return;
	}
	ck_assert_int_eq(image_open(&img, &cfg, "test.xml"), -EBUSY);
	cfg.readonly = true;
	ck_assert_int_eq(image_open(&img, &cfg, "test.xml"), 0);
	image_close(&img);
	cfg.readonly = false;
	make_layers();
	ck_assert_int_eq(image_open(&img, &cfg, "test.xml"), 0);
	image_close(&img);
	unlink_layers();
	close(fd);
}
END_TEST

/* --------------------------------------------------------------- images, locks */

static int try_open(const struct dom_disk *c, struct image *img)
{
	return image_open(img, c, "test.xml");
}

START_TEST(locks)
{
	struct image a, b;
	struct dom_disk ro = cfg, shared = cfg, gone = cfg;

	drv_machine();
	ro.readonly = true;
	shared.shareable = true;
	ck_assert_int_eq(try_open(&cfg, &a), 0);
	ck_assert_int_eq(try_open(&cfg, &b), -EAGAIN);
	ck_assert_int_eq(try_open(&ro, &b), -EAGAIN);
	ck_assert_int_eq(try_open(&shared, &b), -EAGAIN);
	image_close(&a);
	ck_assert_int_eq(try_open(&ro, &a), 0);
	ck_assert_int_eq(try_open(&ro, &b), 0);
	image_close(&b);
	ck_assert_int_eq(try_open(&cfg, &b), -EAGAIN);
	gone.transient = true;
	ck_assert_int_eq(try_open(&gone, &b), 0);
	image_close(&b);
	image_close(&a);
	ck_assert_int_eq(try_open(&shared, &a), 0);
	ck_assert_int_eq(try_open(&shared, &b), 0);
	image_close(&a);
	image_close(&b);
}
END_TEST

/* What cannot be tried is not taken for possible: the disk may be made larger. */
START_TEST(empty_image)
{
	struct image img;

	drv_machine();
	cfg.cache = CACHE_NONE;
	ck_assert_int_eq(truncate(path, 0), 0);
	ck_assert_int_eq(image_open(&img, &cfg, "test.xml"), 0);
	ck_assert_uint_eq(img.size, 0);
	ck_assert_uint_eq(img.align, img.fd_buffered == img.fd ? 1 : 4096);
	image_close(&img);
}
END_TEST

START_TEST(bad_images)
{
	struct dom_disk c = cfg;
	struct image img;

	drv_machine();
	c.file = NULL;
	ck_assert_int_eq(try_open(&c, &img), -EINVAL);
	c.file = (char *)"/nonexistent/disk";
	ck_assert_int_eq(try_open(&c, &img), -ENOENT);
	c.file = (char *)"/dev/null";
	ck_assert_int_eq(try_open(&c, &img), -EINVAL);
	c.file = (char *)"/var/tmp";
	ck_assert_int_lt(try_open(&c, &img), 0);
	c.file = path;
	c.logical_block = 1000;
	ck_assert_int_eq(try_open(&c, &img), -EINVAL);
	ck_assert_int_eq(truncate(path, 1000), 0);
	c.logical_block = 0;
	ck_assert_int_eq(try_open(&c, &img), 0);
	ck_assert_uint_eq(img.size, 512);
	image_close(&img);
}
END_TEST

/* The guest writes what looks like another format: it is still raw. */
START_TEST(format_is_never_guessed)
{
	struct image img;

	up();
	drv_start(FLUSH, 1);
	memcpy(ram(DATA), "QFI\xfb\0\0\0\3", 8);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 0, DATA, 512), 0);
	drv_free();
	drv_machine();
	ck_assert_int_eq(try_open(&cfg, &img), 0);
	ck_assert_uint_eq(img.size, SECTORS * 512);
	image_close(&img);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("blk_image");
	TCase *t = tcase_create("blk_image");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, flush_fails);
	tcase_add_loop_test(t, flush_fails_for_good, 0, 3);
	tcase_add_test(t, layer_flush_fails_for_good);
	tcase_add_test(t, base_of_snapshots);
	tcase_add_test(t, locks);
	tcase_add_test(t, empty_image);
	tcase_add_test(t, bad_images);
	tcase_add_test(t, format_is_never_guessed);
	suite_add_tcase(s, t);
	return fake_main(s);
}
