// SPDX-License-Identifier: GPL-2.0-only
/* Unit tests of the local APIC: registers, timer, destinations. */
/* units: kmod/irq/lapic.c kmod/irq/route.c */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "../../kmod/irq/lapic.h"

#define OFF(reg)	((reg) * 16)
#define REG(a, reg)	((a)->regs[(reg) * 4])

u64 fake_ns, fake_tsc;
u32 tsc_khz = 2000000;

/* What the registers asked of the module. */
static struct {
	int resamples;
	u8 vector;
} did;

static struct hvx_vm vm;
static struct hvx_vcpu vcpus[HVX_MAX_VCPUS];

void hvx_irqfd_eoi(struct hvx_vm *m, u8 vector)
{
	(void)m;
	did.resamples++;
	did.vector = vector;
}

u64 hvx_read_guest_tsc(struct hvx_vcpu *vcpu)
{
	(void)vcpu;
	return fake_tsc;
}

static u32 mmio_read(struct hvx_lapic *a, u32 offset)
{
	return hvx_lapic_mmio(a, offset, false, 0);
}

static void mmio_write(struct hvx_lapic *a, u32 offset, u32 val)
{
	hvx_lapic_mmio(a, offset, true, val);
}

static struct hvx_lapic *new_apic(u32 id)
{
	struct hvx_vcpu *v = &vcpus[id];

	if (v->lapic)
		hvx_lapic_destroy(v);
	memset(v, 0, sizeof(*v));
	v->id = id;
	v->vm = &vm;
	v->phys_bits = 40;
	v->caps = HVX_CAP_X2APIC;
	ck_assert_int_eq(hvx_lapic_create(v), 0);
	hvx_lapic_reset(v, false);
	vm.vcpus[id] = v;
	vm.vcpu_ids |= 1UL << id;
	return v->lapic;
}

static void setup(void)
{
	memset(&did, 0, sizeof(did));
	memset(&vm, 0, sizeof(vm));
	fake_ns = 1000000;
	fake_tsc = 5000000;
}

static void teardown(void)
{
	int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++)
		if (vcpus[i].lapic)
			hvx_lapic_destroy(&vcpus[i]);
	memset(vcpus, 0, sizeof(vcpus));
}

static int msr_write(struct hvx_lapic *a, u32 reg, u64 val)
{
	return hvx_lapic_msr_write(a->vcpu, AREG_MSR + reg, val);
}

static int msr_read(struct hvx_lapic *a, u32 reg, u64 *val)
{
	return hvx_lapic_msr_read(a->vcpu, AREG_MSR + reg, val);
}

static void enable(struct hvx_lapic *a)
{
	mmio_write(a, OFF(AREG_SVR), SVR_ENABLE | 0xff);
}

static void set_base(struct hvx_lapic *a, u64 bits)
{
	ck_assert_int_eq(hvx_lapic_set_base(a->vcpu, BASE_DEFAULT | bits, false), 0);
}

static struct hvx_lapic *new_enabled(u32 id)
{
	struct hvx_lapic *a = new_apic(id);

	enable(a);
	return a;
}

static struct hvx_lapic *new_x2(u32 id)
{
	struct hvx_lapic *a = new_enabled(id);

	set_base(a, BASE_ENABLE | BASE_X2APIC);
	return a;
}

/* A level-triggered EOI waits for userspace: its vector, else -1. */
static int eoi_exit(struct hvx_lapic *a)
{
	int v = a->eoi_exit;

	a->eoi_exit = -1;
	ck_assert_int_eq(v >= 0, test_bit(HVX_REQ_EOI, &a->vcpu->requests));
	clear_bit(HVX_REQ_EOI, &a->vcpu->requests);
	return v;
}

static int take(struct hvx_lapic *a)
{
	int v = hvx_lapic_pending(a);

	if (v >= 0)
		hvx_lapic_ack(a, v);
	return v;
}

/* Whose IRR has the vector? It is taken out. */
static unsigned long requested(u8 vector)
{
	unsigned long mask = 0;
	int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++) {
		if (!vm.vcpus[i] ||
		    !test_bit(VECTOR_BIT(vector), hvx_lapic_bits(vcpus[i].lapic, AREG_IRR)))
			continue;
		clear_bit(VECTOR_BIT(vector), hvx_lapic_bits(vcpus[i].lapic, AREG_IRR));
		mask |= 1UL << i;
	}
	return mask;
}

/* Who takes an IPI of the lowest id? */
static unsigned long sent(u64 icr)
{
	hvx_send_ipi(&vcpus[__ffs(vm.vcpu_ids)], icr);
	return requested(icr);
}

static unsigned long logical_dest(u32 dest)
{
	return sent((u64)dest << 32 | MSG_LOGICAL | 0x40);
}

START_TEST(power_up)
{
	struct hvx_lapic *a = new_apic(3);
	u32 r;

	ck_assert_uint_eq(a->vcpu->apic_base, BASE_DEFAULT | BASE_ENABLE);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ID)), 3U << 24);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_SVR)), 0xff);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_DFR)), 0xffffffff);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_VERSION)), 0x01050014);
	for (r = AREG_LVT; r < AREG_LVT + HVX_LVT_NR; r++)
		ck_assert_uint_eq(mmio_read(a, OFF(r)), LVT_MASKED);
	/* Disabled by SVR: nothing is accepted. */
	ck_assert_int_eq(hvx_lapic_accept(a, 0x40, false), 0);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);

	a = new_apic(0);
	ck_assert_uint_eq(a->vcpu->apic_base, BASE_DEFAULT | BASE_ENABLE | BASE_BSP);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_LINT0)), MSG_EXTINT << 8);
}
END_TEST

START_TEST(priority_and_eoi)
{
	struct hvx_lapic *a = new_enabled(1);

	ck_assert_int_eq(hvx_lapic_accept(a, 0x31, false), 2);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x31, false), 1);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x52, false), 2);
	ck_assert_int_eq(hvx_lapic_accept(a, 0xff, false), 2);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x10, false), 2);

	ck_assert_int_eq(take(a), 0xff);
	ck_assert_uint_eq(REG(a, AREG_PPR), 0xf0);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	ck_assert_int_eq(hvx_lapic_highest_irr(a), 0x52);
	mmio_write(a, OFF(AREG_EOI), 0);
	ck_assert_int_eq(take(a), 0x52);
	/* The same class waits, a higher one nests. */
	ck_assert_int_eq(hvx_lapic_accept(a, 0x5f, false), 2);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x60, false), 2);
	ck_assert_int_eq(take(a), 0x60);
	ck_assert_uint_eq(a->isr_count, 2);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ISR + 2)), 1U << 18);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ISR + 3)), 1U << 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_IRR + 2)), 1U << 31);
	hvx_lapic_eoi(a);
	ck_assert_uint_eq(REG(a, AREG_PPR), 0x50);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	hvx_lapic_eoi(a);
	ck_assert_int_eq(take(a), 0x5f);
	hvx_lapic_eoi(a);
	ck_assert_int_eq(take(a), 0x31);
	hvx_lapic_eoi(a);
	ck_assert_int_eq(take(a), 0x10);
	hvx_lapic_eoi(a);
	ck_assert_int_eq(take(a), -1);
	ck_assert_uint_eq(REG(a, AREG_PPR), 0);
	ck_assert_int_eq(a->irr_words, 0);
	/* One too many does nothing. */
	hvx_lapic_eoi(a);
	ck_assert_uint_eq(a->isr_count, 0);
	ck_assert_int_eq(eoi_exit(a), -1);
}
END_TEST

START_TEST(tpr_ppr)
{
	struct hvx_lapic *a = new_enabled(1);

	mmio_write(a, OFF(AREG_TPR), 0x45);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_PPR)), 0x45);
	hvx_lapic_accept(a, 0x4f, false);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	ck_assert_int_eq(hvx_lapic_highest_irr(a), 0x4f);
	hvx_lapic_accept(a, 0x50, false);
	ck_assert_int_eq(take(a), 0x50);
	/* Below the class in service TPR does not count; at or above it does, with its subclass. */
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_PPR)), 0x50);
	mmio_write(a, OFF(AREG_TPR), 0x5a);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_PPR)), 0x5a);
	mmio_write(a, OFF(AREG_TPR), 0x62);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_PPR)), 0x62);
	mmio_write(a, OFF(AREG_EOI), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_PPR)), 0x62);
	mmio_write(a, OFF(AREG_TPR), 0x3f);
	ck_assert_int_eq(take(a), 0x4f);
	mmio_write(a, OFF(AREG_TPR), 0xff);
	hvx_lapic_accept(a, 0xff, false);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
}
END_TEST

START_TEST(level_eoi)
{
	struct hvx_lapic *a = new_enabled(1);

	hvx_lapic_accept(a, 0x80, true);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_TMR + 4)), 1);
	ck_assert_int_eq(take(a), 0x80);
	mmio_write(a, OFF(AREG_EOI), 0);
	ck_assert_int_eq(eoi_exit(a), 0x80);
	ck_assert_int_eq(did.resamples, 1);
	ck_assert_uint_eq(did.vector, 0x80);

	/* The next request of the vector decides its trigger mode anew. */
	hvx_lapic_accept(a, 0x80, false);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_TMR + 4)), 0);
	ck_assert_int_eq(take(a), 0x80);
	hvx_lapic_eoi(a);
	ck_assert_int_eq(eoi_exit(a), -1);
	ck_assert_int_eq(did.resamples, 1);

	mmio_write(a, OFF(AREG_SVR), SVR_NO_EOI_BROADCAST | SVR_ENABLE | 0xff);
	hvx_lapic_accept(a, 0x80, true);
	ck_assert_int_eq(take(a), 0x80);
	hvx_lapic_eoi(a);
	/* The guest EOIs the I/O APIC itself; devices that wait for it are told now. */
	ck_assert_int_eq(eoi_exit(a), -1);
	ck_assert_int_eq(did.resamples, 2);
	ck_assert_uint_eq(a->isr_count, 0);
}
END_TEST

START_TEST(error_status)
{
	struct hvx_lapic *a = new_enabled(1);

	mmio_write(a, OFF(AREG_LVT + LVT_ERROR), 0xfe);
	ck_assert_int_eq(hvx_lapic_accept(a, 15, false), 0);
	ck_assert_uint_eq(a->vcpu->kicks, 1);
	ck_assert_int_eq(take(a), 0xfe);
	hvx_lapic_eoi(a);
	/* Visible only after a write; no second interrupt for the same bit before it. */
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ESR)), 0);
	hvx_lapic_accept(a, 0, false);
	ck_assert_int_eq(take(a), -1);
	mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ESR)), 1U << ESR_RECEIVE_VECTOR);
	mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ESR)), 0);

	/* Registers that do not exist, 0x2f0 (CMCI) among them. */
	mmio_write(a, 0x2f0, 0);
	ck_assert_int_eq(take(a), 0xfe);
	hvx_lapic_eoi(a);
	ck_assert_uint_eq(mmio_read(a, 0x400), 0);
	ck_assert_uint_eq(mmio_read(a, 0xff0), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_SELF_IPI)), 0);
	mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ESR)), 1U << ESR_REGISTER);

	/* An illegal vector in the error entry itself: recorded, delivered to nobody. */
	mmio_write(a, OFF(AREG_LVT + LVT_ERROR), 0x05);
	hvx_lapic_error(a, ESR_SEND_VECTOR);
	ck_assert_int_eq(take(a), -1);
	mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ESR)),
			  1U << ESR_SEND_VECTOR | 1U << ESR_RECEIVE_VECTOR);
}
END_TEST

START_TEST(lvt)
{
	struct hvx_lapic *a = new_apic(0);

	/* Disabled: entries cannot be unmasked. */
	mmio_write(a, OFF(AREG_LVT + LVT_PERF), 0x33);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_PERF)), LVT_MASKED | 0x33);
	enable(a);
	mmio_write(a, OFF(AREG_LVT + LVT_PERF), 0xffffffff & ~LVT_MASKED);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_PERF)), 0x7ff);
	mmio_write(a, OFF(AREG_LVT + LVT_LINT1), ~0U);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_LINT1)), 0x1a7ff);
	mmio_write(a, OFF(AREG_LVT + LVT_TIMER), ~0U);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_TIMER)), 0x700ff);

	mmio_write(a, OFF(AREG_LVT + LVT_PERF), MSG_NMI << 8);
	mmio_write(a, OFF(AREG_LVT + LVT_TIMER), 0xec);
	hvx_lapic_lvt_fire(a, LVT_TIMER);
	hvx_lapic_lvt_fire(a, LVT_TIMER);
	ck_assert_uint_eq(a->vcpu->kicks, 1);
	ck_assert_int_eq(take(a), 0xec);
	mmio_write(a, OFF(AREG_LVT + LVT_TIMER), LVT_MASKED | 0xec);
	hvx_lapic_lvt_fire(a, LVT_TIMER);
	ck_assert_int_eq(hvx_lapic_highest_irr(a), -1);

	/* Disabling masks all, and enabling leaves them so. */
	mmio_write(a, OFF(AREG_SVR), 0xff);
	enable(a);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_PERF)),
			  LVT_MASKED | MSG_NMI << 8);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_LVT + LVT_LINT0)),
			  LVT_MASKED | MSG_EXTINT << 8);
}
END_TEST

/* The clock reaches the time that the hrtimer was started for, and the runner sees it. */
static u32 run_timer(struct hvx_lapic *a)
{
	u64 fired = a->vcpu->stats.timer_fired;

	if (a->timer.at > fake_ns) {
		fake_tsc += (a->timer.at - fake_ns) * 2;
		fake_ns = a->timer.at;
	}
	a->timer.function(&a->timer);
	ck_assert(test_bit(HVX_REQ_TIMER, &a->vcpu->requests));
	hvx_lapic_timer(a);
	return a->vcpu->stats.timer_fired - fired;
}

#define TIMER		(AREG_LVT + LVT_TIMER)
#define COUNT(a)	mmio_read(a, OFF(AREG_TMCCT))

START_TEST(oneshot)
{
	struct hvx_lapic *a = new_enabled(1);

	mmio_write(a, OFF(TIMER), 0x31);
	mmio_write(a, OFF(AREG_TDCR), 0xff);	/* by 1 */
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_TDCR)), 0xb);
	ck_assert_uint_eq(a->timer.starts, 0);
	mmio_write(a, OFF(AREG_TMICT), 1000);
	ck_assert_uint_eq(a->timer.starts, 1);
	ck_assert_uint_eq(a->timer.at, fake_ns + 1000);
	fake_ns += 400;
	ck_assert_uint_eq(COUNT(a), 600);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_TMICT)), 1000);
	/* Divided by 4 from here on: later, so that the hrtimer is left alone. */
	mmio_write(a, OFF(AREG_TDCR), 1);
	ck_assert_uint_eq(COUNT(a), 600);
	fake_ns += 100;
	ck_assert_uint_eq(COUNT(a), 575);
	ck_assert_uint_eq(a->timer.starts, 1);
	ck_assert_uint_eq(run_timer(a), 0);
	ck_assert_uint_eq(a->timer.starts, 2);
	ck_assert_int_eq(take(a), -1);
	ck_assert_uint_eq(run_timer(a), 1);
	ck_assert_int_eq(take(a), 0x31);
	ck_assert_uint_eq(COUNT(a), 0);
	hvx_lapic_timer(a);
	ck_assert_uint_eq(a->vcpu->stats.timer_fired, 1);

	/* A sooner count starts the hrtimer anew; zero stops it. */
	mmio_write(a, OFF(AREG_TMICT), 1000);
	mmio_write(a, OFF(AREG_TMICT), 10);
	ck_assert_uint_eq(a->timer.at, fake_ns + 40);
	mmio_write(a, OFF(AREG_TMICT), 0);
	ck_assert_uint_eq(COUNT(a), 0);
	ck_assert_uint_eq(run_timer(a), 0);
}
END_TEST

START_TEST(periodic)
{
	struct hvx_lapic *a = new_enabled(1);
	u64 start = fake_ns;

	mmio_write(a, OFF(AREG_TDCR), 0xb);
	mmio_write(a, OFF(TIMER), LVT_PERIODIC << 17 | 0x32);
	mmio_write(a, OFF(AREG_TMICT), 1000000);
	ck_assert_uint_eq(run_timer(a), 1);
	ck_assert_uint_eq(a->timer.at, start + 2000000);
	/* Late: one interrupt for all that were missed, and the phase stays. */
	fake_ns += 3700000;
	a->timer.at = fake_ns;
	ck_assert_uint_eq(run_timer(a), 1);
	ck_assert_uint_eq(a->timer.at, start + 5000000);
	ck_assert_uint_eq(COUNT(a), 300000);
	/* A count that is read after the expiry is of the next period. */
	fake_ns += 300001;
	ck_assert_uint_eq(COUNT(a), 999999);
	/* To one-shot: the period that runs is the last. */
	mmio_write(a, OFF(TIMER), 0x32);
	ck_assert_uint_eq(run_timer(a) + run_timer(a), 1);
	/* The floor. */
	mmio_write(a, OFF(TIMER), LVT_PERIODIC << 17 | 0x32);
	start = fake_ns;
	mmio_write(a, OFF(AREG_TMICT), 1);
	ck_assert_uint_eq(run_timer(a), 1);
	ck_assert_uint_eq(fake_ns, start + 100000);
	ck_assert_uint_eq(a->timer.at, start + 200000);
}
END_TEST

static u64 deadline(struct hvx_lapic *a)
{
	u64 v;

	ck_assert_int_eq(hvx_lapic_msr_read(a->vcpu, MSR_IA32_TSC_DEADLINE, &v), 0);
	return v;
}

static void set_deadline(struct hvx_lapic *a, u64 tsc)
{
	ck_assert_int_eq(hvx_lapic_msr_write(a->vcpu, MSR_IA32_TSC_DEADLINE, tsc), 0);
}

START_TEST(tsc_deadline)
{
	struct hvx_lapic *a = new_enabled(1);
	u64 start = fake_ns;
	int i;

	mmio_write(a, OFF(AREG_TDCR), 0xb);
	/* Ignored in the other modes. */
	set_deadline(a, fake_tsc + 1000);
	ck_assert_uint_eq(deadline(a), 0);
	/* The switch stops what runs. */
	mmio_write(a, OFF(AREG_TMICT), 500);
	mmio_write(a, OFF(TIMER), LVT_DEADLINE << 17 | 0x33);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_TMICT)), 0);
	ck_assert_uint_eq(run_timer(a), 0);
	/* In TSC-deadline mode the initial count is ignored, the current one is zero. */
	mmio_write(a, OFF(AREG_TMICT), 5);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_TMICT)), 0);
	start = fake_ns;
	set_deadline(a, fake_tsc + 1000);
	ck_assert_uint_eq(a->timer.at, start + 501);	/* 2 GHz */
	ck_assert_uint_eq(deadline(a), fake_tsc + 1000);
	mmio_write(a, OFF(AREG_TDCR), 0);
	ck_assert_uint_eq(deadline(a), fake_tsc + 1000);
	ck_assert_uint_eq(COUNT(a), 0);
	/* Moved away: the hrtimer stays. Nearer: it is started anew. */
	i = a->timer.starts;
	set_deadline(a, fake_tsc + 2000);
	ck_assert_int_eq(a->timer.starts, i);
	set_deadline(a, fake_tsc + 500);
	ck_assert_int_eq(a->timer.starts, i + 1);
	set_deadline(a, 0);
	ck_assert_uint_eq(run_timer(a), 0);
	/* Reached, and in the past. */
	set_deadline(a, fake_tsc + 500);
	ck_assert_uint_eq(run_timer(a), 1);
	ck_assert_int_eq(take(a), 0x33);
	hvx_lapic_eoi(a);
	ck_assert_uint_eq(deadline(a), 0);
	set_deadline(a, 1);
	ck_assert_int_eq(take(a), 0x33);
	hvx_lapic_eoi(a);
	ck_assert_uint_eq(deadline(a), 0);
	/* The guest sets its TSC forward: past the deadline, or only nearer to it. */
	set_deadline(a, fake_tsc + 10000);
	fake_tsc += 9000;
	hvx_lapic_timer_restart(a);
	ck_assert_uint_eq(a->timer.at, fake_ns + 501);
	fake_tsc += 9000;
	hvx_lapic_timer_restart(a);
	ck_assert_int_eq(take(a), 0x33);
	/* Never: in steps that do not overflow, at the slowest clock that there is. */
	a->vcpu->tsc_khz = 1;
	run_timer(a);
	for (i = 0; i < 3; i++) {
		set_deadline(a, ~0ULL - i);
		ck_assert_uint_gt(a->timer.at, fake_ns + (1ULL << 49));
		ck_assert_uint_eq(run_timer(a), 0);
	}
}
END_TEST

START_TEST(xapic_icr)
{
	struct hvx_lapic *a = new_enabled(1), *b = new_enabled(5);

	mmio_write(a, OFF(AREG_ICR2), 0x05ffffff);
	ck_assert_uint_eq(a->vcpu->stats.ipi_sent, 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ICR2)), 0x05000000);
	mmio_write(a, OFF(AREG_ICR), ICR_BUSY | 0x4041);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ICR)), 0x4041);
	ck_assert_uint_eq(requested(0x41), 1UL << 5);
	/* 0xff is everybody, but as a logical destination it is just all the bits. */
	mmio_write(b, OFF(AREG_LDR), 0x02000000);
	mmio_write(a, OFF(AREG_ICR2), 0xff000000);
	mmio_write(a, OFF(AREG_ICR), 0x41);
	ck_assert_uint_eq(requested(0x41), 1UL << 1 | 1UL << 5);
	mmio_write(a, OFF(AREG_ICR), MSG_LOGICAL | 0x41);
	ck_assert_uint_eq(requested(0x41), 1UL << 5);
	ck_assert_uint_eq(a->vcpu->stats.ipi_sent, 3);
}
END_TEST

START_TEST(unaligned)
{
	struct hvx_lapic *a = new_enabled(0x2a);

	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ID)), 0x2a000000);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ID) + 3), 0);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ID) + 4), 0);
	mmio_write(a, OFF(AREG_TPR) + 4, 0x50);
	mmio_write(a, OFF(AREG_TPR) + 1, 0x50);
	ck_assert_uint_eq(REG(a, AREG_TPR), 0);
	mmio_write(a, OFF(AREG_ID), 0x11000000);
	ck_assert_uint_eq(mmio_read(a, OFF(AREG_ID)), 0x2a000000);
	mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(REG(a, AREG_ESR), 0);
}
END_TEST

START_TEST(x2_registers)
{
	struct hvx_lapic *a = new_x2(37);
	u64 v;

	ck_assert_uint_eq(a->mmio_page, ~0ULL);
	ck_assert_int_eq(msr_read(a, AREG_ID, &v), 0);
	ck_assert_uint_eq(v, 37);
	ck_assert_int_eq(msr_read(a, AREG_LDR, &v), 0);
	ck_assert_uint_eq(v, 2U << 16 | 1U << 5);
	new_x2(9);
	ck_assert_int_eq(msr_write(a, AREG_ICR, 9ULL << 32 | 0x42), 0);
	ck_assert_uint_eq(requested(0x42), 1UL << 9);
	ck_assert_int_eq(msr_read(a, AREG_ICR, &v), 0);
	ck_assert_uint_eq(v, 9ULL << 32 | 0x42);
	/* 0xff is an id like others here. */
	ck_assert_int_eq(msr_write(a, AREG_ICR, 0xffULL << 32 | 0x42), 0);
	ck_assert_uint_eq(requested(0x42), 0);
	ck_assert_int_eq(msr_write(a, AREG_ICR, (u64)LAPIC_BROADCAST << 32 | 0x42), 0);
	ck_assert_uint_eq(requested(0x42), 1UL << 9 | 1UL << 37);

	ck_assert_int_eq(msr_write(a, AREG_SELF_IPI, 0x77), 0);
	ck_assert_int_eq(take(a), 0x77);
	ck_assert_int_eq(msr_read(a, AREG_PPR, &v), 0);
	ck_assert_uint_eq(v, 0x70);
	ck_assert_int_eq(msr_write(a, AREG_EOI, 0), 0);
	ck_assert_uint_eq(a->isr_count, 0);
}
END_TEST

/* Every register: what may be read, what may be written, and which bits. */
static const struct {
	u32 reg;
	bool read;
	bool write;
	u64 valid;
} x2_regs[] = {
	{ AREG_ID, true, false, 0 },
	{ AREG_VERSION, true, false, 0 },
	{ AREG_TPR, true, true, 0xff },
	{ AREG_PPR, true, false, 0 },
	{ AREG_EOI, false, true, 0 },
	{ AREG_LDR, true, false, 0 },
	{ AREG_SVR, true, true, 0x13ff },
	{ AREG_ESR, true, true, 0 },
	{ AREG_ICR, true, true, ~0xfff32000ULL },
	{ AREG_LVT + LVT_TIMER, true, true, 0x710ff },
	{ AREG_LVT + LVT_THERMAL, true, true, 0x117ff },
	{ AREG_LVT + LVT_PERF, true, true, 0x117ff },
	{ AREG_LVT + LVT_LINT0, true, true, 0x1f7ff },
	{ AREG_LVT + LVT_LINT1, true, true, 0x1f7ff },
	{ AREG_LVT + LVT_ERROR, true, true, 0x110ff },
	{ AREG_TMICT, true, true, 0xffffffff },
	{ AREG_TMCCT, true, false, 0 },
	{ AREG_TDCR, true, true, 0xb },
	{ AREG_SELF_IPI, false, true, 0xff },
};

START_TEST(x2_reserved)
{
	struct hvx_lapic *a;
	u32 reg, i, bit;
	u64 v;

	for (reg = 0; reg < 0x100; reg++) {
		bool read = reg >= AREG_ISR && reg < AREG_ESR, write = false;
		u64 valid = 0;

		for (i = 0; i < sizeof(x2_regs) / sizeof(x2_regs[0]); i++) {
			if (x2_regs[i].reg != reg)
				continue;
			read = x2_regs[i].read;
			write = x2_regs[i].write;
			valid = x2_regs[i].valid;
		}
		a = new_x2(1);
		ck_assert_msg(msr_read(a, reg, &v) == !read, "read 0x%x", reg);
		ck_assert_msg(msr_write(a, reg, 0) == !write, "write 0x%x", reg);
		for (bit = 0; bit < 64; bit++)
			ck_assert_msg(msr_write(a, reg, 1ULL << bit) ==
				      !(write && valid >> bit & 1), "0x%x bit %u", reg, bit);
	}
	/* Far beyond: no access outside of any table. */
	a = new_x2(1);
	ck_assert_int_eq(msr_write(a, ~0U, 0), 1);
	ck_assert_int_eq(msr_read(a, ~0U, &v), 1);
	/* In xAPIC mode there are no MSRs. */
	a = new_enabled(1);
	ck_assert_int_eq(msr_read(a, AREG_ID, &v), 1);
	ck_assert_int_eq(msr_write(a, AREG_TPR, 0), 1);
	ck_assert_int_eq(msr_write(a, AREG_EOI, 0), 1);
	ck_assert_int_eq(msr_write(a, AREG_ICR, 0x40), 1);
	ck_assert_uint_eq(REG(a, AREG_ICR), 0);
}
END_TEST

static int guest_base(struct hvx_lapic *a, u64 val)
{
	return hvx_lapic_set_base(a->vcpu, val, false);
}

START_TEST(base_transitions)
{
	static const u64 state[4] = { 0, BASE_ENABLE, BASE_ENABLE | BASE_X2APIC, BASE_X2APIC };
	static const int gp[3][4] = {	/* SDM vol. 3 "x2APIC State Transitions" */
		{ 0, 0, 1, 1 },
		{ 0, 0, 0, 1 },
		{ 0, 1, 0, 1 },
	};
	struct hvx_lapic *a;
	int from, to;

	for (from = 0; from < 3; from++) {
		for (to = 0; to < 4; to++) {
			a = new_apic(1);
			ck_assert_int_eq(hvx_lapic_set_base(a->vcpu, BASE_DEFAULT | state[from], true), 0);
			ck_assert_msg(guest_base(a, BASE_DEFAULT | state[to]) == gp[from][to],
				      "%d to %d", from, to);
			ck_assert_uint_eq(a->vcpu->apic_base, BASE_DEFAULT | state[gp[from][to] ? from : to]);
			/* The host goes anywhere, but not to the state that does not exist. */
			ck_assert_int_eq(hvx_lapic_set_base(a->vcpu, BASE_DEFAULT | state[to], true), to == 3);
		}
	}

	a = new_apic(1);
	ck_assert_int_eq(guest_base(a, BASE_DEFAULT | BASE_ENABLE | 1), 1);
	ck_assert_int_eq(guest_base(a, BASE_DEFAULT | BASE_ENABLE | 1 << 9), 1);
	ck_assert_int_eq(guest_base(a, 1ULL << 40 | BASE_ENABLE), 1);
	ck_assert_int_eq(hvx_lapic_set_base(a->vcpu, 1ULL << 40 | BASE_ENABLE, true), 1);
	a->vcpu->caps = 0;
	ck_assert_int_eq(guest_base(a, BASE_DEFAULT | state[2]), 1);
	ck_assert_int_eq(guest_base(a, 1ULL << 39 | BASE_ENABLE), 0);
	ck_assert_uint_eq(a->mmio_page, 1ULL << 39);
}
END_TEST

START_TEST(base_effects)
{
	struct hvx_lapic *a = new_enabled(5);

	mmio_write(a, OFF(AREG_LDR), 0x20000000);
	mmio_write(a, OFF(AREG_TPR), 0x20);
	hvx_lapic_accept(a, 0x90, false);
	/* Into x2APIC mode registers stay; the logical id changes. */
	set_base(a, BASE_ENABLE | BASE_X2APIC);
	ck_assert_uint_eq(REG(a, AREG_TPR), 0x20);
	ck_assert_uint_eq(REG(a, AREG_LDR), 1U << 5);
	ck_assert_int_eq(hvx_lapic_pending(a), 0x90);
	/* Off: all is lost and nothing arrives, not even what was in flight. */
	set_base(a, 0);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x91, false), 0);
	set_bit(VECTOR_BIT(0x91), hvx_lapic_bits(a, AREG_IRR));
	a->irr_words = 0xff;
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	ck_assert_int_eq(hvx_lapic_highest_irr(a), -1);
	/* On again: as after power-up. */
	set_base(a, BASE_ENABLE);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	ck_assert_uint_eq(REG(a, AREG_SVR), 0xff);
	ck_assert_uint_eq(REG(a, AREG_TPR), 0);
	ck_assert_uint_eq(REG(a, AREG_LDR), 0);

	/* INIT keeps mode, id and base. */
	a = new_x2(5);
	msr_write(a, AREG_TPR, 0x30);
	hvx_lapic_reset(a->vcpu, true);
	ck_assert_int_eq(a->mode, LAPIC_X2APIC);
	ck_assert_uint_eq(REG(a, AREG_TPR), 0);
	ck_assert_uint_eq(REG(a, AREG_LDR), 1U << 5);
	ck_assert_uint_eq(REG(a, AREG_SVR), 0xff);
}
END_TEST

START_TEST(logical_flat)
{
	u32 i;

	for (i = 0; i < 4; i++) {
		struct hvx_lapic *a = new_enabled(i);

		mmio_write(a, OFF(AREG_LDR), 1U << (24 + i));
	}
	ck_assert_uint_eq(logical_dest(0x01), 0x1);
	ck_assert_uint_eq(logical_dest(0x0a), 0xa);
	ck_assert_uint_eq(logical_dest(0xff), 0xf);
	ck_assert_uint_eq(logical_dest(0xf0), 0);
	ck_assert_uint_eq(logical_dest(0x100), 0);
	ck_assert_uint_eq(logical_dest(0), 0);
	/* A logical id of several bits; a changed one; none. */
	mmio_write(vcpus[0].lapic, OFF(AREG_LDR), 0x82000000);
	ck_assert_uint_eq(logical_dest(0x01), 0);
	ck_assert_uint_eq(logical_dest(0x02), 0x3);
	ck_assert_uint_eq(logical_dest(0x80), 0x1);
	mmio_write(vcpus[1].lapic, OFF(AREG_LDR), 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xd);
	/* Turned off. */
	set_base(vcpus[0].lapic, 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xc);
}
END_TEST

START_TEST(logical_cluster)
{
	u32 i;

	for (i = 0; i < 8; i++) {
		struct hvx_lapic *a = new_enabled(i);

		mmio_write(a, OFF(AREG_DFR), 0x0fffffff);
		mmio_write(a, OFF(AREG_LDR), (i / 4) << 28 | 1U << (24 + i % 4));
	}
	ck_assert_uint_eq(logical_dest(0x01), 0x01);
	ck_assert_uint_eq(logical_dest(0x0c), 0x0c);
	ck_assert_uint_eq(logical_dest(0x1f), 0xf0);
	ck_assert_uint_eq(logical_dest(0x2f), 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xff);
	/* A reserved model matches nothing. */
	mmio_write(vcpus[0].lapic, OFF(AREG_DFR), 0x7fffffff);
	ck_assert_uint_eq(logical_dest(0x0f), 0x0e);
}
END_TEST

START_TEST(logical_x2)
{
	u32 i;

	for (i = 0; i < 64; i++)
		new_x2(i);
	ck_assert_uint_eq(logical_dest(0x00000001), 1UL << 0);
	ck_assert_uint_eq(logical_dest(0x00010003), 3UL << 16);
	ck_assert_uint_eq(logical_dest(0x00038000), 1UL << 63);
	ck_assert_uint_eq(logical_dest(0x0003ffff), 0xffffUL << 48);
	ck_assert_uint_eq(logical_dest(0x00040001), 0);
	ck_assert_uint_eq(logical_dest(0xffff0001), 0);
	ck_assert_uint_eq(logical_dest(LAPIC_BROADCAST), ~0UL);
	/* One back in xAPIC mode, by way of off. */
	set_base(vcpus[2].lapic, 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xfb);
	set_base(vcpus[2].lapic, BASE_ENABLE);
	enable(vcpus[2].lapic);
	mmio_write(vcpus[2].lapic, OFF(AREG_LDR), 0x80000000);
	ck_assert_uint_eq(logical_dest(0x80), 0x84);
}
END_TEST

START_TEST(lowest_priority)
{
	unsigned long got = 0;
	u32 v;

	new_enabled(1);
	new_enabled(3);
	new_apic(4);	/* not enabled */
	for (v = 16; v < 256; v++) {
		u64 icr = (u64)LAPIC_BROADCAST << 32 | MSG_LOWEST << 8 | v;
		unsigned long one = sent(icr);

		ck_assert_uint_eq(hweight_long(one), 1);
		ck_assert_uint_eq(one, sent(icr));
		got |= one;
	}
	ck_assert_uint_eq(got, 1UL << 1 | 1UL << 3);
	ck_assert_uint_eq(sent(4ULL << 32 | MSG_LOWEST << 8 | 0x40), 0);
	ck_assert_uint_eq(sent(5ULL << 32 | MSG_LOWEST << 8 | 0x40), 0);
	/* By a message: in so many words, or by its hint. */
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfeeff000, MSG_LOWEST << 8 | 0x40), 1);
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfeeff008, 0x40), 1);
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfeeff000, 0x40), 2);
	/* Disabled by software: no longer a candidate. */
	mmio_write(vcpus[1].lapic, OFF(AREG_SVR), 0xff);
	ck_assert_uint_eq(sent((u64)LAPIC_BROADCAST << 32 | MSG_LOWEST << 8 | 0x41), 1UL << 3);
	ck_assert_uint_eq(sent((u64)LAPIC_BROADCAST << 32 | MSG_LOWEST << 8 | 0x42), 1UL << 3);
}
END_TEST

/* NMIs and INITs that are queued; both are taken out. */
static unsigned long others(bool init)
{
	unsigned long mask = 0;
	int i;

	for (i = 0; i < HVX_MAX_VCPUS; i++) {
		if (init ? test_bit(0, &vcpus[i].init_sipi) : vcpus[i].nmi_queued.counter)
			mask |= 1UL << i;
		clear_bit(0, &vcpus[i].init_sipi);
		vcpus[i].nmi_queued.counter = 0;
	}
	return mask;
}

START_TEST(shorthands_and_modes)
{
	struct hvx_lapic *a = new_x2(0);
	struct hvx_vcpu *v = &vcpus[2];
	int i;

	new_x2(2);
	new_x2(63);
	ck_assert_uint_eq(sent(SHORT_SELF << 18 | 0x50), 1UL << 0);
	ck_assert_uint_eq(sent(SHORT_ALL << 18 | 0x50), 1UL << 0 | 1UL << 2 | 1UL << 63);
	ck_assert_uint_eq(sent(SHORT_OTHERS << 18 | 0x50), 1UL << 2 | 1UL << 63);
	/* The trigger mode of an IPI means nothing. */
	ck_assert_uint_eq(sent(2ULL << 32 | MSG_LEVEL | MSG_ASSERT | MSG_LOGICAL | 0x50), 0);
	ck_assert_uint_eq(sent(4ULL << 32 | MSG_LEVEL | MSG_ASSERT | MSG_LOGICAL | 0x50), 1UL << 2);
	ck_assert(!test_bit(VECTOR_BIT(0x50), hvx_lapic_bits(v->lapic, AREG_TMR)));

	sent(SHORT_OTHERS << 18 | MSG_NMI << 8);
	ck_assert_uint_eq(others(false), 1UL << 2 | 1UL << 63);
	for (i = 0; i < 3; i++)
		sent(2ULL << 32 | MSG_NMI << 8);
	ck_assert_int_eq(v->nmi_queued.counter, 2);
	ck_assert_uint_eq(others(false), 1UL << 2);
	/* Not to oneself, neither of these, nor ExtINT to anybody. */
	sent(SHORT_SELF << 18 | MSG_NMI << 8);
	sent(SHORT_ALL << 18 | MSG_NMI << 8);
	ck_assert_uint_eq(others(false), 0);
	sent(SHORT_ALL << 18 | MSG_INIT << 8);
	ck_assert_uint_eq(others(true), 0);
	ck_assert_uint_eq(sent(2ULL << 32 | MSG_EXTINT << 8 | 0x50), 0);

	sent(2ULL << 32 | MSG_SIPI << 8 | 0x9a);
	ck_assert_uint_eq(v->init_sipi, 2);
	ck_assert_uint_eq(v->sipi_queued, 0x9a);
	/* INIT ends a SIPI that waits; its de-assertion does nothing. */
	sent(SHORT_OTHERS << 18 | MSG_INIT << 8 | MSG_LEVEL);
	ck_assert_uint_eq(v->init_sipi, 2);
	sent(SHORT_OTHERS << 18 | MSG_INIT << 8 | MSG_LEVEL | MSG_ASSERT);
	ck_assert_uint_eq(v->init_sipi, 1);
	ck_assert_uint_eq(others(true), 1UL << 2 | 1UL << 63);
	/* No SIPI or ExtINT by a message, but NMI and INIT. */
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfee02000, MSG_SIPI << 8 | 1), 0);
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfee02000, MSG_EXTINT << 8 | 0x50), 0);
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfee02000, MSG_INIT << 8), 1);
	ck_assert_uint_eq(others(true), 1UL << 2);
	ck_assert_int_eq(hvx_deliver_msi(&vm, 0xfeeff000, MSG_NMI << 8), 3);
	ck_assert_uint_eq(others(false), 1UL << 0 | 1UL << 2 | 1UL << 63);
	/* An illegal vector is the sender's error. */
	ck_assert_uint_eq(sent(2ULL << 32 | 15), 0);
	ck_assert_uint_eq(a->esr_pending, 1U << ESR_SEND_VECTOR);
	ck_assert_uint_eq(v->lapic->esr_pending, 0);

	/* By a bitmap: the lowest id, and what each mode makes of two halves. */
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 5, 0, 0, 0x50, true), 2);
	ck_assert_uint_eq(requested(0x50), 1UL << 0 | 1UL << 2);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 1, ~0ULL, 63, 0x50, true), 1);
	ck_assert_uint_eq(requested(0x50), 1UL << 63);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 1, 1U << 31, 0, 0x50, false), 2);
	ck_assert_uint_eq(requested(0x50), 1UL << 0 | 1UL << 63);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 1, 0, 64, 0x50, true), 0);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, MSG_NMI << 8, true), 1);
	ck_assert_uint_eq(others(false), 1UL << 2);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, 15, true), -KVM_EINVAL);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, MSG_INIT << 8, true), -KVM_EINVAL);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, MSG_LOGICAL | 0x50, true), -KVM_EINVAL);
}
END_TEST

START_TEST(state_round_trip)
{
	struct hvx_lapic *a = new_enabled(9), *b;
	static struct hvx_lapic_state first, again;

	mmio_write(a, OFF(AREG_LDR), 0x40000000);
	mmio_write(a, OFF(AREG_TPR), 0x11);
	mmio_write(a, OFF(AREG_ICR2), 0x03000000);
	mmio_write(a, OFF(AREG_ICR), 0x55);
	mmio_write(a, OFF(AREG_LVT + LVT_TIMER), LVT_PERIODIC << 17 | 0x99);
	mmio_write(a, OFF(AREG_TMICT), 12345);
	mmio_write(a, OFF(AREG_TDCR), 3);
	hvx_lapic_accept(a, 0x30, true);
	hvx_lapic_accept(a, 0x62, false);
	take(a);
	hvx_lapic_accept(a, 0x73, true);
	take(a);
	hvx_lapic_accept(a, 0xfe, false);
	fake_ns += 1000;
	a->vcpu->init_sipi = 2;
	a->vcpu->sipi_queued = 0x88;
	hvx_lapic_get(a->vcpu, &first);
	/* The tick that has begun counts. */
	ck_assert_uint_eq(first.regs[AREG_TMCCT * 4], 12345 - 1000 / 16);
	ck_assert_uint_eq(first.pending_init, 0);
	ck_assert_uint_eq(first.pending_sipi, 1);
	ck_assert_uint_eq(first.sipi_vector, 0x88);

	b = new_apic(9);
	ck_assert_int_eq(hvx_lapic_set(b->vcpu, &first), 0);
	hvx_lapic_get(b->vcpu, &again);
	ck_assert_mem_eq(&first, &again, sizeof(first));
	ck_assert_uint_eq(b->timer.at, fake_ns + 16 * (12345 - 1000 / 16));
	ck_assert_uint_eq(b->isr_count, 2);
	ck_assert_int_eq(b->isr_top, 0x73);
	ck_assert_int_eq(take(b), 0xfe);
	ck_assert_uint_eq(logical_dest(0x40), 1UL << 9);

	again = first;
	again.regs[AREG_ID * 4] = 8U << 24;
	ck_assert_int_eq(hvx_lapic_set(b->vcpu, &again), -EINVAL);
	again = first;
	again.regs[AREG_TMCCT * 4] = 12345 + 1;
	ck_assert_int_eq(hvx_lapic_set(b->vcpu, &again), -EINVAL);
	again = first;
	again.pending_sipi = 2;
	ck_assert_int_eq(hvx_lapic_set(b->vcpu, &again), -EINVAL);

	/* A deadline; and the id as x2APIC shows it. */
	a = new_x2(9);
	msr_write(a, TIMER, LVT_DEADLINE << 17 | 0x99);
	set_deadline(a, fake_tsc + 4000);
	hvx_lapic_get(a->vcpu, &first);
	ck_assert_uint_eq(first.tsc_deadline, fake_tsc + 4000);
	ck_assert_uint_eq(first.regs[AREG_TMCCT * 4], 0);
	b = new_apic(9);
	ck_assert_int_eq(hvx_lapic_set_base(b->vcpu, BASE_DEFAULT | BASE_ENABLE | BASE_X2APIC,
					    true), 0);
	ck_assert_int_eq(hvx_lapic_set(b->vcpu, &first), 0);
	hvx_lapic_get(b->vcpu, &again);
	ck_assert_mem_eq(&first, &again, sizeof(first));
	ck_assert_uint_eq(run_timer(b), 1);
}
END_TEST

START_TEST(hostile_state)
{
	struct hvx_lapic *a = new_apic(9);
	static struct hvx_lapic_state s;
	int i, v;

	memset(s.regs, 0xff, sizeof(s.regs));
	s.regs[AREG_ID * 4] = 9;
	s.tsc_deadline = ~0ULL;
	ck_assert_int_eq(hvx_lapic_set(a->vcpu, &s), 0);
	ck_assert_int_eq(a->isr_top, 255);
	ck_assert_uint_eq(a->isr_count, 240);
	ck_assert_int_eq(hvx_lapic_pending(a), -1);
	for (i = 0; i < 300; i++)
		hvx_lapic_eoi(a);
	ck_assert_uint_eq(a->isr_count, 0);
	hvx_lapic_set_cr8(a->vcpu, 0);
	for (v = 255; v >= 16; v--) {
		ck_assert_int_eq(take(a), v);
		hvx_lapic_eoi(a);
	}
	ck_assert_int_eq(take(a), -1);
}
END_TEST

/* Random register traffic: the cached top, count and PPR stay what the bitmaps say. */
START_TEST(random_traffic)
{
	struct hvx_lapic *a = new_enabled(1);
	unsigned int seed = 1, i, n, j;
	int top;

	for (i = 0; i < 300000; i++) {
		u32 r = rand_r(&seed), val = rand_r(&seed);

		switch (r % 8) {
		case 0 ... 1:
			hvx_lapic_accept(a, val >> 3, val & 1);
			break;
		case 2 ... 3:
			take(a);
			break;
		case 4:
			hvx_lapic_eoi(a);
			break;
		case 5:
			mmio_write(a, r >> 8 & 0xfff, val ^ val << 13);
			break;
		case 6:
			msr_write(a, r >> 8 & 0x7f, val & (1U << (val >> 27)));
			mmio_read(a, r >> 8 & 0xfff);
			break;
		case 7:
			if (r >> 8 & 0x3f)
				break;
			guest_base(a, BASE_DEFAULT | (val & 0xd00));
			enable(a);
			break;
		}
		for (n = j = 0, top = -1; j < 256; j++) {
			if (test_bit(VECTOR_BIT(j), hvx_lapic_bits(a, AREG_ISR))) {
				top = j;
				n++;
			}
		}
		ck_assert_uint_eq(a->isr_count, n);
		ck_assert_int_eq(a->isr_top, top);
		ck_assert_uint_eq(REG(a, AREG_PPR) & 0xf0,
				  a->isr_top > 0 && (a->isr_top & 0xf0) > (REG(a, AREG_TPR) & 0xf0) ?
				  a->isr_top & 0xf0 : REG(a, AREG_TPR) & 0xf0);
		for (j = 0; j < 8; j++)
			ck_assert(a->irr_words >> j & 1 || !REG(a, AREG_IRR + j));
	}
}
END_TEST

/* No request is lost between senders that set irr and the runner that clears irr_words. */
#define ROUNDS 200000

static unsigned int delivered[2];

static void *sender(void *arg)
{
	unsigned int n = (unsigned long)arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		while (__atomic_load_n(&delivered[n], __ATOMIC_ACQUIRE) != (unsigned int)i)
			;
		hvx_lapic_accept(vcpus[1].lapic, 0x40 + 0x10 * n, false);
	}
	return NULL;
}

START_TEST(concurrent_requests)
{
	struct hvx_lapic *a = new_enabled(1);
	pthread_t t[2];
	unsigned long n;
	int v;

	delivered[0] = delivered[1] = 0;
	for (n = 0; n < 2; n++)
		ck_assert_int_eq(pthread_create(&t[n], NULL, sender, (void *)n), 0);
	/* A lost request stalls its sender, and the test runs into its timeout. */
	while (delivered[0] < ROUNDS || delivered[1] < ROUNDS) {
		hvx_lapic_highest_irr(a);
		v = take(a);
		if (v < 0)
			continue;
		hvx_lapic_eoi(a);
		n = (v - 0x40) / 0x10;
		__atomic_store_n(&delivered[n], delivered[n] + 1, __ATOMIC_RELEASE);
	}
	for (n = 0; n < 2; n++)
		pthread_join(t[n], NULL);
	ck_assert_int_eq(take(a), -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lapic");
	TCase *t = tcase_create("lapic");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, power_up);
	tcase_add_test(t, priority_and_eoi);
	tcase_add_test(t, tpr_ppr);
	tcase_add_test(t, level_eoi);
	tcase_add_test(t, error_status);
	tcase_add_test(t, lvt);
	tcase_add_test(t, oneshot);
	tcase_add_test(t, periodic);
	tcase_add_test(t, tsc_deadline);
	tcase_add_test(t, xapic_icr);
	tcase_add_test(t, unaligned);
	tcase_add_test(t, x2_registers);
	tcase_add_test(t, x2_reserved);
	tcase_add_test(t, base_transitions);
	tcase_add_test(t, base_effects);
	tcase_add_test(t, logical_flat);
	tcase_add_test(t, logical_cluster);
	tcase_add_test(t, logical_x2);
	tcase_add_test(t, lowest_priority);
	tcase_add_test(t, shorthands_and_modes);
	tcase_add_test(t, state_round_trip);
	tcase_add_test(t, hostile_state);
	tcase_add_test(t, random_traffic);
	tcase_add_test(t, concurrent_requests);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
