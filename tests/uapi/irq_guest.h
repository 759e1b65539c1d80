/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of interrupts share: handlers, a guest in long mode that has them, and messages to it. */
#ifndef HVX_TESTS_IRQ_GUEST_H
#define HVX_TESTS_IRQ_GUEST_H

#include "guest.h"
#include "vmm/cpu.h"

/* A handler for each vector: says it, EOIs by x2APIC MSR, drops the error code. */
#define HANDLERS	0x3000
#define HANDLER_SIZE	64
extern const uint8_t handlers[], handlers_end[];
asm(".pushsection .rodata\nhandlers:\n"
    "v = 0\n"
    ".rept 256\n"
    ".balign 64, 0x90\n"
    "push %rax\npush %rcx\npush %rdx\n"
    "mov $v, %al\nout %al, $0x10\n"
    ".if v >= 32\nwr 0x80b 0\n.endif\n"
    "pop %rdx\npop %rcx\npop %rax\n"
    ".if v == 8 || (v >= 10 && v <= 14) || v == 17\nadd $8, %rsp\n.endif\n"
    "iretq\n"
    "v = v + 1\n"
    ".endr\n.balign 64, 0x90\nhandlers_end:\n.popsection");

/* CPUID as this host has it, with these paravirtual features. */
static inline void add_pv_leaf(struct tg *g, unsigned int id, uint32_t features)
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

static inline void start(struct tg *g, const uint8_t *code, const uint8_t *end, uint32_t pv)
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

static inline void *run_ap(void *arg)
{
	return (void *)(long)tg_said(arg, 1);
}

/* Says 1 once it takes interrupts; then halts. */
GUEST(g_wait, "x2apic\nsay 1\n2: sti\nhlt\njmp 2b\n");

#define TO_CPU0	0xfee00000ULL	/* a message to id 0, physical */

/* How many took it, or -1. */
static inline int msi(struct tg *g, uint64_t address, uint32_t data)
{
	struct hvx_msi m = { .address = address, .data = data };

	return ioctl(g->vm, HVX_SIGNAL_MSI, &m);
}

#endif
