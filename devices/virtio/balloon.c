// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory balloon (virtio 1.2, 5.5): pages that the guest gives up are punched out
 * of its RAM's memfd, and come back as zeroes when it touches them again. Free page
 * reporting does the same for pages that the guest merely does not use now.
 * Main loop.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "devices/virtio/balloon.h"
#include "devices/virtio/virtio.h"
#include "vmm/dirty.h"

#define QUEUE_SIZE	128
#define PAGE		4096U
#define MAX_PFNS	65536U	/* of one buffer; drivers use 256 */
#define PFN_CHUNK	256U
#define NSEC		1000000000ULL

#ifndef VIRTIO_BALLOON_F_REPORTING
#define VIRTIO_BALLOON_F_REPORTING 5
#endif

enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_MAX = 4 };

struct virtio_balloon {
	struct virtio_device v;
	struct loop_timer *timer;
	uint64_t period_ns;		/* between statistics, 0: none */
	bool holds;			/* the driver's statistics buffer, given back to ask for new ones */
	uint16_t held;
	struct balloon_stats stats;
};

static const struct device_ops balloon_ops;

/*
 * Give [gpa, gpa + len) back to the host, as far as it is RAM. MADV_REMOVE punches
 * the hole into the memfd, so that every mapping of it (vhost, the guest) loses the
 * page; failures (huge pages given up in part) cost memory, nothing else.
 */
static void release(struct virtio_balloon *b, void *hva, size_t len)
{
	uintptr_t start = ((uintptr_t)hva + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
	uintptr_t end = ((uintptr_t)hva + len) & ~(uintptr_t)(PAGE - 1);

	if (end > start && !madvise((void *)start, end - start, MADV_REMOVE))
		dirty_mark((void *)start, end - start);
}

/* Neighbouring pages go in one call. */
static void release_pfns(struct virtio_balloon *b, const uint32_t *pfn, unsigned int nr)
{
	unsigned int i, run;

	for (i = 0; i < nr; i += run) {
		uint64_t gpa = (uint64_t)le32toh(pfn[i]) * PAGE;
		void *hva;

		for (run = 1; i + run < nr && le32toh(pfn[i + run]) == le32toh(pfn[i]) + run; run++)
			;
		hva = guest_ptr(&b->v.dev.m->mem, gpa, (uint64_t)run * PAGE, true);
		if (!hva && run > 1) {
			run = 1;	/* across the end of a region: page by page */
			hva = guest_ptr(&b->v.dev.m->mem, gpa, PAGE, true);
		}
		if (hva)
			release(b, hva, (size_t)run * PAGE);
	}
}

static void inflate(struct virtio_balloon *b, const struct vq_chain *c)
{
	uint32_t pfn[PFN_CHUNK];
	size_t at = 0, n;

	while ((n = iov_read(c->out, c->nr_out, at, pfn, sizeof(pfn))) >= sizeof(pfn[0])) {
		release_pfns(b, pfn, n / sizeof(pfn[0]));
		at += n;
	}
}

static void handle_pages(struct virtio_balloon *b, struct virtio_queue *q, bool inflating)
{
	struct vq_chain c;

	while (virtio_pop(q, &c)) {
		if (c.out_len > MAX_PFNS * sizeof(uint32_t)) {
			virtio_broken(q, "a balloon request that is too long");
			break;
		}
		/* A page that leaves the balloon is simply touched again. */
		if (inflating)
			inflate(b, &c);
		vq_push(&q->vq, c.head, 0);
	}
	virtio_publish(q);
}

static void handle_reporting(struct virtio_balloon *b, struct virtio_queue *q)
{
	struct vq_chain c;
	unsigned int i;

	while (virtio_pop(q, &c)) {
		for (i = 0; i < c.nr_in; i++)
			release(b, c.in[i].iov_base, c.in[i].iov_len);
		vq_push(&q->vq, c.head, 0);
	}
	virtio_publish(q);
}

/* ------------------------------------------------------------------ statistics */

static void read_stats(struct virtio_balloon *b, const struct vq_chain *c)
{
	struct virtio_balloon_stat s;
	unsigned int i;

	for (i = 0; i < 2 * BALLOON_STATS; i++) {
		if (iov_read(c->out, c->nr_out, i * sizeof(s), &s, sizeof(s)) != sizeof(s))
			break;
		if (le16toh(s.tag) < BALLOON_STATS) {
			b->stats.value[le16toh(s.tag)] = le64toh(s.val);
			b->stats.valid |= 1U << le16toh(s.tag);
		}
	}
	b->stats.updated_ns = clock_now_ns();
}

static void handle_stats(struct virtio_balloon *b, struct virtio_queue *q)
{
	struct vq_chain c;

	while (virtio_pop(q, &c)) {
		read_stats(b, &c);
		/* One buffer is held; a driver that sends more gets the older ones back. */
		if (b->holds) {
			vq_push(&q->vq, b->held, 0);
			virtio_publish(q);
		}
		b->held = c.head;
		b->holds = true;
	}
	if (b->period_ns && b->holds)
		loop_timer_set(b->timer, clock_now_ns() + b->period_ns);
}

static void stats_timer(void *opaque)
{
	struct virtio_balloon *b = opaque;
	struct virtio_queue *q = &b->v.queue[Q_STATS];

	if (!q->running || !b->holds)
		return;
	b->holds = false;
	vq_push(&q->vq, b->held, 0);
	virtio_publish(q);
}

/* Queues of features that were not accepted do not exist, and the later ones move up. */
static void balloon_handle(struct virtio_queue *q)
{
	struct virtio_balloon *b = (struct virtio_balloon *)q->v;
	bool stats = virtio_has(q->v, VIRTIO_BALLOON_F_STATS_VQ);

	if (q->index == Q_INFLATE || q->index == Q_DEFLATE)
		handle_pages(b, q, q->index == Q_INFLATE);
	else if (q->index == Q_STATS && stats)
		handle_stats(b, q);
	else if (q->index == Q_STATS + stats && virtio_has(q->v, VIRTIO_BALLOON_F_REPORTING))
		handle_reporting(b, q);
}

static void balloon_stop(struct virtio_device *v)
{
	struct virtio_balloon *b = (struct virtio_balloon *)v;

	b->holds = false;
	loop_timer_set(b->timer, 0);
}

/* The held buffer goes back for the pause; the driver then sends a new one. */
static void balloon_queue_stop(struct virtio_queue *q)
{
	struct virtio_balloon *b = (struct virtio_balloon *)q->v;

	if (q->index != Q_STATS || !b->holds)
		return;
	b->holds = false;
	vq_push(&q->vq, b->held, 0);
	virtio_publish(q);
}

/* Target and size are as they were; what the guest says of either is its own matter. */
static int balloon_load_config(struct virtio_device *v, const uint8_t *saved,
			       struct state_error *err)
{
	memcpy(v->config, saved, v->config_len);
	return 0;
}

static const struct virtio_ops balloon_virtio_ops = {
	.load_config = balloon_load_config,
	.handle = balloon_handle,
	.queue_stop = balloon_queue_stop,
	.stop = balloon_stop,
};

/* --------------------------------------------------------------------- control */

static struct virtio_balloon *find(struct machine *m)
{
	struct device *d;

	for (d = m->devices; d; d = d->next) {
		if (d->ops == &balloon_ops)
			return (struct virtio_balloon *)d;
	}
	return NULL;
}

int balloon_set_target(struct machine *m, uint64_t bytes)
{
	struct virtio_balloon *b = find(m);
	struct virtio_balloon_config *c;

	if (!b)
		return -ENODEV;
	if (bytes > m->mem.boot_size)
		return -EINVAL;
	c = (void *)b->v.config;
	pthread_mutex_lock(&b->v.config_lock);
	c->num_pages = htole32((m->mem.boot_size - bytes) / PAGE);
	pthread_mutex_unlock(&b->v.config_lock);
	virtio_config_changed(&b->v);
	return 0;
}

int balloon_query(struct machine *m, uint64_t *bytes, struct balloon_stats *stats)
{
	struct virtio_balloon *b = find(m);
	uint64_t out;

	if (!b)
		return -ENODEV;
	/* `actual` is what the guest claims. */
	out = (uint64_t)le32toh(((struct virtio_balloon_config *)(void *)b->v.config)->actual) * PAGE;
	*bytes = out < m->mem.boot_size ? m->mem.boot_size - out : 0;
	if (stats)
		*stats = b->stats;
	return 0;
}

/* ---------------------------------------------------------------------- making */

static void balloon_reset(struct device *dev)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;

	virtio_reset(dev);
	((struct virtio_balloon_config *)(void *)b->v.config)->actual = 0;
	memset(&b->stats, 0, sizeof(b->stats));
}

static void balloon_destroy(struct device *dev)
{
	struct virtio_balloon *b = (struct virtio_balloon *)dev;

	virtio_reset(dev);
	virtio_fini(&b->v);
	loop_del_timer(b->timer);
	free(b);
}

static const struct device_ops balloon_ops = {
	.name = "virtio-balloon",
	.xml = "<memballoon model='virtio' autodeflate= freePageReporting=> with <stats period=>",
	.help = "Takes memory from the guest and gives it back; <currentMemory> is the starting point.",
	.reset = balloon_reset,
	.pause = virtio_pause,
	.resume = virtio_resume,
	.destroy = balloon_destroy,
	.state = &virtio_state_desc,
};
DEVICE_REGISTER(balloon_ops);

int virtio_balloon_create(struct machine *m)
{
	static const uint16_t sizes[Q_MAX] = { QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE };
	struct virtio_balloon *b = calloc(1, sizeof(*b));
	uint64_t features = 1ULL << VIRTIO_BALLOON_F_STATS_VQ;
	struct virtio_balloon_config *c;
	int ret = -ENOMEM;

	if (!b)
		return ret;
	if (m->dom->balloon.autodeflate)
		features |= 1ULL << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	if (m->dom->balloon.free_page_reporting)
		features |= 1ULL << VIRTIO_BALLOON_F_REPORTING;
	b->period_ns = m->dom->balloon.stats_period * NSEC;
	b->timer = loop_add_timer(m->loop, stats_timer, b);
	if (!b->timer)
		goto fail;
	ret = virtio_init(&b->v, m, &balloon_ops, &balloon_virtio_ops, VIRTIO_ID_BALLOON, features,
			  sizeof(*c), m->dom->balloon.free_page_reporting ? Q_MAX : Q_MAX - 1,
			  sizes, "balloon");
	if (ret)
		goto fail;
	c = (void *)b->v.config;
	b->v.config_wmask = calloc(1, sizeof(*c));
	ret = b->v.config_wmask ? 0 : -ENOMEM;
	if (!ret) {
		memset(b->v.config_wmask + offsetof(struct virtio_balloon_config, actual), 0xff, 4);
		if (m->dom->current_memory && m->dom->current_memory < m->mem.boot_size)
			c->num_pages = htole32((m->mem.boot_size - m->dom->current_memory) / PAGE);
		ret = virtio_add_kicks(&b->v);
	}
	if (ret)
		balloon_destroy(&b->v.dev);
	return ret;

fail:
	if (b->timer)
		loop_del_timer(b->timer);
	free(b);
	return ret;
}
