// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "devices/storage/nbd_disk.h"
#include "devices/storage/overlay.h"
#include "vmm/fileio.h"
#include "vmm/unnamed.h"

#define BITS		64
#define MAP_PAGE	4096U	/* bytes of the map that are written at once */

static size_t map_bytes(uint64_t size)
{
	return (overlay_blocks(size) + BITS - 1) / BITS * sizeof(uint64_t);
}

struct overlay *overlay_alloc(int fd, uint64_t size)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	/* A page of the map takes memory once a block of its 128 MiB is written. */
	o->map = mmap(NULL, map_bytes(size), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o->map == MAP_FAILED) {
		free(o);
		return NULL;
	}
	o->fd = fd;
	o->base_fd = -1;
	o->size = size;
	pthread_mutex_init(&o->claim_lock, NULL);
	pthread_cond_init(&o->claim_ended, NULL);
	pthread_mutex_init(&o->flush_lock, NULL);
	return o;
}

struct overlay *overlay_new(const char *dir, int base_fd, uint64_t size)
{
	struct overlay *o = NULL;
	int fd = open_unnamed(dir), err;

	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, size))
		o = overlay_alloc(fd, size);
	if (o) {
		o->base_fd = base_fd;
		return o;
	}
	err = errno;
	close(fd);
	errno = err;
	return NULL;
}

void overlay_free(struct overlay *o)
{
	while (o) {
		struct overlay *below = o->below;

		munmap(o->map, map_bytes(o->size));
		close(o->fd);
		pthread_mutex_destroy(&o->claim_lock);
		pthread_cond_destroy(&o->claim_ended);
		pthread_mutex_destroy(&o->flush_lock);
		free(o->dirty);
		free(o);
		o = below;
	}
}

static bool test(const struct overlay *o, uint64_t block)
{
	return __atomic_load_n(&o->map[block / BITS], __ATOMIC_ACQUIRE) >> block % BITS & 1;
}

static void set(struct overlay *o, uint64_t block)
{
	__atomic_or_fetch(&o->map[block / BITS], 1ULL << block % BITS, __ATOMIC_RELEASE);
	if (o->dirty)
		__atomic_store_n(&o->dirty[block / 8 / MAP_PAGE], 1, __ATOMIC_RELEASE);
}

bool overlay_has(const struct overlay *o, uint64_t block)
{
	return test(o, block);
}

/* The layer that has the block; NULL: the raw image. */
static const struct overlay *owner(const struct overlay *o, uint64_t block)
{
	while (o && !test(o, block))
		o = o->below;
	return o;
}

static const struct overlay *lowest(const struct overlay *o)
{
	while (o->below)
		o = o->below;
	return o;
}

uint64_t overlay_run(const struct overlay *o, uint64_t offset, uint64_t len, struct overlay_part *part)
{
	uint64_t block = offset / OVERLAY_BLOCK, end = (block + 1) * OVERLAY_BLOCK;
	const struct overlay *has = owner(o, block);

	*part = (struct overlay_part){
		.fd = has ? has->fd : lowest(o)->base_fd, .offset = offset + (has ? has->data : 0), .top = has == o,
	};
	while (end < offset + len && owner(o, ++block) == has)
		end += OVERLAY_BLOCK;
	return end - offset < len ? end - offset : len;
}

int file_read(int fd, void *buf, uint64_t len, uint64_t offset)
{
	ssize_t n = pread_full(fd, buf, len, offset);

	if (n < 0)
		return (int)n;
	memset((uint8_t *)buf + n, 0, len - (size_t)n);
	return 0;
}

int overlay_read(const struct overlay *o, void *buf, uint64_t len, uint64_t offset)
{
	struct overlay_part part;
	uint64_t at, run;
	int ret = 0;

	for (at = 0; !ret && at < len; at += run) {
		run = overlay_run(o, offset + at, len - at, &part);
		ret = part.fd == AIO_SERVED ?
		      nbd_disk_read(lowest(o)->served, (uint8_t *)buf + at, run, part.offset) :
		      file_read(part.fd, (uint8_t *)buf + at, run, part.offset);
	}
	return ret;
}

/* ------------------------------------------------------------------ writes */

/* The block is claimed: nobody else looks for its bit, or writes to it. */
static int fill(struct overlay *o, uint64_t block)
{
	uint8_t buf[OVERLAY_BLOCK] __attribute__((aligned(OVERLAY_BLOCK)));
	uint64_t at = block * OVERLAY_BLOCK;
	size_t len = o->size - at < OVERLAY_BLOCK ? o->size - at : OVERLAY_BLOCK;
	int ret = test(o, block) ? 0 : overlay_read(o, buf, len, at) ?: pwrite_full(o->fd, buf, len, at + o->data);

	if (!ret && !test(o, block))
		set(o, block);
	return ret;
}

static int fill_ends(struct overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len;
	int ret = offset % OVERLAY_BLOCK ? fill(o, offset / OVERLAY_BLOCK) : 0;

	/* The image's last block may be short: its end is as good as a block's. */
	if (!ret && end % OVERLAY_BLOCK && end != o->size)
		ret = fill(o, end / OVERLAY_BLOCK);
	return ret;
}

/* From the first to the last block that is not in the overlay. False: all are. */
static bool trim(const struct overlay *o, uint64_t *first, uint64_t *last)
{
	while (*first < *last && test(o, *first))
		(*first)++;
	while (*first < *last && test(o, *last))
		(*last)--;
	return !test(o, *first);
}

static bool is_claimed(const struct overlay *o, uint64_t first, uint64_t last)
{
	const struct overlay_claim *c = o->claims;

	while (c && (c->last < first || c->first > last))
		c = c->next;
	return c;
}

/* Claim what is not there yet. *claim NULL: all is. */
static int claim_blocks(struct overlay *o, uint64_t first, uint64_t last, bool wait, struct overlay_claim **claim)
{
	struct overlay_claim *c = malloc(sizeof(*c));
	int ret = c ? 0 : -ENOMEM;
	bool some = true;

	*claim = NULL;
	pthread_mutex_lock(&o->claim_lock);
	while (!ret && (some = trim(o, &first, &last)) && is_claimed(o, first, last)) {
		if (wait)
			pthread_cond_wait(&o->claim_ended, &o->claim_lock);
		else
			ret = -EAGAIN;
	}
	if (!ret && some) {
		*c = (struct overlay_claim){ first, last, o->claims };
		*claim = o->claims = c;
	}
	pthread_mutex_unlock(&o->claim_lock);
	if (!*claim)
		free(c);
	return ret;
}

/* Blocks that were filled are everybody's again: who writes to the rest of one need not wait. */
static struct overlay_claim *shrink(struct overlay *o, struct overlay_claim *c)
{
	uint64_t first = c->first, last = c->last;

	if (!trim(o, &first, &last)) {
		overlay_end(o, c, false);
		return NULL;
	}
	pthread_mutex_lock(&o->claim_lock);
	c->first = first;
	c->last = last;
	pthread_cond_broadcast(&o->claim_ended);
	pthread_mutex_unlock(&o->claim_lock);
	return c;
}

int overlay_begin(struct overlay *o, uint64_t offset, uint64_t len, bool wait, struct overlay_claim **claim)
{
	uint64_t first = offset / OVERLAY_BLOCK, last = (offset + len - 1) / OVERLAY_BLOCK;
	int ret;

	*claim = NULL;
	if (!trim(o, &first, &last))
		return 0;
	ret = claim_blocks(o, first, last, wait, claim);
	if (ret || !*claim)
		return ret;
	ret = fill_ends(o, offset, len);
	if (!ret) {
		*claim = shrink(o, *claim);
		return 0;
	}
	overlay_end(o, *claim, false);
	*claim = NULL;
	return ret;
}

void overlay_end(struct overlay *o, struct overlay_claim *claim, bool written)
{
	struct overlay_claim **at;

	if (!claim)
		return;
	if (written)
		overlay_commit(o, claim->first * OVERLAY_BLOCK, (claim->last - claim->first + 1) * OVERLAY_BLOCK);
	pthread_mutex_lock(&o->claim_lock);
	for (at = &o->claims; *at != claim; at = &(*at)->next)
		;
	*at = claim->next;
	pthread_cond_broadcast(&o->claim_ended);
	pthread_mutex_unlock(&o->claim_lock);
	free(claim);
}

void overlay_commit(struct overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t block = offset / OVERLAY_BLOCK, last = (offset + len - 1) / OVERLAY_BLOCK;

	for (; block <= last; block++) {
		if (!test(o, block))
			set(o, block);
	}
}
