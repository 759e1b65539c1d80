// SPDX-License-Identifier: GPL-2.0-only
/* Unit tests of interrupt messages: destinations, delivery modes, many senders. */
/* units: kmod/irq/lapic.c kmod/irq/route.c tests/unit/lapic_fixture.c */
#include <pthread.h>
#include <sched.h>

#include "lapic_fixture.h"

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
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, 15, true), -EINVAL);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, MSG_INIT << 8, true), -EINVAL);
	ck_assert_int_eq(hvx_pv_send_ipi(a->vcpu, 4, 0, 0, MSG_LOGICAL | 0x50, true), -EINVAL);
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
			hvx_lapic_set_base(a->vcpu, BASE_DEFAULT | (val & 0xd00), false);
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
#define ROUNDS 50000

static unsigned int delivered[2];

/* There are three that wait for each other, and maybe fewer CPUs. */
static void wait_a_moment(unsigned int *turns)
{
	if (!(++*turns % 1024))
		sched_yield();
}

static void *sender(void *arg)
{
	unsigned int n = (unsigned long)arg, turns = 0;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		while (__atomic_load_n(&delivered[n], __ATOMIC_ACQUIRE) != (unsigned int)i)
			wait_a_moment(&turns);
		/* With a change of the trigger mode now and then. */
		hvx_lapic_accept(vcpus[1].lapic, 0x40 + 0x10 * n, i & 64);
	}
	return NULL;
}

static void requests(bool posts)
{
	struct hvx_lapic *a = new_enabled(1);
	unsigned int turns = 0;
	pthread_t t[2];
	unsigned long n;
	int v;

	a->posts = posts;
	delivered[0] = delivered[1] = 0;
	for (n = 0; n < 2; n++)
		ck_assert_int_eq(pthread_create(&t[n], NULL, sender, (void *)n), 0);
	/* A lost request stalls its sender, and the test runs into its timeout. */
	while (delivered[0] < ROUNDS || delivered[1] < ROUNDS) {
		hvx_lapic_highest_irr(a);
		v = take(a);
		if (v < 0) {
			wait_a_moment(&turns);
			continue;
		}
		hvx_lapic_eoi(a);
		n = (v - 0x40) / 0x10;
		__atomic_store_n(&delivered[n], delivered[n] + 1, __ATOMIC_RELEASE);
	}
	for (n = 0; n < 2; n++)
		pthread_join(t[n], NULL);
	ck_assert_int_eq(take(a), -1);
}

START_TEST(concurrent_requests)
{
	requests(false);
	requests(true);
}
END_TEST

/* Where the CPU delivers by itself nobody but the runner writes IRR. */
START_TEST(posted)
{
	struct hvx_lapic *a = new_x2(1), *b = new_x2(2);
	static struct hvx_lapic_state s;

	a->posts = b->posts = true;
	a->tmr_changed = false;
	ck_assert_int_eq(hvx_lapic_accept(a, 0x41, false), 2);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x41, false), 1);
	ck_assert_uint_eq(REG(a, AREG_IRR + 2), 0);
	ck_assert_uint_eq(a->posted.pir[2], 1U << 1);
	ck_assert_int_eq(hvx_lapic_highest_irr(a), 0x41);
	ck_assert_uint_eq(REG(a, AREG_IRR + 2), 1U << 1);
	ck_assert_uint_eq(a->posted.pir[2], 0);
	ck_assert(!a->tmr_changed);
	/* A new trigger mode is not for the CPU to take up: it must learn first which EOIs are to exit. */
	ck_assert_int_eq(hvx_lapic_accept(a, 0x30, true), 3);
	ck_assert_int_eq(hvx_lapic_accept(a, 0x82, false), 2);
	ck_assert_uint_eq(a->posted.pir[1], 0);
	ck_assert_uint_eq(a->late[1], 1U << 16);
	ck_assert_int_eq(hvx_lapic_highest_irr(a), 0x82);
	ck_assert_uint_eq(REG(a, AREG_IRR + 1), 1U << 16);
	ck_assert(a->tmr_changed);
	/* Once it knows, it is. */
	ck_assert_int_eq(hvx_lapic_accept(a, 0x30, true), 2);
	ck_assert_uint_eq(a->posted.pir[1], 1U << 16);
	/* State has them all, and none of what waited before it was set. */
	ck_assert_int_eq(hvx_lapic_accept(a, 0xf0, false), 2);
	ck_assert_int_eq(hvx_lapic_accept(b, 0x55, false), 2);
	hvx_lapic_get(a->vcpu, &s);
	ck_assert_uint_eq(s.regs[(AREG_IRR + 1) * 4], 1U << 16);
	ck_assert_uint_eq(s.regs[(AREG_IRR + 2) * 4], 1U << 1);
	ck_assert_uint_eq(s.regs[(AREG_IRR + 4) * 4], 1U << 2);
	ck_assert_uint_eq(s.regs[(AREG_IRR + 7) * 4], 1U << 16);
	s.regs[AREG_ID * 4] = 2;
	ck_assert_int_eq(hvx_lapic_set(b->vcpu, &s), 0);
	ck_assert(b->tmr_changed);
	ck_assert_int_eq(take(b), 0xf0);
	hvx_lapic_eoi(b);
	ck_assert_int_eq(take(b), 0x82);
	hvx_lapic_eoi(b);
	ck_assert_int_eq(take(b), 0x41);
	hvx_lapic_eoi(b);
	ck_assert_int_eq(take(b), 0x30);
	hvx_lapic_eoi(b);
	ck_assert_int_eq(eoi_exit(b), 0x30);
	ck_assert_int_eq(take(b), -1);
}
END_TEST

LAPIC_MAIN("lapic route",
	   logical_flat, logical_cluster, logical_x2, lowest_priority, shorthands_and_modes,
	   random_traffic, concurrent_requests,
	   posted)
