// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include "gdb_packet.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void add(struct gdb_framer *f, uint8_t byte)
{
	if (f->len < GDB_MAX_PACKET)
		f->data[f->len++] = (char)byte;
	else
		f->over = true;
}

static void begin(struct gdb_framer *f)
{
	f->state = GDB_DATA;
	f->over = false;
	f->sum = 0;
	f->len = 0;
}

static enum gdb_event idle(struct gdb_framer *f, uint8_t byte)
{
	switch (byte) {
	case '$':
		begin(f);
		return GDB_NONE;
	case 0x03:
		return GDB_INTERRUPT;
	case '+':
		return GDB_ACK;
	case '-':
		return GDB_NAK;
	}
	return GDB_ALIEN;
}

static enum gdb_event inside(struct gdb_framer *f, uint8_t byte)
{
	if (byte == '$') {	/* the one before was cut short */
		begin(f);
		return GDB_NONE;
	}
	if (byte == '#') {
		f->state = GDB_SUM1;
		return GDB_NONE;
	}
	f->sum += byte;
	if (byte == '}')
		f->state = GDB_ESCAPED;
	else
		add(f, byte);
	return GDB_NONE;
}

static enum gdb_event ended(struct gdb_framer *f, uint8_t byte)
{
	int hi = digit((char)f->said), lo = digit((char)byte);

	f->state = GDB_IDLE;
	if (f->over || hi < 0 || lo < 0 || (hi << 4 | lo) != f->sum)
		return GDB_BAD;
	f->data[f->len] = '\0';
	return GDB_PACKET;
}

enum gdb_event gdb_feed(struct gdb_framer *f, uint8_t byte)
{
	switch (f->state) {
	case GDB_IDLE:
		return idle(f, byte);
	case GDB_DATA:
		return inside(f, byte);
	case GDB_ESCAPED:
		f->sum += byte;
		add(f, byte ^ 0x20);
		f->state = GDB_DATA;
		return GDB_NONE;
	case GDB_SUM1:
		f->said = byte;
		f->state = GDB_SUM2;
		return GDB_NONE;
	case GDB_SUM2:
		break;
	}
	return ended(f, byte);
}

static const char digits[] = "0123456789abcdef";

size_t gdb_frame(const char *data, size_t len, char *out)
{
	uint8_t sum = 0;
	char *p = out;

	*p++ = '$';
	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (c == '#' || c == '$' || c == '}' || c == '*') {
			*p++ = '}';
			sum += '}';
			c ^= 0x20;
		}
		*p++ = c;
		sum += (uint8_t)c;
	}
	*p++ = '#';
	*p++ = digits[sum >> 4];
	*p++ = digits[sum & 15];
	return (size_t)(p - out);
}

bool gdb_hex(const char **p, uint64_t *out)
{
	const char *s = *p;
	uint64_t v = 0;
	int d;

	for (; (d = digit(*s)) >= 0; s++) {
		if (v >> 60)
			return false;
		v = v << 4 | (uint64_t)d;
	}
	if (s == *p)
		return false;
	*out = v;
	*p = s;
	return true;
}

bool gdb_hex_signed(const char **p, int64_t *out)
{
	const char *s = *p;
	bool minus = gdb_char(&s, '-');
	uint64_t v;

	if (!gdb_hex(&s, &v) || v >> 62)
		return false;
	*out = minus ? -(int64_t)v : (int64_t)v;
	*p = s;
	return true;
}

bool gdb_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

bool gdb_word(const char **p, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(*p, word, n))
		return false;
	*p += n;
	return true;
}

bool gdb_bytes(const char **p, void *out, size_t len)
{
	const char *s = *p;
	uint8_t *b = out;

	for (; len; len--, s += 2) {
		int hi = digit(s[0]), lo = hi < 0 ? -1 : digit(s[1]);

		if (lo < 0)
			return false;
		*b++ = (uint8_t)(hi << 4 | lo);
	}
	*p = s;
	return true;
}

void gdb_put_bytes(char **p, const void *data, size_t len)
{
	const uint8_t *b = data;
	char *s = *p;

	for (; len; len--, b++) {
		*s++ = digits[*b >> 4];
		*s++ = digits[*b & 15];
	}
	*s = '\0';
	*p = s;
}
