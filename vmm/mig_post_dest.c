// SPDX-License-Identifier: GPL-2.0-only
/*
 * Post-copy, at the destination: the guest runs here and lacks pages. Three threads: the
 * migration's, which looks after connections; a listener, for each connection, which places
 * what comes; and whoever calls mig_dest_fault() for pages that somebody waits for.
 *
 * A page is absent as long as its bit in `missing` is set. A page with data is placed first
 * and loses its bit then. One of zeroes loses its bit first, and takes no room until
 * somebody touches it: then mig_dest_fault() places it, or the listener, where the fault came
 * before the bit had gone; both may, the second finds it there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mig.h"
#include "sandbox.h"

#define BIT(page)	(1ULL << (page) % 64)
#define MAX_TAIL	(256U << 20)	/* bytes of the state of devices and vCPUs */

void mig_dest_init(struct mig_dest *d, const struct mig_dest_ops *ops, void *opaque)
{
	d->ops = ops;
	d->opaque = opaque;
	d->post.new_fd = -1;
	pthread_mutex_init(&d->post.out_lock, NULL);
	pthread_mutex_init(&d->post.lock, NULL);
	pthread_cond_init(&d->post.changed, NULL);
}

/* A connection that nobody waits for any more: whoever made it shall not wait, either. */
static void drop_new(struct mig_dest *d)
{
	struct mig_post_dest *p = &d->post;

	pthread_mutex_lock(&p->lock);
	if (p->new_fd >= 0)
		close(p->new_fd);
	p->new_fd = -1;
	pthread_mutex_unlock(&p->lock);
}

void mig_dest_fini(struct mig_dest *d)
{
	drop_new(d);
	free((void *)d->post.missing);
	free((void *)d->post.waited);
	d->post.missing = d->post.waited = NULL;
	pthread_mutex_destroy(&d->post.out_lock);
	pthread_mutex_destroy(&d->post.lock);
	pthread_cond_destroy(&d->post.changed);
}

static bool has(_Atomic uint64_t *map, uint64_t page)
{
	return atomic_load(&map[page / 64]) & BIT(page);
}

static uint64_t map_words(const struct mig_dest *d)
{
	return d->ram.nr_chunks * MIG_CHUNK_WORDS;
}

static void set_phase(struct mig_dest *d, enum mig_phase phase)
{
	atomic_store(&d->post.phase, phase);
	d->ops->phase(d->opaque, phase);
}

/* ------------------------------------------------------------------- speaking */

/* What cannot be said shows to the listener: the connection is at its end. */
static void want_locked(struct mig_dest *d, uint64_t page)
{
	struct mig_post_dest *p = &d->post;
	struct state_error ignored = { .text = "" };
	struct sbuf b = { 0 };

	if (!p->connected)
		return;
	sbuf_put_num(&b, page, 8);
	if (b.failed || stream_put(&p->out, SEC_WANT, b.data, b.len, &ignored)) {
		p->connected = false;
		shutdown(p->out.fd, SHUT_RDWR);
	}
	sbuf_free(&b);
}

static int say_locked(struct mig_dest *d, enum mig_reply code, const char *text, struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret;

	sbuf_put_num(&b, code, 4);
	sbuf_put(&b, text, strlen(text));
	ret = b.failed ? -ENOMEM : stream_put(&d->post.out, SEC_REPLY, b.data, b.len, err);
	sbuf_free(&b);
	return ret;
}

static int say(struct mig_dest *d, enum mig_reply code)
{
	struct state_error ignored = { .text = "" };
	int ret = -ENOTCONN;

	pthread_mutex_lock(&d->post.out_lock);
	if (d->post.connected)
		ret = say_locked(d, code, "", &ignored);
	pthread_mutex_unlock(&d->post.out_lock);
	return ret;
}

/* From now on faults are told over `out`; those before now. */
static void connected(struct mig_dest *d)
{
	struct mig_post_dest *p = &d->post;
	uint64_t i, bits;

	pthread_mutex_lock(&p->out_lock);
	p->connected = true;
	for (i = 0; i < map_words(d) && p->connected; i++)
		for (bits = atomic_load(&p->missing[i]) & atomic_load(&p->waited[i]); bits; bits &= bits - 1)
			want_locked(d, i * 64 + (uint64_t)__builtin_ctzll(bits));
	pthread_mutex_unlock(&p->out_lock);
}

void mig_dest_fault(struct mig_dest *d, uint64_t offset)
{
	struct mig_post_dest *p = &d->post;
	uint64_t page = offset / RAM_PAGE, old;

	if (!p->on || offset >= d->ram.size)
		return;
	old = atomic_fetch_or(&p->waited[page / 64], BIT(page));
	if (!has(p->missing, page)) {
		d->ops->place(d->opaque, page * RAM_PAGE, NULL);
		return;
	}
	if (old & BIT(page))
		return;		/* it was asked for */
	atomic_fetch_add(&p->faults, 1);
	pthread_mutex_lock(&p->out_lock);
	want_locked(d, page);
	pthread_mutex_unlock(&p->out_lock);
}

/* ------------------------------------------------------------------ listening */

static int place_page(struct mig_dest *d, uint64_t page, const uint8_t *data, struct state_error *err)
{
	struct mig_post_dest *p = &d->post;
	int ret = 0;

	if (!has(p->missing, page))
		return state_error(err, "page %#llx, which was not missing", (unsigned long long)page);
	if (data)
		ret = d->ops->place(d->opaque, page * RAM_PAGE, data);
	if (ret)
		return state_error(err, "page %#llx cannot be put into memory: %s",
				   (unsigned long long)page, strerror(-ret));
	atomic_fetch_and(&p->missing[page / 64], ~BIT(page));
	atomic_fetch_sub(&p->left, 1);
	if (!data && has(p->waited, page))
		d->ops->place(d->opaque, page * RAM_PAGE, NULL);
	return 0;
}

static int place_chunk(struct mig_dest *d, struct mig_scratch *s, struct sbuf *b, struct state_error *err)
{
	struct mig_chunk c;
	uint64_t first;
	unsigned int i;
	int ret = mig_ram_unpack(&d->ram, s, b, 0, &c, err);

	first = ret ? 0 : c.offset / RAM_PAGE;
	for (i = 0; i < RAM_CHUNK_PAGES && !ret; i++) {
		if (mig_bit(c.map, i)) {
			ret = place_page(d, first + i, c.pages, err);
			c.pages += RAM_PAGE;
		} else if (mig_bit(c.zero, i)) {
			atomic_fetch_add(&d->ram.zero, 1);
			ret = place_page(d, first + i, NULL, err);
		}
	}
	return ret;
}

static int take_commit(struct mig_dest *d, struct sbuf *b, struct state_error *err)
{
	struct mig_post_dest *p = &d->post;
	uint64_t run = sbuf_get_num(b, 1);

	if (b->failed || sbuf_left(b) || run > 1 || p->given)
		return state_error(err, "section CMIT");
	pthread_mutex_lock(&p->lock);
	p->given = true;
	p->run = run;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* The guest, and all of its memory. */
static int take_all(struct mig_dest *d, struct state_error *err)
{
	struct mig_scratch *s = mig_scratch_new();
	struct sbuf b = { 0 };
	uint64_t plain, len;
	uint32_t type;
	int ret = s ? 0 : state_error(err, "out of memory");

	while (!ret && (!d->post.given || atomic_load(&d->post.left))) {
		ret = stream_next(d->in, &type, &b, &plain, &len, err);
		if (!ret && type != SEC_RAM_DIRTY && type != SEC_COMMIT)
			ret = state_error(err, "section %s where memory should be", stream_type_name(type));
		else if (!ret)
			ret = type == SEC_COMMIT ? take_commit(d, &b, err) : place_chunk(d, s, &b, err);
	}
	sbuf_free(&b);
	mig_scratch_free(s);
	return ret;
}

static void *hear(void *arg)
{
	struct mig_dest *d = arg;
	struct mig_post_dest *p = &d->post;
	struct state_error err = { .text = "" };
	int ret = take_all(d, &err);
	bool given;

	pthread_mutex_lock(&p->lock);
	if (ret)
		p->err = err;
	p->deaf = true;
	given = p->given;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (!given) {
		/* What is being loaded may wait for memory. Answers can still be said. */
		shutdown(d->fd[0], SHUT_RD);
		d->ops->forget(d->opaque);
	}
	return NULL;
}

static int start(struct mig_dest *d, struct state_error *err)
{
	d->post.deaf = false;
	if (sandbox_thread(&d->post.listener, &(struct sandbox_thread){
			SANDBOX_MAIN, "listen", .run = hear, .arg = d }))
		return state_error(err, "cannot start a thread");
	d->post.listening = true;
	return 0;
}

/* ------------------------------------------------------------------ the pause */

/* A connection that says it is the source's. */
static int greet(struct mig_dest *d, struct stream_in *in, int fd, struct state_error *err)
{
	struct mig_post_dest *p = &d->post;
	struct sbuf b = { 0 };
	uint64_t plain, len, i;
	uint32_t type = 0;
	uint64_t *map;
	bool same;
	int ret;

	ret = stream_open(in, fd, err) ?: stream_next(in, &type, &b, &plain, &len, err);
	same = !ret && type == SEC_RESUME && b.len == MIG_ID && !memcmp(b.data, d->id, MIG_ID);
	sbuf_free(&b);
	/* Nobody else speaks now: `connected` is false. */
	ret = ret ?: stream_begin(&p->out, fd, 0, err);
	if (!ret && !same) {
		say_locked(d, MIG_REFUSED, "this is another migration", err);
		return state_error(err, "a connection of another migration");
	}
	map = ret ? NULL : calloc(map_words(d), sizeof(*map));
	if (!map)
		return ret ?: state_error(err, "out of memory");
	for (i = 0; i < map_words(d); i++)
		map[i] = atomic_load(&p->missing[i]);
	ret = say_locked(d, MIG_RUNNING, "", err) ?: mig_map_send(&d->ram, map, &p->out, err);
	free(map);
	return ret;
}

/* The next connection; -1: this process ends. */
static int next_fd(struct mig_dest *d)
{
	struct mig_post_dest *p = &d->post;
	int fd;

	pthread_mutex_lock(&p->lock);
	while (p->new_fd < 0 && !p->over)
		pthread_cond_wait(&p->changed, &p->lock);
	fd = p->over ? -1 : p->new_fd;
	if (fd >= 0) {
		/* From here on mig_dest_stop() finds it. */
		close(d->fd[0]);
		d->fd[0] = fd;
		p->new_fd = -1;
	}
	pthread_mutex_unlock(&p->lock);
	return fd;
}

static int wait_paused(struct mig_dest *d)
{
	struct state_error err;
	int fd, ret;

	set_phase(d, MIG_POST_PAUSED);
	do {
		fd = next_fd(d);
		if (fd < 0)
			return -ESHUTDOWN;
		mig_patience(fd, MIG_PATIENCE_S);
		err = (struct state_error){ .text = "" };
		ret = greet(d, d->in, fd, &err);
		if (ret) {
			shutdown(fd, SHUT_RDWR);
			pthread_mutex_lock(&d->post.lock);
			d->post.err = err;
			pthread_mutex_unlock(&d->post.lock);
		}
	} while (ret);
	mig_patience(fd, 0);
	set_phase(d, MIG_POSTCOPY);
	return 0;
}

static void join(struct mig_dest *d)
{
	if (d->post.listening)
		pthread_join(d->post.listener, NULL);
	d->post.listening = false;
	if (!atomic_load(&d->post.left))
		return;
	shutdown(d->fd[0], SHUT_RDWR);
	pthread_mutex_lock(&d->post.out_lock);
	d->post.connected = false;
	pthread_mutex_unlock(&d->post.out_lock);
}

/* The guest runs. 0: it has all of its memory; -ESHUTDOWN. */
static int look_after(struct mig_dest *d)
{
	struct state_error err = { .text = "" };
	int ret = 0;

	for (;;) {
		join(d);
		if (!atomic_load(&d->post.left))
			break;
		ret = wait_paused(d);
		if (ret)
			return ret;
		if (!start(d, &err))
			connected(d);
	}
	say(d, MIG_ARRIVED);
	set_phase(d, MIG_COMPLETED);
	/* From now on none is taken. */
	drop_new(d);
	return 0;
}

/* ------------------------------------------------------------- for mig_dest.c */

int mig_post_missing(struct mig_dest *d, struct state_error *err)
{
	struct mig_post_dest *p = &d->post;
	uint64_t *map = calloc(map_words(d), sizeof(*map)), i;
	int ret;

	p->missing = calloc(map_words(d), sizeof(*p->missing));
	p->waited = calloc(map_words(d), sizeof(*p->waited));
	if (!map || !p->missing || !p->waited) {
		free(map);
		return state_error(err, "out of memory");
	}
	ret = mig_map_read(&d->ram, map, d->in, err);
	for (i = 0; i < map_words(d) && !ret; i++)
		atomic_store(&p->missing[i], map[i]);
	atomic_store(&p->left, mig_map_count(&d->ram, map));
	free(map);
	if (ret)
		return ret;
	/* What follows comes by the first stream. */
	d->ram.nr_streams = 1;
	p->on = true;
	return d->ops->missing(d->opaque, err);
}

/* To memory, since what comes behind it is needed while it is loaded. */
static int take_tail(struct mig_dest *d, struct stream_out *tail, struct state_error *err)
{
	struct sbuf b = { 0 };
	uint64_t plain, len;
	uint32_t type = 0;
	int ret = 0;

	while (!ret && type != SEC_CLOCK) {
		ret = stream_next(d->in, &type, &b, &plain, &len, err);
		if (!ret && type != SEC_DEVICE && type != SEC_VCPU && type != SEC_CLOCK)
			ret = state_error(err, "section %s where a device's state should be", stream_type_name(type));
		ret = ret ?: stream_put(tail, type, b.data, b.len, err);
		if (!ret && (tail->to->failed || tail->bytes > MAX_TAIL))
			ret = state_error(err, "the state of devices is too long");
	}
	sbuf_free(&b);
	return ret;
}

int mig_post_load(struct mig_dest *d, struct state_error *err)
{
	struct sbuf b = { 0 };
	struct stream_out tail = { .fd = -1, .to = &b };
	struct stream_in in = { .fd = -1, .from = &b };
	int ret = take_tail(d, &tail, err) ?: start(d, err);

	if (!ret) {
		connected(d);
		ret = d->ops->tail(d->opaque, &in, err);
	}
	sbuf_free(&b);
	return ret ?: say(d, MIG_LOADED);
}

int mig_post_take(struct mig_dest *d, struct state_error *err)
{
	struct mig_post_dest *p = &d->post;
	int ret = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->given && !p->deaf)
		pthread_cond_wait(&p->changed, &p->lock);
	if (!p->given) {
		ret = -EINVAL;
		*err = p->err;
	}
	pthread_mutex_unlock(&p->lock);
	ret = ret ?: d->ops->commit(d->opaque, p->run, err);
	if (ret)
		return ret;
	set_phase(d, MIG_POSTCOPY);
	/* Who does not hear of it sees that when the connection is made anew. */
	say(d, MIG_RUNNING);
	return look_after(d);
}

void mig_post_drop(struct mig_dest *d)
{
	shutdown(d->fd[0], SHUT_RD);
	if (d->post.listening)
		pthread_join(d->post.listener, NULL);
	d->post.listening = false;
	d->ops->forget(d->opaque);
}

/* ---------------------------------------------------------- from other threads */

bool mig_dest_pause(struct mig_dest *d)
{
	struct mig_post_dest *p = &d->post;
	bool can;

	pthread_mutex_lock(&p->lock);
	can = atomic_load(&p->phase) == MIG_POSTCOPY;
	if (can)
		shutdown(d->fd[0], SHUT_RDWR);
	pthread_mutex_unlock(&p->lock);
	return can;
}

bool mig_dest_resume(struct mig_dest *d, int fd)
{
	struct mig_post_dest *p = &d->post;
	int old = fd, phase;
	bool can;

	pthread_mutex_lock(&p->lock);
	phase = atomic_load(&p->phase);
	can = !p->over && (phase == MIG_POSTCOPY || phase == MIG_POST_PAUSED);
	if (can) {
		/* Whoever is here now knows better than a connection that may be dead. */
		shutdown(d->fd[0], SHUT_RDWR);
		old = p->new_fd;
		p->new_fd = fd;
		pthread_cond_broadcast(&p->changed);
	}
	pthread_mutex_unlock(&p->lock);
	if (old >= 0)
		close(old);
	return can;
}

void mig_dest_why(struct mig_dest *d, struct state_error *err)
{
	pthread_mutex_lock(&d->post.lock);
	*err = d->post.err;
	pthread_mutex_unlock(&d->post.lock);
}

void mig_dest_stop(struct mig_dest *d)
{
	struct mig_post_dest *p = &d->post;
	struct timespec soon;
	unsigned int i;

	/* The guest ended here: nobody needs its memory. Not worth waiting for where the source takes nothing. */
	clock_gettime(CLOCK_MONOTONIC, &soon);
	soon.tv_sec++;
	if (p->on && !pthread_mutex_clocklock(&p->out_lock, CLOCK_MONOTONIC, &soon)) {
		if (p->connected) {
			mig_patience(d->fd[0], 1);
			say_locked(d, MIG_ARRIVED, "", &(struct state_error){ .text = "" });
		}
		pthread_mutex_unlock(&p->out_lock);
	}
	pthread_mutex_lock(&p->lock);
	p->over = true;
	for (i = 0; i < d->nr_streams; i++)
		shutdown(d->fd[i], SHUT_RDWR);
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}
