// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>

#include "aml.h"

/* ACPI 6.4, 20.2: AML grammar and opcodes */
enum {
	NAME_OP = 0x08, BYTE_PREFIX = 0x0a, WORD_PREFIX = 0x0b, DWORD_PREFIX = 0x0c,
	STRING_PREFIX = 0x0d, QWORD_PREFIX = 0x0e, SCOPE_OP = 0x10, BUFFER_OP = 0x11,
	PACKAGE_OP = 0x12, METHOD_OP = 0x14, DUAL_NAME = 0x2e, MULTI_NAME = 0x2f,
	EXT_PREFIX = 0x5b, IF_OP = 0xa0, ELSE_OP = 0xa1, DEVICE_EXT = 0x82,
	OP_REGION_EXT = 0x80, FIELD_EXT = 0x81,
};

enum { TAIL_NONE, TAIL_RESOURCES };

void aml_init(struct aml *a)
{
	memset(a, 0, sizeof(*a));
}

void aml_free(struct aml *a)
{
	free(a->buf);
	memset(a, 0, sizeof(*a));
}

static bool reserve(struct aml *a, size_t more)
{
	size_t room = a->room ? a->room : 512;
	uint8_t *buf;

	while (room - a->len < more)
		room *= 2;
	if (room == a->room)
		return true;
	buf = realloc(a->buf, room);
	if (!buf) {
		a->failed = true;
		return false;
	}
	a->buf = buf;
	a->room = room;
	return true;
}

void aml_raw(struct aml *a, const void *data, size_t len)
{
	if (a->failed || !len || !reserve(a, len))
		return;
	memcpy(a->buf + a->len, data, len);
	a->len += len;
}

void aml_op(struct aml *a, uint8_t op)
{
	aml_raw(a, &op, 1);
}

static void put_le(struct aml *a, uint64_t val, unsigned int bytes)
{
	uint8_t b[8];
	unsigned int i;

	for (i = 0; i < bytes; i++)
		b[i] = (uint8_t)(val >> (8 * i));
	aml_raw(a, b, bytes);
}

/* --------------------------------------------------------- names, bodies */

static void name_seg(struct aml *a, const char *s, size_t len)
{
	char seg[4] = { '_', '_', '_', '_' };

	memcpy(seg, s, len < 4 ? len : 4);
	aml_raw(a, seg, 4);
}

void aml_path(struct aml *a, const char *path)
{
	unsigned int segs = 0;
	const char *p;

	for (; *path == '\\' || *path == '^'; path++)
		aml_op(a, (uint8_t)*path);
	for (p = path; *p; segs++) {
		p += strcspn(p, ".");
		if (*p == '.')
			p++;
	}
	if (segs == 0) {
		aml_op(a, AML_ZERO);	/* NullName */
		return;
	}
	if (segs == 2) {
		aml_op(a, DUAL_NAME);
	} else if (segs > 2) {
		aml_op(a, MULTI_NAME);
		aml_op(a, (uint8_t)segs);
	}
	for (p = path; *p;) {
		size_t len = strcspn(p, ".");

		name_seg(a, p, len);
		p += len;
		if (*p == '.')
			p++;
	}
}

static void body_begin(struct aml *a, uint8_t tail)
{
	if (a->depth == AML_MAX_DEPTH) {
		a->failed = true;
		return;
	}
	a->open[a->depth].start = a->len;
	a->open[a->depth].tail = tail;
	a->depth++;
}

/*
 * PkgLength (20.2.4): counts itself; 1 byte up to 63, else the low nibble and
 * one to three bytes more.
 */
static unsigned int package_length(size_t body, uint8_t *out)
{
	unsigned int n, i;
	size_t total;

	if (body + 1 < 0x40) {
		out[0] = (uint8_t)(body + 1);
		return 1;
	}
	for (n = 2; n < 4 && body + n >= (size_t)1 << (4 + 8 * (n - 1)); n++)
		;
	total = body + n;
	out[0] = (uint8_t)((n - 1) << 6 | (total & 0xf));
	for (i = 1; i < n; i++)
		out[i] = (uint8_t)(total >> (4 + 8 * (i - 1)));
	return n;
}

/* Put bytes before what was written since `at`. */
static void insert(struct aml *a, size_t at, const uint8_t *data, size_t n)
{
	if (a->failed || !reserve(a, n))
		return;
	memmove(a->buf + at + n, a->buf + at, a->len - at);
	memcpy(a->buf + at, data, n);
	a->len += n;
}

void aml_end(struct aml *a)
{
	uint8_t pkg[4];
	size_t start;

	if (!a->depth || a->failed) {
		a->failed = true;
		return;
	}
	start = a->open[--a->depth].start;
	insert(a, start, pkg, package_length(a->len - start, pkg));
}

void aml_scope_begin(struct aml *a, const char *path)
{
	aml_op(a, SCOPE_OP);
	body_begin(a, TAIL_NONE);
	aml_path(a, path);
}

void aml_device_begin(struct aml *a, const char *name)
{
	aml_op(a, EXT_PREFIX);
	aml_op(a, DEVICE_EXT);
	body_begin(a, TAIL_NONE);
	aml_path(a, name);
}

void aml_method_begin(struct aml *a, const char *name, unsigned int args)
{
	aml_op(a, METHOD_OP);
	body_begin(a, TAIL_NONE);
	aml_path(a, name);
	aml_op(a, (uint8_t)((args & 7) | 8));	/* serialised: names are created in it */
}

void aml_package_begin(struct aml *a, unsigned int count)
{
	aml_op(a, PACKAGE_OP);
	body_begin(a, TAIL_NONE);
	aml_op(a, (uint8_t)count);
}

void aml_io_region(struct aml *a, const char *name, uint16_t base, uint16_t len)
{
	aml_op(a, EXT_PREFIX);
	aml_op(a, OP_REGION_EXT);
	aml_path(a, name);
	aml_op(a, 1);		/* SystemIO */
	aml_int(a, base);
	aml_int(a, len);
}

void aml_field_begin(struct aml *a, const char *region)
{
	aml_op(a, EXT_PREFIX);
	aml_op(a, FIELD_EXT);
	body_begin(a, TAIL_NONE);
	aml_path(a, region);
	aml_op(a, 0x43);	/* double words, no lock, other bits are written as zeroes */
}

void aml_field_dword(struct aml *a, const char *name)
{
	name_seg(a, name, strlen(name));
	aml_op(a, 32);		/* bits, encoded as a PkgLength */
}

void aml_if_begin(struct aml *a)
{
	aml_op(a, IF_OP);
	body_begin(a, TAIL_NONE);
}

void aml_else_begin(struct aml *a)
{
	aml_op(a, ELSE_OP);
	body_begin(a, TAIL_NONE);
}

void aml_name(struct aml *a, const char *name)
{
	aml_op(a, NAME_OP);
	aml_path(a, name);
}

/* ------------------------------------------------------------------ terms */

void aml_int(struct aml *a, uint64_t val)
{
	if (val <= 1) {
		aml_op(a, (uint8_t)val);	/* ZeroOp, OneOp */
	} else if (val <= 0xff) {
		aml_op(a, BYTE_PREFIX);
		put_le(a, val, 1);
	} else if (val <= 0xffff) {
		aml_op(a, WORD_PREFIX);
		put_le(a, val, 2);
	} else if (val <= 0xffffffff) {
		aml_op(a, DWORD_PREFIX);
		put_le(a, val, 4);
	} else {
		aml_op(a, QWORD_PREFIX);
		put_le(a, val, 8);
	}
}

void aml_string(struct aml *a, const char *s)
{
	aml_op(a, STRING_PREFIX);
	aml_raw(a, s, strlen(s) + 1);
}

void aml_buffer(struct aml *a, const void *data, size_t len)
{
	aml_op(a, BUFFER_OP);
	body_begin(a, TAIL_NONE);
	aml_int(a, len);
	aml_raw(a, data, len);
	aml_end(a);
}

void aml_name_int(struct aml *a, const char *name, uint64_t val)
{
	aml_name(a, name);
	aml_int(a, val);
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
	aml_name(a, name);
	aml_string(a, s);
}

static unsigned int hex(char c)
{
	return (unsigned int)(c <= '9' ? c - '0' : (c & ~0x20) - 'A' + 10);
}

/* Compressed EISA id (19.3.4): three letters of 5 bits, four hex digits, big-endian. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
		     (uint32_t)(id[2] - '@') << 16 | hex(id[3]) << 12 | hex(id[4]) << 8 |
		     hex(id[5]) << 4 | hex(id[6]);

	aml_name(a, name);
	aml_op(a, DWORD_PREFIX);
	put_le(a, __builtin_bswap32(v), 4);
}

/* -------------------------------------------- resources (6.4): _CRS buffers */

void aml_crs_begin(struct aml *a)
{
	aml_name(a, "_CRS");
	aml_op(a, BUFFER_OP);
	body_begin(a, TAIL_RESOURCES);
}

void aml_crs_end(struct aml *a)
{
	static const uint8_t end_tag[] = { 0x79, 0 };	/* checksum 0: not used */
	uint8_t size[3];
	size_t start, len;
	unsigned int n;

	aml_raw(a, end_tag, sizeof(end_tag));
	if (!a->depth || a->open[a->depth - 1].tail != TAIL_RESOURCES) {
		a->failed = true;
		return;
	}
	start = a->open[a->depth - 1].start;
	len = a->len - start;
	n = len <= 0xff ? 2 : 3;
	size[0] = n == 2 ? BYTE_PREFIX : WORD_PREFIX;
	size[1] = (uint8_t)len;
	size[2] = (uint8_t)(len >> 8);
	insert(a, start, size, n);
	aml_end(a);
}

void aml_crs_io(struct aml *a, uint16_t base, uint8_t len)
{
	aml_op(a, 0x47);	/* I/O port descriptor */
	aml_op(a, 1);		/* 16-bit decode */
	put_le(a, base, 2);
	put_le(a, base, 2);
	aml_op(a, 1);		/* alignment */
	aml_op(a, len);
}

void aml_crs_irq(struct aml *a, unsigned int irq)
{
	aml_op(a, 0x22);	/* IRQ descriptor without flags */
	put_le(a, 1U << irq, 2);
}

void aml_crs_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	aml_op(a, 0x86);	/* 32-bit fixed memory */
	put_le(a, 9, 2);
	aml_op(a, 1);		/* writable */
	put_le(a, base, 4);
	put_le(a, len, 4);
}

enum { WINDOW_MEMORY = 0, WINDOW_IO = 1, WINDOW_BUS = 2 };

/* Address space descriptors (6.4.3.5): fixed range, produced by the bridge. */
static void window(struct aml *a, uint8_t tag, unsigned int width, uint8_t type, uint8_t flags,
		   uint64_t first, uint64_t last)
{
	aml_op(a, tag);
	put_le(a, 3 + 5 * width, 2);
	aml_op(a, type);
	aml_op(a, 0x0c);	/* minimum and maximum fixed, positive decode, producer */
	aml_op(a, flags);
	put_le(a, 0, width);	/* granularity */
	put_le(a, first, width);
	put_le(a, last, width);
	put_le(a, 0, width);	/* translation */
	put_le(a, last - first + 1, width);
}

void aml_crs_bus(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 0x88, 2, WINDOW_BUS, 0, first, last);
}

void aml_crs_io_window(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 0x88, 2, WINDOW_IO, 3 /* ISA and non-ISA ranges */, first, last);
}

void aml_crs_memory32_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable)
{
	window(a, 0x87, 4, WINDOW_MEMORY, 1 | (cacheable ? 1 << 1 : 0), first, last);
}

void aml_crs_memory64_window(struct aml *a, uint64_t first, uint64_t last)
{
	window(a, 0x8a, 8, WINDOW_MEMORY, 1, first, last);
}
