// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* The paravirtual interface: clock, EOI, IPI. */
#include <sched.h>
#include <time.h>
#include <x86intrin.h>
#include "irq_guest.h"

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

GUEST(g_clock, "wr 0x4b564d01 0xa001\nsay 1\nsay 2\nsay 3\n");

static uint64_t pv_ns(struct tg *g, const struct pvclock *c)
{
	struct hvx_tsc_state t;
	uint64_t tsc;

	CHECK(!tg_get(g, 0, HVX_STATE_TSC, &t, sizeof(t)));
	tsc = __rdtsc() + t.offset - c->tsc;
	tsc = c->shift < 0 ? tsc >> -c->shift : tsc << c->shift;
	return c->ns + (uint64_t)((unsigned __int128)tsc * c->mul >> 32);
}

static void kvmclock(void)
{
	struct hvx_clock a, b, set = { .ns = 1000000000000ULL };
	volatile struct pvclock *page;
	struct timespec real;
	struct pvclock c, old;
	struct tg g;
	uint64_t ns;

	START(&g, g_clock, 1 << 3 | 1 << 24);
	page = (void *)(g.mem + 0xa000);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(tg_said(&g, 0), 2);
	c = *page;
	CHECK(c.version && !(c.version & 1));
	CHECK(c.mul >= 0x20000000);		/* 30 bits of it count */
	CHECK(!ioctl(g.vm, HVX_GET_CLOCK, &a));
	ns = pv_ns(&g, &c);
	CHECK(!ioctl(g.vm, HVX_GET_CLOCK, &b));
	CHECK(a.ns <= ns && ns <= b.ns);
	CHECK(a.ns < 60000000000ULL);		/* it began at zero */
	/* Real time stands beside it. */
	clock_gettime(CLOCK_REALTIME, &real);
	CHECK(b.realtime_ns > a.realtime_ns &&
	      b.realtime_ns <= (uint64_t)real.tv_sec * 1000000000 + real.tv_nsec);

	set.realtime_ns = 1;
	CHECK_ERR(ioctl(g.vm, HVX_SET_CLOCK, &set), EINVAL);
	set.realtime_ns = 0;
	CHECK(!ioctl(g.vm, HVX_SET_CLOCK, &set));
	old = c;
	CHECK_EQ(tg_said(&g, 0), 3);
	c = *page;
	CHECK(c.version > old.version && !(c.version & 1));
	CHECK_EQ(c.tsc, old.tsc);
	ns = pv_ns(&g, &c);
	CHECK(ns >= set.ns && ns < set.ns + 60000000000ULL);
	tg_free(&g);
}

/* Clock and TSC are set for one moment of the host's TSC, and then move together from there. */
static void stood_still(void)
{
	struct hvx_clock a, b, set = { .ns = 1000000000000ULL };
	struct hvx_tsc_state t, u;
	struct tg g;
	uint64_t passed;

	START(&g, g_clock, 1 << 3 | 1 << 24);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!ioctl(g.vm, HVX_GET_CLOCK, &a));
	CHECK(!tg_get(&g, 0, HVX_STATE_TSC, &t, sizeof(t)));
	CHECK_EQ(t.flags, 0);

	/* A thousand seconds ago, or in the future; the value does not matter. */
	set.host_tsc = a.host_tsc;
	CHECK(!ioctl(g.vm, HVX_SET_CLOCK, &set));
	CHECK(!ioctl(g.vm, HVX_GET_CLOCK, &b));
	passed = (uint64_t)((unsigned __int128)(b.host_tsc - a.host_tsc) * 1000000 / g.info.tsc_khz);
	CHECK(b.ns - set.ns + 1000 >= passed && b.ns - set.ns <= passed + passed / 1000 + 1000);

	t.flags = HVX_TSC_BY_OFFSET;
	t.offset -= 1000ULL * 1000 * t.khz;
	t.value = 12345;
	CHECK(!tg_set(&g, 0, HVX_STATE_TSC, &t, sizeof(t)));
	CHECK(!tg_get(&g, 0, HVX_STATE_TSC, &u, sizeof(u)));
	CHECK_EQ(u.offset, t.offset);
	CHECK(u.value - u.offset > b.host_tsc && u.value - u.offset < __rdtsc());
	t.flags = 2;
	CHECK_ERR(tg_set(&g, 0, HVX_STATE_TSC, &t, sizeof(t)), EINVAL);
	tg_free(&g);
}

/* Without the feature bits the MSRs are not there. */
GUEST(g_nopv, "wr 0x4b564d01 0xa001\nsay 1\n");

static void pv_gated(void)
{
	struct tg g;

	START(&g, g_nopv, 0);
	CHECK_EQ(tg_said(&g, 0), 13);
	tg_free(&g);
}

/*
 * PV EOI, word at 0xa000. Handlers of 0x60 and 0x30 say the vector plus 1 when
 * they could use it, the vector when they had to EOI. That of 0x60 first sends
 * 0x30 when r8 is set.
 */
GUEST(g_pveoi,
      "x2apic\n"
      "lea 6f(%rip), %rax\n"
      "mov $0x7000 + 0x60 * 16, %ebx\nmov %ax, (%rbx)\nshr $16, %eax\nmov %ax, 6(%rbx)\n"
      "lea 3f(%rip), %rax\n"
      "mov $0x7000 + 0x30 * 16, %ebx\nmov %ax, (%rbx)\nshr $16, %eax\nmov %ax, 6(%rbx)\n"
      "wr 0x4b564d04 0xa001\n"
      "xor %r8d, %r8d\n"
      "sti\n"
      "wr 0x83f 0x60\nnop\n"			/* alone: no EOI needed */
      "say 1\n"
      "cli\nwr 0x83f 0x30\nwr 0x83f 0x60\nsti\nnop\n"	/* another waits: EOI needed, then not */
      "say 2\n"
      "mov $1, %r8d\n"
      "wr 0x83f 0x60\n"				/* the other comes while it is served */
      "nop\nmov %r9b, %al\nout %al, $0x10\n"
      "finish\n"
      "6: test %r8d, %r8d\njz 7f\nwr 0x83f 0x30\n7: mov $0x60, %al\njmp 8f\n"
      "3: mov $0x30, %al\nmov $0x33, %r9d\n"
      "8: btrl $0, 0xa000\njc 9f\n"
      "mov %eax, %ebx\nwr 0x80b 0\nmov %ebx, %eax\nout %al, $0x10\niretq\n"
      "9: inc %al\nout %al, $0x10\niretq\n");

static void pv_eoi(void)
{
	/* Where the CPU does the EOIs there is nothing to save, and the word is left alone. */
	static const int want[2][9] = { { 0x61, 1, 0x60, 0x31, 2, 0x60, 0x31, 0x33, TG_DONE },
					{ 0x60, 1, 0x60, 0x30, 2, 0x60, 0x30, 0x33, TG_DONE } };
	struct hvx_lapic_state s;
	struct tg g;
	unsigned int i;

	START(&g, g_pveoi, 1 << 6);
	g.mem[0xa000] = 0;	/* present: it is written without sleeping */
	for (i = 0; i < 9; i++)
		CHECK_EQ(tg_said(&g, 0), want[!!(g.info.features & HVX_FEAT_APIC_VIRT)][i]);
	CHECK(!tg_get(&g, 0, HVX_STATE_LAPIC, &s, sizeof(s)));
	for (i = 0; i < 8; i++)
		CHECK_EQ(s.regs[(0x100 + i * 0x10) / 4], 0);
	tg_free(&g);
}

/* PV IPI to id 1 (KVM_HC_SEND_IPI), which halts; and bad ones. */
GUEST(g_pvipi,
      "x2apic\n"
      "mov $0x802, %ecx\nrdmsr\ntest %eax, %eax\njnz 4f\n"
      "2: pause\ncmpl $1, 0xa000\njne 2b\n"
      "mov $10, %eax\nmov $1, %ebx\nxor %ecx, %ecx\nmov $1, %edx\nmov $0x44, %esi\nvmmcall\n"
      "out %al, $0x10\n"
      "mov $10, %eax\nmov $1, %ebx\nxor %ecx, %ecx\nmov $100, %edx\nmov $0x44, %esi\nvmmcall\n"
      "out %al, $0x10\n"
      "mov $10, %eax\nmov $1, %ebx\nxor %ecx, %ecx\nmov $1, %edx\nmov $0x744, %esi\nvmmcall\n"
      "neg %eax\nout %al, $0x10\n"
      "mov $999, %eax\nvmmcall\nneg %eax\ncmp $1000, %eax\nsete %al\nout %al, $0x10\n"
      "finish\n"
      "4: sti\nmovl $1, 0xa000\n5: hlt\njmp 5b\n");

static void pv_ipi(void)
{
	pthread_t t;
	struct tg g;
	void *ret;

	START(&g, g_pvipi, 1 << 11);
	tg_add_vcpu(&g, 1);
	tg_long(&g, 1);
	add_pv_leaf(&g, 1, 0);
	tg_set_reg(&g, 1, 4, 0xc000);
	CHECK(!pthread_create(&t, NULL, run_ap, &g));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(tg_said(&g, 0), 0);
	CHECK_EQ(tg_said(&g, 0), EINVAL);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, 0x44);
	tg_free(&g);
}

/* Time that the vCPU was ready and something else had its CPU. */
GUEST(g_steal, "wr 0x4b564d03 0xa001\n2: say 1\njmp 2b\n");

static bool stop;

static void *spin(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

static void steal_time(void)
{
	volatile struct { uint64_t ns; uint32_t version, flags; } *steal;
	struct timespec now, end;
	cpu_set_t all, one;
	pthread_t t;
	struct tg g;

	START(&g, g_steal, 1 << 5);
	steal = (void *)(g.mem + 0xa000);
	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!pthread_create(&t, NULL, spin, NULL));	/* on the same CPU */
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 120;	/* against a hang only */
	do {
		CHECK_EQ(tg_said(&g, 0), 1);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!steal->ns && !tg_failed && now.tv_sec < end.tv_sec);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	CHECK(steal->ns > 0);
	CHECK(steal->version && !(steal->version & 1));
	CHECK_EQ(steal->flags, 0);
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(kvmclock),
	TG_TEST(stood_still),
	TG_TEST(pv_gated),
	TG_TEST(pv_eoi),
	TG_TEST(pv_ipi),
	TG_TEST(steal_time),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
