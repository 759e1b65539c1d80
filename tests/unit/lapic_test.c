// SPDX-License-Identifier: GPL-2.0-only
/* Unit tests of the local APIC's registers. */
/* units: kmod/irq/lapic_core.c */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "../../kmod/irq/lapic_core.h"

/* What the registers asked for. */
static struct {
	int ipis, eois, wakes, nmis, starts, modes, divides;
	u64 icr;
	u8 eoi_vector;
	u32 count;
} did;

void hvx_apic_do_ipi(struct hvx_apic *a, u64 icr)
{
	(void)a;
	did.ipis++;
	did.icr = icr;
}

void hvx_apic_do_eoi(struct hvx_apic *a, u8 vector)
{
	(void)a;
	did.eois++;
	did.eoi_vector = vector;
}

void hvx_apic_do_wake(struct hvx_apic *a)
{
	(void)a;
	did.wakes++;
}

void hvx_apic_do_nmi(struct hvx_apic *a)
{
	(void)a;
	did.nmis++;
}

void hvx_apic_do_timer_start(struct hvx_apic *a)
{
	(void)a;
	did.starts++;
}

void hvx_apic_do_timer_mode(struct hvx_apic *a, u32 old)
{
	(void)a;
	(void)old;
	did.modes++;
}

void hvx_apic_do_timer_divide(struct hvx_apic *a, u32 tdcr)
{
	did.divides++;
	a->tdcr = tdcr;
}

u32 hvx_apic_do_timer_count(struct hvx_apic *a)
{
	(void)a;
	return did.count;
}

#define OFF(reg)	((reg) * 16)

static struct hvx_apic apics[64];

/* The APICs that exist and answer to the logical destination. */
static unsigned long logical_dest(u32 dest)
{
	unsigned long mask = 0;
	int i;

	for (i = 0; i < 64; i++)
		if (apics[i].base && hvx_apic_is_dest(&apics[i], dest))
			mask |= 1UL << i;
	return mask;
}

static unsigned long lowest_of(unsigned long mask, u8 vector)
{
	int i;

	for (i = 0; i < 64; i++)
		if (!apics[i].accepting)
			mask &= ~(1UL << i);
	return hvx_apic_lowest(mask, vector);
}

static struct hvx_apic *new_apic(u32 id)
{
	struct hvx_apic *a = &apics[id];

	memset(a, 0, sizeof(*a));
	a->id = id;
	hvx_apic_reset(a, false);
	return a;
}

static void enable(struct hvx_apic *a)
{
	hvx_apic_mmio_write(a, OFF(AREG_SVR), SVR_ENABLE | 0xff);
}

static void set_base(struct hvx_apic *a, u64 bits)
{
	ck_assert_int_eq(hvx_apic_set_base(a, BASE_DEFAULT | bits, false, true, 40), 0);
}

static struct hvx_apic *new_enabled(u32 id)
{
	struct hvx_apic *a = new_apic(id);

	enable(a);
	return a;
}

static struct hvx_apic *new_x2(u32 id)
{
	struct hvx_apic *a = new_enabled(id);

	set_base(a, BASE_ENABLE | BASE_X2APIC);
	return a;
}

static void setup(void)
{
	memset(&did, 0, sizeof(did));
	memset(apics, 0, sizeof(apics));
}

static int take(struct hvx_apic *a)
{
	int v = hvx_apic_pending(a);

	if (v >= 0)
		hvx_apic_ack(a, v);
	return v;
}

START_TEST(power_up)
{
	struct hvx_apic *a = new_apic(3);
	u32 r;

	ck_assert_uint_eq(a->base, BASE_DEFAULT | BASE_ENABLE);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ID)), 3U << 24);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_SVR)), 0xff);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_DFR)), 0xffffffff);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_VERSION)), 0x01050014);
	for (r = AREG_LVT; r < AREG_LVT + HVX_LVT_NR; r++)
		ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(r)), LVT_MASKED);
	/* Disabled by SVR: nothing is accepted. */
	ck_assert_int_eq(hvx_apic_accept(a, 0x40, false), 0);
	ck_assert_int_eq(hvx_apic_pending(a), -1);

	a = new_apic(0);
	ck_assert_uint_eq(a->base, BASE_DEFAULT | BASE_ENABLE | BASE_BSP);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_LINT0)), MSG_EXTINT << 8);
}
END_TEST

START_TEST(priority_and_eoi)
{
	struct hvx_apic *a = new_enabled(1);

	ck_assert_int_eq(hvx_apic_accept(a, 0x31, false), 2);
	ck_assert_int_eq(hvx_apic_accept(a, 0x31, false), 1);
	ck_assert_int_eq(hvx_apic_accept(a, 0x52, false), 2);
	ck_assert_int_eq(hvx_apic_accept(a, 0xff, false), 2);
	ck_assert_int_eq(hvx_apic_accept(a, 0x10, false), 2);

	ck_assert_int_eq(take(a), 0xff);
	ck_assert_uint_eq(a->ppr, 0xf0);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	ck_assert_int_eq(hvx_apic_highest_irr(a), 0x52);
	hvx_apic_mmio_write(a, OFF(AREG_EOI), 0);
	ck_assert_int_eq(take(a), 0x52);
	/* The same class waits, a higher one nests. */
	ck_assert_int_eq(hvx_apic_accept(a, 0x5f, false), 2);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	ck_assert_int_eq(hvx_apic_accept(a, 0x60, false), 2);
	ck_assert_int_eq(take(a), 0x60);
	ck_assert_uint_eq(a->isr_count, 2);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ISR + 2)), 1U << 18);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ISR + 3)), 1U << 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_IRR + 2)), 1U << 31);
	hvx_apic_eoi(a);
	ck_assert_uint_eq(a->ppr, 0x50);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	hvx_apic_eoi(a);
	ck_assert_int_eq(take(a), 0x5f);
	hvx_apic_eoi(a);
	ck_assert_int_eq(take(a), 0x31);
	hvx_apic_eoi(a);
	ck_assert_int_eq(take(a), 0x10);
	hvx_apic_eoi(a);
	ck_assert_int_eq(take(a), -1);
	ck_assert_uint_eq(a->ppr, 0);
	ck_assert_int_eq(a->irr_pending, 0);
	/* One too many does nothing. */
	hvx_apic_eoi(a);
	ck_assert_uint_eq(a->isr_count, 0);
	ck_assert_int_eq(did.eois, 0);
}
END_TEST

START_TEST(tpr_ppr)
{
	struct hvx_apic *a = new_enabled(1);

	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0x45);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_PPR)), 0x45);
	hvx_apic_accept(a, 0x4f, false);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	ck_assert_int_eq(hvx_apic_highest_irr(a), 0x4f);
	hvx_apic_accept(a, 0x50, false);
	ck_assert_int_eq(take(a), 0x50);
	/* Below the class in service TPR does not count; at or above it does, with its subclass. */
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_PPR)), 0x50);
	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0x5a);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_PPR)), 0x5a);
	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0x62);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_PPR)), 0x62);
	hvx_apic_mmio_write(a, OFF(AREG_EOI), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_PPR)), 0x62);
	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0x3f);
	ck_assert_int_eq(take(a), 0x4f);
	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0xff);
	hvx_apic_accept(a, 0xff, false);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
}
END_TEST

START_TEST(level_eoi)
{
	struct hvx_apic *a = new_enabled(1);

	hvx_apic_accept(a, 0x80, true);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_TMR + 4)), 1);
	ck_assert_int_eq(take(a), 0x80);
	hvx_apic_mmio_write(a, OFF(AREG_EOI), 0);
	ck_assert_int_eq(did.eois, 1);
	ck_assert_uint_eq(did.eoi_vector, 0x80);

	/* The next request of the vector decides its trigger mode anew. */
	hvx_apic_accept(a, 0x80, false);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_TMR + 4)), 0);
	ck_assert_int_eq(take(a), 0x80);
	hvx_apic_eoi(a);
	ck_assert_int_eq(did.eois, 1);

	hvx_apic_mmio_write(a, OFF(AREG_SVR), SVR_NO_EOI_BROADCAST | SVR_ENABLE | 0xff);
	hvx_apic_accept(a, 0x80, true);
	ck_assert_int_eq(take(a), 0x80);
	hvx_apic_eoi(a);
	ck_assert_int_eq(did.eois, 1);
	ck_assert_uint_eq(a->isr_count, 0);
}
END_TEST

START_TEST(error_status)
{
	struct hvx_apic *a = new_enabled(1);

	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_ERROR), 0xfe);
	ck_assert_int_eq(hvx_apic_accept(a, 15, false), 0);
	ck_assert_int_eq(did.wakes, 1);
	ck_assert_int_eq(take(a), 0xfe);
	hvx_apic_eoi(a);
	/* Visible only after a write; no second interrupt for the same bit before it. */
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ESR)), 0);
	hvx_apic_accept(a, 0, false);
	ck_assert_int_eq(take(a), -1);
	hvx_apic_mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ESR)), 1U << ESR_RECEIVE_VECTOR);
	hvx_apic_mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ESR)), 0);

	/* Registers that do not exist, 0x2f0 (CMCI) among them. */
	hvx_apic_mmio_write(a, 0x2f0, 0);
	ck_assert_int_eq(take(a), 0xfe);
	hvx_apic_eoi(a);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, 0x400), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, 0xff0), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_SELF_IPI)), 0);
	hvx_apic_mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ESR)), 1U << ESR_REGISTER);

	/* An illegal vector in the error entry itself: recorded, delivered to nobody. */
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_ERROR), 0x05);
	hvx_apic_error(a, ESR_SEND_VECTOR);
	ck_assert_int_eq(take(a), -1);
	hvx_apic_mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ESR)),
			  1U << ESR_SEND_VECTOR | 1U << ESR_RECEIVE_VECTOR);
}
END_TEST

START_TEST(lvt)
{
	struct hvx_apic *a = new_apic(0);

	/* Disabled: entries cannot be unmasked. */
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_PERF), 0x33);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_PERF)), LVT_MASKED | 0x33);
	enable(a);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_PERF), 0xffffffff & ~LVT_MASKED);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_PERF)), 0x7ff);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_LINT1), ~0U);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_LINT1)), 0x1a7ff);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_TIMER), ~0U);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_TIMER)), 0x700ff);

	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_PERF), MSG_NMI << 8);
	hvx_apic_lvt_fire(a, LVT_PERF);
	ck_assert_int_eq(did.nmis, 1);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_TIMER), 0xec);
	hvx_apic_lvt_fire(a, LVT_TIMER);
	hvx_apic_lvt_fire(a, LVT_TIMER);
	ck_assert_int_eq(did.wakes, 1);
	ck_assert_int_eq(take(a), 0xec);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_TIMER), LVT_MASKED | 0xec);
	hvx_apic_lvt_fire(a, LVT_TIMER);
	ck_assert_int_eq(hvx_apic_highest_irr(a), -1);

	/* Disabling masks all, and enabling leaves them so. */
	hvx_apic_mmio_write(a, OFF(AREG_SVR), 0xff);
	enable(a);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_PERF)),
			  LVT_MASKED | MSG_NMI << 8);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_LVT + LVT_LINT0)),
			  LVT_MASKED | MSG_EXTINT << 8);
}
END_TEST

START_TEST(timer_registers)
{
	struct hvx_apic *a = new_enabled(1);

	memset(&did, 0, sizeof(did));
	hvx_apic_mmio_write(a, OFF(AREG_TMICT), 1000);
	ck_assert_int_eq(did.starts, 1);
	did.count = 77;
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_TMICT)), 1000);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_TMCCT)), 77);
	hvx_apic_mmio_write(a, OFF(AREG_TDCR), 0xff);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_TDCR)), 0xb);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_TIMER), LVT_DEADLINE << 17 | 0x30);
	ck_assert_int_eq(did.modes, 1);
	/* In TSC-deadline mode the initial count is ignored. */
	hvx_apic_mmio_write(a, OFF(AREG_TMICT), 5);
	ck_assert_int_eq(did.starts, 1);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_TMICT)), 1000);
}
END_TEST

START_TEST(xapic_icr)
{
	struct hvx_apic *a = new_enabled(1);

	hvx_apic_mmio_write(a, OFF(AREG_ICR2), 0x05ffffff);
	ck_assert_int_eq(did.ipis, 0);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ICR2)), 0x05000000);
	hvx_apic_mmio_write(a, OFF(AREG_ICR), ICR_BUSY | 0x4041);
	ck_assert_uint_eq(did.icr, 5ULL << 32 | 0x4041);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ICR)), 0x4041);
	/* 0xff is everybody, but as a logical destination it is just all the bits. */
	hvx_apic_mmio_write(a, OFF(AREG_ICR2), 0xff000000);
	hvx_apic_mmio_write(a, OFF(AREG_ICR), 0x41);
	ck_assert_uint_eq(did.icr, (u64)LAPIC_BROADCAST << 32 | 0x41);
	hvx_apic_mmio_write(a, OFF(AREG_ICR), MSG_LOGICAL | 0x41);
	ck_assert_uint_eq(did.icr, 0xffULL << 32 | MSG_LOGICAL | 0x41);
	ck_assert_int_eq(did.ipis, 3);
}
END_TEST

START_TEST(narrow_and_unaligned)
{
	struct hvx_apic *a = new_enabled(0x2a);

	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ID) + 3), 0x2a);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ID) + 4), 0);
	hvx_apic_mmio_write(a, OFF(AREG_TPR) + 4, 0x50);
	hvx_apic_mmio_write(a, OFF(AREG_TPR) + 1, 0x50);
	ck_assert_uint_eq(a->tpr, 0);
	hvx_apic_mmio_write(a, OFF(AREG_ID), 0x11000000);
	ck_assert_uint_eq(hvx_apic_mmio_read(a, OFF(AREG_ID)), 0x2a000000);
	hvx_apic_mmio_write(a, OFF(AREG_ESR), 0);
	ck_assert_uint_eq(a->esr, 0);
}
END_TEST

START_TEST(x2_registers)
{
	struct hvx_apic *a = new_x2(37);
	u64 v;

	ck_assert_uint_eq(a->mmio_page, ~0ULL);
	ck_assert_int_eq(hvx_apic_msr_read(a, AREG_ID, &v), 0);
	ck_assert_uint_eq(v, 37);
	ck_assert_int_eq(hvx_apic_msr_read(a, AREG_LDR, &v), 0);
	ck_assert_uint_eq(v, 2U << 16 | 1U << 5);
	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_ICR, 9ULL << 32 | 0x42), 0);
	ck_assert_uint_eq(did.icr, 9ULL << 32 | 0x42);
	ck_assert_int_eq(hvx_apic_msr_read(a, AREG_ICR, &v), 0);
	ck_assert_uint_eq(v, 9ULL << 32 | 0x42);
	/* 0xff is an id like others here. */
	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_ICR, 0xffULL << 32 | 0x42), 0);
	ck_assert_uint_eq(did.icr, 0xffULL << 32 | 0x42);

	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_SELF_IPI, 0x77), 0);
	ck_assert_uint_eq(did.icr, SHORT_SELF << 18 | 0x77);

	hvx_apic_accept(a, 0x77, false);
	ck_assert_int_eq(take(a), 0x77);
	ck_assert_int_eq(hvx_apic_msr_read(a, AREG_PPR, &v), 0);
	ck_assert_uint_eq(v, 0x70);
	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_EOI, 0), 0);
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
	struct hvx_apic *a;
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
		ck_assert_msg(hvx_apic_msr_read(a, reg, &v) == !read, "read 0x%x", reg);
		ck_assert_msg(hvx_apic_msr_write(a, reg, 0) == !write, "write 0x%x", reg);
		for (bit = 0; bit < 64; bit++)
			ck_assert_msg(hvx_apic_msr_write(a, reg, 1ULL << bit) ==
				      !(write && valid >> bit & 1), "0x%x bit %u", reg, bit);
	}
	/* Far beyond: no access outside of any table. */
	a = new_x2(1);
	ck_assert_int_eq(hvx_apic_msr_write(a, ~0U, 0), 1);
	ck_assert_int_eq(hvx_apic_msr_read(a, ~0U, &v), 1);
	/* In xAPIC mode there are no MSRs. */
	a = new_enabled(1);
	ck_assert_int_eq(hvx_apic_msr_read(a, AREG_ID, &v), 1);
	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_TPR, 0), 1);
	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_EOI, 0), 1);
	ck_assert_int_eq(hvx_apic_msr_write(a, AREG_ICR, 0x40), 1);
	ck_assert_uint_eq(a->icr, 0);
}
END_TEST

START_TEST(base_transitions)
{
	static const u64 state[4] = { 0, BASE_ENABLE, BASE_ENABLE | BASE_X2APIC, BASE_X2APIC };
	static const int gp[3][4] = {	/* SDM vol. 3 "x2APIC State Transitions" */
		{ 0, 0, 1, 1 },
		{ 0, 0, 0, 1 },
		{ 0, 1, 0, 1 },
	};
	struct hvx_apic *a;
	int from, to;

	for (from = 0; from < 3; from++) {
		for (to = 0; to < 4; to++) {
			a = new_apic(1);
			ck_assert_int_eq(hvx_apic_set_base(a, BASE_DEFAULT | state[from], true,
							   true, 40), 0);
			ck_assert_msg(hvx_apic_set_base(a, BASE_DEFAULT | state[to], false, true,
							40) == gp[from][to], "%d to %d", from, to);
			ck_assert_uint_eq(a->base, BASE_DEFAULT | state[gp[from][to] ? from : to]);
			/* The host goes anywhere, but not to the state that does not exist. */
			ck_assert_int_eq(hvx_apic_set_base(a, BASE_DEFAULT | state[to], true, true,
							   40), to == 3);
		}
	}

	a = new_apic(1);
	ck_assert_int_eq(hvx_apic_set_base(a, BASE_DEFAULT | BASE_ENABLE | 1, false, true, 40), 1);
	ck_assert_int_eq(hvx_apic_set_base(a, BASE_DEFAULT | BASE_ENABLE | 1 << 9, false, true,
					   40), 1);
	ck_assert_int_eq(hvx_apic_set_base(a, 1ULL << 40 | BASE_ENABLE, false, true, 40), 1);
	ck_assert_int_eq(hvx_apic_set_base(a, 1ULL << 63 | BASE_ENABLE, true, true, 52), 1);
	ck_assert_int_eq(hvx_apic_set_base(a, BASE_DEFAULT | state[2], false, false, 40), 1);
	ck_assert_int_eq(hvx_apic_set_base(a, 1ULL << 39 | BASE_ENABLE, false, true, 40), 0);
	ck_assert_uint_eq(a->mmio_page, 1ULL << 39);
}
END_TEST

START_TEST(base_effects)
{
	struct hvx_apic *a = new_enabled(5);

	hvx_apic_mmio_write(a, OFF(AREG_LDR), 0x20000000);
	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0x20);
	hvx_apic_accept(a, 0x90, false);
	/* Into x2APIC mode registers stay; the logical id changes. */
	set_base(a, BASE_ENABLE | BASE_X2APIC);
	ck_assert_uint_eq(a->tpr, 0x20);
	ck_assert_uint_eq(a->ldr, 1U << 5);
	ck_assert_int_eq(hvx_apic_pending(a), 0x90);
	/* Off: all is lost and nothing arrives, not even what was in flight. */
	set_base(a, 0);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	ck_assert_int_eq(hvx_apic_accept(a, 0x91, false), 0);
	set_bit(0x91, a->irr);
	a->irr_pending = 1;
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	ck_assert_int_eq(hvx_apic_highest_irr(a), -1);
	/* On again: as after power-up. */
	set_base(a, BASE_ENABLE);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	ck_assert_uint_eq(a->svr, 0xff);
	ck_assert_uint_eq(a->tpr, 0);
	ck_assert_uint_eq(a->ldr, 0);

	/* INIT keeps mode, id and base. */
	a = new_x2(5);
	hvx_apic_msr_write(a, AREG_TPR, 0x30);
	hvx_apic_reset(a, true);
	ck_assert_int_eq(a->mode, LAPIC_X2APIC);
	ck_assert_uint_eq(a->tpr, 0);
	ck_assert_uint_eq(a->ldr, 1U << 5);
	ck_assert_uint_eq(a->svr, 0xff);
}
END_TEST

START_TEST(logical_flat)
{
	u32 i;

	for (i = 0; i < 4; i++) {
		struct hvx_apic *a = new_enabled(i);

		hvx_apic_mmio_write(a, OFF(AREG_LDR), 1U << (24 + i));
	}
	ck_assert_uint_eq(logical_dest(0x01), 0x1);
	ck_assert_uint_eq(logical_dest(0x0a), 0xa);
	ck_assert_uint_eq(logical_dest(0xff), 0xf);
	ck_assert_uint_eq(logical_dest(0xf0), 0);
	ck_assert_uint_eq(logical_dest(0x100), 0);
	ck_assert_uint_eq(logical_dest(0), 0);
	/* A logical id of several bits; a changed one; none. */
	hvx_apic_mmio_write(&apics[0], OFF(AREG_LDR), 0x82000000);
	ck_assert_uint_eq(logical_dest(0x01), 0);
	ck_assert_uint_eq(logical_dest(0x02), 0x3);
	ck_assert_uint_eq(logical_dest(0x80), 0x1);
	hvx_apic_mmio_write(&apics[1], OFF(AREG_LDR), 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xd);
	/* Turned off. */
	set_base(&apics[0], 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xc);
}
END_TEST

START_TEST(logical_cluster)
{
	u32 i;

	for (i = 0; i < 8; i++) {
		struct hvx_apic *a = new_enabled(i);

		hvx_apic_mmio_write(a, OFF(AREG_DFR), 0x0fffffff);
		hvx_apic_mmio_write(a, OFF(AREG_LDR), (i / 4) << 28 | 1U << (24 + i % 4));
	}
	ck_assert_uint_eq(logical_dest(0x01), 0x01);
	ck_assert_uint_eq(logical_dest(0x0c), 0x0c);
	ck_assert_uint_eq(logical_dest(0x1f), 0xf0);
	ck_assert_uint_eq(logical_dest(0x2f), 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xff);
	/* A reserved model matches nothing. */
	hvx_apic_mmio_write(&apics[0], OFF(AREG_DFR), 0x7fffffff);
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
	set_base(&apics[2], 0);
	ck_assert_uint_eq(logical_dest(0xff), 0xfb);
	set_base(&apics[2], BASE_ENABLE);
	hvx_apic_mmio_write(&apics[2], OFF(AREG_LDR), 0x80000000);
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
	ck_assert_uint_eq(lowest_of(1UL << 4, 0x40), 0);
	ck_assert_uint_eq(lowest_of(0, 0x40), 0);
	for (v = 16; v < 256; v++) {
		unsigned long one = lowest_of(~0UL, v);

		ck_assert_int_eq(hweight_long(one), 1);
		ck_assert_uint_eq(one, lowest_of(~0UL, v));
		got |= one;
	}
	ck_assert_uint_eq(got, 1UL << 1 | 1UL << 3);
	/* Disabled by software: no longer a candidate. */
	hvx_apic_mmio_write(&apics[1], OFF(AREG_SVR), 0xff);
	ck_assert_uint_eq(lowest_of(~0UL, 0x41), 1UL << 3);
	ck_assert_uint_eq(lowest_of(~0UL, 0x40), 1UL << 3);
}
END_TEST

START_TEST(state_round_trip)
{
	struct hvx_apic *a = new_enabled(9), *b;
	static u32 regs[256], again[256];

	hvx_apic_mmio_write(a, OFF(AREG_LDR), 0x40000000);
	hvx_apic_mmio_write(a, OFF(AREG_TPR), 0x11);
	hvx_apic_mmio_write(a, OFF(AREG_ICR2), 0x03000000);
	hvx_apic_mmio_write(a, OFF(AREG_ICR), 0x55);
	hvx_apic_mmio_write(a, OFF(AREG_LVT + LVT_TIMER), LVT_PERIODIC << 17 | 0x99);
	hvx_apic_mmio_write(a, OFF(AREG_TMICT), 12345);
	hvx_apic_mmio_write(a, OFF(AREG_TDCR), 3);
	hvx_apic_accept(a, 0x30, true);
	hvx_apic_accept(a, 0x62, false);
	take(a);
	hvx_apic_accept(a, 0x73, true);
	take(a);
	hvx_apic_accept(a, 0xfe, false);
	hvx_apic_export(a, regs);

	memset(&apics[9], 0, sizeof(apics[9]));
	b = new_apic(9);
	ck_assert_int_eq(hvx_apic_import(b, regs), 0);
	hvx_apic_export(b, again);
	ck_assert_mem_eq(regs, again, sizeof(regs));
	ck_assert_uint_eq(b->isr_count, 2);
	ck_assert_int_eq(b->isr_top, 0x73);
	ck_assert_int_eq(take(b), 0xfe);
	ck_assert_uint_eq(logical_dest(0x40), 1UL << 9);

	regs[AREG_ID * 4] = 8U << 24;
	ck_assert_int_eq(hvx_apic_import(b, regs), -EINVAL);
}
END_TEST

START_TEST(hostile_state)
{
	struct hvx_apic *a = new_apic(9);
	static u32 regs[256];
	int i, v;

	memset(regs, 0xff, sizeof(regs));
	regs[AREG_ID * 4] = 9;
	ck_assert_int_eq(hvx_apic_import(a, regs), 0);
	ck_assert_int_eq(a->isr_top, 255);
	ck_assert_uint_eq(a->isr_count, 240);
	ck_assert_int_eq(hvx_apic_pending(a), -1);
	for (i = 0; i < 300; i++)
		hvx_apic_eoi(a);
	ck_assert_uint_eq(a->isr_count, 0);
	hvx_apic_set_tpr(a, 0);
	for (v = 255; v >= 16; v--) {
		ck_assert_int_eq(take(a), v);
		hvx_apic_eoi(a);
	}
	ck_assert_int_eq(take(a), -1);
}
END_TEST

/* Random register traffic: the cached top, count and PPR stay what the bitmaps say. */
START_TEST(random_traffic)
{
	struct hvx_apic *a = new_enabled(1);
	unsigned int seed = 1, i, n, j;

	for (i = 0; i < 300000; i++) {
		u32 r = rand_r(&seed), val = rand_r(&seed);

		switch (r % 8) {
		case 0 ... 1:
			hvx_apic_accept(a, val >> 3, val & 1);
			break;
		case 2 ... 3:
			take(a);
			break;
		case 4:
			hvx_apic_eoi(a);
			break;
		case 5:
			hvx_apic_mmio_write(a, r >> 8 & 0xfff, val ^ val << 13);
			break;
		case 6:
			hvx_apic_msr_write(a, r >> 8 & 0x7f, val & (1U << (val >> 27)));
			hvx_apic_mmio_read(a, r >> 8 & 0xfff);
			break;
		case 7:
			if (r >> 8 & 0x3f)
				break;
			hvx_apic_set_base(a, BASE_DEFAULT | (val & 0xd00), false, true, 40);
			enable(a);
			break;
		}
		for (n = j = 0; j < 4; j++)
			n += hweight_long(a->isr[j]);
		ck_assert_uint_eq(a->isr_count, n);
		ck_assert_int_eq(a->isr_top, hvx_apic_top(a->isr));
		ck_assert_uint_eq(a->ppr & 0xf0,
				  a->isr_top > 0 && (a->isr_top & 0xf0) > (a->tpr & 0xf0) ?
				  a->isr_top & 0xf0 : a->tpr & 0xf0);
		ck_assert(a->irr_pending || hvx_apic_top(a->irr) < 0);
	}
}
END_TEST

/* No request is lost between senders that set irr and the runner that clears irr_pending. */
#define ROUNDS 200000

static unsigned int delivered[2];

static void *sender(void *arg)
{
	unsigned int n = (unsigned long)arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		while (__atomic_load_n(&delivered[n], __ATOMIC_ACQUIRE) != (unsigned int)i)
			;
		hvx_apic_accept(&apics[1], 0x40 + 0x10 * n, false);
	}
	return NULL;
}

START_TEST(concurrent_requests)
{
	struct hvx_apic *a = new_enabled(1);
	pthread_t t[2];
	unsigned long n;
	int v;

	delivered[0] = delivered[1] = 0;
	for (n = 0; n < 2; n++)
		ck_assert_int_eq(pthread_create(&t[n], NULL, sender, (void *)n), 0);
	/* A lost request stalls its sender, and the test runs into its timeout. */
	while (delivered[0] < ROUNDS || delivered[1] < ROUNDS) {
		hvx_apic_highest_irr(a);
		v = take(a);
		if (v < 0)
			continue;
		hvx_apic_eoi(a);
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

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, power_up);
	tcase_add_test(t, priority_and_eoi);
	tcase_add_test(t, tpr_ppr);
	tcase_add_test(t, level_eoi);
	tcase_add_test(t, error_status);
	tcase_add_test(t, lvt);
	tcase_add_test(t, timer_registers);
	tcase_add_test(t, xapic_icr);
	tcase_add_test(t, narrow_and_unaligned);
	tcase_add_test(t, x2_registers);
	tcase_add_test(t, x2_reserved);
	tcase_add_test(t, base_transitions);
	tcase_add_test(t, base_effects);
	tcase_add_test(t, logical_flat);
	tcase_add_test(t, logical_cluster);
	tcase_add_test(t, logical_x2);
	tcase_add_test(t, lowest_priority);
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
