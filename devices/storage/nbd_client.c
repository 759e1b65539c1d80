// SPDX-License-Identifier: GPL-2.0-only
/* The client's side: a disk goes to where its guest goes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/storage/nbd.h"
#include "devices/storage/nbd_wire.h"

#define MAX_REPLY	4096U	/* bytes of an option's reply */
#define MAX_REPLIES	64U	/* to one option */

static int fail(struct nbd_client *c, int ret, const char *fmt, ...)
{
	va_list ap;

	if (!c->text[0]) {
		va_start(ap, fmt);
		vsnprintf(c->text, sizeof(c->text), fmt, ap);
		va_end(ap);
	}
	return ret;
}

static int lost(struct nbd_client *c, int ret)
{
	return ret ? fail(c, ret, "the connection is lost") : 0;
}

/* ----------------------------------------------------------------- handshake */

static int ask(struct nbd_client *c, const char *name)
{
	uint8_t msg[16 + 4 + NBD_MAX_NAME + 2 + 2], *at = msg;
	size_t len = strlen(name);

	if (len > NBD_MAX_NAME)
		return fail(c, -EINVAL, "its name is too long");
	at = put_be(at, NBD_OPT_MAGIC, 8);
	at = put_be(at, NBD_OPT_GO, 4);
	at = put_be(at, 4 + len + 2 + 2, 4);
	at = put_be(at, len, 4);
	memcpy(at, name, len);
	at = put_be(at + len, 1, 2);
	at = put_be(at, NBD_INFO_BLOCK_SIZE, 2);
	return lost(c, sock_put(c->sock, msg, (size_t)(at - msg), false));
}

static void take_info(struct nbd_client *c, const uint8_t *data, uint32_t len)
{
	uint64_t kind = len >= 2 ? get_be(data, 2) : UINT64_MAX, max;

	if (kind == NBD_INFO_EXPORT && len >= 12) {
		c->size = get_be(data + 2, 8);
		c->flags = (unsigned int)get_be(data + 10, 2);
	} else if (kind == NBD_INFO_BLOCK_SIZE && len >= 14) {
		max = get_be(data + 10, 4);
		c->max_data = max < NBD_MAX_DATA ? (uint32_t)max : NBD_MAX_DATA;
	}
}

static int refused(struct nbd_client *c, uint32_t type)
{
	return fail(c, -ECONNREFUSED, "%s", type == NBD_REP_ERR_UNKNOWN ? "the other side does not know this disk" :
		    type == NBD_REP_ERR_POLICY ? "somebody writes to it on the other side" :
		    "the other side does not take it");
}

/* 1: it may begin. */
static int take_answer(struct nbd_client *c)
{
	uint8_t head[20], data[MAX_REPLY];
	uint32_t type, len;
	int ret = lost(c, sock_get(c->sock, head, sizeof(head)));

	if (ret)
		return ret;
	type = (uint32_t)get_be(head + 12, 4);
	len = (uint32_t)get_be(head + 16, 4);
	if (get_be(head, 8) != NBD_REP_MAGIC || get_be(head + 8, 4) != NBD_OPT_GO || len > sizeof(data))
		return fail(c, -EPROTO, "the other side is no NBD server");
	ret = lost(c, sock_get(c->sock, data, len));
	if (ret)
		return ret;
	if (type & NBD_REP_ERROR)
		return refused(c, type);
	if (type == NBD_REP_INFO)
		take_info(c, data, len);
	return type == NBD_REP_ACK;
}

int nbd_hello(struct nbd_client *c, int sock, const char *name)
{
	uint8_t hello[18], flags[4];
	unsigned int i;
	int ret;

	memset(c, 0, sizeof(*c));
	c->sock = sock;
	c->next = 1;
	c->max_data = NBD_MAX_DATA;
	ret = lost(c, sock_get(sock, hello, sizeof(hello)));
	if (ret)
		return ret;
	if (get_be(hello, 8) != NBD_MAGIC || get_be(hello + 8, 8) != NBD_OPT_MAGIC ||
	    !(get_be(hello + 16, 2) & NBD_FLAG_FIXED_NEWSTYLE))
		return fail(c, -EPROTO, "the other side is no NBD server");
	put_be(flags, NBD_FLAG_FIXED_NEWSTYLE | (get_be(hello + 16, 2) & NBD_FLAG_NO_ZEROES), 4);
	ret = lost(c, sock_put(sock, flags, sizeof(flags), false)) ?: ask(c, name);
	for (i = 0; i < MAX_REPLIES && !ret; i++)
		ret = take_answer(c);
	if (!ret)
		return fail(c, -EPROTO, "the other side is no NBD server");
	return ret < 0 ? ret : 0;
}

int nbd_open(struct nbd_client *c, int sock, const char *name)
{
	const unsigned int want = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH;
	int ret = nbd_hello(c, sock, name);

	if (ret)
		return ret;
	if ((c->flags & want) != want || c->max_data < 4096)
		return fail(c, -EPROTO, "the other side cannot flush, or takes no 4096 bytes at once");
	if (c->flags & NBD_FLAG_READ_ONLY)
		return fail(c, -EROFS, "the other side lets nobody write to it");
	return 0;
}

/* ------------------------------------------------------------------ requests */

static const char *error_text(uint32_t error)
{
	switch (error) {
	case NBD_ENOSPC:
		return "no space is left there";
	case NBD_EPERM:
		return "it may not be written to there";
	case NBD_ENOMEM:
		return "out of memory there";
	case NBD_EINVAL:
		return "the other side does not know such a request";
	}
	return "an I/O error there";
}

/* The next reply, to any of the requests. */
static int take_reply(struct nbd_client *c)
{
	uint8_t head[NBD_REPLY_LEN];
	uint64_t handle;
	uint32_t error;
	int ret = lost(c, sock_get(c->sock, head, sizeof(head)));

	if (ret)
		return ret;
	handle = get_be(head + 8, 8);
	if (get_be(head, 4) != NBD_SIMPLE_REPLY_MAGIC || !handle || c->handle[handle % NBD_WINDOW] != handle)
		return fail(c, -EPROTO, "a reply to nothing that was asked");
	c->handle[handle % NBD_WINDOW] = 0;
	c->under_way--;
	error = (uint32_t)get_be(head + 4, 4);
	if (!error)
		return 0;
	c->error = error == NBD_ENOSPC ? ENOSPC : EIO;
	return fail(c, -c->error, "%s", error_text(error));
}

static int request(struct nbd_client *c, unsigned int type, uint64_t offset, uint32_t len, const void *data)
{
	uint8_t head[NBD_REQUEST_LEN], *at = head;
	int ret = 0;

	if (c->text[0])
		return c->error ? -c->error : -EPIPE;
	/* Replies may come in any order: the place must be free. */
	while (!ret && c->handle[c->next % NBD_WINDOW])
		ret = take_reply(c);
	if (ret)
		return ret;
	at = put_be(at, NBD_REQUEST_MAGIC, 4);
	at = put_be(at, 0, 2);
	at = put_be(at, type, 2);
	at = put_be(at, c->next, 8);
	at = put_be(at, offset, 8);
	put_be(at, len, 4);
	if (type != NBD_CMD_DISC) {
		c->handle[c->next % NBD_WINDOW] = c->next;
		c->under_way++;
		c->next++;
	}
	return lost(c, sock_put(c->sock, head, sizeof(head), data) ?:
		       (data ? sock_put(c->sock, data, len, false) : 0));
}

int nbd_write(struct nbd_client *c, uint64_t offset, const void *data, uint32_t len)
{
	const uint8_t *at = data;
	int ret = 0;

	while (len && !ret) {
		uint32_t part = len < c->max_data ? len : c->max_data;

		ret = request(c, NBD_CMD_WRITE, offset, part, at);
		at += part;
		offset += part;
		len -= part;
	}
	return ret;
}

int nbd_zero(struct nbd_client *c, uint64_t offset, uint32_t len)
{
	static const uint8_t zeroes[64 << 10];
	int ret = 0;

	if (c->flags & NBD_FLAG_SEND_WRITE_ZEROES)
		return request(c, NBD_CMD_WRITE_ZEROES, offset, len, NULL);
	while (len && !ret) {
		uint32_t part = len < sizeof(zeroes) ? len : (uint32_t)sizeof(zeroes);

		ret = nbd_write(c, offset, zeroes, part);
		offset += part;
		len -= part;
	}
	return ret;
}

int nbd_flush(struct nbd_client *c)
{
	int ret = c->text[0] ? -EPIPE : 0;

	/* What a flush covers is what was answered before it. */
	while (!ret && c->under_way)
		ret = take_reply(c);
	ret = ret ?: request(c, NBD_CMD_FLUSH, 0, 0, NULL);
	while (!ret && c->under_way)
		ret = take_reply(c);
	return ret;
}

int nbd_leave(struct nbd_client *c)
{
	return request(c, NBD_CMD_DISC, 0, 0, NULL);
}
