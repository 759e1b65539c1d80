// SPDX-License-Identifier: GPL-2.0-only
/* units: tests/uapi/tg.c vmm/cpu_host.c vmm/cpu_feature.c vmm/emul.c vmm/emul_decode.c vmm/emul_walk.c vmm/emul_mem.c vmm/emul_alu.c vmm/emul_bits.c vmm/emul_mov.c vmm/emul_stack.c vmm/emul_task.c vmm/emul_string.c vmm/emul_sse.c */
/*
 * 32-bit guests that switch tasks by hardware. AMD-V does it itself; on VT-x each
 * switch is an HVX_EXIT_TASK_SWITCH that the VMM's emulator serves. The guests
 * must see the same.
 */
#include "guest.h"
#include "vmm/emul.h"

#define TSS_MAIN	0x5000
#define TSS_OTHER	0x6000
#define OTHER		(TG_CODE + 0x100)
/* In the page of the code, which is mapped: TCG cannot do a switch again that made an exit half-way. */
#define OTHER_STACK	(TG_CODE + 0xf00)
#define TSS_THIRD	(TG_CODE + 0x800)
#define SEL_MAIN	0x18
#define SEL_OTHER	0x20

static unsigned int exits;	/* HVX_EXIT_TASK_SWITCH of the guest, and the last one's words */
static struct hvx_exit_task_switch last;
static uint32_t last_event;

/* ------------------------------------------------------------------- the VMM */

static int mem_read(void *opaque, uint64_t gpa, void *buf, unsigned int len)
{
	struct tg *g = opaque;

	if (gpa > g->mem_size - len)
		return -1;
	memcpy(buf, g->mem + gpa, len);
	return 0;
}

static int mem_write(void *opaque, uint64_t gpa, const void *buf, unsigned int len)
{
	struct tg *g = opaque;

	if (gpa > g->mem_size - len)
		return -1;
	memcpy(g->mem + gpa, buf, len);
	return 0;
}

static enum emul_cmpxchg mem_cmpxchg(void *opaque, uint64_t gpa, const void *expected, const void *desired,
				     unsigned int len)
{
	struct tg *g = opaque;

	if (gpa > g->mem_size - len || memcmp(g->mem + gpa, expected, len))
		return EMUL_CMPXCHG_NOT_RAM;
	memcpy(g->mem + gpa, desired, len);
	return EMUL_CMPXCHG_DONE;
}

static const struct emul_ops ops = {
	.read_phys = mem_read, .write_phys = mem_write, .cmpxchg_phys = mem_cmpxchg,
};

static void serve(struct tg *g)
{
	struct hvx_run *run = g->v[0].run;
	struct emul_ctx ctx = { .regs = &run->regs, .sregs = &run->sregs, .ops = &ops, .opaque = g };
	struct emul_task t = {
		.selector = run->task_switch.selector, .source = run->task_switch.source,
		.insn_len = run->task_switch.insn_len,
		.event = run->events.injected, .error_code = run->events.injected_code,
	};
	int r;

	CHECK_EQ(run->valid, 7);
	last = run->task_switch;
	last_event = run->events.injected;
	exits++;
	r = emul_task_switch(&ctx, &run->sregs, &t);
	run->events.injected = 0;
	if (last.source == HVX_TASK_IRET)
		run->events.nmi_masked = 0;
	if (r == EMUL_FAULT) {
		run->events.exception = ctx.vector | HVX_EVENT_EXC | HVX_EVENT_HAS_CODE | HVX_EVENT_VALID;
		run->events.exception_code = ctx.error_code;
		run->events.exception_payload = ctx.cr2;
	} else {
		CHECK_EQ(r, EMUL_OK);
	}
	run->dirty = ctx.dirty | 1U << HVX_STATE_EVENTS;
}

static void run_to_halt(struct tg *g)
{
	int r;

	do {
		r = tg_run_on(g, 0);
		if (r == HVX_EXIT_TASK_SWITCH)
			serve(g);
	} while (r == HVX_EXIT_TASK_SWITCH);
	CHECK_EQ(r, HVX_EXIT_HALTED);
}

/* ------------------------------------------------------------------ the guest */

static bool is_vmx(const struct tg *g)
{
	return !strcmp(g->info.backend, "vmx");
}

static uint32_t word(struct tg *g, uint32_t at)
{
	uint32_t val;

	memcpy(&val, g->mem + at, sizeof(val));
	return val;
}

static void gate(struct tg *g, unsigned int vector, uint16_t sel, uint32_t offset, uint8_t attr)
{
	const uint16_t desc[] = { (uint16_t)offset, sel, (uint16_t)(attr << 8), (uint16_t)(offset >> 16) };

	memcpy(g->mem + TG_IDT + 8 * vector, desc, sizeof(desc));
}

/* Two tasks, code of the second at OTHER, and an empty IDT. */
static void new_tasks(struct tg *g, const uint8_t *code, size_t len, const uint8_t *other, size_t other_len)
{
	const uint64_t gdt[] = {
		0, 0x00cf9b000000ffff, 0x00cf93000000ffff,
		0x00008b0000000067 | TSS_MAIN << 16, 0x0000890000000067 | TSS_OTHER << 16,
	};
	struct hvx_sregs s;

	exits = 0;
	tg_new(g, HVX_VM_EXIT_HLT, code, len);
	tg_protected(g, 0);
	memcpy(g->mem + OTHER, other, other_len);
	memcpy(g->mem + TG_GDT, gdt, sizeof(gdt));
	memset(g->mem + TG_IDT, 0, 0x800);
	memcpy(g->mem + TSS_OTHER + 0x20, (uint32_t []){ OTHER, 2 }, 8);
	memcpy(g->mem + TSS_OTHER + 0x38, (uint32_t []){ OTHER_STACK }, 4);
	memcpy(g->mem + TSS_OTHER + 0x48, (uint32_t []){ 0x10, 0x08, 0x10, 0x10 }, 16);
	CHECK(!tg_get(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.gdtr = (struct hvx_dtable) { .base = TG_GDT, .limit = sizeof(gdt) - 1 };
	s.idtr = (struct hvx_dtable) { .base = TG_IDT, .limit = 0x7ff };
	s.tr = (struct hvx_segment) { .base = TSS_MAIN, .limit = 0x67, .selector = SEL_MAIN,
				      .attr = HVX_SEG_P | 0xb };
	CHECK(!tg_set(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
}

static uint16_t task(struct tg *g)
{
	struct hvx_sregs s;

	CHECK(!tg_get(g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	return s.tr.selector;
}

#define START(g, a, b)	new_tasks(g, a, GUEST_LEN(a), b, GUEST_LEN(b))

/* ------------------------------------------------------------------- the cases */

GUEST32(g_jmp, "mov $0x77, %ebx\nljmp $0x20, $0\nhlt\n");
GUEST32(g_halt, "smsw %eax\nhlt\n");

static void jmp(void)
{
	struct tg g;

	START(&g, g_jmp, g_halt);
	run_to_halt(&g);
	CHECK_EQ(exits, is_vmx(&g));
	CHECK(!exits || (last.source == HVX_TASK_JMP && last.selector == SEL_OTHER && last.insn_len == 7));
	CHECK_EQ(task(&g), SEL_OTHER);
	CHECK_EQ(tg_reg(&g, 0, 0) & 8, 8);	/* CR0.TS */
	CHECK_EQ(word(&g, TSS_MAIN + 0x20), TG_CODE + GUEST_LEN(g_jmp) - 1);
	CHECK_EQ(word(&g, TSS_MAIN + 0x34), 0x77);
	CHECK_EQ(g.mem[TG_GDT + SEL_MAIN + 5], 0x89);
	CHECK_EQ(g.mem[TG_GDT + SEL_OTHER + 5], 0x8b);
	tg_free(&g);
}

GUEST32(g_call, "1: lcall $0x20, $0\ninc %ebx\ncmp $3, %ebx\njne 1b\nint $0x30\nhlt\n");
GUEST32(g_iret, "1: inc %ecx\niret\njmp 1b\n");

/* There and back by CALL, and by INT n through a task gate: each side goes on where it was. */
static void call_iret(void)
{
	struct tg g;

	START(&g, g_call, g_iret);
	gate(&g, 0x30, SEL_OTHER, 0, 0x85);
	tg_set_reg(&g, 0, 3, 0);
	run_to_halt(&g);
	CHECK_EQ(exits, is_vmx(&g) ? 8 : 0);
	CHECK_EQ(tg_reg(&g, 0, 16), TG_CODE + GUEST_LEN(g_call));
	CHECK_EQ(tg_reg(&g, 0, 17) & 0x4000, 0);
	CHECK_EQ(task(&g), SEL_MAIN);
	CHECK_EQ(word(&g, TSS_OTHER + 0x2c), 4);	/* ECX: rounds */
	CHECK_EQ(word(&g, TSS_OTHER) & 0xffff, SEL_MAIN);
	CHECK_EQ(g.mem[TG_GDT + SEL_MAIN + 5], 0x8b);
	CHECK_EQ(g.mem[TG_GDT + SEL_OTHER + 5], 0x89);
	tg_free(&g);
}

GUEST32(g_gp, "mov $0x50, %eax\nmov %ax, %ds\nhlt\n");
GUEST32(g_code, "pop %edx\nhlt\n");

/* #GP through a task gate: its error code is on the other task's stack. */
static void error_code(void)
{
	struct tg g;

	START(&g, g_gp, g_code);
	gate(&g, 13, SEL_OTHER, 0, 0x85);
	run_to_halt(&g);
	CHECK_EQ(exits, is_vmx(&g));
	CHECK(!exits || (last.source == HVX_TASK_GATE && !last.insn_len));
	CHECK(!exits || last_event == (13 | HVX_EVENT_EXC | HVX_EVENT_HAS_CODE | HVX_EVENT_VALID));
	CHECK_EQ(tg_reg(&g, 0, 2), 0x50);
	CHECK_EQ(tg_reg(&g, 0, 4), OTHER_STACK);
	CHECK_EQ(word(&g, TSS_MAIN + 0x20), TG_CODE + 5);
	tg_free(&g);
}

/* What task gates are for: a double fault, here of a #GP that no gate takes. */
static void double_fault(void)
{
	struct tg g;

	START(&g, g_gp, g_code);
	gate(&g, 8, SEL_OTHER, 0, 0x85);
	run_to_halt(&g);
	CHECK_EQ(exits, is_vmx(&g));
	CHECK_EQ(task(&g), SEL_OTHER);
	CHECK_EQ(tg_reg(&g, 0, 2), 0);
	CHECK_EQ(tg_reg(&g, 0, 4), OTHER_STACK);
	tg_free(&g);
}

GUEST32(g_nmi, "nop\nhlt\n");

/* An NMI's task: IRET back lets the next NMI in. */
static void nmi(void)
{
	struct tg g;
	int i;

	START(&g, g_nmi, g_iret);
	gate(&g, 2, SEL_OTHER, 0, 0x85);
	for (i = 1; i <= 3; i++) {
		tg_set_reg(&g, 0, 16, TG_CODE);
		CHECK(!ioctl(g.v[0].fd, HVX_NMI, 0));
		run_to_halt(&g);
		CHECK_EQ(word(&g, TSS_OTHER + 0x2c), i);
	}
	CHECK_EQ(exits, is_vmx(&g) ? 6 : 0);
	CHECK_EQ(task(&g), SEL_MAIN);
	tg_free(&g);
}

GUEST32(g_ts, "lcall $0x20, $0\nhlt\n");
GUEST32(g_ts_handler, "pop %edx\nhlt\n");

/* The new task has no stack segment: #TS, which it takes itself, through a task gate of its own. */
static void bad_task(void)
{
	const uint64_t third = 0x0000890000000067 | TSS_THIRD << 16;
	struct hvx_sregs s;
	struct tg g;

	START(&g, g_ts, g_ts_handler);
	CHECK(!tg_get(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	s.gdtr.limit += 8;
	CHECK(!tg_set(&g, 0, HVX_STATE_SREGS, &s, sizeof(s)));
	memcpy(g.mem + TG_GDT + 0x28, &third, sizeof(third));
	memcpy(g.mem + TSS_THIRD, g.mem + TSS_OTHER, 0x68);
	memset(g.mem + TSS_OTHER + 0x50, 0, 4);
	gate(&g, 10, 0x28, 0, 0x85);
	run_to_halt(&g);
	CHECK_EQ(exits, is_vmx(&g) ? 2 : 0);
	CHECK_EQ(task(&g), 0x28);
	CHECK_EQ(word(&g, TSS_THIRD) & 0xffff, SEL_OTHER);
	CHECK_EQ(tg_reg(&g, 0, 2) & ~1U, 0);
	tg_free(&g);
}

static const struct tg_test tests[] = {
	TG_TEST(jmp),
	TG_TEST(call_iret),
	TG_TEST(error_code),
	TG_TEST(double_fault),
	TG_TEST(nmi),
	TG_TEST(bad_task),
};

int main(int argc, char **argv)
{
	return tg_main(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
