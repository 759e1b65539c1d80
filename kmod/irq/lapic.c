// SPDX-License-Identifier: GPL-2.0-only
/* The local APIC: what the registers of lapic_core.c cause, its timer, its saved state. */
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <asm/msr-index.h>
#include <asm/tsc.h>

#include "backend.h"
#include "irq/lapic.h"

static unsigned int min_timer_period_us = 100;
module_param(min_timer_period_us, uint, 0644);
MODULE_PARM_DESC(min_timer_period_us, "shortest period of a guest's periodic APIC timer");

/* Farther expiries are reached in steps: it keeps the arithmetic in 64 bits. */
#define MAX_WAIT_NS	(1ULL << 50)

/* ------------------------------------------------------------------- timer */

static enum hrtimer_restart timer_fn(struct hrtimer *timer)
{
	struct hvx_lapic *l = container_of(timer, struct hvx_lapic, timer);

	/* In this order: a runner that still saw `armed` set gets the request after. */
	WRITE_ONCE(l->armed, false);
	hvx_request(l->vcpu, HVX_REQ_TIMER);
	hvx_kick(l->vcpu);
	return HRTIMER_NORESTART;
}

static void timer_arm(struct hvx_lapic *l, u64 at)
{
	l->armed_ns = at;
	WRITE_ONCE(l->armed, true);
	hrtimer_start(&l->timer, ns_to_ktime(at), HRTIMER_MODE_ABS_PINNED_HARD);
}

static void timer_fire(struct hvx_lapic *l)
{
	l->vcpu->stats.timer_fired++;
	hvx_apic_lvt_fire(&l->apic, LVT_TIMER);
}

static unsigned int timer_mode(struct hvx_lapic *l)
{
	return LVT_TIMER_MODE(l->apic.lvt[LVT_TIMER]);
}

/* Fire, or have the hrtimer running for l->deadline. */
static void deadline_start(struct hvx_lapic *l)
{
	u64 now = hvx_read_guest_tsc(l->vcpu), ns;
	u32 khz = max(l->vcpu->tsc_khz ?: tsc_khz, 1000U);

	if (now >= l->deadline) {
		l->deadline = 0;
		timer_fire(l);
		return;
	}
	/* At 1 MHz, the slowest, a tick is 1,000 ns: 2^50 ticks are less than 2^60 ns. */
	ns = mul_u64_u64_div_u64(min(l->deadline - now, 1ULL << 50), 1000000, khz) + 1;
	ns = min(ns, MAX_WAIT_NS);
	l->armed_tsc = l->deadline;
	timer_arm(l, ktime_get_ns() + ns);
}

static void target_start(struct hvx_lapic *l)
{
	if (READ_ONCE(l->armed) && l->armed_ns <= l->target)
		return;
	l->armed_tsc = ~0ULL;
	timer_arm(l, l->target);
}

static void set_deadline(struct hvx_lapic *l, u64 deadline)
{
	if (timer_mode(l) != LVT_DEADLINE || l->apic.mode == LAPIC_OFF)
		return;
	l->deadline = deadline;
	if (!deadline || (READ_ONCE(l->armed) && l->armed_tsc <= deadline))
		return;
	deadline_start(l);
}

/* Bus clock 1 GHz: a tick of the undivided timer is a nanosecond. */
static unsigned int divide_shift(u32 tdcr)
{
	return (((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7;
}

static u64 period_ns(struct hvx_lapic *l)
{
	u64 ns = (u64)l->apic.tmict << divide_shift(l->apic.tdcr);

	if (timer_mode(l) != LVT_PERIODIC)
		return ns;
	return max(ns, (u64)READ_ONCE(min_timer_period_us) * NSEC_PER_USEC);
}

void hvx_lapic_timer_expired(struct hvx_vcpu *vcpu)
{
	struct hvx_lapic *l = vcpu->lapic;
	u64 now, period;

	if (l->deadline) {
		deadline_start(l);
		return;
	}
	if (!l->target)
		return;
	now = ktime_get_ns();
	if (now < l->target) {
		target_start(l);
		return;
	}
	if (timer_mode(l) == LVT_PERIODIC && l->apic.tmict) {
		/* Keep the phase; periods that were slept through are gone, not a burst. */
		period = period_ns(l);
		l->target += period;
		if (l->target <= now)
			l->target += (div64_u64(now - l->target, period) + 1) * period;
		target_start(l);
	} else {
		l->target = 0;
	}
	timer_fire(l);
}

void hvx_lapic_timer_tsc_changed(struct hvx_vcpu *vcpu)
{
	if (vcpu->lapic->deadline)
		deadline_start(vcpu->lapic);
}

/* Called by the registers. */
void hvx_apic_do_timer_start(struct hvx_apic *a)
{
	struct hvx_lapic *l = hvx_lapic_of(a);

	l->target = 0;
	if (!a->tmict)
		return;
	l->target = ktime_get_ns() + period_ns(l);
	target_start(l);
}

void hvx_apic_do_timer_mode(struct hvx_apic *a, u32 old)
{
	struct hvx_lapic *l = hvx_lapic_of(a);

	/* SDM vol. 3 "TSC-Deadline Mode": to and from it, the timer is disarmed. */
	if ((LVT_TIMER_MODE(old) == LVT_DEADLINE) == (timer_mode(l) == LVT_DEADLINE))
		return;
	l->deadline = 0;
	l->target = 0;
	a->tmict = 0;
}

u32 hvx_apic_do_timer_count(struct hvx_apic *a)
{
	struct hvx_lapic *l = hvx_lapic_of(a);
	u64 now, left;

	if (!l->target)
		return 0;
	now = ktime_get_ns();
	if (now < l->target)
		left = l->target - now;
	else if (timer_mode(l) == LVT_PERIODIC)
		left = period_ns(l) - (now - l->target) % period_ns(l);
	else
		return 0;
	return min_t(u64, left >> divide_shift(a->tdcr), a->tmict);
}

void hvx_apic_do_timer_divide(struct hvx_apic *a, u32 tdcr)
{
	struct hvx_lapic *l = hvx_lapic_of(a);
	u32 count = hvx_apic_do_timer_count(a);

	a->tdcr = tdcr;
	if (!l->target)
		return;
	l->target = ktime_get_ns() + ((u64)count << divide_shift(tdcr));
	target_start(l);
}

/* ------------------------------------------------------- registers and MSRs */

void hvx_apic_do_ipi(struct hvx_apic *a, u64 icr)
{
	hvx_send_ipi(hvx_lapic_of(a)->vcpu, icr);
}

void hvx_apic_do_eoi(struct hvx_apic *a, u8 vector)
{
	struct hvx_lapic *l = hvx_lapic_of(a);

	if (!hvx_irqfd_eoi(l->vcpu, vector)) {
		l->eoi_exit = vector;
		hvx_request(l->vcpu, HVX_REQ_EOI);
	}
}

void hvx_apic_do_wake(struct hvx_apic *a)
{
	struct hvx_vcpu *vcpu = hvx_lapic_of(a)->vcpu;

	hvx_request(vcpu, HVX_REQ_EVENT);
	hvx_kick(vcpu);
}

void hvx_apic_do_nmi(struct hvx_apic *a)
{
	/* One being handled and one latched is all that the CPU remembers. */
	atomic_add_unless(&hvx_lapic_of(a)->vcpu->nmi_queued, 1, 2);
	hvx_apic_do_wake(a);
}

bool hvx_lapic_mmio_hit(struct hvx_vcpu *vcpu, u64 gpa)
{
	return (gpa & ~0xfffULL) == vcpu->lapic->apic.mmio_page;
}

int hvx_lapic_msr_read(struct hvx_vcpu *vcpu, u32 index, u64 *val)
{
	if (index == MSR_IA32_TSC_DEADLINE) {
		*val = vcpu->lapic->deadline;
		return 0;
	}
	return hvx_apic_msr_read(&vcpu->lapic->apic, index - AREG_MSR, val);
}

int hvx_lapic_msr_write(struct hvx_vcpu *vcpu, u32 index, u64 val)
{
	if (index == MSR_IA32_TSC_DEADLINE) {
		set_deadline(vcpu->lapic, val);
		return 0;
	}
	return hvx_apic_msr_write(&vcpu->lapic->apic, index - AREG_MSR, val);
}

int hvx_lapic_set_base(struct hvx_vcpu *vcpu, u64 val, bool host)
{
	struct hvx_apic *a = &vcpu->lapic->apic;
	bool has_x2apic = host || vcpu->caps & HVX_CAP_X2APIC;
	int r = hvx_apic_set_base(a, val, host, has_x2apic, vcpu->phys_bits ?: 52);

	vcpu->apic_base = a->base;
	return r;
}

bool hvx_lapic_accepts_extint(struct hvx_vcpu *vcpu)
{
	struct hvx_apic *a = &vcpu->lapic->apic;
	u32 lint0 = a->lvt[LVT_LINT0];

	/* Turned off, LINT0 is the CPU's INTR pin. */
	if (a->mode == LAPIC_OFF)
		return true;
	return !(lint0 & LVT_MASKED) && MSG_MODE(lint0) == MSG_EXTINT;
}

u8 hvx_lapic_get_cr8(struct hvx_vcpu *vcpu)
{
	return vcpu->lapic->apic.tpr >> 4;
}

void hvx_lapic_set_cr8(struct hvx_vcpu *vcpu, u8 val)
{
	struct hvx_apic *a = &vcpu->lapic->apic;

	/* The same class again keeps the subclass, which CR8 does not show. */
	if (a->tpr >> 4 != val)
		hvx_apic_set_tpr(a, val << 4);
}

int hvx_lapic_take_eoi_exit(struct hvx_vcpu *vcpu)
{
	int vector = vcpu->lapic->eoi_exit;

	vcpu->lapic->eoi_exit = -1;
	return vector;
}

/* ----------------------------------------------------------- life and state */

int hvx_lapic_create(struct hvx_vcpu *vcpu)
{
	struct hvx_lapic *l;

	l = kzalloc(sizeof(*l), GFP_KERNEL_ACCOUNT);
	if (!l)
		return -ENOMEM;
	l->vcpu = vcpu;
	l->eoi_exit = -1;
	l->apic.id = vcpu->id;
	hvx_hrtimer_setup(&l->timer, timer_fn, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	vcpu->lapic = l;
	hvx_lapic_reset(vcpu, false);
	return 0;
}

void hvx_lapic_destroy(struct hvx_vcpu *vcpu)
{
	struct hvx_lapic *l = vcpu->lapic;

	if (!l)
		return;
	hrtimer_cancel(&l->timer);
	vcpu->lapic = NULL;
	kfree(l);
}

void hvx_lapic_reset(struct hvx_vcpu *vcpu, bool init)
{
	struct hvx_lapic *l = vcpu->lapic;

	hrtimer_cancel(&l->timer);
	l->armed = false;
	hvx_apic_reset(&l->apic, init);
	l->eoi_exit = -1;
	vcpu->apic_base = l->apic.base;
}

/*
 * The PV EOI word goes with guest memory, that the module has set it does not:
 * settle it, so that it is clear wherever the state is loaded.
 */
void hvx_lapic_get(struct hvx_vcpu *vcpu, void *buf)
{
	struct hvx_lapic_state *s = buf;
	struct hvx_lapic *l = vcpu->lapic;
	u64 now = ktime_get_ns();

	hvx_pv_eoi_slow(vcpu);
	memset(s, 0, sizeof(*s));
	hvx_apic_export(&l->apic, s->regs);
	s->tsc_deadline = l->deadline;
	if (l->target)
		s->timer_remaining_ns = l->target > now ? l->target - now : 1;
	s->pending_init = test_bit(0, &vcpu->init_sipi);
	s->pending_sipi = test_bit(1, &vcpu->init_sipi);
	s->sipi_vector = READ_ONCE(vcpu->sipi_queued);
}

int hvx_lapic_set(struct hvx_vcpu *vcpu, const void *buf)
{
	const struct hvx_lapic_state *s = buf;
	struct hvx_lapic *l = vcpu->lapic;
	u64 longest = (u64)s->regs[AREG_TMICT * 4] << divide_shift(s->regs[AREG_TDCR * 4]);
	unsigned long init_sipi;

	if (memchr_inv(s->pad, 0, sizeof(s->pad)) ||
	    memchr_inv(s->reserved, 0, sizeof(s->reserved)) ||
	    s->pending_init > 1 || s->pending_sipi > 1)
		return -EINVAL;
	/* The floor of periodic timers may have made it longer. */
	longest = max(longest, (u64)READ_ONCE(min_timer_period_us) * NSEC_PER_USEC);
	if (s->timer_remaining_ns > (s->regs[AREG_TMICT * 4] ? longest : 0))
		return -EINVAL;
	hvx_pv_eoi_slow(vcpu);
	if (hvx_apic_import(&l->apic, s->regs))
		return -EINVAL;

	l->eoi_exit = -1;
	l->deadline = 0;
	l->target = 0;
	l->armed_tsc = ~0ULL;
	if (timer_mode(l) == LVT_DEADLINE) {
		l->deadline = s->tsc_deadline;
		if (l->deadline)
			deadline_start(l);
	} else if (s->timer_remaining_ns) {
		l->target = ktime_get_ns() + s->timer_remaining_ns;
		target_start(l);
	}

	WRITE_ONCE(vcpu->sipi_queued, s->sipi_vector);
	init_sipi = s->pending_init | s->pending_sipi << 1;
	smp_store_release(&vcpu->init_sipi, init_sipi);
	hvx_request(vcpu, HVX_REQ_EVENT);
	return 0;
}
