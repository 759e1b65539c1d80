// SPDX-License-Identifier: GPL-2.0-only
/* The local APIC: registers, timer, saved state. */
#include <linux/module.h>

#include "lapic.h"

static unsigned int min_timer_period_us = 100;
module_param(min_timer_period_us, uint, 0644);
MODULE_PARM_DESC(min_timer_period_us, "shortest period of a guest's periodic APIC timer");

/* A register of the page. Others may be reading. */
#define REG(l, reg)		((l)->regs[(reg) * 4])
#define SET_REG(l, reg, val)	WRITE_ONCE(REG(l, reg), val)

/* Version 0x14: integrated APIC; highest LVT entry; EOI broadcast can be suppressed. */
#define VERSION_VALUE	(0x14 | (HVX_LVT_NR - 1) << 16 | 1U << 24)

/* Readable and writable in xAPIC mode, in x2APIC mode */
#define R	1
#define W	2
#define R2	4
#define W2	8
#define RW	(R | W | R2 | W2)

/*
 * SDM vol. 3 tables "Local APIC Register Address Map" and "... Supported by
 * x2APIC". Delivery status (LVT bit 12) and remote IRR (14) are read-only, not
 * reserved. Bit 12 of ICR is reserved in x2APIC mode, but guests write back
 * what xAPIC code read.
 */
static const struct areg {
	u64 x2_valid;		/* bits that an x2APIC write may have set, others are #GP */
	u32 holds;		/* bits that writes and saved state can change; 0: nothing is stored */
	u32 access;
} aregs[AREG_NR] = {
	[AREG_ID] = { 0, 0, R | W | R2 },	/* writes are ignored, as by current processors */
	[AREG_VERSION] = { 0, 0, R | R2 },
	[AREG_TPR] = { 0xff, 0xff, RW },
	[AREG_APR] = { 0, 0, R },		/* this and RRD went with the Pentium 4 */
	[AREG_PPR] = { 0, 0, R | R2 },
	[AREG_EOI] = { 0, 0, R | W | W2 },
	[AREG_RRD] = { 0, 0, R },
	[AREG_LDR] = { 0, 0xff000000, R | W | R2 },
	[AREG_DFR] = { 0, 0xf0000000, R | W },
	[AREG_SVR] = { 0x13ff, 0x13ff, RW },
	[AREG_ISR ... AREG_IRR + 7] = { 0, ~0U, R | R2 },
	[AREG_ESR] = { 0, 0xff, RW },
	[AREG_ICR] = { 0xffffffff000cdfff, ~ICR_BUSY, RW },
	[AREG_ICR2] = { 0, 0xff000000, R | W },
	[AREG_LVT + LVT_TIMER] = { 0x710ff, 0x700ff, RW },
	[AREG_LVT + LVT_THERMAL ... AREG_LVT + LVT_PERF] = { 0x117ff, 0x107ff, RW },
	[AREG_LVT + LVT_LINT0 ... AREG_LVT + LVT_LINT1] = { 0x1f7ff, 0x1a7ff, RW },
	[AREG_LVT + LVT_ERROR] = { 0x110ff, 0x100ff, RW },
	[AREG_TMICT] = { ~0U, ~0U, RW },
	[AREG_TMCCT] = { 0, 0, R | R2 },
	[AREG_TDCR] = { 0xb, 0xb, RW },
	[AREG_SELF_IPI] = { 0xff, 0, W2 },
};

/* ------------------------------------------------------------------- timer */

static unsigned int timer_mode(struct hvx_lapic *l)
{
	return LVT_TIMER_MODE(l->timer_lvt);
}

static void timer_follow(struct hvx_lapic *l)
{
	l->timer_lvt = REG(l, AREG_LVT + LVT_TIMER);
	l->tdcr = REG(l, AREG_TDCR);
}

static u64 timer_now(struct hvx_lapic *l)
{
	return timer_mode(l) == LVT_DEADLINE ? hvx_read_guest_tsc(l->vcpu) : ktime_get_ns();
}

/* Bus clock 1 GHz: a tick of the undivided timer is a nanosecond. */
static unsigned int divide_shift(u32 tdcr)
{
	return (((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7;
}

static u64 timer_ns(struct hvx_lapic *l, u32 count)
{
	u64 ns = (u64)count << divide_shift(l->tdcr);
	u64 shortest = (u64)READ_ONCE(min_timer_period_us) * NSEC_PER_USEC;

	return timer_mode(l) == LVT_PERIODIC ? max(ns, shortest) : ns;
}

/* Does the hrtimer not run, or for a later time than is wanted? */
static bool timer_too_late(struct hvx_lapic *l)
{
	return l->expires && READ_ONCE(l->armed) - 1 >= l->expires;
}

static enum hrtimer_restart timer_fn(struct hrtimer *timer)
{
	struct hvx_lapic *l = container_of(timer, struct hvx_lapic, timer);

	/* In this order: a runner that still saw `armed` set gets the request after. */
	WRITE_ONCE(l->armed, 0);
	hvx_request_kick(l->vcpu, HVX_REQ_TIMER);
	return HRTIMER_NORESTART;
}

void hvx_lapic_timer(struct hvx_lapic *l)
{
	u64 now, left, period;
	u32 khz;

	l->near = 0;
	if (!l->expires)
		return;
	now = timer_now(l);
	if (now >= l->expires) {
		/* Keep the phase; periods that were slept through are gone, not a burst. */
		period = timer_mode(l) == LVT_PERIODIC ? timer_ns(l, REG(l, AREG_TMICT)) : 0;
		if (period)
			l->expires += (div64_u64(now - l->expires, period) + 1) * period;
		else
			l->expires = 0;
		l->vcpu->stats.timer_fired++;
		hvx_lapic_lvt_fire(l, LVT_TIMER);
	}
	if (!timer_too_late(l))
		return;
	/* Farther expiries are reached in steps: it keeps the arithmetic in 64 bits. */
	left = min(l->expires - now, 1ULL << 50);
	if (timer_mode(l) == LVT_DEADLINE) {
		/* At 1 MHz, the slowest, a tick is 1,000 ns. */
		khz = max(l->vcpu->tsc_khz ?: tsc_khz, 1000U);
		left = min(mul_u64_u64_div_u64(left, 1000000, khz) + 1, 1ULL << 50);
		if (l->vcpu->fpu_loaded && left < hvx_backend->near_ns) {
			l->near = l->expires;
			return;
		}
	}
	WRITE_ONCE(l->armed, l->expires);
	hrtimer_start(&l->timer, ns_to_ktime(ktime_get_ns() + left), HRTIMER_MODE_ABS_PINNED_HARD);
}

/* The clock or its unit is another now: what the hrtimer was started for means nothing. */
void hvx_lapic_timer_restart(struct hvx_lapic *l)
{
	WRITE_ONCE(l->armed, 0);
	hvx_lapic_timer(l);
}

/* 0: stop, with nothing left over for the other unit. */
static void timer_set(struct hvx_lapic *l, u32 count)
{
	l->expires = count ? ktime_get_ns() + timer_ns(l, count) : 0;
	if (!count)
		WRITE_ONCE(l->armed, 0);
	hvx_lapic_timer(l);
}

/* Ticks left, the one that has begun among them: 0 only when the timer does not run. */
static u32 timer_count(struct hvx_lapic *l)
{
	unsigned int shift = divide_shift(l->tdcr);
	u64 now = timer_now(l), left;

	if (timer_mode(l) == LVT_DEADLINE)
		return 0;
	if (l->expires && now >= l->expires)
		hvx_lapic_timer(l);
	left = l->expires > now ? l->expires - now : 0;
	return min_t(u64, (left + (1U << shift) - 1) >> shift, REG(l, AREG_TMICT));
}

/* ------------------------------------------------------------------ events */

static int top(struct hvx_lapic *l, u32 reg)
{
	int i;

	for (i = 7; i >= 0; i--)
		if (REG(l, reg + i))
			return i * 32 + __fls(REG(l, reg + i));
	return -1;
}

/* What waits for a register of IRR. */
static noinline void take_posted(struct hvx_lapic *l, unsigned int i)
{
	u32 late = READ_ONCE(l->late[i]) ? xchg(&l->late[i], 0) : 0;

	if (late)
		l->tmr_changed = true;
	if (late || READ_ONCE(l->posted.pir[i]))
		SET_REG(l, AREG_IRR + i, REG(l, AREG_IRR + i) | late | xchg(&l->posted.pir[i], 0));
}

/* A register of IRR as a whole. Runner. */
static inline u32 irr_word(struct hvx_lapic *l, unsigned int i)
{
	if (unlikely(l->posts))
		take_posted(l, i);
	return READ_ONCE(REG(l, AREG_IRR + i));
}

/* Highest requested vector; clears the bits in irr_words that turn out to mean nothing. */
int hvx_lapic_scan_irr(struct hvx_lapic *l)
{
	unsigned long words;
	unsigned int i;
	u32 w;

	for (i = 0; unlikely(l->posts) && i < 8; i++)
		if (READ_ONCE(l->irr_words) & BIT(i))
			take_posted(l, i);
	while ((words = READ_ONCE(l->irr_words))) {
		i = __fls(words);
		w = irr_word(l, i);
		/* Turned off: a message was in flight. */
		if (w)
			return l->mode == LAPIC_OFF ? -1 : (int)(i * 32 + __fls(w));
		clear_bit(i, &l->irr_words);
		smp_mb__after_atomic();	/* pairs with test_and_set_bit() in hvx_lapic_accept() */
		if (irr_word(l, i))
			set_bit(i, &l->irr_words);
	}
	return -1;
}

void hvx_lapic_eoi(struct hvx_lapic *l)
{
	int v = l->isr_top;

	if (v < 0)
		return;
	__clear_bit(VECTOR_BIT(v), hvx_lapic_bits(l, AREG_ISR));
	/* Of what the CPU delivers nobody keeps count. */
	l->isr_top = --l->isr_count || l->delivers ? top(l, AREG_ISR) : -1;
	hvx_lapic_update_ppr(l);
	if (unlikely(test_bit(VECTOR_BIT(v), hvx_lapic_bits(l, AREG_TMR))))
		hvx_lapic_eoi_done(l, v);
}

void hvx_lapic_eoi_done(struct hvx_lapic *l, u8 v)
{
	if (!test_bit(VECTOR_BIT(v), hvx_lapic_bits(l, AREG_TMR)))
		return;
	hvx_irqfd_eoi(l->vcpu->vm, v);
	if (!(REG(l, AREG_SVR) & SVR_NO_EOI_BROADCAST)) {
		l->eoi_exit = v;
		hvx_request(l->vcpu, HVX_REQ_EOI);
	}
}

void hvx_lapic_recount(struct hvx_lapic *l)
{
	u32 reg;

	WRITE_ONCE(l->irr_words, 0xff);
	l->tmr_changed = true;
	l->isr_top = top(l, AREG_ISR);
	for (l->isr_count = 0, reg = AREG_ISR; reg < AREG_ISR + 8; reg++)
		l->isr_count += hweight32(REG(l, reg));
	hvx_lapic_update_ppr(l);
}

void hvx_lapic_error(struct hvx_lapic *l, unsigned int esr_bit)
{
	/* Once a bit until ESR is written: ends the recursion by an illegal LVT vector, too. */
	if (!test_and_set_bit(esr_bit, &l->esr_pending))
		hvx_lapic_lvt_fire(l, LVT_ERROR);
}

void hvx_lapic_lvt_fire(struct hvx_lapic *l, unsigned int lvt)
{
	u32 v = READ_ONCE(REG(l, AREG_LVT + lvt));
	int r = v & LVT_MASKED ? 0 : hvx_lapic_accept(l, MSG_VECTOR(v), false);

	if (r >= 2)
		hvx_notify(l->vcpu, r == 2);
}

/* --------------------------------------------------------------- registers */

u8 hvx_lapic_get_cr8(struct hvx_vcpu *vcpu)
{
	return REG(vcpu->lapic, AREG_TPR) >> 4;
}

void hvx_lapic_set_cr8(struct hvx_vcpu *vcpu, u8 val)
{
	/* The same class again keeps the subclass, which CR8 does not show. */
	if (hvx_lapic_get_cr8(vcpu) != val)
		SET_REG(vcpu->lapic, AREG_TPR, val << 4);
	hvx_lapic_update_ppr(vcpu->lapic);
}

/* What depends on mode, IA32_APIC_BASE and SVR. */
static void mode_changed(struct hvx_lapic *l)
{
	u32 id = l->vcpu->id;

	l->mmio_page = l->mode == LAPIC_XAPIC ? l->vcpu->apic_base & ~0xfffULL : ~0ULL;
	SET_REG(l, AREG_ID, l->mode == LAPIC_X2APIC ? id : id << 24);
	SET_REG(l, AREG_VERSION, VERSION_VALUE);
	if (l->mode == LAPIC_X2APIC)
		SET_REG(l, AREG_LDR, (id >> 4) << 16 | 1U << (id & 15));
	WRITE_ONCE(l->accepting, l->mode != LAPIC_OFF && (REG(l, AREG_SVR) & SVR_ENABLE));
}

static void forget_posted(struct hvx_lapic *l)
{
	memset(l->posted.pir, 0, sizeof(l->posted.pir));
	memset(l->late, 0, sizeof(l->late));
}

/* All but IA32_APIC_BASE and mode. */
static void reset_registers(struct hvx_lapic *l)
{
	u32 reg;

	for (reg = AREG_TPR; reg < AREG_NR; reg++)
		SET_REG(l, reg, 0);
	SET_REG(l, AREG_SVR, 0xff);
	SET_REG(l, AREG_DFR, ~0U);
	for (reg = AREG_LVT; reg < AREG_LVT + HVX_LVT_NR; reg++)
		SET_REG(l, reg, LVT_MASKED);
	/* The virtual wire that firmware sets up, for guests that start without any. */
	if (l->vcpu->apic_base & BASE_BSP)
		SET_REG(l, AREG_LVT + LVT_LINT0, MSG_EXTINT << 8);
	WRITE_ONCE(l->esr_pending, 0);
	forget_posted(l);
	hvx_lapic_recount(l);
	timer_follow(l);
	timer_set(l, 0);
	mode_changed(l);
}

void hvx_lapic_reset(struct hvx_vcpu *vcpu, bool init)
{
	if (!init) {
		vcpu->apic_base = BASE_DEFAULT | BASE_ENABLE | (vcpu->id ? 0 : BASE_BSP);
		WRITE_ONCE(vcpu->lapic->mode, LAPIC_XAPIC);
	}
	vcpu->lapic->eoi_exit = -1;
	reset_registers(vcpu->lapic);
}

/* SDM vol. 3 "x2APIC State Transitions"; the host restores any state that is valid. */
int hvx_lapic_set_base(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	u64 valid = BASE_BSP | BASE_ENABLE | GENMASK_ULL((vcpu->phys_bits ?: 52) - 1, 12);
	struct hvx_lapic *l = vcpu->lapic;
	enum hvx_apic_mode old = l->mode, new = LAPIC_OFF;

	if (host || vcpu->caps & HVX_CAP_X2APIC)
		valid |= BASE_X2APIC;
	if (val & BASE_ENABLE)
		new = val & BASE_X2APIC ? LAPIC_X2APIC : LAPIC_XAPIC;
	if (val & ~valid || (new == LAPIC_OFF && val & BASE_X2APIC))
		return 1;
	if (!host && ((old == LAPIC_X2APIC && new == LAPIC_XAPIC) ||
		      (old == LAPIC_OFF && new == LAPIC_X2APIC)))
		return 1;

	vcpu->apic_base = val;
	WRITE_ONCE(l->mode, new);
	if (old == LAPIC_X2APIC && new != old)
		SET_REG(l, AREG_LDR, 0);
	/* The host restores registers and base in any order. */
	if (new != old && (new == LAPIC_OFF || (old == LAPIC_OFF && !host)))
		reset_registers(l);
	mode_changed(l);
	return 0;
}

/* 0, or 1: no such register in this mode. */
static int read_reg(struct hvx_lapic *l, u32 reg, u64 *val)
{
	if (reg >= AREG_NR || !(aregs[reg].access & (l->mode == LAPIC_X2APIC ? R2 : R)))
		return 1;
	*val = reg == AREG_TMCCT ? timer_count(l) : REG(l, reg);
	if (reg == AREG_ICR)
		*val |= (u64)REG(l, AREG_ICR2) << 32;
	return 0;
}

/*
 * Those that nobody is in a hurry about. v has no bits that the register does not hold. Where
 * the CPU has written to the page already, what is there may have.
 */
static noinline void write_other(struct hvx_lapic *l, u32 reg, u32 v)
{
	u32 old = l->timer_lvt, count = 0, i;

	if (reg == AREG_DFR)
		v |= 0x0fffffff;
	else if (reg == AREG_ESR)
		v = xchg(&l->esr_pending, 0);
	else if (reg == AREG_TDCR)
		count = timer_count(l);
	else if (reg == AREG_TMICT && timer_mode(l) == LVT_DEADLINE)
		v = 0;		/* is ignored */
	else if (reg - AREG_LVT < HVX_LVT_NR && !(REG(l, AREG_SVR) & SVR_ENABLE))
		v |= LVT_MASKED;
	if (aregs[reg].holds)
		SET_REG(l, reg, v);
	timer_follow(l);
	switch (reg) {
	case AREG_SVR:
		for (i = AREG_LVT; !(v & SVR_ENABLE) && i < AREG_LVT + HVX_LVT_NR; i++)
			SET_REG(l, i, REG(l, i) | LVT_MASKED);
		fallthrough;
	case AREG_ID:
		mode_changed(l);
		break;
	case AREG_LVT + LVT_TIMER:
		/* SDM vol. 3 "TSC-Deadline Mode": to and from it, the timer is disarmed. */
		if ((LVT_TIMER_MODE(old) == LVT_DEADLINE) != (timer_mode(l) == LVT_DEADLINE)) {
			SET_REG(l, AREG_TMICT, 0);
			timer_set(l, 0);
		}
		break;
	case AREG_TMICT:
		if (timer_mode(l) != LVT_DEADLINE)
			timer_set(l, v);
		break;
	case AREG_TDCR:
		/* The count goes on from where it is. */
		if (l->expires && timer_mode(l) != LVT_DEADLINE)
			timer_set(l, max(count, 1U));
		break;
	}
}

/* 0, or 1: no such register in this mode, or reserved bits are set. */
static int write_reg(struct hvx_lapic *l, u32 reg, u64 val)
{
	bool x2 = l->mode == LAPIC_X2APIC;
	u64 dest;

	if (reg >= AREG_NR || !(aregs[reg].access & (x2 ? W2 : W)) ||
	    (x2 && val & ~aregs[reg].x2_valid))
		return 1;
	switch (reg) {
	case AREG_EOI:
		hvx_lapic_eoi(l);
		break;
	case AREG_TPR:
		SET_REG(l, reg, (u8)val);
		hvx_lapic_update_ppr(l);
		break;
	case AREG_ICR:
		SET_REG(l, reg, val & ~ICR_BUSY);
		if (x2)
			SET_REG(l, AREG_ICR2, val >> 32);
		dest = REG(l, AREG_ICR2) >> (x2 ? 0 : 24);
		if (!x2 && dest == 0xff && !(val & MSG_LOGICAL))
			dest = LAPIC_BROADCAST;
		hvx_send_ipi(l->vcpu, dest << 32 | (u32)val);
		break;
	case AREG_SELF_IPI:
		hvx_send_ipi(l->vcpu, (u64)l->vcpu->id << 32 | val);
		break;
	default:
		write_other(l, reg, val & aregs[reg].holds);
	}
	return 0;
}

/* The page has a 32-bit register at every 16th byte. */
u32 hvx_lapic_mmio(struct hvx_lapic *l, u32 offset, bool write, u32 val)
{
	u64 got = 0;

	if (!(offset & 0xf) &&
	    (write ? write_reg(l, offset >> 4, val) : read_reg(l, offset >> 4, &got)))
		hvx_lapic_error(l, ESR_REGISTER);
	return got;
}

int hvx_lapic_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write)
{
	struct hvx_lapic *l = vcpu->lapic;
	bool deadline = timer_mode(l) == LVT_DEADLINE;

	if (index != MSR_IA32_TSC_DEADLINE)
		return l->mode != LAPIC_X2APIC || (write ? write_reg(l, index - AREG_MSR, *val) :
							   read_reg(l, index - AREG_MSR, val));
	if (!write)
		*val = deadline ? l->expires : 0;
	if (!write || !deadline)
		return 0;
	l->expires = *val;
	if (timer_too_late(l))
		hvx_lapic_timer(l);
	return 0;
}

bool hvx_lapic_accepts_extint(struct hvx_vcpu *vcpu)
{
	u32 lint0 = REG(vcpu->lapic, AREG_LVT + LVT_LINT0);

	/* Turned off, LINT0 is the CPU's INTR pin. */
	return vcpu->lapic->mode == LAPIC_OFF ||
	       (!(lint0 & LVT_MASKED) && MSG_MODE(lint0) == MSG_EXTINT);
}

/* ----------------------------------------------------------- life and state */

int hvx_lapic_create(struct hvx_vcpu *vcpu)
{
	struct hvx_lapic *l;

	l = alloc_pages_exact(sizeof(*l), GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!l)
		return -ENOMEM;
	l->vcpu = vcpu;
	hvx_hrtimer_setup(&l->timer, timer_fn, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	vcpu->lapic = l;
	return 0;
}

void hvx_lapic_destroy(struct hvx_vcpu *vcpu)
{
	if (!vcpu->lapic)
		return;
	hrtimer_cancel(&vcpu->lapic->timer);
	free_pages_exact(vcpu->lapic, sizeof(*vcpu->lapic));
}

/*
 * The PV EOI word goes with guest memory, that the module has set it does not:
 * settle it, so that it is clear wherever the state is loaded.
 */
void hvx_lapic_get(struct hvx_vcpu *vcpu, void *buf)
{
	struct hvx_lapic_state *s = buf;
	struct hvx_lapic *l = vcpu->lapic;
	u32 count = timer_count(l);	/* and fires what has expired */

	hvx_pv_eoi_settle(vcpu, 0);
	hvx_lapic_highest_irr(l);
	memset(s, 0, sizeof(*s));
	memcpy(s->regs, l->regs, sizeof(s->regs));
	s->regs[AREG_TMCCT * 4] = count;
	/* Errors that no write has latched yet would be lost otherwise. */
	s->regs[AREG_ESR * 4] |= READ_ONCE(l->esr_pending);
	if (timer_mode(l) == LVT_DEADLINE)
		s->tsc_deadline = l->expires;
	s->pending_init = test_bit(0, &vcpu->init_sipi);
	s->pending_sipi = test_bit(1, &vcpu->init_sipi);
	s->sipi_vector = READ_ONCE(vcpu->sipi_queued);
}

int hvx_lapic_set(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_lapic_state *s = buf;
	struct hvx_lapic *l = vcpu->lapic;
	u32 reg, id = s->regs[AREG_ID * 4], count = s->regs[AREG_TMCCT * 4];

	if (memchr_inv(s->pad, 0, sizeof(s->pad)) ||
	    memchr_inv(s->reserved, 0, sizeof(s->reserved)) ||
	    s->pending_init > 1 || s->pending_sipi > 1 ||
	    (id != vcpu->id && id != vcpu->id << 24) || count > s->regs[AREG_TMICT * 4])
		return -EINVAL;

	hvx_pv_eoi_settle(vcpu, 0);
	for (reg = AREG_TPR; reg < AREG_NR; reg++)
		SET_REG(l, reg, s->regs[reg * 4] & aregs[reg].holds);
	SET_REG(l, AREG_DFR, REG(l, AREG_DFR) | 0x0fffffff);
	SET_REG(l, AREG_ICR2, s->regs[AREG_ICR2 * 4]);	/* all of it in x2APIC mode */
	/* There are no vectors below 16. */
	for (reg = AREG_ISR; reg <= AREG_IRR; reg += 8)
		SET_REG(l, reg, REG(l, reg) & ~0xffffU);
	forget_posted(l);
	hvx_lapic_recount(l);
	mode_changed(l);
	timer_follow(l);
	l->eoi_exit = -1;
	if (timer_mode(l) == LVT_DEADLINE)
		l->expires = s->tsc_deadline;
	else
		l->expires = count ? ktime_get_ns() + timer_ns(l, count) : 0;
	hvx_lapic_timer_restart(l);

	WRITE_ONCE(vcpu->sipi_queued, s->sipi_vector);
	smp_store_release(&vcpu->init_sipi, s->pending_init | s->pending_sipi << 1);
	hvx_request(vcpu, HVX_REQ_EVENT);
	return 0;
}
