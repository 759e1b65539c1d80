/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The local APIC's register state machine (SDM vol. 3, chapter "Advanced
 * Programmable Interrupt Controller"), free of kernel dependencies so that the
 * host's unit tests build it too. What it causes outside of itself (IPIs,
 * timer, EOI broadcast) leaves through the hvx_apic_do_*() functions that its
 * user defines.
 *
 * irr, tmr, esr_pending and irr_pending are changed by any context, with atomic
 * operations. Everything else belongs to the vCPU's runner; others may read
 * `accepting`, `mode`, `ldr`, `dfr` and an LVT entry with READ_ONCE().
 */
#ifndef _HVX_LAPIC_CORE_H
#define _HVX_LAPIC_CORE_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <asm/barrier.h>
#else
#include "tests/unit/lapic_host.h"
#endif

/* Registers: xAPIC page offset / 16 = x2APIC MSR - 0x800 */
#define AREG_ID		0x02
#define AREG_VERSION	0x03
#define AREG_TPR	0x08
#define AREG_APR	0x09
#define AREG_PPR	0x0a
#define AREG_EOI	0x0b
#define AREG_RRD	0x0c
#define AREG_LDR	0x0d
#define AREG_DFR	0x0e
#define AREG_SVR	0x0f
#define AREG_ISR	0x10	/* 8 registers each */
#define AREG_TMR	0x18
#define AREG_IRR	0x20
#define AREG_ESR	0x28
#define AREG_ICR	0x30
#define AREG_ICR2	0x31
#define AREG_LVT	0x32	/* HVX_LVT_NR registers */
#define AREG_TMICT	0x38
#define AREG_TMCCT	0x39
#define AREG_TDCR	0x3e
#define AREG_SELF_IPI	0x3f
#define AREG_NR	0x40
#define AREG_MSR	0x800	/* x2APIC MSR of register 0 */

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, HVX_LVT_NR };

#define LVT_MASKED		(1U << 16)
#define LVT_TIMER_MODE(v)	(((v) >> 17) & 3)
#define LVT_ONESHOT		0
#define LVT_PERIODIC		1
#define LVT_DEADLINE		2

#define SVR_ENABLE		(1U << 8)
#define SVR_NO_EOI_BROADCAST	(1U << 12)
#define SVR_VALID		0x13ffU

/* Interrupt messages: ICR, LVT and MSI data share these */
#define MSG_VECTOR(v)		((u8)(v))
#define MSG_MODE(v)		(((u32)(v) >> 8) & 7)
#define MSG_FIXED		0
#define MSG_LOWEST		1
#define MSG_SMI			2
#define MSG_NMI			4
#define MSG_INIT		5
#define MSG_SIPI		6
#define MSG_EXTINT		7
#define MSG_LOGICAL		(1U << 11)
#define MSG_ASSERT		(1U << 14)
#define MSG_LEVEL		(1U << 15)
#define ICR_BUSY		(1U << 12)
#define ICR_SHORTHAND(v)	(((u32)(v) >> 18) & 3)
#define SHORT_NONE		0
#define SHORT_SELF		1
#define SHORT_ALL		2
#define SHORT_OTHERS		3
/* Bit 12 is reserved in x2APIC mode too, but guests write back what xAPIC code read. */
#define ICR_X2_RESERVED		0xfff32000ULL

#define LAPIC_BROADCAST		0xffffffffU

#define BASE_BSP		(1ULL << 8)
#define BASE_X2APIC		(1ULL << 10)
#define BASE_ENABLE		(1ULL << 11)
#define BASE_DEFAULT		0xfee00000ULL

#define ESR_SEND_VECTOR		5	/* bit numbers */
#define ESR_RECEIVE_VECTOR	6
#define ESR_REGISTER		7

enum hvx_apic_mode { LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC };

struct hvx_apic {
	/* what each entry looks at */
	u8 irr_pending;		/* clear: nothing in irr. Set: look */
	u8 ppr, tpr;
	u8 accepting;		/* globally and by SVR enabled: takes fixed interrupts */
	int isr_top;		/* highest vector in service, -1 none */
	unsigned int isr_count;
	enum hvx_apic_mode mode;
	unsigned long irr[4];
	unsigned long isr[4];
	unsigned long tmr[4];	/* by vector: the last request was level-triggered */

	u64 icr;
	u64 mmio_page;		/* where the register page is; ~0 outside of xAPIC mode */
	u64 base;		/* IA32_APIC_BASE */
	u32 id;			/* fixed */
	u32 svr, ldr, dfr;
	u32 lvt[HVX_LVT_NR];
	u32 tmict, tdcr;
	u32 esr;		/* as latched by the last write */
	unsigned long esr_pending;
};

/* Defined by the user of this file. */
void hvx_apic_do_ipi(struct hvx_apic *a, u64 icr);	/* x2APIC layout; vector not checked */
void hvx_apic_do_eoi(struct hvx_apic *a, u8 vector);	/* level-triggered, to be broadcast */
void hvx_apic_do_wake(struct hvx_apic *a);		/* irr gained a bit */
void hvx_apic_do_nmi(struct hvx_apic *a);
void hvx_apic_do_timer_start(struct hvx_apic *a);	/* tmict was written */
void hvx_apic_do_timer_mode(struct hvx_apic *a, u32 old); /* lvt[LVT_TIMER] was written */
void hvx_apic_do_timer_divide(struct hvx_apic *a, u32 tdcr); /* stores tdcr */
u32 hvx_apic_do_timer_count(struct hvx_apic *a);	/* current count */

void hvx_apic_reset(struct hvx_apic *a, bool init);
/* IA32_APIC_BASE; host: any valid mode may follow any. 0, or 1 = #GP. */
int hvx_apic_set_base(struct hvx_apic *a, u64 val, bool host, bool has_x2apic,
		      unsigned int phys_bits);
u32 hvx_apic_mmio_read(struct hvx_apic *a, u32 offset);
void hvx_apic_mmio_write(struct hvx_apic *a, u32 offset, u32 val);
/* x2APIC MSRs by register number, in x2APIC mode only: 0, or 1 = #GP. */
int hvx_apic_msr_read(struct hvx_apic *a, u32 reg, u64 *val);
int hvx_apic_msr_write(struct hvx_apic *a, u32 reg, u64 val);
void hvx_apic_eoi(struct hvx_apic *a);
void hvx_apic_error(struct hvx_apic *a, unsigned int esr_bit);	/* any context */
void hvx_apic_lvt_fire(struct hvx_apic *a, unsigned int lvt);	/* any context */
/* The register page; regs[] has 256 entries. Import: 0 or -EINVAL; no do_timer_*() calls. */
void hvx_apic_export(struct hvx_apic *a, u32 *regs);
int hvx_apic_import(struct hvx_apic *a, const u32 *regs);

int hvx_apic_scan(struct hvx_apic *a);
int hvx_apic_scan_ppr(struct hvx_apic *a);
/* Is it meant by this logical destination? Any context. */
bool hvx_apic_is_dest(const struct hvx_apic *a, u32 dest);
/* Of the candidates, the one that takes a lowest-priority interrupt; 0 if there are none. */
unsigned long hvx_apic_lowest(unsigned long mask, u8 vector);

static inline int hvx_apic_top(const unsigned long *bits)
{
	int i;

	for (i = 3; i >= 0; i--) {
		unsigned long w = READ_ONCE(bits[i]);

		if (w)
			return i * 64 + __fls(w);
	}
	return -1;
}

static inline void hvx_apic_update_ppr(struct hvx_apic *a)
{
	u8 isrv = a->isr_top < 0 ? 0 : a->isr_top & 0xf0;

	a->ppr = (a->tpr & 0xf0) >= isrv ? a->tpr : isrv;
}

static inline void hvx_apic_set_tpr(struct hvx_apic *a, u8 tpr)
{
	a->tpr = tpr;
	hvx_apic_update_ppr(a);
}

/* Highest requested vector, whatever PPR says, or -1. Runner. */
static inline int hvx_apic_highest_irr(struct hvx_apic *a)
{
	return likely(!READ_ONCE(a->irr_pending)) ? -1 : hvx_apic_scan(a);
}

/* Highest vector that can be delivered now, or -1. Runner. */
static inline int hvx_apic_pending(struct hvx_apic *a)
{
	return likely(!READ_ONCE(a->irr_pending)) ? -1 : hvx_apic_scan_ppr(a);
}

/* The CPU takes the vector that hvx_apic_pending() gave. */
static inline void hvx_apic_ack(struct hvx_apic *a, u8 vector)
{
	clear_bit(vector, a->irr);
	__set_bit(vector, a->isr);
	a->isr_top = vector;
	a->isr_count++;
	hvx_apic_update_ppr(a);
}

/*
 * A fixed interrupt arrives. Any context. Taken: > 0; 2 when the vector was not
 * yet requested, so that the vCPU has to be told.
 */
static inline int hvx_apic_accept(struct hvx_apic *a, u8 vector, bool level)
{
	if (unlikely(!READ_ONCE(a->accepting)))
		return 0;
	if (unlikely(vector < 16)) {
		hvx_apic_error(a, ESR_RECEIVE_VECTOR);
		return 0;
	}
	if (unlikely(test_bit(vector, a->tmr) != level)) {
		if (level)
			set_bit(vector, a->tmr);
		else
			clear_bit(vector, a->tmr);
	}
	if (test_and_set_bit(vector, a->irr))
		return 1;
	WRITE_ONCE(a->irr_pending, 1);
	return 2;
}

#endif
