// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "devices/storage/aio.h"
#include "devices/storage/nbd_disk.h"
#include "vmm/log.h"
#include "vmm/sandbox.h"

#define RING_ENTRIES	128
#define MAX_IOV		1024	/* IOV_MAX: of one system call */

struct aio {
	struct io_uring ring;
	bool has_ring;
	unsigned int in_flight;
	void (*idle)(void *opaque);
	void *opaque;
	struct loop_fd *watch;
	struct nbd_queue *served;	/* NULL: there is none */
};

void aio_advance(struct aio_op *op, size_t n)
{
	op->offset += n;
	op->len -= n;
	while (op->nr_iov && n >= op->iov->iov_len) {
		n -= op->iov->iov_len;
		op->iov++;
		op->nr_iov--;
	}
	if (op->nr_iov) {
		op->iov->iov_base = (uint8_t *)op->iov->iov_base + n;
		op->iov->iov_len -= n;
	}
}

static void zero_rest(struct aio_op *op)
{
	unsigned int i;

	for (i = 0; i < op->nr_iov; i++)
		memset(op->iov[i].iov_base, 0, op->iov[i].iov_len);
}

/* Do (the rest of) a read or write with system calls. */
static int transfer(struct aio_op *op)
{
	while (op->len) {
		unsigned int nr = op->nr_iov < MAX_IOV ? op->nr_iov : MAX_IOV;
		ssize_t n = op->type == AIO_READ ? preadv(op->fd, op->iov, nr, op->offset) :
						   pwritev(op->fd, op->iov, nr, op->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) {
			if (op->type == AIO_WRITE)
				return -EIO;
			zero_rest(op);
			return 0;
		}
		aio_advance(op, n);
	}
	return 0;
}

static int run_sync(struct aio_op *op)
{
	int ret;

	switch (op->type) {
	case AIO_SYNC:
		ret = fdatasync(op->fd);
		break;
	case AIO_ALLOCATE:
		ret = fallocate(op->fd, op->mode, op->offset, op->len);
		break;
	default:
		return transfer(op);
	}
	return ret < 0 ? -errno : 0;
}

static void complete(struct aio_op *op, int res)
{
	if (res == -EAGAIN || res == -EINTR) {
		res = run_sync(op);
	} else if (res >= 0 && (op->type == AIO_READ || op->type == AIO_WRITE)) {
		if ((uint64_t)res < op->len) {
			aio_advance(op, res);
			res = transfer(op);
		}
	}
	op->done(op, res < 0 ? res : 0);
}

static void prepare(struct io_uring_sqe *sqe, struct aio_op *op)
{
	switch (op->type) {
	case AIO_READ:
		if (op->nr_iov == 1)
			io_uring_prep_read(sqe, op->fd, op->iov->iov_base, op->len, op->offset);
		else
			io_uring_prep_readv(sqe, op->fd, op->iov, op->nr_iov, op->offset);
		break;
	case AIO_WRITE:
		if (op->nr_iov == 1)
			io_uring_prep_write(sqe, op->fd, op->iov->iov_base, op->len, op->offset);
		else
			io_uring_prep_writev(sqe, op->fd, op->iov, op->nr_iov, op->offset);
		break;
	case AIO_SYNC:
		io_uring_prep_fsync(sqe, op->fd, IORING_FSYNC_DATASYNC);
		break;
	case AIO_ALLOCATE:
		io_uring_prep_fallocate(sqe, op->fd, op->mode, op->offset, op->len);
		break;
	}
	io_uring_sqe_set_data(sqe, op);
}

void aio_add(struct aio *a, struct aio_op *op)
{
	struct io_uring_sqe *sqe = NULL;

	if (op->fd == AIO_SERVED) {
		nbd_queue_add(a->served, op);
		return;
	}
	if (a->has_ring && op->nr_iov <= MAX_IOV) {
		sqe = io_uring_get_sqe(&a->ring);
		if (!sqe) {
			io_uring_submit(&a->ring);
			sqe = io_uring_get_sqe(&a->ring);
		}
	}
	/* The kernel takes no more for now: this one at once then. */
	if (!sqe) {
		op->done(op, run_sync(op));
		return;
	}
	prepare(sqe, op);
	a->in_flight++;
}

static void reap(struct aio *a)
{
	struct io_uring_cqe *cqe;

	while (a->in_flight && !io_uring_peek_cqe(&a->ring, &cqe)) {
		struct aio_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&a->ring, cqe);
		a->in_flight--;
		complete(op, res);
	}
}

void aio_kick(struct aio *a)
{
	if (!a->has_ring)
		return;
	io_uring_submit(&a->ring);
	reap(a);
	/* done() may have queued more. */
	if (io_uring_sq_ready(&a->ring))
		io_uring_submit(&a->ring);
}

void aio_drain_files(struct aio *a)
{
	while (a->has_ring && a->in_flight) {
		io_uring_submit_and_wait(&a->ring, 1);
		reap(a);
	}
}

void aio_drain(struct aio *a)
{
	/* Of a read that is served, something of an overlay's may come, and the other way. */
	do {
		aio_drain_files(a);
		if (a->served)
			nbd_queue_drain(a->served);
	} while (a->in_flight);
}

void aio_cancel(struct aio *a)
{
	do {
		aio_drain_files(a);
		if (a->served)
			nbd_queue_cancel(a->served);
	} while (a->in_flight);
}

static void ring_ready(void *opaque, uint32_t events)
{
	struct aio *a = opaque;

	(void)events;
	aio_kick(a);
	a->idle(a->opaque);
}

struct aio *aio_new(struct loop *loop, void (*idle)(void *opaque), void *opaque)
{
	struct aio *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return NULL;
	a->idle = idle;
	a->opaque = opaque;
	/* In the sandbox there are no new rings: they could do what its filter forbids. */
	ret = sandbox_entered() ? -EPERM : io_uring_queue_init(RING_ENTRIES, &a->ring, 0);
	if (ret < 0) {
		log_info("no io_uring (%s): disks are read and written synchronously", strerror(-ret));
		return a;
	}
	a->has_ring = true;
	/* The ring itself is readable while completions wait. */
	a->watch = loop_add_fd(loop, a->ring.ring_fd, EPOLLIN, ring_ready, a);
	if (!a->watch) {
		io_uring_queue_exit(&a->ring);
		free(a);
		return NULL;
	}
	return a;
}

int aio_serve_by(struct aio *a, struct nbd_disk *d, struct loop *loop)
{
	a->served = nbd_queue_new(d, loop, a->idle, a->opaque);
	return a->served ? 0 : -EIO;
}

void aio_free(struct aio *a)
{
	if (!a)
		return;
	nbd_queue_free(a->served);
	if (a->has_ring)
		io_uring_queue_exit(&a->ring);
	free(a);
}
