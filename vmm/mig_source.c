// SPDX-License-Identifier: GPL-2.0-only
/* The source's end of a live migration. mig.h has the rule, docs/migration.md the order of things. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "mig.h"
#include "sandbox.h"

#define NS		1000000000ULL
#define ASK_S		5		/* for a word of a destination that has hung up */
#define MIN_SAMPLE_NS	(5 * NS / 1000)	/* a shorter round says nothing of the rate */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static void set_phase(struct mig_source *s, enum mig_phase phase)
{
	atomic_store(&s->phase, phase);
	s->ops->phase(s->opaque, phase);
}

static void hang_up(struct mig_source *s)
{
	unsigned int i;

	for (i = 0; i < s->nr_streams; i++)
		shutdown(s->fd[i], SHUT_RDWR);
	if (s->ops->disks_stop)
		s->ops->disks_stop(s->opaque);
}

void mig_source_init(struct mig_source *s, const struct mig_source_ops *ops, void *opaque)
{
	s->ops = ops;
	s->opaque = opaque;
	s->post.new_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->post.lock, NULL);
	pthread_cond_init(&s->post.changed, NULL);
}

void mig_source_fini(struct mig_source *s)
{
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->post.lock);
	pthread_cond_destroy(&s->post.changed);
}

bool mig_source_cancel(struct mig_source *s, bool late)
{
	bool done;

	pthread_mutex_lock(&s->lock);
	done = !s->committed;
	if (done || late) {
		atomic_store(&s->timed_out, late);
		atomic_store(&s->cancelled, done);
		atomic_store(&s->ram.stop, done);
		hang_up(s);
	}
	pthread_mutex_unlock(&s->lock);
	return done;
}

bool mig_source_commit(struct mig_source *s)
{
	pthread_mutex_lock(&s->lock);
	s->committed = !atomic_load(&s->cancelled);
	pthread_mutex_unlock(&s->lock);
	return s->committed;
}

bool mig_source_postcopy(struct mig_source *s)
{
	bool can;

	pthread_mutex_lock(&s->lock);
	can = s->postcopy && !s->settled && atomic_load(&s->phase) == MIG_ACTIVE;
	if (can)
		atomic_store(&s->ram.cut, true);
	pthread_mutex_unlock(&s->lock);
	return can;
}

/* Whether it ends as post-copy: from now on nobody changes that. */
static bool settle(struct mig_source *s)
{
	bool post;

	pthread_mutex_lock(&s->lock);
	s->settled = true;
	post = atomic_exchange(&s->ram.cut, false);
	pthread_mutex_unlock(&s->lock);
	return post;
}

/* ------------------------------------------------------------------- replies */

int mig_read_reply(struct mig_source *s, enum mig_reply *reply, struct state_error *err)
{
	struct state_error ignored = { .text = "" };
	uint64_t plain, plain_len, code;
	char text[MIG_MAX_TEXT];
	struct sbuf b = { 0 };
	uint32_t type = 0;
	int ret = 0;

	if (!s->in.bytes)
		ret = stream_open(&s->in, s->fd[0], &ignored);
	ret = ret ?: stream_next(&s->in, &type, &b, &plain, &plain_len, &ignored);
	code = ret ? 0 : sbuf_get_num(&b, 4);
	if (!ret && (type != SEC_REPLY || b.failed || code >= MIG_NR_REPLIES))
		ret = -EPROTO;
	if (!ret && code == MIG_REFUSED) {
		mig_clean_text(text, sizeof(text), b.data + b.pos, sbuf_left(&b));
		*err = (struct state_error){ .text = "" };
		state_error(err, "the destination says: %s", text);
		ret = -EREMOTE;
	} else if (ret) {
		state_error(err, ret == -EPROTO ? "the other side is no hvx that receives a guest" :
				 "the connection to the destination is lost");
		ret = -ECONNABORTED;
	}
	*reply = (enum mig_reply)code;
	sbuf_free(&b);
	return ret;
}

static int want_reply(struct mig_source *s, enum mig_reply want, struct state_error *err)
{
	enum mig_reply got;
	int ret = mig_read_reply(s, &got, err);

	if (!ret && got != want)
		return state_error(err, "the destination answers out of turn");
	return ret;
}

/* A write has failed: the destination may have said why before it hung up. */
static void ask_why(struct mig_source *s, int ret, struct state_error *err)
{
	struct timeval wait = { .tv_sec = ASK_S };
	struct state_error why = { .text = "" };
	enum mig_reply got;

	if ((ret != -EPIPE && ret != -ECONNRESET) || atomic_load(&s->cancelled))
		return;
	*err = (struct state_error){ .text = "" };
	shutdown(s->fd[0], SHUT_WR);
	setsockopt(s->fd[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (mig_read_reply(s, &got, &why) == -EREMOTE)
		*err = why;
}

/* -------------------------------------------------------------------- rounds */

struct sender {
	struct mig_source *s;
	unsigned int stream;
	struct mig_scratch *scratch;
	struct stream_out own, *out;	/* own: all but the first */
	struct state_error err;
	int ret;
	pthread_t thread;
};

static void *send_stream(void *arg)
{
	struct sender *w = arg;

	w->ret = mig_ram_send(&w->s->ram, w->scratch, w->out, w->stream, &w->err);
	return NULL;
}

/* All that the map has, on all streams at once. */
static int send_map(struct mig_source *s, struct sender *w, struct state_error *err)
{
	unsigned int i, n;
	int ret = 0;

	for (n = 1; n < s->nr_streams; n++)
		if (sandbox_thread(&w[n].thread, &(struct sandbox_thread){
				SANDBOX_MAIN, "send-ram", .run = send_stream, .arg = &w[n] }))
			break;
	send_stream(&w[0]);
	for (i = 1; i < n; i++)
		pthread_join(w[i].thread, NULL);
	for (; n < s->nr_streams; n++)
		send_stream(&w[n]);		/* without a thread, one after the other */
	for (i = 0; i < s->nr_streams && !ret; i++) {
		ret = w[i].ret;
		if (ret)
			*err = w[i].err;
	}
	return ret;
}

static int end_round(struct mig_source *s, enum mig_round round, struct state_error *err)
{
	uint8_t flag = (uint8_t)round;

	return stream_put(&s->out, SEC_ROUND, &flag, 1, err);
}

/* One round of the running guest: what the map has goes, and then shows what it wrote meanwhile. */
struct pace_info {
	uint64_t rate;		/* bytes of memory a second, the last measured */
	unsigned int behind;	/* rounds in which the guest wrote more than half of what went */
	unsigned int disks;	/* times that the disks have not caught up */
};

static int one_round(struct mig_source *s, struct sender *w, struct pace_info *p, struct state_error *err)
{
	uint64_t pages = mig_map_count(&s->ram, s->ram.map), began = now_ns(), took, dirty;
	int ret;

	atomic_store(&s->round_base, atomic_load(&s->ram.pages) + atomic_load(&s->ram.zero));
	atomic_store(&s->remaining, pages * RAM_PAGE);
	atomic_fetch_add(&s->round, 1);
	s->ops->pass(s->opaque, atomic_load(&s->round));
	ret = send_map(s, w, err) ?: end_round(s, MIG_ROUND_MORE, err) ?:
	      s->ops->sync(s->opaque, s->ram.map, err);
	if (ret)
		return ret;
	took = now_ns() - began;
	dirty = mig_map_count(&s->ram, s->ram.map);
	atomic_store(&s->round_base, atomic_load(&s->ram.pages) + atomic_load(&s->ram.zero));
	atomic_store(&s->remaining, dirty * RAM_PAGE);
	if (took >= MIN_SAMPLE_NS || !p->rate)
		p->rate = (uint64_t)((unsigned __int128)pages * RAM_PAGE * NS / (took ? took : 1));
	if (!p->rate)
		p->rate = 1;
	atomic_store(&s->dirty_rate, (uint64_t)((unsigned __int128)dirty * NS / (took ? took : 1)));
	atomic_store(&s->expected_ns, (uint64_t)((unsigned __int128)dirty * RAM_PAGE * NS / p->rate));
	p->behind = dirty * 2 > pages ? p->behind + 1 : 0;
	return 0;
}

/* Rounds do not get smaller: the guest gets less of the CPUs, more so each time. */
static void converge(struct mig_source *s, struct pace_info *p)
{
	unsigned int now = atomic_load(&s->throttle), max = atomic_load(&s->throttle_max);

	if (!atomic_load(&s->converge) || (p->behind < 2 && p->disks < 2))
		return;
	p->behind = p->disks = 0;
	now = now ? now + atomic_load(&s->throttle_step) : atomic_load(&s->throttle_first);
	if (now > max)
		now = max;
	atomic_store(&s->throttle, now);
	s->ops->throttle(s->opaque, now);
}

static bool time_to_stop(const struct mig_source *s)
{
	uint64_t force = atomic_load(&s->force_ns);

	return atomic_load(&s->expected_ns) + atomic_load(&s->disks_ns) <= atomic_load(&s->downtime_ns) ||
	       (force && now_ns() - atomic_load(&s->start_ns) >= force);
}

/*
 * Memory would fit into the downtime and the disks do not: time for them to catch up.
 * *waited: the guest has written to memory meanwhile.
 */
static int wait_disks(struct mig_source *s, struct pace_info *p, bool *waited, struct state_error *err)
{
	const struct timespec step = { .tv_nsec = NS / 50 };
	uint64_t until = now_ns() + NS, left = 0;
	int ret;

	for (*waited = false;; *waited = true) {
		ret = s->ops->disks_left ? s->ops->disks_left(s->opaque, &left, err) : 0;
		atomic_store(&s->disks_ns, left);
		if (ret || time_to_stop(s) || atomic_load(&s->ram.stop) ||
		    atomic_load(&s->expected_ns) > atomic_load(&s->downtime_ns))
			return ret;
		if (now_ns() >= until)
			break;
		nanosleep(&step, NULL);
	}
	p->disks++;
	return 0;
}

static int live_rounds(struct mig_source *s, struct sender *w, struct state_error *err)
{
	struct pace_info p = { 0 };
	bool waited;
	int ret = s->ops->first(s->opaque, s->ram.map, err);

	atomic_store(&s->remaining, mig_map_count(&s->ram, s->ram.map) * RAM_PAGE);
	while (!ret) {
		ret = one_round(s, w, &p, err) ?: wait_disks(s, &p, &waited, err);
		if (ret || atomic_load(&s->ram.cut) || (!waited && time_to_stop(s)))
			break;
		converge(s, &p);
	}
	return ret;
}

/* The guest stands still: the rest of its memory, and of its state. */
static int last_round(struct mig_source *s, struct sender *w, bool post, struct state_error *err)
{
	unsigned int i;
	int ret;

	set_phase(s, MIG_DEVICE);
	ret = s->ops->stop(s->opaque, &s->ran, err);
	if (ret)
		return ret;
	atomic_store(&s->stop_ns, now_ns());
	/* Nobody gains by slow bytes now. */
	atomic_store(&s->ram.limit, 0);
	ret = s->ops->sync(s->opaque, s->ram.map, err);
	atomic_fetch_add(&s->round, 1);
	if (post)
		ret = ret ?: end_round(s, MIG_ROUND_POSTCOPY, err);
	else
		ret = ret ?: send_map(s, w, err) ?: end_round(s, MIG_ROUND_LAST, err);
	for (i = 1; i < s->nr_streams && !ret; i++)
		ret = stream_end(w[i].out, err);
	if (post)
		ret = ret ?: mig_map_send(&s->ram, s->ram.map, &s->out, err);
	atomic_store(&s->round_base, atomic_load(&s->ram.pages) + atomic_load(&s->ram.zero));
	atomic_store(&s->remaining, mig_map_count(&s->ram, s->ram.map) * RAM_PAGE);
	if (!ret && s->ops->disks_end)
		ret = s->ops->disks_end(s->opaque, err);
	return ret ?: s->ops->tail(s->opaque, &s->out, err);
}

/* ------------------------------------------------------------- begin and end */

static int put_numbers(struct stream_out *out, uint32_t type, const uint32_t *num, unsigned int n,
		       const uint8_t *id, struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret;

	if (id)
		sbuf_put(&b, id, MIG_ID);
	while (n--)
		sbuf_put_num(&b, *num++, 4);
	ret = b.failed ? -ENOMEM : stream_put(out, type, b.data, b.len, err);
	sbuf_free(&b);
	return ret;
}

static int put_ram_head(struct mig_source *s, struct state_error *err)
{
	struct sbuf b = { 0 };
	int ret;

	sbuf_put_num(&b, RAM_LIVE, 4);
	sbuf_put_num(&b, RAM_CHUNK, 4);
	sbuf_put_num(&b, s->ram.size, 8);
	ret = b.failed ? -ENOMEM : stream_put(&s->out, SEC_RAM, b.data, b.len, err);
	sbuf_free(&b);
	return ret;
}

static int handshake(struct mig_source *s, struct sender *w, struct state_error *err)
{
	uint32_t head[3] = { s->postcopy ? MIG_VERSION_MORE : MIG_VERSION, s->nr_streams, MIG_POSTCOPY_MAY }, i;
	struct timespec ts;
	int ret;

	if (getrandom(s->id, sizeof(s->id), 0) != sizeof(s->id))
		return state_error(err, "no random numbers");
	clock_gettime(CLOCK_REALTIME, &ts);
	ret = stream_begin(&s->out, s->fd[0], (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec, err) ?:
	      s->ops->xml(s->opaque, &s->out, err) ?:
	      put_numbers(&s->out, SEC_MIGRATE, head, s->postcopy ? 3 : 2, s->id, err) ?:
	      s->ops->machine(s->opaque, &s->out, err);
	for (i = 1; i < s->nr_streams && !ret; i++)
		ret = stream_begin(&w[i].own, s->fd[i], 0, err) ?:
		      put_numbers(&w[i].own, SEC_STREAM, &i, 1, s->id, err);
	return ret ?: want_reply(s, MIG_READY, err) ?: put_ram_head(s, err);
}

/*
 * LOADED is here. What is written is COMMIT alone, and the destination needs all of it:
 * as long as the kernel has not taken its last byte, the guest is still this side's.
 */
static enum mig_phase switch_over(struct mig_source *s, struct state_error *err)
{
	uint8_t run = s->ran;
	bool released = false;
	int ret;

	if (!mig_source_commit(s))
		return atomic_load(&s->timed_out) ? MIG_FAILED : MIG_CANCELLED;
	ret = s->ops->release(s->opaque, err);
	released = true;
	if (!ret) {
		ret = stream_put(&s->out, SEC_COMMIT, &run, 1, err);
		if (!ret) {
			set_phase(s, MIG_COMMITTED);
			ret = want_reply(s, MIG_RUNNING, err);
			if (ret && ret != -EREMOTE)
				return MIG_UNCONFIRMED;
		}
	}
	if (!ret)
		return MIG_COMPLETED;
	if (released && s->ops->take_back(s->opaque, err))
		return MIG_UNCONFIRMED;
	return MIG_FAILED;
}

static enum mig_phase run(struct mig_source *s, struct sender *w, struct state_error *err)
{
	bool post = false;
	int ret;

	set_phase(s, MIG_SETUP);
	ret = handshake(s, w, err);
	atomic_store(&s->setup_ns, now_ns());
	if (!ret) {
		set_phase(s, MIG_ACTIVE);
		ret = s->ops->disks_copy ? s->ops->disks_copy(s->opaque, err) : 0;
		ret = ret ?: live_rounds(s, w, err);
		post = settle(s);
		ret = ret ?: last_round(s, w, post, err);
		if (!ret && post)
			return mig_post_run(s, w[0].scratch, err);
		ask_why(s, ret, err);
		ret = ret ?: want_reply(s, MIG_LOADED, err);
	} else {
		ask_why(s, ret, err);
	}
	if (!ret)
		return switch_over(s, err);
	return atomic_load(&s->cancelled) && !atomic_load(&s->timed_out) ? MIG_CANCELLED : MIG_FAILED;
}

enum mig_phase mig_source_run(struct mig_source *s)
{
	struct sender *w = calloc(s->nr_streams, sizeof(*w));
	struct state_error err = { .text = "" };
	enum mig_phase end = MIG_FAILED;
	bool memory = w;
	unsigned int i;

	atomic_store(&s->start_ns, now_ns());
	for (i = 0; w && i < s->nr_streams; i++) {
		w[i] = (struct sender){ .s = s, .stream = i, .scratch = mig_scratch_new() };
		w[i].out = i ? &w[i].own : &s->out;
		memory &= !!w[i].scratch;
	}
	if (memory)
		end = run(s, w, &err);
	else
		state_error(&err, "out of memory");
	if (atomic_load(&s->throttle))
		s->ops->throttle(s->opaque, 0);
	if (atomic_load(&s->timed_out) && end == MIG_FAILED)
		err = (struct state_error){ .text = "the destination takes too long" };
	state_error(&err, "the connection to the destination is lost");
	s->err = err;
	for (i = 0; w && i < s->nr_streams; i++)
		mig_scratch_free(w[i].scratch);
	free(w);
	hang_up(s);
	atomic_store(&s->end_ns, now_ns());
	atomic_store(&s->phase, end);
	s->ops->phase(s->opaque, end);
	return end;
}
