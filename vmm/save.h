/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine's state to and from a stream (docs/stream.md): memory, devices, vCPUs,
 * clocks. Save, snapshot and fork are made of these.
 */
#ifndef HVX_VMM_SAVE_H
#define HVX_VMM_SAVE_H

#include "machine.h"
#include "state.h"
#include "stream_ram.h"

/* How far a saving is. */
struct save_progress {
	uint64_t total, done, zero;	/* bytes of guest RAM */
	uint64_t written;		/* bytes that memory took in the stream */
	uint64_t elapsed_ns;
};

struct save_options {
	int fd;			/* where to; the saving's from now on, closed at its end */
	enum ram_form form;
	int level;		/* zstd's, 0: default */
	/*
	 * On the main thread, vCPUs parked, lock not held: all is in the file, or err says
	 * why not. The guest stands still; what becomes of it is done's matter.
	 */
	void (*done)(struct machine *m, void *opaque, const struct state_error *err);
	void *opaque;
};

/*
 * In a machine_call(), the guest stopped (RS_SAVE_VM). The parked vCPU threads do the
 * work while the main loop goes on. One saving at a time: -EBUSY. Other errors come
 * through done.
 */
int machine_save(struct machine *m, const struct save_options *o);
/*
 * In a machine_call(), the guest stopped: forks that were made of it (RAM_SHARED) use its memory as it
 * is now. Gives it memory of its own, so that it can go on. 0, or -errno with *err: it stands still.
 */
int machine_unshare(struct machine *m, struct state_error *err);
bool save_running(struct machine *m, struct save_progress *p);
/* The machine ends: makes an end of a saving under way. vCPUs are parked or gone. */
void save_abort(struct machine *m);

/*
 * m->load, behind its XML, into a machine as after machine_build() with its vCPU threads
 * parked. All of it is read and checked; on an error, after a message, the machine is
 * good for nothing but machine_free(). *clock_ns: what the guest's clock showed.
 */
int machine_load(struct machine *m, uint64_t *clock_ns);

/*
 * What a stream has before memory and behind it, for those who bring memory over in
 * another way. 0 or -errno with *err. Of the state: the guest stands still, lock not
 * held; saving holds it throughout, so out should be one to memory.
 */
int save_can(struct machine *m, struct state_error *err);	/* all that can be refused at once */
int save_machine(struct stream_out *out, struct machine *m, struct state_error *err);
int save_state(struct stream_out *out, struct machine *m, struct state_error *err);
int load_machine(struct stream_in *in, struct machine *m, struct state_error *err);
int load_state(struct stream_in *in, struct machine *m, uint64_t *clock_ns, struct state_error *err);

/* --- vCPUs: save_vcpu.c --- */
int vcpu_save(struct sbuf *b, struct vcpu *v, struct state_error *err);
int vcpu_load(struct sbuf *b, struct vcpu *v, struct state_error *err);
/*
 * What the module keeps in guest memory only while a vCPU runs (the paravirtual EOI) is
 * taken back. vCPUs parked; before memory is read for the last time.
 */
void vcpus_settle(struct machine *m);
int cpuid_save(struct sbuf *b, const struct machine *m);
/* Before the guest's first instruction here. tsc_khz: of the host that it comes from. */
int cpuid_load(struct sbuf *b, struct machine *m, uint32_t tsc_khz, struct state_error *err);

#endif
