/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Live migration: the protocol's two ends (docs/migration.md), each as one function on a
 * thread of its own. Neither knows a machine: what they need of one are operations, so
 * that both can be tried against each other, or against a liar, without a guest.
 *
 * The rule that all of it serves: the guest runs on at most one side, ever. Until the
 * source begins to write COMMIT, it alone may run the guest; from then on the source
 * lets it stand still, unless the destination says in so many words that it will not
 * run it. The destination runs it after it has read COMMIT whole, not before.
 */
#ifndef HVX_VMM_MIG_H
#define HVX_VMM_MIG_H

#include <pthread.h>
#include <stdatomic.h>
#include "stream_ram.h"

#define MIG_VERSION		1
#define MIG_VERSION_MORE	2	/* the same, and MIGR has features */
#define MIG_POSTCOPY_MAY	1U	/* feature: the guest may run there before its memory has come */
#define MIG_MAX_STREAMS		16
#define MIG_ID			16	/* bytes that tell one migration's connections from another's */
#define MIG_MAX_TEXT		512	/* of a refusal */

#define SEC_MIGRATE	STREAM_TYPE('M', 'I', 'G', 'R')	/* version, streams, id */
#define SEC_STREAM	STREAM_TYPE('S', 'T', 'R', 'M')	/* head of a further stream: id, number */
#define SEC_RAM_DIRTY	STREAM_TYPE('R', 'A', 'M', 'D')	/* pages of a chunk */
#define SEC_ROUND	STREAM_TYPE('R', 'N', 'D', 'E')	/* end of a round; enum mig_round */
#define SEC_COMMIT	STREAM_TYPE('C', 'M', 'I', 'T')	/* the guest is yours; 1: let it run */
#define SEC_REPLY	STREAM_TYPE('R', 'P', 'L', 'Y')	/* from the destination: enum mig_reply, text */

#define SEC_MISSING	STREAM_TYPE('M', 'I', 'S', 'S')	/* pages that the destination lacks; mig_map_send() */
#define SEC_WANT	STREAM_TYPE('W', 'A', 'N', 'T')	/* from the destination: number of a page, 8 bytes */
#define SEC_RESUME	STREAM_TYPE('R', 'S', 'U', 'M')	/* head of a connection that replaces a broken one: id */

#define RAM_LIVE	3U	/* "form" in section RAM: rounds follow */

enum mig_round {
	MIG_ROUND_MORE,
	MIG_ROUND_LAST,		/* the guest stands still, all of its memory has gone */
	MIG_ROUND_POSTCOPY,	/* it stands still, and MISS tells what goes while it runs there */
};

enum mig_reply {
	MIG_REFUSED,		/* will not run the guest, whatever comes; the text says why */
	MIG_READY,		/* machine and CPU fit: send memory */
	MIG_LOADED,		/* all of the state is here, checked and set */
	MIG_RUNNING,		/* runs the guest */
	MIG_ARRIVED,		/* post-copy: has all of its memory, or needs no more of it */
	MIG_NR_REPLIES
};

/* ------------------------------------------------------------- memory: mig_ram.c */

/* Either end of the memory's transfer. Chunk c travels on stream c % nr_streams. */
struct mig_ram {
	uint8_t *base;
	uint64_t size, nr_chunks;
	uint64_t *map;		/* source: pages to send; destination: pages that were written to */
	unsigned int nr_streams;
	bool compress;		/* source: by zstd, at level */
	int level;
	_Atomic uint64_t limit;	/* source: bytes a second, all streams together; 0: none */
	_Atomic uint64_t free_ns;	/* when the next bytes may go, by limit */
	_Atomic bool stop;	/* give up soon */
	_Atomic bool cut;	/* mig_ram_send(): leave the rest in the map */
	_Atomic uint64_t pages, zero, wire;	/* moved: pages with data, zero pages, bytes */
};

#define MIG_CHUNK_WORDS	(RAM_CHUNK_PAGES / 64)	/* of map, each chunk */

/* A section RAMD: bits of its pages, of zero ones, and those pages one after the other. */
struct mig_chunk {
	uint64_t offset;
	const uint8_t *map, *zero, *pages;
};

static inline bool mig_bit(const uint8_t *map, unsigned int i)
{
	return map[i / 8] >> i % 8 & 1;
}

int mig_ram_init(struct mig_ram *r, uint8_t *base, uint64_t size, unsigned int nr_streams);
void mig_ram_free(struct mig_ram *r);
/* What a thread needs for it. One a stream. */
struct mig_scratch;
struct mig_scratch *mig_scratch_new(void);		/* NULL: out of memory */
void mig_scratch_free(struct mig_scratch *s);
/* Send what map has of this stream's chunks, and clear it there. 0 or -errno, *err. */
int mig_ram_send(struct mig_ram *r, struct mig_scratch *s, struct stream_out *out,
		 unsigned int stream, struct state_error *err);
/* Wait for the turn of so many bytes, by limit. Any thread. */
void mig_ram_pace(struct mig_ram *r, size_t bytes);
/* The same of one chunk, and of these of its pages only (MIG_CHUNK_WORDS); NULL: all. */
int mig_ram_send_chunk(struct mig_ram *r, struct mig_scratch *s, struct stream_out *out,
		       uint64_t chunk, const uint64_t *only, struct state_error *err);
/* A section RAMD that came on this stream; *c points into b and s. -EINVAL, *err: a lie. */
int mig_ram_unpack(struct mig_ram *r, struct mig_scratch *s, struct sbuf *b, unsigned int stream,
		   struct mig_chunk *c, struct state_error *err);
/* The same, into memory. */
int mig_ram_place(struct mig_ram *r, struct mig_scratch *s, struct sbuf *b, unsigned int stream,
		  struct state_error *err);

/* ------------------------------------------- post-copy, what both ends share: mig_post.c */

/*
 * A map of all pages (nr_chunks * MIG_CHUNK_WORDS words) as sections MISS: number of the first
 * word, 8 bytes; words, 8 bytes each. Ascending; words of zeroes may be left out; one without
 * words ends it. mig_map_read(): into a map of zeroes.
 */
int mig_map_send(const struct mig_ram *r, const uint64_t *map, struct stream_out *out,
		 struct state_error *err);
int mig_map_read(const struct mig_ram *r, uint64_t *map, struct stream_in *in, struct state_error *err);
uint64_t mig_map_count(const struct mig_ram *r, const uint64_t *map);
/* What the other side says of itself is shown to people: one line of plain text. */
void mig_clean_text(char *to, size_t room, const uint8_t *text, size_t len);
/* A word must come within so many seconds; 0: any time. */
void mig_patience(int fd, unsigned int seconds);
#define MIG_PATIENCE_S	30

/* ---------------------------------------------------------- the source: mig_source.c */

enum mig_phase {
	MIG_SETUP, MIG_ACTIVE, MIG_DEVICE, MIG_COMMITTED,
	MIG_POSTCOPY,		/* the destination runs the guest, memory is on its way */
	MIG_POST_PAUSED,	/* the connection broke: this side keeps what the other lacks */
	MIG_POST_RECOVER,	/* there is a new one */
	/* ended: */
	MIG_COMPLETED,		/* the destination runs the guest */
	MIG_FAILED,		/* the guest is here, as if nothing had been */
	MIG_CANCELLED,		/* the same, by mig_source_cancel() */
	MIG_UNCONFIRMED,	/* COMMIT was written, no answer came: it may run there */
};

struct mig_source_ops {
	/* All on the migration's thread. 0 or -errno with *err. */
	/* Sections XML, MACH, CPUI; the protocol puts MIGR behind the XML. */
	int (*xml)(void *o, struct stream_out *out, struct state_error *err);
	int (*machine)(void *o, struct stream_out *out, struct state_error *err);
	/* Pages that have RAM behind them, into an empty map; and from now on, which are written to. */
	int (*first)(void *o, uint64_t *map, struct state_error *err);
	int (*sync)(void *o, uint64_t *map, struct state_error *err);
	int (*throttle)(void *o, unsigned int percent);	/* let vCPUs sleep so much of the time */
	void (*phase)(void *o, enum mig_phase phase);	/* tells of it */
	void (*pass)(void *o, unsigned int round);
	int (*stop)(void *o, bool *ran, struct state_error *err);	/* the guest stands still */
	int (*tail)(void *o, struct stream_out *out, struct state_error *err);	/* DEV, VCPU, CLCK */
	int (*release)(void *o, struct state_error *err);	/* what only one side may hold */
	int (*take_back)(void *o, struct state_error *err);	/* after release: it stays here */
	/*
	 * Disks that go along, on connections of their own; all NULL: there are none. Copy
	 * each once; how long the rest would take; after stop: all of it is there, and safe.
	 */
	int (*disks_copy)(void *o, struct state_error *err);
	int (*disks_left)(void *o, uint64_t *ns, struct state_error *err);
	int (*disks_end)(void *o, struct state_error *err);
	void (*disks_stop)(void *o);	/* any thread, any time: give up */
};

#define MIG_WANTS	1024U

/* After the state of devices, where memory follows. mig_post_source.c */
struct mig_post_source {
	pthread_mutex_t lock;	/* of what follows */
	pthread_cond_t changed;
	uint64_t want[MIG_WANTS];	/* pages that the destination waits for: a ring */
	unsigned int want_at, nr_want;
	bool broken;		/* the connection */
	bool loaded;		/* the destination has all but memory */
	bool sent;		/* COMMIT was */
	bool arrived, refused;
	bool confirmed;		/* the destination has said that it runs the guest */
	bool over;		/* this side ends */
	bool reclaim;		/* not confirmed: it goes on here, somebody has looked */
	int new_fd;		/* in the pause; -1: none yet */
	struct state_error err;	/* why it broke */
};

struct mig_source {
	const struct mig_source_ops *ops;
	void *opaque;
	int fd[MIG_MAX_STREAMS];	/* sockets; the caller's */
	unsigned int nr_streams;
	struct mig_ram ram;
	/* parameters, may change any time */
	_Atomic uint64_t downtime_ns;	/* the guest may stand still for so long */
	_Atomic uint64_t force_ns;	/* after so long, stop it whatever is left; 0: never */
	bool postcopy;			/* mig_source_postcopy() may be called; not after the start */
	_Atomic uint64_t post_limit;	/* bytes a second in post-copy, but for pages waited for; 0: none */
	_Atomic bool converge;		/* throttle where rounds do not get smaller */
	_Atomic unsigned int throttle_first, throttle_step, throttle_max;	/* percent */
	/* how far it is; read by any thread */
	_Atomic int phase;		/* enum mig_phase */
	_Atomic unsigned int round, throttle;
	_Atomic uint64_t remaining;	/* bytes of memory, at the beginning of the round */
	_Atomic uint64_t round_base;	/* pages that had gone by then */
	_Atomic uint64_t expected_ns;	/* downtime, at the rate measured */
	_Atomic uint64_t disks_ns;	/* the disks' part, on top */
	_Atomic uint64_t dirty_rate;	/* pages a second */
	_Atomic uint64_t start_ns, setup_ns, stop_ns, end_ns;	/* when */
	_Atomic bool cancelled, timed_out;
	pthread_mutex_t lock;		/* cancel against commit */
	bool committed;
	bool settled;			/* whether it ends as post-copy */
	bool ran;			/* the guest did when it was stopped */
	struct state_error err;		/* after the end: why not */
	struct stream_out out;
	struct stream_in in;
	uint8_t id[MIG_ID];
	struct mig_post_source post;
	_Atomic uint64_t wants;		/* pages that were waited for */
};

/* Before anything else, on zeroes; what is to be set comes after it. Partner of mig_source_fini(). */
void mig_source_init(struct mig_source *s, const struct mig_source_ops *ops, void *opaque);
void mig_source_fini(struct mig_source *s);

/* The whole of it; returns the phase in which it has ended. */
enum mig_phase mig_source_run(struct mig_source *s);
/*
 * Any thread: give up. False: too late, COMMIT is on its way. `late`: the peer has
 * taken too long; then this also ends the wait for what comes after COMMIT.
 */
bool mig_source_cancel(struct mig_source *s, bool late);

/*
 * Post-copy; any thread. The guest stops here soon and goes on there, its memory follows.
 * False: too early or too late, or s->postcopy is not set.
 */
bool mig_source_postcopy(struct mig_source *s);
/* The connection is closed, both sides keep what they have. False: not in post-copy. */
bool mig_source_pause(struct mig_source *s);
/* In the pause: go on over this socket, which is taken. False: there is no pause. */
bool mig_source_resume(struct mig_source *s, int fd);
/* In the pause, and not confirmed: the guest does not run there, it is to go on here. False: no. */
bool mig_source_reclaim(struct mig_source *s);
/* This process ends. */
void mig_source_over(struct mig_source *s);
/* Why there is a pause. */
void mig_source_why(struct mig_source *s, struct state_error *err);

/* The next reply; -ECONNABORTED: there is none; -EREMOTE: a refusal, the reason in *err. */
int mig_read_reply(struct mig_source *s, enum mig_reply *reply, struct state_error *err);
/* From here on the guest is not this side's to run. False: it was cancelled first. */
bool mig_source_commit(struct mig_source *s);
/* All after the state of devices was sent: the end. For mig_source.c. */
enum mig_phase mig_post_run(struct mig_source *s, struct mig_scratch *scratch, struct state_error *err);

/* ------------------------------------------------------- the destination: mig_dest.c */

struct mig_dest_ops {
	/* All on the migration's thread. 0 or -errno with *err. */
	int (*machine)(void *o, struct stream_in *in, struct state_error *err);	/* reads MACH, CPUI */
	int (*tail)(void *o, struct stream_in *in, struct state_error *err);	/* reads DEV, VCPU, CLCK */
	/*
	 * Take what only one side may hold, and let the guest run, or stand still. In post-copy
	 * this does not wait for memory: a connection that breaks is looked after when it has returned.
	 */
	int (*commit)(void *o, bool run, struct state_error *err);

	/* Post-copy; all NULL: there is none. */
	const char *(*ready)(void *o);	/* it may come, and no memory has: NULL, or why it cannot */
	/*
	 * d->post.missing is known: these pages become absent, and whoever touches an absent
	 * one waits, which is told by mig_dest_fault().
	 */
	int (*missing)(void *o, struct state_error *err);
	/* Put a page there; NULL: zeroes. Who waits goes on. -EEXIST: there is one. Any thread. */
	int (*place)(void *o, uint64_t offset, const uint8_t *page);
	/* The guest will not run: who waits finds zeroes. May come after none, and twice. */
	void (*forget)(void *o);
	void (*phase)(void *o, enum mig_phase phase);	/* MIG_POSTCOPY, MIG_POST_PAUSED, MIG_COMPLETED */
};

/* mig_post_dest.c */
struct mig_post_dest {
	bool wanted;			/* by the source: MIG_POSTCOPY_MAY */
	bool on;			/* there is a map */
	_Atomic uint64_t *missing;	/* pages that have not come */
	_Atomic uint64_t *waited;	/* that somebody touched */
	_Atomic uint64_t left, faults;	/* pages */
	_Atomic int phase;		/* enum mig_phase */
	pthread_mutex_t out_lock;	/* of out, and connected; outer */
	struct stream_out out;
	bool connected;
	pthread_mutex_t lock;		/* of what follows */
	pthread_cond_t changed;
	int new_fd;			/* -1: none */
	bool over;
	bool given, run;		/* COMMIT has come, and what it says */
	bool deaf;			/* nothing is listened to */
	struct state_error err;		/* why it is paused */
	pthread_t listener;
	bool listening;			/* there is one */
};

struct mig_dest {
	const struct mig_dest_ops *ops;
	void *opaque;
	struct stream_in *in;		/* behind its XML */
	int fd[MIG_MAX_STREAMS];	/* [0] is in's; the caller's */
	unsigned int nr_streams;
	struct mig_ram ram;
	_Atomic unsigned int round;
	uint8_t id[MIG_ID];
	struct state_error err;
	struct mig_post_dest post;
};

/* Before anything else, on zeroes. Partner of mig_dest_fini(). */
void mig_dest_init(struct mig_dest *d, const struct mig_dest_ops *ops, void *opaque);
void mig_dest_fini(struct mig_dest *d);

/*
 * 0: the guest is here, with all of its memory; in post-copy it has run since
 * ops->commit(). Else it never will be, d->err says why, and the peer was told; or, in
 * post-copy, mig_dest_stop() was called: then -ESHUTDOWN, and memory is missing.
 */
int mig_dest_run(struct mig_dest *d);
/* Any thread: it ends soon. In post-copy the source hears that it need not wait. */
void mig_dest_stop(struct mig_dest *d);

/* Post-copy; any thread but those that may touch absent memory. */
/* Somebody waits for this page. */
void mig_dest_fault(struct mig_dest *d, uint64_t offset);
/* Go on over this socket, which is taken, instead of the one there was. False: not in post-copy. */
bool mig_dest_resume(struct mig_dest *d, int fd);
bool mig_dest_pause(struct mig_dest *d);
void mig_dest_why(struct mig_dest *d, struct state_error *err);

/*
 * For mig_dest.c. MISS was announced. Then what the source sends of devices: while it is
 * loaded, memory may be touched. Then COMMIT. Each 0 or -errno, the last as mig_dest_run().
 */
int mig_post_missing(struct mig_dest *d, struct state_error *err);
int mig_post_load(struct mig_dest *d, struct state_error *err);
int mig_post_take(struct mig_dest *d, struct state_error *err);
/* After one that failed: nothing of it goes on. */
void mig_post_drop(struct mig_dest *d);
/* Before there is a machine: tell the peer why there will be none. */
void mig_refuse(int fd, const char *why);

#endif
