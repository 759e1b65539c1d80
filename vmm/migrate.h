/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Live migration of a machine: what mig.h's protocol needs of one, and the control
 * socket's commands for it. The machine of the source has a struct migration from the
 * first `migrate` on, that of the destination a struct incoming from its start.
 */
#ifndef HVX_VMM_MIGRATE_H
#define HVX_VMM_MIGRATE_H

#include "machine.h"
#include "mig.h"
#include "migrate_disks.h"
#include "postcopy.h"

/* machine_call(), and waiting on a migration's thread until it has run. */
struct migrate_call {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int (*fn)(struct machine *m, void *opaque);
	void *opaque;
	bool ran, gone;		/* gone: the machine ends, it will not run */
	int ret;
};

struct incoming {
	int fd[MIG_MAX_STREAMS];	/* connections; none: `migrate-incoming` brings them */
	unsigned int nr;
	struct stream_in in;		/* of fd[0]; bytes 0: the XML in it was not read yet */
	struct disks_in disks;		/* that come along */
	/* the rest is migrate_in.c's */
	struct machine *m;
	struct mig_dest d;
	pthread_t thread;
	bool begun, running, failed, done;
	_Atomic bool partial;	/* the guest runs, and memory of it is elsewhere */
	struct postcopy post;	/* the caller's postcopy_open() */
	uint64_t clock_ns;
	struct state_error err;		/* of a call on the main thread */
	bool run_it;
	struct migrate_call call;
};

void migrate_call_init(struct migrate_call *c);
/* What fn returns; -ESHUTDOWN: it did not run, and will not. One at a time. */
int migrate_call(struct machine *m, struct migrate_call *c, int (*fn)(struct machine *m, void *opaque),
		 void *opaque);
void migrate_call_abort(struct migrate_call *c);	/* main thread */
/* For all devices; where one fails, those before it are as they were. Lock not held. */
int devices_own(struct machine *m, bool own, struct state_error *err);

/* --- the destination: migrate_in.c --- */
int incoming_begin(struct machine *m);		/* 0 or -errno after a message */
bool incoming_failed(const struct machine *m);	/* that is why the VMM ends */
const char *incoming_status(const struct machine *m);	/* QMP's word; NULL: none came */
/*
 * The guest runs here and lacks memory. Threads may stand in the middle of anything until it
 * comes, so that such a machine is not taken apart: the process ends as if it were killed.
 */
bool incoming_partial(const struct machine *m);
/* Where the machine could not even be made: the reason, which was logged last. */
void incoming_refuse(struct incoming *in);

/* --- the source: migrate_out.c --- */
/* From the moment at which the guest was stopped for the move: nobody else lets it run. */
bool migrate_owns(struct machine *m);
bool migrate_running(struct machine *m);	/* under way, in any phase */

struct qmp_req;
/* "fd:NAME,NAME...": sockets that the client has sent. 0; else the request was answered. */
int migrate_take_fds(struct qmp_req *req, const char *uri, int *fd, unsigned int *nr);

/* Both, as the machine ends: vCPUs may run, lock not held. */
void migrate_abort(struct machine *m);
void migrate_out_abort(struct machine *m);
void migrate_in_abort(struct machine *m);

#endif
