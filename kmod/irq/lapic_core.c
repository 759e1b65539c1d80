// SPDX-License-Identifier: GPL-2.0-only
#include "lapic_core.h"

#define R(n)		(1ULL << (n))
#define R8(n)		(0xffULL << (n))
#define R_LVTS		(((1ULL << HVX_LVT_NR) - 1) << AREG_LVT)
#define R_BOTH		(R(AREG_TPR) | R(AREG_SVR) | R(AREG_ESR) | R(AREG_ICR) | R_LVTS | \
			 R(AREG_TMICT) | R(AREG_TDCR))

static const u64 x2_readable = R_BOTH | R(AREG_ID) | R(AREG_VERSION) | R(AREG_PPR) | R(AREG_LDR) |
			       R8(AREG_ISR) | R8(AREG_TMR) | R8(AREG_IRR) | R(AREG_TMCCT);
static const u64 x_readable = x2_readable | R(AREG_APR) | R(AREG_EOI) | R(AREG_RRD) |
			      R(AREG_DFR) | R(AREG_ICR2);
static const u64 x2_writable = R_BOTH | R(AREG_EOI) | R(AREG_SELF_IPI);
static const u64 x_writable = R_BOTH | R(AREG_EOI) | R(AREG_ID) | R(AREG_LDR) | R(AREG_DFR) |
			      R(AREG_ICR2);

/* Writable bits. Delivery status (12) and remote IRR (14) are read-only, not reserved. */
static const u32 lvt_valid[HVX_LVT_NR] = {
	[LVT_TIMER] = 0x700ff,
	[LVT_THERMAL] = 0x107ff,
	[LVT_PERF] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff,
	[LVT_LINT1] = 0x1a7ff,
	[LVT_ERROR] = 0x100ff,
};

/* Version 0x14: integrated APIC; highest LVT entry; EOI broadcast can be suppressed. */
#define VERSION_VALUE	(0x14 | (HVX_LVT_NR - 1) << 16 | 1U << 24)

static u32 x2_ldr(u32 id)
{
	return (id >> 4) << 16 | 1U << (id & 15);
}

static void mode_changed(struct hvx_apic *a)
{
	a->mmio_page = a->mode == LAPIC_XAPIC ? a->base & ~0xfffULL : ~0ULL;
	WRITE_ONCE(a->accepting, a->mode != LAPIC_OFF && (a->svr & SVR_ENABLE));
}

/* All but id, base and mode. */
static void reset_registers(struct hvx_apic *a)
{
	u32 old = a->lvt[LVT_TIMER];
	int i;

	for (i = 0; i < 4; i++) {
		WRITE_ONCE(a->irr[i], 0);
		WRITE_ONCE(a->tmr[i], 0);
		a->isr[i] = 0;
	}
	a->isr_top = -1;
	a->isr_count = 0;
	hvx_apic_set_tpr(a, 0);
	a->svr = 0xff;
	WRITE_ONCE(a->dfr, ~0U);
	WRITE_ONCE(a->ldr, a->mode == LAPIC_X2APIC ? x2_ldr(a->id) : 0);
	a->icr = 0;
	a->esr = 0;
	WRITE_ONCE(a->esr_pending, 0);
	for (i = 0; i < HVX_LVT_NR; i++)
		WRITE_ONCE(a->lvt[i], LVT_MASKED);
	/* The virtual wire that firmware sets up, for guests that start without any. */
	if (a->base & BASE_BSP)
		a->lvt[LVT_LINT0] = MSG_EXTINT << 8;
	a->tdcr = 0;
	a->tmict = 0;
	hvx_apic_do_timer_mode(a, old);
	hvx_apic_do_timer_start(a);
}

void hvx_apic_reset(struct hvx_apic *a, bool init)
{
	if (!init) {
		a->base = BASE_DEFAULT | BASE_ENABLE | (a->id ? 0 : BASE_BSP);
		a->mode = LAPIC_XAPIC;
	}
	reset_registers(a);
	mode_changed(a);
}

/* SDM vol. 3 "x2APIC State Transitions". */
int hvx_apic_set_base(struct hvx_apic *a, u64 val, bool host, bool has_x2apic,
		      unsigned int phys_bits)
{
	u64 valid = BASE_BSP | BASE_ENABLE | (has_x2apic ? BASE_X2APIC : 0) |
		    GENMASK_ULL(phys_bits - 1, 12);
	enum hvx_apic_mode old = a->mode, new;

	if (val & ~valid)
		return 1;
	if (!(val & BASE_ENABLE)) {
		if (val & BASE_X2APIC)
			return 1;
		new = LAPIC_OFF;
	} else {
		new = val & BASE_X2APIC ? LAPIC_X2APIC : LAPIC_XAPIC;
	}
	if (!host && ((old == LAPIC_X2APIC && new == LAPIC_XAPIC) ||
		      (old == LAPIC_OFF && new == LAPIC_X2APIC)))
		return 1;

	a->base = val;
	WRITE_ONCE(a->mode, new);
	if (new != old) {
		/* The host restores registers and base in any order. */
		if (new == LAPIC_OFF || (old == LAPIC_OFF && !host))
			reset_registers(a);
		if (new == LAPIC_X2APIC)
			WRITE_ONCE(a->ldr, x2_ldr(a->id));
		else if (old == LAPIC_X2APIC)
			WRITE_ONCE(a->ldr, 0);
	}
	mode_changed(a);
	return 0;
}

/* Highest requested vector; clears irr_pending when there is none. */
int hvx_apic_scan(struct hvx_apic *a)
{
	int v = hvx_apic_top(a->irr);

	if (v < 0) {
		WRITE_ONCE(a->irr_pending, 0);
		smp_mb();	/* pairs with test_and_set_bit() in hvx_apic_accept() */
		v = hvx_apic_top(a->irr);
		if (v >= 0)
			WRITE_ONCE(a->irr_pending, 1);
	}
	/* A message in flight while the APIC was being turned off. */
	return a->mode == LAPIC_OFF ? -1 : v;
}

int hvx_apic_scan_ppr(struct hvx_apic *a)
{
	int v = hvx_apic_scan(a);

	return v >= 0 && (v & 0xf0) > (a->ppr & 0xf0) ? v : -1;
}

void hvx_apic_eoi(struct hvx_apic *a)
{
	int v = a->isr_top;

	if (v < 0)
		return;
	__clear_bit(v, a->isr);
	a->isr_top = --a->isr_count ? hvx_apic_top(a->isr) : -1;
	hvx_apic_update_ppr(a);
	if (unlikely(test_bit(v, a->tmr)) && !(a->svr & SVR_NO_EOI_BROADCAST))
		hvx_apic_do_eoi(a, v);
}

void hvx_apic_error(struct hvx_apic *a, unsigned int esr_bit)
{
	/* Once a bit until ESR is written: ends the recursion by an illegal LVT vector, too. */
	if (!test_and_set_bit(esr_bit, &a->esr_pending))
		hvx_apic_lvt_fire(a, LVT_ERROR);
}

void hvx_apic_lvt_fire(struct hvx_apic *a, unsigned int lvt)
{
	u32 v = READ_ONCE(a->lvt[lvt]);

	if (v & LVT_MASKED)
		return;
	switch (lvt == LVT_TIMER || lvt == LVT_ERROR ? MSG_FIXED : MSG_MODE(v)) {
	case MSG_FIXED:
		if (hvx_apic_accept(a, MSG_VECTOR(v), false) == 2)
			hvx_apic_do_wake(a);
		break;
	case MSG_NMI:
		hvx_apic_do_nmi(a);
		break;
	}
}

/* --------------------------------------------------------------- registers */

static u32 bitmap_reg(const unsigned long *bits, u32 n)
{
	return READ_ONCE(bits[n / 2]) >> (n % 2 * 32);
}

static u32 read_reg(struct hvx_apic *a, u32 reg)
{
	switch (reg) {
	case AREG_ID:
		return a->mode == LAPIC_X2APIC ? a->id : a->id << 24;
	case AREG_VERSION:
		return VERSION_VALUE;
	case AREG_TPR:
		return a->tpr;
	case AREG_PPR:
		return a->ppr;
	case AREG_LDR:
		return a->ldr;
	case AREG_DFR:
		return a->dfr;
	case AREG_SVR:
		return a->svr;
	case AREG_ISR ... AREG_ISR + 7:
		return bitmap_reg(a->isr, reg - AREG_ISR);
	case AREG_TMR ... AREG_TMR + 7:
		return bitmap_reg(a->tmr, reg - AREG_TMR);
	case AREG_IRR ... AREG_IRR + 7:
		return bitmap_reg(a->irr, reg - AREG_IRR);
	case AREG_ESR:
		return a->esr;
	case AREG_ICR:
		return a->icr;
	case AREG_ICR2:
		return a->icr >> 32;
	case AREG_LVT ... AREG_LVT + HVX_LVT_NR - 1:
		return a->lvt[reg - AREG_LVT];
	case AREG_TMICT:
		return a->tmict;
	case AREG_TMCCT:
		return hvx_apic_do_timer_count(a);
	case AREG_TDCR:
		return a->tdcr;
	}
	return 0;	/* EOI is write-only; APR and RRD went with the Pentium 4 */
}

static void write_svr(struct hvx_apic *a, u32 val)
{
	int i;

	a->svr = val & SVR_VALID;
	if (!(val & SVR_ENABLE))
		for (i = 0; i < HVX_LVT_NR; i++)
			WRITE_ONCE(a->lvt[i], a->lvt[i] | LVT_MASKED);
	mode_changed(a);
}

static void write_lvt(struct hvx_apic *a, unsigned int n, u32 val)
{
	u32 old = a->lvt[n];

	val &= lvt_valid[n];
	if (!(a->svr & SVR_ENABLE))
		val |= LVT_MASKED;
	WRITE_ONCE(a->lvt[n], val);
	if (n == LVT_TIMER)
		hvx_apic_do_timer_mode(a, old);
}

/* Registers that work alike in both modes. */
static void write_reg(struct hvx_apic *a, u32 reg, u32 val)
{
	switch (reg) {
	case AREG_TPR:
		hvx_apic_set_tpr(a, val);
		break;
	case AREG_EOI:
		hvx_apic_eoi(a);
		break;
	case AREG_SVR:
		write_svr(a, val);
		break;
	case AREG_ESR:
		a->esr = xchg(&a->esr_pending, 0);
		break;
	case AREG_LVT ... AREG_LVT + HVX_LVT_NR - 1:
		write_lvt(a, reg - AREG_LVT, val);
		break;
	case AREG_TMICT:
		if (LVT_TIMER_MODE(a->lvt[LVT_TIMER]) == LVT_DEADLINE)
			break;
		a->tmict = val;
		hvx_apic_do_timer_start(a);
		break;
	case AREG_TDCR:
		hvx_apic_do_timer_divide(a, val & 0xb);
		break;
	}
}

/* xAPIC: a 32-bit register at every 16th byte. Reads narrower than it see its bytes. */
u32 hvx_apic_mmio_read(struct hvx_apic *a, u32 offset)
{
	u32 reg = (offset & 0xfff) >> 4;

	if (offset & 0xc)
		return 0;
	if (reg >= AREG_NR || !(x_readable & R(reg))) {
		hvx_apic_error(a, ESR_REGISTER);
		return 0;
	}
	return read_reg(a, reg) >> (offset & 3) * 8;
}

void hvx_apic_mmio_write(struct hvx_apic *a, u32 offset, u32 val)
{
	u32 reg = (offset & 0xfff) >> 4;
	u64 dest;

	if (offset & 0xf)
		return;
	if (reg >= AREG_NR || !(x_writable & R(reg))) {
		hvx_apic_error(a, ESR_REGISTER);
		return;
	}
	switch (reg) {
	case AREG_ID:		/* read-only, as on current processors */
		break;
	case AREG_LDR:
		WRITE_ONCE(a->ldr, val & 0xff000000);
		break;
	case AREG_DFR:
		WRITE_ONCE(a->dfr, val | 0x0fffffff);
		break;
	case AREG_ICR:
		val &= ~ICR_BUSY;
		a->icr = (a->icr & ~0xffffffffULL) | val;
		dest = a->icr >> 56;
		if (dest == 0xff && !(val & MSG_LOGICAL))
			dest = LAPIC_BROADCAST;
		hvx_apic_do_ipi(a, dest << 32 | val);
		break;
	case AREG_ICR2:
		a->icr = (u32)a->icr | (u64)(val & 0xff000000) << 32;
		break;
	default:
		write_reg(a, reg, val);
	}
}

int hvx_apic_msr_read(struct hvx_apic *a, u32 reg, u64 *val)
{
	if (a->mode != LAPIC_X2APIC || reg >= AREG_NR || !(x2_readable & R(reg)))
		return 1;
	*val = reg == AREG_ICR ? a->icr : read_reg(a, reg);
	return 0;
}

static u64 x2_valid(u32 reg)
{
	switch (reg) {
	case AREG_TPR:
	case AREG_SELF_IPI:
		return 0xff;
	case AREG_SVR:
		return SVR_VALID;
	case AREG_LVT ... AREG_LVT + HVX_LVT_NR - 1:
		return lvt_valid[reg - AREG_LVT] | ICR_BUSY |
		       (reg - AREG_LVT == LVT_LINT0 || reg - AREG_LVT == LVT_LINT1 ? 1U << 14 : 0);
	case AREG_TMICT:
		return ~0U;
	case AREG_TDCR:
		return 0xb;
	}
	return 0;	/* ESR, EOI: only zero */
}

int hvx_apic_msr_write(struct hvx_apic *a, u32 reg, u64 val)
{
	if (unlikely(a->mode != LAPIC_X2APIC))
		return 1;
	if (reg == AREG_ICR) {
		if (unlikely(val & ICR_X2_RESERVED))
			return 1;
		a->icr = val;
		hvx_apic_do_ipi(a, val);
		return 0;
	}
	if (reg == AREG_EOI) {
		if (unlikely(val))
			return 1;
		hvx_apic_eoi(a);
		return 0;
	}
	if (reg >= AREG_NR || !(x2_writable & R(reg)) || (val & ~x2_valid(reg)))
		return 1;
	if (reg == AREG_SELF_IPI)
		hvx_apic_do_ipi(a, SHORT_SELF << 18 | (val & 0xff));
	else
		write_reg(a, reg, val);
	return 0;
}

/* ------------------------------------------------------------------- state */

void hvx_apic_export(struct hvx_apic *a, u32 *regs)
{
	u32 reg;

	memset(regs, 0, 256 * sizeof(*regs));
	for (reg = 0; reg < AREG_NR; reg++)
		if (x_readable & R(reg))
			regs[reg * 4] = read_reg(a, reg);
	/* Errors that no write has latched yet would be lost otherwise. */
	regs[AREG_ESR * 4] |= READ_ONCE(a->esr_pending);
}

static void import_bitmap(unsigned long *bits, const u32 *regs, u32 first)
{
	u32 i;

	for (i = 0; i < 4; i++) {
		unsigned long w = regs[(first + 2 * i) * 4] |
				  (u64)regs[(first + 2 * i + 1) * 4] << 32;

		/* There are no vectors below 16. */
		WRITE_ONCE(bits[i], i ? w : w & ~0xffffUL);
	}
}

int hvx_apic_import(struct hvx_apic *a, const u32 *regs)
{
	u32 i;

	if (regs[AREG_ID * 4] != a->id && regs[AREG_ID * 4] != a->id << 24)
		return -EINVAL;

	import_bitmap(a->isr, regs, AREG_ISR);
	import_bitmap(a->tmr, regs, AREG_TMR);
	import_bitmap(a->irr, regs, AREG_IRR);
	WRITE_ONCE(a->irr_pending, 1);
	a->isr_top = hvx_apic_top(a->isr);
	for (a->isr_count = i = 0; i < 4; i++)
		a->isr_count += hweight_long(a->isr[i]);
	hvx_apic_set_tpr(a, regs[AREG_TPR * 4]);

	a->svr = regs[AREG_SVR * 4] & SVR_VALID;
	if (a->mode != LAPIC_X2APIC)
		WRITE_ONCE(a->ldr, regs[AREG_LDR * 4] & 0xff000000);
	WRITE_ONCE(a->dfr, regs[AREG_DFR * 4] | 0x0fffffff);
	a->esr = regs[AREG_ESR * 4] & 0xff;
	a->icr = (regs[AREG_ICR * 4] & ~ICR_BUSY) | (u64)regs[AREG_ICR2 * 4] << 32;
	for (i = 0; i < HVX_LVT_NR; i++)
		WRITE_ONCE(a->lvt[i], regs[(AREG_LVT + i) * 4] & lvt_valid[i]);
	a->tmict = regs[AREG_TMICT * 4];
	a->tdcr = regs[AREG_TDCR * 4] & 0xb;
	mode_changed(a);
	return 0;
}

/* ------------------------------------------------------------ destinations */

/* SDM vol. 3 "Logical Destination Mode" and "Logical Destination Mode in x2APIC Mode". */
bool hvx_apic_is_dest(const struct hvx_apic *a, u32 dest)
{
	enum hvx_apic_mode mode = READ_ONCE(a->mode);
	u32 id = READ_ONCE(a->ldr) >> 24, model = READ_ONCE(a->dfr) >> 28;

	if (dest == LAPIC_BROADCAST)
		return true;
	if (mode == LAPIC_X2APIC)
		return dest >> 16 == a->id >> 4 && dest >> (a->id & 15) & 1;
	if (mode != LAPIC_XAPIC || dest > 0xff)
		return false;
	if (model == 0xf)	/* flat */
		return id & dest;
	return model == 0 && (id >> 4 == dest >> 4 || dest >> 4 == 0xf) && id & dest & 0xf;
}

unsigned long hvx_apic_lowest(unsigned long mask, u8 vector)
{
	unsigned int n;

	if (!mask)
		return 0;
	/* Current processors pick by a hash of the vector: no state, no look at the others' PPR. */
	for (n = vector % hweight_long(mask); n; n--)
		mask &= mask - 1;
	return mask & -mask;
}
