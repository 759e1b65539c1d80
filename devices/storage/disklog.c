// SPDX-License-Identifier: GPL-2.0-only
#include <stdatomic.h>
#include <stdlib.h>

#include "devices/storage/disklog.h"

#define BITS	64U

struct disk_log {
	uint64_t blocks;
	_Atomic uint64_t count;
	_Atomic uint64_t map[];
};

struct disk_log *disk_log_new(uint64_t size)
{
	uint64_t blocks = size / DISK_LOG_BLOCK + !!(size % DISK_LOG_BLOCK), words = (blocks + BITS - 1) / BITS, i;
	struct disk_log *l = calloc(1, sizeof(*l) + words * sizeof(l->map[0]));

	if (!l)
		return NULL;
	l->blocks = blocks;
	l->count = blocks;
	for (i = 0; i < words; i++)
		l->map[i] = blocks - i * BITS >= BITS ? UINT64_MAX : (1ULL << blocks % BITS) - 1;
	return l;
}

void disk_log_free(struct disk_log *l)
{
	free(l);
}

void disk_log_mark(struct disk_log *l, uint64_t offset, uint64_t len)
{
	uint64_t block = offset / DISK_LOG_BLOCK, end = (offset + len + DISK_LOG_BLOCK - 1) / DISK_LOG_BLOCK;

	if (end > l->blocks)
		end = l->blocks;
	for (; block < end; block++) {
		uint64_t bit = 1ULL << block % BITS;

		if (!(atomic_fetch_or(&l->map[block / BITS], bit) & bit))
			atomic_fetch_add(&l->count, 1);
	}
}

bool disk_log_next(const struct disk_log *l, uint64_t *block)
{
	uint64_t words = (l->blocks + BITS - 1) / BITS, i = *block / BITS, bits;

	if (*block >= l->blocks)
		return false;
	bits = l->map[i] & UINT64_MAX << *block % BITS;
	while (!bits && ++i < words)
		bits = l->map[i];
	if (!bits)
		return false;
	*block = i * BITS + (uint64_t)__builtin_ctzll(bits);
	return true;
}

uint64_t disk_log_take(struct disk_log *l, uint64_t block, uint64_t max)
{
	uint64_t n = 0;

	for (; n < max && block + n < l->blocks; n++) {
		uint64_t bit = 1ULL << (block + n) % BITS;

		if (!(atomic_fetch_and(&l->map[(block + n) / BITS], ~bit) & bit))
			break;
	}
	atomic_fetch_sub(&l->count, n);
	return n;
}

uint64_t disk_log_count(const struct disk_log *l)
{
	return l->count;
}
