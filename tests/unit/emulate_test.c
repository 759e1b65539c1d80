// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/emulate.c vmm/emul.c vmm/emul_decode.c vmm/emul_walk.c vmm/emul_mem.c vmm/emul_alu.c vmm/emul_bits.c vmm/emul_mov.c vmm/emul_stack.c vmm/emul_task.c vmm/emul_string.c vmm/emul_sse.c */
/* What the VMM makes of HVX_EXIT_TASK_SWITCH: the run page, the module's calls, and the end of a guest. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpu.h"
#include "vmm/dirty.h"
#include "vmm/emulate.h"

#define GDT	0x1000U
#define TSS_OLD	0x3000U
#define TSS_NEW	0x4000U
#define OLD	0x18
#define NEW	0x20

static uint8_t ram[0x10000];
static struct machine m;
static struct cpu_policy cpu = { .phys_bits = 40 };
static struct vcpu v = { .m = &m };
static struct hvx_run run;
static uint64_t dr7;
static int get_result, set_result, sets;

/* ------------------------------------------------------------- in place of the machine */

_Atomic bool dirty_on;

void dirty_mark_now(const void *hva, size_t len)
{
	(void)hva;
	(void)len;
}

void *guest_ptr(const struct guest_mem *mem, uint64_t gpa, uint64_t len, bool write)
{
	(void)mem;
	(void)write;
	return gpa <= sizeof(ram) - len ? ram + gpa : NULL;
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned int len)
{
	(void)bus;
	(void)addr;
	(void)len;
	return ~0ULL;
}

void bus_write(struct bus *bus, uint64_t addr, unsigned int len, uint64_t val)
{
	(void)bus;
	(void)addr;
	(void)len;
	(void)val;
}

int hv_get_state(struct hv_vcpu *hv, uint32_t group, void *data, uint32_t size)
{
	(void)hv;
	ck_assert_uint_eq(group, HVX_STATE_DEBUGREGS);
	ck_assert_uint_eq(size, sizeof(struct hvx_debugregs));
	memset(data, 0, size);
	((struct hvx_debugregs *)data)->dr7 = dr7;
	return get_result;
}

int hv_set_state(struct hv_vcpu *hv, uint32_t group, const void *data, uint32_t size)
{
	(void)hv;
	ck_assert_uint_eq(group, HVX_STATE_DEBUGREGS);
	ck_assert_uint_eq(size, sizeof(struct hvx_debugregs));
	dr7 = ((const struct hvx_debugregs *)data)->dr7;
	sets++;
	return set_result;
}

/* ----------------------------------------------------------------------- the cases */

static void wr(uint32_t at, uint32_t val)
{
	memcpy(ram + at, &val, sizeof(val));
}

/* A JMP to another task, in flat 32-bit mode. */
static void setup(void)
{
	static const uint64_t gdt[] = {
		0, 0x00cf9b000000ffff, 0x00cf93000000ffff,
		0x00008b0000000067 | (uint64_t)TSS_OLD << 16, 0x0000890000000067 | (uint64_t)TSS_NEW << 16,
	};
	unsigned int i;

	memset(ram, 0, sizeof(ram));
	memcpy(ram + GDT, gdt, sizeof(gdt));
	wr(TSS_NEW + 0x20, 0x8000);
	wr(TSS_NEW + 0x24, 0x202);
	for (i = 0; i < 6; i++)
		wr(TSS_NEW + 0x48 + 4 * i, i == 1 ? 8 : 0x10);
	run = (struct hvx_run){
		.exit_reason = HVX_EXIT_TASK_SWITCH, .sregs = { .cr0 = 0x31 },
		.task_switch = { .selector = NEW, .source = HVX_TASK_JMP, .insn_len = 7 },
		.events = { .interrupt_shadow = HVX_SHADOW_STI, .nmi_masked = 1 },
	};
	run.regs.rip = 0x7000;
	run.regs.rflags = 0x202;
	run.sregs.gdtr = (struct hvx_dtable){ .base = GDT, .limit = sizeof(gdt) - 1 };
	run.sregs.tr = (struct hvx_segment){ .base = TSS_OLD, .limit = 0x67, .selector = OLD, .attr = 0x8b };
	run.sregs.ldtr.attr = HVX_SEG_UNUSABLE;
	for (i = 0; i < 6; i++)
		(&run.sregs.es)[i] = (struct hvx_segment){
			.limit = ~0U, .selector = i == 1 ? 8 : 0x10,
			.attr = (i == 1 ? 0x9b : 0x93) | HVX_SEG_DB | HVX_SEG_G,
		};
	m.cpu = &cpu;
	dr7 = 0x400;
	get_result = set_result = sets = 0;
}

/* An event's delivery led here: its gate is that of a task whose descriptor is no longer good. */
static void cut_short(uint32_t event)
{
	run.task_switch.source = HVX_TASK_GATE;
	run.events.injected = event;
	wr(GDT + NEW, TSS_NEW << 16 | 0x10);
}

START_TEST(test_switch)
{
	ck_assert_int_eq(vcpu_task_switch(&v, &run), 0);
	ck_assert_uint_eq(run.dirty, 7);
	ck_assert_uint_eq(run.regs.rip, 0x8000);
	ck_assert_uint_eq(run.sregs.tr.selector, NEW);
	ck_assert_uint_eq(run.events.interrupt_shadow, 0);
	ck_assert_uint_eq(run.events.nmi_masked, 1);
	ck_assert_uint_eq(run.events.exception, 0);
	ck_assert_int_eq(sets, 0);
}
END_TEST

/* Local breakpoints end with the task; what the module says to that is told. */
START_TEST(test_breakpoints)
{
	dr7 = 0x4ff;
	ck_assert_int_eq(vcpu_task_switch(&v, &run), 0);
	ck_assert_int_eq(sets, 1);
	ck_assert_uint_eq(dr7, 0x4aa);
	setup();
	get_result = -EIO;
	ck_assert_int_eq(vcpu_task_switch(&v, &run), -EIO);
	setup();
	dr7 = 0x401;
	set_result = -EIO;
	ck_assert_int_eq(vcpu_task_switch(&v, &run), -EIO);
}
END_TEST

START_TEST(test_fault)
{
	cut_short(HVX_EVENT_VALID | HVX_EVENT_IRQ | 0x30);
	ck_assert_int_eq(vcpu_task_switch(&v, &run), 0);
	ck_assert_uint_eq(run.dirty, 1U << HVX_STATE_EVENTS);
	ck_assert_uint_eq(run.events.injected, 0);
	ck_assert_uint_eq(run.events.exception & 0xff, 10);
	ck_assert_uint_eq(run.regs.rip, 0x7000);
}
END_TEST

/* A triple fault is the guest's end, not an error of any call: nothing is written back. */
START_TEST(test_shutdown)
{
	const struct hvx_run before = run;

	cut_short(HVX_EVENT_VALID | HVX_EVENT_EXC | HVX_EVENT_HAS_CODE | 8);
	ck_assert_int_eq(vcpu_task_switch(&v, &run), VCPU_SHUTDOWN);
	ck_assert_int_gt(VCPU_SHUTDOWN, 0);
	ck_assert_uint_eq(run.dirty, 0);
	ck_assert_mem_eq(&run.regs, &before.regs, sizeof(run.regs));
	ck_assert_mem_eq(&run.sregs, &before.sregs, sizeof(run.sregs));
}
END_TEST

START_TEST(test_nothing_to_do)
{
	run.sregs.cr0 = 0;
	ck_assert_int_eq(vcpu_task_switch(&v, &run), -ENOSYS);
	ck_assert_uint_eq(run.dirty, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emulate");
	TCase *tc = tcase_create("task switch");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_switch);
	tcase_add_test(tc, test_breakpoints);
	tcase_add_test(tc, test_fault);
	tcase_add_test(tc, test_shutdown);
	tcase_add_test(tc, test_nothing_to_do);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
