/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The local APIC (SDM vol. 3, chapter "Advanced Programmable Interrupt
 * Controller"). lapic.c and route.c also build for the host's unit tests.
 *
 * IRR (or what stands for it: `posts`), TMR, irr_words and esr_pending are
 * changed by any context, with atomic operations. Everything else belongs to the
 * vCPU's runner; others may read mode, accepting, LDR, DFR and LVT entries with
 * READ_ONCE().
 */
#ifndef _HVX_LAPIC_H
#define _HVX_LAPIC_H

#include "backend.h"

/* Registers: xAPIC page offset / 16 = x2APIC MSR - 0x800. ISR, TMR and IRR are 8 each. */
enum {
	AREG_ID = 0x02, AREG_VERSION,
	AREG_TPR = 0x08, AREG_APR, AREG_PPR, AREG_EOI, AREG_RRD, AREG_LDR, AREG_DFR, AREG_SVR,
	AREG_ISR = 0x10, AREG_TMR = 0x18, AREG_IRR = 0x20, AREG_ESR = 0x28,
	AREG_ICR = 0x30, AREG_ICR2, AREG_LVT, AREG_TMICT = 0x38, AREG_TMCCT,
	AREG_TDCR = 0x3e, AREG_SELF_IPI, AREG_NR,
	AREG_MSR = 0x800,	/* x2APIC MSR of register 0 */
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, HVX_LVT_NR };
#define LVT_MASKED		(1U << 16)
#define LVT_TIMER_MODE(v)	(((v) >> 17) & 3)
enum { LVT_ONESHOT, LVT_PERIODIC, LVT_DEADLINE };

#define SVR_ENABLE		(1U << 8)
#define SVR_NO_EOI_BROADCAST	(1U << 12)

/* Interrupt messages: ICR, LVT and MSI data share these */
#define MSG_VECTOR(v)		((u8)(v))
#define MSG_MODE(v)		(((u32)(v) >> 8) & 7)
enum { MSG_FIXED, MSG_LOWEST, MSG_SMI, MSG_NMI = 4, MSG_INIT, MSG_SIPI, MSG_EXTINT };
#define MSG_LOGICAL		(1U << 11)
#define ICR_BUSY		(1U << 12)
#define MSG_ASSERT		(1U << 14)
#define MSG_LEVEL		(1U << 15)
#define ICR_SHORTHAND(v)	(((u32)(v) >> 18) & 3)
enum { SHORT_NONE, SHORT_SELF, SHORT_ALL, SHORT_OTHERS };
#define LAPIC_BROADCAST		0xffffffffU

#define BASE_BSP		(1ULL << 8)
#define BASE_X2APIC		(1ULL << 10)
#define BASE_ENABLE		(1ULL << 11)
#define BASE_DEFAULT		0xfee00000ULL

enum { ESR_SEND_VECTOR = 5, ESR_RECEIVE_VECTOR, ESR_REGISTER };	/* bit numbers */
enum hvx_apic_mode { LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC };

struct hvx_lapic {
	/* What the guest would read; a page of its own, as hardware that works on it wants it. */
	union {
		u32 regs[AREG_NR * 4];
		u8 page[4096];
	} __aligned(4096);

	/*
	 * Where the CPU may deliver from IRR to ISR by itself it changes both while the
	 * guest runs, and not atomically. There, vectors wait in pir, the head of a
	 * posted-interrupt descriptor (SDM vol. 3 "Posted-Interrupt Processing"), until the
	 * runner takes them into IRR; those whose trigger mode has changed in `late`, as
	 * only the runner can tell the CPU which EOIs are to exit.
	 */
	struct {
		u32 pir[8], control, unused[7];
	} posted __aligned(64);
	u32 late[8];
	bool posts;			/* for life */
	bool delivers;			/* in the next entry; the run loop need not inject */
	bool tmr_changed;		/* since the CPU was told */

	struct hvx_vcpu *vcpu;
	unsigned long irr_words;	/* bit clear: nothing in this one of IRR's 8 registers. Set: look */
	u8 accepting;			/* globally and by SVR enabled: takes fixed interrupts */
	int isr_top;			/* highest vector in service, -1 none */
	unsigned int isr_count;
	enum hvx_apic_mode mode;
	u64 mmio_page;			/* where the page is; ~0 outside of xAPIC mode */
	unsigned long esr_pending;
	int eoi_exit;			/* vector of a level EOI for userspace, -1 none */

	/*
	 * The timer. Only the runner arms it; the hrtimer's callback says so to
	 * the runner (HVX_REQ_TIMER), who looks at the clock again. So the
	 * hrtimer may fire too early without harm, and a later or cancelled
	 * expiry leaves it alone: guests move their deadline away far more
	 * often than it is reached.
	 */
	u32 timer_lvt, tdcr;	/* that it goes by: where the CPU writes to the page for the guest, that has the next */
	u64 expires;		/* guest TSC in TSC-deadline mode, else CLOCK_MONOTONIC ns; 0 = stopped */
	u64 near;		/* the `expires` that the backend sees to, instead of the hrtimer; else none */
	u64 armed;		/* the `expires` that the hrtimer runs for, 0 = none; the callback clears it */
	struct hrtimer timer;
};

/* IRR, ISR and TMR: bit of a vector, counted from the first of the 8 registers, 16 bytes apart. */
#define VECTOR_BIT(v)	(((v) & ~31U) * 4 + ((v) & 31))

static inline unsigned long *hvx_lapic_bits(struct hvx_lapic *l, u32 reg)
{
	return (unsigned long *)&l->regs[reg * 4];
}

void hvx_lapic_eoi(struct hvx_lapic *l);
void hvx_lapic_eoi_done(struct hvx_lapic *l, u8 vector);	/* the CPU has changed ISR */
void hvx_lapic_recount(struct hvx_lapic *l);	/* IRR, ISR, TMR are others */
void hvx_lapic_error(struct hvx_lapic *l, unsigned int esr_bit);	/* any context */
void hvx_lapic_lvt_fire(struct hvx_lapic *l, unsigned int lvt);	/* any context */
int hvx_lapic_scan_irr(struct hvx_lapic *l);
/* An aligned 32-bit access to the register page: what a read gives. */
u32 hvx_lapic_mmio(struct hvx_lapic *l, u32 offset, bool write, u32 val);

static inline void hvx_lapic_update_ppr(struct hvx_lapic *l)
{
	u8 tpr = l->regs[AREG_TPR * 4], isrv = l->isr_top < 0 ? 0 : l->isr_top & 0xf0;

	l->regs[AREG_PPR * 4] = (tpr & 0xf0) >= isrv ? tpr : isrv;
}

/* Highest requested vector, whatever PPR says, or -1. Runner. */
static inline int hvx_lapic_highest_irr(struct hvx_lapic *l)
{
	return likely(!READ_ONCE(l->irr_words)) ? -1 : hvx_lapic_scan_irr(l);
}

/* Highest vector that can be delivered now, or -1. Runner. */
static inline int hvx_lapic_pending(struct hvx_lapic *l)
{
	int v = hvx_lapic_highest_irr(l);

	return (v & ~0xf) > (int)(l->regs[AREG_PPR * 4] & 0xf0) ? v : -1;
}

/* The CPU takes the vector that hvx_lapic_pending() gave. */
static inline void hvx_lapic_ack(struct hvx_lapic *l, u8 vector)
{
	clear_bit(VECTOR_BIT(vector), hvx_lapic_bits(l, AREG_IRR));
	__set_bit(VECTOR_BIT(vector), hvx_lapic_bits(l, AREG_ISR));
	l->isr_top = vector;
	l->isr_count++;
	hvx_lapic_update_ppr(l);
}

/* Nothing but one edge-triggered vector is in service, and none is requested. Runner. */
static inline bool hvx_lapic_eoi_can_wait(struct hvx_lapic *l)
{
	return !l->delivers && l->isr_count == 1 && hvx_lapic_highest_irr(l) < 0 &&
	       !test_bit(VECTOR_BIT(l->isr_top), hvx_lapic_bits(l, AREG_TMR));
}

/*
 * A fixed interrupt arrives. Any context. Taken: > 0; 2 or 3 when the vector was not
 * yet requested, so that the vCPU has to be told: hvx_notify(), posted at 2.
 */
static inline int hvx_lapic_accept(struct hvx_lapic *l, u8 vector, bool level)
{
	unsigned int bit = VECTOR_BIT(vector), told = 2;
	unsigned long *tmr = hvx_lapic_bits(l, AREG_TMR), *irr = hvx_lapic_bits(l, AREG_IRR);

	if (l->posts)
		irr = (unsigned long *)l->posted.pir;
	if (unlikely(!READ_ONCE(l->accepting)))
		return 0;
	if (unlikely(vector < 16)) {
		hvx_lapic_error(l, ESR_RECEIVE_VECTOR);
		return 0;
	}
	if (unlikely(test_bit(bit, tmr) != level)) {
		if (level)
			set_bit(bit, tmr);
		else
			clear_bit(bit, tmr);
		if (l->posts)
			irr = (unsigned long *)l->late;
		told = 3;
	}
	if (test_and_set_bit(l->posts ? vector : bit, irr))
		return 1;
	set_bit(vector / 32, &l->irr_words);
	return told;
}

#endif
