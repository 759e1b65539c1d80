/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that stands still sees no time go by: its paravirtual clock and the TSCs of
 * its vCPUs are noted for one moment, and go on from there, together. A kernel that
 * checks one by the other gives the TSC up where they differ.
 *
 * All: main thread, vCPUs parked.
 */
#ifndef VMM_GUEST_TIME_H
#define VMM_GUEST_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

/* In struct machine; the TSCs are in struct vcpu. */
struct guest_time {
	bool stands;		/* what follows is known */
	uint64_t clock_ns;	/* the paravirtual clock */
};

void guest_time_stop(struct machine *m);	/* note it */
void guest_time_go_on(struct machine *m);	/* nothing where it does not stand */

/* State was loaded, in which the clock shows this, and vCPU 0's TSC vcpu[0].tsc. */
void guest_time_loaded(struct machine *m, uint64_t clock_ns);

#endif
