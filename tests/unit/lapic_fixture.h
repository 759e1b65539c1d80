/* SPDX-License-Identifier: GPL-2.0-only */
/* What the local APIC's unit tests share: a VM of up to 64 local APICs, each made on demand, and a clock. */
#ifndef LAPIC_FIXTURE_H
#define LAPIC_FIXTURE_H

#include <check.h>
#include <stdlib.h>

#include "../../kmod/irq/lapic.h"

#define OFF(reg)	((reg) * 16)
#define REG(a, reg)	((a)->regs[(reg) * 4])
#define TIMER		(AREG_LVT + LVT_TIMER)

/* What the registers asked of the module. */
extern struct lapic_did {
	int resamples;
	u8 vector;
} did;

extern struct hvx_vm vm;
extern struct hvx_vcpu vcpus[HVX_MAX_VCPUS];

u32 mmio_read(struct hvx_lapic *a, u32 offset);
void mmio_write(struct hvx_lapic *a, u32 offset, u32 val);
struct hvx_lapic *new_apic(u32 id);
int msr_write(struct hvx_lapic *a, u32 reg, u64 val);
int msr_read(struct hvx_lapic *a, u32 reg, u64 *val);
void enable(struct hvx_lapic *a);
void set_base(struct hvx_lapic *a, u64 bits);
struct hvx_lapic *new_enabled(u32 id);
struct hvx_lapic *new_x2(u32 id);
int eoi_exit(struct hvx_lapic *a);
int take(struct hvx_lapic *a);
unsigned long requested(u8 vector);
unsigned long sent(u64 icr);
unsigned long logical_dest(u32 dest);
u32 run_timer(struct hvx_lapic *a);
u64 deadline(struct hvx_lapic *a);
void set_deadline(struct hvx_lapic *a, u64 tsc);

/* Run the tests, each with a VM of its own; main()'s status. */
int lapic_run(const char *name, const TTest *const *tests, unsigned int count);
#define LAPIC_MAIN(name, ...)							\
int main(void)									\
{										\
	const TTest *const tests[] = { __VA_ARGS__ };				\
										\
	return lapic_run(name, tests, sizeof(tests) / sizeof(tests[0]));	\
}

#endif
