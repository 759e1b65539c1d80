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
#define MIG_MAX_STREAMS		16
#define MIG_ID			16	/* bytes that tell one migration's connections from another's */
#define MIG_MAX_TEXT		512	/* of a refusal */

#define SEC_MIGRATE	STREAM_TYPE('M', 'I', 'G', 'R')	/* version, streams, id */
#define SEC_STREAM	STREAM_TYPE('S', 'T', 'R', 'M')	/* head of a further stream: id, number */
#define SEC_RAM_DIRTY	STREAM_TYPE('R', 'A', 'M', 'D')	/* pages of a chunk */
#define SEC_ROUND	STREAM_TYPE('R', 'N', 'D', 'E')	/* end of a round; 1: it was the last */
#define SEC_COMMIT	STREAM_TYPE('C', 'M', 'I', 'T')	/* the guest is yours; 1: let it run */
#define SEC_REPLY	STREAM_TYPE('R', 'P', 'L', 'Y')	/* from the destination: enum mig_reply, text */

#define RAM_LIVE	3U	/* "form" in section RAM: rounds follow */

enum mig_reply {
	MIG_REFUSED,		/* will not run the guest, whatever comes; the text says why */
	MIG_READY,		/* machine and CPU fit: send memory */
	MIG_LOADED,		/* all of the state is here, checked and set */
	MIG_RUNNING,		/* runs the guest */
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
	_Atomic uint64_t pages, zero, wire;	/* moved: pages with data, zero pages, bytes */
};

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
/* A section RAMD that came on this stream, into memory. -EINVAL, *err: a lie. */
int mig_ram_place(struct mig_ram *r, struct mig_scratch *s, struct sbuf *b, unsigned int stream,
		  struct state_error *err);

/* ---------------------------------------------------------- the source: mig_source.c */

enum mig_phase {
	MIG_SETUP, MIG_ACTIVE, MIG_DEVICE, MIG_COMMITTED,
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

struct mig_source {
	const struct mig_source_ops *ops;
	void *opaque;
	int fd[MIG_MAX_STREAMS];	/* sockets; the caller's */
	unsigned int nr_streams;
	struct mig_ram ram;
	/* parameters, may change any time */
	_Atomic uint64_t downtime_ns;	/* the guest may stand still for so long */
	_Atomic uint64_t force_ns;	/* after so long, stop it whatever is left; 0: never */
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
	bool ran;			/* the guest did when it was stopped */
	struct state_error err;		/* after the end: why not */
	struct stream_out out;
	struct stream_in in;
	uint8_t id[MIG_ID];
};

/* The whole of it; returns the phase in which it has ended. */
enum mig_phase mig_source_run(struct mig_source *s);
/*
 * Any thread: give up. False: too late, COMMIT is on its way. `late`: the peer has
 * taken too long; then this also ends the wait for what comes after COMMIT.
 */
bool mig_source_cancel(struct mig_source *s, bool late);

/* ------------------------------------------------------- the destination: mig_dest.c */

struct mig_dest_ops {
	/* All on the migration's thread. 0 or -errno with *err. */
	int (*machine)(void *o, struct stream_in *in, struct state_error *err);	/* reads MACH, CPUI */
	int (*tail)(void *o, struct stream_in *in, struct state_error *err);	/* reads DEV, VCPU, CLCK */
	/* Take what only one side may hold, and let the guest run, or stand still. */
	int (*commit)(void *o, bool run, struct state_error *err);
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
};

/* 0: the guest is here. Else it never will be, s->err says why, and the peer was told. */
int mig_dest_run(struct mig_dest *d);
/* Any thread: it ends soon. */
void mig_dest_stop(struct mig_dest *d);
/* Before there is a machine: tell the peer why there will be none. */
void mig_refuse(int fd, const char *why);

#endif
