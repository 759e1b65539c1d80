// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Instructions that the module answers itself, and the debugger's exits. */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <x86intrin.h>

#include "guest.h"
#include "vmm/cpu.h"

/* What goes out at TG_EXC, or -1 for a HLT. */
static int next_outcome(struct tg *g)
{
	int r;

	do {
		r = tg_run(g, 0);
	} while (r == -EINTR || r == HVX_EXIT_KICKED);
	if (r == HVX_EXIT_HALTED)
		return -1;
	if (r == HVX_EXIT_PIO && g->v[0].run->pio.port == TG_EXC)
		return g->v[0].run->pio.data;
	return -1000 - r;
}

/* Run the code from the start, in long mode at the CPL. */
static int outcome(struct tg *g, const uint8_t *code, size_t len, bool user)
{
	struct hvx_debugregs d = { .dr6 = 0xffff0ff0, .dr7 = 0x400 };

	memcpy(g->mem + TG_CODE, code, len);
	tg_long(g, 0);
	CHECK(!tg_set(g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	if (user)
		tg_user(g, 0);
	return next_outcome(g);
}

static void new_long(struct tg *g)
{
	static const uint8_t hlt[] = { 0xf4 };

	tg_new(g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	tg_set_cpuid_supported(g, 0);
	tg_long(g, 0);
	tg_handlers(g);
}

#define HLT	0xf4
#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

/* Fetched RIP of the fault: on top of the stack, behind the error code if there is one. */
static uint64_t fault_rip(struct tg *g, bool has_code)
{
	return *(uint64_t *)(g->mem + tg_reg(g, 0, 4) + (has_code ? 8 : 0));
}

/* --------------------------------------------------------------- CPUID, TSC */

static void cpuid_table(void)
{
	/* mov eax,0; cpuid; hlt */
	static const uint8_t code[] = { 0x31, 0xc0, 0x0f, 0xa2, 0xf4 };
	struct hvx_cpuid_entry e[] = {
		{ .leaf = 0, .eax = 1, .ebx = 0x11111111, .ecx = 0x22222222, .edx = 0x33333333 },
		{ .leaf = 1, .edx = 1 },
	};
	struct hvx_cpuid c = { .nent = 2, .entries = (uintptr_t)e };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	CHECK(!ioctl(g.v[0].fd, HVX_SET_CPUID, &c));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), 1);
	CHECK_EQ(tg_reg(&g, 0, 3), 0x11111111);
	CHECK_EQ(tg_reg(&g, 0, 1), 0x22222222);
	CHECK_EQ(tg_reg(&g, 0, 2), 0x33333333);
	/* Having run, the table is fixed. */
	CHECK(!ioctl(g.v[0].fd, HVX_SET_CPUID, &c));
	e[1].edx = 3;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_SET_CPUID, &c), EBUSY);
	tg_free(&g);
}

/* Prefixes mean nothing to these but have a length; the upper halves become zero. */
static void cpuid_prefixed(void)
{
	static const uint8_t code[] = { 0x48, 0x83, 0xc8, 0xff, 0x66, 0x48, 0x0f, 0xa2, 0xf4 };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	tg_long(&g, 0);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + sizeof(code));
	CHECK_EQ(tg_reg(&g, 0, 0) >> 32, 0);
	tg_free(&g);
}

GUEST(g_osxsave,
      "mov $1, %eax\ncpuid\nmov %ecx, %esi\n"
      "mov %cr4, %rax\nor $0x40000, %eax\nmov %rax, %cr4\n"
      "mov $1, %eax\ncpuid\nmov %ecx, %edi\n"
      "mov %edx, %r9d\n"
      "mov $0x1b, %ecx\nrdmsr\nand $~0x800, %eax\nwrmsr\n"
      "mov $1, %eax\ncpuid\nmov %edx, %r10d\nhlt\n");

static void cpuid_dynamic(void)
{
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, g_osxsave, GUEST_LEN(g_osxsave), false), -1);
	CHECK_EQ(tg_reg(&g, 0, 6) >> 27 & 1, 0);
	CHECK_EQ(tg_reg(&g, 0, 7) >> 27 & 1, 1);
	CHECK_EQ(tg_reg(&g, 0, 9) >> 9 & 1, 1);
	CHECK_EQ(tg_reg(&g, 0, 10) >> 9 & 1, 0);
	tg_free(&g);
}

GUEST(g_rdtsc, "rdtsc\nshl $32, %rdx\nor %rdx, %rax\nmov %rax, %rbx\n"
	       "mov $0x10, %ecx\nrdmsr\nshl $32, %rdx\nor %rdx, %rax\nhlt\n");

static void tsc_offset(void)
{
	struct hvx_tsc_state t = { .value = 1ULL << 60 };
	uint64_t before, after, a, b;
	struct tg g;

	new_long(&g);
	before = __rdtsc();
	CHECK(!tg_set(&g, 0, HVX_STATE_TSC, &t, sizeof(t)));
	CHECK_EQ(outcome(&g, g_rdtsc, GUEST_LEN(g_rdtsc), false), -1);
	after = __rdtsc();
	a = tg_reg(&g, 0, 3);
	b = tg_reg(&g, 0, 0);
	CHECK(a >= t.value && a <= t.value + (after - before));
	CHECK(b >= a && b <= t.value + (after - before));
	/* The offset that GET tells agrees. */
	before = __rdtsc();
	CHECK(!tg_get(&g, 0, HVX_STATE_TSC, &t, sizeof(t)));
	after = __rdtsc();
	CHECK(t.value - t.offset >= before && t.value - t.offset <= after);
	tg_free(&g);
}

/* ------------------------------------------------------ undefined, protected */

static void not_there(void)
{
	static const uint8_t insns[][4] = {
		{ 0x0f, 0x01, 0xd8, HLT },	/* vmrun */
		{ 0x0f, 0x01, 0xda, HLT },	/* vmload */
		{ 0x0f, 0x01, 0xdb, HLT },	/* vmsave */
		{ 0x0f, 0x01, 0xdc, HLT },	/* stgi */
		{ 0x0f, 0x01, 0xdd, HLT },	/* clgi */
		{ 0x0f, 0x01, 0xde, HLT },	/* skinit */
		{ 0x0f, 0x01, 0xdf, HLT },	/* invlpga */
		{ 0x0f, 0x01, 0xc8, HLT },	/* monitor */
		{ 0x0f, 0x01, 0xc9, HLT },	/* mwait */
		{ 0x0f, 0x01, 0xfd, HLT },	/* rdpru */
		{ 0x0f, 0x01, 0xc2, HLT },	/* vmlaunch */
		{ 0x0f, 0x0b, HLT, HLT },
	};
	unsigned int i;
	struct tg g;
	int r;

	new_long(&g);
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		r = outcome(&g, insns[i], 4, false);
		if (r != 6)
			printf("# %02x %02x %02x\n", insns[i][0], insns[i][1], insns[i][2]);
		CHECK_EQ(r, 6);
		CHECK_EQ(fault_rip(&g, false), TG_CODE);
	}
	tg_free(&g);
}

/* What CPL 3 may not do, whether the module intercepts it or not. */
static void privileged(void)
{
	static const uint8_t insns[][4] = {
		{ 0xf4 }, { 0x0f, 0x32, HLT }, { 0x0f, 0x30, HLT }, { 0x0f, 0x08, HLT },
		{ 0x0f, 0x09, HLT }, { 0x0f, 0x22, 0xe0, HLT }, { 0x0f, 0x20, 0xe0, HLT },
		{ 0x44, 0x0f, 0x22, 0xc0 }, { 0x0f, 0x23, 0xc0, HLT }, { 0x0f, 0x21, 0xc0, HLT },
		{ 0xfa, HLT }, { 0xec, HLT }, { 0xe6, 0x10, HLT }, { 0x0f, 0x33, HLT },
		{ 0x0f, 0x06, HLT },
	};
	unsigned int i;
	struct tg g;
	int r;

	new_long(&g);
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		r = outcome(&g, insns[i], 4, true);
		if (r != 13)
			printf("# %02x %02x %02x\n", insns[i][0], insns[i][1], insns[i][2]);
		CHECK_EQ(r, 13);
		CHECK_EQ(fault_rip(&g, true), TG_CODE);
	}
	/* CPUID and RDTSC are for everyone; then HLT faults. */
	CHECK_EQ(outcome(&g, CODE(0x0f, 0xa2, 0x0f, 0x31, HLT), true), 13);
	CHECK_EQ(fault_rip(&g, true), TG_CODE + 4);
	tg_free(&g);
}

static void caches_and_counters(void)
{
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, CODE(0x0f, 0x08, 0x0f, 0x09, HLT), false), -1);	/* invd; wbinvd */
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + 5);
	CHECK_EQ(outcome(&g, CODE(0x31, 0xc9, 0x0f, 0x33, HLT), false), 13);	/* xor ecx,ecx; rdpmc */
	CHECK_EQ(fault_rip(&g, true), TG_CODE + 2);
	tg_free(&g);
}

GUEST(g_pause, "mov $200000, %ecx\n1: pause\ndec %ecx\njnz 1b\nhlt\n");

static void pause_loop(void)
{
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, g_pause, GUEST_LEN(g_pause), false), -1);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + GUEST_LEN(g_pause));
	CHECK_EQ(tg_reg(&g, 0, 1), 0);
	tg_free(&g);
}

/* ---------------------------------------------------------------------- CR0 */

#define CR0_CACHE	0x60000000ULL	/* CD, NW */

static uint64_t cr0_state(struct tg *g, struct hvx_sregs *s)
{
	CHECK(!tg_get(g, 0, HVX_STATE_SREGS, s, sizeof(*s)));
	return s->cr0;
}

/* As at reset: CD and NW show, stay when something else changes, and go for good when cleared. */
GUEST16(g_cr0_cache,
	"mov %cr0, %ebx\nmov %ebx, %eax\nor $0x10000, %eax\nmov %eax, %cr0\nmov %cr0, %ebp\n"
	"hlt\nsmsw %esi\nclts\nmov %cr0, %edi\nand $~0x60000000, %eax\nmov %eax, %cr0\nmov %cr0, %edx\n"
	"hlt\nor $0x40000000, %eax\nmov %eax, %cr0\nmov %cr0, %ecx\nhlt\n");

static void cr0_cache(void)
{
	struct hvx_sregs s;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, g_cr0_cache, GUEST_LEN(g_cr0_cache));
	CHECK_EQ(cr0_state(&g, &s), CR0_CACHE | 0x10);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 3), CR0_CACHE | 0x10);
	CHECK_EQ(tg_reg(&g, 0, 5), CR0_CACHE | 0x10010);
	CHECK_EQ(cr0_state(&g, &s), CR0_CACHE | 0x10010);
	/* TS in the state: CLTS clears it and nothing else. */
	s.cr0 |= 8;
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 6), CR0_CACHE | 0x10018);
	CHECK_EQ(tg_reg(&g, 0, 7), CR0_CACHE | 0x10010);
	CHECK_EQ(tg_reg(&g, 0, 2), 0x10010);
	CHECK_EQ(cr0_state(&g, &s), 0x10010);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 1), 0x40010010);
	CHECK_EQ(cr0_state(&g, &s), 0x40010010);
	tg_free(&g);
}

/* Into long mode with CD set, as firmware goes. */
GUEST32(g_cr0_long, "mov %cr0, %eax\nor $0x80000000, %eax\nmov %eax, %cr0\nhlt\n");
GUEST(g_cr0_set, "mov %rbx, %cr0\nmov %cr0, %rbp\nhlt\n");

static int set_cr0(struct tg *g, uint64_t val)
{
	struct hvx_sregs s;

	memcpy(g->mem + TG_CODE, g_cr0_set, GUEST_LEN(g_cr0_set));
	tg_long(g, 0);
	s.cr0 = cr0_state(g, &s) | CR0_CACHE;
	CHECK(!tg_set(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_set_reg(g, 0, 3, val);
	return next_outcome(g);
}

static void cr0_modes(void)
{
	struct hvx_sregs s;
	struct tg g;

	new_long(&g);
	tg_protected(&g, 0);
	cr0_state(&g, &s);
	s.cr0 = CR0_CACHE | 0x31;
	s.efer = 0x100;
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	memcpy(g.mem + TG_CODE, g_cr0_long, GUEST_LEN(g_cr0_long));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(cr0_state(&g, &s), CR0_CACHE | 0x80000031);
	CHECK_EQ(s.efer, 0x500);

	CHECK_EQ(set_cr0(&g, CR0_CACHE | 0x80010011), -1);
	CHECK_EQ(tg_reg(&g, 0, 5), CR0_CACHE | 0x80010011);
	/* NW without CD, PG without PE, PG off in 64-bit mode, the upper half. */
	CHECK_EQ(set_cr0(&g, 0xa0010033), 13);
	CHECK_EQ(set_cr0(&g, 0x80010032), 13);
	CHECK_EQ(set_cr0(&g, 0x00010033), 13);
	CHECK_EQ(set_cr0(&g, 1ULL << 32 | 0x80010033), 13);
	CHECK_EQ(fault_rip(&g, true), TG_CODE);
	CHECK_EQ(cr0_state(&g, &s), CR0_CACHE | 0x80010033);
	tg_free(&g);
}

/* --------------------------------------------------- control registers, XCR0 */

GUEST(g_cr4, "mov %rdi, %cr4\nmov %cr4, %rax\nhlt\n");
GUEST(g_cr4_rex, "mov %r15, %cr4\nmov %cr4, %r14\nhlt\n");

static int cr4(struct tg *g, uint64_t val)
{
	int r;

	memcpy(g->mem + TG_CODE, g_cr4, GUEST_LEN(g_cr4));
	tg_long(g, 0);
	tg_set_reg(g, 0, 7, val);
	r = next_outcome(g);
	if (r == -1)
		CHECK_EQ(tg_reg(g, 0, 0), val);
	return r;
}

static void cr4_writes(void)
{
	static const int never[] = { 12, 13, 14, 19, 25, 26, 31, 32, 63 };
	unsigned int i;
	struct tg g;

	new_long(&g);
	for (i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		CHECK_EQ(cr4(&g, 0x620 | 1ULL << never[i]), 13);
	CHECK_EQ(cr4(&g, 0x600), 13);			/* PAE off in long mode */
	CHECK_EQ(fault_rip(&g, true), TG_CODE);
	CHECK_EQ(cr4(&g, 0x6a0), -1);			/* PGE */
	CHECK_EQ(cr4(&g, 0x6ff), -1);
	CHECK_EQ(cr4(&g, 0x620), -1);
	memcpy(g.mem + TG_CODE, g_cr4_rex, GUEST_LEN(g_cr4_rex));
	tg_long(&g, 0);
	tg_set_reg(&g, 0, 15, 0x6a0);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 14), 0x6a0);
	tg_free(&g);
}

/* CPUID decides: without OSXSAVE's feature the bit is not there. */
static void cr4_by_cpuid(void)
{
	struct hvx_cpuid_entry e[] = { { .leaf = 0, .eax = 1 },
				       { .leaf = 1, .edx = 0x07808b11 },
				       { .leaf = 0x80000000, .eax = 0x80000001 },
				       { .leaf = 0x80000001, .edx = 1 << 29 | 1 << 20 | 1 << 11 } };
	struct hvx_cpuid c = { .nent = 4, .entries = (uintptr_t)e };
	static const uint8_t hlt[] = { 0xf4 };
	struct hvx_sregs s;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, hlt, sizeof(hlt));
	e[1].edx |= 1 << 6;		/* PAE */
	CHECK(!ioctl(g.v[0].fd, HVX_SET_CPUID, &c));
	tg_long(&g, 0);
	tg_handlers(&g);
	CHECK_EQ(cr4(&g, 0x620 | 1 << 18), 13);
	CHECK_EQ(cr4(&g, 0x620), -1);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.cr4 |= 1 << 18;
	CHECK_ERR(tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)), EINVAL);
	tg_free(&g);
}

GUEST(g_cr8, "mov $0xa, %eax\nmov %rax, %cr8\nmov %cr8, %rbx\n"
	     "mov $0x1b, %ecx\nrdmsr\nor $0xc00, %eax\nwrmsr\nmov $0x808, %ecx\nrdmsr\nmov %eax, %esi\n"
	     "mov $0x30, %eax\nwrmsr\nmov %cr8, %r12\nhlt\n"
	     "mov $0x10, %eax\nmov %rax, %cr8\nhlt\n");

static void cr8(void)
{
	struct hvx_sregs s;
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, g_cr8, GUEST_LEN(g_cr8), false), -1);
	CHECK_EQ(tg_reg(&g, 0, 3), 0xa);
	CHECK_EQ(tg_reg(&g, 0, 6), 0xa0);
	CHECK_EQ(tg_reg(&g, 0, 12), 3);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	CHECK_EQ(s.cr8, 3);
	if (tg_host_is_tcg())
		tg_skipped = "QEMU's TCG takes any value for CR8";
	else
		CHECK_EQ(next_outcome(&g), 13);
	tg_free(&g);
}

GUEST(g_xsetbv,
      "mov %cr4, %rax\nor $0x40000, %eax\nmov %rax, %cr4\n"
      "mov %r8d, %ecx\nmov %r9d, %eax\nmov %r10d, %edx\nxsetbv\n"
      "xor %ecx, %ecx\nxgetbv\nhlt\n");

static int xsetbv(struct tg *g, uint32_t ecx, uint64_t val)
{
	int r;

	memcpy(g->mem + TG_CODE, g_xsetbv, GUEST_LEN(g_xsetbv));
	tg_long(g, 0);
	tg_set_reg(g, 0, 8, ecx);
	tg_set_reg(g, 0, 9, (uint32_t)val);
	tg_set_reg(g, 0, 10, val >> 32);
	r = next_outcome(g);
	if (r == -1)
		CHECK_EQ(tg_reg(g, 0, 0), val);
	return r;
}

static void xcr0(void)
{
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, CODE(0x31, 0xc9, 0x0f, 0x01, 0xd1, HLT), false), 6);	/* OSXSAVE off */
	CHECK_EQ(xsetbv(&g, 0, 3), -1);
	CHECK_EQ(xsetbv(&g, 0, 1), -1);
	CHECK_EQ(xsetbv(&g, 0, 0), 13);
	CHECK_EQ(xsetbv(&g, 0, 2), 13);
	CHECK_EQ(xsetbv(&g, 0, 5), 13);			/* AVX without SSE */
	CHECK_EQ(xsetbv(&g, 0, 3 | 1ULL << 62), 13);
	CHECK_EQ(xsetbv(&g, 1, 3), 13);
	if (g.info.xcr0 & 4)
		CHECK_EQ(xsetbv(&g, 0, 7), -1);
	CHECK_EQ(xsetbv(&g, 0, ~g.info.xcr0 | 3), 13);
	tg_free(&g);
}

GUEST(g_rdmsr, "mov %r8d, %ecx\nrdmsr\nhlt\n");
GUEST(g_wrmsr, "mov %r8d, %ecx\nmov %r9d, %eax\nxor %edx, %edx\nwrmsr\nhlt\n");
/* CPUID 0xD.1 after XCR0 = 3; XMM0 through XSAVES and XRSTORS by way of the area at RDI. */
GUEST(g_xsaves,
      "mov %cr4, %rax\nor $0x40200, %eax\nmov %rax, %cr4\n"
      "xor %ecx, %ecx\nmov $3, %eax\nxor %edx, %edx\nxsetbv\n"
      "mov $0xd, %eax\nmov $1, %ecx\ncpuid\n"
      "mov %eax, %r12d\nmov %ebx, %r13d\nmov %ecx, %r14d\nmov %edx, %r15d\n"
      "mov $0x12345678, %eax\nmovd %eax, %xmm0\n"
      "mov $3, %eax\nxor %edx, %edx\nxsaves (%rdi)\n"
      "pxor %xmm0, %xmm0\nxrstors (%rdi)\nmovd %xmm0, %ebx\nhlt\n");

#define MSR_XSS		0xda0
#define XSAVE_AT	0xa000

static int msr_outcome(struct tg *g, const void *code, size_t len, uint32_t val)
{
	memcpy(g->mem + TG_CODE, code, len);
	tg_long(g, 0);
	tg_set_reg(g, 0, 8, MSR_XSS);
	tg_set_reg(g, 0, 9, val);
	return next_outcome(g);
}

static int host_xss(struct tg *g, uint64_t *val, bool write)
{
	struct hvx_msr_entry e = { .index = MSR_XSS, .value = *val };
	struct hvx_msrs m = { .count = 1, .entries = (uintptr_t)&e };
	int r = ioctl(g->v[0].fd, write ? HVX_SET_MSRS : HVX_GET_MSRS, &m);

	*val = e.value;
	return r;
}

static int run_xsaves(struct tg *g)
{
	memcpy(g->mem + TG_CODE, g_xsaves, GUEST_LEN(g_xsaves));
	memset(g->mem + XSAVE_AT, 0, 4096);
	tg_long(g, 0);
	tg_set_reg(g, 0, 7, XSAVE_AT);
	return next_outcome(g);
}

/* No supervisor state: IA32_XSS reads 0, and that is all it takes. */
static void xsaves(void)
{
	uint64_t val = ~0ULL;
	bool offered;
	struct tg g;

	new_long(&g);
	offered = g.info.features & HVX_FEAT_XSAVES;
	CHECK_EQ(host_xss(&g, &val, false), 1);
	CHECK_EQ(val, 0);
	CHECK_EQ(host_xss(&g, &val, true), 1);
	val = 1 << 8;
	CHECK_EQ(host_xss(&g, &val, true), 0);
	CHECK_EQ(msr_outcome(&g, g_rdmsr, GUEST_LEN(g_rdmsr), 0), offered ? -1 : 13);
	if (offered)
		CHECK_EQ((uint32_t)(tg_reg(&g, 0, 0) | tg_reg(&g, 0, 2)), 0);
	CHECK_EQ(msr_outcome(&g, g_wrmsr, GUEST_LEN(g_wrmsr), 0), offered ? -1 : 13);
	CHECK_EQ(msr_outcome(&g, g_wrmsr, GUEST_LEN(g_wrmsr), 1 << 8), 13);
	if (!offered) {
		tg_skipped = "the CPU has no XSAVES, or VT-x cannot enable it";
		tg_free(&g);
		return;
	}
	CHECK_EQ(run_xsaves(&g), -1);
	CHECK_EQ(tg_reg(&g, 0, 12) & 8, 8);
	CHECK_EQ(tg_reg(&g, 0, 13), 512 + 64);	/* nothing of the host's own is counted */
	CHECK_EQ(tg_reg(&g, 0, 14) | tg_reg(&g, 0, 15), 0);
	CHECK_EQ(tg_reg(&g, 0, 3), 0x12345678);
	CHECK_EQ(*(uint64_t *)(g.mem + XSAVE_AT + 520), 1ULL << 63 | 3);	/* XCOMP_BV */
	tg_free(&g);
}

/* Where a guest's CPUID does not show XSAVES, VT-x has it raise #UD; AMD-V cannot. */
static void xsaves_hidden(void)
{
	static struct hvx_cpuid_entry e[HVX_MAX_CPUID];
	struct hvx_cpuid c = { .entries = (uintptr_t)e };
	struct tg g;
	unsigned int i;

	tg_new(&g, HVX_VM_EXIT_HLT, (const uint8_t[]){ HLT }, 1);
	c.nent = cpu_host_table(&g.info, e);
	for (i = 0; i < c.nent; i++)
		if (e[i].leaf == 0xd && e[i].subleaf == 1)
			e[i].eax &= ~8U;
	CHECK(!ioctl(g.v[0].fd, HVX_SET_CPUID, &c));
	tg_long(&g, 0);
	tg_handlers(&g);
	CHECK_EQ(msr_outcome(&g, g_rdmsr, GUEST_LEN(g_rdmsr), 0), 13);
	CHECK_EQ(msr_outcome(&g, g_wrmsr, GUEST_LEN(g_wrmsr), 0), 13);
	if (strcmp(g.info.backend, "vmx") || !(g.info.features & HVX_FEAT_XSAVES))
		tg_skipped = "XSAVES cannot be kept from a guest here, or is not there";
	else
		CHECK_EQ(run_xsaves(&g), 6);
	tg_free(&g);
}

/* -------------------------------------------------------------- debug registers */

GUEST(g_dr,
      "mov $0x1111, %eax\nmov %rax, %db0\nmov $0x2222, %eax\nmov %rax, %db3\n"
      "mov %db0, %rbx\nmov %db3, %r13\nmov %db6, %rsi\nmov %db7, %rdi\n"
      "mov $0xffffffff, %eax\nmov %rax, %db6\nmov %db6, %r8\n"
      ".byte 0x0f, 0x21, 0xe1\n"		/* mov rcx,dr4 */
      "mov %cr4, %rax\nor $8, %eax\nmov %rax, %cr4\n"	/* DE */
      ".byte 0x0f, 0x21, 0xe1\nhlt\n");

static void dr_access(void)
{
	struct hvx_debugregs d;
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, g_dr, GUEST_LEN(g_dr), false), 6);
	CHECK_EQ(tg_reg(&g, 0, 3), 0x1111);
	CHECK_EQ(tg_reg(&g, 0, 13), 0x2222);
	CHECK_EQ(tg_reg(&g, 0, 6), 0xffff0ff0);
	CHECK_EQ(tg_reg(&g, 0, 7), 0x400);
	CHECK_EQ(tg_reg(&g, 0, 8), 0xffffefff);
	CHECK_EQ(tg_reg(&g, 0, 1), 0xffffefff);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.db[0], 0x1111);
	CHECK_EQ(d.db[3], 0x2222);
	/* Upper halves are reserved. */
	CHECK_EQ(outcome(&g, CODE(0x48, 0xf7, 0xd0, 0x0f, 0x23, 0xf8, HLT), false), 13);	/* not rax; mov dr7,rax */
	tg_free(&g);
}

GUEST(g_gd, "mov $0x2400, %eax\nmov %rax, %db7\nnop\nmov %db0, %rbx\nhlt\n");

static void general_detect(void)
{
	struct hvx_debugregs d;
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, g_gd, GUEST_LEN(g_gd), false), 1);
	CHECK_EQ(fault_rip(&g, false), TG_CODE + GUEST_LEN(g_gd) - 4);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr6 >> 13 & 1, 1);
	CHECK_EQ(d.dr7 >> 13 & 1, 0);		/* cleared on entry to the handler */
	tg_free(&g);
}

#define NO_BREAKPOINTS "QEMU's TCG loads DR7 on VMRUN without setting the breakpoints"

/* The guest's own breakpoints and single-step, over instructions that exit, too. */
GUEST(g_bp,
      "lea 3f(%rip), %rax\nmov %rax, %db0\nmov $0x402, %eax\nmov %rax, %db7\n"
      "nop\n3: nop\nhlt\n");
GUEST(g_wp,
      "mov $0xa000, %eax\nmov %rax, %db1\nmov $0xd00408, %eax\nmov %rax, %db7\n"
      "movl $1, 0xa008\nmovl $1, 0xa000\nnop\nhlt\n");
GUEST(g_tf_cpuid, "pushf\norl $0x100, (%rsp)\npopf\ncpuid\nnop\nhlt\n");

static void guest_breakpoints(void)
{
	struct hvx_debugregs d;
	struct tg g;

	if (tg_host_is_tcg()) {
		tg_skipped = NO_BREAKPOINTS;
		return;
	}
	new_long(&g);
	CHECK_EQ(outcome(&g, g_bp, GUEST_LEN(g_bp), false), 1);
	CHECK_EQ(fault_rip(&g, false), TG_CODE + GUEST_LEN(g_bp) - 2);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr6 & 0xf, 1);
	CHECK_EQ(outcome(&g, g_wp, GUEST_LEN(g_wp), false), 1);
	CHECK_EQ(fault_rip(&g, false), TG_CODE + GUEST_LEN(g_wp) - 2);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr6 & 0xf, 2);
	tg_free(&g);
}

static void guest_single_step(void)
{
	struct hvx_debugregs d;
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, g_tf_cpuid, GUEST_LEN(g_tf_cpuid), false), 1);
	CHECK_EQ(fault_rip(&g, false), TG_CODE + GUEST_LEN(g_tf_cpuid) - 2);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr6 >> 14 & 1, 1);
	tg_free(&g);
}

/* -------------------------------------------------------------------- debugger */

static int debug(struct tg *g, uint32_t flags, uint64_t db0, uint64_t dr7)
{
	struct hvx_debug d = { .flags = flags, .db = { db0 }, .dr7 = dr7 };

	return ioctl(g->v[0].fd, HVX_SET_DEBUG, &d);
}

static void stopped_at(struct tg *g, uint64_t rip, uint32_t vector)
{
	tg_run_to(g, 0, HVX_EXIT_DEBUG);
	CHECK_EQ(g->v[0].run->debug.rip, rip);
	CHECK_EQ(g->v[0].run->debug.vector, vector);
	CHECK_EQ(tg_reg(g, 0, 17) & 0x100, 0);
}

GUEST(g_step, "nop\ninc %eax\nnop\nhlt\n");
GUEST(g_step_exits, "nop\ncpuid\nnop\nout %al, $0x10\nin $0x10, %al\nrdtsc\nmov %cr4, %rax\nmov %rax, %cr4\nhlt\n");

static void single_step(void)
{
	struct tg g;

	new_long(&g);
	memcpy(g.mem + TG_CODE, g_step, GUEST_LEN(g_step));
	CHECK(!debug(&g, HVX_DEBUG_STEP, 0, 0));
	stopped_at(&g, TG_CODE + 1, 1);
	stopped_at(&g, TG_CODE + 3, 1);
	CHECK_EQ(tg_reg(&g, 0, 0), 1);
	stopped_at(&g, TG_CODE + 4, 1);
	CHECK(!debug(&g, 0, 0, 0));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);

	/* Instructions that exit are instructions like any other. */
	new_long(&g);
	memcpy(g.mem + TG_CODE, g_step_exits, GUEST_LEN(g_step_exits));
	CHECK(!debug(&g, HVX_DEBUG_STEP, 0, 0));
	stopped_at(&g, TG_CODE + 1, 1);
	stopped_at(&g, TG_CODE + 3, 1);
	stopped_at(&g, TG_CODE + 4, 1);
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	stopped_at(&g, TG_CODE + 6, 1);
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	stopped_at(&g, TG_CODE + 8, 1);
	stopped_at(&g, TG_CODE + 10, 1);
	stopped_at(&g, TG_CODE + 13, 1);
	stopped_at(&g, TG_CODE + 16, 1);
	tg_free(&g);
}

static void hw_breakpoints(void)
{
	struct hvx_debugregs d;
	struct tg g;

	if (tg_host_is_tcg()) {
		tg_skipped = NO_BREAKPOINTS;
		return;
	}
	new_long(&g);
	memcpy(g.mem + TG_CODE, g_step, GUEST_LEN(g_step));
	CHECK(!debug(&g, HVX_DEBUG_HW, TG_CODE + 3, 2));
	stopped_at(&g, TG_CODE + 3, 1);
	CHECK_EQ(g.v[0].run->debug.dr6 & 0xf, 1);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr7, 0x400);
	CHECK_EQ(d.db[0], 0);
	CHECK_EQ(d.dr6 & 0xf, 0);
	CHECK(!debug(&g, 0, 0, 0));
	tg_run_to(&g, 0, HVX_EXIT_HALTED);

	/* Data: stops behind the write. The guest's own do not fire meanwhile. */
	memcpy(g.mem + TG_CODE, g_wp, GUEST_LEN(g_wp));
	tg_long(&g, 0);
	CHECK(!debug(&g, HVX_DEBUG_HW, 0xa008, 0xd0002));
	stopped_at(&g, TG_CODE + GUEST_LEN(g_wp) - 13, 1);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr7, 0xd00408);
	CHECK_EQ(d.db[1], 0xa000);

	tg_free(&g);
}

static void bad_debug(void)
{
	struct tg g;

	new_long(&g);
	CHECK_ERR(debug(&g, HVX_DEBUG_HW, 0, 1ULL << 32), EINVAL);
	CHECK_ERR(debug(&g, HVX_DEBUG_HW, 0, 1 << 13), EINVAL);
	CHECK_ERR(debug(&g, HVX_DEBUG_HW, 1ULL << 62, 0), EINVAL);
	CHECK_ERR(debug(&g, 8, 0, 0), EINVAL);
	tg_free(&g);
}

static void int3(void)
{
	static const uint8_t code[] = { 0x90, 0xcc, 0xf4 };
	struct tg g;

	if (tg_host_is_tcg()) {
		tg_skipped = "QEMU's TCG has no #BP intercept for INT3";
		return;
	}
	new_long(&g);
	memcpy(g.mem + TG_CODE, code, sizeof(code));
	CHECK(!debug(&g, HVX_DEBUG_SW, 0, 0));
	stopped_at(&g, TG_CODE + 1, 3);
	tg_set_reg(&g, 0, 16, TG_CODE + 2);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

/* Without HVX_DEBUG_SW it is the guest's. */
static void int3_of_guest(void)
{
	struct tg g;

	new_long(&g);
	CHECK_EQ(outcome(&g, CODE(0x90, 0xcc, 0xf4), false), 3);
	CHECK_EQ(fault_rip(&g, false), TG_CODE + 2);
	tg_free(&g);
}

/* ------------------------------------------------------------ the host's debugger */

static volatile int watched;
static volatile sig_atomic_t traps;

static void on_trap(int sig)
{
	(void)sig;
	traps++;
}

/* What a guest has in DR6 is not what the host's next breakpoint finds there: a step, which nobody has asked for. */
static void host_breakpoint(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .bp_type = HW_BREAKPOINT_W,
		.bp_addr = (uintptr_t)&watched, .bp_len = sizeof(watched), .exclude_kernel = 1, .exclude_hv = 1,
	};
	struct hvx_debugregs d = { .dr6 = 0xffff4fff, .dr7 = 0x400 };
	uint64_t hits = 0;
	cpu_set_t all, one;
	struct tg g;
	int fd;

	CHECK(!sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	CHECK(!sched_setaffinity(0, sizeof(one), &one));
	signal(SIGTRAP, on_trap);
	new_long(&g);
	memcpy(g.mem + TG_CODE, g_step_exits, GUEST_LEN(g_step_exits));
	CHECK(!tg_set(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK(!tg_get(&g, 0, HVX_STATE_DEBUGREGS, &d, sizeof(d)));
	CHECK_EQ(d.dr6, 0xffff4fff);
	fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0) {
		tg_skipped = "no hardware breakpoints for programs here";
	} else {
		watched = 1;
		CHECK_EQ(read(fd, &hits, sizeof(hits)), sizeof(hits));
		CHECK_EQ(hits, 1);
		CHECK_EQ(traps, 0);
		close(fd);
	}
	signal(SIGTRAP, SIG_DFL);
	CHECK(!sched_setaffinity(0, sizeof(all), &all));
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(cpuid_table), TG_TEST(cpuid_prefixed), TG_TEST(cpuid_dynamic), TG_TEST(tsc_offset),
	TG_TEST(not_there), TG_TEST(privileged), TG_TEST(caches_and_counters), TG_TEST(pause_loop),
	TG_TEST(cr0_cache), TG_TEST(cr0_modes), TG_TEST(cr4_writes), TG_TEST(cr4_by_cpuid), TG_TEST(cr8), TG_TEST(xcr0),
	TG_TEST(xsaves), TG_TEST(xsaves_hidden),
	TG_TEST(dr_access), TG_TEST(general_detect), TG_TEST(guest_breakpoints), TG_TEST(guest_single_step),
	TG_TEST(single_step), TG_TEST(hw_breakpoints), TG_TEST(bad_debug), TG_TEST(int3),
	TG_TEST(int3_of_guest), TG_TEST(host_breakpoint),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
