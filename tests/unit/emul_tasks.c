// SPDX-License-Identifier: GPL-2.0-only
/* Task switches: SDM vol. 3, chapter "Task Management", field by field and fault by fault. */
#include "emul_guest.h"

#include <stdlib.h>

#define GDT	0x1000U
#define TSS_OLD	0x3000U
#define TSS_NEW	0x4000U
#define TSS_16	0x5000U
#define LDT	0x6000U
#define STACK	0x9000U

/* Selectors of the table below. */
enum {
	CODE = 0x08, DATA = 0x10, OLD = 0x18, NEW = 0x20, OLD16 = 0x28, UCODE = 0x30, UDATA = 0x38,
	LDTR = 0x40, GONE = 0x48, GONECODE = 0x50, CONFORM = 0x58, XONLY = 0x60, END = 0x68,
};

#define DESC(base, limit, attr)	((uint64_t)((base) & 0xff000000) << 32 | (uint64_t)((base) & 0xffffff) << 16 | \
				 (uint64_t)((limit) >> 16) << 48 | ((limit) & 0xffff) | (uint64_t)(attr) << 40)
#define FLAT	0xc000U		/* 4 GiB in pages, 32 bits: as attr's bits 15:12 */

static const uint64_t gdt[] = {
	0, DESC(0, 0xfffffU, FLAT | 0x9b), DESC(0, 0xfffffU, FLAT | 0x92),
	DESC(TSS_OLD, 0x67U, 0x8b), DESC(TSS_NEW, 0x67U, 0x89), DESC(TSS_16, 0x2bU, 0x81),
	DESC(0, 0xfffffU, FLAT | 0xfb), DESC(0, 0xfffffU, FLAT | 0xf3), DESC(LDT, 0xfU, 0x82),
	DESC(0, 0xfffffU, FLAT | 0x13), DESC(0, 0xfffffU, FLAT | 0x1b), DESC(0, 0xfffffU, FLAT | 0x9f),
	DESC(0, 0xfffffU, FLAT | 0x99),
};

static struct guest g;
static struct emul_task t;

static void wr(uint32_t at, uint32_t val)
{
	guest_wr(&g, at, 4, val);
}

static void setup(void)
{
	unsigned int i;

	guest_init(&g);
	guest_prot32(&g);
	memcpy(g.ram + GDT, gdt, sizeof(gdt));
	g.sregs.gdtr = (struct hvx_dtable){ .base = GDT, .limit = END - 1 };
	g.sregs.tr = (struct hvx_segment){ .base = TSS_OLD, .limit = 0x67, .selector = OLD, .attr = 0x8b };
	g.sregs.ldtr.attr = HVX_SEG_UNUSABLE;
	g.sregs.cs.selector = CODE;
	g.sregs.ss.selector = g.sregs.ds.selector = g.sregs.es.selector = DATA;
	for (i = 0; i < 8; i++)
		((uint64_t *)&g.regs)[i] = 0x11110000 + i;
	g.regs.rip = 0x7000;
	g.regs.rflags = 0x246;
	/* The new task: registers 0x2222000n, all segments those of the kernel. */
	wr(TSS_NEW + 0x20, 0x8000);
	wr(TSS_NEW + 0x24, 0x202);
	for (i = 0; i < 8; i++)
		wr(TSS_NEW + 0x28 + 4 * i, 0x22220000 + i);
	wr(TSS_NEW + 0x38, STACK);
	for (i = 0; i < 6; i++)
		wr(TSS_NEW + 0x48 + 4 * i, i == 1 ? CODE : DATA);
	wr(TSS_NEW + 0x60, LDTR);
	t = (struct emul_task){ .selector = NEW, .source = HVX_TASK_JMP, .insn_len = 7 };
}

static void teardown(void)
{
	guest_fini(&g);
}

static int go(void)
{
	return emul_task_switch(&g.ctx, &g.sregs, &t);
}

static unsigned int type_of(uint16_t sel)
{
	return g.ram[GDT + sel + 5];
}

START_TEST(test_jmp)
{
	unsigned int i;

	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(g.ctx.dirty, 3);
	/* saved */
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x1c, 4), 0);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x20, 4), 0x7007);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x24, 4), 0x246);
	for (i = 0; i < 8; i++)
		ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x28 + 4 * i, 4), 0x11110000 + i);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x48, 4), DATA);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x4c, 4), CODE);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x60, 4), 0);
	/* loaded */
	ck_assert_uint_eq(g.regs.rip, 0x8000);
	ck_assert_uint_eq(g.regs.rflags, 0x202);
	for (i = 0; i < 8; i++)
		ck_assert_uint_eq(((uint64_t *)&g.regs)[i], i == 4 ? STACK : 0x22220000 + i);
	ck_assert_uint_eq(g.sregs.tr.selector, NEW);
	ck_assert_uint_eq(g.sregs.tr.base, TSS_NEW);
	ck_assert_uint_eq(g.sregs.tr.attr, 0x8b);
	ck_assert_uint_eq(g.sregs.ldtr.base, LDT);
	ck_assert_uint_eq(g.sregs.ldtr.limit, 0xf);
	ck_assert_uint_eq(g.sregs.cr0 & T_CR0_TS, T_CR0_TS);
	ck_assert_uint_eq(g.sregs.ds.attr, 0x93 | HVX_SEG_DB | HVX_SEG_G);
	ck_assert_uint_eq(g.sregs.ds.limit, 0xffffffff);
	ck_assert_uint_eq(g.ram[GDT + DATA + 5], 0x93);	/* accessed */
	/* busy bits; no link */
	ck_assert_uint_eq(type_of(OLD), 0x89);
	ck_assert_uint_eq(type_of(NEW), 0x8b);
	ck_assert_uint_eq(guest_rd(&g, TSS_NEW, 2), 0);
	ck_assert(!t.trap);
}
END_TEST

START_TEST(test_call_and_iret)
{
	t.source = HVX_TASK_CALL;
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(g.regs.rflags, 0x4202);
	ck_assert_uint_eq(guest_rd(&g, TSS_NEW, 2), OLD);
	ck_assert_uint_eq(type_of(OLD), 0x8b);
	ck_assert_uint_eq(type_of(NEW), 0x8b);
	/* and back, with other registers */
	g.regs.rax = 0x33333333;
	g.regs.rip = 0x8100;
	t = (struct emul_task){ .selector = OLD, .source = HVX_TASK_IRET, .insn_len = 1 };
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(g.regs.rip, 0x7007);
	ck_assert_uint_eq(g.regs.rax, 0x11110000);
	ck_assert_uint_eq(g.regs.rflags, 0x246);
	ck_assert_uint_eq(g.sregs.tr.selector, OLD);
	ck_assert_uint_eq(type_of(OLD), 0x8b);
	ck_assert_uint_eq(type_of(NEW), 0x89);
	ck_assert_uint_eq(guest_rd(&g, TSS_NEW + 0x20, 4), 0x8101);
	ck_assert_uint_eq(guest_rd(&g, TSS_NEW + 0x24, 4), 0x202);
	ck_assert_uint_eq(guest_rd(&g, TSS_NEW + 0x28, 4), 0x33333333);
}
END_TEST

/* Through a task gate, for an exception with an error code, on the new task's stack. */
START_TEST(test_gate)
{
	t = (struct emul_task){ .selector = NEW, .source = HVX_TASK_GATE, .error_code = 0xabcd,
				.event = 13 | HVX_EVENT_EXC | HVX_EVENT_HAS_CODE | HVX_EVENT_VALID };
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x20, 4), 0x7000);
	ck_assert_uint_eq(guest_rd(&g, TSS_NEW, 2), OLD);
	ck_assert_uint_eq(g.regs.rsp, STACK - 4);
	ck_assert_uint_eq(guest_rd(&g, STACK - 4, 4), 0xabcd);
	ck_assert_uint_eq(g.regs.rflags, 0x4202);
}
END_TEST

START_TEST(test_16_bit)
{
	unsigned int i;

	guest_wr(&g, TSS_16 + 0x0e, 2, 0x1234);
	guest_wr(&g, TSS_16 + 0x10, 2, 0x0002);
	for (i = 0; i < 8; i++)
		guest_wr(&g, TSS_16 + 0x12 + 2 * i, 2, 0x5500 + i);
	for (i = 0; i < 4; i++)
		guest_wr(&g, TSS_16 + 0x22 + 2 * i, 2, i == 1 ? CODE : DATA);
	g.sregs.fs.selector = g.sregs.gs.selector = DATA;
	t = (struct emul_task){ .selector = OLD16, .source = HVX_TASK_CALL, .insn_len = 5 };
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(g.regs.rip, 0x1234);
	ck_assert_uint_eq(g.regs.rflags, 0x4002);
	ck_assert_uint_eq(g.regs.rax, 0x5500);
	ck_assert_uint_eq(g.regs.rdi, 0x5507);
	ck_assert_uint_eq(g.sregs.fs.selector, 0);
	ck_assert_uint_eq(g.sregs.fs.attr, HVX_SEG_UNUSABLE);
	ck_assert_uint_eq(g.sregs.tr.attr, 0x83);
	ck_assert_uint_eq(guest_rd(&g, TSS_16, 2), OLD);
	ck_assert_uint_eq(guest_rd(&g, TSS_OLD + 0x20, 4), 0x7005);
	/* back: its own fields are of 16 bits, and behind them nothing is written */
	guest_wr(&g, TSS_16 + 0x2a, 4, 0x66660000);
	g.regs.rip = 0x12345;
	t = (struct emul_task){ .selector = OLD, .source = HVX_TASK_IRET, .insn_len = 1 };
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(guest_rd(&g, TSS_16 + 0x0e, 2), 0x2346);
	ck_assert_uint_eq(guest_rd(&g, TSS_16 + 0x10, 2), 0x0002);
	ck_assert_uint_eq(guest_rd(&g, TSS_16 + 0x28, 2), DATA);
	ck_assert_uint_eq(guest_rd(&g, TSS_16 + 0x2a, 4), 0x66660000);
	ck_assert_uint_eq(g.sregs.fs.selector, DATA);
	ck_assert_uint_eq(type_of(OLD16), 0x81);
}
END_TEST

/* With paging on CR3 is the new task's, and its tables are what the rest goes by. */
START_TEST(test_cr3)
{
	unsigned int i;

	/* 4 MiB, one to one, in two directories; the second does not show the GDT. */
	for (i = 0; i < 512; i++)
		wr(0x12000 + 4 * i, (i << 12) | 7);
	wr(0x10000, 0x12007);
	wr(0x11000, 0x13007);
	for (i = 2; i < 512; i++)
		wr(0x13000 + 4 * i, (i << 12) | 7);
	g.sregs.cr3 = 0x10000;
	g.sregs.cr0 |= T_CR0_PG;
	wr(TSS_NEW + 0x1c, 0x10000);
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(g.sregs.cr3, 0x10000);
	teardown();
	setup();
	for (i = 0; i < 512; i++)
		wr(0x12000 + 4 * i, (i << 12) | 7);
	wr(0x10000, 0x12007);
	wr(0x11000, 0x13007);
	for (i = 2; i < 512; i++)
		wr(0x13000 + 4 * i, (i << 12) | 7);
	g.sregs.cr3 = 0x10000;
	g.sregs.cr0 |= T_CR0_PG;
	wr(TSS_NEW + 0x1c, 0x11000);
	expect_fault(&g, go(), 14, 0);
	ck_assert_uint_eq(g.ctx.cr2, GDT + LDTR);
	ck_assert_uint_eq(g.ctx.dirty, 3);
	ck_assert_uint_eq(g.sregs.cr3, 0x11000);
	ck_assert_uint_eq(g.sregs.tr.selector, NEW);
}
END_TEST

/* The old TSS cannot be written: nothing has changed, not even busy bits. */
START_TEST(test_page_fault_before)
{
	struct hvx_regs before = g.regs;
	unsigned int i;

	for (i = 0; i < 512; i++)
		wr(0x12000 + 4 * i, (i << 12) | (i == TSS_OLD >> 12 ? 5 : 7));
	wr(0x10000, 0x12007);
	g.sregs.cr3 = 0x10000;
	g.sregs.cr0 |= T_CR0_PG | T_CR0_WP;
	expect_fault(&g, go(), 14, 3);
	ck_assert_uint_eq(g.ctx.cr2, TSS_OLD + 0x20);
	ck_assert_uint_eq(g.ctx.dirty, 0);
	ck_assert_mem_eq(&g.regs, &before, sizeof(before));
	ck_assert_uint_eq(type_of(OLD), 0x8b);
	ck_assert_uint_eq(type_of(NEW), 0x89);
}
END_TEST

START_TEST(test_vm86)
{
	unsigned int i;

	wr(TSS_NEW + 0x24, 0x20202);
	for (i = 0; i < 6; i++)
		wr(TSS_NEW + 0x48 + 4 * i, 0x1000 * i + 3);
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert_uint_eq(g.sregs.cpl, 3);
	ck_assert_uint_eq(g.sregs.cs.base, 0x10030);
	ck_assert_uint_eq(g.sregs.cs.limit, 0xffff);
	ck_assert_uint_eq(g.sregs.gs.base, 0x50030);
	ck_assert_uint_eq(g.sregs.ss.attr, 0xf3);
}
END_TEST

START_TEST(test_user_and_trap)
{
	unsigned int i;

	for (i = 0; i < 6; i++)
		wr(TSS_NEW + 0x48 + 4 * i, (i == 1 ? UCODE : UDATA) | 3);
	wr(TSS_NEW + 0x50, UDATA | 3);
	wr(TSS_NEW + 0x64, 1);
	ck_assert_int_eq(go(), EMUL_OK);
	ck_assert(t.trap);
	ck_assert_uint_eq(g.sregs.cpl, 3);
	ck_assert_uint_eq(HVX_SEG_DPL(g.sregs.ss.attr), 3);
}
END_TEST

/* One thing wrong: its fault, and whether the new task runs already. */
static const struct wrong {
	uint32_t at, val;
	unsigned int vector, code;
	bool new;
} wrongs[] = {
	{ GDT + NEW + 4, 0x00008b00, 13, NEW, false },		/* busy */
	{ GDT + NEW + 4, 0x00000900, 11, NEW, false },		/* not present */
	{ GDT + NEW + 4, 0x00009b00, 13, NEW, false },		/* code */
	{ GDT + NEW, TSS_NEW << 16 | 0x66, 10, NEW, false },	/* too short */
	{ TSS_NEW + 0x60, CODE, 10, CODE, true },		/* no LDT */
	{ TSS_NEW + 0x60, LDTR | 4, 10, LDTR | 4, true },
	{ TSS_NEW + 0x60, END, 10, END, true },
	{ TSS_NEW + 0x4c, 0, 10, 0, true },			/* CS */
	{ TSS_NEW + 0x4c, DATA, 10, DATA, true },
	{ TSS_NEW + 0x4c, CODE | 3, 10, CODE, true },
	{ TSS_NEW + 0x4c, UCODE, 10, UCODE, true },
	{ TSS_NEW + 0x4c, GONECODE, 11, GONECODE, true },
	{ TSS_NEW + 0x50, 0, 10, 0, true },			/* SS */
	{ TSS_NEW + 0x50, CODE, 10, CODE, true },
	{ TSS_NEW + 0x50, DATA | 3, 10, DATA, true },
	{ TSS_NEW + 0x50, UDATA, 10, UDATA, true },
	{ TSS_NEW + 0x50, GONE, 12, GONE, true },
	{ TSS_NEW + 0x54, XONLY, 10, XONLY, true },		/* DS */
	{ TSS_NEW + 0x54, DATA | 3, 10, DATA, true },
	{ TSS_NEW + 0x54, GONE, 11, GONE, true },
	{ TSS_NEW + 0x58, 0x14, 10, 0x14, true },		/* FS, in the LDT */
	{ TSS_NEW + 0x5c, END, 10, END, true },
};

START_TEST(test_faults)
{
	const struct wrong *w = &wrongs[_i];
	int ext;

	for (ext = 0; ext < 2; ext++) {
		teardown();
		setup();
		wr(w->at, w->val);
		if (ext)
			t = (struct emul_task){ .selector = NEW, .source = HVX_TASK_GATE,
						.event = 32 | HVX_EVENT_IRQ | HVX_EVENT_VALID };
		expect_fault(&g, go(), w->vector, (w->code & ~3U) | ext);
		ck_assert_uint_eq(g.ctx.dirty, w->new ? 3 : 0);
		ck_assert_uint_eq(g.sregs.tr.selector, w->new ? NEW : OLD);
		ck_assert_uint_eq(g.regs.rip, w->new ? 0x8000 : 0x7000);
		ck_assert_uint_eq(type_of(OLD), w->new && !ext ? 0x89 : 0x8b);
		/* What is left can be entered: CS and SS are usable, and of one CPL. */
		ck_assert(!(g.sregs.cs.attr & HVX_SEG_UNUSABLE) && !(g.sregs.ss.attr & HVX_SEG_UNUSABLE));
		ck_assert_uint_eq(HVX_SEG_DPL(g.sregs.ss.attr), g.sregs.cpl);
	}
}
END_TEST

START_TEST(test_selectors)
{
	unsigned int i;
	static const uint16_t bad[] = { 0, 3, NEW | 4, END, 0xfff8, CODE };

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		t.selector = bad[i];
		expect_fault(&g, go(), 13, bad[i] & ~3U);
		t.source = HVX_TASK_IRET;
		expect_fault(&g, go(), 10, bad[i] & ~3U);
		t.source = HVX_TASK_JMP;
	}
	/* IRET goes to a busy one only. */
	t.selector = NEW;
	t.source = HVX_TASK_IRET;
	expect_fault(&g, go(), 10, NEW);
	/* Beyond CS: #GP of the new task. */
	t.source = HVX_TASK_JMP;
	guest_wr(&g, GDT + CODE, 8, DESC(0, 0x7fffU, 0x409b));
	expect_fault(&g, go(), 13, 0);
	ck_assert_uint_eq(g.ctx.dirty, 3);
	/* None there in long mode, nor in real mode. */
	g.sregs.efer = T_EFER_LMA;
	ck_assert_int_eq(go(), EMUL_UNHANDLED);
	g.sregs.efer = 0;
	g.sregs.cr0 = 0;
	ck_assert_int_eq(go(), EMUL_UNHANDLED);
}
END_TEST

/* SDM vol. 3 table "Conditions for Generating a Double Fault", with #TS for the second. */
START_TEST(test_double_fault)
{
	static const struct { uint8_t first; int result, vector; } pairs[] = {
		{ 0, EMUL_FAULT, 8 }, { 3, EMUL_FAULT, 10 }, { 6, EMUL_FAULT, 10 }, { 10, EMUL_FAULT, 8 },
		{ 13, EMUL_FAULT, 8 }, { 14, EMUL_FAULT, 8 }, { 8, EMUL_SHUTDOWN, 0 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		wr(GDT + NEW, TSS_NEW << 16 | 0x10);
		t = (struct emul_task){ .selector = NEW, .source = HVX_TASK_GATE,
					.event = pairs[i].first | HVX_EVENT_EXC | HVX_EVENT_VALID };
		ck_assert_int_eq(go(), pairs[i].result);
		if (pairs[i].vector)
			ck_assert_int_eq(g.ctx.vector, pairs[i].vector);
		ck_assert_uint_eq(g.ctx.dirty, 0);
	}
}
END_TEST

/* Whatever is in memory: nothing out of bounds, and soon done. */
START_TEST(test_random)
{
	unsigned int i, n;

	srandom(_i);
	for (n = 0; n < 200; n++) {
		teardown();
		setup();
		for (i = 0; i < 12; i++)
			g.ram[GDT + random() % (TSS_16 + 0x40 - GDT)] = random();
		for (i = random() % 4; i; i--)
			((uint8_t *)&g.sregs)[random() % sizeof(g.sregs)] = random();
		g.sregs.cr0 |= T_CR0_PE;
		g.races = random() % 3 ? 0 : 200;
		g.regs.rflags = (random() & 0x244fd5) | 2;
		t = (struct emul_task){ .selector = random() % 2 ? NEW : random(), .source = random() & 3,
					.insn_len = random() % 16,
					.event = random() % 2 ? 0 : (random() & 0xfff) | HVX_EVENT_VALID };
		go();
		ck_assert_uint_le(g.accesses, 20000);
		g.accesses = 0;
	}
}
END_TEST

TCase *emul_task_cases(void)
{
	TCase *tc = tcase_create("tasks");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_jmp);
	tcase_add_test(tc, test_call_and_iret);
	tcase_add_test(tc, test_gate);
	tcase_add_test(tc, test_16_bit);
	tcase_add_test(tc, test_cr3);
	tcase_add_test(tc, test_page_fault_before);
	tcase_add_test(tc, test_vm86);
	tcase_add_test(tc, test_user_and_trap);
	tcase_add_loop_test(tc, test_faults, 0, sizeof(wrongs) / sizeof(wrongs[0]));
	tcase_add_test(tc, test_selectors);
	tcase_add_test(tc, test_double_fault);
	tcase_add_loop_test(tc, test_random, 0, 16);
	return tc;
}
