// SPDX-License-Identifier: GPL-2.0-only
/*
 * Post-copy, at the source: the guest stands still here and is about to run at the
 * destination, or does, and this side has the newest copy of what is missing there. The thread of the migration sends,
 * pages that are waited for first; a second one, for each connection, listens. Where the
 * connection breaks, this side waits for another, and then begins with what the
 * destination says is missing: what was sent and did not arrive is among it.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mig.h"
#include "sandbox.h"

#define NS	1000000000ULL
#define ASK_S	5	/* for the last words of a destination that takes nothing more */

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

/* ----------------------------------------------------------------- listening */

/* The sender falls behind a destination that asks without end: then it is not listened to. */
static int take_want(struct mig_source *s, struct sbuf *b, struct state_error *err)
{
	struct mig_post_source *p = &s->post;
	uint64_t page = sbuf_get_num(b, 8);

	if (b->failed || sbuf_left(b) || page >= s->ram.size / RAM_PAGE)
		return state_error(err, "the destination wants a page that there is not");
	pthread_mutex_lock(&p->lock);
	while (p->nr_want == MIG_WANTS && !p->broken && !p->over)
		pthread_cond_wait(&p->changed, &p->lock);
	if (p->nr_want < MIG_WANTS)
		p->want[(p->want_at + p->nr_want++) % MIG_WANTS] = page;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

static int take_reply(struct mig_source *s, struct sbuf *b, struct state_error *err)
{
	struct mig_post_source *p = &s->post;
	uint64_t code = sbuf_get_num(b, 4);
	char text[MIG_MAX_TEXT];
	int ret = 0;

	pthread_mutex_lock(&p->lock);
	if (b->failed || p->arrived) {
		ret = -EPROTO;
	} else if (code == MIG_LOADED && !p->loaded) {
		p->loaded = true;
		pthread_cond_broadcast(&p->changed);
	} else if (code == MIG_RUNNING && p->sent && !p->confirmed) {
		p->confirmed = true;
	} else if (code == MIG_ARRIVED && p->confirmed) {
		p->arrived = true;
	} else if (code == MIG_REFUSED && !p->confirmed) {
		mig_clean_text(text, sizeof(text), b->data + b->pos, sbuf_left(b));
		state_error(err, "the destination says: %s", text);
		p->refused = true;
	} else {
		ret = -EPROTO;
	}
	pthread_mutex_unlock(&p->lock);
	if (ret)
		return state_error(err, "the destination answers out of turn");
	if (code == MIG_RUNNING)
		set_phase(s, MIG_POSTCOPY);
	return code == MIG_ARRIVED || code == MIG_REFUSED;
}

/* 0: go on; else there is nothing more to hear. */
static int take_word(struct mig_source *s, struct sbuf *b, struct state_error *err)
{
	uint64_t plain, len;
	uint32_t type;
	int ret;

	ret = s->in.bytes ? 0 : stream_open(&s->in, s->fd[0], err);
	ret = ret ?: stream_next(&s->in, &type, b, &plain, &len, err);
	if (ret)
		return ret;
	if (type == SEC_WANT)
		return take_want(s, b, err);
	if (type == SEC_REPLY)
		return take_reply(s, b, err);
	return state_error(err, "the destination answers out of turn");
}

static void broken(struct mig_source *s, const struct state_error *err)
{
	struct mig_post_source *p = &s->post;

	pthread_mutex_lock(&p->lock);
	if (!p->broken)
		p->err = *err;
	p->broken = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	shutdown(s->fd[0], SHUT_RDWR);
}

static void *listen_back(void *arg)
{
	struct mig_source *s = arg;
	struct state_error err = { .text = "" };
	struct sbuf b = { 0 };

	while (!take_word(s, &b, &err))
		;
	broken(s, &err);
	sbuf_free(&b);
	return NULL;
}

/* ------------------------------------------------------------------- sending */

struct job {
	uint64_t word, only[MIG_CHUNK_WORDS];
	uint64_t at;		/* where the background goes on */
	uint64_t left;		/* pages in the map */
	uint64_t last;		/* when it sent something; 0: never */
};

static void pick(struct job *j, uint64_t word, uint64_t bits)
{
	memset(j->only, 0, sizeof(j->only));
	j->only[word % MIG_CHUNK_WORDS] = bits;
	j->word = j->at = word;
	j->left -= (uint64_t)__builtin_popcountll(bits);
}

/* Somebody waits for it there. False: it has gone. */
static bool pick_want(struct mig_source *s, struct job *j)
{
	struct mig_post_source *p = &s->post;
	uint64_t page = p->want[p->want_at], bit = 1ULL << page % 64;

	p->want_at = (p->want_at + 1) % MIG_WANTS;
	p->nr_want--;
	pthread_cond_broadcast(&p->changed);
	if (!(s->ram.map[page / 64] & bit))
		return false;
	atomic_fetch_add(&s->wants, 1);
	pick(j, page / 64, bit);
	return true;
}

/* What is next to what was sent last, since it is likely to be wanted. There is something. */
static void pick_any(struct mig_source *s, struct job *j)
{
	uint64_t words = s->ram.nr_chunks * MIG_CHUNK_WORDS, word = j->at;

	while (!s->ram.map[word])
		word = word + 1 < words ? word + 1 : 0;
	pick(j, word, s->ram.map[word]);
}

/* p->lock held; false: it was not changed by then. */
static bool wait_until(struct mig_post_source *p, uint64_t when)
{
	struct timespec ts = { .tv_sec = (time_t)(when / NS), .tv_nsec = (long)(when % NS) };

	return !pthread_cond_clockwait(&p->changed, &p->lock, CLOCK_MONOTONIC, &ts);
}

/* The background waits for its turn, and while it does, for what somebody wants. */
static bool its_turn(struct mig_source *s, struct job *j)
{
	uint64_t limit = atomic_load(&s->post_limit), now = now_ns();
	uint64_t turn = limit && j->last ? j->last + 64 * RAM_PAGE * NS / limit : 0;

	if (now < turn) {
		/* In short steps: the limit may change. */
		wait_until(&s->post, now + NS / 20 < turn ? now + NS / 20 : turn);
		return false;
	}
	j->last = now;
	return true;
}

enum what { NOTHING, PAGES, COMMIT };

/* Until COMMIT only what is waited for goes; the guest may have to stay. */
static enum what next_job(struct mig_source *s, struct job *j)
{
	struct mig_post_source *p = &s->post;
	enum what what = NOTHING;

	pthread_mutex_lock(&p->lock);
	while (what == NOTHING && !p->broken && !p->over) {
		if (p->nr_want) {
			what = pick_want(s, j) ? PAGES : NOTHING;
		} else if (p->loaded && !p->sent) {
			what = COMMIT;
		} else if (!j->left || !p->sent) {
			pthread_cond_wait(&p->changed, &p->lock);
		} else if (its_turn(s, j)) {
			pick_any(s, j);
			what = PAGES;
		}
	}
	pthread_mutex_unlock(&p->lock);
	return what;
}

/* As long as the kernel has not taken COMMIT's last byte the guest is this side's. */
static int give(struct mig_source *s, struct state_error *err)
{
	struct mig_post_source *p = &s->post;
	uint8_t run = s->ran;
	int ret;

	if (!mig_source_commit(s))
		return -ECANCELED;
	ret = s->ops->release(s->opaque, err);
	if (ret)
		return ret;
	pthread_mutex_lock(&p->lock);
	p->sent = true;		/* the answer may come at once */
	pthread_mutex_unlock(&p->lock);
	set_phase(s, MIG_COMMITTED);
	ret = stream_put(&s->out, SEC_COMMIT, &run, 1, err);
	if (!ret)
		return 0;
	pthread_mutex_lock(&p->lock);
	p->sent = false;
	pthread_mutex_unlock(&p->lock);
	return ret;
}

/* One connection, to its end. */
static void converse(struct mig_source *s, struct mig_scratch *scratch)
{
	struct job j = { .left = mig_map_count(&s->ram, s->ram.map) };
	struct mig_post_source *p = &s->post;
	struct state_error err = { .text = "" };
	pthread_t listener;
	enum what what;
	uint64_t until;
	int ret = 0;

	pthread_mutex_lock(&p->lock);
	p->broken = false;
	p->nr_want = 0;
	pthread_mutex_unlock(&p->lock);
	atomic_store(&s->round_base, atomic_load(&s->ram.pages) + atomic_load(&s->ram.zero));
	atomic_store(&s->remaining, j.left * RAM_PAGE);
	if (sandbox_thread(&listener, &(struct sandbox_thread){
			SANDBOX_MAIN, "listen", .run = listen_back, .arg = s })) {
		state_error(&err, "cannot start a thread");
		broken(s, &err);
		return;
	}
	while (!ret && (what = next_job(s, &j)) != NOTHING)
		ret = what == COMMIT ? give(s, &err) :
		      mig_ram_send_chunk(&s->ram, scratch, &s->out, j.word / MIG_CHUNK_WORDS, j.only, &err);
	/* What the other side said before it hung up counts for more than that it did. */
	if (ret) {
		shutdown(s->fd[0], SHUT_WR);
		until = now_ns() + ASK_S * NS;
		pthread_mutex_lock(&p->lock);
		while (!p->broken && !p->over && wait_until(p, until))
			;
		pthread_mutex_unlock(&p->lock);
	}
	broken(s, &err);
	pthread_join(listener, NULL);
	if (!p->sent && !p->refused)
		/* Why this side gave up; that the other has hung up needs no more words. */
		p->err = ret == -EPIPE || ret == -ECONNRESET ? (struct state_error){ .text = "" } : err;
}

/* ------------------------------------------------------------------ the pause */

static int greet_again(struct mig_source *s, struct state_error *err)
{
	enum mig_reply reply;
	int ret;

	memset(&s->in, 0, sizeof(s->in));
	ret = stream_begin(&s->out, s->fd[0], 0, err) ?:
	      stream_put(&s->out, SEC_RESUME, s->id, sizeof(s->id), err) ?:
	      mig_read_reply(s, &reply, err);
	if (ret)
		return ret;
	if (reply != MIG_RUNNING)
		return state_error(err, "the destination answers out of turn");
	s->post.confirmed = true;
	memset(s->ram.map, 0, s->ram.nr_chunks * MIG_CHUNK_WORDS * sizeof(*s->ram.map));
	return mig_map_read(&s->ram, s->ram.map, &s->in, err);
}

static void hang_up(struct mig_source *s, const struct state_error *why)
{
	shutdown(s->fd[0], SHUT_RDWR);
	pthread_mutex_lock(&s->post.lock);
	s->post.err = *why;
	pthread_mutex_unlock(&s->post.lock);
}

static bool recover(struct mig_source *s, int fd)
{
	struct state_error err = { .text = "" };
	int ret;

	s->ops->phase(s->opaque, MIG_POST_RECOVER);
	pthread_mutex_lock(&s->lock);
	close(s->fd[0]);
	s->fd[0] = fd;
	pthread_mutex_unlock(&s->lock);
	mig_patience(fd, MIG_PATIENCE_S);
	ret = greet_again(s, &err);
	mig_patience(fd, 0);
	if (!ret) {
		set_phase(s, MIG_POSTCOPY);
		return true;
	}
	hang_up(s, &err);
	return false;
}

static bool go_on_here(struct mig_source *s)
{
	struct state_error err = { .text = "" };

	if (!s->ops->take_back(s->opaque, &err))
		return true;
	hang_up(s, &err);
	return false;
}

/* MIG_POST_RECOVER: there is another connection, and the map tells what is missing there. */
static enum mig_phase wait_paused(struct mig_source *s)
{
	struct mig_post_source *p = &s->post;
	bool over, reclaim;
	int fd;

	for (;;) {
		set_phase(s, MIG_POST_PAUSED);
		pthread_mutex_lock(&p->lock);
		while (!p->over && !p->reclaim && p->new_fd < 0)
			pthread_cond_wait(&p->changed, &p->lock);
		over = p->over;
		reclaim = p->reclaim;
		fd = over || reclaim ? -1 : p->new_fd;
		p->reclaim = false;
		if (fd >= 0)
			p->new_fd = -1;
		pthread_mutex_unlock(&p->lock);
		if (over)
			return MIG_UNCONFIRMED;
		if (fd >= 0 && recover(s, fd))
			return MIG_POST_RECOVER;
		if (reclaim && go_on_here(s))
			return MIG_FAILED;
	}
}

enum mig_phase mig_post_run(struct mig_source *s, struct mig_scratch *scratch, struct state_error *err)
{
	struct mig_post_source *p = &s->post;
	enum mig_phase end = MIG_POST_RECOVER;

	while (end == MIG_POST_RECOVER) {
		converse(s, scratch);
		if (p->arrived)
			end = MIG_COMPLETED;
		else if (!p->sent && !s->committed)	/* nothing was let go of */
			end = atomic_load(&s->cancelled) && !atomic_load(&s->timed_out) ? MIG_CANCELLED : MIG_FAILED;
		else if (p->refused || !p->sent)
			end = s->ops->take_back(s->opaque, err) ? MIG_UNCONFIRMED : MIG_FAILED;
		else
			end = wait_paused(s);
	}
	pthread_mutex_lock(&p->lock);
	if (p->new_fd >= 0)
		close(p->new_fd);
	p->new_fd = -1;
	pthread_mutex_unlock(&p->lock);
	if (!err->text[0])
		*err = p->err;
	return end;
}

/* ---------------------------------------------------------- from other threads */

static bool in_pause(struct mig_source *s)
{
	return atomic_load(&s->phase) == MIG_POST_PAUSED;
}

bool mig_source_pause(struct mig_source *s)
{
	bool can = atomic_load(&s->phase) == MIG_POSTCOPY;

	pthread_mutex_lock(&s->lock);
	if (can)
		shutdown(s->fd[0], SHUT_RDWR);
	pthread_mutex_unlock(&s->lock);
	return can;
}

bool mig_source_resume(struct mig_source *s, int fd)
{
	struct mig_post_source *p = &s->post;
	bool can;

	pthread_mutex_lock(&p->lock);
	can = in_pause(s) && !p->reclaim;
	if (can) {
		p->new_fd = fd;
		atomic_store(&s->phase, MIG_POST_RECOVER);
	}
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (!can)
		close(fd);
	return can;
}

bool mig_source_reclaim(struct mig_source *s)
{
	struct mig_post_source *p = &s->post;
	bool can;

	pthread_mutex_lock(&p->lock);
	can = in_pause(s) && !p->confirmed;
	p->reclaim |= can;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return can;
}

void mig_source_over(struct mig_source *s)
{
	struct mig_post_source *p = &s->post;

	mig_source_cancel(s, true);
	pthread_mutex_lock(&p->lock);
	p->over = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	/* A connection that came between the two. */
	mig_source_cancel(s, true);
}

void mig_source_why(struct mig_source *s, struct state_error *err)
{
	pthread_mutex_lock(&s->post.lock);
	*err = s->post.err;
	pthread_mutex_unlock(&s->post.lock);
}
