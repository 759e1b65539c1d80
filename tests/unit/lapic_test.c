// SPDX-License-Identifier: GPL-2.0-only
/* Unit tests of the local APIC: registers, IA32_APIC_BASE, saved state. */
/* units: kmod/irq/lapic.c kmod/irq/route.c tests/unit/lapic_fixture.c */
#include "lapic_fixture.h"

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

LAPIC_MAIN("lapic",
	   power_up, priority_and_eoi, tpr_ppr, level_eoi, error_status, lvt, xapic_icr,
	   unaligned, x2_registers, x2_reserved, base_transitions, base_effects,
	   state_round_trip, hostile_state)
