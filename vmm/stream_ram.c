// SPDX-License-Identifier: GPL-2.0-only
/* Guest RAM to and from a stream. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "fileio.h"
#include "stream_ram.h"
#include "zero.h"

#define MAP_BYTES	(RAM_CHUNK_PAGES / 8)
#define CHUNK_HEAD	(16 + MAP_BYTES)	/* offset, pages, size of a page, map of those that follow */
#define LEVEL		1

/* What a thread works with. */
struct scratch {
	uint8_t *pages, *packed;	/* RAM_CHUNK; as much as that can become */
	size_t room;
	ZSTD_CCtx *c;
	ZSTD_DCtx *d;
	struct sbuf b;
};

int ram_job_init(struct ram_job *j, uint8_t *base, uint64_t size, int fd)
{
	memset(j, 0, sizeof(*j));
	pthread_mutex_init(&j->lock, NULL);
	j->base = base;
	j->size = size;
	j->fd = fd;
	j->source = j->pagemap = -1;
	j->level = LEVEL;
	j->nr_chunks = (size + RAM_CHUNK - 1) / RAM_CHUNK;
	j->sums = calloc(j->nr_chunks, sizeof(*j->sums));
	j->seen = calloc(j->nr_chunks, 1);
	return j->sums && j->seen ? 0 : -ENOMEM;
}

void ram_job_free(struct ram_job *j)
{
	free(j->sums);
	free(j->seen);
	pthread_mutex_destroy(&j->lock);
	memset(j, 0, sizeof(*j));
}

static void fail(struct ram_job *j, int err, const struct state_error *why)
{
	pthread_mutex_lock(&j->lock);
	state_error(&j->err, "%s", why->text);
	pthread_mutex_unlock(&j->lock);
	atomic_store(&j->failed, err);
	atomic_store(&j->stop, true);
}

static void scratch_free(struct scratch *s)
{
	ZSTD_freeCCtx(s->c);
	ZSTD_freeDCtx(s->d);
	free(s->pages);
	free(s->packed);
	sbuf_free(&s->b);
}

static bool scratch_make(struct ram_job *j, struct scratch *s, bool saving)
{
	static const struct state_error no_memory = { "out of memory" };

	memset(s, 0, sizeof(*s));
	s->room = ZSTD_compressBound(RAM_CHUNK);
	s->pages = malloc(RAM_CHUNK);
	s->packed = saving ? malloc(s->room) : NULL;
	if (saving)
		s->c = ZSTD_createCCtx();
	else
		s->d = ZSTD_createDCtx();
	if (s->pages && (saving ? s->packed && s->c : !!s->d))
		return true;
	scratch_free(s);
	fail(j, -ENOMEM, &no_memory);
	return false;
}

static uint64_t chunk_len(const struct ram_job *j, uint64_t chunk)
{
	uint64_t left = j->size - chunk * RAM_CHUNK;

	return left < RAM_CHUNK ? left : RAM_CHUNK;
}

/*
 * Where a file has data from *at on: *at moves there, and the end of it is
 * returned. Holes are zeroes, and a look at them through the mapping would fill them.
 */
static uint64_t next_data(int fd, uint64_t *at, uint64_t end)
{
	off_t data, hole;

	if (fd < 0)
		return end;
	data = lseek(fd, (off_t)*at, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return end;	/* hugetlbfs does not tell */
	if (data < 0 || (uint64_t)data >= end) {
		*at = end;
		return end;
	}
	*at = (uint64_t)data & ~(uint64_t)(RAM_PAGE - 1);
	hole = lseek(fd, data, SEEK_HOLE);
	return hole < 0 || (uint64_t)hole > end ? end : (uint64_t)hole;
}

#define PM_OWN	(3ULL << 62)	/* present, or swapped: Documentation/admin-guide/mm/pagemap.rst */

/* What is known of a chunk before its pages are looked at. */
struct look {
	uint64_t own[RAM_CHUNK_PAGES];	/* of a private copy */
	bool has_own;
	uint64_t data, stop;		/* the file's data around here, or next; offsets in RAM */
};

static void look_at(const struct ram_job *j, uint64_t at, uint64_t end, struct look *l)
{
	size_t size = (size_t)((end - at) / RAM_PAGE) * sizeof(l->own[0]);
	off_t where = (off_t)((uintptr_t)(j->base + at) / RAM_PAGE * sizeof(l->own[0]));

	l->data = l->stop = at;
	l->has_own = j->source >= 0 && j->pagemap >= 0 && pread(j->pagemap, l->own, size, where) == (ssize_t)size;
}

/* Whether the page at `at`, the nth of its chunk, may hold anything but zeroes. */
static bool may_hold(const struct ram_job *j, uint64_t at, unsigned int n, uint64_t end, struct look *l)
{
	uint64_t shift = l->has_own ? j->source_offset : 0;

	if (l->has_own && l->own[n] & PM_OWN)
		return true;
	if (at >= l->stop) {
		l->data = at + shift;
		l->stop = next_data(l->has_own ? j->source : j->fd, &l->data, end + shift) - shift;
		l->data -= shift;
	}
	return at >= l->data && at < l->stop;
}

/*
 * The pages of a chunk that are not zero: their bits in map, and for each, take().
 * Returns their number.
 */
static unsigned int each_page(const struct ram_job *j, uint64_t chunk, uint8_t *map,
			      void (*take)(void *opaque, unsigned int page, const uint8_t *data),
			      void *opaque)
{
	uint64_t at = chunk * RAM_CHUNK, end = at + chunk_len(j, chunk);
	unsigned int page, n = 0;
	struct look l;

	memset(map, 0, MAP_BYTES);
	look_at(j, at, end, &l);
	for (page = 0; at < end; page++, at += RAM_PAGE) {
		const uint8_t *data = j->base + at;

		if (!may_hold(j, at, page, end, &l) || is_zero(data, RAM_PAGE))
			continue;
		map[page / 8] |= (uint8_t)(1 << page % 8);
		take(opaque, page, data);
		n++;
	}
	return n;
}

uint64_t ram_drop_untouched(const struct ram_job *j, uint64_t *map)
{
	uint64_t at, end, pages = 0;
	unsigned int page;
	struct look l;

	for (at = 0; at < j->size; at = end) {
		end = j->size - at < RAM_CHUNK ? j->size : at + RAM_CHUNK;
		look_at(j, at, end, &l);
		for (page = 0; at < end; page++, at += RAM_PAGE) {
			uint64_t *word = &map[at / RAM_PAGE / 64], bit = 1ULL << at / RAM_PAGE % 64;

			if (!(*word & bit) || may_hold(j, at, page, end, &l))
				continue;
			*word &= ~bit;
			pages++;
		}
	}
	return pages;
}

/* ------------------------------------------------------------------- saving */

int ram_save_begin(struct ram_job *j, struct stream_out *out, enum ram_form form,
		   struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret;

	j->out = out;
	j->form = form;
	sbuf_put_num(&b, form, 4);
	sbuf_put_num(&b, RAM_CHUNK, 4);
	sbuf_put_num(&b, j->size, 8);
	ret = b.failed ? -ENOMEM : stream_put(out, SEC_RAM, b.data, b.len, err);
	sbuf_free(&b);
	if (!ret && form == RAM_PLAIN)
		ret = stream_put_plain(out, SEC_RAM_PLAIN, j->size, &j->plain, err);
	return ret;
}

struct packing {
	uint8_t *at;
};

static void pack_page(void *opaque, unsigned int page, const uint8_t *data)
{
	struct packing *p = opaque;

	(void)page;
	memcpy(p->at, data, RAM_PAGE);
	p->at += RAM_PAGE;
}

static void put_le(uint8_t *at, uint64_t val, unsigned int size)
{
	while (size--) {
		*at++ = (uint8_t)val;
		val >>= 8;
	}
}

static int save_packed(struct ram_job *j, struct scratch *s, uint64_t chunk, struct state_error *err)
{
	uint8_t head[CHUNK_HEAD];
	struct packing p = { s->pages };
	unsigned int n = each_page(j, chunk, head + 16, pack_page, &p);
	size_t len = 0;
	int ret;

	put_le(head, chunk * RAM_CHUNK, 8);
	put_le(head + 8, n, 4);
	put_le(head + 12, RAM_PAGE, 4);
	if (n) {
		len = ZSTD_compressCCtx(s->c, s->packed, s->room, s->pages, (size_t)n * RAM_PAGE,
					j->level);
		if (ZSTD_isError(len)) {
			state_error(err, "zstd: %s", ZSTD_getErrorName(len));
			return -EIO;
		}
	}
	atomic_fetch_add(&j->zero, chunk_len(j, chunk) - (uint64_t)n * RAM_PAGE);
	atomic_fetch_add(&j->written, STREAM_FRAME + sizeof(head) + len);
	pthread_mutex_lock(&j->lock);
	ret = stream_put2(j->out, SEC_RAM_CHUNK, head, sizeof(head), s->packed, len, err);
	pthread_mutex_unlock(&j->lock);
	return ret;
}

struct placing {
	struct ram_job *j;
	uint64_t offset;	/* of the chunk in the file */
	const uint8_t *run;	/* pages that follow each other and are not written yet */
	size_t len;
	uint64_t at;		/* where they belong */
	uint32_t sum;
	struct state_error *err;
	int ret;
};

static void place_run(struct placing *p)
{
	p->sum = stream_crc(p->sum, p->run, p->len);
	if (!p->ret) {
		p->ret = pwrite_full(p->j->out->fd, p->run, p->len, p->at);
		if (p->ret)
			state_error(p->err, "cannot write the state: %s", strerror(-p->ret));
	}
	p->len = 0;
}

static void place_page(void *opaque, unsigned int page, const uint8_t *data)
{
	struct placing *p = opaque;

	if (p->len && p->run + p->len != data)
		place_run(p);
	if (!p->len) {
		p->run = data;
		p->at = p->offset + (uint64_t)page * RAM_PAGE;
	}
	p->len += RAM_PAGE;
}

/* A chunk's sum is over its map and the pages in it. */
static int save_plain(struct ram_job *j, uint64_t chunk, struct state_error *err)
{
	struct placing p = { .j = j, .offset = j->plain + chunk * RAM_CHUNK, .err = err };
	uint8_t map[MAP_BYTES];
	unsigned int n = each_page(j, chunk, map, place_page, &p);

	place_run(&p);
	j->sums[chunk] = stream_crc(p.sum, map, sizeof(map));
	atomic_fetch_add(&j->zero, chunk_len(j, chunk) - (uint64_t)n * RAM_PAGE);
	atomic_fetch_add(&j->written, (uint64_t)n * RAM_PAGE);
	return p.ret;
}

void ram_save_work(void *job)
{
	struct ram_job *j = job;
	struct state_error err = { .text = "" };
	struct scratch s;
	uint64_t chunk;
	int ret = 0;

	if (!scratch_make(j, &s, true))
		return;
	while (!atomic_load(&j->stop) && (chunk = atomic_fetch_add(&j->next, 1)) < j->nr_chunks) {
		ret = j->form == RAM_PLAIN ? save_plain(j, chunk, &err) :
					     save_packed(j, &s, chunk, &err);
		if (ret) {
			fail(j, ret, &err);
			break;
		}
		atomic_fetch_add(&j->done, chunk_len(j, chunk));
	}
	scratch_free(&s);
}

int ram_save_end(struct ram_job *j, struct state_error *err)
{
	struct sbuf b = { 0 };
	uint64_t i;
	int ret = atomic_load(&j->failed);

	if (ret) {
		*err = j->err;
		return ret;
	}
	if (j->form != RAM_PLAIN)
		return 0;
	for (i = 0; i < j->nr_chunks && !ret; i++) {
		sbuf_put_num(&b, j->sums[i], 4);
		/* As many sections as it takes: each holds the sums of 1 TiB. */
		if (b.len == STREAM_MAX_PAYLOAD / 2 || i + 1 == j->nr_chunks) {
			ret = b.failed ? -ENOMEM : stream_put(j->out, SEC_RAM_SUMS, b.data, b.len, err);
			b.len = 0;
		}
	}
	sbuf_free(&b);
	return ret;
}

/* ------------------------------------------------------------------ loading */

int ram_load_begin(struct ram_job *j, struct stream_in *in, struct sbuf *b, struct state_error *err)
{
	uint64_t form = sbuf_get_num(b, 4), chunk = sbuf_get_num(b, 4), size = sbuf_get_num(b, 8);
	uint64_t len = 0;
	uint32_t type;
	int ret;

	if (b->failed || sbuf_left(b) || form >= RAM_NR || chunk != RAM_CHUNK)
		return state_error(err, "memory in a form that this hvx does not know");
	if (size != j->size)
		return state_error(err, "%llu MiB of memory, the XML says %llu MiB",
				   (unsigned long long)size >> 20, (unsigned long long)j->size >> 20);
	j->in = in;
	j->form = (enum ram_form)form;
	if (j->form == RAM_SHARED)
		return 0;
	if (j->form != RAM_PLAIN)
		return 0;
	ret = stream_next(in, &type, b, &j->plain, &len, err);
	if (!ret && (type != SEC_RAM_PLAIN || len != j->size))
		ret = state_error(err, "section %s where the memory should be", stream_type_name(type));
	return ret;
}

static int place_chunk(struct ram_job *j, struct scratch *s, struct state_error *err)
{
	uint64_t offset = sbuf_get_num(&s->b, 8), chunk = offset / RAM_CHUNK, len;
	uint64_t n = sbuf_get_num(&s->b, 4), page_size = sbuf_get_num(&s->b, 4);
	const uint8_t *map = sbuf_get(&s->b, MAP_BYTES);
	unsigned int i, bits = 0, first = RAM_CHUNK_PAGES, last = 0;
	size_t got = 0;
	uint8_t *from = s->pages;
	bool run;

	if (!map || offset % RAM_CHUNK || chunk >= j->nr_chunks || page_size != RAM_PAGE)
		return state_error(err, "a chunk of memory at %#llx", (unsigned long long)offset);
	if (__atomic_exchange_n(&j->seen[chunk], 1, __ATOMIC_RELAXED))
		return state_error(err, "memory at %#llx comes twice", (unsigned long long)offset);
	len = chunk_len(j, chunk);
	for (i = 0; i < RAM_CHUNK_PAGES; i++) {
		bool there = map[i / 8] >> i % 8 & 1;

		bits += there;
		first = there && i < first ? i : first;
		last = there ? i : last;
		if (there && (uint64_t)i * RAM_PAGE >= len)
			return state_error(err, "memory beyond its end");
	}
	if (bits != n)
		return state_error(err, "%u pages where %llu are announced", bits,
				   (unsigned long long)n);
	/* Pages that follow each other go where they belong, others by way of a buffer. */
	run = n && last - first + 1 == n;
	if (run)
		from = j->base + offset + (uint64_t)first * RAM_PAGE;
	if (n)
		got = ZSTD_decompressDCtx(s->d, from, run ? n * RAM_PAGE : RAM_CHUNK, s->b.data + s->b.pos,
					  sbuf_left(&s->b));
	if (ZSTD_isError(got) || got != n * RAM_PAGE || (!n && sbuf_left(&s->b)))
		return state_error(err, "memory at %#llx cannot be uncompressed",
				   (unsigned long long)offset);
	/* New memory is zeroes: the other pages are as they should be. */
	for (i = 0; i < RAM_CHUNK_PAGES && !run; i++) {
		if (!(map[i / 8] >> i % 8 & 1))
			continue;
		memcpy(j->base + offset + (uint64_t)i * RAM_PAGE, from, RAM_PAGE);
		from += RAM_PAGE;
	}
	atomic_fetch_add(&j->done, len);
	return 0;
}

static int read_chunk(struct ram_job *j, struct scratch *s, struct state_error *err)
{
	uint64_t plain, len;
	uint32_t type;
	int ret;

	ret = stream_next(j->in, &type, &s->b, &plain, &len, err);
	if (!ret && type != SEC_RAM_CHUNK)
		ret = state_error(err, "section %s where memory should be", stream_type_name(type));
	return ret;
}

static void load_packed(struct ram_job *j, struct scratch *s)
{
	struct state_error err = { .text = "" };
	bool more = true;
	int ret = 0;

	while (!ret && !atomic_load(&j->stop)) {
		/* Sections are read one at a time and uncompressed side by side. */
		pthread_mutex_lock(&j->lock);
		more = atomic_fetch_add(&j->next, 1) < j->nr_chunks;
		if (more)
			ret = read_chunk(j, s, &err);
		pthread_mutex_unlock(&j->lock);
		if (!more)
			return;
		ret = ret ?: place_chunk(j, s, &err);
	}
	if (ret)
		fail(j, ret, &err);
}

/* The parts of a chunk that the file has data for; its holes are the zeroes that are there already. */
static int load_plain_chunk(struct ram_job *j, struct scratch *s, uint64_t chunk)
{
	uint64_t start = chunk * RAM_CHUNK, end = start + chunk_len(j, chunk), at, stop, page;
	uint8_t map[MAP_BYTES] = { 0 };
	uint32_t sum = 0;
	ssize_t n;

	for (at = start; at < end; at = stop) {
		uint64_t data = j->plain + at;

		stop = next_data(j->in->fd, &data, j->plain + end) - j->plain;
		at = data - j->plain;
		/* A page that begins as data is whole: the file's size was compared. */
		stop = (stop + RAM_PAGE - 1) & ~(uint64_t)(RAM_PAGE - 1);
		stop = stop < end ? stop : end;
		n = pread_full(j->in->fd, s->pages, stop - at, j->plain + at);
		if (n != (ssize_t)(stop - at))
			return n < 0 ? (int)n : -ENODATA;
		for (page = 0; page < stop - at; page += RAM_PAGE) {
			unsigned int bit = (unsigned int)((at + page - start) / RAM_PAGE);

			if (is_zero(s->pages + page, RAM_PAGE))
				continue;
			map[bit / 8] |= (uint8_t)(1 << bit % 8);
			sum = stream_crc(sum, s->pages + page, RAM_PAGE);
			memcpy(j->base + at + page, s->pages + page, RAM_PAGE);
		}
	}
	j->sums[chunk] = stream_crc(sum, map, sizeof(map));
	atomic_fetch_add(&j->done, end - start);
	return 0;
}

/* RAM_PLAIN into memory, chunk by chunk; the sums are compared at the end. */
static void load_plain(struct ram_job *j, struct scratch *s)
{
	struct state_error err = { .text = "" };
	uint64_t chunk;
	int ret = 0;

	while (!atomic_load(&j->stop) && !ret && (chunk = atomic_fetch_add(&j->next, 1)) < j->nr_chunks)
		ret = load_plain_chunk(j, s, chunk);
	if (!ret)
		return;
	state_error(&err, "cannot read the memory: %s", strerror(-ret));
	fail(j, ret, &err);
}

void ram_load_work(void *job)
{
	struct ram_job *j = job;
	struct scratch s;

	if (!scratch_make(j, &s, false))
		return;
	if (j->form == RAM_PLAIN)
		load_plain(j, &s);
	else if (j->form == RAM_ZSTD)
		load_packed(j, &s);
	scratch_free(&s);
}

/* What RAM_PLAIN holds, against its sums; or only past them. */
static int read_sums(struct ram_job *j, bool compare, struct state_error *err)
{
	struct sbuf b = { 0 };
	uint64_t chunk = 0, plain, len;
	uint32_t type;
	int ret = 0;

	while (!ret && chunk < j->nr_chunks) {
		ret = stream_next(j->in, &type, &b, &plain, &len, err);
		if (!ret && (type != SEC_RAM_SUMS || !b.len))
			ret = state_error(err, "section %s where checksums should be",
					  stream_type_name(type));
		for (; !ret && b.pos < b.len && chunk < j->nr_chunks; chunk++)
			if ((sbuf_get_num(&b, 4) != j->sums[chunk] && compare) || b.failed)
				ret = state_error(err, "memory at %#llx is damaged",
						  (unsigned long long)chunk * RAM_CHUNK);
	}
	sbuf_free(&b);
	return ret;
}

int ram_load_end(struct ram_job *j, struct state_error *err)
{
	int ret = atomic_load(&j->failed);

	if (ret) {
		*err = j->err;
		return ret;
	}
	/* As many chunks as there are, none of them twice: all were there. */
	if (j->form != RAM_PLAIN)
		return 0;
	/* The search for holes has moved it. */
	if (lseek(j->in->fd, (off_t)j->in->bytes, SEEK_SET) < 0) {
		state_error(err, "cannot read the state: %s", strerror(errno));
		return -EIO;
	}
	return read_sums(j, true, err);
}

int ram_load_mapped(struct ram_job *j, struct state_error *err)
{
	if (j->form == RAM_ZSTD)
		return state_error(err, "its memory is compressed; forks need one that was saved with --plain");
	return j->form == RAM_PLAIN ? read_sums(j, false, err) : 0;
}
