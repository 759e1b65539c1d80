/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is saved of a device, described once for saving and for loading.
 *
 * A device has a struct of fixed-width members for its saved state, apart from
 * its live struct, a table that names them, and two functions: one fills the
 * struct from the device, the other checks it whole and only then puts it into
 * the device. In a stream each field stands with its name, the size of its
 * elements and their count, so that a file says what it holds.
 *
 * Old files: a description has a version; a field has the version that it came
 * with (since), and reads as zero from older files. Fields never change their
 * meaning: a new meaning is a new field. A version or a field that is not known
 * is refused.
 *
 * Whoever made the file is no friend. The table bounds each value; what bounds
 * cannot say is load's to check. Loading trusts a value no more than a write by
 * the guest to a register.
 */
#ifndef HVX_VMM_STATE_H
#define HVX_VMM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct state_field;

struct state_field {
	const char *name;		/* at most 31 characters; NULL ends the table */
	uint32_t offset;		/* in the state struct */
	uint32_t size;			/* of an element: 1, 2, 4, 8; of a group, its struct */
	uint32_t count;			/* elements there is room for */
	uint32_t used;			/* 1 + offset of the uint32_t that counts those in use; 0: all */
	uint16_t since;			/* version */
	uint64_t max;			/* the greatest value allowed, 0: any */
	uint64_t bits;			/* the bits allowed, 0: any */
	const struct state_field *group;	/* of elements that are structs */
};

#define STATE_LEN(T, m)		(sizeof(((T *)0)->m) / sizeof(((T *)0)->m[0]))
#define STATE_FIELD_(T, m, size_, count_, ...) \
	{ .name = #m, .offset = offsetof(T, m), .size = (size_), .count = (count_), __VA_ARGS__ }
/* A number, and what is allowed: STATE_U8(struct x, irr, 1, .bits = 0xf8). */
#define STATE_NUM(T, m, since_, ...) \
	STATE_FIELD_(T, m, sizeof(((T *)0)->m), 1, .since = (since_), ##__VA_ARGS__)
#define STATE_BOOL(T, m, since_)	STATE_NUM(T, m, since_, .max = 1)
/* An array of numbers; the same, as many as the member n says. */
#define STATE_ARRAY(T, m, since_, ...) \
	STATE_FIELD_(T, m, sizeof(((T *)0)->m[0]), STATE_LEN(T, m), .since = (since_), ##__VA_ARGS__)
#define STATE_SOME(T, m, n, since_, ...) \
	STATE_ARRAY(T, m, since_, .used = 1 + offsetof(T, n), ##__VA_ARGS__)
/* A struct; an array of them; as many as n says. n comes before it in the table. */
#define STATE_GROUP(T, m, fields, since_) \
	STATE_FIELD_(T, m, sizeof(((T *)0)->m), 1, .since = (since_), .group = (fields))
#define STATE_GROUPS(T, m, fields, since_) STATE_ARRAY(T, m, since_, .group = (fields))
#define STATE_SOME_GROUPS(T, m, n, fields, since_) STATE_SOME(T, m, n, since_, .group = (fields))
#define STATE_END	{ .name = NULL }

/* What is wrong, for a message. The first complaint stays. */
struct state_error {
	char text[200];
};
/* Always -EINVAL, so that a check can return it. */
int state_error(struct state_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct state_desc {
	uint16_t version;		/* that is written; 1 and up are read */
	bool may_lack;			/* older streams have none: it is then as after reset */
	uint32_t size;			/* of the state struct; at most STATE_MAX_SIZE */
	const struct state_field *fields;
	/* Machine lock held, device paused. save finds *state zeroed. 0, or -EINVAL with *err: not now. */
	int (*save)(struct device *dev, void *state, struct state_error *err);
	/*
	 * The device is as after reset, and paused. 0, or -EINVAL with *err set; the
	 * device is then good for nothing but destroy.
	 */
	int (*load)(struct device *dev, const void *state, unsigned int version,
		    struct state_error *err);
};
#define STATE_MAX_SIZE	(256U << 10)

/* For devices that have nothing to save: what they are lies in the XML alone. */
extern const struct state_desc state_nothing;

/* ------------------------------------------------------------------ buffers */

/* Bytes that grow while written and are walked while read. */
struct sbuf {
	uint8_t *data;
	size_t len, cap;
	size_t pos;		/* of the next read */
	bool failed;		/* out of memory, or read beyond the end */
};

void sbuf_free(struct sbuf *b);
void sbuf_put(struct sbuf *b, const void *data, size_t len);
void sbuf_put_num(struct sbuf *b, uint64_t val, unsigned int size);	/* little-endian */
/* NULL and failed where there are fewer bytes. Valid as long as the buffer. */
const void *sbuf_get(struct sbuf *b, size_t len);
uint64_t sbuf_get_num(struct sbuf *b, unsigned int size);		/* 0 and failed */
static inline size_t sbuf_left(const struct sbuf *b)
{
	return b->len - b->pos;
}

/* Append state by its table. Errors show as b->failed. */
void state_encode(struct sbuf *b, const struct state_field *f, const void *state);
/* *state is zeroed by the caller. 0, or -EINVAL with *err. Does not look for bytes left over. */
int state_decode(struct sbuf *b, const struct state_field *f, unsigned int version, void *state,
		 struct state_error *err);

/*
 * One device: its type, its id and its state, as the payload of a DEVICE section.
 * state_load_device() finds it among m's; 0, -EINVAL with *err.
 */
struct machine;
int state_save_device(struct sbuf *b, struct device *dev, struct state_error *err);
int state_load_device(struct sbuf *b, struct machine *m, struct device **loaded,
		      struct state_error *err);

#endif
