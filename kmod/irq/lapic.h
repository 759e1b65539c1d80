/* SPDX-License-Identifier: GPL-2.0-only */
/* The local APIC as the kernel runs it: registers and timer. */
#ifndef _HVX_LAPIC_H
#define _HVX_LAPIC_H

#include "hvx.h"
#include "irq/lapic_core.h"

/*
 * The timer. Only the runner arms it; the hrtimer's callback says so to the
 * runner (HVX_REQ_TIMER), who looks at the clock again. So the hrtimer may fire
 * too early without harm, and a later or cancelled expiry leaves it alone:
 * guests move their deadline away far more often than it is reached.
 */
struct hvx_lapic {
	struct hvx_apic apic;
	struct hvx_vcpu *vcpu;
	int eoi_exit;		/* vector of a level EOI for userspace, -1 none */

	u64 deadline;		/* guest TSC, 0 = disarmed */
	u64 armed_tsc;		/* deadline that the hrtimer was started for; ~0: by target */
	u64 target;		/* other modes: CLOCK_MONOTONIC ns of the next expiry, 0 = stopped */
	u64 armed_ns;		/* when the hrtimer fires */
	bool armed;		/* cleared by the callback */
	struct hrtimer timer;
};

/* Who took a level-triggered message, until EOI. */
struct hvx_irqfd_resample {
	unsigned long took;	/* vCPUs by id */
	u8 vector;
};

static inline struct hvx_lapic *hvx_lapic_of(struct hvx_apic *a)
{
	return container_of(a, struct hvx_lapic, apic);
}

#endif
