// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mirror.h"
#include "sandbox.h"
#include "zero.h"

#define NS		1000000000ULL
#define PIECE		(1U << 20)	/* bytes that are read at once */
#define REST_NS		(NS / 10)	/* between two looks at what was written */
#define MIN_SAMPLE_NS	(5 * NS / 1000)	/* what took less says nothing of the rate */
#define REQUEST		28U		/* bytes of a request without its data */
#define MIN_SAMPLE	(1U << 20)	/* and what was less */
#define GUESS		(64ULL << 20)	/* bytes a second, before the rate was measured */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

/* ------------------------------------------------------------- what a disk holds */

/* Where there is data at or behind `at`, as far as is known; what is before it reads as zeroes. */
static uint64_t next_data(const struct image *img, uint64_t at, uint64_t max)
{
	struct overlay_part part = { .fd = img->fd_buffered, .offset = at };
	uint64_t run = img->size - at < max ? img->size - at : max;
	off_t data;

	if (img->overlay)
		run = overlay_run(img->overlay, at, run, &part);
	data = lseek(part.fd, (off_t)part.offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return at;
	if (data < 0 || (uint64_t)data - part.offset > run)
		return at + run;
	return at + ((uint64_t)data - part.offset);
}

static int read_disk(const struct image *img, uint8_t *buf, uint64_t len, uint64_t at)
{
	bool direct = img->align > 1 && !((at | len) & (img->align - 1));

	if (img->overlay)
		return overlay_read(img->overlay, buf, len, at);
	return file_read(direct ? img->fd : img->fd_buffered, buf, len, at);
}

/* -------------------------------------------------------------------- copying */

static int failed(struct mirror_disk *d, int ret)
{
	state_error(&d->err, "disk %s: %s", d->name, d->nbd.text[0] ? d->nbd.text : strerror(-ret));
	return ret;
}

static void charge(struct mirror_disk *d, size_t bytes)
{
	atomic_fetch_add(&d->wire, bytes);
	d->of->pace(d->of->opaque, bytes);
}

static int send_zeroes(struct mirror_disk *d, uint64_t at, uint32_t len)
{
	charge(d, REQUEST);
	return nbd_zero(&d->nbd, at, len);
}

/* What is in the buffer: spans of blocks that are zero, and of those that are not. */
static int send_piece(struct mirror_disk *d, uint64_t at, uint32_t len)
{
	uint32_t from = 0, to = 0, step;
	bool zero = false, this;
	int ret = 0;

	while (from < len && !ret) {
		for (to = from; to < len; to += step) {
			step = len - to < DISK_LOG_BLOCK ? len - to : DISK_LOG_BLOCK;
			this = is_zero(d->buf + to, step);
			if (to > from && this != zero)
				break;
			zero = this;
		}
		if (zero) {
			ret = send_zeroes(d, at + from, to - from);
		} else {
			charge(d, REQUEST + to - from);
			d->data += to - from;
			ret = nbd_write(&d->nbd, at + from, d->buf + from, to - from);
		}
		from = to;
	}
	return ret;
}

static int copy_data(struct mirror_disk *d, uint64_t at, uint64_t len)
{
	int ret = 0;

	while (len && !ret) {
		uint32_t part = len < PIECE ? (uint32_t)len : PIECE;

		if (atomic_load(&d->of->stop))
			return -ECANCELED;
		ret = read_disk(d->img, d->buf, part, at);
		if (ret) {
			state_error(&d->err, "disk %s cannot be read at %llu: %s", d->name,
				    (unsigned long long)at, strerror(-ret));
			return ret;
		}
		ret = send_piece(d, at, part);
		at += part;
		len -= part;
	}
	return ret;
}

/* The marked blocks from `block` on, as many as go at once; how many. */
static int copy_run(struct mirror_disk *d, uint64_t block, uint64_t *blocks)
{
	uint64_t at = block * DISK_LOG_BLOCK, hole = next_data(d->img, at, NBD_MAX_ZEROES) - at, len;
	uint64_t max = hole / DISK_LOG_BLOCK;

	/* The disk's last block may be short. */
	if (at + hole == d->img->size && hole % DISK_LOG_BLOCK)
		max++;
	hole = max;
	if (!max)
		max = PIECE / DISK_LOG_BLOCK;
	*blocks = disk_log_take(d->log, block, max);
	len = *blocks * DISK_LOG_BLOCK;
	if (len > d->img->size - at)
		len = d->img->size - at;
	if (!len)
		return 0;
	/* Only what is looked at with the marks taken away counts. */
	if (hole && next_data(d->img, at, len) - at >= len)
		return send_zeroes(d, at, (uint32_t)len);
	return copy_data(d, at, len);
}

static int flush(struct mirror_disk *d)
{
	uint64_t began = now_ns();
	int ret = nbd_flush(&d->nbd);

	atomic_store(&d->flush_ns, now_ns() - began);
	charge(d, REQUEST);
	return ret;
}

/* From the disk's begin to its end; *any: there was something to copy. */
static int pass(struct mirror_disk *d, bool *any)
{
	uint64_t block = 0, n, sum = 0, began = now_ns(), took;
	int ret = 0;

	d->data = 0;
	while (!ret && disk_log_next(d->log, &block)) {
		if (atomic_load(&d->of->stop))
			return -ECANCELED;
		ret = copy_run(d, block, &n);
		block += n ? n : 1;
		sum += n;
	}
	*any = sum;
	if (ret || !sum)
		return ret;
	ret = flush(d);
	took = now_ns() - began;
	if (took >= MIN_SAMPLE_NS && d->data >= MIN_SAMPLE)
		atomic_store(&d->rate, (uint64_t)((unsigned __int128)d->data * NS / took));
	return ret;
}

/* Until nobody writes any more, and nothing is left. */
static int passes(struct mirror_disk *d)
{
	struct mirror *m = d->of;
	struct timespec until;
	bool last = false, any;
	uint64_t at;
	int ret;

	for (;;) {
		ret = pass(d, &any);
		if (ret || (last && !any))
			return ret;
		if (!any)
			atomic_store(&d->flush_ns, 0);
		pthread_mutex_lock(&m->lock);
		if (!d->copied) {
			d->copied = true;
			pthread_cond_broadcast(&m->changed);
		}
		at = now_ns() + REST_NS;
		until = (struct timespec){ .tv_sec = (time_t)(at / NS), .tv_nsec = (long)(at % NS) };
		while (!m->finish && !atomic_load(&m->stop) &&
		       pthread_cond_timedwait(&m->changed, &m->lock, &until) != ETIMEDOUT)
			;
		last = m->finish;
		pthread_mutex_unlock(&m->lock);
		if (atomic_load(&m->stop))
			return -ECANCELED;
	}
}

static int mirror_one(struct mirror_disk *d)
{
	int ret = nbd_open(&d->nbd, d->sock, d->name);

	if (ret)
		return ret;
	if (d->nbd.size != d->img->size) {
		state_error(&d->err, "disk %s has %llu bytes here and %llu there", d->name,
			    (unsigned long long)d->img->size, (unsigned long long)d->nbd.size);
		return -EINVAL;
	}
	return passes(d) ?: nbd_flush(&d->nbd) ?: nbd_leave(&d->nbd);
}

static void *run(void *arg)
{
	struct mirror_disk *d = arg;
	struct mirror *m = d->of;
	int ret;

	d->buf = aligned_alloc(4096, PIECE);
	ret = d->buf ? mirror_one(d) : -ENOMEM;
	if (ret)
		failed(d, ret);
	free(d->buf);
	d->buf = NULL;
	pthread_mutex_lock(&m->lock);
	d->ret = ret;
	d->ended = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/* ------------------------------------------------------------------- all disks */

void mirror_init(struct mirror *m)
{
	pthread_condattr_t attr;

	memset(m, 0, sizeof(*m));
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->changed, &attr);
	pthread_condattr_destroy(&attr);
}

struct mirror_disk *mirror_add(struct mirror *m, const char *name, const struct image *img, uint64_t size, int sock)
{
	struct mirror_disk *d = m->nr < MIRROR_MAX ? &m->disk[m->nr] : NULL;

	if (!d)
		return NULL;
	d->log = disk_log_new(size);
	if (!d->log)
		return NULL;
	d->of = m;
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->img = img;
	d->sock = sock;
	m->nr++;
	return d;
}

/* Locked. The first failure; else 0, and whether all disks are so far. */
static int look(struct mirror *m, bool end, bool *all, struct state_error *err)
{
	*all = true;
	for (unsigned int i = 0; i < m->nr; i++) {
		struct mirror_disk *d = &m->disk[i];

		if (d->ended && d->ret) {
			*err = d->err;
			return d->ret;
		}
		*all &= end ? d->ended : d->copied;
	}
	return atomic_load(&m->stop) ? -ECANCELED : 0;
}

static int wait_all(struct mirror *m, bool end, struct state_error *err)
{
	bool all;
	int ret;

	pthread_mutex_lock(&m->lock);
	for (;;) {
		ret = look(m, end, &all, err);
		if (ret || all)
			break;
		pthread_cond_wait(&m->changed, &m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int mirror_copy(struct mirror *m, struct state_error *err)
{
	unsigned int i;

	for (i = 0; i < m->nr; i++) {
		if (sandbox_thread(&m->disk[i].thread, &(struct sandbox_thread){
				SANDBOX_MAIN, "mirror", .run = run, .arg = &m->disk[i] }))
			return state_error(err, "cannot start a thread for a disk");
		m->disk[i].started = true;
	}
	return wait_all(m, false, err);
}

int mirror_left(struct mirror *m, uint64_t *ns, struct state_error *err)
{
	bool all;
	int ret;

	*ns = 0;
	pthread_mutex_lock(&m->lock);
	ret = look(m, false, &all, err);
	pthread_mutex_unlock(&m->lock);
	for (unsigned int i = 0; i < m->nr && !ret; i++) {
		const struct mirror_disk *d = &m->disk[i];
		uint64_t bytes = disk_log_count(d->log) * DISK_LOG_BLOCK, rate = atomic_load(&d->rate);
		uint64_t needs = (uint64_t)((unsigned __int128)bytes * NS / (rate ? rate : GUESS)) + atomic_load(&d->flush_ns);

		*ns = needs > *ns ? needs : *ns;
	}
	return ret;
}

void mirror_hurry(struct mirror *m)
{
	pthread_mutex_lock(&m->lock);
	m->finish = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

int mirror_end(struct mirror *m, struct state_error *err)
{
	mirror_hurry(m);
	return wait_all(m, true, err);
}

void mirror_stop(struct mirror *m)
{
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->stop, true);
	for (unsigned int i = 0; i < m->nr; i++)
		shutdown(m->disk[i].sock, SHUT_RDWR);
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

void mirror_figures(const struct mirror_disk *d, uint64_t *total, uint64_t *left, uint64_t *wire)
{
	uint64_t dirty = disk_log_count(d->log) * DISK_LOG_BLOCK;

	*total = d->img->size;
	*left = dirty < d->img->size ? dirty : d->img->size;
	*wire = atomic_load(&d->wire);
}

void mirror_join(struct mirror *m)
{
	for (unsigned int i = 0; i < m->nr; i++) {
		if (m->disk[i].started)
			pthread_join(m->disk[i].thread, NULL);
		m->disk[i].started = false;
	}
}

void mirror_free(struct mirror *m)
{
	for (unsigned int i = 0; i < m->nr; i++)
		disk_log_free(m->disk[i].log);
	m->nr = 0;
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->changed);
}
