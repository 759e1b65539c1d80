// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c */
/* Every exit, each by the few bytes of code that cause it. */
#include "tg.h"

static void pio_out(void)
{
	static const uint8_t code[] = { 0xb0, 0x5a, 0xe6, 0x42, 0xf4 };	/* mov al,0x5a; out 0x42,al; hlt */
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(g.v[0].run->pio.port, 0x42);
	CHECK_EQ(g.v[0].run->pio.size, 1);
	CHECK_EQ(g.v[0].run->pio.is_write, 1);
	CHECK_EQ(g.v[0].run->pio.data, 0x5a);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + 5);
	tg_free(&g);
}

static void pio_in(void)
{
	static const uint8_t code[] = {
		0x66, 0xb8, 0x11, 0x22, 0x33, 0x44,	/* mov eax,0x44332211 */
		0xba, 0x34, 0x12,			/* mov dx,0x1234 */
		0xec, 0xed, 0x66, 0xed, 0xf4		/* in al,dx; in ax,dx; in eax,dx; hlt */
	};
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(g.v[0].run->pio.size, 1);
	g.v[0].run->pio.data = 0xffffffaa;
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(g.v[0].run->pio.size, 2);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x443322aa);
	g.v[0].run->pio.data = 0xffffbbcc;
	tg_run_to(&g, 0, HVX_EXIT_PIO);
	CHECK_EQ(g.v[0].run->pio.size, 4);
	CHECK_EQ(tg_reg(&g, 0, 0), 0x4433bbcc);
	g.v[0].run->pio.data = 0xdeadbeef;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 0), 0xdeadbeef);
	tg_free(&g);
}

static void mmio_mov(void)
{
	/* mov ebx,0x40000000; mov [rbx+8],eax; movzx ecx,byte [rbx]; mov rdx,[rbx+16]; hlt */
	static const uint8_t insns[] = {
		0xbb, 0x00, 0x00, 0x00, 0x40, 0xb8, 0x78, 0x56, 0x34, 0x12,
		0x89, 0x43, 0x08, 0x0f, 0xb6, 0x0b, 0x48, 0x8b, 0x53, 0x10, 0xf4
	};
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, insns, sizeof(insns));
	tg_long(&g, 0);
	tg_set_reg(&g, 0, 1, ~0ULL);
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.gpa, 0x40000008);
	CHECK_EQ(g.v[0].run->mmio.size, 4);
	CHECK_EQ(g.v[0].run->mmio.is_write, 1);
	CHECK_EQ(g.v[0].run->mmio.data, 0x12345678);
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.gpa, 0x40000000);
	CHECK_EQ(g.v[0].run->mmio.size, 1);
	CHECK_EQ(g.v[0].run->mmio.is_write, 0);
	g.v[0].run->mmio.data = 0x1ff;
	tg_run_to(&g, 0, HVX_EXIT_MMIO);
	CHECK_EQ(g.v[0].run->mmio.size, 8);
	CHECK_EQ(tg_reg(&g, 0, 1), 0xff);
	g.v[0].run->mmio.data = 0x1122334455667788ULL;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 2), 0x1122334455667788ULL);
	tg_free(&g);
}

static void mmio_emulate(void)
{
	/* mov ebx,0x40000000; lock xadd [rbx],eax; hlt */
	static const uint8_t code[] = { 0xbb, 0x00, 0x00, 0x00, 0x40, 0xf0, 0x0f, 0xc1, 0x03, 0xf4 };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	tg_long(&g, 0);
	tg_run_to(&g, 0, HVX_EXIT_EMULATE);
	CHECK_EQ(g.v[0].run->emulate.gpa, 0x40000000);
	CHECK_EQ(g.v[0].run->valid & 3, 3);
	CHECK_EQ(g.v[0].run->regs.rip, TG_CODE + 5);
	g.v[0].run->regs.rip += 4;
	g.v[0].run->dirty = 1 << HVX_STATE_REGS;
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + sizeof(code));
	tg_free(&g);
}

static void cpuid_exit(void)
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
	tg_free(&g);
}

static void cpuid_prefixed(void)
{
	/* 66 rex.w cpuid: prefixes mean nothing but have a length */
	static const uint8_t code[] = { 0x31, 0xc0, 0x66, 0x48, 0x0f, 0xa2, 0xf4 };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	tg_long(&g, 0);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + sizeof(code));
	tg_free(&g);
}

static void triple_fault(void)
{
	static const uint8_t code[] = { 0x0f, 0x0b };	/* ud2, no IDT */
	struct hvx_sregs s;
	struct tg g;

	tg_new(&g, 0, code, sizeof(code));
	tg_long(&g, 0);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.idtr.limit = 0;
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	tg_run_to(&g, 0, HVX_EXIT_SHUTDOWN);
	tg_free(&g);
}

static void msr_exit(void)
{
	/* mov ecx,0x1234abcd; rdmsr; mov ebx,eax; wrmsr; hlt */
	static const uint8_t code[] = { 0xb9, 0xcd, 0xab, 0x34, 0x12, 0x0f, 0x32, 0x89, 0xc3, 0x0f, 0x30, 0xf4 };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT | HVX_VM_EXIT_MSR, code, sizeof(code));
	tg_long(&g, 0);
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	CHECK_EQ(g.v[0].run->msr.index, 0x1234abcd);
	CHECK_EQ(g.v[0].run->msr.is_write, 0);
	g.v[0].run->msr.data = 0x0102030405060708ULL;
	tg_run_to(&g, 0, HVX_EXIT_MSR);
	CHECK_EQ(g.v[0].run->msr.is_write, 1);
	CHECK_EQ(g.v[0].run->msr.data, 0x0102030405060708ULL);
	tg_run_to(&g, 0, HVX_EXIT_HALTED);
	CHECK_EQ(tg_reg(&g, 0, 3), 0x05060708);
	tg_free(&g);
}

static void kick_and_debug(void)
{
	static const uint8_t code[] = { 0x90, 0x90, 0xcc, 0xf4 };
	struct hvx_debug d = { .flags = HVX_DEBUG_STEP | HVX_DEBUG_SW };
	struct tg g;

	tg_new(&g, HVX_VM_EXIT_HLT, code, sizeof(code));
	tg_long(&g, 0);
	CHECK(!ioctl(g.v[0].fd, HVX_KICK, 0));
	CHECK_EQ(tg_run(&g, 0), HVX_EXIT_KICKED);
	CHECK(!ioctl(g.v[0].fd, HVX_SET_DEBUG, &d));
	tg_run_to(&g, 0, HVX_EXIT_DEBUG);
	CHECK_EQ(g.v[0].run->debug.rip, TG_CODE + 1);
	CHECK_EQ(g.v[0].run->debug.vector, 1);
	tg_run_to(&g, 0, HVX_EXIT_DEBUG);
	CHECK_EQ(g.v[0].run->debug.rip, TG_CODE + 2);
	tg_run_to(&g, 0, HVX_EXIT_DEBUG);
	CHECK_EQ(g.v[0].run->debug.vector, 3);
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(pio_out), TG_TEST(pio_in), TG_TEST(mmio_mov), TG_TEST(mmio_emulate),
	TG_TEST(cpuid_exit), TG_TEST(cpuid_prefixed), TG_TEST(triple_fault), TG_TEST(msr_exit),
	TG_TEST(kick_and_debug),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
