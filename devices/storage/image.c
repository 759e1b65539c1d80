// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "devices/storage/aio.h"
#include "devices/storage/image.h"
#include "devices/storage/nbd_disk.h"
#include "vmm/log.h"
#include "vmm/sandbox.h"

#define OVERLAY_DIR	"/var/tmp"

/*
 * Image locks by open file description, at the byte ranges that QEMU and its
 * tools use (its block/file-posix.c: RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE; the
 * numbers are those of its BLK_PERM_*), so that neither opens what the other writes
 * to: a shared lock on 100 + n says "I need permission n", on 200 + n "nobody else
 * may use it".
 */
#define LOCK_NEEDS	100
#define LOCK_DENIES	200
#define PERM_READ	0
#define PERM_WRITE	1
#define PERM_RESIZE	3

static int lock_byte(int fd, off_t at, bool test)
{
	struct flock l = {
		.l_type = test ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1,
	};

	if (fcntl(fd, test ? F_OFD_GETLK : F_OFD_SETLK, &l) < 0)
		/* File systems without locks: run without, as without another VM. */
		return errno == EAGAIN || errno == EACCES ? -EAGAIN : 0;
	return test && l.l_type != F_UNLCK ? -EAGAIN : 0;
}

int image_lock(int fd, bool write, bool shareable)
{
	int ret = lock_byte(fd, LOCK_NEEDS + PERM_READ, false);

	if (!ret && write)
		ret = lock_byte(fd, LOCK_NEEDS + PERM_WRITE, false);
	if (!ret && !shareable)
		ret = lock_byte(fd, LOCK_DENIES + PERM_WRITE, false);
	if (!ret && !shareable)
		ret = lock_byte(fd, LOCK_DENIES + PERM_RESIZE, false);
	/* Only with our own in place, look for those of others: one of two wins at most. */
	if (!ret)
		ret = lock_byte(fd, LOCK_DENIES + PERM_READ, true);
	if (!ret && write)
		ret = lock_byte(fd, LOCK_DENIES + PERM_WRITE, true);
	if (!ret && !shareable)
		ret = lock_byte(fd, LOCK_NEEDS + PERM_WRITE, true);
	return ret;
}

int image_unlock(int fd)
{
	struct flock l = {
		.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = LOCK_NEEDS,
		.l_len = LOCK_DENIES + 100 - LOCK_NEEDS,
	};

	return fcntl(fd, F_OFD_SETLK, &l) < 0 && errno != EOPNOTSUPP && errno != EINVAL ? -errno : 0;
}

bool image_flush_failed(struct image *img, int err)
{
	int none = 0;

	return (img->align == 1 || img->cached) && atomic_compare_exchange_strong(&img->flush_err, &none, err);
}

static int sync_file(struct image *img)
{
	int ret = img->flush_err;

	if (!ret && fdatasync(img->fd) < 0 && errno != EINVAL) {
		ret = -errno;
		image_flush_failed(img, ret);
	}
	return ret;
}

int image_flush(struct image *img)
{
	if (img->overlay)
		return overlay_flush(img->overlay, !img->no_flush);
	if (img->served)
		return nbd_disk_flush(img->served);
	return sync_file(img);
}

int image_own(struct image *img, bool own)
{
	int ret;

	if (img->served)
		return nbd_disk_own(img->served, own);
	if (own) {
		ret = image_lock(img->fd, img->lock_write, img->lock_shared);
		if (ret)
			image_unlock(img->fd);
		return ret;
	}
	ret = img->lock_write ? sync_file(img) : 0;
	return ret ?: image_unlock(img->fd);
}

/* Smallest request that O_DIRECT takes here: tried, since few file systems tell. An empty file, which may grow, tells nothing. */
static unsigned int probe_align(int fd)
{
	static const unsigned int sizes[] = { 512, 1024, 2048, 4096 };
	unsigned int i, align = 4096;
	void *buf = aligned_alloc(4096, 4096);

	for (i = 0; buf && i < 4; i++) {
		if (pread(fd, buf, sizes[i], 0) > 0) {
			align = sizes[i];
			break;
		}
	}
	free(buf);
	return align;
}

static bool block_size_ok(unsigned int size)
{
	return size >= IMAGE_SECTOR && size <= 65536 && !(size & (size - 1));
}

static int measure(struct image *img, const struct dom_disk *cfg, const char *xml)
{
	struct stat st = { 0 };
	int bsz;

	if (!img->served && fstat(img->fd, &st) < 0)
		return -errno;
	if (img->served) {
		img->size = nbd_disk_size(img->served);
	} else if (S_ISBLK(st.st_mode)) {
		/* As BLKGETSIZE64 has it, for those who may not call that. */
		off_t end = lseek(img->fd, 0, SEEK_END);

		if (end < 0)
			return -errno;
		img->size = (uint64_t)end;
		if (sandbox_entered())
			bsz = 0;
		else if (!ioctl(img->fd, BLKSSZGET, &bsz) && bsz >= 512 && bsz <= 65536)
			img->logical_block = bsz;
		if (!sandbox_entered() && !ioctl(img->fd, BLKPBSZGET, &bsz) && bsz >= 512 && bsz <= 65536)
			img->physical_block = bsz;
	} else if (S_ISREG(st.st_mode)) {
		img->size = st.st_size;
	} else {
		log_error("%s:%u: disk %s: '%s' is neither a file nor a block device",
			  xml, cfg->line, cfg->target, cfg->file);
		return -EINVAL;
	}
	if (img->size % IMAGE_SECTOR) {
		log_warn("%s:%u: disk %s: '%s' is not a multiple of 512 bytes; the last %u bytes are not shown",
			 xml, cfg->line, cfg->target, cfg->file,
			 (unsigned int)(img->size % IMAGE_SECTOR));
		img->size -= img->size % IMAGE_SECTOR;
	}
	img->raw_size = img->size;
	if (cfg->logical_block)
		img->logical_block = cfg->logical_block;
	if (cfg->physical_block)
		img->physical_block = cfg->physical_block;
	if (img->physical_block < img->logical_block)
		img->physical_block = img->logical_block;
	if (!block_size_ok(img->logical_block) || !block_size_ok(img->physical_block)) {
		log_error("%s:%u: disk %s: <blockio>: block sizes are powers of two from 512 to 65536",
			  xml, cfg->line, cfg->target);
		return -EINVAL;
	}
	img->size -= img->size % img->logical_block;
	return 0;
}

static const char *hint(int err, bool write)
{
	switch (err) {
	case EACCES:
	case EPERM:
		return write ? "; give yourself write permission, or add <readonly/>" :
			       "; give yourself read permission";
	case ENOENT:
		return "; create it, for example with truncate -s 10G";
	case EROFS:
		return "; add <readonly/> or <transient/>";
	default:
		return "";
	}
}

/* The raw image: what the disk is, or what lies under its layers. */
static const char *raw_file(const struct dom_disk *cfg)
{
	return cfg->nr_backing ? cfg->backing[cfg->nr_backing - 1].file : cfg->file;
}

/* Nobody writes to what snapshots are made of. */
static int check_base(const struct image *img, const struct dom_disk *cfg, const char *xml)
{
	char guest[128];
	ssize_t n;

	if (img->readonly || cfg->transient || cfg->nr_backing)
		return 0;
	n = getxattr(cfg->opened_as ? cfg->opened_as : cfg->file, IMAGE_BASE_XATTR, guest, sizeof(guest) - 1);
	if (n < 0)
		return 0;
	guest[n] = '\0';
	log_error("%s:%u: disk %s: the snapshots of guest %s are made on '%s', which must stay as it is; run the guest by that name, or merge them with `hvx snapshot-delete`",
		  xml, cfg->line, cfg->target, guest, cfg->file);
	return -EBUSY;
}

static int open_files(struct image *img, const struct dom_disk *cfg, const char *xml)
{
	const char *file = cfg->opened_as ? cfg->opened_as : raw_file(cfg);
	bool write = !img->readonly && !cfg->transient && !cfg->nr_backing;
	bool direct = (cfg->cache == CACHE_NONE || cfg->cache == CACHE_DIRECTSYNC) && !cfg->nr_backing;
	int flags = (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int err;

	if (cfg->format != DISK_RAW) {
		img->served = nbd_disk_open(cfg, xml, cfg->incoming);
		img->fd = img->fd_buffered = AIO_SERVED;
		img->align = 1;
		return img->served ? 0 : -EIO;
	}
	if (img->write_through && write)
		flags |= O_DSYNC;
	img->fd = open(file, flags | (direct ? O_DIRECT : 0));
	if (img->fd < 0 && direct && errno == EINVAL) {
		log_warn("%s:%u: disk %s: the file system of '%s' has no O_DIRECT; its page cache is used",
			 xml, cfg->line, cfg->target, file);
		direct = false;
		img->fd = open(file, flags);
	}
	if (img->fd < 0) {
		err = errno;
		log_error("%s:%u: disk %s: cannot open '%s': %s%s", xml, cfg->line, cfg->target,
			  file, strerror(err), hint(err, write));
		return -err;
	}
	img->fd_buffered = img->fd;
	img->align = 1;
	if (direct) {
		img->align = probe_align(img->fd);
		img->fd_buffered = open(file, flags);
		err = errno;
		if (img->fd_buffered < 0) {
			log_error("%s:%u: disk %s: cannot open '%s' once more: %s", xml, cfg->line, cfg->target,
				  file, strerror(err));
			return -err;
		}
	}
	return 0;
}

static int in_use(const struct dom_disk *cfg, const char *file, const char *xml)
{
	log_error("%s:%u: disk %s: '%s' is in use by another virtual machine; stop that one, or add <shareable/> to both if the guests can share it",
		  xml, cfg->line, cfg->target, file);
	return -EAGAIN;
}

/* One layer, on top of what img has so far. */
static int add_layer(struct image *img, const struct dom_disk *cfg, const char *file, bool write, const char *xml)
{
	int fd = open(file, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err = errno;
	struct overlay *o;
	const char *why;

	if (fd < 0) {
		log_error("%s:%u: disk %s: cannot open '%s': %s", xml, cfg->line, cfg->target, file, strerror(err));
		return -err;
	}
	if (image_lock(fd, write, cfg->shareable)) {
		close(fd);
		return in_use(cfg, file, xml);
	}
	o = overlay_load(fd, &why);
	if (!o) {
		log_error("%s:%u: disk %s: '%s': %s", xml, cfg->line, cfg->target, file, why);
		return -EINVAL;
	}
	if (o->size != img->raw_size) {
		log_error("%s:%u: disk %s: '%s' is a layer over %llu bytes, and there are %llu; has something below it changed?",
			  xml, cfg->line, cfg->target, file, (unsigned long long)o->size, (unsigned long long)img->raw_size);
		overlay_free(o);
		return -EINVAL;
	}
	o->below = img->overlay;
	o->base_fd = img->overlay ? -1 : img->fd_buffered;
	o->served = img->served;
	img->overlay = o;
	return 0;
}

static int add_layers(struct image *img, const struct dom_disk *cfg, const char *xml)
{
	bool write = !img->readonly && !cfg->transient;
	int ret = 0;

	for (unsigned int i = cfg->nr_backing - 1; i-- && !ret;)
		ret = add_layer(img, cfg, cfg->backing[i].file, false, xml);
	return ret ?: add_layer(img, cfg, cfg->file, write, xml);
}

static int add_transient(struct image *img, const struct dom_disk *cfg, const char *xml)
{
	const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : OVERLAY_DIR;
	struct overlay *o = overlay_new(dir, img->fd_buffered, img->raw_size);
	int err = errno;

	if (!o) {
		log_error("%s:%u: disk %s: cannot make the file for <transient/> in %s: %s; set TMPDIR to a folder with room",
			  xml, cfg->line, cfg->target, dir, strerror(err));
		return -err;
	}
	o->below = img->overlay;
	o->served = img->served;
	img->overlay = o;
	return 0;
}

static void set_options(struct image *img, const struct dom_disk *cfg)
{
	memset(img, 0, sizeof(*img));
	img->fd = img->fd_buffered = -1;
	img->readonly = cfg->readonly;
	img->logical_block = img->physical_block = IMAGE_SECTOR;
	img->write_through = cfg->cache == CACHE_WRITETHROUGH || cfg->cache == CACHE_DIRECTSYNC;
	img->no_flush = cfg->cache == CACHE_UNSAFE || cfg->transient;
	img->unmap = cfg->discard_unmap;
}

int image_adopt(struct image *img, const struct dom_disk *cfg, int fd, int fd_buffered, unsigned int align)
{
	int ret;

	set_options(img, cfg);
	if (cfg->transient || (fd_buffered >= 0) != (align > 1) || align > 4096 || (align & (align - 1))) {
		log_error("disk %s: what was sent for it does not fit together", cfg->target);
		return -EINVAL;
	}
	img->fd = fd;
	img->fd_buffered = fd_buffered >= 0 ? fd_buffered : fd;
	img->align = align ? align : 1;
	ret = measure(img, cfg, "plugged in");
	if (ret)
		img->fd = img->fd_buffered = -1;
	return ret;
}

int image_adopt_served(struct image *img, const struct dom_disk *cfg, int control)
{
	int ret;

	set_options(img, cfg);
	img->fd = img->fd_buffered = AIO_SERVED;
	img->align = 1;
	img->served = nbd_disk_adopt(cfg, control);
	if (!img->served) {
		close(control);
		return -EIO;
	}
	ret = measure(img, cfg, "plugged in");
	if (ret)
		image_close(img);
	return ret;
}

void image_hand_on(struct image *img)
{
	if (img->served)
		nbd_disk_leave(img->served);
	img->served = NULL;
	image_close(img);
}

int image_open(struct image *img, const struct dom_disk *cfg, const char *xml)
{
	int ret;

	set_options(img, cfg);
	if (!cfg->file) {
		log_error("%s:%u: disk %s: a virtio disk needs a <source>", xml, cfg->line, cfg->target);
		return -EINVAL;
	}
	ret = check_base(img, cfg, xml);
	if (!ret)
		ret = open_files(img, cfg, xml);
	if (!ret)
		ret = measure(img, cfg, xml);
	if (ret)
		goto fail;
	img->lock_write = !img->readonly && !cfg->transient && !cfg->nr_backing;
	img->lock_shared = cfg->shareable;
	if (!cfg->incoming && !img->served && image_lock(img->fd, img->lock_write, img->lock_shared)) {
		ret = in_use(cfg, raw_file(cfg), xml);
		goto fail;
	}
	if (cfg->incoming && cfg->nr_backing) {
		log_error("%s:%u: disk %s: a guest with a disk of layers cannot be received", xml,
			  cfg->line, cfg->target);
		ret = -EOPNOTSUPP;
		goto fail;
	}
	if (cfg->nr_backing)
		ret = add_layers(img, cfg, xml);
	if (!ret && cfg->transient && !img->readonly)
		ret = add_transient(img, cfg, xml);
	if (ret)
		goto fail;
	return 0;

fail:
	image_close(img);
	return ret;
}

void image_close(struct image *img)
{
	int ret = image_layered(img) && !img->readonly ? overlay_flush(img->overlay, !img->no_flush) : 0;

	if (ret) {
		log_error("a disk's last writes may be lost: %s", strerror(-ret));
		/* Most are in the host's memory: with their bits they can be had. */
		overlay_flush(img->overlay, false);
	}
	overlay_free(img->overlay);
	nbd_disk_close(img->served);
	img->served = NULL;
	if (img->fd_buffered >= 0 && img->fd_buffered != img->fd)
		close(img->fd_buffered);
	if (img->fd >= 0)
		close(img->fd);
	img->overlay = NULL;
	img->fd = img->fd_buffered = -1;
}
