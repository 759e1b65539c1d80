/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The stream that a machine's state is saved in: a header, then sections, each
 * with its length and checksums. Bytes and sections are in docs/stream.md.
 *
 * All calls that can fail give 0 or -errno with *err set; -EINVAL: the stream is
 * damaged, or not one. What was read has passed its checksum, and is still not
 * to be trusted.
 */
#ifndef HVX_VMM_STREAM_H
#define HVX_VMM_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include "state.h"

#define STREAM_MAGIC		"HVXSTATE"
#define STREAM_VERSION		1
#define STREAM_HEADER		32U
#define STREAM_FRAME		24U		/* head of a section */
#define STREAM_MAX_PAYLOAD	(8U << 20)	/* of a section that is read into memory */

#define STREAM_TYPE(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define SEC_XML		STREAM_TYPE('X', 'M', 'L', ' ')	/* the domain, as text */
#define SEC_MACHINE	STREAM_TYPE('M', 'A', 'C', 'H')	/* struct machine_state */
#define SEC_CPUID	STREAM_TYPE('C', 'P', 'U', 'I')
#define SEC_RAM		STREAM_TYPE('R', 'A', 'M', ' ')	/* form and size of what follows */
#define SEC_RAM_CHUNK	STREAM_TYPE('R', 'A', 'M', 'C')	/* compressed */
#define SEC_RAM_PLAIN	STREAM_TYPE('R', 'A', 'M', 'P')	/* as it is, page-aligned, to be mapped */
#define SEC_RAM_SUMS	STREAM_TYPE('R', 'A', 'M', 'S')	/* checksums of RAM_PLAIN */
#define SEC_CLOCK	STREAM_TYPE('C', 'L', 'C', 'K')
#define SEC_DEVICE	STREAM_TYPE('D', 'E', 'V', ' ')
#define SEC_VCPU	STREAM_TYPE('V', 'C', 'P', 'U')
#define SEC_PAD		STREAM_TYPE('P', 'A', 'D', ' ')	/* zeroes; readers pass over it */
#define SEC_END		STREAM_TYPE('E', 'N', 'D', ' ')

uint32_t stream_crc(uint32_t crc, const void *data, size_t len);	/* CRC-32, as zlib; start with 0 */

/* ------------------------------------------------------------------- writing */

struct stream_out {
	int fd;			/* the caller's */
	struct sbuf *to;	/* not NULL: there instead, its errors show as to->failed */
	uint64_t bytes;		/* written */
	uint64_t sections;
};

/* saved_at: ns since the epoch. */
int stream_begin(struct stream_out *o, int fd, uint64_t saved_at, struct state_error *err);
int stream_put(struct stream_out *o, uint32_t type, const void *data, size_t len,
	       struct state_error *err);
/* Two pieces, one section. */
int stream_put2(struct stream_out *o, uint32_t type, const void *head, size_t head_len,
		const void *data, size_t len, struct state_error *err);
/*
 * A section whose payload of len bytes the caller writes itself, at *offset of the
 * file, a multiple of 4096. The file must be seekable; it goes on behind the payload.
 */
int stream_put_plain(struct stream_out *o, uint32_t type, uint64_t len, uint64_t *offset,
		     struct state_error *err);
/* What was written to `from`->to, which began as zeroes, behind what o has. */
int stream_append(struct stream_out *o, const struct stream_out *from, struct state_error *err);
int stream_end(struct stream_out *o, struct state_error *err);

/* ------------------------------------------------------------------- reading */

struct stream_in {
	int fd;			/* the caller's */
	struct sbuf *from;	/* not NULL: sections there, without a header, instead */
	uint64_t bytes;		/* read */
	uint64_t sections;
	uint64_t saved_at;
	bool ended;
};

int stream_open(struct stream_in *in, int fd, struct state_error *err);
/*
 * The next section's payload into *b (from pos 0; its memory is used again). The
 * payload of SEC_RAM_PLAIN is not read: *plain is its offset in the file, b->len 0,
 * and the stream goes on behind it. After SEC_END there is nothing.
 */
int stream_next(struct stream_in *in, uint32_t *type, struct sbuf *b, uint64_t *plain,
		uint64_t *plain_len, struct state_error *err);
/* The name of a section for messages; static, one a thread. */
const char *stream_type_name(uint32_t type);

#endif
