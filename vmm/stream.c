// SPDX-License-Identifier: GPL-2.0-only
/* Header, sections, checksums. docs/stream.md has the layout. */
#include <errno.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stream.h"

#define ALIGN		4096ULL
#define FLAG_PLAIN	1U	/* the payload's checksums are elsewhere */

uint32_t stream_crc(uint32_t crc, const void *data, size_t len)
{
	/* Without data the library gives what one starts with. */
	return len ? libdeflate_crc32(crc, data, len) : crc;
}

const char *stream_type_name(uint32_t type)
{
	static _Thread_local char name[5];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		char c = (char)(type >> 8 * i & 0x7f);

		name[i] = c >= ' ' && c < 0x7f ? c : '?';
	}
	return name;
}

static void put_le(uint8_t *at, uint64_t val, unsigned int size)
{
	while (size--) {
		*at++ = (uint8_t)val;
		val >>= 8;
	}
}

static uint64_t get_le(const uint8_t *at, unsigned int size)
{
	uint64_t val = 0;

	while (size--)
		val = val << 8 | at[size];
	return val;
}

/* ------------------------------------------------------------------- writing */

static int write_all(struct stream_out *o, struct iovec *iov, int n, struct state_error *err)
{
	for (; o->to && n; n--, iov++) {
		sbuf_put(o->to, iov->iov_base, iov->iov_len);
		o->bytes += iov->iov_len;
	}
	while (n) {
		ssize_t done = writev(o->fd, iov, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			int e = errno;

			state_error(err, "cannot write the state: %s", strerror(e));
			return -e;
		}
		o->bytes += (uint64_t)done;
		while (n && (size_t)done >= iov->iov_len) {
			done -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n) {
			iov->iov_base = (uint8_t *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

int stream_begin(struct stream_out *o, int fd, uint64_t saved_at, struct state_error *err)
{
	uint8_t head[STREAM_HEADER] = STREAM_MAGIC;
	struct iovec iov = { head, sizeof(head) };

	*o = (struct stream_out){ .fd = fd };
	put_le(head + 8, STREAM_VERSION, 4);
	put_le(head + 16, saved_at, 8);
	put_le(head + 28, stream_crc(0, head, 28), 4);
	return write_all(o, &iov, 1, err);
}

static void fill_frame(uint8_t *frame, uint32_t type, uint32_t flags, uint64_t len, uint32_t crc)
{
	put_le(frame, type, 4);
	put_le(frame + 4, flags, 4);
	put_le(frame + 8, len, 8);
	put_le(frame + 16, crc, 4);
	put_le(frame + 20, stream_crc(0, frame, 20), 4);
}

int stream_put2(struct stream_out *o, uint32_t type, const void *head, size_t head_len,
		const void *data, size_t len, struct state_error *err)
{
	uint8_t frame[STREAM_FRAME];
	struct iovec iov[3] = {
		{ frame, sizeof(frame) },
		{ (void *)(uintptr_t)head, head_len },
		{ (void *)(uintptr_t)data, len },
	};

	if (head_len + len > STREAM_MAX_PAYLOAD) {
		state_error(err, "section %s is too long", stream_type_name(type));
		return -E2BIG;
	}
	fill_frame(frame, type, 0, head_len + len,
		   stream_crc(stream_crc(0, head, head_len), data, len));
	o->sections++;
	return write_all(o, iov, 3, err);
}

int stream_append(struct stream_out *o, const struct stream_out *from, struct state_error *err)
{
	struct iovec iov = { from->to->data, from->to->len };

	if (from->to->failed) {
		state_error(err, "out of memory");
		return -ENOMEM;
	}
	o->sections += from->sections;
	return write_all(o, &iov, 1, err);
}

int stream_put(struct stream_out *o, uint32_t type, const void *data, size_t len,
	       struct state_error *err)
{
	return stream_put2(o, type, data, len, NULL, 0, err);
}

int stream_put_plain(struct stream_out *o, uint32_t type, uint64_t len, uint64_t *offset,
		     struct state_error *err)
{
	static const uint8_t zeroes[ALIGN];
	uint64_t start = o->bytes + 2 * STREAM_FRAME;	/* with the smallest padding */
	uint8_t frame[STREAM_FRAME];
	struct iovec iov = { frame, sizeof(frame) };
	int ret;

	ret = stream_put(o, SEC_PAD, zeroes, (size_t)(-start & (ALIGN - 1)), err);
	if (ret)
		return ret;
	fill_frame(frame, type, FLAG_PLAIN, len, 0);
	o->sections++;
	ret = write_all(o, &iov, 1, err);
	if (ret)
		return ret;
	*offset = o->bytes;
	o->bytes += len;
	/* What is not written reads as zeroes, to the last byte. */
	if (ftruncate(o->fd, (off_t)o->bytes) < 0 || lseek(o->fd, (off_t)o->bytes, SEEK_SET) < 0) {
		ret = -errno;
		state_error(err, "this form needs a file that can be seeked in: %s", strerror(-ret));
	}
	return ret;
}

int stream_end(struct stream_out *o, struct state_error *err)
{
	uint8_t sums[16];

	put_le(sums, o->sections, 8);
	put_le(sums + 8, o->bytes, 8);
	return stream_put(o, SEC_END, sums, sizeof(sums), err);
}

/* ------------------------------------------------------------------- reading */

static int read_all(struct stream_in *in, void *buf, size_t len, struct state_error *err)
{
	uint8_t *at = buf;

	if (in->from && len) {
		const void *data = sbuf_get(in->from, len);

		if (!data)
			return state_error(err, "ends early, after %llu bytes", (unsigned long long)in->bytes);
		memcpy(buf, data, len);
		in->bytes += len;
		return 0;
	}
	while (len) {
		ssize_t n = read(in->fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int e = errno;

			state_error(err, "cannot read the state: %s", strerror(e));
			return -e;
		}
		if (!n)
			return state_error(err, "ends early, after %llu bytes: it was cut off",
					   (unsigned long long)in->bytes);
		at += n;
		in->bytes += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int stream_open(struct stream_in *in, int fd, struct state_error *err)
{
	uint8_t head[STREAM_HEADER];
	int ret;

	*in = (struct stream_in){ .fd = fd };
	ret = read_all(in, head, sizeof(head), err);
	if (ret)
		return ret;
	if (memcmp(head, STREAM_MAGIC, 8))
		return state_error(err, "not a state that hvx saved");
	if (get_le(head + 28, 4) != stream_crc(0, head, 28))
		return state_error(err, "its header is damaged");
	if (get_le(head + 8, 4) != STREAM_VERSION)
		return state_error(err, "format version %u; this hvx reads version %u",
				   (unsigned int)get_le(head + 8, 4), STREAM_VERSION);
	if (get_le(head + 12, 4))
		return state_error(err, "uses features %#x that this hvx does not know; use a newer one",
				   (unsigned int)get_le(head + 12, 4));
	in->saved_at = get_le(head + 16, 8);
	return 0;
}

/* Room for the payload that is not paid for by a length alone: it grows as bytes come. */
static int read_payload(struct stream_in *in, struct sbuf *b, uint64_t len, struct state_error *err)
{
	const size_t step = 1U << 20;
	int ret = 0;

	b->len = b->pos = 0;
	b->failed = false;
	while (b->len < len && !ret) {
		size_t n = len - b->len < step ? (size_t)len - b->len : step;

		if (n > b->cap - b->len) {
			uint8_t *grown = realloc(b->data, b->len + n);

			if (!grown) {
				state_error(err, "out of memory");
				return -ENOMEM;
			}
			b->data = grown;
			b->cap = b->len + n;
		}
		ret = read_all(in, b->data + b->len, n, err);
		b->len += n;
	}
	return ret;
}

static int pass_plain(struct stream_in *in, uint64_t len, struct state_error *err)
{
	struct stat st;

	if (in->bytes % ALIGN || fstat(in->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return state_error(err, "plain memory that cannot be mapped");
	if (len > INT64_MAX - in->bytes || (uint64_t)st.st_size < in->bytes + len)
		return state_error(err, "ends early, within the memory: it was cut off");
	in->bytes += len;
	if (lseek(in->fd, (off_t)in->bytes, SEEK_SET) < 0) {
		state_error(err, "cannot read the state: %s", strerror(errno));
		return -EIO;
	}
	return 0;
}

static int check_end(struct stream_in *in, struct sbuf *b, struct state_error *err)
{
	uint64_t sections = sbuf_get_num(b, 8), bytes = sbuf_get_num(b, 8);

	if (b->failed || sections != in->sections - 1 || bytes + STREAM_FRAME + b->len != in->bytes)
		return state_error(err, "sections are missing");
	in->ended = true;
	return 0;
}

int stream_next(struct stream_in *in, uint32_t *type, struct sbuf *b, uint64_t *plain,
		uint64_t *plain_len, struct state_error *err)
{
	uint8_t frame[STREAM_FRAME];
	uint32_t flags;
	uint64_t len;
	int ret;

	if (in->ended)
		return state_error(err, "nothing comes after the end");
	do {
		ret = read_all(in, frame, sizeof(frame), err);
		if (ret)
			return ret;
		if (get_le(frame + 20, 4) != stream_crc(0, frame, 20))
			return state_error(err, "damaged at byte %llu",
					   (unsigned long long)(in->bytes - STREAM_FRAME));
		*type = (uint32_t)get_le(frame, 4);
		flags = (uint32_t)get_le(frame + 4, 4);
		len = get_le(frame + 8, 8);
		in->sections++;
		if (flags != (*type == SEC_RAM_PLAIN ? FLAG_PLAIN : 0))
			return state_error(err, "section %s with flags %#x", stream_type_name(*type),
					   flags);
		if (*type == SEC_RAM_PLAIN) {
			b->len = b->pos = 0;
			*plain = in->bytes;
			*plain_len = len;
			return pass_plain(in, len, err);
		}
		if (len > STREAM_MAX_PAYLOAD)
			return state_error(err, "section %s is too long", stream_type_name(*type));
		ret = read_payload(in, b, len, err);
		if (ret)
			return ret;
		if (get_le(frame + 16, 4) != stream_crc(0, b->data, b->len))
			return state_error(err, "section %s is damaged", stream_type_name(*type));
	} while (*type == SEC_PAD);
	return *type == SEC_END ? check_end(in, b, err) : 0;
}
