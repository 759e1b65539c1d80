// SPDX-License-Identifier: GPL-2.0-only
/* The server's side: the disks that a guest brings with it are written here. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/storage/nbd.h"
#include "devices/storage/nbd_wire.h"
#include "vmm/fileio.h"

#define MAX_OPTION	4096U	/* bytes of an option's data */
#define MAX_OPTIONS	64U	/* of one client */
#define PIECE		(256U << 10)

struct session {
	struct nbd_server *s;
	struct nbd_export *e;	/* chosen; NULL: not yet */
	int sock;
	bool no_zeroes;		/* the client knows that EXPORT_NAME's answer may be short */
	bool dirty;		/* it has written what no flush has covered */
	bool failed;		/* something of it could not be written */
	uint8_t *buf;		/* PIECE bytes */
	const char *why;
};

static int lie(struct session *n, const char *why)
{
	n->why = why;
	return -EPROTO;
}

/* ----------------------------------------------------------------- handshake */

static int answer(struct session *n, uint32_t opt, uint32_t type, const void *data, uint32_t len)
{
	uint8_t head[20], *at = head;

	at = put_be(at, NBD_REP_MAGIC, 8);
	at = put_be(at, opt, 4);
	at = put_be(at, type, 4);
	put_be(at, len, 4);
	return sock_put(n->sock, head, sizeof(head), len) ?: sock_put(n->sock, data, len, false);
}

static unsigned int export_flags(void)
{
	return NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
	       NBD_FLAG_SEND_WRITE_ZEROES;
}

static struct nbd_export *find(const struct session *n, const uint8_t *name, size_t len)
{
	for (unsigned int i = 0; i < n->s->nr; i++)
		if (strlen(n->s->export[i].name) == len && !memcmp(n->s->export[i].name, name, len))
			return &n->s->export[i];
	return NULL;
}

/* One client each: what two had written would be nobody's disk. */
static bool take(struct session *n, struct nbd_export *e)
{
	if (atomic_exchange(&e->taken, true))
		return false;
	n->e = e;
	return true;
}

/* NBD_OPT_INFO, NBD_OPT_GO: length of the name, name, number of requests, requests. */
static int info(struct session *n, uint32_t opt, const uint8_t *data, uint32_t len)
{
	uint8_t reply[14], *at = reply;
	struct nbd_export *e;
	uint32_t name_len;
	int ret;

	name_len = len >= 6 ? (uint32_t)get_be(data, 4) : 0;
	if (len < 6 || name_len > len - 6 || get_be(data + 4 + name_len, 2) * 2 != len - 6 - name_len)
		return answer(n, opt, NBD_REP_ERR_INVALID, NULL, 0);
	e = find(n, data + 4, name_len);
	if (!e)
		return answer(n, opt, NBD_REP_ERR_UNKNOWN, NULL, 0);
	if (opt == NBD_OPT_GO && !take(n, e))
		return answer(n, opt, NBD_REP_ERR_POLICY, NULL, 0);
	/* What was asked for matters not: these must be told, or may be. */
	at = put_be(at, NBD_INFO_EXPORT, 2);
	at = put_be(at, e->size, 8);
	put_be(at, export_flags(), 2);
	ret = answer(n, opt, NBD_REP_INFO, reply, 12);
	if (ret)
		return ret;
	at = put_be(reply, NBD_INFO_BLOCK_SIZE, 2);
	at = put_be(at, 1, 4);
	at = put_be(at, 4096, 4);
	put_be(at, NBD_MAX_DATA, 4);
	return answer(n, opt, NBD_REP_INFO, reply, 14) ?: answer(n, opt, NBD_REP_ACK, NULL, 0);
}

static int list(struct session *n, uint32_t len)
{
	uint8_t reply[4 + NBD_MAX_NAME];
	int ret = 0;

	if (len)
		return answer(n, NBD_OPT_LIST, NBD_REP_ERR_INVALID, NULL, 0);
	for (unsigned int i = 0; i < n->s->nr && !ret; i++) {
		size_t name = strnlen(n->s->export[i].name, NBD_MAX_NAME);

		put_be(reply, name, 4);
		memcpy(reply + 4, n->s->export[i].name, name);
		ret = answer(n, NBD_OPT_LIST, NBD_REP_SERVER, reply, (uint32_t)(4 + name));
	}
	return ret ?: answer(n, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0);
}

/* The old way to choose: no error can be answered. */
static int export_name(struct session *n, const uint8_t *data, uint32_t len)
{
	struct nbd_export *e = find(n, data, len);
	uint8_t reply[134] = { 0 };

	if (!e || !take(n, e))
		return lie(n, "an export that there is not, or that somebody has");
	put_be(put_be(reply, e->size, 8), export_flags(), 2);
	return sock_put(n->sock, reply, n->no_zeroes ? 10 : sizeof(reply), false);
}

static int option(struct session *n, bool *leave)
{
	uint8_t head[16], data[MAX_OPTION];
	uint32_t opt, len;
	int ret = sock_get(n->sock, head, sizeof(head));

	if (ret)
		return ret;
	opt = (uint32_t)get_be(head + 8, 4);
	len = (uint32_t)get_be(head + 12, 4);
	if (get_be(head, 8) != NBD_OPT_MAGIC || len > sizeof(data))
		return lie(n, "an option that is none, or too long");
	ret = sock_get(n->sock, data, len);
	if (ret)
		return ret;
	switch (opt) {
	case NBD_OPT_EXPORT_NAME:
		return export_name(n, data, len);
	case NBD_OPT_ABORT:
		*leave = true;
		return answer(n, opt, NBD_REP_ACK, NULL, 0);
	case NBD_OPT_LIST:
		return list(n, len);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return info(n, opt, data, len);
	}
	return answer(n, opt, NBD_REP_ERR_UNSUP, NULL, 0);
}

static int handshake(struct session *n, bool *leave)
{
	uint8_t hello[18], flags[4];
	unsigned int i;
	int ret;

	put_be(put_be(put_be(hello, NBD_MAGIC, 8), NBD_OPT_MAGIC, 8), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
	ret = sock_put(n->sock, hello, sizeof(hello), false) ?: sock_get(n->sock, flags, sizeof(flags));
	if (ret)
		return ret;
	if (!(get_be(flags, 4) & NBD_FLAG_FIXED_NEWSTYLE) ||
	    get_be(flags, 4) & ~(uint64_t)(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		return lie(n, "a handshake of another kind");
	n->no_zeroes = get_be(flags, 4) & NBD_FLAG_NO_ZEROES;
	for (i = 0; i < MAX_OPTIONS && !n->e && !*leave && !ret; i++)
		ret = option(n, leave);
	return ret || n->e || *leave ? ret : lie(n, "options without end");
}

/* ------------------------------------------------------------------ commands */

static uint32_t error_of(int err)
{
	return !err ? 0 : err == -ENOSPC || err == -EDQUOT || err == -EFBIG ? NBD_ENOSPC : NBD_EIO;
}

/* A write's data is there, whatever becomes of it: *err is the file's, what is returned the connection's. */
static int take_data(struct session *n, uint64_t offset, uint32_t len, bool drop, int *err)
{
	while (len) {
		uint32_t part = len < PIECE ? len : PIECE;
		int ret = sock_get(n->sock, n->buf, part);

		if (ret)
			return ret;
		if (!drop && !*err)
			*err = pwrite_full(n->e->fd, n->buf, part, offset);
		offset += part;
		len -= part;
	}
	return 0;
}

static int zero_by_hand(struct session *n, uint64_t offset, uint32_t len)
{
	int ret = 0;

	memset(n->buf, 0, PIECE);
	while (len && !ret) {
		uint32_t part = len < PIECE ? len : PIECE;

		ret = atomic_load(&n->s->stop) ? -ECANCELED : pwrite_full(n->e->fd, n->buf, part, offset);
		offset += part;
		len -= part;
	}
	return ret;
}

static int zero(struct session *n, uint64_t offset, uint32_t len, bool hole)
{
	int mode = FALLOC_FL_KEEP_SIZE | (hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	if (!fallocate(n->e->fd, mode, (off_t)offset, (off_t)len))
		return 0;
	return errno == EOPNOTSUPP || errno == EINVAL || errno == ENODEV ? zero_by_hand(n, offset, len) : -errno;
}

/* A hint: what cannot be done is done. */
static int trim(struct session *n, uint64_t offset, uint32_t len)
{
	if (fallocate(n->e->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)offset, (off_t)len) &&
	    errno != EOPNOTSUPP && errno != EINVAL && errno != ENODEV)
		return -errno;
	return 0;
}

static int flush(struct session *n)
{
	if (fdatasync(n->e->fd) && errno != EINVAL)
		return -errno;
	n->dirty = false;
	return 0;
}

struct request {
	unsigned int flags, type;
	uint64_t offset;
	uint32_t len;
};

/* 0 or an error of NBD's; *ret: the connection's end. */
static uint32_t carry_out(struct session *n, const struct request *r, int *ret)
{
	bool known = !(r->flags & ~(NBD_CMD_FLAG_FUA | (r->type == NBD_CMD_WRITE_ZEROES ? NBD_CMD_FLAG_NO_HOLE : 0)));
	bool there = r->len && r->len <= n->e->size && r->offset <= n->e->size - r->len;
	bool ok = known && there;
	int err = 0;

	switch (r->type) {
	case NBD_CMD_WRITE:
		n->dirty = true;
		*ret = take_data(n, r->offset, r->len, !ok, &err);
		atomic_fetch_add(&n->e->written, ok ? r->len : 0);
		break;
	case NBD_CMD_WRITE_ZEROES:
	case NBD_CMD_TRIM:
		if (!ok)
			break;
		n->dirty = true;
		err = r->type == NBD_CMD_TRIM ? trim(n, r->offset, r->len) :
		      zero(n, r->offset, r->len, !(r->flags & NBD_CMD_FLAG_NO_HOLE));
		atomic_fetch_add(&n->e->zeroed, r->len);
		break;
	case NBD_CMD_FLUSH:
		ok = known && !r->len && !r->offset;
		err = ok ? flush(n) : 0;
		break;
	case NBD_CMD_READ:
		return NBD_EPERM;
	default:
		return NBD_EINVAL;
	}
	if (!ok)
		return !there && known && r->type != NBD_CMD_FLUSH ? NBD_ENOSPC : NBD_EINVAL;
	if (!*ret && !err && r->flags & NBD_CMD_FLAG_FUA && fdatasync(n->e->fd) && errno != EINVAL)
		err = -errno;
	n->failed |= err;
	return error_of(err);
}

static int commands(struct session *n)
{
	uint8_t head[NBD_REQUEST_LEN], reply[NBD_REPLY_LEN];
	struct request r;
	uint32_t error;
	int ret;

	while (!atomic_load(&n->s->stop)) {
		ret = sock_get(n->sock, head, sizeof(head));
		if (ret)
			return ret;
		r.flags = (unsigned int)get_be(head + 4, 2);
		r.type = (unsigned int)get_be(head + 6, 2);
		r.offset = get_be(head + 16, 8);
		r.len = (uint32_t)get_be(head + 24, 4);
		if (get_be(head, 4) != NBD_REQUEST_MAGIC)
			return lie(n, "a request that is none");
		if (r.type == NBD_CMD_WRITE && r.len > NBD_MAX_DATA)
			return lie(n, "a write that is too long");
		if (r.type == NBD_CMD_DISC)
			return 0;
		error = carry_out(n, &r, &ret);
		if (ret)
			return ret;
		put_be(put_be(reply, NBD_SIMPLE_REPLY_MAGIC, 4), error, 4);
		memcpy(reply + 8, head + 8, 8);
		ret = sock_put(n->sock, reply, sizeof(reply), false);
		if (ret)
			return ret;
	}
	return -ECANCELED;
}

int nbd_serve(struct nbd_server *s, int sock, const char **why)
{
	struct session n = { .s = s, .sock = sock, .buf = malloc(PIECE), .why = "the connection is lost" };
	bool leave = false;
	int ret;

	ret = n.buf ? handshake(&n, &leave) : -ENOMEM;
	if (!ret && !leave)
		ret = commands(&n);
	/* A client that leaves without a flush has not finished. */
	if (!ret && n.e)
		atomic_store(&n.e->complete, !n.dirty && !n.failed);
	free(n.buf);
	*why = ret == -ENOMEM ? "out of memory" : n.why;
	return ret;
}
