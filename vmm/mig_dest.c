// SPDX-License-Identifier: GPL-2.0-only
/* The destination's end of a live migration. The source may be anyone: all that it sends is checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "mig.h"
#include "sandbox.h"

static int reply(struct stream_out *out, enum mig_reply code, const char *text)
{
	struct state_error ignored = { .text = "" };
	struct sbuf b = { 0 };
	int ret;

	sbuf_put_num(&b, code, 4);
	sbuf_put(&b, text, strlen(text));
	ret = b.failed ? -ENOMEM : stream_put(out, SEC_REPLY, b.data, b.len, &ignored);
	sbuf_free(&b);
	return ret;
}

void mig_refuse(int fd, const char *why)
{
	struct state_error ignored = { .text = "" };
	struct stream_out out;

	if (!stream_begin(&out, fd, 0, &ignored))
		reply(&out, MIG_REFUSED, why);
}

/* The next section, which must be of this type. */
static int want(struct stream_in *in, uint32_t type, struct sbuf *b, struct state_error *err)
{
	uint64_t plain, len;
	uint32_t got;
	int ret = stream_next(in, &got, b, &plain, &len, err);
	char name[5];

	if (ret || got == type)
		return ret;
	memcpy(name, stream_type_name(type), sizeof(name));	/* two names, one buffer */
	return state_error(err, "section %s where %s should be", stream_type_name(got), name);
}

static int read_head(struct mig_dest *d, struct sbuf *b, struct state_error *err)
{
	const uint8_t *id;
	const char *why;
	uint64_t version, streams, more;
	int ret = want(d->in, SEC_MIGRATE, b, err);

	if (ret)
		return ret;
	id = sbuf_get(b, MIG_ID);
	version = sbuf_get_num(b, 4);
	streams = sbuf_get_num(b, 4);
	more = version == MIG_VERSION_MORE ? sbuf_get_num(b, 4) : 0;
	if (b->failed || version < MIG_VERSION || version > MIG_VERSION_MORE)
		return state_error(err, "version %llu of the migration protocol; this hvx has %u",
				   (unsigned long long)version, MIG_VERSION_MORE);
	if (more & ~(uint64_t)MIG_POSTCOPY_MAY)
		return state_error(err, "features %#llx of the migration protocol, which this hvx has not",
				   (unsigned long long)more);
	d->post.wanted = more & MIG_POSTCOPY_MAY;
	why = !d->post.wanted ? NULL : d->ops->ready ? d->ops->ready(d->opaque) : "it is not there";
	if (why)
		return state_error(err, "post-copy: %s", why);
	if (streams != d->nr_streams)
		return state_error(err, "%llu streams are announced, %u are there",
				   (unsigned long long)streams, d->nr_streams);
	memcpy(d->id, id, MIG_ID);
	return d->ops->machine(d->opaque, d->in, err);
}

static int read_ram_head(struct mig_dest *d, struct sbuf *b, struct state_error *err)
{
	uint64_t form, chunk, size;
	int ret = want(d->in, SEC_RAM, b, err);

	if (ret)
		return ret;
	form = sbuf_get_num(b, 4);
	chunk = sbuf_get_num(b, 4);
	size = sbuf_get_num(b, 8);
	if (b->failed || sbuf_left(b) || form != RAM_LIVE || chunk != RAM_CHUNK)
		return state_error(err, "memory in a form that this hvx does not know");
	if (size != d->ram.size)
		return state_error(err, "%llu MiB of memory, the XML says %llu MiB",
				   (unsigned long long)size >> 20, (unsigned long long)d->ram.size >> 20);
	return 0;
}

/* Sections of memory until another one comes, which is in *b and *type. */
static int place_all(struct mig_dest *d, struct stream_in *in, unsigned int stream, struct sbuf *b,
		     uint32_t *type, struct state_error *err)
{
	struct mig_scratch *s = mig_scratch_new();
	uint64_t plain, len;
	int ret = s ? 0 : state_error(err, "out of memory");

	while (!ret) {
		ret = stream_next(in, type, b, &plain, &len, err);
		if (ret || *type != SEC_RAM_DIRTY)
			break;
		ret = mig_ram_place(&d->ram, s, b, stream, err);
	}
	mig_scratch_free(s);
	return ret;
}

/* ------------------------------------------------------------ further streams */

struct receiver {
	struct mig_dest *d;
	unsigned int stream;
	struct state_error err;
	int ret;
	pthread_t thread;
	bool started;
};

static void *receive_stream(void *arg)
{
	struct receiver *r = arg;
	struct mig_dest *d = r->d;
	struct stream_in in = { 0 };
	struct sbuf b = { 0 };
	const uint8_t *id;
	uint32_t type = 0;
	unsigned int i;
	int ret;

	ret = stream_open(&in, d->fd[r->stream], &r->err) ?: want(&in, SEC_STREAM, &b, &r->err);
	id = ret ? NULL : sbuf_get(&b, MIG_ID);
	if (!ret && (!id || memcmp(id, d->id, MIG_ID) || sbuf_get_num(&b, 4) != r->stream))
		ret = state_error(&r->err, "a stream of another migration");
	ret = ret ?: place_all(d, &in, r->stream, &b, &type, &r->err);
	if (!ret && type != SEC_END)
		ret = state_error(&r->err, "section %s on a stream for memory", stream_type_name(type));
	sbuf_free(&b);
	r->ret = ret;
	/* The others need not wait for what will not come; a word can still be sent. */
	for (i = 0; ret && i < d->nr_streams; i++)
		shutdown(d->fd[i], SHUT_RD);
	return NULL;
}

static int start_receivers(struct mig_dest *d, struct receiver *r, struct state_error *err)
{
	unsigned int i;

	for (i = 1; i < d->nr_streams; i++) {
		r[i] = (struct receiver){ .d = d, .stream = i };
		if (sandbox_thread(&r[i].thread, &(struct sandbox_thread){
				SANDBOX_MAIN, "receive-ram", .run = receive_stream, .arg = &r[i] }))
			return state_error(err, "cannot start a thread for a stream");
		r[i].started = true;
	}
	return 0;
}

static int join_receivers(struct mig_dest *d, struct receiver *r, int ret, struct state_error *err)
{
	unsigned int i;

	if (ret)
		for (i = 1; i < d->nr_streams; i++)
			shutdown(d->fd[i], SHUT_RDWR);
	for (i = 1; i < d->nr_streams; i++) {
		if (!r[i].started)
			continue;
		pthread_join(r[i].thread, NULL);
		if (r[i].ret) {
			/* What broke a stream is why the others ended. */
			*err = r[i].err;
			ret = r[i].ret;
		}
	}
	return ret;
}

/* ------------------------------------------------------------------ the whole */

static int receive_rounds(struct mig_dest *d, struct sbuf *b, bool *post, struct state_error *err)
{
	uint32_t type = 0;
	uint64_t last = 0;
	int ret;

	do {
		ret = place_all(d, d->in, 0, b, &type, err);
		if (ret)
			return ret;
		if (type != SEC_ROUND)
			return state_error(err, "section %s where memory should be",
					   stream_type_name(type));
		last = sbuf_get_num(b, 1);
		if (b->failed || last > (d->post.wanted ? MIG_ROUND_POSTCOPY : MIG_ROUND_LAST))
			return state_error(err, "section RNDE");
		atomic_fetch_add(&d->round, 1);
	} while (last == MIG_ROUND_MORE);
	*post = last == MIG_ROUND_POSTCOPY;
	return 0;
}

static int receive_ram(struct mig_dest *d, struct sbuf *b, struct state_error *err)
{
	struct receiver *r = calloc(d->nr_streams, sizeof(*r));
	bool post = false;
	int ret;

	if (!r)
		return state_error(err, "out of memory");
	ret = start_receivers(d, r, err) ?: receive_rounds(d, b, &post, err);
	ret = join_receivers(d, r, ret, err);
	free(r);
	return ret ?: post ? mig_post_missing(d, err) : 0;
}

static int commit(struct mig_dest *d, struct sbuf *b, struct state_error *err)
{
	uint64_t run_it;
	int ret = want(d->in, SEC_COMMIT, b, err);

	if (ret)
		return ret;
	run_it = sbuf_get_num(b, 1);
	if (b->failed || run_it > 1)
		return state_error(err, "section CMIT");
	return d->ops->commit(d->opaque, run_it, err);
}

int mig_dest_run(struct mig_dest *d)
{
	struct state_error err = { .text = "" };
	struct stream_out *out = &d->post.out;
	struct sbuf b = { 0 };
	int ret;

	ret = stream_begin(out, d->fd[0], 0, &err) ?:
	      read_head(d, &b, &err) ?:
	      reply(out, MIG_READY, "") ?:
	      read_ram_head(d, &b, &err) ?:
	      receive_ram(d, &b, &err) ?:
	      (d->post.on ? mig_post_load(d, &err) ?: mig_post_take(d, &err) :
	       d->ops->tail(d->opaque, d->in, &err) ?:
	       reply(out, MIG_LOADED, "") ?:
	       commit(d, &b, &err));
	if (ret)
		state_error(&err, "%s", strerror(-ret));
	/*
	 * It runs, whether the source hears of it or not; or it never will, and the source may
	 * know. What runs without all of its memory has said so already.
	 */
	if (!atomic_load(&d->post.phase)) {
		pthread_mutex_lock(&d->post.out_lock);
		reply(out, ret ? MIG_REFUSED : MIG_RUNNING, err.text);
		pthread_mutex_unlock(&d->post.out_lock);
		if (d->post.on)
			mig_post_drop(d);
	}
	d->err = err;
	sbuf_free(&b);
	return ret;
}
