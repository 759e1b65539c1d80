/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a debugger does to the guest. All vCPUs are parked and the machine lock is
 * held, but for gdb_is_ours().
 */
#ifndef HVX_VMM_GDB_TARGET_H
#define HVX_VMM_GDB_TARGET_H

#include "gdb_regs.h"
#include "machine.h"

#define GDB_MAX_BREAK	1024	/* software breakpoints */
#define GDB_MAX_HW	4	/* debug registers */

enum gdb_hw { GDB_HW_EXEC = 0, GDB_HW_WRITE = 1, GDB_HW_ACCESS = 3 };	/* as in DR7 */

struct gdb_break {
	uint64_t address;	/* linear, as GDB gave it */
	uint64_t gpa;
	uint8_t was;		/* the byte under the INT3 */
};

struct gdb_target {
	struct machine *m;
	unsigned int nr_breaks;
	struct gdb_break brk[GDB_MAX_BREAK];
	struct { bool used; enum gdb_hw type; unsigned int len; uint64_t address; } hw[GDB_MAX_HW];
};

/* Registers of a vCPU, read and written back. 0 or -errno. */
int gdb_load(struct vcpu *v, struct gdb_cpu *c);
int gdb_store(struct vcpu *v, const struct gdb_cpu *c);

/* Guest memory by the vCPU's linear addresses; protection and dirty bits do not count. 0 or -EFAULT. */
int gdb_memory(struct vcpu *v, uint64_t address, void *buf, size_t len, bool write);

/* 0, -EEXIST where it is there, -ENOSPC, -EFAULT, -EINVAL. */
int gdb_break_add(struct gdb_target *t, struct vcpu *v, uint64_t address);
int gdb_break_del(struct gdb_target *t, uint64_t address);
int gdb_hw_add(struct gdb_target *t, enum gdb_hw type, uint64_t address, unsigned int len);
int gdb_hw_del(struct gdb_target *t, enum gdb_hw type, uint64_t address, unsigned int len);
void gdb_break_clear(struct gdb_target *t);

/* Put what is set into force on a vCPU, with or without a step. 0 or -errno. */
int gdb_arm(struct gdb_target *t, struct vcpu *v, bool step);

/* Is there a breakpoint where this vCPU stands? Its thread, machine lock held. */
bool gdb_is_ours(struct gdb_target *t, struct vcpu *v, uint64_t linear);
/* Let the guest have the #BP that its own INT3 raised. The vCPU's thread. */
int gdb_reflect_bp(struct vcpu *v);

#endif
