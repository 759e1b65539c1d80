/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU's registers as GDB numbers them, and the target description that says
 * so: GDB's features i386.core, i386.sse and i386.segments (GDB manual, "i386
 * Features"), and a feature of our own with the control registers. Pure.
 */
#ifndef HVX_VMM_GDB_REGS_H
#define HVX_VMM_GDB_REGS_H

#include <stdbool.h>
#include <stdint.h>
#include <uapi/hvx.h>

#define GDB_REGS	65
#define GDB_MAX_REG	16	/* bytes of the largest */
#define GDB_ALL_REGS	600	/* bytes of them all */

struct gdb_cpu {
	struct hvx_regs regs;
	struct hvx_sregs sregs;
	uint8_t fx[576];	/* XSAVE area: legacy region and header (SDM vol. 1, 13.4) */
	uint32_t dirty;		/* 1 << HVX_STATE_* */
};

/* Bytes of register n, which is below GDB_REGS. */
unsigned int gdb_reg_size(unsigned int n);
void gdb_reg_get(const struct gdb_cpu *c, unsigned int n, void *out);
/* False: it cannot be given that value (segment selectors). */
bool gdb_reg_set(struct gdb_cpu *c, unsigned int n, const void *in);

/* target.xml; static. */
const char *gdb_target_xml(void);

#endif
