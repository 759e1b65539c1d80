// SPDX-License-Identifier: GPL-2.0-only
/* Modes, segments, string and I/O instructions, MMIO, locks: results worked out by hand. */
#include "emul_guest.h"

#include <stdio.h>

static struct guest g;

static void setup(void)
{
	guest_init(&g);
}

static void teardown(void)
{
	guest_fini(&g);
}

/* ------------------------------------------------------------- addressing */

/* 16-bit ModRM forms: base registers hold BX=1000 BP=2000 SI=0300 DI=0040 (hex); DS=3, SS=2 (64 KiB units). */
static const struct form16 {
	const char *hex;
	uint32_t linear;
} forms16[] = {
	{ "8a 00", 0x31300 },			/* [bx+si] */
	{ "8a 01", 0x31040 },			/* [bx+di] */
	{ "8a 02", 0x22300 },			/* [bp+si]: SS */
	{ "8a 03", 0x22040 },			/* [bp+di]: SS */
	{ "8a 04", 0x30300 },			/* [si] */
	{ "8a 05", 0x30040 },			/* [di] */
	{ "8a 06 34 12", 0x31234 },		/* [1234] */
	{ "8a 07", 0x31000 },			/* [bx] */
	{ "8a 40 7f", 0x3137f },		/* [bx+si+7f] */
	{ "8a 46 80", 0x21f80 },		/* [bp-80] */
	{ "8a 47 ff", 0x30fff },		/* [bx-1] */
	{ "8a 86 00 10", 0x23000 },		/* [bp+1000] */
	{ "8a 87 00 f0", 0x30000 },		/* [bx+f000] wraps in 16 bits */
	{ "26 8a 07", 0x1000 },			/* es:[bx]; ES = 0 */
	{ "2e 8a 07", 0x11000 },		/* cs: */
	{ "3e 8a 46 00", 0x32000 },		/* ds:[bp] */
	{ "36 8a 07", 0x21000 },		/* ss: */
	{ "64 8a 07", 0x41000 },		/* fs: */
	{ "65 8a 07", 0x51000 },		/* gs: */
	{ "65 26 8a 07", 0x1000 },		/* the last one counts */
	{ "67 8a 03", 0x31000 },		/* [ebx] */
	{ "67 8a 44 5d 10", 0x24010 },		/* [ebp+ebx*2+10]: SS */
	{ "67 8a 04 25 11 22 00 00", 0x32211 },	/* [2211] */
	{ "a0 78 56", 0x35678 },
	{ "67 a0 78 56 00 00", 0x35678 },
};

START_TEST(test_addresses_16)
{
	const struct form16 *f = &forms16[_i];

	guest_real(&g);
	g.regs.rbx = 0x1000;
	g.regs.rbp = 0x2000;
	g.regs.rsi = 0x300;
	g.regs.rdi = 0x40;
	g.regs.rax = 0x1111;
	g.ram[f->linear] = 0x5a;
	ck_assert_int_eq(guest_insn(&g, f->hex), EMUL_OK);
	ck_assert_msg(g.regs.rax == 0x115a, "%s: rax %llx", f->hex, (unsigned long long)g.regs.rax);
}
END_TEST

START_TEST(test_sizes_by_mode)
{
	/* real mode: 16 bits, 66 makes 32 */
	guest_real(&g);
	g.sregs.ds.base = 0;
	g.regs.rax = 0x1122334455667788ULL;
	g.regs.rbx = 0x4000;
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 8), 0x7788);
	ck_assert_uint_eq(g.regs.rip, 0x102);
	ck_assert_int_eq(guest_insn(&g, "66 89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 8), 0x55667788);
	/* the immediate follows the operand size */
	ck_assert_int_eq(guest_insn(&g, "c7 07 34 12"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 4), 0x55661234);
	ck_assert_int_eq(guest_insn(&g, "66 c7 07 44 33 22 11"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 4), 0x11223344);

	/* protected 32-bit: 32 bits, 66 makes 16, 67 gives 16-bit forms; 48 is DEC, not REX */
	guest_prot32(&g);
	g.regs.rdi = 0x5000;
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x5000, 8), 0x55667788);
	ck_assert_int_eq(guest_insn(&g, "66 89 47 10"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x5010, 8), 0x7788);
	g.regs.rbx = 0xfff06000;
	ck_assert_int_eq(guest_insn(&g, "67 89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x6000, 4), 0x55667788);
	ck_assert_int_eq(guest_insn(&g, "48 89 07"), EMUL_UNHANDLED);
	/* disp32 without base is absolute, not RIP-relative */
	ck_assert_int_eq(guest_insn(&g, "89 05 00 70 00 00"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x7000, 4), 0x55667788);

	/* 16-bit protected mode */
	g.sregs.cs.attr &= ~HVX_SEG_DB;
	g.regs.rbx = 0x8000;
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x8000, 8), 0x7788);

	/* 64-bit mode: CS.D is ignored, CS base too */
	guest_long(&g);
	g.regs.rdi = 0x9000;
	g.sregs.ds.base = 0x100000;
	ck_assert_int_eq(guest_insn(&g, "89 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x9000, 8), 0x55667788);
	g.regs.rip = 0x1000;
	ck_assert_int_eq(guest_insn(&g, "48 89 05 f9 8f 00 00"), EMUL_OK);	/* [rip+8ff9] */
	ck_assert_uint_eq(guest_rd(&g, 0xa000, 8), 0x1122334455667788ULL);
}
END_TEST

/* 32-bit results zero-extend in 64-bit mode, also by CMOV that does not move. */
START_TEST(test_zero_extension)
{
	guest_long(&g);
	g.regs.rdi = 0x4000;
	g.regs.rax = ~0ULL;
	g.regs.rflags = 2;
	ck_assert_int_eq(guest_insn(&g, "0f 44 07"), EMUL_OK);	/* cmove eax, [rdi], ZF = 0 */
	ck_assert_uint_eq(g.regs.rax, 0xffffffff);
	g.regs.rax = ~0ULL;
	ck_assert_int_eq(guest_insn(&g, "66 0f 44 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, ~0ULL);
}
END_TEST

/* ---------------------------------------------------------- segmentation */

START_TEST(test_real_limits)
{
	guest_real(&g);
	g.regs.rbx = 0xffff;
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);	/* a word at FFFF */
	ck_assert_uint_eq(g.regs.rip, 0x100);
	ck_assert_int_eq(guest_insn(&g, "8a 07"), EMUL_OK);
	g.regs.rbp = 0xffff;
	expect_fault(&g, guest_insn(&g, "8b 46 00"), 12, 0);	/* through SS */
	expect_fault(&g, guest_insn(&g, "67 8a 05 00 00 01 00"), 13, 0);
	/* "unreal" mode: the limit that protected mode left */
	g.sregs.ds.limit = 0xffffffff;
	g.sregs.ds.base = 0;
	g.ram[0x123456] = 0x77;
	ck_assert_int_eq(guest_insn(&g, "67 8a 05 56 34 12 00"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax & 0xff, 0x77);
	/* a code descriptor left in a data register by protected mode is no matter in real mode */
	g.sregs.ds.attr = CODE_X;
	ck_assert_int_eq(guest_insn(&g, "67 88 05 56 34 12 00"), EMUL_OK);
}
END_TEST

START_TEST(test_protected_segments)
{
	guest_prot32(&g);
	g.regs.rdi = 0x4000;
	g.regs.rbp = 0x4000;
	/* null selector */
	g.sregs.ds.attr = HVX_SEG_UNUSABLE;
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	g.sregs.ss.attr = HVX_SEG_UNUSABLE;
	expect_fault(&g, guest_insn(&g, "8b 45 00"), 12, 0);
	/* types */
	guest_prot32(&g);
	g.sregs.ds.attr = DATA_RO | HVX_SEG_DB;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	expect_fault(&g, guest_insn(&g, "89 07"), 13, 0);
	expect_fault(&g, guest_insn(&g, "01 07"), 13, 0);
	ck_assert_int_eq(guest_insn(&g, "39 07"), EMUL_OK);	/* CMP only reads */
	ck_assert_int_eq(guest_insn(&g, "2e 8b 07"), EMUL_OK);
	expect_fault(&g, guest_insn(&g, "2e 89 07"), 13, 0);
	g.sregs.cs.attr = CODE_X | HVX_SEG_DB;
	expect_fault(&g, guest_insn(&g, "2e 8b 07"), 13, 0);
	/* limits: the last byte counts */
	guest_prot32(&g);
	g.sregs.ds.limit = 0x4003;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	g.sregs.ds.limit = 0x4002;
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	/* at 4 GiB - 1 the operand ends beyond any limit */
	g.sregs.ds.limit = 0xffffffff;
	g.regs.rdi = 0xffffffff;
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	/* base + offset wraps */
	g.regs.rdi = 0xfffff000;
	g.sregs.ds.base = 0x6000;
	guest_wr(&g, 0x5000, 4, 0x89abcdef);
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0x89abcdef);
}
END_TEST

START_TEST(test_expand_down)
{
	guest_prot32(&g);
	g.sregs.ds.attr = DATA_DOWN | HVX_SEG_DB;
	g.sregs.ds.limit = 0x3fff;
	g.regs.rdi = 0x4000;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	g.regs.rdi = 0x3fff;
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	g.regs.rdi = 0xfffe;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	g.sregs.ds.attr &= ~HVX_SEG_DB;	/* then it ends at FFFF */
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	ck_assert_int_eq(guest_insn(&g, "66 8b 07"), EMUL_OK);
}
END_TEST

START_TEST(test_canonical)
{
	guest_long(&g);
	g.regs.rdi = 0x800000000000ULL;
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	g.regs.rdi = 0x7ffffffffffdULL;	/* the last byte is not canonical */
	expect_fault(&g, guest_insn(&g, "8b 07"), 13, 0);
	g.regs.rbp = 0x800000000000ULL;
	expect_fault(&g, guest_insn(&g, "8b 45 00"), 12, 0);
	g.regs.rsp = 0x900000000000ULL;
	expect_fault(&g, guest_insn(&g, "ff 37"), 13, 0);	/* the operand first */
	g.regs.rdi = 0x4000;
	expect_fault(&g, guest_insn(&g, "ff 37"), 12, 0);	/* then the stack */
	/* with CR4.LA57 it is; nothing is there, so it reads as ones */
	g.sregs.cr4 |= T_CR4_LA57;
	g.regs.rdi = 0x800000000000ULL;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0xffffffff);
	/* FS and GS bases count in 64-bit mode, others do not */
	g.sregs.cr4 &= ~T_CR4_LA57;
	g.sregs.gs.base = 0x800000000000ULL;
	g.regs.rdi = 0x4000;
	expect_fault(&g, guest_insn(&g, "65 8b 07"), 13, 0);
	g.sregs.es.base = 0x800000000000ULL;
	ck_assert_int_eq(guest_insn(&g, "26 8b 07"), EMUL_OK);
	/* branch targets */
	guest_wr(&g, 0x4000, 8, 0x800000000000ULL);
	g.regs.rsp = 0x8000;
	expect_fault(&g, guest_insn(&g, "ff 27"), 13, 0);
	expect_fault(&g, guest_insn(&g, "ff 17"), 13, 0);
	ck_assert_uint_eq(g.regs.rsp, 0x8000);
}
END_TEST

START_TEST(test_code_limit)
{
	guest_prot32(&g);
	g.sregs.cs.limit = 0x1001;
	memcpy(g.ram + 0x1000, "\x8b\x47\x04", 3);
	expect_fault(&g, guest_fetch(&g), 13, 0);	/* third byte is out */
	g.sregs.cs.limit = 0x1002;
	ck_assert_int_eq(guest_fetch(&g), EMUL_OK);
	g.regs.rdi = 0x4000;
	guest_wr(&g, 0x4000, 4, 0x1003);
	expect_fault(&g, guest_insn(&g, "ff 27"), 13, 0);
	guest_wr(&g, 0x4000, 4, 0x1002);
	ck_assert_int_eq(guest_insn(&g, "ff 27"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rip, 0x1002);
	/* CS base */
	g.sregs.cs.base = 0x20000;
	g.regs.rip = 0x10;
	memcpy(g.ram + 0x20010, "\xc6\x07\x99", 3);
	ck_assert_int_eq(guest_fetch(&g), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 1), 0x99);
	/* 16 bytes are no instruction */
	ck_assert_int_eq(guest_insn(&g, "26 26 26 26 26 26 26 26 26 26 26 26 26 8b 07"), EMUL_OK);
	memset(g.ram + 0x20000, 0x26, 64);
	expect_fault(&g, guest_fetch(&g), 13, 0);
}
END_TEST

/* ----------------------------------------------------------------- stacks */

START_TEST(test_stack_sizes)
{
	guest_prot32(&g);
	g.regs.rdi = 0x4000;
	guest_wr(&g, 0x4000, 8, 0x1122334455667788ULL);
	ck_assert_int_eq(guest_insn(&g, "ff 37"), EMUL_OK);	/* push dword [edi] */
	ck_assert_uint_eq(g.regs.rsp, 0x7ffc);
	ck_assert_uint_eq(guest_rd(&g, 0x7ff8, 8), 0x5566778800000000ULL);
	ck_assert_int_eq(guest_insn(&g, "66 ff 37"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rsp, 0x7ffa);
	/* a 16-bit stack: only SP changes and wraps, whatever the operand size */
	g.sregs.ss.attr &= ~HVX_SEG_DB;
	g.regs.rsp = 0x70002;
	ck_assert_int_eq(guest_insn(&g, "66 ff 37"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rsp, 0x70000);
	ck_assert_uint_eq(guest_rd(&g, 0, 2), 0x7788);
	ck_assert_int_eq(guest_insn(&g, "ff 37"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rsp, 0x7fffc);
	ck_assert_uint_eq(guest_rd(&g, 0xfffc, 4), 0x55667788);
	/* call and ret */
	guest_prot32(&g);
	guest_wr(&g, 0x4000, 4, 0x2000);
	ck_assert_int_eq(guest_insn(&g, "ff 17"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rip, 0x2000);
	ck_assert_uint_eq(g.regs.rsp, 0x7ffc);
	ck_assert_uint_eq(guest_rd(&g, 0x7ffc, 4), 0x1002);
	ck_assert_int_eq(guest_insn(&g, "c2 08 00"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rip, 0x1002);
	ck_assert_uint_eq(g.regs.rsp, 0x8008);
	/* the stack segment's limit is #SS */
	g.sregs.ss.limit = 0x7fff;
	expect_fault(&g, guest_insn(&g, "ff 37"), 12, 0);
	/* shadow stacks are not kept */
	g.sregs.ss.limit = 0xffffffff;
	g.sregs.cr4 |= 1 << 23;
	ck_assert_int_eq(guest_insn(&g, "ff 17"), EMUL_UNHANDLED);
}
END_TEST

/* A device must not be read when the instruction is going to fault. */
START_TEST(test_no_side_effect_before_fault)
{
	guest_prot32(&g);
	g.regs.rdi = MMIO_BASE;
	g.sregs.ss.limit = 0x10;
	expect_fault(&g, guest_insn(&g, "ff 37"), 12, 0);	/* push [mmio] */
	expect_fault(&g, guest_insn(&g, "ff 17"), 12, 0);	/* call [mmio] */
	guest_prot32(&g);
	g.regs.rsi = MMIO_BASE;
	g.sregs.es.limit = 0x10;
	expect_fault(&g, guest_insn(&g, "a5"), 13, 0);		/* movs es:[edi] too high */
	expect_fault(&g, guest_insn(&g, "6d"), 13, 0);		/* insd */
	g.sregs.es.attr = DATA_RO | HVX_SEG_DB;
	g.sregs.es.limit = 0xffffffff;
	g.sregs.ds.attr = DATA_RO | HVX_SEG_DB;
	g.regs.rdi = MMIO_BASE;
	expect_fault(&g, guest_insn(&g, "01 07"), 13, 0);	/* add [mmio], eax: not writable */
	ck_assert_uint_eq(g.logged, 0);
}
END_TEST

/* ------------------------------------------------------------------- MMIO */

START_TEST(test_mmio_sizes)
{
	/* each operand reaches the device whole and once */
	static const struct {
		const char *hex;
		unsigned int reads, writes, len;
	} ops[] = {
		{ "88 07", 0, 1, 1 }, { "66 89 07", 0, 1, 2 }, { "89 07", 0, 1, 4 }, { "48 89 07", 0, 1, 8 },
		{ "0f b6 07", 1, 0, 1 }, { "48 0f bf 07", 1, 0, 2 }, { "48 63 07", 1, 0, 4 },
		{ "0f 38 f0 07", 1, 0, 4 }, { "09 07", 1, 1, 4 }, { "83 0f 01", 1, 1, 4 }, { "f6 07 01", 1, 0, 1 },
		{ "0f ba 2f 05", 1, 1, 4 }, { "0f a3 07", 1, 0, 4 }, { "87 07", 1, 1, 4 }, { "f0 01 07", 1, 1, 4 },
		{ "0f 11 07", 0, 1, 16 }, { "66 0f 6f 07", 1, 0, 16 }, { "c5 fe 6f 07", 1, 0, 32 },
		{ "c5 fe 7f 07", 0, 1, 32 }, { "f3 0f 7e 07", 1, 0, 8 }, { "a4", 0, 1, 1 }, { "48 a5", 0, 1, 8 },
		{ "aa", 0, 1, 1 }, { "0f b1 07", 1, 1, 4 }, { "48 0f c7 0f", 1, 1, 16 }, { "0f 94 07", 0, 1, 1 },
		{ "c7 07 00 00 00 00", 0, 1, 4 }, { "0f ae 3f", 0, 0, 0 }, { "d1 27", 1, 1, 4 },
		{ "f7 17", 1, 1, 4 }, { "8f 07", 0, 1, 8 }, { "ff 37", 1, 0, 8 },
	};
	unsigned int i, j, n;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		guest_long(&g);
		g.regs.rdi = MMIO_BASE + 0x40;
		g.regs.rsi = 0x4000;
		g.regs.rax = 5;
		g.logged = 0;
		ck_assert_msg(guest_insn(&g, ops[i].hex) == EMUL_OK, "%s", ops[i].hex);
		n = ops[i].reads + ops[i].writes;
		ck_assert_msg(g.logged == n, "%s: %u accesses", ops[i].hex, g.logged);
		for (j = 0; j < n; j++)
			ck_assert_msg(g.log[j].write == (j >= ops[i].reads) && g.log[j].len == ops[i].len &&
				      g.log[j].addr == MMIO_BASE + 0x40, "%s: access %u", ops[i].hex, j);
	}
}
END_TEST

START_TEST(test_mmio_values)
{
	guest_long(&g);
	g.regs.rdi = MMIO_BASE;
	g.regs.rax = 0xf0;
	ck_assert_int_eq(guest_insn(&g, "09 07"), EMUL_OK);	/* or [rdi], eax */
	ck_assert_uint_eq(g.log[1].val, 0x443322f1);
	ck_assert_int_eq(guest_insn(&g, "48 0f be 47 07"), EMUL_OK);	/* movsx rax, byte */
	ck_assert_uint_eq(g.regs.rax, 0x11);
	g.mmio_value = 0x80;
	ck_assert_int_eq(guest_insn(&g, "48 0f be 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0xffffffffffffff80ULL);
	/* xchg with a device */
	g.logged = 0;
	g.mmio_value = 0xabcd;
	g.regs.rax = 0x1234;
	ck_assert_int_eq(guest_insn(&g, "87 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 0xabcd);
	ck_assert_uint_eq(g.log[1].val, 0x1234);
	/* nobody there: reads ones, writes vanish */
	g.regs.rdi = 0x7000000000ULL;
	ck_assert_int_eq(guest_insn(&g, "48 8b 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, ~0ULL);
	ck_assert_int_eq(guest_insn(&g, "48 01 07"), EMUL_OK);
	/* RAM to device, by a string instruction */
	g.regs.rdi = MMIO_BASE + 8;
	g.regs.rsi = 0x4000;
	g.regs.rcx = 3;
	guest_wr(&g, 0x4000, 8, 0x0000222200001111ULL);
	guest_wr(&g, 0x4008, 4, 0x3333);
	g.logged = 0;
	ck_assert_int_eq(guest_insn(&g, "f3 a5"), EMUL_OK);
	ck_assert_uint_eq(g.logged, 3);
	ck_assert_uint_eq(g.log[0].val, 0x1111);
	ck_assert_uint_eq(g.log[1].val, 0x2222);
	ck_assert_uint_eq(g.log[2].val, 0x3333);
	ck_assert_uint_eq(g.log[2].addr, MMIO_BASE + 16);
	ck_assert_uint_eq(g.regs.rcx, 0);
	ck_assert_uint_eq(g.regs.rip, 0x1000 + 2 + 5 + 4 + 2 + 3 + 3 + 2);
}
END_TEST

/* ------------------------------------------------------------------ locks */

START_TEST(test_locks)
{
	guest_long(&g);
	g.regs.rdi = 0x4000;
	g.regs.rax = 1;
	/* each lost race adds 1 in between; the result is as if we came last */
	g.races = 3;
	ck_assert_int_eq(guest_insn(&g, "f0 01 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 4), 4);
	ck_assert_uint_eq(g.cmpxchgs, 4);
	/* not locked: not atomic */
	g.cmpxchgs = 0;
	ck_assert_int_eq(guest_insn(&g, "01 07"), EMUL_OK);
	ck_assert_uint_eq(g.cmpxchgs, 0);
	/* xchg is without saying so */
	ck_assert_int_eq(guest_insn(&g, "87 07"), EMUL_OK);
	ck_assert_uint_eq(g.cmpxchgs, 1);
	ck_assert_uint_eq(g.regs.rax, 5);
	/* a race that never ends ends in EMUL_AGAIN, with nothing changed */
	g.races = 1000000;
	g.regs.rip = 0x1000;
	ck_assert_int_eq(guest_insn(&g, "f0 0f c1 07"), EMUL_AGAIN);
	ck_assert_uint_eq(g.regs.rip, 0x1000);
	ck_assert_uint_eq(g.regs.rax, 5);
	ck_assert_uint_eq(g.ctx.dirty, 0);
	g.races = 0;
	/* cmpxchg16b, equal and not, and misaligned */
	g.regs.rdx = 0x22;
	g.regs.rax = 0x11;
	g.regs.rbx = 0x33;
	g.regs.rcx = 0x44;
	guest_wr(&g, 0x4000, 8, 0x11);
	guest_wr(&g, 0x4008, 8, 0x22);
	ck_assert_int_eq(guest_insn(&g, "f0 48 0f c7 0f"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 8), 0x33);
	ck_assert_uint_eq(guest_rd(&g, 0x4008, 8), 0x44);
	ck_assert(g.regs.rflags & 0x40);
	ck_assert_int_eq(guest_insn(&g, "f0 48 0f c7 0f"), EMUL_OK);
	ck_assert(!(g.regs.rflags & 0x40));
	ck_assert_uint_eq(g.regs.rax, 0x33);
	ck_assert_uint_eq(g.regs.rdx, 0x44);
	g.regs.rdi = 0x4008;
	expect_fault(&g, guest_insn(&g, "f0 48 0f c7 0f"), 13, 0);
	/* across cache lines the host is spared a split lock; 603d..6040 and 603c..603f */
	g.regs.rax = 1;
	g.regs.rdi = 0x603d;
	g.cmpxchgs = 0;
	ck_assert_int_eq(guest_insn(&g, "f0 01 07"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x603d, 4), 1);
	ck_assert_uint_eq(g.cmpxchgs, 0);
	g.regs.rdi = 0x603c;
	ck_assert_int_eq(guest_insn(&g, "f0 01 07"), EMUL_OK);
	ck_assert_uint_eq(g.cmpxchgs, 1);
	/* LOCK where it is not allowed */
	expect_fault_plain(&g, guest_insn(&g, "f0 89 07"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 39 07"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 01 c0"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 a5"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 0f a3 07"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 0f ba 27 01"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 f7 27"), 6);
	expect_fault_plain(&g, guest_insn(&g, "f0 ff 37"), 6);
}
END_TEST

/* ---------------------------------------------------------------- strings */

START_TEST(test_string_batches)
{
	guest_long(&g);
	g.regs.rdi = 0x20000;
	g.regs.rcx = EMUL_MAX_BATCH + 10;
	g.regs.rax = 0x77;
	ck_assert_int_eq(guest_insn(&g, "f3 aa"), EMUL_AGAIN);
	ck_assert_uint_eq(g.regs.rip, 0x1000);
	ck_assert_uint_eq(g.regs.rcx, 10);
	ck_assert_uint_eq(g.regs.rdi, 0x20000 + EMUL_MAX_BATCH);
	ck_assert_uint_eq(g.ctx.dirty, 1U << HVX_STATE_REGS);
	ck_assert_int_eq(guest_insn(&g, "f3 aa"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rip, 0x1002);
	ck_assert_uint_eq(g.regs.rcx, 0);
	ck_assert_uint_eq(guest_rd(&g, 0x20000 + EMUL_MAX_BATCH + 9, 2), 0x77);
	/* a count of exactly one batch is done in one call */
	g.regs.rcx = EMUL_MAX_BATCH;
	ck_assert_int_eq(guest_insn(&g, "f3 aa"), EMUL_OK);
	/* no REP: the count does not matter */
	g.regs.rcx = 0;
	g.regs.rdi = 0x3000;
	ck_assert_int_eq(guest_insn(&g, "aa"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x3000, 1), 0x77);
	ck_assert_uint_eq(g.regs.rcx, 0);
}
END_TEST

/* A fault in the middle: what is done is done, the registers point at the faulting element. */
START_TEST(test_string_fault)
{
	guest_prot32(&g);
	g.sregs.es.limit = 0x400f;
	g.regs.rdi = 0x4000;
	g.regs.rsi = 0x5000;
	g.regs.rcx = 10;
	memset(g.ram + 0x5000, 0x3c, 64);
	expect_fault(&g, guest_insn(&g, "f3 a5"), 13, 0);
	ck_assert_uint_eq(g.regs.rcx, 6);
	ck_assert_uint_eq(g.regs.rdi, 0x4010);
	ck_assert_uint_eq(g.regs.rsi, 0x5010);
	ck_assert_uint_eq(g.regs.rip, 0x1000);
	ck_assert_uint_eq(g.ctx.dirty, 1U << HVX_STATE_REGS);
	ck_assert_uint_eq(guest_rd(&g, 0x400c, 8), 0x3c3c3c3c);
	/* ES is not overridden, the source is */
	guest_prot32(&g);
	g.sregs.ds.limit = 0;
	g.sregs.fs.base = 0x100;
	guest_wr(&g, 0x5110, 4, 0xfeed);
	ck_assert_int_eq(guest_insn(&g, "64 a5"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4010, 4), 0xfeed);
}
END_TEST

START_TEST(test_string_16bit)
{
	guest_real(&g);
	/* DF, and SI/DI/CX as 16 bits in wider registers; DS = 30000, ES = 0 */
	g.regs.rflags |= 0x400;
	g.regs.rsi = 0xaaaa0001;
	g.regs.rdi = 0xbbbb2000;
	g.regs.rcx = 0xcccc0003;
	g.ram[0x30001] = 1;
	g.ram[0x30000] = 2;
	g.ram[0x3ffff] = 3;
	ck_assert_int_eq(guest_insn(&g, "f3 a4"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x1ffe, 3), 0x010203);
	ck_assert_uint_eq(g.regs.rsi, 0xaaaafffe);
	ck_assert_uint_eq(g.regs.rdi, 0xbbbb1ffd);
	ck_assert_uint_eq(g.regs.rcx, 0xcccc0000);
	/* a word at offset FFFF */
	g.regs.rsi = 0xffff;
	expect_fault(&g, guest_insn(&g, "a5"), 13, 0);
}
END_TEST

/* ------------------------------------------------------------- string I/O */

START_TEST(test_string_io)
{
	guest_real(&g);
	g.sregs.es.base = 0x4000;
	g.regs.rdx = 0x123401f0;
	g.regs.rcx = 3;
	g.regs.rdi = 0x10;
	g.port_value = 0xa000;
	ck_assert_int_eq(guest_insn(&g, "f3 6d"), EMUL_OK);	/* rep insw */
	ck_assert_uint_eq(g.logged, 3);
	ck_assert_uint_eq(g.log[2].addr, 0x1f0);
	ck_assert_uint_eq(g.log[2].len, 2);
	ck_assert_uint_eq(guest_rd(&g, 0x4010, 8), 0x0000a002a001a000ULL);
	ck_assert_uint_eq(g.regs.rdi, 0x16);
	ck_assert_uint_eq(g.regs.rcx, 0);
	/* outsb, outsd, with a segment override */
	g.logged = 0;
	g.regs.rsi = 0x4010;
	ck_assert_int_eq(guest_insn(&g, "26 6e"), EMUL_OK);
	ck_assert(g.logged == 1 && g.log[0].write && g.log[0].len == 1);
	g.sregs.es.base = 0;
	ck_assert_int_eq(guest_insn(&g, "66 26 6f"), EMUL_OK);
	ck_assert(g.log[1].len == 4 && g.log[1].val == 0x02a001a0);
	/* REX.W does not make it 64 bits */
	guest_long(&g);
	g.logged = 0;
	g.regs.rsi = 0x4010;
	ck_assert_int_eq(guest_insn(&g, "48 6f"), EMUL_OK);
	ck_assert_uint_eq(g.log[0].len, 4);
	ck_assert_uint_eq(g.regs.rsi, 0x4014);
}
END_TEST

START_TEST(test_io_permission)
{
	guest_prot32(&g);
	guest_user(&g);
	g.regs.rdi = 0x4000;
	g.regs.rdx = 0x3f8;
	g.sregs.tr = (struct hvx_segment){ .base = 0x6000, .limit = 0x67 + 0x2001, .attr = 0x8b };
	guest_wr(&g, 0x6066, 2, 0x68);
	memset(g.ram + 0x6068, 0xff, 0x2001);
	expect_fault(&g, guest_insn(&g, "6c"), 13, 0);
	g.ram[0x6068 + 0x3f8 / 8] = 0xfe;
	ck_assert_int_eq(guest_insn(&g, "6c"), EMUL_OK);	/* insb */
	expect_fault(&g, guest_insn(&g, "66 6d"), 13, 0);	/* insw needs two ports */
	g.ram[0x6068 + 0x3f8 / 8] = 0xf0;
	ck_assert_int_eq(guest_insn(&g, "6d"), EMUL_OK);
	g.regs.rdx = 0x3fb;	/* 3fb..3fe: crosses into bits that are set */
	expect_fault(&g, guest_insn(&g, "6d"), 13, 0);
	/* the map reaches across bytes */
	g.regs.rdx = 0x3ff;
	g.ram[0x6068 + 0x3f8 / 8] = 0x7f;
	g.ram[0x6068 + 0x400 / 8] = 0xfe;
	ck_assert_int_eq(guest_insn(&g, "66 6d"), EMUL_OK);
	g.ram[0x6068 + 0x400 / 8] = 0x01;
	expect_fault(&g, guest_insn(&g, "66 6d"), 13, 0);
	g.ram[0x6068 + 0x400 / 8] = 0;
	/* beyond the TSS limit */
	g.sregs.tr.limit = 0x68 + 0x3f8 / 8;
	expect_fault(&g, guest_insn(&g, "66 6d"), 13, 0);
	g.sregs.tr.limit = 0x68 + 0x3f8 / 8 + 1;
	ck_assert_int_eq(guest_insn(&g, "66 6d"), EMUL_OK);
	g.sregs.tr.limit = 0x66;
	expect_fault(&g, guest_insn(&g, "66 6d"), 13, 0);
	/* a 16-bit TSS has no map */
	g.sregs.tr.limit = 0x2068;
	g.sregs.tr.attr = 0x83;
	expect_fault(&g, guest_insn(&g, "66 6d"), 13, 0);
	/* IOPL 3 opens it, but not in virtual-8086 mode */
	g.regs.rflags |= 0x3000;
	ck_assert_int_eq(guest_insn(&g, "66 6d"), EMUL_OK);
	guest_real(&g);
	g.sregs.cr0 = T_CR0_PE;
	g.regs.rflags |= T_FL_VM;
	expect_fault(&g, guest_insn(&g, "6d"), 13, 0);
}
END_TEST

/* ----------------------------------------------- SSE controls, alignment, rest */

START_TEST(test_vector_controls)
{
	unsigned int i;

	guest_long(&g);
	g.regs.rdi = 0x4000;
	for (i = 0; i < 32; i++)
		g.vec[3][i] = i + 1;
	ck_assert_int_eq(guest_insn(&g, "0f 11 1f"), EMUL_OK);
	ck_assert_uint_eq(g.ctx.dirty, 1U << HVX_STATE_REGS);
	ck_assert(!memcmp(g.ram + 0x4000, g.vec[3], 16) && g.ram[0x4010] == 0);
	/* loads: legacy keeps the upper half, VEX clears it */
	memset(g.vec[1], 0xee, 32);
	ck_assert_int_eq(guest_insn(&g, "0f 10 0f"), EMUL_OK);
	ck_assert_uint_eq(g.ctx.dirty, 1U << HVX_STATE_REGS | 1U << HVX_STATE_XSAVE);
	ck_assert(!memcmp(g.vec[1], g.vec[3], 16) && g.vec[1][16] == 0xee);
	ck_assert_int_eq(guest_insn(&g, "c5 f8 10 0f"), EMUL_OK);
	ck_assert(!memcmp(g.vec[1], g.vec[3], 16) && g.vec[1][16] == 0);

	g.regs.rdi = 0x4008;
	expect_fault(&g, guest_insn(&g, "0f 28 0f"), 13, 0);
	ck_assert_int_eq(guest_insn(&g, "0f 10 0f"), EMUL_OK);
	g.sregs.cr0 |= T_CR0_TS;
	expect_fault_plain(&g, guest_insn(&g, "0f 10 0f"), 7);
	expect_fault_plain(&g, guest_insn(&g, "c5 f8 10 0f"), 7);
	g.sregs.cr0 |= T_CR0_EM;
	expect_fault_plain(&g, guest_insn(&g, "0f 10 0f"), 6);
	g.sregs.cr0 &= ~(T_CR0_EM | T_CR0_TS);
	g.sregs.cr4 &= ~T_CR4_OSFXSR;
	expect_fault_plain(&g, guest_insn(&g, "0f 10 0f"), 6);
	ck_assert_int_eq(guest_insn(&g, "c5 f8 10 0f"), EMUL_OK);
	g.xcr0 = 3;
	expect_fault_plain(&g, guest_insn(&g, "c5 f8 10 0f"), 6);
	g.xcr0 = 7;
	g.sregs.cr4 &= ~T_CR4_OSXSAVE;
	expect_fault_plain(&g, guest_insn(&g, "c5 f8 10 0f"), 6);
	/* prefixes before VEX */
	expect_fault_plain(&g, guest_insn(&g, "66 c5 f8 10 0f"), 6);
	expect_fault_plain(&g, guest_insn(&g, "48 c5 f8 10 0f"), 6);
	/* in 32-bit mode C5 with a memory ModRM is LDS */
	guest_prot32(&g);
	g.sregs.cr4 |= T_CR4_OSXSAVE;
	ck_assert_int_eq(guest_insn(&g, "c5 78 10 0f"), EMUL_UNHANDLED);
	ck_assert_int_eq(guest_insn(&g, "c5 f8 10 0f"), EMUL_OK);
	guest_real(&g);
	ck_assert_int_eq(guest_insn(&g, "c5 f8 10 0f"), EMUL_UNHANDLED);
}
END_TEST

START_TEST(test_alignment_check)
{
	guest_long(&g);
	guest_user(&g);
	g.regs.rdi = 0x4001;
	g.sregs.cr0 |= T_CR0_AM;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	g.regs.rflags |= T_FL_AC;
	expect_fault(&g, guest_insn(&g, "8b 07"), 17, 0);
	ck_assert_int_eq(guest_insn(&g, "8a 07"), EMUL_OK);
	g.sregs.cpl = 2;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
	g.sregs.cpl = 3;
	g.sregs.cr0 &= ~T_CR0_AM;
	ck_assert_int_eq(guest_insn(&g, "8b 07"), EMUL_OK);
}
END_TEST

START_TEST(test_divide)
{
	guest_long(&g);
	g.regs.rdi = 0x4000;
	g.regs.rax = 100;
	expect_fault_plain(&g, guest_insn(&g, "48 f7 37"), 0);	/* by zero */
	guest_wr(&g, 0x4000, 8, 7);
	ck_assert_int_eq(guest_insn(&g, "48 f7 37"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 14);
	ck_assert_uint_eq(g.regs.rdx, 2);
	g.regs.rdx = 7;		/* the quotient does not fit */
	expect_fault_plain(&g, guest_insn(&g, "48 f7 37"), 0);
	/* the most negative number by -1 */
	g.regs.rdx = ~0ULL;
	g.regs.rax = 1ULL << 63;
	guest_wr(&g, 0x4000, 8, ~0ULL);
	expect_fault_plain(&g, guest_insn(&g, "48 f7 3f"), 0);
	ck_assert_uint_eq(g.regs.rax, 1ULL << 63);
	guest_wr(&g, 0x4000, 8, 1);
	ck_assert_int_eq(guest_insn(&g, "48 f7 3f"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 1ULL << 63);
	ck_assert_uint_eq(g.regs.rdx, 0);
}
END_TEST

START_TEST(test_quirks)
{
	guest_long(&g);
	g.regs.rdi = 0x4000;
	guest_wr(&g, 0x4000, 4, 0x00100000);
	ck_assert_int_eq(guest_insn(&g, "f3 0f bd 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 11);	/* LZCNT */
	g.ctx.quirks = EMUL_NO_LZCNT;
	ck_assert_int_eq(guest_insn(&g, "f3 0f bd 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 20);	/* BSR */
	guest_wr(&g, 0x4000, 4, 0);
	ck_assert_int_eq(guest_insn(&g, "f3 0f bc 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 32);	/* TZCNT */
	g.ctx.quirks = EMUL_NO_TZCNT;
	ck_assert_int_eq(guest_insn(&g, "f3 0f bc 07"), EMUL_OK);
	ck_assert_uint_eq(g.regs.rax, 32);	/* BSF of zero leaves it */
	ck_assert(g.regs.rflags & 0x40);
}
END_TEST

/* mov [edi], sreg stores 16 bits whatever the operand size. */
START_TEST(test_mov_from_segment)
{
	guest_prot32(&g);
	g.sregs.fs.selector = 0x33;
	g.regs.rdi = 0x4000;
	guest_wr(&g, 0x4000, 8, ~0ULL);
	ck_assert_int_eq(guest_insn(&g, "8c 27"), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, 0x4000, 8), 0xffffffffffff0033ULL);
	expect_fault_plain(&g, guest_insn(&g, "8c 37"), 6);	/* there is no segment 6 */
}
END_TEST

/* Not executed here: nothing changes, nothing is accessed. */
START_TEST(test_unhandled)
{
	static const char *const insns[] = {
		"0f 01 17",		/* lgdt [rdi] */
		"8e 07",		/* mov es, [rdi] */
		"ff 1f", "ff 2f",	/* far call, far jmp */
		"ff 3f", "fe 17",
		"d9 07",		/* fld */
		"0f ae 07",		/* fxsave */
		"0f 6f 07",		/* movq mm0 */
		"66 0f ef 07",		/* pxor */
		"62 f1 7e 48 6f 07",	/* EVEX */
		"f2 0f 38 f0 07",	/* crc32 */
		"66 ff 17",		/* near call with 66 */
		"c7 47 08 00 00 00 00", "c7 f8 00 00 00 00",	/* second: xbegin */
		"0f b8 07", "0f ba 07 01", "cf", "0f 22 d8", "0f 30", "cd 80", "f4",
	};
	struct hvx_regs before;
	unsigned int i;

	guest_long(&g);
	g.regs.rdi = 0x4000;
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		enum emul_result r;

		before = g.regs;
		g.accesses = 0;
		r = guest_insn(&g, insns[i]);
		if (!strcmp(insns[i], "c7 47 08 00 00 00 00")) {
			ck_assert_int_eq(r, EMUL_OK);	/* the control: /0 is MOV */
			g.regs = before;
			continue;
		}
		ck_assert_msg(r == EMUL_UNHANDLED, "%s: %d", insns[i], r);
		ck_assert(!memcmp(&before, &g.regs, sizeof(before)));
		ck_assert_uint_eq(g.accesses, 0);
		ck_assert_uint_eq(g.ctx.dirty, 0);
	}
}
END_TEST

TCase *emul_mode_cases(void)
{
	TCase *tc = tcase_create("modes");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_addresses_16, 0, sizeof(forms16) / sizeof(forms16[0]));
	tcase_add_test(tc, test_sizes_by_mode);
	tcase_add_test(tc, test_zero_extension);
	tcase_add_test(tc, test_real_limits);
	tcase_add_test(tc, test_protected_segments);
	tcase_add_test(tc, test_expand_down);
	tcase_add_test(tc, test_canonical);
	tcase_add_test(tc, test_code_limit);
	tcase_add_test(tc, test_stack_sizes);
	tcase_add_test(tc, test_no_side_effect_before_fault);
	tcase_add_test(tc, test_mmio_sizes);
	tcase_add_test(tc, test_mmio_values);
	tcase_add_test(tc, test_locks);
	tcase_add_test(tc, test_string_batches);
	tcase_add_test(tc, test_string_fault);
	tcase_add_test(tc, test_string_16bit);
	tcase_add_test(tc, test_string_io);
	tcase_add_test(tc, test_io_permission);
	tcase_add_test(tc, test_vector_controls);
	tcase_add_test(tc, test_alignment_check);
	tcase_add_test(tc, test_divide);
	tcase_add_test(tc, test_quirks);
	tcase_add_test(tc, test_mov_from_segment);
	tcase_add_test(tc, test_unhandled);
	return tc;
}
