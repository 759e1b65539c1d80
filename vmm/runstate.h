/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether the guest runs, and who may make it stand still. The state changes on
 * the main thread only, between two rounds of the main loop, with the vCPUs
 * parked; machine_call() is how everything else gets there.
 */
#ifndef HVX_VMM_RUNSTATE_H
#define HVX_VMM_RUNSTATE_H

#include "machine.h"

enum run_state {
	RS_PRELAUNCH,		/* made, and never let run */
	RS_RUNNING,
	RS_PAUSED,		/* by the user */
	RS_DEBUG,		/* by a debugger (vmm/gdb.h) */
	RS_SHUTDOWN,		/* powered off, and preserved */
	RS_PANICKED,		/* crashed, and preserved */
	RS_SAVE_VM,		/* while its state is written */
	RS_RESTORE_VM,		/* while its state is read */
	RS_INMIGRATE,		/* waits for a migration to come */
	RS_FINISH_MIGRATE,	/* the last part of a migration */
	RS_POSTMIGRATE,		/* runs elsewhere now */
	RS_NR
};

enum run_state run_state(struct machine *m);	/* any thread */
const char *run_state_name(enum run_state s);	/* QMP's: "running" */

/*
 * Run fn(m, opaque) once on the main thread, soon, with all vCPUs parked and the
 * machine lock NOT held. Afterwards the vCPUs go on if the state is RS_RUNNING.
 * Calls run in the order in which they were made. Where the machine ends before,
 * fn is not called. Any thread. 0 or -ENOMEM.
 */
int machine_call(struct machine *m, void (*fn)(struct machine *m, void *opaque), void *opaque);

/*
 * In a machine_call(): let the guest stand still, in this state: devices touch no
 * guest memory and the guest's time stands (guest_time.h); event STOP. Where it stands already,
 * only the state changes.
 */
void machine_stop(struct machine *m, enum run_state why);
/* In a machine_call(): the other way; event RESUME. Where it runs: nothing. */
void machine_cont(struct machine *m);

/* The guest has begun, or arrived: whoever waits at --ready-fd hears of it. Main thread, once. */
void machine_say_ready(struct machine *m);

/* EV_STOP, as the control socket asks for it. */
void machine_quit(struct machine *m);

int run_state_init(struct machine *m);		/* 0 or -ENOMEM */
void run_state_free(struct machine *m);

#endif
