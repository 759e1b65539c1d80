// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Interrupts: local APIC, timers, IPIs, messages, eventfds, and the paravirtual clock and EOI. */
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/cpu.h"
#include "tg.h"

/* Guest code: 64-bit, position-independent, runs at TG_CODE. */
#define GUEST(name, code)						\
	extern const uint8_t name[], name##_end[];			\
	asm(".pushsection .rodata\n" #name ":\n" code "\n" #name "_end:\n.popsection")

asm(".macro wr msr lo hi=0\n"
    "mov $\\msr, %ecx\nmov $\\lo, %eax\nmov $\\hi, %edx\nwrmsr\n"
    ".endm\n"
    ".macro say val\n"
    "mov $\\val, %al\nout %al, $0x10\n"
    ".endm\n"
    ".macro x2apic\n"			/* x2APIC mode, software-enabled */
    "mov $0x1b, %ecx\nrdmsr\nor $0xc00, %eax\nwrmsr\n"
    "wr 0x80f 0x1ff\n"
    ".endm\n"
    ".macro finish\n"
    "1: cli\nsay 0xee\njmp 1b\n"
    ".endm");

/* A handler for each vector: says the vector, EOIs by x2APIC MSR. */
#define HANDLERS	0x3000
#define HANDLER_SIZE	64
extern const uint8_t handlers[], handlers_end[];
asm(".pushsection .rodata\nhandlers:\n"
    "v = 0\n"
    ".rept 256\n"
    ".balign 64, 0x90\n"
    "push %rax\npush %rcx\npush %rdx\n"
    "mov $v, %al\nout %al, $0x10\n"
    "wr 0x80b 0\n"
    "pop %rdx\npop %rcx\npop %rax\niretq\n"
    "v = v + 1\n"
    ".endr\n.balign 64, 0x90\nhandlers_end:\n.popsection");

#define DONE	0xee

static void add_pv_leaf(struct tg *g, unsigned int id, uint32_t features)
{
	static struct hvx_cpuid_entry e[HVX_MAX_CPUID];
	struct hvx_cpuid c = { .entries = (uintptr_t)e };
	unsigned int i;

	c.nent = cpu_host_table(&g->info, e);
	for (i = 0; i < c.nent; i++)
		if (e[i].leaf == 0x40000001)
			e[i].eax = features;
	CHECK(!ioctl(g->v[id].fd, HVX_SET_CPUID, &c));
}

static void start(struct tg *g, const uint8_t *code, const uint8_t *end, uint32_t pv)
{
	unsigned int v;

	tg_new(g, 0, code, end - code);
	tg_long(g, 0);
	add_pv_leaf(g, 0, pv);
	memcpy(g->mem + HANDLERS, handlers, handlers_end - handlers);
	for (v = 0; v < 256; v++)
		tg_gate(g, v, HANDLERS + v * HANDLER_SIZE);
}

#define START(g, name, pv)	start(g, name, name##_end, pv)

static int said(struct tg *g, unsigned int id)
{
	struct hvx_run *run = g->v[id].run;
	int r;

	do {
		r = tg_run(g, id);
	} while (r == -EINTR || r == HVX_EXIT_KICKED);
	if (r != HVX_EXIT_PIO || !run->pio.is_write || run->pio.port != 0x10)
		return -1000 - r;
	return run->pio.data;
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
	static const int want[] = { 1, 0x91, 0x40, 2, 0x61, 3, 0x40, DONE };
	struct tg g;
	unsigned int i;

	START(&g, g_self_ipi, 0);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_EQ(said(&g, 0), want[i]);
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
	static const int want[] = { 1, 0x50, 0x40, DONE };
	struct tg g;
	unsigned int i;

	START(&g, g_cr8, 0);
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		CHECK_EQ(said(&g, 0), want[i]);
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
	CHECK_EQ(said(&g, 0), 10);
	CHECK_EQ(said(&g, 0), DONE);
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
	CHECK_EQ(said(&g, 0), 1 << 5);
	CHECK_EQ(said(&g, 0), 0x61);
	CHECK_EQ(said(&g, 0), DONE);
	tg_free(&g);
}

static void *run_ap(void *arg)
{
	struct tg *g = arg;

	return (void *)(long)said(g, 1);
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
	CHECK_EQ(said(&g, 0), DONE);
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
	CHECK_EQ(said(&g, 0), DONE);
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
	CHECK_EQ(said(&g, 0), DONE);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, DONE);
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
		CHECK_EQ(said(&g, 0), 0x50);
	CHECK_EQ(said(&g, 0), DONE);
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
		CHECK_EQ(said(&g, 0), 0x50);
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
		CHECK_EQ(said(&g, 0), 0x51);
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
	CHECK_EQ(said(&g, 0), 0x52);
	CHECK_EQ(said(&g, 0), DONE);
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
	CHECK_EQ(said(&g, 0), 1);
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
	CHECK_EQ(said(&h, 0), 0x53);
	CHECK_EQ(said(&h, 0), DONE);
	tg_free(&h);
	tg_free(&g);
}

/* ---------------------------------------------------------------- messages */

GUEST(g_wait, "x2apic\nsay 1\n2: sti\nhlt\njmp 2b\n");

static int msi(struct tg *g, uint64_t address, uint32_t data)
{
	struct hvx_msi m = { .address = address, .data = data };

	return ioctl(g->vm, HVX_SIGNAL_MSI, &m);
}

static void messages(void)
{
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(msi(&g, 0xfee00000, 0x40), 0);		/* not enabled yet */
	CHECK_EQ(said(&g, 0), 1);
	CHECK_EQ(msi(&g, 0xfee00000, 0x40), 1);
	CHECK_EQ(said(&g, 0), 0x40);
	CHECK_EQ(msi(&g, 0xfee01000, 0x41), 0);		/* nobody */
	CHECK_EQ(msi(&g, 0xfee00020, 0x41), 0);		/* id 0x100 */
	CHECK_EQ(msi(&g, 0xfeb00000, 0x41), 0);		/* no interrupt address */
	CHECK_EQ(msi(&g, 0xfee00000, 0x0f), 0);		/* no vector */
	CHECK_EQ(msi(&g, 0xfeeff000, 0x42), 1);		/* broadcast */
	CHECK_EQ(said(&g, 0), 0x42);
	CHECK_EQ(msi(&g, 0xfee01004, 0x43), 1);		/* logical: bit 0 of cluster 0 */
	CHECK_EQ(said(&g, 0), 0x43);
	CHECK_EQ(msi(&g, 0xfee02004, 0x43), 0);
	CHECK_EQ(msi(&g, 0xfee0300c, 0x144), 1);	/* lowest priority */
	CHECK_EQ(said(&g, 0), 0x44);
	CHECK_EQ(msi(&g, 0xfee00000, 0x400), 1);	/* NMI */
	CHECK_EQ(said(&g, 0), 2);
	/* Level: EOI reaches userspace. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc045), 1);
	CHECK_EQ(said(&g, 0), 0x45);
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
	long what = said(arg, 0);

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

static uint64_t exits(struct tg *g)
{
	struct hvx_stats st;

	CHECK(!ioctl(g->v[0].fd, HVX_GET_STATS, &st));
	return st.exits;
}

/* Messages to a guest that runs all arrive, and with posted interrupts it goes on running. */
static void messages_running(void)
{
	const unsigned int rounds = 2000;
	FILE *f = fopen("/sys/module/hvx/parameters/posted_interrupts", "re");
	bool posted = f && fgetc(f) == 'Y';
	unsigned int i;
	uint64_t before;
	pthread_t t;
	struct tg g;
	void *ret;

	if (f)
		fclose(f);
	START(&g, g_spin, 0);
	/* On AMD-V the parameter means nothing. */
	posted = posted && g.info.features & HVX_FEAT_APIC_VIRT;
	bsp_said = false;
	CHECK_EQ(said(&g, 0), 1);
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
	CHECK_EQ(said(&g, 0), 0x41);
	tg_free(&g);
}

static int irqfd(struct tg *g, int fd, int resample, uint32_t flags, uint64_t address, uint32_t data)
{
	struct hvx_irqfd i = { .fd = fd, .resample_fd = resample, .flags = flags,
			       .address = address, .data = data };

	return ioctl(g->vm, HVX_IRQFD, &i);
}

static uint64_t take(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	CHECK_EQ(write(fd, &one, sizeof(one)), sizeof(one));
}

static void *signal_later(void *arg)
{
	usleep(20000);
	signal_fd((long)arg);
	return NULL;
}

static void irqfds(void)
{
	int e = eventfd(0, EFD_NONBLOCK), e2 = eventfd(0, EFD_NONBLOCK), e3;
	int file = open("/dev/null", 0);
	pthread_t t;
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(said(&g, 0), 1);
	CHECK_ERR(irqfd(&g, -1, -1, 0, 0, 0), EBADF);
	CHECK_ERR(irqfd(&g, file, -1, 0, 0, 0), EINVAL);
	CHECK_ERR(irqfd(&g, e, -1, 1 << 2, 0, 0), EINVAL);
	CHECK_ERR(irqfd(&g, e, 5, 0, 0, 0), EINVAL);
	CHECK_ERR(irqfd(&g, e, -1, HVX_IRQFD_RESAMPLE, 0, 0), EBADF);
	CHECK_ERR(irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0), ENOENT);
	CHECK_ERR(irqfd(&g, e, e, HVX_IRQFD_DEASSIGN | HVX_IRQFD_RESAMPLE, 0, 0), EINVAL);

	/* Signalled before it is assigned; while the guest halts; twice the same. */
	signal_fd(e);
	CHECK(!irqfd(&g, e, -1, 0, 0xfee00000, 0x60));
	CHECK_EQ(said(&g, 0), 0x60);
	CHECK(!pthread_create(&t, NULL, signal_later, (void *)(long)e));
	CHECK_EQ(said(&g, 0), 0x60);
	pthread_join(t, NULL);
	CHECK_EQ(take(e), 0);

	/* A new message for one of two. */
	CHECK(!irqfd(&g, e2, -1, 0, 0xfee00000, 0x61));
	CHECK(!irqfd(&g, e, -1, 0, 0xfee00000, 0x62));
	signal_fd(e);
	CHECK_EQ(said(&g, 0), 0x62);
	signal_fd(e2);
	CHECK_EQ(said(&g, 0), 0x61);

	/* Held back by deassigning it: signals stay in the eventfd, and make one message. */
	CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	signal_fd(e);
	signal_fd(e);
	CHECK(!irqfd(&g, e, -1, 0, 0xfee00000, 0x63));
	CHECK_EQ(said(&g, 0), 0x63);
	signal_fd(e2);
	CHECK_EQ(said(&g, 0), 0x61);

	/* Gone: the eventfd counts for itself again. */
	CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	CHECK_ERR(irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0), ENOENT);
	signal_fd(e);
	CHECK_EQ(take(e), 1);
	/* Closing it does not end it: the guest hears of what the other reference says. */
	e3 = dup(e2);
	close(e2);
	signal_fd(e3);
	CHECK_EQ(said(&g, 0), 0x61);
	close(e3);
	tg_free(&g);
	close(e);
	close(file);
}

static void irqfd_limit(void)
{
	struct rlimit many = { HVX_MAX_IRQFDS + 100, HVX_MAX_IRQFDS + 100 };
	static int fd[HVX_MAX_IRQFDS + 1];
	struct tg g;
	int i;

	CHECK(!setrlimit(RLIMIT_NOFILE, &many));
	START(&g, g_wait, 0);
	for (i = 0; i <= HVX_MAX_IRQFDS; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK);
		CHECK(fd[i] >= 0);
		if (i < HVX_MAX_IRQFDS)
			CHECK(!irqfd(&g, fd[i], -1, 0, 0xfee00000, 0x60));
		else
			CHECK_ERR(irqfd(&g, fd[i], -1, 0, 0xfee00000, 0x60), ENOSPC);
	}
	/* Half of them close before the VM, half after. */
	for (i = 0; i <= HVX_MAX_IRQFDS; i += 2)
		close(fd[i]);
	tg_free(&g);
	for (i = 1; i <= HVX_MAX_IRQFDS; i += 2) {
		signal_fd(fd[i]);
		close(fd[i]);
	}
}

static void resample(void)
{
	int e = eventfd(0, EFD_NONBLOCK), r = eventfd(0, EFD_NONBLOCK), e2 = eventfd(0, EFD_NONBLOCK);
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(said(&g, 0), 1);
	CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0xc070));
	CHECK(!irqfd(&g, e2, -1, 0, 0xfee00000, 0x71));
	signal_fd(e);
	CHECK_EQ(said(&g, 0), 0x70);
	CHECK_EQ(take(r), 0);			/* not EOIed yet */
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(g.v[0].run->eoi.vector, 0x70);
	CHECK_EQ(take(r), 1);
	signal_fd(e2);
	CHECK_EQ(said(&g, 0), 0x71);
	/* The same vector from the I/O APIC, as of a shared pin: both hear of the EOI. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc070), 1);
	CHECK_EQ(said(&g, 0), 0x70);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(take(r), 1);
	/* Another vector, and an edge of the same: not its affair. */
	CHECK_EQ(msi(&g, 0xfee00000, 0xc072), 1);
	CHECK_EQ(said(&g, 0), 0x72);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(msi(&g, 0xfee00000, 0x70), 1);
	CHECK_EQ(said(&g, 0), 0x70);
	CHECK_EQ(msi(&g, 0xfee00000, 0x71), 1);
	CHECK_EQ(said(&g, 0), 0x71);
	CHECK_EQ(take(r), 0);
	/* It follows the message, and ends with it. */
	CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x73));
	signal_fd(e);
	CHECK_EQ(said(&g, 0), 0x73);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(take(r), 1);
	CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	CHECK_EQ(msi(&g, 0xfee00000, 0xc073), 1);
	CHECK_EQ(said(&g, 0), 0x73);
	tg_run_to(&g, 0, HVX_EXIT_EOI);
	CHECK_EQ(take(r), 0);
	tg_free(&g);
	close(e);
	close(e2);
	close(r);
}

/* ---------------------------------------------------------------- ioeventfd */

GUEST(g_ioev,
      "mov $0x500, %dx\nmov $7, %eax\nout %al, %dx\nout %ax, %dx\nout %eax, %dx\n"
      "mov $8, %eax\nout %ax, %dx\n"
      "mov $0x40000000, %ebx\nmov %eax, (%rbx)\nmov %rax, (%rbx)\nmov %al, 8(%rbx)\n"
      "finish\n");

static int ioev(struct tg *g, int fd, uint64_t addr, uint32_t len, uint32_t flags, uint64_t match)
{
	struct hvx_ioeventfd i = { .fd = fd, .addr = addr, .len = len, .flags = flags,
				   .datamatch = match };

	return ioctl(g->vm, HVX_IOEVENTFD, &i);
}

static void ioeventfds(void)
{
	const uint32_t pio = HVX_IOEVENTFD_PIO, dm = HVX_IOEVENTFD_DATAMATCH,
		       del = HVX_IOEVENTFD_DEASSIGN;
	int e = eventfd(0, EFD_NONBLOCK), w = eventfd(0, EFD_NONBLOCK), i;
	struct tg g;

	START(&g, g_ioev, 0);
	CHECK_ERR(ioev(&g, -1, 0x500, 2, pio, 0), EBADF);
	CHECK_ERR(ioev(&g, e, 0x500, 3, pio, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 8, pio, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0xffff, 2, pio, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, ~0ULL, 2, 0, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 0, pio | dm, 7), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 2, 1 << 3, 0), EINVAL);
	CHECK_ERR(ioev(&g, e, 0x500, 2, pio | del, 0), ENOENT);

	/* The word 7; any long; MMIO of any length at 0x40000000. */
	CHECK(!ioev(&g, e, 0x500, 2, pio | dm, 7));
	CHECK_ERR(ioev(&g, w, 0x500, 2, pio | dm, 7), EEXIST);
	CHECK(!ioev(&g, w, 0x500, 4, pio, 0));
	CHECK(!ioev(&g, w, 0x40000000, 0, 0, 0));
	tg_run_to(&g, 0, HVX_EXIT_PIO);			/* the byte */
	CHECK_EQ(g.v[0].run->pio.size, 1);
	CHECK_EQ(take(e), 0);
	tg_run_to(&g, 0, HVX_EXIT_PIO);			/* the word 8 */
	CHECK_EQ(g.v[0].run->pio.data, 8);
	CHECK_EQ(take(e), 1);
	CHECK_EQ(take(w), 1);
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.gpa, 0x40000008);
	CHECK_EQ(take(w), 2);
	CHECK_ERR(ioev(&g, w, 0x500, 2, pio | dm | del, 7), ENOENT);	/* another's */
	CHECK(!ioev(&g, e, 0x500, 2, pio | dm | del, 7));
	for (i = 2; i < HVX_MAX_IOEVENTFDS; i++)
		CHECK(!ioev(&g, e, 0x600 + i, 1, i & 1 ? pio : 0, 0));
	CHECK_ERR(ioev(&g, e, 0x600, 1, pio, 0), ENOSPC);
	tg_free(&g);
	close(e);
	close(w);
}

/* -------------------------------------------------------------- paravirtual */

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
	CHECK_EQ(said(&g, 0), 1);
	CHECK_EQ(said(&g, 0), 2);
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

	set.host_tsc = 1;
	CHECK_ERR(ioctl(g.vm, HVX_SET_CLOCK, &set), EINVAL);
	set.host_tsc = 0;
	CHECK(!ioctl(g.vm, HVX_SET_CLOCK, &set));
	old = c;
	CHECK_EQ(said(&g, 0), 3);
	c = *page;
	CHECK(c.version > old.version && !(c.version & 1));
	CHECK_EQ(c.tsc, old.tsc);
	ns = pv_ns(&g, &c);
	CHECK(ns >= set.ns && ns < set.ns + 60000000000ULL);
	tg_free(&g);
}

/* Without the feature bits the MSRs are not there. */
GUEST(g_nopv, "wr 0x4b564d01 0xa001\nsay 1\n");

static void pv_gated(void)
{
	struct tg g;

	START(&g, g_nopv, 0);
	CHECK_EQ(said(&g, 0), 13);
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
	static const int want[2][9] = { { 0x61, 1, 0x60, 0x31, 2, 0x60, 0x31, 0x33, DONE },
					{ 0x60, 1, 0x60, 0x30, 2, 0x60, 0x30, 0x33, DONE } };
	struct hvx_lapic_state s;
	struct tg g;
	unsigned int i;

	START(&g, g_pveoi, 1 << 6);
	g.mem[0xa000] = 0;	/* present: it is written without sleeping */
	for (i = 0; i < 9; i++)
		CHECK_EQ(said(&g, 0), want[!!(g.info.features & HVX_FEAT_APIC_VIRT)][i]);
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
	CHECK_EQ(said(&g, 0), 1);
	CHECK_EQ(said(&g, 0), 0);
	CHECK_EQ(said(&g, 0), EINVAL);
	CHECK_EQ(said(&g, 0), 1);
	CHECK_EQ(said(&g, 0), DONE);
	pthread_join(t, &ret);
	CHECK_EQ((long)ret, 0x44);
	tg_free(&g);
}

/* -------------------------------------------------------------------- races */

static bool stop;

static void *signaller(void *arg)
{
	uint64_t one = 1;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		if (write((long)arg, &one, sizeof(one)) < 0)
			break;
	return NULL;
}

/* Signals, assignments, updates and closes against each other, then the VM goes first. */
static void irqfd_races(void)
{
	int i, e = eventfd(0, EFD_NONBLOCK), r = eventfd(0, EFD_NONBLOCK), e2;
	pthread_t t;
	struct tg g;

	START(&g, g_wait, 0);
	CHECK_EQ(said(&g, 0), 1);
	stop = false;
	CHECK(!pthread_create(&t, NULL, signaller, (void *)(long)e));
	for (i = 0; i < 500; i++) {
		CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x60));
		CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x61));
		if (i & 1)
			CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
		e2 = eventfd(0, 0);
		CHECK(!irqfd(&g, e2, -1, 0, 0xfee00000, 0x63));
		close(e2);
		if (!(i & 1))
			CHECK(!irqfd(&g, e, -1, HVX_IRQFD_DEASSIGN, 0, 0));
	}
	CHECK(!irqfd(&g, e, r, HVX_IRQFD_RESAMPLE, 0xfee00000, 0x60));
	tg_free(&g);
	stop = true;
	pthread_join(t, NULL);
	close(e);
	close(r);
}

/* VMs that die with a timer running. */
static void timer_outlives(void)
{
	struct tg g;
	int i;

	for (i = 0; i < 50; i++) {
		START(&g, g_periodic, 0);
		CHECK_EQ(said(&g, 0), 0x51);
		tg_free(&g);
	}
	usleep(10000);
}

static const struct tg_test tests[] = {
	TG_TEST(self_ipi),
	TG_TEST(cr8_masks),
	TG_TEST(msr_faults),
	TG_TEST(illegal_vector),
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
	TG_TEST(irqfds),
	TG_TEST(irqfd_limit),
	TG_TEST(resample),
	TG_TEST(ioeventfds),
	TG_TEST(kvmclock),
	TG_TEST(pv_gated),
	TG_TEST(pv_eoi),
	TG_TEST(pv_ipi),
	TG_TEST(irqfd_races),
	TG_TEST(timer_outlives),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
