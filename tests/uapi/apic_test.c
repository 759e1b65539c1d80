// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* The local APIC: registers, IPIs, timers, messages. */
#include <time.h>
#include "irq_guest.h"

static uint64_t exits(struct tg *g)
{
	struct hvx_stats st;

	CHECK(!ioctl(g->v[0].fd, HVX_GET_STATS, &st));
	return st.exits;
}

/* ------------------------------------------------------------ registers, IPIs */

GUEST(g_self_ipi,
      "x2apic\n"
      "wr 0x83f 0x40\n"			/* interrupts off: both wait */
      "wr 0x83f 0x91\n"
      "say 1\nsti\nnop\ncli\nsay 2\n"
      "wr 0x808 0x50\n"			/* TPR holds back 0x40, not 0x61 */
      "wr 0x83f 0x40\nwr 0x83f 0x61\n"
      "sti\nnop\nsay 3\n"
      "wr 0x808 0\n"
      "nop\nfinish\n");

static void self_ipi(void)
{
	static const int want[] = { 1, 0x91, 0x40, 2, 0x61, 3, 0x40, TG_DONE };
	struct tg g;
	unsigned int i;

	START(&g, g_self_ipi, 0);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_EQ(tg_said(&g, 0), want[i]);
	tg_free(&g);
}

GUEST(g_cr8,
      "x2apic\n"
      "mov $5, %eax\nmov %rax, %cr8\n"
      "wr 0x83f 0x40\nsti\nnop\nsay 1\n"
      "mov $0x808, %ecx\nrdmsr\nout %al, $0x10\n"
      "xor %eax, %eax\nmov %rax, %cr8\n"
      "nop\nfinish\n");

static void cr8_masks(void)
{
	static const int want[] = { 1, 0x50, 0x40, TG_DONE };
	struct tg g;
	unsigned int i;

	START(&g, g_cr8, 0);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_EQ(tg_said(&g, 0), want[i]);
	tg_free(&g);
}

/* Each #GP skips the 2-byte WRMSR or RDMSR and is counted in r8. */
GUEST(g_gp,
      "lea gp(%rip), %rax\n"
      "mov $0x7000 + 13 * 16, %ebx\nmov %ax, (%rbx)\nshr $16, %eax\nmov %ax, 6(%rbx)\n"
      "xor %r8d, %r8d\n"
      "wr 0x80f 0x1ff\n"		/* no x2APIC MSRs in xAPIC mode */
      "wr 0x1b 0xfee00500\n"		/* x2APIC without enable */
      "wr 0x1b 0xfee00901\n"		/* reserved bit */
      "x2apic\n"
      "wr 0x1b 0xfee00900\n"		/* back to xAPIC */
      "wr 0x808 0x100\n"		/* reserved bit of TPR */
      "wr 0x80b 1\n"			/* EOI of not zero */
      "wr 0x80d 1\n"			/* LDR is read-only */
      "wr 0x830 0x40 0\n"		/* fine: to id 0 */
      "wr 0x830 0x2040 0\n"		/* reserved bit of ICR */
      "mov $0x80e, %ecx\nrdmsr\n"	/* no DFR */
      "mov $0x83f, %ecx\nrdmsr\n"	/* write-only */
      "mov $0x802, %ecx\nrdmsr\n"	/* fine */
      "mov %r8b, %al\nout %al, $0x10\nfinish\n"
      "gp: add $8, %rsp\naddq $2, (%rsp)\ninc %r8d\niretq\n");

static void msr_faults(void)
{
	struct tg g;

	START(&g, g_gp, 0);
	CHECK_EQ(tg_said(&g, 0), 10);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	tg_free(&g);
}

/* ------------------------------------------------------------------- xAPIC */

/* As those of irq_guest.h, with the EOI by memory. */
extern const uint8_t xhandlers[], xhandlers_end[];
asm(".pushsection .rodata\nxhandlers:\n"
    "v = 0\n"
    ".rept 256\n"
    ".balign 64, 0x90\n"
    "push %rax\npush %rdi\n"
    "mov $v, %al\nout %al, $0x10\n"
    "mov $0xfee00000, %edi\nmovl $0, 0xb0(%rdi)\n"
    "pop %rdi\npop %rax\n"
    ".if v == 8 || (v >= 10 && v <= 14) || v == 17\nadd $8, %rsp\n.endif\n"
    "iretq\n"
    "v = v + 1\n"
    ".endr\n.balign 64, 0x90\nxhandlers_end:\n.popsection");

#define XSTART(g, name) do {								\
	START(g, name, 0);								\
	memcpy((g)->mem + HANDLERS, xhandlers, xhandlers_end - xhandlers);		\
} while (0)

/* Each register by memory, whether software or the CPU does it: what is kept, ignored, and begun by a write. */
GUEST(g_xapic,
      "mov $0xfee00000, %edi\n"
      "movl $0x55000000, 0x20(%rdi)\n"		/* the id stays, and LINT0 as it was */
      "mov 0x350(%rdi), %eax\ncmp $0x700, %eax\njne 9f\n"
      "movl $0x1ff, 0xf0(%rdi)\n"
      "mov 0x20(%rdi), %eax\nshr $24, %eax\nout %al, $0x10\n"
      "movl $-1, 0x350(%rdi)\nmov 0x350(%rdi), %eax\ncmp $0x1a7ff, %eax\njne 9f\n"
      "movl $0xff123456, 0xd0(%rdi)\nmov 0xd0(%rdi), %eax\ncmp $0xff000000, %eax\njne 9f\n"
      "movl $0, 0xe0(%rdi)\nmov 0xe0(%rdi), %eax\ncmp $0x0fffffff, %eax\njne 9f\n"
      "movl $0x40041, 0x300(%rdi)\n"		/* to itself */
      "movl $0x50, 0x80(%rdi)\n"		/* TPR */
      "movl $0x40061, 0x300(%rdi)\n"
      "sti\nnop\ncli\nsay 1\n"
      "mov %cr8, %rax\nout %al, $0x10\n"
      "movl $0, 0x80(%rdi)\nsti\nnop\ncli\nsay 2\n"
      "movl $0, 0x310(%rdi)\nmovl $0x42, 0x300(%rdi)\n"	/* to id 0 */
      "mov 0x300(%rdi), %eax\ntest $0x1000, %eax\njnz 9f\n"
      "sti\nnop\ncli\nsay 3\n"
      "movl $0x40005, 0x300(%rdi)\n"		/* no such vector */
      "movl $0, 0x280(%rdi)\nmov 0x280(%rdi), %eax\nout %al, $0x10\n"
      "mov 0x3f0(%rdi), %eax\n"		/* no such register */
      "movl $0, 0x280(%rdi)\nmov 0x280(%rdi), %eax\nout %al, $0x10\n"
      /* The timer goes on as its divider changes; in TSC-deadline mode it has no count. */
      "movl $0xb, 0x3e0(%rdi)\nmovl $0x50, 0x320(%rdi)\nmovl $0x40000000, 0x380(%rdi)\n"
      "mov 0x390(%rdi), %eax\ntest %eax, %eax\njz 9f\n"
      "movl $0, 0x3e0(%rdi)\nmov 0x390(%rdi), %ebx\ncmp %eax, %ebx\nja 9f\n"
      "cmp $0x20000000, %ebx\njb 9f\n"
      "movl $100000, 0x380(%rdi)\nsti\nhlt\ncli\n"
      "movl $0x40051, 0x320(%rdi)\n"
      "movl $77, 0x380(%rdi)\nmov 0x380(%rdi), %eax\ntest %eax, %eax\njnz 9f\n"
      "wr 0x6e0 1\nsti\nnop\ncli\n"
      "finish\n9: say 0xbb\nfinish\n");

static void xapic(void)
{
	static const int want[] = { 0, 0x61, 1, 5, 0x41, 2, 0x42, 3, 1 << 5, 1 << 7, 0x50, 0x51, TG_DONE };
	struct hvx_lapic_state s;
	struct tg g;
	unsigned int i;

	XSTART(&g, g_xapic);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_EQ(tg_said(&g, 0), want[i]);
	CHECK(!tg_get(&g, 0, HVX_STATE_LAPIC, &s, sizeof(s)));
	CHECK_EQ(s.regs[0x20 / 4], 0);
	CHECK_EQ(s.regs[0x320 / 4], 0x40051);
	tg_free(&g);
}

static bool param(const char *name)
{
	char path[80];
	bool on;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/hvx/parameters/%s", name);
	f = fopen(path, "re");
	on = f && fgetc(f) == 'Y';
	if (f)
		fclose(f);
	return on;
}

/* With the CPU's help none of these exits. Then a level-triggered one, whose EOI does. */
GUEST(g_xapic_quick,
      "mov $0xfee00000, %edi\n"
      "movl $0x1ff, 0xf0(%rdi)\nmovl $0x60, 0x80(%rdi)\nsay 1\n"
      "mov $1000, %ebx\n"
      "2: mov 0x20(%rdi), %eax\nmov %eax, 0x80(%rdi)\nmovl $0, 0xb0(%rdi)\ndec %ebx\njnz 2b\n"
      "say 2\nsti\n3: hlt\njmp 3b\n");

static void xapic_quick(void)
{
	uint64_t before, now;
	struct tg g;

	XSTART(&g, g_xapic_quick);
	CHECK_EQ(tg_said(&g, 0), 1);
	before = exits(&g);
	CHECK_EQ(tg_said(&g, 0), 2);
	now = exits(&g);
	/* On AMD-V the parameters mean nothing. */
	if (strcmp(g.info.backend, "vmx") || !param("xapic"))
		CHECK(now - before >= 3000);
	else if (param("apic_reads") && param("virtual_interrupts"))
		CHECK(now - before < 500);
	CHECK_EQ(msi(&g, TO_CPU0, 0xc047), 1);
	CHECK_EQ(tg_said(&g, 0), 0x47);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(g.v[0].run->eoi.vector, 0x47);
	CHECK_EQ(msi(&g, TO_CPU0, 0x48), 1);
	CHECK_EQ(tg_said(&g, 0), 0x48);
	tg_free(&g);
}

/* The page moves away and back; where it was, there may be memory later. */
GUEST(g_xapic_moves,
      "mov $0xfee00000, %edi\nmov $0xfeb00000, %esi\n"
      "mov 0x30(%rdi), %eax\nout %al, $0x10\n"
      "wr 0x1b 0xfeb00900\nmov 0x30(%rsi), %eax\nout %al, $0x10\n"
      "wr 0x1b 0xfee00900\nmov 0x30(%rdi), %eax\nout %al, $0x10\n"
      "x2apic\nsay 1\nmov (%rdi), %eax\nout %al, $0x10\nfinish\n");

static void xapic_moves(void)
{
	static uint8_t page[TG_PAGE] __attribute__((aligned(4096))) = { 0x77 };
	struct tg g;
	int i;

	XSTART(&g, g_xapic_moves);
	for (i = 0; i < 3; i++)
		CHECK_EQ(tg_said(&g, 0), 0x14);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_slot(&g, 5, 0, 0xfee00000, TG_PAGE, page));
	CHECK_EQ(tg_said(&g, 0), 0x77);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	tg_free(&g);
}

/* There are no vectors below 16: the error shows in ESR once it is written. */
GUEST(g_illegal,
      "x2apic\n"
      "wr 0x83f 5\n"
      "wr 0x828 0\n"
      "mov $0x828, %ecx\nrdmsr\nout %al, $0x10\n"
      "wr 0x83f 0x61\nsti\nnop\nfinish\n");

static void illegal_vector(void)
{
	struct tg g;

	START(&g, g_illegal, 0);
	CHECK_EQ(tg_said(&g, 0), 1 << 5);
	CHECK_EQ(tg_said(&g, 0), 0x61);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	tg_free(&g);
}

GUEST(g_sipi,
      "x2apic\n"
      "wr 0x830 0x4500 1\n"		/* INIT to id 1 */
      "wr 0x830 0x4602 1\n"		/* SIPI: 0x2000 */
      "wr 0x830 0x4602 1\n"
      "finish\n");

static void init_sipi(void)
{
	static const uint8_t ap[] = {		/* at 0x200:0 */
		0x8c, 0xc8, 0x3d, 0x00, 0x02,	/* mov ax,cs; cmp ax,0x200 */
		0x75, 0x04,			/* jne +4 */
		0xb0, 0x33, 0xe6, 0x10,		/* mov al,0x33; out 0x10,al */
		0xf4				/* hlt */
	};
	struct hvx_events e;
	pthread_t t;
	struct tg g;
	void *ret;

	START(&g, g_sipi, 0);
	tg_add_vcpu(&g, 1);
	memcpy(g.mem + 0x2000, ap, sizeof(ap));
	CHECK(!tg_get(&g, 1, HVX_STATE_EVENTS, &e, sizeof(e)));
	CHECK_EQ(e.mp_state, HVX_MP_WAIT_SIPI);
	CHECK(!pthread_create(&t, NULL, run_ap, &g));
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, 0x33);
	tg_free(&g);
}

/* INIT reaches a vCPU that never exits by itself. */
static void init_running(void)
{
	static const uint8_t ap[] = { 0xb0, 0x34, 0xe6, 0x10, 0xf4 };	/* mov al,0x34; out 0x10,al; hlt */
	static const uint8_t spin[] = { 0xc6, 0x04, 0x25, 0x00, 0xa0, 0, 0, 1,	/* movb $1,0xa000 */
					0xfa, 0xeb, 0xfd };		/* 1: cli; jmp 1b */
	pthread_t t;
	struct tg g;
	void *ret;

	START(&g, g_sipi, 0);
	tg_add_vcpu(&g, 1);
	tg_long(&g, 1);
	memcpy(g.mem + 0x2000, ap, sizeof(ap));
	memcpy(g.mem + 0xb000, spin, sizeof(spin));
	tg_set_reg(&g, 1, 16, 0xb000);
	CHECK(!pthread_create(&t, NULL, run_ap, &g));
	while (!*(volatile uint8_t *)(g.mem + 0xa000))
		usleep(1000);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, 0x34);
	tg_free(&g);
}

/* Two vCPUs play ping-pong with halts between: a wake-up lost stops them. */
#define PINGS	"5000"
GUEST(g_ping,
      "x2apic\n"
      "xor %r9d, %r9d\n"		/* interrupts taken */
      "mov $0x802, %ecx\nrdmsr\nmov %eax, %ebx\nxor $1, %ebx\n"	/* the other's id */
      "lea 3f(%rip), %rax\n"
      "mov $0x7000 + 0x40 * 16, %edi\nmov %ax, (%rdi)\nshr $16, %eax\nmov %ax, 6(%rdi)\n"
      "lock incl 0xa000\n"
      "2: pause\ncmpl $2, 0xa000\njne 2b\n"	/* both are ready */
      "test %ebx, %ebx\njz 4f\n"
      "mov $0x830, %ecx\nmov $0x40, %eax\nmov %ebx, %edx\nwrmsr\n" /* id 0 serves */
      "4: cli\ncmp $" PINGS ", %r9d\njae 5f\nsti\nhlt\njmp 4b\n"
      "5: finish\n"
      "3: inc %r9d\n"
      "mov $0x80b, %ecx\nxor %eax, %eax\nxor %edx, %edx\nwrmsr\n"
      "mov $0x830, %ecx\nmov $0x40, %eax\nmov %ebx, %edx\nwrmsr\n"
      "iretq\n");

static void ping_pong(void)
{
	pthread_t t;
	struct tg g;
	void *ret;

	START(&g, g_ping, 0);
	tg_add_vcpu(&g, 1);
	tg_long(&g, 1);
	add_pv_leaf(&g, 1, 0);
	tg_set_reg(&g, 1, 4, 0xc000);
	CHECK(!pthread_create(&t, NULL, run_ap, &g));
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, TG_DONE);
	tg_free(&g);
}

/* -------------------------------------------------------------------- timers */

/* Three deadlines, halted between; then one in the past; the MSR reads zero after each. */
GUEST(g_deadline,
      "x2apic\n"
      "wr 0x832 0x40050\n"
      "mov $3, %r8d\n"
      "2: rdtsc\nshl $32, %rdx\nor %rdx, %rax\nadd $3000000, %rax\nmov %rax, %r9\n"
      "mov %rax, %rdx\nshr $32, %rdx\nmov $0x6e0, %ecx\nwrmsr\n"
      "sti\nhlt\ncli\n"
      "rdtsc\nshl $32, %rdx\nor %rdx, %rax\ncmp %r9, %rax\njb 3f\n"
      "mov $0x6e0, %ecx\nrdmsr\nor %edx, %eax\njnz 3f\n"
      "dec %r8d\njnz 2b\n"
      "wr 0x6e0 1\nsti\nnop\ncli\n"
      /* far away, nearer, cancelled: nothing comes */
      "wr 0x6e0 0xffffffff 0x7fffffff\nwr 0x6e0 0xffffffff 0xffffffff\nwr 0x6e0 0\n"
      "sti\nnop\nfinish\n"
      "3: say 0xbb\n");

static void tsc_deadline(void)
{
	struct hvx_stats st;
	struct tg g;
	int i;

	START(&g, g_deadline, 0);
	for (i = 0; i < 4; i++)
		CHECK_EQ(tg_said(&g, 0), 0x50);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	CHECK(!ioctl(g.v[0].fd, HVX_GET_STATS, &st));
	CHECK_EQ(st.timer_fired, 4);
	tg_free(&g);
}

/* A deadline so near that the CPU may see to it alone; the guest does nothing that exits meanwhile. */
GUEST(g_near,
      "x2apic\n"
      "wr 0x832 0x40050\n"
      "rdtsc\nshl $32, %rdx\nor %rdx, %rax\nadd $2000, %rax\n"
      "mov %rax, %rdx\nshr $32, %rdx\nmov $0x6e0, %ecx\nwrmsr\n"
      "sti\n2: jmp 2b\n");

static void near_deadline(void)
{
	struct hvx_stats st;
	struct tg g;
	int i;

	for (i = 0; i < 20; i++) {
		START(&g, g_near, 0);
		CHECK_EQ(tg_said(&g, 0), 0x50);
		CHECK(!ioctl(g.v[0].fd, HVX_GET_STATS, &st));
		CHECK_EQ(st.timer_fired, 1);
		tg_free(&g);
	}
}

/* A one-nanosecond periodic timer is slowed down, not refused. */
GUEST(g_periodic,
      "x2apic\n"
      "wr 0x83e 0xb\nwr 0x832 0x20051\nwr 0x838 1\n"
      "2: sti\nhlt\njmp 2b\n");

static void periodic_floor(void)
{
	struct timespec a, b;
	struct tg g;
	int i;

	START(&g, g_periodic, 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < 100; i++)
		CHECK_EQ(tg_said(&g, 0), 0x51);
	clock_gettime(CLOCK_MONOTONIC, &b);
	CHECK((b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec > 99 * 100000LL);
	tg_free(&g);
}

/* One-shot: the count runs down, reads zero after, and fires once. */
GUEST(g_oneshot,
      "x2apic\n"
      "wr 0x83e 0xb\nwr 0x832 0x52\nwr 0x838 300000000\n"
      "mov $0x839, %ecx\nrdmsr\nmov %eax, %ebx\nrdmsr\n"
      "cmp %eax, %ebx\nja 2f\nsay 0xbb\n2:\n"
      "sti\nhlt\ncli\nrdmsr\n"		/* ecx is kept by the handler */
      "test %eax, %eax\njz 2f\nsay 0xbc\n2:\n"
      "finish\n");

static void oneshot(void)
{
	struct tg g;

	START(&g, g_oneshot, 0);
	CHECK_EQ(tg_said(&g, 0), 0x52);
	CHECK_EQ(tg_said(&g, 0), TG_DONE);
	tg_free(&g);
}

/* A running timer goes through get and set of the state. */
GUEST(g_timer_state,
      "x2apic\nwr 0x83e 0xb\nwr 0x832 0x53\nwr 0x838 50000000\nsay 1\nsti\nhlt\nfinish\n");

static void timer_state(void)
{
	struct hvx_lapic_state s, bad;
	struct hvx_sregs sr;
	struct tg g, h;

	START(&g, g_timer_state, 0);
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!tg_get(&g, 0, HVX_STATE_LAPIC, &s, sizeof(s)));
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &sr, sizeof(sr)));
	CHECK(s.regs[0x390 / 4] > 0 && s.regs[0x390 / 4] <= 50000000);
	CHECK_EQ(s.regs[0x20 / 4], 0);
	CHECK_EQ(s.regs[0x380 / 4], 50000000);

	START(&h, g_timer_state, 0);
	bad = s;
	bad.regs[0x20 / 4] = 1;
	CHECK_ERR(tg_set(&h, 0, HVX_STATE_LAPIC, &bad, sizeof(bad)), EINVAL);
	bad = s;
	bad.pad[4] = 1;
	CHECK_ERR(tg_set(&h, 0, HVX_STATE_LAPIC, &bad, sizeof(bad)), EINVAL);
	bad = s;
	bad.regs[0x390 / 4] = 50000001;
	CHECK_ERR(tg_set(&h, 0, HVX_STATE_LAPIC, &bad, sizeof(bad)), EINVAL);
	CHECK(!tg_set(&h, 0, HVX_STATE_SREGS, &sr, sizeof(sr)));
	CHECK(!tg_set(&h, 0, HVX_STATE_LAPIC, &s, sizeof(s)));
	/* Run on from behind "say 1". */
	tg_set_reg(&h, 0, 16, tg_reg(&g, 0, 16));
	CHECK_EQ(tg_said(&h, 0), 0x53);
	CHECK_EQ(tg_said(&h, 0), TG_DONE);
	tg_free(&h);
	tg_free(&g);
}

/* ---------------------------------------------------------------- messages */

static void messages(void)
{
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(msi(&g, 0xfee00000, 0x40), 0);		/* not enabled yet */
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK_EQ(msi(&g, 0xfee00000, 0x40), 1);
	CHECK_EQ(tg_said(&g, 0), 0x40);
	CHECK_EQ(msi(&g, 0xfee01000, 0x41), 0);		/* nobody */
	CHECK_EQ(msi(&g, 0xfee00020, 0x41), 0);		/* id 0x100 */
	CHECK_EQ(msi(&g, 0xfeb00000, 0x41), 0);		/* no interrupt address */
	CHECK_EQ(msi(&g, 0xfee00000, 0x0f), 0);		/* no vector */
	CHECK_EQ(msi(&g, 0xfeeff000, 0x42), 1);		/* broadcast */
	CHECK_EQ(tg_said(&g, 0), 0x42);
	CHECK_EQ(msi(&g, 0xfee01004, 0x43), 1);		/* logical: bit 0 of cluster 0 */
	CHECK_EQ(tg_said(&g, 0), 0x43);
	CHECK_EQ(msi(&g, 0xfee02004, 0x43), 0);
	CHECK_EQ(msi(&g, 0xfee0300c, 0x144), 1);	/* lowest priority */
	CHECK_EQ(tg_said(&g, 0), 0x44);
	CHECK_EQ(msi(&g, 0xfee00000, 0x400), 1);	/* NMI */
	CHECK_EQ(tg_said(&g, 0), 2);
	/* Level: EOI reaches userspace. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc045), 1);
	CHECK_EQ(tg_said(&g, 0), 0x45);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(g.v[0].run->eoi.vector, 0x45);
	tg_free(&g);
}

/* Spins with interrupts on and counts those of vector 0x40. */
GUEST(g_spin,
      "x2apic\n"
      "lea 3f(%rip), %rax\n"
      "mov $0x7000 + 0x40 * 16, %edi\nmov %ax, (%rdi)\nshr $16, %eax\nmov %ax, 6(%rdi)\n"
      "say 1\nsti\n2: jmp 2b\n"
      "3: incl 0xa000\nwr 0x80b 0\niretq\n");

/* Until it says something; the loops below end then, too. */
static bool bsp_said;

static void *run_bsp(void *arg)
{
	long what = tg_said(arg, 0);

	__atomic_store_n(&bsp_said, true, __ATOMIC_RELEASE);
	return (void *)what;
}

static uint32_t await(struct tg *g, uint32_t count)
{
	volatile uint32_t *word = (volatile uint32_t *)(g->mem + 0xa000);

	while (*word < count && !__atomic_load_n(&bsp_said, __ATOMIC_ACQUIRE))
		sched_yield();
	return *word;
}

/* Messages to a guest that runs all arrive, and with posted interrupts it goes on running. */
static void messages_running(void)
{
	const unsigned int rounds = 2000;
	bool posted = param("posted_interrupts");
	unsigned int i;
	uint64_t before;
	pthread_t t;
	struct tg g;
	void *ret;

	START(&g, g_spin, 0);
	/* On AMD-V the parameter means nothing. */
	posted = posted && g.info.features & HVX_FEAT_APIC_VIRT;
	bsp_said = false;
	CHECK_EQ(tg_said(&g, 0), 1);
	CHECK(!pthread_create(&t, NULL, run_bsp, &g));
	CHECK_EQ(msi(&g, 0xfee00000, 0x40), 1);
	CHECK_EQ(await(&g, 1), 1);
	before = exits(&g);
	for (i = 1; i <= rounds; i++) {
		CHECK_EQ(msi(&g, 0xfee00000, 0x40), 1);
		CHECK_EQ(await(&g, i + 1), i + 1);
	}
	before = exits(&g) - before;
	if (posted && before > rounds / 2)
		CHECK_EQ(before, 0);
	/* And one whose EOI exits, though the CPU has taken to doing them. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc040), 1);
	CHECK_EQ(await(&g, rounds + 2), rounds + 2);
	CHECK_EQ(msi(&g, 0xfee00000, 0x41), 1);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, -1000 - HVX_EXIT_EOI);
	CHECK_EQ(g.v[0].run->eoi.vector, 0x40);
	CHECK_EQ(tg_said(&g, 0), 0x41);
	tg_free(&g);
}

/* VMs that die with a timer running. */
static void timer_outlives(void)
{
	struct tg g;
	int i;

	for (i = 0; i < 50; i++) {
		START(&g, g_periodic, 0);
		CHECK_EQ(tg_said(&g, 0), 0x51);
		tg_free(&g);
	}
	usleep(10000);
}

static const struct tg_test tests[] = {
	TG_TEST(self_ipi),
	TG_TEST(cr8_masks),
	TG_TEST(msr_faults),
	TG_TEST(illegal_vector),
	TG_TEST(xapic),
	TG_TEST(xapic_quick),
	TG_TEST(xapic_moves),
	TG_TEST(init_sipi),
	TG_TEST(init_running),
	TG_TEST(ping_pong),
	TG_TEST(tsc_deadline),
	TG_TEST(near_deadline),
	TG_TEST(periodic_floor),
	TG_TEST(oneshot),
	TG_TEST(timer_state),
	TG_TEST(messages),
	TG_TEST(messages_running),
	TG_TEST(timer_outlives),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
