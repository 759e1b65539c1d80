// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests of one thread to a disk that is served by NBD, many under way at a time. The
 * connection does not block: what does not go now goes when the loop says so. Answers come in
 * any order. The server has no say in anything but the data: each answer must be for a
 * request that waits for one.
 *
 * A guest that resets its disk does not wait for a server that does not answer. What it has
 * been asked for is then nobody's any more, but may still be done at any time: until it is
 * answered, no queue of the disk asks for anything else, or an old write could come
 * after a new one of the same sectors.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "devices/storage/nbd.h"
#include "devices/storage/nbd_disk.h"
#include "devices/storage/nbd_wire.h"
#include "vmm/log.h"

#define SLOTS		16U	/* as many as QEMU's server works on, of one client */
#define MAX_IOV		64U	/* of one system call */
#define SINK		(64U << 10)

struct slot {
	struct aio_op *op;	/* NULL: free */
	uint64_t handle;	/* of the request that is under way */
	uint32_t left;		/* its bytes that have not gone out (a write), or come in (a read) */
	bool sent;
};

struct nbd_queue {
	struct nbd_disk *disk;
	struct nbd_queue *next;		/* of the disk */
	struct loop *loop;
	void (*idle)(void *opaque);
	void *opaque;
	int sock;			/* -1: closed, or lost */
	struct loop_fd *watch;
	struct loop_fd *gate_watch;	/* while something waits for the disk's orphans */
	bool wants_write;		/* the loop is to say when more can go out */
	bool busy;			/* done() may be running: what it adds waits */
	struct slot slot[SLOTS];
	unsigned int in_use;
	uint64_t serial;
	struct aio_op *first, **last;	/* without a slot, by their `next` */
	struct slot *sending, *reading;	/* whose request goes out, whose data come in */
	uint8_t out[NBD_REQUEST_LEN], in[NBD_REPLY_LEN];
	unsigned int out_pos, in_len;
	uint8_t *sink;			/* SINK bytes, for what comes in and is nobody's; made when it is wanted */
};

struct nbd_queue **nbd_queue_link(struct nbd_queue *q)
{
	return &q->next;
}

/* ------------------------------------------------------------------ going out */

static bool has_data(const struct aio_op *op)
{
	return op->type == AIO_READ || op->type == AIO_WRITE;
}

/* What the operation is in NBD's terms; -1: it cannot be had, and need not. */
static int command(const struct nbd_queue *q, const struct aio_op *op, unsigned int *flags)
{
	unsigned int can = q->disk->flags;

	*flags = q->disk->fua && can & NBD_FLAG_SEND_FUA ? NBD_CMD_FLAG_FUA : 0;
	switch (op->type) {
	case AIO_READ:
		*flags = 0;
		return NBD_CMD_READ;
	case AIO_WRITE:
		return NBD_CMD_WRITE;
	case AIO_SYNC:
		*flags = 0;
		return can & NBD_FLAG_SEND_FLUSH ? NBD_CMD_FLUSH : -1;
	case AIO_ALLOCATE:
		if (op->hint)
			return can & NBD_FLAG_SEND_TRIM ? NBD_CMD_TRIM : -1;
		if (!(op->mode & FALLOC_FL_PUNCH_HOLE))
			*flags |= NBD_CMD_FLAG_NO_HOLE;
		return can & NBD_FLAG_SEND_WRITE_ZEROES ? NBD_CMD_WRITE_ZEROES : -1;
	}
	return -1;
}

/* The next request of an operation. False: there is none to make. */
static bool begin(struct nbd_queue *q, struct slot *s)
{
	struct aio_op *op = s->op;
	uint32_t most = has_data(op) ? NBD_MAX_DATA : NBD_MAX_ZEROES;
	uint32_t len = op->type == AIO_SYNC ? 0 : op->len < most ? (uint32_t)op->len : most;
	unsigned int flags;
	int cmd = command(q, op, &flags);
	uint8_t *at = q->out;

	if (cmd < 0)
		return false;
	s->handle = ++q->serial * SLOTS + (uint64_t)(s - q->slot);
	s->left = has_data(op) ? len : 0;
	s->sent = false;
	at = put_be(at, NBD_REQUEST_MAGIC, 4);
	at = put_be(at, flags, 2);
	at = put_be(at, (unsigned int)cmd, 2);
	at = put_be(at, s->handle, 8);
	at = put_be(at, op->type == AIO_SYNC ? 0 : op->offset, 8);
	put_be(at, len, 4);
	if (op->type == AIO_ALLOCATE) {
		op->offset += len;
		op->len -= len;
	}
	q->out_pos = 0;
	q->sending = s;
	return true;
}

/* What is left of a request's data, behind a header of which `head` bytes are left. */
static unsigned int pieces(const struct slot *s, struct iovec *iov, void *head, size_t head_len)
{
	uint32_t left = s->left;
	unsigned int n = 0, i;

	if (head_len)
		iov[n++] = (struct iovec){ head, head_len };
	for (i = 0; left && i < s->op->nr_iov && n < MAX_IOV; i++, n++) {
		iov[n] = s->op->iov[i];
		if (iov[n].iov_len > left)
			iov[n].iov_len = left;
		left -= (uint32_t)iov[n].iov_len;
	}
	return n;
}

static void moved(struct slot *s, size_t n)
{
	s->left -= (uint32_t)n;
	aio_advance(s->op, n);
}

/* Send on of the request that goes out. 0: all of it went; -EAGAIN; -errno. */
static int send_on(struct nbd_queue *q)
{
	struct slot *s = q->sending;
	struct iovec iov[MAX_IOV];
	struct msghdr msg = { .msg_iov = iov };
	bool data = s->op->type == AIO_WRITE;
	struct slot none = { .op = s->op };

	while (q->out_pos < sizeof(q->out) || (data && s->left)) {
		size_t head = sizeof(q->out) - q->out_pos, n;
		ssize_t sent;

		msg.msg_iovlen = pieces(data ? s : &none, iov, q->out + q->out_pos, head);
		sent = sendmsg(q->sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		n = (size_t)sent;
		q->out_pos += (unsigned int)(n < head ? n : head);
		if (n > head)
			moved(s, n - head);
	}
	s->sent = true;
	q->sending = NULL;
	return 0;
}

static struct slot *free_slot(struct nbd_queue *q)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (!q->slot[i].op)
			return &q->slot[i];
	return NULL;
}

static void finish(struct nbd_queue *q, struct slot *s, int err)
{
	struct aio_op *op = s->op;

	s->op = NULL;
	q->in_use--;
	op->done(op, err);
}

static void gate_opens(void *opaque, uint32_t events);

/* Must new requests wait for old ones that are nobody's? Then the loop says when not any more. */
static int held(struct nbd_queue *q)
{
	if (!atomic_load(&q->disk->orphans))
		return 0;
	if (!q->gate_watch)
		q->gate_watch = loop_add_fd(q->loop, q->disk->gate, EPOLLIN, gate_opens, q);
	return q->gate_watch ? 1 : -ENOMEM;
}

/* 0: nothing is left to send, no slot, or held; -EAGAIN; -errno. */
static int send_all(struct nbd_queue *q)
{
	struct slot *s;
	int ret = q->sending ? send_on(q) : 0;

	while (!ret && q->first && q->in_use < SLOTS) {
		ret = held(q);
		if (ret)
			return ret < 0 ? ret : 0;
		s = free_slot(q);
		s->op = q->first;
		q->first = s->op->next;
		if (!q->first)
			q->last = &q->first;
		q->in_use++;
		if (begin(q, s))
			ret = send_on(q);
		else	/* as of a file system that cannot do it: see op_done() in blk.c */
			finish(q, s, s->op->type == AIO_SYNC ? 0 : -EOPNOTSUPP);
	}
	return ret;
}

/* -------------------------------------------------------------------- coming in */

/* More bytes: 0, -EAGAIN, -EPIPE, -errno. */
static int get(struct nbd_queue *q, struct iovec *iov, unsigned int nr, size_t *n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = nr };
	ssize_t got;

	do {
		got = recvmsg(q->sock, &msg, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got ? -errno : -EPIPE;
	*n = (size_t)got;
	return 0;
}

static void end_request(struct nbd_queue *q, struct slot *s, int err)
{
	/* More of it than one request takes: the rest, when it is its turn. */
	if (!err && s->op->type != AIO_SYNC && s->op->len) {
		struct aio_op *op = s->op;

		s->op = NULL;
		q->in_use--;
		op->next = q->first;
		if (!q->first)
			q->last = &op->next;
		q->first = op;
		return;
	}
	finish(q, s, err);
}

static int take_reply(struct nbd_queue *q)
{
	uint64_t handle = get_be(q->in + 8, 8);
	uint32_t error = (uint32_t)get_be(q->in + 4, 4);
	struct slot *s = &q->slot[handle % SLOTS];

	q->in_len = 0;
	if (get_be(q->in, 4) != NBD_SIMPLE_REPLY_MAGIC || !s->op || s->handle != handle || !s->sent)
		return -EPROTO;
	if (!error && s->op->type == AIO_READ)
		q->reading = s;
	else
		end_request(q, s, !error ? 0 : error == NBD_ENOSPC ? -ENOSPC : error == NBD_EINVAL &&
			    s->op->type == AIO_ALLOCATE ? -EINVAL : -EIO);
	return 0;
}

static int receive(struct nbd_queue *q)
{
	struct iovec iov[MAX_IOV];
	struct slot *s;
	size_t n;
	int ret;

	for (;;) {
		s = q->reading;
		if (!s) {
			iov[0] = (struct iovec){ q->in + q->in_len, sizeof(q->in) - q->in_len };
			ret = get(q, iov, 1, &n);
			if (ret)
				return ret;
			q->in_len += (unsigned int)n;
			ret = q->in_len == sizeof(q->in) ? take_reply(q) : 0;
		} else {
			ret = get(q, iov, pieces(s, iov, NULL, 0), &n);
			if (ret)
				return ret;
			moved(s, n);
			if (!s->left) {
				q->reading = NULL;
				end_request(q, s, 0);
			}
		}
		if (ret || q->sock < 0)
			return ret;
	}
}

/* ------------------------------------------------------------------- both */

static void hang_up(struct nbd_queue *q)
{
	if (q->watch)
		loop_del_fd(q->watch);
	if (q->gate_watch)
		loop_del_fd(q->gate_watch);
	q->watch = q->gate_watch = NULL;
	if (q->sock >= 0)
		close(q->sock);
	q->sock = -1;
	q->sending = q->reading = NULL;
	q->in_len = 0;
	q->wants_write = false;
}

static void finish_slots(struct nbd_queue *q, int err)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (q->slot[i].op)
			finish(q, &q->slot[i], err);
}

static void finish_waiting(struct nbd_queue *q, int err)
{
	while (q->first) {
		struct aio_op *op = q->first;

		q->first = op->next;
		if (!q->first)
			q->last = &q->first;
		op->done(op, err);
	}
}

static void give_up(struct nbd_queue *q)
{
	hang_up(q);
	finish_slots(q, -EIO);
	finish_waiting(q, -EIO);
}

/* As much as goes without waiting. */
static void work(struct nbd_queue *q, bool read)
{
	int in = 0, out;

	if (q->busy)
		return;
	q->busy = true;
	out = q->sock < 0 ? -EPIPE : send_all(q);
	while (read && q->sock >= 0 && (!out || out == -EAGAIN) && !in) {
		in = receive(q);
		/* Answers make room, and done() may have brought more. */
		if (in == -EAGAIN)
			out = send_all(q);
	}
	if (q->sock >= 0 && ((in && in != -EAGAIN) || (out && out != -EAGAIN)))
		nbd_disk_lost(q->disk, in == -EPROTO ? "broke the protocol" : "is gone");
	if (q->sock < 0 || (in && in != -EAGAIN) || (out && out != -EAGAIN)) {
		give_up(q);
	} else if (q->wants_write != (out == -EAGAIN)) {
		q->wants_write = out == -EAGAIN;
		loop_mod_fd(q->watch, EPOLLIN | (q->wants_write ? EPOLLOUT : 0));
	}
	q->busy = false;
}

static void ready(void *opaque, uint32_t events)
{
	struct nbd_queue *q = opaque;

	(void)events;
	work(q, true);
	q->idle(q->opaque);
}

static void gate_opens(void *opaque, uint32_t events)
{
	struct nbd_queue *q = opaque;

	(void)events;
	loop_del_fd(q->gate_watch);
	q->gate_watch = NULL;
	work(q, false);
	q->idle(q->opaque);
}

void nbd_queue_add(struct nbd_queue *q, struct aio_op *op)
{
	/* Of no bytes: NBD does not say what such a request means, and nothing would come in for it. */
	if (q->sock < 0 || (op->type != AIO_SYNC && !op->len)) {
		op->done(op, q->sock < 0 ? -EIO : 0);
		return;
	}
	op->next = NULL;
	*q->last = op;
	q->last = &op->next;
	work(q, false);
}

/* --------------------------------------------------------------- giving up */

/* In an operation's place, until its request is answered. */
struct orphan {
	struct aio_op op;
	struct nbd_disk *disk;
	void *rest;		/* of a write's data; NULL: none */
	struct iovec iov[];
};

static void count_orphan(struct nbd_disk *d, bool more)
{
	eventfd_t n;

	pthread_mutex_lock(&d->gate_lock);
	if (more && !d->orphans++)
		eventfd_read(d->gate, &n);
	else if (!more && !--d->orphans)
		eventfd_write(d->gate, 1);
	pthread_mutex_unlock(&d->gate_lock);
}

static void orphan_done(struct aio_op *op, int err)
{
	struct orphan *o = (struct orphan *)op;

	(void)err;
	count_orphan(o->disk, false);
	free(o->rest);
	free(o);
}

/* What is still to go out, which its owner will change; or a place for what comes in. */
static bool orphan_data(struct nbd_queue *q, struct orphan *o, const struct slot *s)
{
	const struct aio_op *op = s->op;
	uint32_t left = s->left, n;
	uint8_t *at;

	if (op->type == AIO_WRITE && left) {
		o->rest = at = malloc(left);
		for (const struct iovec *iov = op->iov; at && left; iov++, left -= n, at += n) {
			n = iov->iov_len < left ? (uint32_t)iov->iov_len : left;
			memcpy(at, iov->iov_base, n);
		}
		o->iov[o->op.nr_iov++] = (struct iovec){ o->rest, s->left };
		return at;
	}
	if (left && !q->sink)
		q->sink = malloc(SINK);
	if (left && !q->sink)
		return false;
	for (; left; left -= n) {
		n = left < SINK ? left : SINK;
		o->iov[o->op.nr_iov++] = (struct iovec){ q->sink, n };
	}
	return true;
}

/* The slot's operation is its owner's again, and the request goes on without it. */
static bool orphan(struct nbd_queue *q, struct slot *s)
{
	struct orphan *o = calloc(1, sizeof(*o) + (s->left / SINK + 1) * sizeof(o->iov[0]));
	struct aio_op *op = s->op;

	if (!o)
		return false;
	o->op = (struct aio_op){ .type = op->type, .len = s->left, .iov = o->iov, .done = orphan_done };
	o->disk = q->disk;
	if (!orphan_data(q, o, s)) {
		free(o);
		return false;
	}
	count_orphan(q->disk, true);
	s->op = &o->op;
	op->done(op, -ECANCELED);
	return true;
}

void nbd_queue_cancel(struct nbd_queue *q)
{
	bool ok = true;

	q->busy = true;		/* what done() may add waits, and is given up as well */
	/* One of which nothing has gone out need not go. */
	if (q->sending && !q->out_pos) {
		finish(q, q->sending, -ECANCELED);
		q->sending = NULL;
	}
	for (unsigned int i = 0; i < SLOTS && ok; i++)
		if (q->slot[i].op && q->slot[i].op->done != orphan_done)
			ok = orphan(q, &q->slot[i]);
	if (!ok) {
		nbd_disk_lost(q->disk, "does not answer, and there is no memory to wait for it");
		give_up(q);
	}
	finish_waiting(q, -ECANCELED);
	q->busy = false;
}

/* Is there anything under way that is somebody's? */
static bool wanted(const struct nbd_queue *q)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (q->slot[i].op && q->slot[i].op->done != orphan_done)
			return true;
	return q->first;
}

void nbd_queue_drain(struct nbd_queue *q)
{
	while (q->sock >= 0 && wanted(q)) {
		int ms = nbd_disk_patience(q->disk);
		struct pollfd p[] = {
			{ .fd = q->sock, .events = (short)(POLLIN | (q->wants_write ? POLLOUT : 0)) },
			{ .fd = q->gate_watch ? q->disk->gate : -1, .events = POLLIN },
			{ .fd = ms < 0 ? q->disk->hurry : -1, .events = POLLIN },
		};

		if (poll(p, 3, ms) > 0 && (p[0].revents || p[1].revents))
			work(q, true);
		else if (!ms)
			nbd_queue_cancel(q);
	}
}

/* ------------------------------------------------------------------- making */

int nbd_queue_attach(struct nbd_queue *q)
{
	q->sock = nbd_disk_connect(q->disk);
	if (q->sock < 0)
		return -EIO;
	q->watch = loop_add_fd(q->loop, q->sock, EPOLLIN, ready, q);
	if (q->watch)
		return 0;
	close(q->sock);
	q->sock = -1;
	return -ENOMEM;
}

struct detach {
	struct nbd_queue *q;
	sem_t done;
};

static void detach(void *opaque)
{
	struct detach *d = opaque;

	hang_up(d->q);
	/* Whoever closes the image, or has its export ended, waits for what the daemon does. */
	finish_slots(d->q, -ECANCELED);
	sem_post(&d->done);
}

void nbd_queue_detach(struct nbd_queue *q)
{
	struct detach d = { .q = q };

	sem_init(&d.done, 0, 0);
	if (!loop_post(q->loop, detach, &d))
		while (sem_wait(&d.done) && errno == EINTR)
			;
	sem_destroy(&d.done);
}

struct nbd_queue *nbd_queue_new(struct nbd_disk *d, struct loop *loop, void (*idle)(void *opaque), void *opaque)
{
	struct nbd_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	*q = (struct nbd_queue){ .disk = d, .loop = loop, .idle = idle, .opaque = opaque, .sock = -1 };
	q->last = &q->first;
	/* Of an image that is somebody else's for now there are connections later: nbd_disk_own(). */
	if (d->sock >= 0 && nbd_queue_attach(q)) {
		free(q);
		return NULL;
	}
	q->next = d->queues;
	d->queues = q;
	return q;
}

void nbd_queue_free(struct nbd_queue *q)
{
	struct nbd_queue **at;

	if (!q)
		return;
	for (at = &q->disk->queues; *at; at = &(*at)->next) {
		if (*at == q) {
			*at = q->next;
			break;
		}
	}
	if (q->sock >= 0)
		close(q->sock);
	finish_slots(q, -ECANCELED);	/* nobody's, all of them */
	free(q->sink);
	free(q);
}
