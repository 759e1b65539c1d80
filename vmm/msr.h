/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSRs that neither the CPU nor the module acts on: they come as HVX_EXIT_MSR
 * and hold what was written to them, or read as a constant.
 */
#ifndef HVX_VMM_MSR_H
#define HVX_VMM_MSR_H

#include <stdbool.h>
#include <stdint.h>

#define MSR_KEPT	40

/* Paravirtual: a write asks for the time at which the guest's clock was zero. */
#define MSR_WALL_CLOCK		0x11
#define MSR_WALL_CLOCK_NEW	0x4b564d00

/* One vCPU's. Belongs to its thread, or to who has it parked. */
struct msr_store {
	uint64_t kept[MSR_KEPT];
	uint64_t microcode;	/* the host's, so that the guest judges errata as the host does */
};

void msr_init(struct msr_store *s);		/* opens a file: before the sandbox */
void msr_power_on(struct msr_store *s);
/* False: #GP. phys_bits: the guest's. */
bool msr_read(const struct msr_store *s, uint32_t index, uint64_t *val);
/*
 * What was kept, as index and value, for saving: the count, at most MSR_KEPT + 1.
 * msr_load() takes one back under the rules of a write; false: it cannot be so.
 */
unsigned int msr_save(const struct msr_store *s, uint32_t *index, uint64_t *val);
bool msr_load(struct msr_store *s, unsigned int phys_bits, uint32_t index, uint64_t val);
bool msr_write(struct msr_store *s, unsigned int phys_bits, uint32_t index, uint64_t val);

#endif
