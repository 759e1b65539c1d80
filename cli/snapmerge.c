// SPDX-License-Identifier: GPL-2.0-only
/* Two layers into one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "devices/storage/nbd_disk.h"
#include "devices/storage/overlay.h"
#include "snapmerge.h"
#include "vmm/fileio.h"

#define PIECE	(1U << 20)

/* A file of a disk that is open. */
struct file {
	int fd;
	uint64_t data;		/* where the disk begins in it */
	struct overlay *o;	/* NULL: an image */
	struct nbd_disk *served;	/* that is not raw; NULL: fd */
};

struct nbd_disk *snap_serve(const struct snap_disk *d, const struct snap_layer *l, bool look)
{
	struct dom_disk cfg = {
		.file = layer_path(d, l), .target = d->file, .format = l->format,
		.chain = d->chain, .nr_chain = d->nr_chain, .discard_unmap = true,
	};
	struct nbd_disk *served = cfg.file ? nbd_disk_open(&cfg, NULL, look) : NULL;

	free(cfg.file);
	return served;
}

/* t: whose it is; NULL: only to be looked at. */
static int open_layer(struct file *f, const struct snap_tree *t, const struct snap_disk *d, const struct snap_layer *l)
{
	bool write = t;
	char *path = layer_path(d, l), id[2 * OVERLAY_ID + 1];
	const char *why = NULL;

	if (!l->layer && l->format != DISK_RAW) {
		*f = (struct file){ .fd = -1 };
		f->served = write && t->live ? t->serve(d, t->serve_opaque) : snap_serve(d, l, !write);
		free(path);
		return f->served ? 0 : -1;
	}
	*f = (struct file){ .fd = path ? open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW) : -1 };
	if (f->fd < 0) {
		why = strerror(errno);
	} else if (l->layer) {
		f->o = overlay_load(f->fd, &why);
		f->fd = f->o ? f->o->fd : -1;
		for (int i = 0; f->o && i < OVERLAY_ID; i++)
			snprintf(id + 2 * i, 3, "%02x", f->o->id[i]);
		if (f->o && strncmp(id, l->id, SNAP_ID - 1))
			why = "it is another layer than its name says";
		else if (f->o)
			f->data = f->o->data;
	}
	if (why)
		cli_error("%s: %s", path ? path : d->file, why);
	free(path);
	return why ? -1 : 0;
}

static void close_layer(struct file *f)
{
	if (f->o)
		overlay_free(f->o);
	else if (f->served)
		nbd_disk_close(f->served);
	else if (f->fd >= 0)
		close(f->fd);
}

/* The first block from `from` on that o has, and `but` has not. */
static uint64_t next_block(const struct overlay *o, const struct overlay *but, uint64_t from)
{
	uint64_t end = overlay_blocks(o->size);

	for (; from < end; from++) {
		if (!o->map[from / 64]) {
			from |= 63;
			continue;
		}
		if (overlay_has(o, from) && !(but && overlay_has(but, from)))
			return from;
	}
	return end;
}

static uint64_t count(const struct overlay *o, const struct overlay *but)
{
	uint64_t n = 0, end = overlay_blocks(o->size), at;

	for (at = next_block(o, but, 0); at < end; at = next_block(o, but, at + 1))
		n++;
	return n;
}

bool snap_written(struct snap_disk *d, const struct snap_layer *l)
{
	struct file f;
	bool is = !open_layer(&f, NULL, d, l) && next_block(f.o, NULL, 0) < overlay_blocks(f.o->size);

	close_layer(&f);
	return is;
}

static bool all_zero(const uint8_t *buf, size_t len)
{
	return !buf[0] && !memcmp(buf, buf + 1, len - 1);
}

static int put(const struct file *to, const uint8_t *buf, size_t len, uint64_t at)
{
	if (to->served) {
		int ret = all_zero(buf, len) ? nbd_disk_zero(to->served, (uint32_t)len, at) : -EOPNOTSUPP;

		return ret == -EOPNOTSUPP ? nbd_disk_write(to->served, buf, len, at) : ret;
	}
	if (all_zero(buf, len) && !fallocate(to->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(to->data + at), (off_t)len))
		return 0;
	return pwrite_full(to->fd, buf, len, to->data + at);
}

/* Blocks of `from`, but not those of `but`. */
static int copy(const struct file *from, const struct file *to, const struct overlay *but)
{
	const struct overlay *o = from->o;
	uint64_t end = overlay_blocks(o->size), block, n;
	uint8_t *buf = malloc(PIECE);
	int ret = buf ? 0 : -ENOMEM;

	for (block = next_block(o, but, 0); !ret && block < end; block = next_block(o, but, block + n)) {
		uint64_t at = block * OVERLAY_BLOCK, len;

		for (n = 1; n < PIECE / OVERLAY_BLOCK && next_block(o, but, block + n) == block + n && block + n < end; n++)
			;
		len = o->size - at < n * OVERLAY_BLOCK ? o->size - at : n * OVERLAY_BLOCK;
		ret = snap_step("merge-copy") ? -errno : file_read(from->fd, buf, len, from->data + at);
		if (!ret)
			ret = put(to, buf, len, at);
		if (!ret && to->o)
			overlay_commit(to->o, at, len);
	}
	free(buf);
	if (!ret && snap_step("merge-copied"))
		ret = -errno;
	if (ret)
		return ret;
	if (to->served)
		return nbd_disk_flush(to->served);
	return to->o ? overlay_flush(to->o, true) : fsync(to->fd) ? -errno : 0;
}

/* lower takes upper's place. */
static int replace(struct snap_tree *t, struct snap_disk *d, struct snap_layer *lower, struct snap_layer *upper)
{
	if (!strcmp(d->active, upper->id))
		memcpy(d->active, lower->id, SNAP_ID);
	for (size_t i = 0; i < d->nr_layers; i++)
		if (!strcmp(d->layer[i].below, upper->id))
			memcpy(d->layer[i].below, lower->id, SNAP_ID);
	for (size_t i = 0; i < t->nr_snaps; i++)
		for (size_t k = 0; k < t->snap[i].nr_refs; k++) {
			struct snap_ref *r = &t->snap[i].ref[k];

			if (!strcmp(r->file, d->file) && !strcmp(r->layer, upper->id))
				memcpy(r->layer, lower->id, SNAP_ID);
		}
	snap_remove_layer(d, upper);
	return snap_commit(t);
}

int snap_merge(struct snap_tree *t, struct snap_disk *d, struct snap_layer *lower, struct snap_layer *upper)
{
	struct file low, up = { .fd = -1 };
	bool down = !lower->layer;
	int ret = -1;

	if (open_layer(&low, t, d, lower) || open_layer(&up, t, d, upper))
		goto out;
	/* The less there is to copy. What is copied up is the lower's that the upper has not. */
	if (!down)
		down = count(up.o, NULL) <= count(low.o, up.o);
	if (!t->quiet)
		fprintf(stderr, "hvx: %s: merging two of its files\n", d->file);
	ret = down ? copy(&up, &low, NULL) : copy(&low, &up, up.o);
	if (ret) {
		cli_error("%s: its files cannot be merged: %s; they are as good as before", d->file, strerror(-ret));
		ret = -1;
		goto out;
	}
	if (down) {
		ret = replace(t, d, lower, upper);
	} else {
		memcpy(upper->below, lower->below, SNAP_ID);
		snap_remove_layer(d, lower);
		ret = snap_commit(t);
	}
out:
	close_layer(&low);
	close_layer(&up);
	return ret;
}
