/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * GDB's Remote Serial Protocol (GDB manual, appendix E): the framing, and the
 * numbers in packets. Pure: bytes in, events out; whatever the peer sends, in
 * bounded memory.
 */
#ifndef HVX_VMM_GDB_PACKET_H
#define HVX_VMM_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_MAX_PACKET	4096U	/* bytes between '$' and '#', as PacketSize says */

enum gdb_event {
	GDB_NONE,		/* more bytes are wanted */
	GDB_PACKET,		/* .data, .len; a NUL follows */
	GDB_BAD,		/* wrong checksum, or too long: ask for it again */
	GDB_INTERRUPT,		/* ^C */
	GDB_ACK,
	GDB_NAK,
	GDB_ALIEN,		/* not this protocol: a browser, or a port scan */
};

struct gdb_framer {
	enum { GDB_IDLE, GDB_DATA, GDB_ESCAPED, GDB_SUM1, GDB_SUM2 } state;
	bool over;		/* longer than it may be */
	uint8_t sum, said;
	size_t len;
	char data[GDB_MAX_PACKET + 1];
};

enum gdb_event gdb_feed(struct gdb_framer *f, uint8_t byte);

/* The frame of a packet, with escapes, into out (2 * len + 4 bytes at most). Its length. */
size_t gdb_frame(const char *data, size_t len, char *out);

/* --- reading a packet's fields: *p moves on; false, and *p as it was, where there is none --- */
bool gdb_hex(const char **p, uint64_t *out);			/* 1 to 16 digits */
bool gdb_hex_signed(const char **p, int64_t *out);		/* "-1" too: threads */
bool gdb_char(const char **p, char c);
bool gdb_word(const char **p, const char *word);
/* Exactly len bytes of two digits each. */
bool gdb_bytes(const char **p, void *out, size_t len);

void gdb_put_bytes(char **p, const void *data, size_t len);	/* two digits each, and a NUL */

#endif
