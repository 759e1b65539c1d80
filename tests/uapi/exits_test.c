// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c */
/* Exits to userspace, each by the few bytes of code that cause it. tests/uapi/insn_test.c has those that stay inside. */
#include <signal.h>

#include "guest.h"

enum mode { REAL, PROT16, PROT32, LONG };

static void new_mode(struct tg *g, uint32_t flags, enum mode mode, const uint8_t *code, size_t len)
{
	tg_new(g, flags, code, len);
	if (mode == LONG)
		tg_long(g, 0);
	else if (mode != REAL)
		tg_protected(g, 0);
	if (mode == PROT16)
		tg_protected16(g, 0);
}

/* ------------------------------------------------------------------ port I/O */

#define PIO								\
	"mov $0x1234, %dx\nmov $0x44332211, %eax\n"			\
	"out %al, %dx\nout %ax, %dx\nout %eax, %dx\nout %al, $0x42\n"	\
	"in %dx, %al\nin %dx, %ax\nin %dx, %eax\nin $0x43, %al\nhlt\n"
GUEST16(g_pio16, PIO);
GUEST32(g_pio32, PIO);
GUEST(g_pio64, PIO);

static void pio_is(struct tg *g, int port, int size, bool write, uint32_t data)
{
	struct hvx_exit_pio *p = &g->v[0].run->pio;

	tg_run_to(g, 0, HVX_EXIT_PIO);
	CHECK_EQ(p->port, port);
	CHECK_EQ(p->size, size);
	CHECK_EQ(p->is_write, write);
	if (write)
		CHECK_EQ(p->data, data);
	else
		p->data = data;
}

static void pio_mode(enum mode mode, const uint8_t *code, size_t len)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, mode, code, len);
	pio_is(&g, 0x1234, 1, true, 0x11);
	pio_is(&g, 0x1234, 2, true, 0x2211);
	pio_is(&g, 0x1234, 4, true, 0x44332211);
	pio_is(&g, 0x42, 1, true, 0x11);
	/* Only as much of the answer is taken as was asked for. */
	pio_is(&g, 0x1234, 1, false, 0xffffffaa);
	pio_is(&g, 0x1234, 2, false, 0xffffbbcc);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x443322aa);
	pio_is(&g, 0x1234, 4, false, 0xdeadbeef);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x4433bbcc);
	pio_is(&g, 0x43, 1, false, 0x99);
	CHECK_EQ(tg_reg(&g, 0, 0), 0xdeadbeef);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), 0xdeadbe99);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + len);
	tg_free(&g);
}

static void pio_sizes(void)
{
	pio_mode(REAL, g_pio16, GUEST_LEN(g_pio16));
	pio_mode(PROT16, g_pio16, GUEST_LEN(g_pio16));
	pio_mode(PROT32, g_pio32, GUEST_LEN(g_pio32));
	pio_mode(LONG, g_pio64, GUEST_LEN(g_pio64));
}

/* IN EAX clears the upper half of RAX, IN AX and AL keep it. */
GUEST(g_pio_rax, "mov $-1, %rax\nin $0x40, %al\nin $0x40, %ax\nin $0x40, %eax\nhlt\n");

static void pio_upper_half(void)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_pio_rax, GUEST_LEN(g_pio_rax));
	pio_is(&g, 0x40, 1, false, 0);
	pio_is(&g, 0x40, 2, false, 0);
	CHECK_EQ(tg_reg(&g, 0, 0), 0xffffffffffffff00);
	pio_is(&g, 0x40, 4, false, 0x80000000);
	CHECK_EQ(tg_reg(&g, 0, 0), 0xffffffffffff0000);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x80000000);
	tg_free(&g);
}

/* immediate_exit completes the read that waits for an answer. */
static void pio_complete(void)
{
	static const uint8_t code[] = { 0xe4, 0x40, 0xf4 };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	pio_is(&g, 0x40, 1, false, 0x77);
	g.v[0].run->immediate_exit = 1;
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	CHECK_EQ(tg_reg(&g, 0, 0) & 0xff, 0x77);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + 2);
	g.v[0].run->immediate_exit = 0;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

GUEST16(g_str16, "mov $0x3f8, %dx\noutsb\nrep insw\ninsl\nhlt\n");
GUEST32(g_str32, "mov $0x3f8, %dx\noutsb\nrep insw\ninsl\nhlt\n");
GUEST(g_str64, "mov $0x3f8, %dx\noutsb\nrep insw\ninsl\nhlt\n");

static void pio_strings_mode(enum mode mode, const uint8_t *code, size_t len)
{
	static const struct { int at, len; bool write; } want[] = {
		{ 0, 1, true }, { 1, 3, false }, { 4, 2, false },
	};
	struct hvx_exit_emulate *e;
	struct hvx_run *run;
	struct tg g;
	uint64_t rip;
	unsigned int i;

	new_mode(&g, HVX_VM_EXIT_HLT, mode, code, len);
	run = g.v[0].run;
	e = &run->emulate;
	tg_set_reg(&g, 0, 1, 5);
	for (i = 0; i < 3; i++) {
		tg_run_to(&g, 0, HVX_EXIT_EMULATE);
		CHECK_EQ(e->is_pio, 1);
		CHECK_EQ(e->gpa, ~0ULL);
		CHECK_EQ(e->is_write, want[i].write);
		CHECK_EQ(run->valid & 3, 3);
		/* The operand size prefix is on the wide ones of one mode and the narrow ones of the other. */
		rip = run->regs.rip;
		if (!i)
			CHECK_EQ(rip, TG_CODE + (mode == REAL || mode == PROT16 ? 3 : 4));
		CHECK_EQ(run->regs.rcx, 5);
		while (g.mem[rip] == 0x66 || g.mem[rip] == 0xf3)
			rip++;
		run->regs.rip = rip + 1;
		run->dirty = 1 << HVX_STATE_REGS;
	}
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + len);
	tg_free(&g);
}

static void pio_strings(void)
{
	pio_strings_mode(REAL, g_str16, GUEST_LEN(g_str16));
	pio_strings_mode(PROT16, g_str16, GUEST_LEN(g_str16));
	pio_strings_mode(PROT32, g_str32, GUEST_LEN(g_str32));
	pio_strings_mode(LONG, g_str64, GUEST_LEN(g_str64));
}

/* ---------------------------------------------------------------------- MMIO */

#define MMIO	0x40000000ULL

static void mmio_is(struct tg *g, uint64_t gpa, int size, bool write, uint64_t data)
{
	struct hvx_exit_mmio *m = &g->v[0].run->mmio;

	tg_run_to(g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(m->gpa, gpa);
	CHECK_EQ(m->size, size);
	CHECK_EQ(m->is_write, write);
	if (write)
		CHECK_EQ(m->data, data);
	else
		m->data = data;
}

GUEST(g_mmio_w,
      "mov $0x40000000, %ebx\nmov $0x8877665544332211, %rax\nmov %rax, %r9\nmov %rax, %rsi\n"
      "mov %al, (%rbx)\nmov %ah, 1(%rbx)\nmov %ax, 2(%rbx)\nmov %eax, 4(%rbx)\nmov %rax, 8(%rbx)\n"
      "mov %r9b, 0x1000(%rbx)\nmov %sil, (%rbx,%rbp,8)\nmov %r9, %fs:(%rbx)\n"
      "movb $0x7f, (%rbx)\nmovw $0x8001, (%rbx)\nmovl $0x80000001, (%rbx)\nmovq $-2, (%rbx)\n"
      "movabs %eax, 0x40000010\nmovabs %rax, 0x40000020\nmovabs %al, 0x40000030\n"
      "mov %eax, 0x40000040\nhlt\n");

static void mmio_writes(void)
{
	static const struct { uint32_t off; int size; uint64_t data; } w[] = {
		{ 0, 1, 0x11 }, { 1, 1, 0x22 }, { 2, 2, 0x2211 }, { 4, 4, 0x44332211 },
		{ 8, 8, 0x8877665544332211 }, { 0x1000, 1, 0x11 }, { 0, 1, 0x11 },
		{ 0, 8, 0x8877665544332211 }, { 0, 1, 0x7f }, { 0, 2, 0x8001 }, { 0, 4, 0x80000001 },
		{ 0, 8, 0xfffffffffffffffe }, { 0x10, 4, 0x44332211 },
		{ 0x20, 8, 0x8877665544332211 }, { 0x30, 1, 0x11 }, { 0x40, 4, 0x44332211 },
	};
	struct tg g;
	unsigned int i;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_mmio_w, GUEST_LEN(g_mmio_w));
	for (i = 0; i < sizeof(w) / sizeof(w[0]); i++)
		mmio_is(&g, MMIO + w[i].off, w[i].size, true, w[i].data);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + GUEST_LEN(g_mmio_w));
	tg_free(&g);
}

/* Each form loads RDX (or DH, or R10), which holds 0x8877665544332211 before. */
#define LOAD(insn) "mov %rax, %rdx\nmov %rax, %r10\n" insn "\n"
GUEST(g_mmio_r,
      "mov $0x40000000, %ebx\nmov $0x8877665544332211, %rax\n"
      LOAD("mov (%rbx), %dl") LOAD("mov (%rbx), %dh") LOAD("mov (%rbx), %dx")
      LOAD("mov (%rbx), %edx") LOAD("mov (%rbx), %rdx")
      LOAD("movzbw (%rbx), %dx") LOAD("movzbl (%rbx), %edx") LOAD("movzbq (%rbx), %rdx")
      LOAD("movzwl (%rbx), %edx") LOAD("movzwq (%rbx), %rdx")
      LOAD("movsbw (%rbx), %dx") LOAD("movsbl (%rbx), %edx") LOAD("movsbq (%rbx), %rdx")
      LOAD("movswl (%rbx), %edx") LOAD("movswq (%rbx), %rdx") LOAD("movslq (%rbx), %rdx")
      LOAD("mov (%rbx), %r10") LOAD("movsbl (%rbx), %r10d")
      "hlt\n");

static void mmio_reads(void)
{
	/* What userspace answers is longer than what was asked for. */
	const uint64_t data = 0xf1f2f3f4f5f6f7f8;
	static const struct { int size, reg; uint64_t want; } r[] = {
		{ 1, 2, 0x88776655443322f8 }, { 1, 2, 0x887766554433f811 },
		{ 2, 2, 0x887766554433f7f8 }, { 4, 2, 0xf5f6f7f8 }, { 8, 2, 0xf1f2f3f4f5f6f7f8 },
		{ 1, 2, 0x88776655443300f8 }, { 1, 2, 0xf8 }, { 1, 2, 0xf8 },
		{ 2, 2, 0xf7f8 }, { 2, 2, 0xf7f8 },
		{ 1, 2, 0x887766554433fff8 }, { 1, 2, 0xfffffff8 }, { 1, 2, 0xfffffffffffffff8 },
		{ 2, 2, 0xfffff7f8 }, { 2, 2, 0xfffffffffffff7f8 }, { 4, 2, 0xfffffffff5f6f7f8 },
		{ 8, 10, 0xf1f2f3f4f5f6f7f8 }, { 1, 10, 0xfffffff8 },
	};
	struct tg g;
	unsigned int i;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_mmio_r, GUEST_LEN(g_mmio_r));
	g.v[0].run->immediate_exit = 0;
	for (i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
		mmio_is(&g, MMIO, r[i].size, false, data);
		g.v[0].run->immediate_exit = 1;
		CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
		g.v[0].run->immediate_exit = 0;
		CHECK_EQ(tg_reg(&g, 0, r[i].reg), r[i].want);
	}
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

GUEST32(g_mmio32,
	"mov $0x40000000, %ebx\nmov $0x11223344, %eax\n"
	"mov %al, (%ebx)\nmov %ax, 2(%ebx)\nmov %eax, 4(%ebx)\nmovl $0x55, 0x40000008\n"
	"mov %eax, 0x40000010\nmovzbl (%ebx), %ecx\n.byte 0x66, 0x0f, 0xbf, 0x13\nmov %al, (%bx)\nhlt\n");
GUEST16(g_mmio16,
	"mov $0xa000, %ax\nmov %ax, %ds\nmov %ax, %es\nmov $0x10, %bx\nmov $0x1122, %ax\n"
	"mov %al, (%bx)\nmov %ax, %es:2(%bx,%si)\nmov %eax, 0x20\nmovw $0x55, 0x1234\n"
	"mov %ah, 0x30\nmov (%bx), %cx\nmovsbl (%bx), %edx\nhlt\n");

static void mmio_32bit(void)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, PROT32, g_mmio32, GUEST_LEN(g_mmio32));
	mmio_is(&g, MMIO, 1, true, 0x44);
	mmio_is(&g, MMIO + 2, 2, true, 0x3344);
	mmio_is(&g, MMIO + 4, 4, true, 0x11223344);
	mmio_is(&g, MMIO + 8, 4, true, 0x55);
	mmio_is(&g, MMIO + 0x10, 4, true, 0x11223344);
	mmio_is(&g, MMIO, 1, false, 0x1ff);
	mmio_is(&g, MMIO, 2, false, 0x12345);
	/* (%bx) is 0: RAM. */
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 1), 0xff);
	CHECK_EQ(tg_reg(&g, 0, 2) & 0xffff, 0x2345);
	CHECK_EQ(g.mem[0], 0x44);
	tg_free(&g);
}

static void mmio_real_mode(void)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, REAL, g_mmio16, GUEST_LEN(g_mmio16));
	CHECK(!tg_slot(&g, 0, 0, 0, 0, NULL));
	CHECK(!tg_slot(&g, 0, 0, 0, 0xa0000, g.mem));
	mmio_is(&g, 0xa0010, 1, true, 0x22);
	mmio_is(&g, 0xa0012, 2, true, 0x1122);
	mmio_is(&g, 0xa0020, 4, true, 0x1122);
	mmio_is(&g, 0xa1234, 2, true, 0x55);
	mmio_is(&g, 0xa0030, 1, true, 0x11);
	mmio_is(&g, 0xa0010, 2, false, 0xabcd);
	mmio_is(&g, 0xa0010, 1, false, 0x80);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 1) & 0xffff, 0xabcd);
	CHECK_EQ(tg_reg(&g, 0, 2), 0xffffff80);
	tg_free(&g);
}

/* What is no plain MOV within a page goes to userspace whole. */
GUEST(g_emul,
      "mov $0x40000000, %ebx\nlea (%rbx), %rdi\nmov $3, %ecx\n"
      "lock xadd %eax, (%rbx)\n"
      "mov %rax, 0xffc(%rbx)\n"
      "rep stosl\n"
      "movups (%rbx), %xmm0\n"
      "addl $1, 8(%rbx)\n"
      "hlt\n");

static void mmio_emulate(void)
{
	static const struct { int len; uint32_t off; bool write; } want[] = {
		{ 4, 0, true }, { 7, 0xffc, true }, { 2, 0, true }, { 3, 0, false }, { 4, 8, false },
	};
	struct hvx_exit_emulate *e;
	struct hvx_run *run;
	struct tg g;
	uint64_t rip = TG_CODE + 13;	/* behind the set-up */
	unsigned int i;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_emul, GUEST_LEN(g_emul));
	run = g.v[0].run;
	e = &run->emulate;
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		tg_run_to(&g, 0, HVX_EXIT_EMULATE);
		CHECK_EQ(e->gpa, MMIO + want[i].off);
		CHECK_EQ(e->is_pio, 0);
		/* Read-modify-write may fault as either. */
		if (i && i < 4)
			CHECK_EQ(e->is_write, want[i].write);
		CHECK_EQ(run->valid & 3, 3);
		CHECK_EQ(run->regs.rip, rip);
		CHECK(e->insn_len <= 15);
		if (e->insn_len)
			CHECK(!memcmp(e->insn, g.mem + rip, want[i].len));
		rip += want[i].len;
		run->regs.rip = rip;
		run->dirty = 1 << HVX_STATE_REGS;
	}
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + GUEST_LEN(g_emul));
	tg_free(&g);
}

/* The instruction lies on two pages, the second of which the guest never touched before. */
static void mmio_across_code_pages(void)
{
	static const uint8_t insns[] = { 0x89, 0x83, 0x08, 0, 0, 0, 0xf4 };	/* mov [rbx+8],eax; hlt */
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, insns, sizeof(insns));
	memcpy(g.mem + 0x200ffd, insns, sizeof(insns));
	tg_set_reg(&g, 0, 3, MMIO);
	tg_set_reg(&g, 0, 0, 0xabcdef);
	tg_set_reg(&g, 0, 16, 0x200ffd);
	mmio_is(&g, MMIO + 8, 4, true, 0xabcdef);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

/* ---------------------------------------------------------------- hypercalls */

GUEST(g_vmmcall,
      "mov $0x123456789, %rax\nmov $1, %ebx\nmov $2, %ecx\nmov $3, %edx\nmov $4, %esi\n"
      "vmmcall\nhlt\n");

static void hypercall_new(struct tg *g, uint32_t flags)
{
	new_mode(g, HVX_VM_EXIT_HLT | flags, LONG, g_vmmcall, GUEST_LEN(g_vmmcall));
}

static void hypercalls(void)
{
	struct hvx_exit_hypercall *h;
	struct tg g;

	hypercall_new(&g, HVX_VM_EXIT_HYPERCALL);
	h = &g.v[0].run->hypercall;
	tg_run_to(&g, 0, HVX_EXIT_HYPERCALL);
	CHECK_EQ(h->nr, 0x123456789);
	CHECK_EQ(h->args[0], 1);
	CHECK_EQ(h->args[1], 2);
	CHECK_EQ(h->args[2], 3);
	CHECK_EQ(h->args[3], 4);
	CHECK_EQ(h->longmode, 1);
	CHECK_EQ(h->cpl, 0);
	h->ret = 0xfedcba9876543210;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), 0xfedcba9876543210);
	tg_free(&g);

	hypercall_new(&g, 0);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), -1000);
	tg_free(&g);

	/* CPL 3: refused, and HLT is a #GP. */
	hypercall_new(&g, HVX_VM_EXIT_HYPERCALL);
	tg_handlers(&g);
	tg_user(&g, 0);
	pio_is(&g, TG_EXC, 1, true, 13);
	CHECK_EQ((int64_t)tg_reg(&g, 0, 0) >> 8, -1);
	tg_free(&g);
}

GUEST32(g_vmmcall32, "mov $-1, %eax\nmov $-1, %ebx\nvmmcall\nhlt\n");

static void hypercall_32bit(void)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT | HVX_VM_EXIT_HYPERCALL, PROT32, g_vmmcall32, GUEST_LEN(g_vmmcall32));
	tg_run_to(&g, 0, HVX_EXIT_HYPERCALL);
	CHECK_EQ(g.v[0].run->hypercall.nr, 0xffffffff);
	CHECK_EQ(g.v[0].run->hypercall.args[0], 0xffffffff);
	CHECK_EQ(g.v[0].run->hypercall.longmode, 0);
	g.v[0].run->hypercall.ret = 0x1122334455;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x22334455);
	tg_free(&g);
}

/* ---------------------------------------------------------------------- MSRs */

GUEST(g_msr, "mov %edi, %ecx\nrdmsr\nmov %eax, %ebx\nmov %edx, %ebp\nwrmsr\nhlt\n");

static void msr_exit(void)
{
	struct hvx_exit_msr *m;
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT | HVX_VM_EXIT_MSR, LONG, g_msr, GUEST_LEN(g_msr));
	m = &g.v[0].run->msr;
	tg_set_reg(&g, 0, 7, 0x1234abcd);
	tg_set_reg(&g, 0, 0, ~0ULL);
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	CHECK_EQ(m->index, 0x1234abcd);
	CHECK_EQ(m->is_write, 0);
	m->data = 0x8102030485060708ULL;
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	CHECK_EQ(tg_reg(&g, 0, 3), 0x85060708);
	CHECK_EQ(tg_reg(&g, 0, 5), 0x81020304);
	CHECK_EQ(m->index, 0x1234abcd);
	CHECK_EQ(m->is_write, 1);
	CHECK_EQ(m->data, 0x8102030485060708ULL);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);

	/* With an error, and without the flag: #GP. */
	new_mode(&g, HVX_VM_EXIT_HLT | HVX_VM_EXIT_MSR, LONG, g_msr, GUEST_LEN(g_msr));
	tg_handlers(&g);
	tg_set_reg(&g, 0, 7, 0x1234abcd);
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	g.v[0].run->msr.error = 1;
	pio_is(&g, TG_EXC, 1, true, 13);
	CHECK_EQ(*(uint64_t *)(g.mem + tg_reg(&g, 0, 4)), 0);		/* error code, RIP */
	CHECK_EQ(*(uint64_t *)(g.mem + tg_reg(&g, 0, 4) + 8), TG_CODE + 2);
	tg_free(&g);

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_msr, GUEST_LEN(g_msr));
	tg_handlers(&g);
	tg_set_reg(&g, 0, 7, 0x1234abcd);
	pio_is(&g, TG_EXC, 1, true, 13);
	tg_free(&g);
}

static int filter(struct tg *g, const struct hvx_msr_range *r, unsigned int n)
{
	struct hvx_msr_filter f = { .count = n, .ranges = (uintptr_t)r };

	return ioctl(g->vm, HVX_SET_MSR_FILTER, &f);
}

static void again(struct tg *g, uint32_t msr)
{
	tg_set_reg(g, 0, 7, msr);
	tg_set_reg(g, 0, 16, TG_CODE);
	tg_set_reg(g, 0, 4, TG_STACK);
}

static void msr_filter(void)
{
	const uint32_t rd = HVX_MSR_FILTER_READ, wr = HVX_MSR_FILTER_WRITE;
	struct hvx_msr_range r[HVX_MAX_MSR_RANGES + 1] = {
		{ .first = 0xc0000080, .last = 0xc0000080, .flags = rd },
		{ .first = 0x277, .last = 0x277, .flags = wr },
		{ .first = 0, .last = 0, .flags = rd | wr },
		{ .first = 0x40000000, .last = 0xbfffffff, .flags = rd },
	};
	static const uint32_t never[] = { 0x800, 0x8ff, 0xc0000081, 0xc0000084, 0xc0000100,
					  0xc0000102, 0x174, 0x176 };
	struct hvx_msr_range bad;
	struct tg g;
	unsigned int i;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_msr, GUEST_LEN(g_msr));
	tg_handlers(&g);
	CHECK(!filter(&g, r, 4));
	again(&g, 0xc0000080);			/* the read exits, the write does not */
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	CHECK_EQ(g.v[0].run->msr.index, 0xc0000080);
	g.v[0].run->msr.data = 0xd01;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	again(&g, 0x277);			/* the other way round */
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	CHECK_EQ(g.v[0].run->msr.is_write, 1);
	CHECK_EQ(g.v[0].run->msr.data, 0x0007040600070406ULL);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	again(&g, 0x80000000);			/* nobody's */
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	g.v[0].run->msr.error = 1;
	pio_is(&g, TG_EXC, 1, true, 13);
	again(&g, 0);
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	g.v[0].run->msr.error = 0;
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	g.v[0].run->msr.error = 1;
	pio_is(&g, TG_EXC, 1, true, 13);

	/* What may not be filtered; the old filter stays. */
	for (i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		bad = (struct hvx_msr_range) { .first = never[i], .last = never[i], .flags = rd };
		CHECK_ERR(filter(&g, &bad, 1), EINVAL);
	}
	bad = (struct hvx_msr_range) { .first = 0, .last = ~0U, .flags = rd };
	CHECK_ERR(filter(&g, &bad, 1), EINVAL);
	bad = (struct hvx_msr_range) { .first = 2, .last = 1, .flags = rd };
	CHECK_ERR(filter(&g, &bad, 1), EINVAL);
	bad = (struct hvx_msr_range) { .first = 2, .last = 3 };
	CHECK_ERR(filter(&g, &bad, 1), EINVAL);
	bad = (struct hvx_msr_range) { .first = 2, .last = 3, .flags = 4 };
	CHECK_ERR(filter(&g, &bad, 1), EINVAL);
	bad = (struct hvx_msr_range) { .first = 2, .last = 3, .flags = rd, .pad = 1 };
	CHECK_ERR(filter(&g, &bad, 1), EINVAL);
	CHECK_ERR(filter(&g, r, HVX_MAX_MSR_RANGES + 1), EINVAL);
	CHECK_ERR(filter(&g, (void *)8, 1), EFAULT);
	again(&g, 0xc0000080);
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	g.v[0].run->msr.data = 0xd01;
	g.v[0].run->msr.error = 0;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);

	/* The most there can be; then none. */
	for (i = 0; i < HVX_MAX_MSR_RANGES; i++)
		r[i] = (struct hvx_msr_range) { .first = 0x10000 + i, .last = 0x10000 + i, .flags = rd };
	CHECK(!filter(&g, r, HVX_MAX_MSR_RANGES));
	again(&g, 0x10000 + HVX_MAX_MSR_RANGES - 1);
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	g.v[0].run->msr.error = 1;
	pio_is(&g, TG_EXC, 1, true, 13);
	CHECK(!filter(&g, NULL, 0));
	again(&g, 0xc0000080);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

/* --------------------------------------------------------------- other exits */

GUEST(g_ud, "ud2\n");
GUEST16(g_ud16, "ud2\n");

/* Without an IDT a fault ends in SHUTDOWN, and the state shows where; userspace's new state is what runs next. */
static void triple_fault_in(enum mode mode, const uint8_t *code)
{
	struct hvx_sregs s, before;
	struct tg g;
	int i;

	new_mode(&g, 0, mode, code, 2);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &before, sizeof(before)));
	before.idtr.limit = 0;
	for (i = 0; i < 2; i++) {
		CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &before, sizeof(before)));
		tg_run_to(&g, 0, HVX_EXIT_SHUTDOWN);
		CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
		CHECK_EQ(s.cs.base, before.cs.base);
		CHECK_EQ(s.cr0, before.cr0);
		CHECK_EQ(s.efer, before.efer);
		CHECK_EQ(s.idtr.limit, 0);
		CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE);
	}
	tg_free(&g);
}

static void triple_fault(void)
{
	triple_fault_in(REAL, g_ud16);
	triple_fault_in(PROT32, g_ud);
	triple_fault_in(LONG, g_ud);
}

GUEST(g_touch, "mov (%rbx), %eax\nmov %eax, (%rbx)\nhlt\n");

/* Memory in a slot that the host cannot give; what can be had again goes on. */
static void memory_fault(void)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_touch, GUEST_LEN(g_touch));
	tg_set_reg(&g, 0, 3, 0x300008);
	CHECK(!mprotect(g.mem + 0x300000, TG_PAGE, PROT_NONE));
	tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
	CHECK_EQ(g.v[0].run->memory_fault.gpa & ~0xfffULL, 0x300000);
	CHECK_EQ(g.v[0].run->memory_fault.is_write, 0);
	CHECK_EQ(g.v[0].run->memory_fault.error, EFAULT);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE);
	CHECK(!mprotect(g.mem + 0x300000, TG_PAGE, PROT_READ));
	tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
	CHECK_EQ(g.v[0].run->memory_fault.is_write, 1);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + 2);
	CHECK(!munmap(g.mem + 0x300000, TG_PAGE));
	tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
	CHECK_EQ(g.v[0].run->memory_fault.error, EFAULT);
	CHECK(mmap(g.mem + 0x300000, TG_PAGE, PROT_READ | PROT_WRITE,
		   MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

/* Code that cannot be fetched. */
static void fetch_fault(void)
{
	struct tg g;

	new_mode(&g, HVX_VM_EXIT_HLT, LONG, g_touch, GUEST_LEN(g_touch));
	tg_set_reg(&g, 0, 16, 0x300000);
	CHECK(!mprotect(g.mem + 0x300000, TG_PAGE, PROT_NONE));
	tg_run_to(&g, 0, HVX_EXIT_MEMORY_FAULT);
	CHECK_EQ(g.v[0].run->memory_fault.gpa & ~0xfffULL, 0x300000);
	tg_free(&g);
}

/* L and D together pass while paging is off; paging turned on, the next entry is refused. */
GUEST32(g_fail, "mov %cr0, %eax\nor $0x80000000, %eax\nmov %eax, %cr0\ncpuid\nhlt\n");

/* VT-x enters long mode by the book, but checks what AMD-V leaves alone: a local descriptor table has its type. */
static void fail_entry_vmx(struct tg *g)
{
	struct hvx_events e = {
		.injected = HVX_EVENT_VALID | HVX_EVENT_EXC | HVX_EVENT_HAS_CODE | 13,
		.injected_code = 0x30008,
	};
	struct hvx_sregs s, good;

	CHECK(!tg_get(g, 0, HVX_STATE_SREGS, &good, sizeof(good)));
	s = good;
	s.ldtr.attr = HVX_SEG_P | 3;
	CHECK(!tg_set(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_run_to(g, 0, HVX_EXIT_FAIL_ENTRY);
	CHECK(g->v[0].run->fail.hw_reason);
	tg_run_to(g, 0, HVX_EXIT_FAIL_ENTRY);
	CHECK(!tg_set(g, 0, HVX_STATE_SREGS, &good, sizeof(good)));
	/* A control that is wrong has a name: VM-instruction error 7, the error code's VMCS field, its bits. */
	CHECK(!tg_set(g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
	tg_run_to(g, 0, HVX_EXIT_FAIL_ENTRY);
	CHECK_EQ(g->v[0].run->fail.info[1], 7);
	CHECK_EQ(g->v[0].run->fail.info[0], 0x4018ULL << 32 | 0x30000);
	memset(&e, 0, sizeof(e));
	CHECK(!tg_set(g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
}

static void fail_entry(void)
{
	struct hvx_sregs s;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, g_fail, GUEST_LEN(g_fail));
	tg_long(&g, 0);
	if (strcmp(g.info.backend, "svm")) {
		fail_entry_vmx(&g);
		goto out;
	}
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.cr0 = 0x33;
	s.efer = 0x901;
	s.cs.attr |= HVX_SEG_DB | HVX_SEG_L;
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_run_to(&g, 0, HVX_EXIT_FAIL_ENTRY);
	CHECK(g.v[0].run->fail.hw_reason);
	/* It is refused again, and runs with a state that is none the worse. */
	tg_run_to(&g, 0, HVX_EXIT_FAIL_ENTRY);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	/* QEMU's CPU has taken some of it by then: EFER.LMA is set, and does not go with CR0. */
	if (s.efer & 0x400)
		CHECK_ERR(tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)), EINVAL);
out:
	tg_long(&g, 0);
	g.mem[TG_CODE] = 0xf4;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	tg_free(&g);
}

/* MMIO by the CPU itself, while it delivers an event, cannot be emulated. */
static void delivery_to_mmio(void)
{
	struct hvx_sregs s;
	struct tg g;

	new_mode(&g, 0, LONG, g_ud, GUEST_LEN(g_ud));
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.idtr.base = MMIO;
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_run_to(&g, 0, HVX_EXIT_INTERNAL);
	CHECK_EQ(g.v[0].run->fail.suberror, HVX_INTERNAL_DELIVERY);
	tg_free(&g);
}

/* ------------------------------------------------------- kicks, signals, page */

static void *kick_later(void *arg)
{
	struct tg *g = arg;

	usleep(20000);
	CHECK(!ioctl(g->v[0].fd, HVX_KICK, 0));
	return NULL;
}

static void kicks(void)
{
	static const uint8_t spin[] = TG_SPIN, halt[] = { 0xfa, 0xf4, 0xf4 };
	struct hvx_events e;
	pthread_t t;
	struct tg g;
	int i;

	/* Before it runs: once. While it runs, and while it halts. */
	tg_new(&g, 0, spin, sizeof(spin));
	for (i = 0; i < 3; i++)
		CHECK(!ioctl(g.v[0].fd, HVX_KICK, 0));
	CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
	for (i = 0; i < 5; i++) {
		CHECK(!pthread_create(&t, NULL, kick_later, &g));
		CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
		pthread_join(t, NULL);
	}
	CHECK_ERR(ioctl(g.v[0].fd, HVX_KICK, 1), EINVAL);
	CHECK_ERR(ioctl(g.v[0].fd, HVX_RUN, 1), EINVAL);
	tg_free(&g);

	tg_new(&g, 0, halt, sizeof(halt));
	for (i = 0; i < 3; i++) {
		CHECK(!pthread_create(&t, NULL, kick_later, &g));
		CHECK_EQ(tg_run_on(&g, 0), HVX_EXIT_KICKED);
		pthread_join(t, NULL);
		CHECK(!tg_get(&g, 0, HVX_STATE_EVENTS, &e, sizeof(e)));
		CHECK_EQ(e.mp_state, HVX_MP_HALTED);
		CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + 2);
	}
	tg_free(&g);
}

static void no_op(int sig)
{
	(void)sig;
}

static void *signal_later(void *arg)
{
	usleep(20000);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

static void signals(void)
{
	static const uint8_t spin[] = TG_SPIN, halt[] = { 0xf4 };
	struct sigaction sa = { .sa_handler = no_op };
	pthread_t t, self = pthread_self();
	struct tg g;
	int i;

	sigaction(SIGUSR1, &sa, NULL);
	for (i = 0; i < 4; i++) {
		tg_new(&g, 0, i & 1 ? spin : halt, i & 1 ? sizeof(spin) : sizeof(halt));
		CHECK(!pthread_create(&t, NULL, signal_later, &self));
		CHECK_EQ(tg_run(&g, 0), -EINTR);
		CHECK_EQ(g.v[0].run->exit_reason, HVX_EXIT_INTERRUPTED);
		pthread_join(t, NULL);
		tg_free(&g);
	}
}

/* want fills groups at every exit, dirty sets them; what is refused changes nothing. */
static void run_page(void)
{
	static const uint8_t code[] = { 0xe6, 0x10, 0xe6, 0x11, 0xe6, 0x12, 0xf4 };
	const uint32_t regs = 1 << HVX_STATE_REGS, sregs = 1 << HVX_STATE_SREGS,
		       events = 1 << HVX_STATE_EVENTS;
	struct hvx_run *run;
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	run = g.v[0].run;
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(run->valid, 0);
	CHECK_EQ(run->if_flag, 0);
	run->want = ~0U;
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(run->valid, regs | sregs | events);
	CHECK_EQ(run->regs.rip, TG_CODE + 4);
	CHECK_EQ(run->sregs.cs.base, 0);
	CHECK_EQ(run->events.nmi_pending, 0);

	run->dirty = 1 << HVX_STATE_LAPIC;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_RUN, 0), EINVAL);
	run->dirty = regs | sregs;
	run->sregs.cr0 = 1ULL << 40;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_RUN, 0), EINVAL);
	CHECK_EQ(run->dirty, regs | sregs);
	run->sregs.cr0 = 0x10;
	run->regs.rflags = 1 << 1 | 1 << 3;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_RUN, 0), EINVAL);
	run->regs.rflags = 0x202;
	run->regs.rax = 0x5a;
	run->events.exception = HVX_EVENT_VALID | HVX_EVENT_EXC | 32;
	run->dirty = regs | sregs | events;
	CHECK_ERR(ioctl(g.v[0].fd, HVX_RUN, 0), EINVAL);
	run->events.exception = 0;
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(run->dirty, 0);
	CHECK_EQ(run->pio.port, 0x12);
	CHECK_EQ(run->pio.data, 0x5a);
	CHECK_EQ(run->if_flag, 1);
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(pio_sizes), TG_TEST(pio_upper_half), TG_TEST(pio_complete), TG_TEST(pio_strings),
	TG_TEST(mmio_writes), TG_TEST(mmio_reads), TG_TEST(mmio_32bit), TG_TEST(mmio_real_mode),
	TG_TEST(mmio_emulate), TG_TEST(mmio_across_code_pages),
	TG_TEST(hypercalls), TG_TEST(hypercall_32bit), TG_TEST(msr_exit), TG_TEST(msr_filter),
	TG_TEST(triple_fault), TG_TEST(memory_fault), TG_TEST(fetch_fault), TG_TEST(fail_entry),
	TG_TEST(delivery_to_mmio), TG_TEST(kicks), TG_TEST(signals), TG_TEST(run_page),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
