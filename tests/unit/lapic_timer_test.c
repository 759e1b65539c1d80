// SPDX-License-Identifier: GPL-2.0-only
/* Unit tests of the local APIC's timer. */
/* units: kmod/irq/lapic.c kmod/irq/route.c tests/unit/lapic_fixture.c */
#include "lapic_fixture.h"

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

LAPIC_MAIN("lapic timer",
	   oneshot, periodic, tsc_deadline)
