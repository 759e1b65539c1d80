// SPDX-License-Identifier: GPL-2.0-only
/* Saved state by tables. state.h explains them, docs/stream.md the bytes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "state.h"

#define NAME_MAX_LEN	31
#define ID_MAX_LEN	63

/* ------------------------------------------------------------------ buffers */

void sbuf_free(struct sbuf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void sbuf_put(struct sbuf *b, const void *data, size_t len)
{
	if (b->failed)
		return;
	if (len > b->cap - b->len) {
		size_t cap = (b->cap ? b->cap : 1024) + len + b->cap / 2;
		uint8_t *grown = realloc(b->data, cap);

		if (!grown) {
			b->failed = true;
			return;
		}
		b->data = grown;
		b->cap = cap;
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

void sbuf_put_num(struct sbuf *b, uint64_t val, unsigned int size)
{
	uint8_t bytes[8];
	unsigned int i;

	for (i = 0; i < size; i++)
		bytes[i] = (uint8_t)(val >> 8 * i);
	sbuf_put(b, bytes, size);
}

const void *sbuf_get(struct sbuf *b, size_t len)
{
	const uint8_t *at = b->data;

	if (b->failed || !at || len > sbuf_left(b)) {
		b->failed = true;
		return NULL;
	}
	at += b->pos;
	b->pos += len;
	return at;
}

uint64_t sbuf_get_num(struct sbuf *b, unsigned int size)
{
	const uint8_t *bytes = sbuf_get(b, size);
	uint64_t val = 0;
	unsigned int i;

	for (i = 0; bytes && i < size; i++)
		val |= (uint64_t)bytes[i] << 8 * i;
	return val;
}

/* ------------------------------------------------------------------- fields */

static uint64_t get_num(const void *at, unsigned int size)
{
	switch (size) {
	case 1:
		return *(const uint8_t *)at;
	case 2:
		return *(const uint16_t *)at;
	case 4:
		return *(const uint32_t *)at;
	default:
		return *(const uint64_t *)at;
	}
}

static void set_num(void *at, unsigned int size, uint64_t val)
{
	switch (size) {
	case 1:
		*(uint8_t *)at = (uint8_t)val;
		break;
	case 2:
		*(uint16_t *)at = (uint16_t)val;
		break;
	case 4:
		*(uint32_t *)at = (uint32_t)val;
		break;
	default:
		*(uint64_t *)at = val;
		break;
	}
}

static uint32_t in_use(const struct state_field *f, const void *state)
{
	uint32_t n = f->count;

	if (f->used)
		n = *(const uint32_t *)(const void *)((const uint8_t *)state + f->used - 1);
	return n < f->count ? n : f->count;
}

void state_encode(struct sbuf *b, const struct state_field *f, const void *state)
{
	for (; f->name; f++) {
		const uint8_t *at = (const uint8_t *)state + f->offset;
		uint32_t i, n = in_use(f, state);
		size_t len = strlen(f->name);

		sbuf_put_num(b, len, 1);
		sbuf_put_num(b, f->group ? 0 : f->size, 1);
		sbuf_put_num(b, n, 4);
		sbuf_put(b, f->name, len);
		for (i = 0; i < n; i++, at += f->size) {
			if (f->group)
				state_encode(b, f->group, at);
			else
				sbuf_put_num(b, get_num(at, f->size), f->size);
		}
	}
}

static int check_num(const struct state_field *f, uint32_t i, uint64_t val,
		     struct state_error *err)
{
	char index[16] = "";

	if ((!f->max || val <= f->max) && (!f->bits || !(val & ~f->bits)))
		return 0;
	if (f->count > 1)
		snprintf(index, sizeof(index), "[%u]", i);
	return state_error(err, "%s%s is %#llx, which cannot be", f->name, index,
			   (unsigned long long)val);
}

/* The head of a field's record: that it is this field, and how many elements follow. */
static int decode_head(struct sbuf *b, const struct state_field *f, const void *state, uint32_t *n,
		       struct state_error *err)
{
	size_t len = sbuf_get_num(b, 1);
	unsigned int size = (unsigned int)sbuf_get_num(b, 1);
	uint32_t count = (uint32_t)sbuf_get_num(b, 4);
	const char *name = sbuf_get(b, len);

	if (!name)
		return state_error(err, "ends before %s", f->name);
	if (len > NAME_MAX_LEN || len != strlen(f->name) || memcmp(name, f->name, len))
		return state_error(err, "'%.*s' stands where %s is expected",
				   (int)(len < NAME_MAX_LEN ? len : NAME_MAX_LEN), name, f->name);
	if (size != (f->group ? 0 : f->size))
		return state_error(err, "%s has elements of %u bytes", f->name, size);
	if (count != in_use(f, state))
		return state_error(err, "%s has %u elements", f->name, count);
	*n = count;
	return 0;
}

int state_decode(struct sbuf *b, const struct state_field *f, unsigned int version, void *state,
		 struct state_error *err)
{
	int ret = 0;

	for (; f->name && !ret; f++) {
		uint8_t *at = (uint8_t *)state + f->offset;
		uint32_t i, n = 0;

		if (f->since > version)
			continue;
		ret = decode_head(b, f, state, &n, err);
		for (i = 0; i < n && !ret; i++, at += f->size) {
			uint64_t val;

			if (f->group) {
				ret = state_decode(b, f->group, version, at, err);
				continue;
			}
			val = sbuf_get_num(b, f->size);
			if (b->failed)
				return state_error(err, "ends within %s", f->name);
			ret = check_num(f, i, val, err);
			set_num(at, f->size, val);
		}
	}
	return ret;
}

/* ------------------------------------------------------------------ devices */

int state_save_device(struct sbuf *b, struct device *dev, struct state_error *err)
{
	const struct state_desc *d = dev->ops->state;
	struct state_error inner = { .text = "" };
	void *state;

	if (!d)
		return state_error(err, "%s (%s) cannot be saved; take it out of the XML",
				   dev->id, dev->ops->name);
	state = calloc(1, d->size + 1);
	if (!state)
		return state_error(err, "%s: out of memory", dev->id);
	if (d->save && d->save(dev, state, &inner)) {
		free(state);
		return state_error(err, "%s: %s", dev->id, inner.text);
	}
	sbuf_put_num(b, strlen(dev->ops->name), 1);
	sbuf_put_num(b, strlen(dev->id), 1);
	sbuf_put_num(b, d->version, 2);
	sbuf_put(b, dev->ops->name, strlen(dev->ops->name));
	sbuf_put(b, dev->id, strlen(dev->id));
	state_encode(b, d->fields, state);
	free(state);
	return b->failed ? state_error(err, "%s: out of memory", dev->id) : 0;
}

static struct device *find_device(struct machine *m, const char *id, size_t len)
{
	struct device *dev;

	for (dev = m->devices; dev; dev = dev->next)
		if (strlen(dev->id) == len && !memcmp(dev->id, id, len))
			return dev;
	return NULL;
}

static int load_fields(struct sbuf *b, struct device *dev, unsigned int version,
		       struct state_error *err)
{
	const struct state_desc *d = dev->ops->state;
	void *state = calloc(1, d->size + 1);
	int ret;

	if (!state)
		return state_error(err, "out of memory");
	ret = state_decode(b, d->fields, version, state, err);
	if (!ret && sbuf_left(b))
		ret = state_error(err, "%zu bytes more than its fields", sbuf_left(b));
	if (!ret && d->load)
		ret = d->load(dev, state, version, err);
	free(state);
	return ret;
}

int state_load_device(struct sbuf *b, struct machine *m, struct device **loaded,
		      struct state_error *err)
{
	size_t type_len = sbuf_get_num(b, 1), id_len = sbuf_get_num(b, 1);
	unsigned int version = (unsigned int)sbuf_get_num(b, 2);
	const char *type = sbuf_get(b, type_len), *id = sbuf_get(b, id_len);
	struct state_error inner = { .text = "" };
	struct device *dev;

	if (!id || !type_len || id_len > ID_MAX_LEN || type_len > ID_MAX_LEN)
		return state_error(err, "a device without a name");
	dev = find_device(m, id, id_len);
	if (!dev || strlen(dev->ops->name) != type_len || memcmp(dev->ops->name, type, type_len))
		return state_error(err, "a device %.*s (%.*s) that this machine has not",
				   (int)id_len, id, (int)type_len, type);
	if (!dev->ops->state)
		return state_error(err, "%s (%s) cannot be loaded", dev->id, dev->ops->name);
	if (!version || version > dev->ops->state->version)
		return state_error(err, "%s: its state has version %u, this hvx reads 1 to %u; use the hvx that saved it, or a newer one",
				   dev->id, version, dev->ops->state->version);
	if (load_fields(b, dev, version, &inner))
		return state_error(err, "%s: %s", dev->id, inner.text);
	*loaded = dev;
	return 0;
}
