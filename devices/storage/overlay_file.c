// SPDX-License-Identifier: GPL-2.0-only
/* Layers: overlays in files that stay. The format is in docs/snapshots.md. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "devices/storage/overlay.h"
#include "vmm/fileio.h"
#include "vmm/log.h"

#define MAGIC		"HVXLAYER"
#define VERSION		1U
#define HEADER		4096U
#define MAP_PAGE	4096U	/* bytes of the map that are written at once */
#define BATCH		64U	/* of them, between two waits for the disk */

/* Little-endian. */
struct header {
	char magic[8];
	uint32_t version;
	uint32_t features;	/* that a reader must know: none yet */
	uint64_t size;		/* of the disk */
	uint32_t block;		/* OVERLAY_BLOCK */
	uint32_t zero;
	uint64_t map, data;	/* where they are in the file */
	uint8_t id[OVERLAY_ID];
	uint8_t rest[HEADER - 68];
	uint32_t crc;		/* of all before it */
};
_Static_assert(sizeof(struct header) == HEADER, "no padding");

static uint64_t map_pages(uint64_t size)
{
	return (overlay_blocks(size) + 8 * MAP_PAGE - 1) / (8 * MAP_PAGE);
}

static uint64_t data_at(uint64_t size)
{
	return HEADER + map_pages(size) * MAP_PAGE;
}

static uint32_t header_crc(const struct header *h)
{
	return libdeflate_crc32(0, h, offsetof(struct header, crc));
}

/* The map's room, for good: it must not be a full disk that keeps a bit from being written. */
static int reserve(int fd, uint64_t from, uint64_t to)
{
	static const uint8_t zeroes[65536];
	int ret = 0;

	if (!fallocate(fd, 0, (off_t)from, (off_t)(to - from)))
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	for (; !ret && from < to; from += sizeof(zeroes))
		ret = pwrite_full(fd, zeroes, to - from < sizeof(zeroes) ? to - from : sizeof(zeroes), from);
	return ret;
}

int overlay_format(int fd, const uint8_t id[OVERLAY_ID], uint64_t size)
{
	struct header h = {
		.magic = MAGIC, .version = htole32(VERSION), .size = htole64(size),
		.block = htole32(OVERLAY_BLOCK), .map = htole64(HEADER), .data = htole64(data_at(size)),
	};
	int ret;

	if (!size || size > OVERLAY_MAX || size % 512)
		return -EFBIG;
	memcpy(h.id, id, sizeof(h.id));
	h.crc = htole32(header_crc(&h));
	ret = reserve(fd, HEADER, data_at(size)) ?: pwrite_full(fd, &h, sizeof(h), 0);
	if (!ret && (ftruncate(fd, (off_t)(data_at(size) + size)) || fsync(fd)))
		ret = -errno;
	return ret;
}

static const char *check(const struct header *h, uint64_t file_size)
{
	uint64_t size = le64toh(h->size);

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)))
		return "it is not a layer of hvx";
	if (le32toh(h->crc) != header_crc(h))
		return "its header is damaged";
	if (le32toh(h->version) != VERSION || h->features)
		return "it was made by a newer hvx";
	if (!size || size > OVERLAY_MAX || size % 512 || le32toh(h->block) != OVERLAY_BLOCK ||
	    le64toh(h->map) != HEADER || le64toh(h->data) != data_at(size))
		return "its header is wrong";
	if (file_size < data_at(size) + size)
		return "it is too short: a part of it is missing";
	return NULL;
}

/* Pages without a bit are not touched, and take no memory. */
static int load_map(struct overlay *o)
{
	static const uint8_t none[MAP_PAGE];
	uint64_t bytes = (overlay_blocks(o->size) + 63) / 64 * 8, at, n;
	uint8_t page[MAP_PAGE];
	int ret = 0;

	for (at = 0; !ret && at < bytes; at += n) {
		n = bytes - at < MAP_PAGE ? bytes - at : MAP_PAGE;
		ret = file_read(o->fd, page, n, HEADER + at);
		if (!ret && memcmp(page, none, n))
			memcpy((uint8_t *)o->map + at, page, n);
	}
	/* The file's byte order is this CPU's. */
	return ret;
}

struct overlay *overlay_load(int fd, const char **why)
{
	struct overlay *o = NULL;
	struct header h;
	struct stat st;
	int ret;

	*why = "it cannot be read";
	ret = fstat(fd, &st) || !S_ISREG(st.st_mode) ? -EIO : file_read(fd, &h, sizeof(h), 0);
	if (!ret) {
		*why = check(&h, (uint64_t)st.st_size);
		ret = *why ? -EINVAL : 0;
	}
	if (!ret) {
		*why = "out of memory";
		o = overlay_alloc(fd, le64toh(h.size));
	}
	if (!o) {
		close(fd);
		return NULL;
	}
	o->data = data_at(o->size);
	memcpy(o->id, h.id, sizeof(o->id));
	o->dirty = calloc(1, map_pages(o->size));
	if (o->dirty && !load_map(o)) {
		*why = NULL;
		return o;
	}
	if (o->dirty)
		*why = "it cannot be read";
	overlay_free(o);
	return NULL;
}

/* Copies of the next dirty pages from *page on, which are then clean; how many. */
static unsigned int collect(struct overlay *o, uint64_t *page, uint64_t list[BATCH], uint64_t *copy)
{
	uint64_t pages = map_pages(o->size), words = (overlay_blocks(o->size) + 63) / 64;
	const uint64_t a_page = MAP_PAGE / sizeof(uint64_t);
	unsigned int n = 0;

	for (; *page < pages && n < BATCH; (*page)++) {
		if (!__atomic_load_n(&o->dirty[*page], __ATOMIC_RELAXED) ||
		    !__atomic_exchange_n(&o->dirty[*page], 0, __ATOMIC_ACQ_REL))
			continue;
		for (uint64_t i = 0; i < a_page; i++) {
			uint64_t word = *page * a_page + i;

			copy[n * a_page + i] = word < words ? __atomic_load_n(&o->map[word], __ATOMIC_ACQUIRE) : 0;
		}
		list[n++] = *page;
	}
	return n;
}

/* flush_lock held. */
static int sync_file(struct overlay *o)
{
	if (!o->flush_err && fdatasync(o->fd)) {
		o->flush_err = -errno;
		log_error("a disk's layer cannot be put on stable storage: %s; some of what was written to it may be lost, so its guest's flushes fail until it is started anew",
			  strerror(errno));
	}
	return o->flush_err;
}

/* Data first: a bit in the file says that its block is there. */
static int write_batch(struct overlay *o, const uint64_t *list, const uint64_t *copy, unsigned int n, bool sync)
{
	int ret = sync ? sync_file(o) : 0;
	unsigned int i;

	for (i = 0; i < n && !ret; i++)
		ret = pwrite_full(o->fd, (const uint8_t *)copy + (size_t)i * MAP_PAGE, MAP_PAGE,
				 HEADER + list[i] * MAP_PAGE);
	for (i = 0; i < n && ret; i++)
		__atomic_store_n(&o->dirty[list[i]], 1, __ATOMIC_RELEASE);
	return ret;
}

int overlay_flush(struct overlay *o, bool sync)
{
	uint64_t list[BATCH], page = 0, *copy = malloc(BATCH * MAP_PAGE);
	unsigned int n;
	int ret = copy ? 0 : -ENOMEM;

	pthread_mutex_lock(&o->flush_lock);
	while (!ret && (n = collect(o, &page, list, copy)))
		ret = write_batch(o, list, copy, n, sync);
	if (!ret && sync)
		ret = sync_file(o);
	pthread_mutex_unlock(&o->flush_lock);
	free(copy);
	return ret;
}

static bool is_kept(const struct overlay *o, const uint8_t (*keep)[OVERLAY_ID], unsigned int nr)
{
	while (nr--)
		if (!memcmp(keep[nr], o->id, OVERLAY_ID))
			return true;
	return false;
}

int overlay_relink(struct overlay *o, const uint8_t (*keep)[OVERLAY_ID], unsigned int nr)
{
	struct overlay *l;
	int ret = 0;

	for (l = o->below; l && !ret; l = l->below)
		if (is_kept(l, keep, nr))
			ret = load_map(l);
	while (!ret && (l = o->below)) {
		if (is_kept(l, keep, nr)) {
			o = l;
			continue;
		}
		o->below = l->below;
		if (!l->below) {
			o->base_fd = l->base_fd;
			o->served = l->served;
		}
		l->below = NULL;
		overlay_free(l);
	}
	return ret;
}
