/* SPDX-License-Identifier: GPL-2.0-only */
/* A machine's migration to elsewhere: between migrate_out.c, which does it, and migrate_qmp.c. */
#ifndef HVX_VMM_MIGRATE_OUT_H
#define HVX_VMM_MIGRATE_OUT_H

#include "migrate.h"
#include "migrate_disks.h"
#include "runstate.h"

struct migrate_params {
	uint64_t max_bandwidth;		/* bytes a second, 0: no limit */
	uint64_t post_bandwidth;	/* the same, for what nobody waits for in post-copy */
	uint64_t downtime_ms;
	uint64_t force_ms;		/* 0: never */
	bool zstd, converge, postcopy;
	int zstd_level;
	unsigned int throttle_first, throttle_step, throttle_max;	/* percent */
};

struct migration {
	struct machine *m;
	struct migrate_params p;
	struct mig_source s;		/* of the last one, or the one under way */
	struct migrate_disks disks;	/* the same */
	bool started;			/* there was one */
	bool running;			/* its thread is there */
	bool stopped;			/* the guest, by it */
	bool tail_began;
	enum run_state before;
	pthread_t thread;
	struct migrate_call call;
	unsigned int throttle;		/* percent; machine lock */
	struct loop_timer *watch, *nap;
};

/* Made with the first command about it. NULL: out of memory. Machine lock. */
struct migration *migrate_get(struct machine *m);
/* Before it, and then migrate_disks_add() for each disk that goes along. Lock held. */
void migrate_prepare(struct migration *mg);
/*
 * In a machine_call(), lock held: begin, to these sockets, which are taken. 0; or
 * -EINVAL with *err, and they were closed.
 */
int migrate_begin(struct migration *mg, const int *fd, unsigned int nr, struct state_error *err);
/* The parameters to a migration under way. */
void migrate_apply(struct migration *mg);
const char *migrate_status(const struct migration *mg);	/* QMP's word */
/* What is unconfirmed: the guest goes on here. In a machine_call(), lock not held. */
int migrate_recover(struct migration *mg, struct state_error *err);

#endif
