// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk (virtio 1.2, 5.2). Each queue has a thread with a ring of its own
 * for asynchronous I/O, so queues share nothing but the image.
 *
 * A request becomes one or more file operations: more where an overlay holds
 * parts of it, and for discards of several ranges. `pending` counts them; the
 * last one to end gives the request back.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "devices/storage/aio.h"
#include "devices/storage/nbd_disk.h"
#include "devices/storage/disklog.h"
#include "devices/virtio/blk_int.h"
#include "vmm/dirty.h"

#define QUEUE_SIZE	128
#define DEFAULT_QUEUES	8	/* at most, one a vCPU */
#define SEG_MAX		(QUEUE_SIZE - 2)
#define INLINE_IOV	18
#define FREE_REQS	32	/* kept for reuse, a queue */
#define MAX_RANGES	16	/* of a discard or write-zeroes request */
#define MAX_DISCARD	(1U << 22)	/* sectors of a range: 2 GiB */
#define MAX_ZEROES	(1U << 15)	/* sectors of a range: 16 MiB, see write_zero_data() */
#define ZERO_PIECE	(64U << 10)
#define BOUNCE_MAX	(4U << 20)	/* bytes of one bounce buffer */
#define BOUNCE_TOTAL	(16U << 20)	/* of all of a queue */
#define STOP_MS		10000	/* a server's, before what it has not answered is parked */

struct blk_req {
	struct blk_queue *bq;
	struct blk_req *next;		/* in the free list, or of those that are parked */
	uint16_t head;
	uint64_t sector;
	uint32_t type;
	uint32_t used_len;
	uint8_t *status;		/* in guest memory */
	unsigned int pending;
	int err;
	bool synced;			/* the flush that a write-through write needs is under way */
	uint64_t offset, len;		/* reads and writes */
	uint64_t start_ns;
	struct iovec *iov;
	unsigned int nr_iov;
	void *bounce;			/* aligned copy of the data */
	struct iovec inline_iov[INLINE_IOV];
};

/* One file operation of a request. */
struct blk_op {
	struct aio_op aio;
	struct blk_req *req;
	struct overlay_claim *claim;	/* of a write to the overlay; NULL: none */
	uint64_t start, length;
	struct iovec iov[];
};

static void zero_fallback(struct blk_op *op);

/* ------------------------------------------------------------------ requests */

static struct blk_req *req_get(struct blk_queue *bq)
{
	struct blk_req *req = bq->free;

	if (req) {
		bq->free = req->next;
		bq->nr_free--;
	} else {
		req = malloc(sizeof(*req));
		if (!req)
			return NULL;
	}
	/* inline_iov stays as it was. */
	memset(req, 0, offsetof(struct blk_req, inline_iov));
	req->bq = bq;
	req->start_ns = clock_now_ns();
	return req;
}

static void req_put(struct blk_req *req)
{
	struct blk_queue *bq = req->bq;

	if (req->iov != req->inline_iov)
		free(req->iov);
	if (req->bounce) {
		bq->bounced -= req->len;
		free(req->bounce);
	}
	if (bq->nr_free == FREE_REQS) {
		free(req);
		return;
	}
	req->next = bq->free;
	bq->free = req;
	bq->nr_free++;
}

static void count(struct blk_req *req, uint8_t status)
{
	struct blk_queue *bq = req->bq;
	int kind = req->type == VIRTIO_BLK_T_IN ? 0 : req->type == VIRTIO_BLK_T_OUT ? 1 :
		   req->type == VIRTIO_BLK_T_FLUSH ? 2 : -1;

	if (status != VIRTIO_BLK_S_OK) {
		stat_add(bq->failed, 1);
	} else if (kind >= 0) {
		stat_add(bq->ops[kind], 1);
		stat_add(bq->bytes[kind], req->len);
		stat_add(bq->ns[kind], clock_now_ns() - req->start_ns);
	}
}

static void finish(struct blk_req *req, uint8_t status)
{
	count(req, status);
	*req->status = status;
	dirty_mark(req->status, 1);
	/* What the kernel put there, whether all of it or not. */
	if (req->type == VIRTIO_BLK_T_IN)
		dirty_mark_iov(req->iov, req->nr_iov);
	vq_push(&req->bq->q->vq, req->head, req->used_len);
	req_put(req);
}

static uint8_t status_of(int err)
{
	if (!err)
		return VIRTIO_BLK_S_OK;
	return err == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static void op_done(struct aio_op *aio, int err);

/* nr_iov 0: an operation without data. */
static struct blk_op *op_new(struct blk_req *req, enum aio_type type, int fd, uint64_t offset,
			     uint64_t len, unsigned int nr_iov)
{
	struct blk_op *op = calloc(1, sizeof(*op) + nr_iov * sizeof(struct iovec));

	if (!op) {
		req->err = -ENOMEM;
		return NULL;
	}
	op->req = req;
	op->start = offset;
	op->length = len;
	op->aio = (struct aio_op){
		.type = type, .fd = fd, .offset = offset, .len = len,
		.iov = op->iov, .nr_iov = nr_iov, .done = op_done,
	};
	return op;
}

static void op_start(struct blk_op *op)
{
	struct image *img = &op->req->bq->blk->img;

	if (op->aio.type == AIO_WRITE && op->aio.fd == img->fd_buffered && !img->cached)
		img->cached = true;
	op->req->pending++;
	aio_add(op->req->bq->aio, &op->aio);
}

/* A write must be on stable storage before it is reported (and O_DSYNC did not see to it). */
static bool wants_sync(const struct blk_req *req)
{
	const struct virtio_blk *blk = req->bq->blk;

	return req->type == VIRTIO_BLK_T_OUT && !req->synced && !req->err && !blk->img.no_flush &&
	       (!blk->img.write_through || image_layered(&blk->img)) && !virtio_has(&blk->v, VIRTIO_BLK_F_FLUSH);
}

/* A layer's flush is several steps, one after the other: on this thread. */
static void start_sync(struct blk_req *req)
{
	const struct image *img = &req->bq->blk->img;
	struct blk_op *op;

	if (image_layered(img)) {
		req->err = overlay_flush(img->overlay, !img->no_flush);
		return;
	}
	req->err = img->flush_err;
	if (req->err)
		return;
	op = op_new(req, AIO_SYNC, img->fd, 0, 0, 0);
	if (op)
		op_start(op);
}

/*
 * The queue stands still, and the server that has the image does not answer: what it was asked for
 * is done anew, whole, when the queue goes on. What it does of it until then is the same, and comes before
 * (nbd_queue.c). A reset of one queue may do this to others, which look again when it is over.
 */
static void park(struct blk_req *req)
{
	struct blk_queue *bq = req->bq;

	req->err = 0;
	req->synced = false;
	req->next = NULL;
	*bq->last_parked = req;
	bq->last_parked = &req->next;
}

static struct blk_req *take_parked(struct blk_queue *bq)
{
	struct blk_req *list = bq->parked;

	bq->parked = NULL;
	bq->last_parked = &bq->parked;
	return list;
}

/* Drop one count; the last one ends the request. */
static void req_unref(struct blk_req *req)
{
	if (--req->pending)
		return;
	if (req->err == -ECANCELED && req->bq->blk->img.served) {
		park(req);
		return;
	}
	if (wants_sync(req)) {
		req->synced = true;
		start_sync(req);
		if (req->pending)
			return;
	}
	if (req->bounce && req->type == VIRTIO_BLK_T_IN && !req->err)
		iov_write(req->iov, req->nr_iov, 0, req->bounce, req->len);
	finish(req, status_of(req->err));
}

static void op_done(struct aio_op *aio, int err)
{
	struct blk_op *op = (struct blk_op *)aio;
	struct blk_req *req = op->req;
	struct disk_log *log = req->bq->blk->log;
	bool written = !err;

	if ((err == -EOPNOTSUPP || err == -EINVAL) && op->aio.type == AIO_ALLOCATE) {
		/* Not there, or not at this alignment: a discard is only a hint. */
		if (req->type == VIRTIO_BLK_T_WRITE_ZEROES)
			zero_fallback(op);
		err = 0;
	}
	if (err && op->aio.type == AIO_SYNC && op->aio.fd != AIO_SERVED && image_flush_failed(&req->bq->blk->img, err))
		log_error("%s: what the guest wrote cannot be put on stable storage: %s; some of it may be lost, so its flushes fail until it is started anew",
			  req->bq->blk->v.dev.id, strerror(-err));
	overlay_end(req->bq->blk->img.overlay, op->claim, written);
	/* Behind all of the write, well or not: whoever takes the mark reads what is there now. */
	if (log && (op->aio.type == AIO_WRITE || op->aio.type == AIO_ALLOCATE))
		disk_log_mark(log, op->start, op->length);
	if (err && !req->err)
		req->err = err;
	free(op);
	req_unref(req);
}

/* -------------------------------------------------------------- read and write */

/* An operation over [skip, skip + len) of the request's data; the disk's start is at `data` of fd. NULL: no memory. */
static struct blk_op *new_part(struct blk_req *req, int fd, uint64_t data, uint64_t skip, uint64_t len)
{
	struct iovec *iov = req->iov;
	unsigned int nr = req->nr_iov;
	struct blk_op *op;

	op = op_new(req, req->type == VIRTIO_BLK_T_IN ? AIO_READ : AIO_WRITE, fd,
		    req->offset + skip, len, nr);
	if (!op)
		return NULL;
	op->aio.offset += data;
	memcpy(op->iov, iov, nr * sizeof(*iov));
	op->aio.nr_iov = iov_slice(&op->aio.iov, nr, skip, len);
	return op;
}

static void start_part(struct blk_req *req, int fd, uint64_t data, uint64_t skip, uint64_t len)
{
	struct blk_op *op = new_part(req, fd, data, skip, len);

	if (op)
		op_start(op);
}

/* Start op, a write to the overlay. NULL: it could not be made. */
static void start_overlay_write(struct blk_req *req, struct blk_op *op)
{
	struct overlay *o = req->bq->blk->img.overlay;
	int ret;

	if (!op)
		return;
	ret = overlay_begin(o, op->start, op->length, false, &op->claim);
	if (ret == -EAGAIN) {
		/* Another is under way there. It may be ours, or of one that waits for one of ours. */
		aio_drain_files(req->bq->aio);
		ret = overlay_begin(o, op->start, op->length, true, &op->claim);
	}
	if (!ret) {
		op_start(op);
		return;
	}
	req->err = ret;
	free(op);
}

static void layered_read(struct blk_req *req)
{
	const struct image *img = &req->bq->blk->img;
	struct overlay_part part;
	uint64_t at = 0, run;

	for (; at < req->len; at += run) {
		run = overlay_run(img->overlay, req->offset + at, req->len - at, &part);
		start_part(req, part.fd, part.offset - req->offset - at, at, run);
	}
}

static void layered_write(struct blk_req *req)
{
	const struct overlay *o = req->bq->blk->img.overlay;

	start_overlay_write(req, new_part(req, o->fd, o->data, 0, req->len));
}

static bool aligned_memory(const struct blk_req *req, unsigned int align)
{
	unsigned int i;

	for (i = 0; i < req->nr_iov; i++) {
		if (((uintptr_t)req->iov[i].iov_base | req->iov[i].iov_len) & (align - 1))
			return false;
	}
	return true;
}

/* O_DIRECT: which descriptor to use, with the data copied to aligned memory if need be. */
static int direct_fd(struct blk_req *req)
{
	struct blk_queue *bq = req->bq;
	const struct image *img = &bq->blk->img;
	unsigned int align = img->align;

	if (align == 1)
		return img->fd;
	if ((req->offset | req->len) & (align - 1))
		return img->fd_buffered;
	if (aligned_memory(req, align))
		return img->fd;
	if (req->len > BOUNCE_MAX || bq->bounced + req->len > BOUNCE_TOTAL)
		return img->fd_buffered;
	req->bounce = aligned_alloc(4096, (req->len + 4095) & ~4095ULL);
	if (!req->bounce)
		return img->fd_buffered;
	bq->bounced += req->len;
	return img->fd;
}

static void plain_transfer(struct blk_req *req)
{
	int fd = direct_fd(req);
	struct blk_op *op;

	if (!req->bounce) {
		start_part(req, fd, 0, 0, req->len);
		return;
	}
	if (req->type == VIRTIO_BLK_T_OUT)
		iov_read(req->iov, req->nr_iov, 0, req->bounce, req->len);
	op = op_new(req, req->type == VIRTIO_BLK_T_IN ? AIO_READ : AIO_WRITE, fd, req->offset,
		    req->len, 1);
	if (!op)
		return;
	op->iov[0] = (struct iovec){ req->bounce, req->len };
	op_start(op);
}

/* Is [sector, sector + count) on the disk? */
static bool in_range(const struct virtio_blk *blk, uint64_t sector, uint64_t count)
{
	uint64_t capacity = blk->img.size / IMAGE_SECTOR;

	return count && count <= capacity && sector <= capacity - count;
}

static void do_transfer(struct blk_req *req, uint64_t sector)
{
	struct virtio_blk *blk = req->bq->blk;

	if (req->len % IMAGE_SECTOR || !in_range(blk, sector, req->len / IMAGE_SECTOR) ||
	    (req->type == VIRTIO_BLK_T_OUT && blk->img.readonly)) {
		req->err = -EIO;
		return;
	}
	req->offset = sector * IMAGE_SECTOR;
	if (!blk->img.overlay)
		plain_transfer(req);
	else if (req->type == VIRTIO_BLK_T_IN)
		layered_read(req);
	else
		layered_write(req);
}

static void do_flush(struct blk_req *req)
{
	const struct image *img = &req->bq->blk->img;

	if (!img->readonly && (!img->no_flush || image_layered(img)))
		start_sync(req);
}

static void do_get_id(struct blk_req *req)
{
	/* As many bytes as the driver has room for; no terminator is promised. */
	iov_write(req->iov, req->nr_iov, 0, req->bq->blk->serial, VIRTIO_BLK_ID_BYTES);
}

/* ------------------------------------------------------- discard, write zeroes */

/* Zeroes as data, for file systems that cannot do what `of` is: one buffer many times over. Takes over its claim. */
static void zero_fallback(struct blk_op *of)
{
	static const uint8_t zeroes[ZERO_PIECE] __attribute__((aligned(4096)));
	const struct image *img = &of->req->bq->blk->img;
	unsigned int i, nr = (of->length + ZERO_PIECE - 1) / ZERO_PIECE;
	struct blk_op *op;

	op = op_new(of->req, AIO_WRITE, img->overlay ? img->overlay->fd : img->fd_buffered, of->start,
		    of->length, nr);
	if (!op)
		return;
	for (i = 0; i < nr; i++) {
		uint64_t left = of->length - (uint64_t)i * ZERO_PIECE;

		op->iov[i].iov_base = (void *)(uintptr_t)zeroes;
		op->iov[i].iov_len = left < ZERO_PIECE ? left : ZERO_PIECE;
	}
	op->aio.offset += img->overlay ? img->overlay->data : 0;
	op->claim = of->claim;
	of->claim = NULL;
	op_start(op);
}

static void zero_range(struct blk_req *req, uint64_t offset, uint64_t len, bool punch)
{
	const struct image *img = &req->bq->blk->img;
	const struct overlay *o = img->overlay;
	struct blk_op *op = op_new(req, AIO_ALLOCATE, o ? o->fd : img->fd, offset, len, 0);

	if (!op)
		return;
	op->aio.offset += o ? o->data : 0;
	/* Of an overlay's blocks, those covered in part keep their other bytes; a hole reads as zeroes. */
	op->aio.mode = FALLOC_FL_KEEP_SIZE | (punch || o ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
	op->aio.hint = req->type == VIRTIO_BLK_T_DISCARD && !o;
	if (o)
		start_overlay_write(req, op);
	else
		op_start(op);
}

static void do_ranges(struct blk_req *req)
{
	struct virtio_blk *blk = req->bq->blk;
	struct virtio_blk_discard_write_zeroes range[MAX_RANGES];
	bool discard = req->type == VIRTIO_BLK_T_DISCARD;
	uint64_t feature = discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
	unsigned int i, nr = req->len / sizeof(range[0]);

	if (!virtio_has(&blk->v, feature)) {
		req->err = -EOPNOTSUPP;
		return;
	}
	if (!nr || nr > MAX_RANGES || req->len % sizeof(range[0]) || blk->img.readonly) {
		req->err = -EIO;
		return;
	}
	/* One copy, so that what is checked is what is used. */
	iov_read(req->iov, req->nr_iov, 0, range, req->len);
	for (i = 0; i < nr; i++) {
		uint32_t count = le32toh(range[i].num_sectors), flags = le32toh(range[i].flags);

		if (!in_range(blk, le64toh(range[i].sector), count) ||
		    count > (discard ? MAX_DISCARD : MAX_ZEROES)) {
			req->err = -EIO;
			return;
		}
		if (flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP || (discard && flags)) {
			req->err = -EOPNOTSUPP;
			return;
		}
	}
	for (i = 0; i < nr && !req->err; i++) {
		zero_range(req, le64toh(range[i].sector) * IMAGE_SECTOR,
			   (uint64_t)le32toh(range[i].num_sectors) * IMAGE_SECTOR,
			   discard || (range[i].flags && blk->img.unmap));
	}
}

/* -------------------------------------------------------------------- dispatch */

/* Its limits, by what it turned out to be. */
static void charge(struct blk_req *req)
{
	struct virtio_blk *blk = req->bq->blk;
	uint64_t now = clock_now_ns();
	bool in = req->type == VIRTIO_BLK_T_IN, data = in || req->type == VIRTIO_BLK_T_OUT;

	throttle_charge(&blk->limit[RATE_OPS], 1, now);
	throttle_charge(&blk->limit[in ? RATE_OPS_RD : RATE_OPS_WR], 1, now);
	if (!data)
		return;
	throttle_charge(&blk->limit[RATE_BYTES], req->len, now);
	throttle_charge(&blk->limit[in ? RATE_BYTES_RD : RATE_BYTES_WR], req->len, now);
}

/* Must it wait? Then the queue is kicked when it need not any more. */
static bool must_wait(struct blk_queue *bq, const struct vq_chain *c)
{
	struct virtio_blk *blk = bq->blk;
	struct virtio_blk_outhdr hdr = { 0 };
	uint64_t now = clock_now_ns(), wait = 0;
	unsigned int i;

	iov_read(c->out, c->nr_out, 0, &hdr, sizeof(hdr));
	for (i = 0; i < RATE_NR; i++) {
		bool rd = i == RATE_BYTES_RD || i == RATE_OPS_RD, wr = i == RATE_BYTES_WR || i == RATE_OPS_WR;
		uint64_t ns;

		/* What the driver says now tells only which limits are looked at; see charge(). */
		if ((rd || wr) && rd != (le32toh(hdr.type) == VIRTIO_BLK_T_IN))
			continue;
		ns = throttle_wait(&blk->limit[i], now);
		wait = ns > wait ? ns : wait;
	}
	if (wait)
		loop_timer_set(bq->resume, now + wait);
	return wait;
}

void blk_resume_queue(void *opaque)
{
	struct blk_queue *bq = opaque;

	eventfd_write(bq->q->kick_fd, 1);
}

static void dispatch(struct blk_req *req)
{
	req->pending = 1;	/* ours, so that nothing ends before all is started */
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		do_transfer(req, req->sector);
		break;
	case VIRTIO_BLK_T_FLUSH:
		do_flush(req);
		break;
	case VIRTIO_BLK_T_GET_ID:
		do_get_id(req);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		do_ranges(req);
		break;
	default:
		req->err = -EOPNOTSUPP;
		break;
	}
	req_unref(req);
}

/* Keep the data's iovecs beyond the next vq_pop(). */
static bool keep_iov(struct blk_req *req, const struct iovec *iov, unsigned int nr)
{
	req->iov = req->inline_iov;
	if (nr > INLINE_IOV) {
		req->iov = malloc(nr * sizeof(*iov));
		if (!req->iov)
			return false;
	}
	memcpy(req->iov, iov, nr * sizeof(*iov));
	req->nr_iov = nr;
	return true;
}

static void start_request(struct blk_queue *bq, struct vq_chain *c)
{
	struct virtio_blk_outhdr hdr;
	struct iovec *last, *iov;
	struct blk_req *req;
	uint8_t *status;
	unsigned int nr;
	bool write;

	/* The status byte is the last that the device writes; without it nothing can be said. */
	if (!c->in_len || iov_read(c->out, c->nr_out, 0, &hdr, sizeof(hdr)) != sizeof(hdr)) {
		virtio_broken(bq->q, "a block request without header or status");
		return;
	}
	last = &c->in[c->nr_in - 1];
	status = (uint8_t *)last->iov_base + last->iov_len - 1;
	req = req_get(bq);
	if (!req)
		goto no_memory;
	req->status = status;
	req->head = c->head;
	req->type = le32toh(hdr.type);
	req->used_len = c->in_len;
	write = req->type == VIRTIO_BLK_T_OUT || req->type == VIRTIO_BLK_T_DISCARD ||
		req->type == VIRTIO_BLK_T_WRITE_ZEROES;
	if (write) {
		iov = c->out;
		req->len = c->out_len - sizeof(hdr);
		nr = iov_slice(&iov, c->nr_out, sizeof(hdr), req->len);
	} else {
		iov = c->in;
		req->len = c->in_len - 1;
		nr = iov_slice(&iov, c->nr_in, 0, req->len);
	}
	if (keep_iov(req, iov, nr)) {
		req->sector = le64toh(hdr.sector);
		if (bq->blk->limited)
			charge(req);
		dispatch(req);
		return;
	}
	req_put(req);
no_memory:
	*status = VIRTIO_BLK_S_IOERR;
	dirty_mark(status, 1);
	vq_push(&bq->q->vq, c->head, c->in_len);
}

static void blk_handle(struct virtio_queue *q)
{
	struct blk_queue *bq = &((struct virtio_blk *)q->v)->bq[q->index];
	struct blk_req *req = take_parked(bq), *next;
	struct vq_chain c;

	for (; req; req = next) {
		next = req->next;
		dispatch(req);
	}
	while (virtio_pop(q, &c)) {
		if (bq->blk->limited && must_wait(bq, &c)) {
			vq_unpop(&q->vq);
			break;
		}
		start_request(bq, &c);
	}
	aio_kick(bq->aio);
	virtio_publish(q);
}

static void blk_idle(void *opaque)
{
	struct blk_queue *bq = opaque;

	if (bq->q->running)
		virtio_publish(bq->q);
}

static void blk_queue_stop(struct virtio_queue *q)
{
	struct blk_queue *bq = &((struct virtio_blk *)q->v)->bq[q->index];

	aio_drain(bq->aio);
	if (bq->parked && !bq->blk->parks) {
		bq->blk->parks = true;
		log_warn("%s: its storage daemon does not answer; what the guest asked for is done once it does, and the guest runs",
			 bq->blk->v.dev.id);
	}
	virtio_publish(q);
}

/* virtio 1.2, 2.4: what the guest has asked for need not be done, but its memory is its own from now on. */
static void blk_queue_drop(struct virtio_queue *q)
{
	struct blk_queue *bq = &((struct virtio_blk *)q->v)->bq[q->index];
	struct blk_req *req, *next;

	aio_cancel(bq->aio);
	for (req = take_parked(bq); req; req = next) {
		next = req->next;
		finish(req, VIRTIO_BLK_S_IOERR);
	}
	virtio_publish(q);
}

/* A thread may wait for the server: for a part of a block that a write covers (overlay.h), or for all. */
static void blk_hurry(struct virtio_device *v, bool on, bool reset)
{
	struct virtio_blk *blk = (struct virtio_blk *)v;

	if (!blk->img.served)
		return;
	if (on)
		blk->parks = false;
	nbd_disk_hurry(blk->img.served, on ? clock_now_ns() + (reset ? 0 : blk->stop_ms * 1000000ULL) : 0);
	for (unsigned int i = 0; !on && i < blk->nr_queues; i++)
		blk_resume_queue(&blk->bq[i]);
}

static int blk_load_config(struct virtio_device *v, const uint8_t *saved, struct state_error *err)
{
	const struct virtio_blk_config *now = (void *)v->config, *then = (const void *)saved;

	if (then->capacity != now->capacity)
		return state_error(err, "the image had %llu bytes, now it has %llu",
				   (unsigned long long)le64toh(then->capacity) * IMAGE_SECTOR,
				   (unsigned long long)le64toh(now->capacity) * IMAGE_SECTOR);
	if (memcmp(v->config, saved, v->config_len))
		return state_error(err, "its block sizes or limits are others than when it was saved");
	return 0;
}

static const struct virtio_ops blk_virtio_ops = {
	.load_config = blk_load_config,
	.handle = blk_handle,
	.hurry = blk_hurry,
	.queue_stop = blk_queue_stop,
	.queue_drop = blk_queue_drop,
};

/* ---------------------------------------------------------------------- making */

static void drop_timer(void *opaque)
{
	struct blk_queue *bq = opaque;

	loop_del_timer(bq->resume);
	bq->resume = NULL;
}

static void blk_destroy(struct device *dev)
{
	struct virtio_blk *blk = (struct virtio_blk *)dev;
	unsigned int i;

	virtio_reset(dev);
	for (i = 0; i < blk->nr_queues; i++) {
		struct blk_queue *bq = &blk->bq[i];

		if (bq->resume)
			iothread_call(bq->io, drop_timer, bq);
		iothread_free(bq->io);
		aio_free(bq->aio);
		while (bq->free) {
			struct blk_req *req = bq->free;

			bq->free = req->next;
			free(req);
		}
	}
	virtio_fini(&blk->v);
	image_close(&blk->img);
	free(blk->file);
	free(blk);
}

/* Whoever stopped the guest may look into the image: all that was written is in it then. */
static void blk_pause(struct device *dev)
{
	struct virtio_blk *blk = (struct virtio_blk *)dev;
	int ret;

	virtio_pause(dev);
	ret = image_layered(&blk->img) ? overlay_flush(blk->img.overlay, !blk->img.no_flush) : 0;
	if (ret)
		log_error("%s: %s: %s", blk->v.dev.id, blk->cfg->file, strerror(-ret));
}

/* Requests are drained by pause; the data is in the image, or with a daemon that could be killed. */
static int blk_save(struct device *dev, void *state, struct state_error *err)
{
	const struct virtio_blk *blk = (struct virtio_blk *)dev;

	if (blk->img.overlay && !image_layered(&blk->img))
		return state_error(err, "what the guest writes to a <transient/> disk ends with it; take <transient/> out");
	for (unsigned int i = 0; i < blk->nr_queues; i++)
		if (blk->bq[i].parked)
			return state_error(err, "%s: its storage daemon does not answer, and the guest waits for it; is it stopped (kill -CONT)? Then try again",
					   blk->cfg->file);
	if (blk->img.served && nbd_disk_flush(blk->img.served))
		return state_error(err, "%s: what the guest wrote cannot be put on stable storage", blk->cfg->file);
	return virtio_save(dev, state, err);
}

static const struct state_desc blk_state_desc = {
	.version = 1, .size = sizeof(struct virtio_state), .fields = virtio_only_fields,
	.save = blk_save, .load = virtio_load,
};

static int blk_own(struct device *dev, bool own)
{
	return image_own(&((struct virtio_blk *)dev)->img, own);
}

static void blk_stats(struct device *dev, struct device_stats *s)
{
	const struct virtio_blk *blk = (struct virtio_blk *)dev;

	s->kind = DEV_DISK;
	s->name = blk->cfg->target ? blk->cfg->target : "";
	s->disk.file = blk->file ? blk->file : blk->cfg->file ? blk->cfg->file : "";
	s->disk.layered = image_layered(&blk->img);
	if (s->disk.layered)
		memcpy(s->disk.layer, blk->img.overlay->id, sizeof(s->disk.layer));
	s->disk.size = blk->img.size;
	s->disk.readonly = blk->img.readonly;
	for (unsigned int i = 0; i < RATE_NR; i++)
		s->disk.rate[i] = blk->limit[i].rate;
	for (unsigned int i = 0; i < blk->nr_queues; i++) {
		const struct blk_queue *bq = &blk->bq[i];

		s->disk.rd_ops += stat_get(bq->ops[0]);
		s->disk.rd_bytes += stat_get(bq->bytes[0]);
		s->disk.rd_ns += stat_get(bq->ns[0]);
		s->disk.wr_ops += stat_get(bq->ops[1]);
		s->disk.wr_bytes += stat_get(bq->bytes[1]);
		s->disk.wr_ns += stat_get(bq->ns[1]);
		s->disk.flush_ops += stat_get(bq->ops[2]);
		s->disk.flush_ns += stat_get(bq->ns[2]);
		s->disk.failed += stat_get(bq->failed);
	}
}

const struct device_ops blk_ops = {
	.name = "virtio-blk",
	.pluggable = true,
	.xml = "<disk device='disk'> with <target bus='virtio'>",
	.help = "Disk on a file or block device, raw or by qemu-storage-daemon: <driver type= cache= discard= queues=>, <readonly/>, <shareable/>, <transient/>, <serial>, <blockio>.",
	.reset = virtio_reset,
	.pause = blk_pause,
	.resume = virtio_resume,
	.destroy = blk_destroy,
	.stats = blk_stats,
	.own = blk_own,
	.state = &blk_state_desc,
};
DEVICE_REGISTER(blk_ops);

static uint64_t blk_features(const struct image *img, unsigned int nr_queues)
{
	uint64_t f = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
		     1ULL << VIRTIO_BLK_F_TOPOLOGY;

	if (nr_queues > 1)
		f |= 1ULL << VIRTIO_BLK_F_MQ;
	if (img->readonly)
		return f | 1ULL << VIRTIO_BLK_F_RO;
	if (!img->write_through)
		f |= 1ULL << VIRTIO_BLK_F_FLUSH;
	f |= 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
	/* With a layer as without: a guest that goes on over one must find what it knows. */
	if (img->unmap || (img->overlay && !image_layered(img)))
		f |= 1ULL << VIRTIO_BLK_F_DISCARD;
	return f;
}

void blk_fill_config(struct virtio_blk *blk)
{
	struct virtio_blk_config *c = (void *)blk->v.config;
	const struct image *img = &blk->img;
	unsigned int exp = __builtin_ctz(img->physical_block / img->logical_block);

	c->capacity = htole64(img->size / IMAGE_SECTOR);
	c->seg_max = htole32(SEG_MAX);
	c->blk_size = htole32(img->logical_block);
	c->physical_block_exp = exp;
	c->opt_io_size = 0;
	c->num_queues = htole16(blk->nr_queues);
	c->max_discard_sectors = htole32(MAX_DISCARD);
	c->max_discard_seg = htole32(MAX_RANGES);
	c->discard_sector_alignment = htole32(OVERLAY_BLOCK / IMAGE_SECTOR);
	c->max_write_zeroes_sectors = htole32(MAX_ZEROES);
	c->max_write_zeroes_seg = htole32(MAX_RANGES);
	c->write_zeroes_may_unmap = img->unmap;
}

static unsigned int queue_count(const struct machine *m, const struct dom_disk *cfg)
{
	unsigned int n = cfg->queues;

	if (!n)
		n = m->nr_vcpus < DEFAULT_QUEUES ? m->nr_vcpus : DEFAULT_QUEUES;
	if (!n)
		n = 1;
	return n < BLK_MAX_QUEUES ? n : BLK_MAX_QUEUES;
}

static int start_threads(struct virtio_blk *blk, const struct dom_disk *cfg)
{
	char name[16];
	unsigned int i;

	for (i = 0; i < blk->nr_queues; i++) {
		struct blk_queue *bq = &blk->bq[i];

		bq->blk = blk;
		bq->last_parked = &bq->parked;
		bq->q = &blk->v.queue[i];
		snprintf(name, sizeof(name), "%.10s/%u", cfg->target ? cfg->target : "disk",
			 i % 1000);
		bq->io = iothread_new(name);
		if (!bq->io)
			return -ENOMEM;
		bq->q->io = bq->io;
		bq->aio = aio_new(iothread_loop(bq->io, NULL), blk_idle, bq);
		bq->resume = bq->aio ? loop_add_timer(iothread_loop(bq->io, NULL), blk_resume_queue, bq) : NULL;
		if (blk->img.served && bq->resume && aio_serve_by(bq->aio, blk->img.served, iothread_loop(bq->io, NULL)))
			return -EIO;
		if (!bq->resume) {
			log_error("%s: out of memory", blk->v.dev.id);
			return -ENOMEM;
		}
	}
	return virtio_add_kicks(&blk->v);
}

int virtio_blk_create_on(struct machine *m, const struct dom_disk *cfg, struct image *img)
{
	unsigned int i, nr = queue_count(m, cfg);
	uint16_t sizes[BLK_MAX_QUEUES];
	struct virtio_blk *blk;
	char id[32];
	int ret;

	blk = calloc(1, sizeof(*blk) + nr * sizeof(blk->bq[0]));
	if (!blk) {
		image_close(img);
		return -ENOMEM;
	}
	for (i = 0; i < nr; i++)
		sizes[i] = QUEUE_SIZE;
	blk->img = *img;
	blk->nr_queues = nr;
	blk->stop_ms = STOP_MS;
	blk->cfg = cfg;
	for (i = 0; i < RATE_NR; i++) {
		throttle_init(&blk->limit[i], &cfg->rate[i]);
		blk->limited |= cfg->rate[i].rate != 0;
	}
	if (cfg->serial)
		memcpy(blk->serial, cfg->serial, strnlen(cfg->serial, sizeof(blk->serial)));
	snprintf(id, sizeof(id), "disk %s", cfg->target ? cfg->target : "");
	ret = virtio_init(&blk->v, m, &blk_ops, &blk_virtio_ops, VIRTIO_ID_BLOCK,
			  blk_features(&blk->img, nr), sizeof(struct virtio_blk_config), nr, sizes,
			  id);
	if (ret) {
		image_close(&blk->img);
		free(blk);
		return ret;
	}
	blk_fill_config(blk);
	ret = start_threads(blk, cfg);
	if (ret)
		blk_destroy(&blk->v.dev);
	return ret;
}

int virtio_blk_create(struct machine *m, const struct dom_disk *cfg)
{
	struct image img;

	return image_open(&img, cfg, m->dom ? m->dom->file : "") ?: virtio_blk_create_on(m, cfg, &img);
}
