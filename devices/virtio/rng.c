// SPDX-License-Identifier: GPL-2.0-only
/* virtio-rng (virtio 1.2, 5.4): one queue of buffers to fill with random bytes. Main loop. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "devices/virtio/virtio.h"

#define QUEUE_SIZE	16
#define CHUNK		256U		/* getrandom() never fails or stops short up to here */
#define MAX_REQUEST	(16U << 10)	/* a driver gets at most this much of what it asks for */
#define NSEC_PER_MSEC	1000000ULL

struct virtio_rng {
	struct virtio_device v;
	int fd;				/* the source, -1: getrandom() */
	struct loop_timer *timer;
	uint64_t rate_bytes, period_ns;	/* 0: no limit */
	uint64_t left;			/* in this period */
	uint64_t period_end;
};

static void fetch(struct virtio_rng *rng, uint8_t *buf, size_t len)
{
	ssize_t n = 0;

	if (rng->fd >= 0)
		n = read(rng->fd, buf, len);
	if (n < 0)
		n = 0;
	/* What the source does not have now, the kernel's generator gives. */
	if ((size_t)n < len && getrandom(buf + n, len - n, 0) != (ssize_t)(len - n))
		memset(buf + n, 0, len - n);	/* not reached for so few bytes */
}

/* Bytes that may be given out now; 0: the timer goes on with it. */
static uint64_t allowance(struct virtio_rng *rng)
{
	uint64_t now;

	if (!rng->rate_bytes)
		return UINT64_MAX;
	now = clock_now_ns();
	if (now >= rng->period_end) {
		rng->left = rng->rate_bytes;
		rng->period_end = now + rng->period_ns;
	}
	if (!rng->left)
		loop_timer_set(rng->timer, rng->period_end);
	return rng->left;
}

static uint32_t fill(struct virtio_rng *rng, const struct vq_chain *c, uint64_t allowed)
{
	uint32_t want = c->in_len < MAX_REQUEST ? c->in_len : MAX_REQUEST, done = 0;
	uint8_t buf[CHUNK];

	if (want > allowed)
		want = allowed;
	while (done < want) {
		uint32_t n = want - done < CHUNK ? want - done : CHUNK;

		fetch(rng, buf, n);
		iov_write(c->in, c->nr_in, done, buf, n);
		done += n;
	}
	if (rng->rate_bytes)
		rng->left -= done;
	return done;
}

static void rng_handle(struct virtio_queue *q)
{
	struct virtio_rng *rng = (struct virtio_rng *)q->v;
	struct vq_chain c;
	uint64_t allowed;

	while ((allowed = allowance(rng)) && virtio_pop(q, &c))
		vq_push(&q->vq, c.head, fill(rng, &c, allowed));
	virtio_publish(q);
}

static void rng_timer(void *opaque)
{
	struct virtio_rng *rng = opaque;
	struct virtio_queue *q = &rng->v.queue[0];

	if (q->running)
		rng_handle(q);
}

static const struct virtio_ops rng_virtio_ops = { .handle = rng_handle };

static void rng_destroy(struct device *dev)
{
	struct virtio_rng *rng = (struct virtio_rng *)dev;

	virtio_reset(dev);
	virtio_fini(&rng->v);
	loop_del_timer(rng->timer);
	if (rng->fd >= 0)
		close(rng->fd);
	free(rng);
}

static const struct device_ops rng_ops = {
	.name = "virtio-rng",
	.xml = "<rng model='virtio'> with <backend model='random'>, <rate>",
	.help = "Random numbers from the host: getrandom(), or the file named in <backend>.",
	.reset = virtio_reset,
	.pause = virtio_pause,
	.resume = virtio_resume,
	.destroy = rng_destroy,
	.state = &virtio_state_desc,
};
DEVICE_REGISTER(rng_ops);

static bool is_kernel_source(const char *path)
{
	return !path || !strcmp(path, "/dev/urandom") || !strcmp(path, "/dev/random");
}

int virtio_rng_create(struct machine *m)
{
	static const uint16_t size = QUEUE_SIZE;
	struct virtio_rng *rng = calloc(1, sizeof(*rng));
	int ret;

	if (!rng)
		return -ENOMEM;
	rng->fd = -1;
	rng->rate_bytes = m->dom->rng.rate_bytes;
	rng->period_ns = (m->dom->rng.rate_period_ms ? m->dom->rng.rate_period_ms : 1000) *
			 NSEC_PER_MSEC;
	if (!is_kernel_source(m->dom->rng.source)) {
		rng->fd = open(m->dom->rng.source, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (rng->fd < 0) {
			ret = -errno;
			log_error("rng: cannot open '%s': %s; use /dev/urandom", m->dom->rng.source,
				  strerror(-ret));
			free(rng);
			return ret;
		}
	}
	rng->timer = loop_add_timer(m->loop, rng_timer, rng);
	ret = rng->timer ? virtio_init(&rng->v, m, &rng_ops, &rng_virtio_ops, VIRTIO_ID_RNG, 0, 0,
				       1, &size, "rng") : -ENOMEM;
	if (ret) {
		if (rng->timer)
			loop_del_timer(rng->timer);
		if (rng->fd >= 0)
			close(rng->fd);
		free(rng);
		return ret;
	}
	ret = virtio_add_kicks(&rng->v);
	if (ret)
		rng_destroy(&rng->v.dev);
	return ret;
}
