// SPDX-License-Identifier: GPL-2.0-only
/* Post-copy: what both ends share. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "mig.h"

#define SECTION_WORDS	32768U	/* of a map: 8 GiB of memory */

void mig_clean_text(char *to, size_t room, const uint8_t *text, size_t len)
{
	size_t i;

	if (len > room - 1)
		len = room - 1;
	for (i = 0; i < len; i++)
		to[i] = text[i] >= ' ' && text[i] < 0x7f ? (char)text[i] : '?';
	to[len] = '\0';
}

void mig_patience(int fd, unsigned int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static uint64_t map_words(const struct mig_ram *r)
{
	return r->nr_chunks * MIG_CHUNK_WORDS;
}

uint64_t mig_map_count(const struct mig_ram *r, const uint64_t *map)
{
	uint64_t i, n = 0;

	for (i = 0; i < map_words(r); i++)
		n += (uint64_t)__builtin_popcountll(map[i]);
	return n;
}

static int send_words(const uint64_t *map, uint64_t first, uint64_t n, struct stream_out *out,
		      struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret;

	sbuf_put_num(&b, first, 8);
	while (n--)
		sbuf_put_num(&b, map[first++], 8);
	ret = b.failed ? -ENOMEM : stream_put(out, SEC_MISSING, b.data, b.len, err);
	sbuf_free(&b);
	return ret;
}

int mig_map_send(const struct mig_ram *r, const uint64_t *map, struct stream_out *out,
		 struct state_error *err)
{
	uint64_t total = map_words(r), at = 0, n;
	int ret = 0;

	while (!ret) {
		while (at < total && !map[at])
			at++;
		if (at == total)
			break;
		n = total - at < SECTION_WORDS ? total - at : SECTION_WORDS;
		ret = send_words(map, at, n, out, err);
		at += n;
	}
	return ret ?: send_words(map, total, 0, out, err);
}

/* One section: *at is the first word that may come. False: it was no good. */
static bool take_words(const struct mig_ram *r, uint64_t *map, struct sbuf *b, uint64_t *at)
{
	uint64_t total = map_words(r), pages = (r->size + RAM_PAGE - 1) / RAM_PAGE;
	uint64_t first = sbuf_get_num(b, 8), n = sbuf_left(b) / 8, i;

	if (b->failed || sbuf_left(b) % 8 || first < *at || first > total || n > total - first)
		return false;
	for (i = first; i < first + n; i++) {
		map[i] = sbuf_get_num(b, 8);
		if (map[i] && i * 64 + 63 - (uint64_t)__builtin_clzll(map[i]) >= pages)
			return false;
	}
	*at = first + n;
	return true;
}

int mig_map_read(const struct mig_ram *r, uint64_t *map, struct stream_in *in, struct state_error *err)
{
	uint64_t at = 0, plain, len;
	struct sbuf b = { 0 };
	uint32_t type;
	int ret;

	do {	/* each but the last moves `at` on */
		ret = stream_next(in, &type, &b, &plain, &len, err);
		if (!ret && type != SEC_MISSING)
			ret = state_error(err, "section %s where MISS should be", stream_type_name(type));
		else if (!ret && !take_words(r, map, &b, &at))
			ret = state_error(err, "section MISS");
	} while (!ret && b.len > 8);
	sbuf_free(&b);
	return ret;
}
