// SPDX-License-Identifier: GPL-2.0-only
/* Pages of guest RAM, chunk by chunk, as often as they change. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "mig.h"
#include "zero.h"

#define MAP_BYTES	(RAM_CHUNK_PAGES / 8)
#define MAP_WORDS	MIG_CHUNK_WORDS
/* Offset of the chunk, pages that follow, 0 plain or 1 zstd; map of those pages; of zero ones. */
#define HEAD		(16 + 2 * MAP_BYTES)
#define NS		1000000000ULL

struct mig_scratch {
	uint8_t pages[RAM_CHUNK];
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
	size_t room;
	uint8_t packed[];
};

struct mig_scratch *mig_scratch_new(void)
{
	size_t room = ZSTD_compressBound(RAM_CHUNK);
	struct mig_scratch *s = malloc(sizeof(*s) + room);

	if (!s)
		return NULL;
	s->room = room;
	s->c = ZSTD_createCCtx();
	s->d = ZSTD_createDCtx();
	if (s->c && s->d)
		return s;
	mig_scratch_free(s);
	return NULL;
}

void mig_scratch_free(struct mig_scratch *s)
{
	if (!s)
		return;
	ZSTD_freeCCtx(s->c);
	ZSTD_freeDCtx(s->d);
	free(s);
}

int mig_ram_init(struct mig_ram *r, uint8_t *base, uint64_t size, unsigned int nr_streams)
{
	memset(r, 0, sizeof(*r));
	r->base = base;
	r->size = size;
	r->nr_chunks = (size + RAM_CHUNK - 1) / RAM_CHUNK;
	r->nr_streams = nr_streams;
	r->level = 1;
	/* Whole chunks, so that each has words of its own. */
	r->map = calloc(r->nr_chunks * MAP_WORDS, sizeof(*r->map));
	return r->map ? 0 : -ENOMEM;
}

void mig_ram_free(struct mig_ram *r)
{
	free(r->map);
	memset(r, 0, sizeof(*r));
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

void mig_ram_pace(struct mig_ram *r, size_t bytes)
{
	uint64_t limit = atomic_load(&r->limit), now = now_ns(), old, turn, next;

	if (!limit)
		return;
	old = atomic_load(&r->free_ns);
	do {
		turn = old < now ? now : old;
		next = turn + (uint64_t)((unsigned __int128)bytes * NS / limit);
	} while (!atomic_compare_exchange_weak(&r->free_ns, &old, next));
	/* In short steps: a limit that is lifted, or an end, is noticed. */
	while (!atomic_load(&r->stop) && !atomic_load(&r->cut) && atomic_load(&r->limit) &&
	       (now = now_ns()) < turn) {
		uint64_t wait = turn - now < NS / 20 ? turn - now : NS / 20;
		struct timespec ts = { .tv_nsec = (long)wait };

		nanosleep(&ts, NULL);
	}
}

static void put_le(uint8_t *at, uint64_t val, unsigned int size)
{
	while (size--) {
		*at++ = (uint8_t)val;
		val >>= 8;
	}
}

/*
 * The guest goes on writing: each page is copied once, and all that is said of it is
 * said of the copy. Whatever it writes afterwards has marked the page anew.
 */
static unsigned int gather(struct mig_ram *r, struct mig_scratch *s, uint64_t chunk,
			   const uint64_t *only, uint8_t *map, uint8_t *zero, unsigned int *nr_zero)
{
	uint64_t *word = r->map + chunk * MAP_WORDS;
	uint8_t *to = s->pages;
	unsigned int i, page;

	memset(map, 0, 2 * MAP_BYTES);
	for (i = 0; i < MAP_WORDS; i++) {
		uint64_t bits = only ? word[i] & only[i] : word[i];

		for (word[i] &= ~bits; bits; bits &= bits - 1) {
			page = i * 64 + (unsigned int)__builtin_ctzll(bits);
			if (chunk * RAM_CHUNK + (uint64_t)page * RAM_PAGE >= r->size)
				break;
			memcpy(to, r->base + chunk * RAM_CHUNK + (uint64_t)page * RAM_PAGE, RAM_PAGE);
			if (is_zero(to, RAM_PAGE)) {
				zero[page / 8] |= (uint8_t)(1U << page % 8);
				++*nr_zero;
				continue;
			}
			map[page / 8] |= (uint8_t)(1U << page % 8);
			to += RAM_PAGE;
		}
	}
	return (unsigned int)((size_t)(to - s->pages) / RAM_PAGE);
}

int mig_ram_send_chunk(struct mig_ram *r, struct mig_scratch *s, struct stream_out *out,
		       uint64_t chunk, const uint64_t *only, struct state_error *err)
{
	uint8_t head[HEAD];
	const uint8_t *data = s->pages;
	unsigned int nr_zero = 0;
	unsigned int n = gather(r, s, chunk, only, head + 16, head + 16 + MAP_BYTES, &nr_zero);
	size_t len = (size_t)n * RAM_PAGE, packed;
	bool zstd = false;

	if (!n && !nr_zero)
		return 0;
	if (n && r->compress) {
		packed = ZSTD_compressCCtx(s->c, s->packed, s->room, s->pages, len, r->level);
		zstd = !ZSTD_isError(packed) && packed < len;
		if (zstd) {
			data = s->packed;
			len = packed;
		}
	}
	put_le(head, chunk * RAM_CHUNK, 8);
	put_le(head + 8, n, 4);
	put_le(head + 12, zstd, 4);
	mig_ram_pace(r, STREAM_FRAME + sizeof(head) + len);
	atomic_fetch_add(&r->pages, n);
	atomic_fetch_add(&r->zero, nr_zero);
	atomic_fetch_add(&r->wire, STREAM_FRAME + sizeof(head) + len);
	return stream_put2(out, SEC_RAM_DIRTY, head, sizeof(head), data, len, err);
}

int mig_ram_send(struct mig_ram *r, struct mig_scratch *s, struct stream_out *out,
		 unsigned int stream, struct state_error *err)
{
	uint64_t chunk;
	int ret = 0;

	for (chunk = stream; chunk < r->nr_chunks && !ret; chunk += r->nr_streams) {
		const uint64_t *w = r->map + chunk * MAP_WORDS;

		if (atomic_load(&r->stop))
			return -ECANCELED;
		if (atomic_load(&r->cut))
			break;
		if (w[0] | w[1] | w[2] | w[3])
			ret = mig_ram_send_chunk(r, s, out, chunk, NULL, err);
	}
	return ret;
}
_Static_assert(MAP_WORDS == 4, "mig_ram_send() looks at four words");

/* ------------------------------------------------------------------ placing */

/* Both maps against the chunk and its number of pages. */
static int check_maps(const uint8_t *map, const uint8_t *zero, uint64_t len, uint64_t n,
		      struct state_error *err)
{
	unsigned int i, bits = 0;

	for (i = 0; i < RAM_CHUNK_PAGES; i++) {
		bits += mig_bit(map, i);
		if ((mig_bit(map, i) || mig_bit(zero, i)) && (uint64_t)i * RAM_PAGE >= len)
			return state_error(err, "memory beyond its end");
		if (mig_bit(map, i) && mig_bit(zero, i))
			return state_error(err, "a page that is zero and is not");
	}
	if (bits != n)
		return state_error(err, "%u pages where %llu are announced", bits,
				   (unsigned long long)n);
	return 0;
}

static const uint8_t *unpack(struct mig_scratch *s, struct sbuf *b, uint64_t n, uint64_t form)
{
	size_t left = sbuf_left(b), got;
	const uint8_t *data = b->data + b->pos;

	if (!n)
		return left ? NULL : s->pages;
	if (form == 0)
		return left == n * RAM_PAGE ? data : NULL;
	got = ZSTD_decompressDCtx(s->d, s->pages, RAM_CHUNK, data, left);
	return !ZSTD_isError(got) && got == n * RAM_PAGE ? s->pages : NULL;
}

int mig_ram_unpack(struct mig_ram *r, struct mig_scratch *s, struct sbuf *b, unsigned int stream,
		   struct mig_chunk *c, struct state_error *err)
{
	uint64_t offset = sbuf_get_num(b, 8), chunk = offset / RAM_CHUNK, len;
	uint64_t n = sbuf_get_num(b, 4), form = sbuf_get_num(b, 4);
	const uint8_t *map = sbuf_get(b, MAP_BYTES), *zero = sbuf_get(b, MAP_BYTES);

	if (!zero || !map || offset % RAM_CHUNK || chunk >= r->nr_chunks || form > 1)
		return state_error(err, "a chunk of memory at %#llx", (unsigned long long)offset);
	if (chunk % r->nr_streams != stream)
		return state_error(err, "memory at %#llx on the wrong stream", (unsigned long long)offset);
	len = r->size - offset < RAM_CHUNK ? r->size - offset : RAM_CHUNK;
	if (check_maps(map, zero, len, n, err))
		return -EINVAL;
	*c = (struct mig_chunk){ .offset = offset, .map = map, .zero = zero };
	c->pages = unpack(s, b, n, form);
	if (!c->pages)
		return state_error(err, "memory at %#llx cannot be uncompressed",
				   (unsigned long long)offset);
	atomic_fetch_add(&r->pages, n);
	atomic_fetch_add(&r->wire, b->len + STREAM_FRAME);
	return 0;
}

int mig_ram_place(struct mig_ram *r, struct mig_scratch *s, struct sbuf *b, unsigned int stream,
		  struct state_error *err)
{
	unsigned int i, nr_zero = 0;
	struct mig_chunk c;
	uint64_t *seen;

	if (mig_ram_unpack(r, s, b, stream, &c, err))
		return -EINVAL;
	seen = r->map + c.offset / RAM_CHUNK * MAP_WORDS;
	for (i = 0; i < RAM_CHUNK_PAGES; i++) {
		uint8_t *to = r->base + c.offset + (uint64_t)i * RAM_PAGE;

		if (mig_bit(c.map, i)) {
			memcpy(to, c.pages, RAM_PAGE);
			c.pages += RAM_PAGE;
			seen[i / 64] |= 1ULL << i % 64;
		} else if (mig_bit(c.zero, i)) {
			nr_zero++;
			/* Memory that nothing was put into takes no room. */
			if (seen[i / 64] >> i % 64 & 1)
				memset(to, 0, RAM_PAGE);
		}
	}
	atomic_fetch_add(&r->zero, nr_zero);
	return 0;
}
