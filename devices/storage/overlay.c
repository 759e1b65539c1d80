// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "devices/storage/overlay.h"
#include "vmm/unnamed.h"

#define BITS 64

static uint64_t blocks(uint64_t size)
{
	return (size + OVERLAY_BLOCK - 1) / OVERLAY_BLOCK;
}

static size_t map_bytes(uint64_t size)
{
	return (blocks(size) + BITS - 1) / BITS * sizeof(uint64_t);
}

struct overlay *overlay_new(const char *dir, int base_fd, uint64_t size)
{
	struct overlay *o = calloc(1, sizeof(*o));
	int err;

	if (!o)
		return NULL;
	o->base_fd = base_fd;
	o->size = size;
	o->map = MAP_FAILED;
	o->fd = open_unnamed(dir);
	if (o->fd < 0)
		goto fail;
	if (ftruncate(o->fd, size) < 0)
		goto fail;
	/* A page of the map takes memory once a block of its 128 MiB is written. */
	o->map = mmap(NULL, map_bytes(size), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->map == MAP_FAILED)
		goto fail;
	pthread_mutex_init(&o->fill_lock, NULL);
	return o;

fail:
	err = errno;
	if (o->fd >= 0)
		close(o->fd);
	free(o);
	errno = err;
	return NULL;
}

void overlay_free(struct overlay *o)
{
	if (!o)
		return;
	munmap(o->map, map_bytes(o->size));
	close(o->fd);
	pthread_mutex_destroy(&o->fill_lock);
	free(o);
}

static bool test(const struct overlay *o, uint64_t block)
{
	return __atomic_load_n(&o->map[block / BITS], __ATOMIC_ACQUIRE) >> block % BITS & 1;
}

static void set(struct overlay *o, uint64_t block)
{
	__atomic_or_fetch(&o->map[block / BITS], 1ULL << block % BITS, __ATOMIC_RELEASE);
}

uint64_t overlay_run(const struct overlay *o, uint64_t offset, uint64_t len, bool *in_overlay)
{
	uint64_t block = offset / OVERLAY_BLOCK, end = (block + 1) * OVERLAY_BLOCK;

	*in_overlay = test(o, block);
	while (end < offset + len && test(o, ++block) == *in_overlay)
		end += OVERLAY_BLOCK;
	return end - offset < len ? end - offset : len;
}

/* Whole of a count at offset; a file that ends early gives zeroes. */
static int read_full(int fd, uint8_t *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) {
			memset(buf, 0, len);
			return 0;
		}
		buf += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int write_full(int fd, const uint8_t *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		buf += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int fill(struct overlay *o, uint64_t block)
{
	uint8_t buf[OVERLAY_BLOCK] __attribute__((aligned(OVERLAY_BLOCK)));
	uint64_t at = block * OVERLAY_BLOCK;
	size_t len = o->size - at < OVERLAY_BLOCK ? o->size - at : OVERLAY_BLOCK;
	int ret = 0;

	pthread_mutex_lock(&o->fill_lock);
	if (!test(o, block)) {
		ret = read_full(o->base_fd, buf, len, at);
		if (!ret)
			ret = write_full(o->fd, buf, len, at);
		if (!ret)
			set(o, block);
	}
	pthread_mutex_unlock(&o->fill_lock);
	return ret;
}

int overlay_prepare(struct overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t first = offset / OVERLAY_BLOCK, end = offset + len;
	uint64_t last = (end - 1) / OVERLAY_BLOCK;
	int ret = 0;

	if (offset % OVERLAY_BLOCK && !test(o, first))
		ret = fill(o, first);
	/* The image's last block may be short: its end is as good as a block's. */
	if (!ret && end % OVERLAY_BLOCK && end != o->size && !test(o, last))
		ret = fill(o, last);
	return ret;
}

void overlay_commit(struct overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t block = offset / OVERLAY_BLOCK, last = (offset + len - 1) / OVERLAY_BLOCK;

	for (; block <= last; block++) {
		if (!test(o, block))
			set(o, block);
	}
}
