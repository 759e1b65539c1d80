// SPDX-License-Identifier: GPL-2.0-only
/* MSRs without effect: SDM vol. 4, and the BIOS and kernel developer's guides of AMD's families. */
#include <cpuid.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "msr.h"

#define MTRR_VARS		8
#define MTRR_CAP		(MTRR_VARS | 1 << 8 | 1 << 10)	/* fixed ranges, write-combining */
#define MTRR_DEF_WB		(6 | 1 << 10 | 1 << 11)
#define MTRR_FIXED_WB		0x0606060606060606ULL
#define MCG_CAP			(1 | 1 << 8)	/* one bank; MCG_CTL exists */
#define MISC_FAST_STRING	1		/* may be switched */
#define MISC_NO_BTS_PEBS	(1 << 11 | 1 << 12)
#define HWCR_RESET		(1 << 24)	/* the TSC counts at the P0 frequency */
#define DE_CFG_RESET		(1 << 1)	/* LFENCE serialises */
#define VM_CR_NO_SVM		(1 << 3 | 1 << 4)	/* SVM disabled and locked */

enum kind {
	CONST,			/* reads as .value; writes within .mask are ignored */
	WRITE_ONLY,		/* the same, but a read is #GP */
	MICROCODE,
	/* The rest lie in kept[] and start with .value; with rules of their own: */
	KEPT,
	KEPT_MISC_ENABLE, KEPT_MTRR, KEPT_MC0,
};

/* Indices in kept[]. */
enum {
	AT_MTRR_FIXED,
	AT_MTRR_VAR = AT_MTRR_FIXED + 11,
	AT_MTRR_DEF = AT_MTRR_VAR + 2 * MTRR_VARS,
	AT_MCG_STATUS,
	AT_MCG_CTL,
	AT_MC0,			/* CTL, STATUS, ADDR, MISC */
	AT_MISC_ENABLE = AT_MC0 + 4,
	AT_HWCR,
	AT_DE_CFG,
	AT_WALL_CLOCK,
	AT_NR
};
_Static_assert(AT_NR <= MSR_KEPT, "room");

struct msr_row {
	uint32_t first, last;
	uint8_t kind;
	uint8_t at;		/* index in kept[] */
	uint64_t mask;		/* bits that a write may have, else #GP; 0: read-only */
	uint64_t value;		/* constant, or at power-up */
};
#define ONE(i)		(i), (i)
#define ANY		(~0ULL)
#define IGNORED		CONST, 0, ANY, 0	/* reads as zero */

/*
 * Left out on purpose, so that guests see that they are not there: the
 * speculation controls (LS_CFG's SSBD bit would be believed), P-states,
 * MPERF/APERF, and Hyper-V's 0x40000000 on.
 */
static const struct msr_row rows[] = {
	{ 0x00, 0x01, IGNORED },			/* P5 machine check */
	{ ONE(MSR_WALL_CLOCK), KEPT, AT_WALL_CLOCK, ~3ULL, 0 },
	{ ONE(0x17), CONST, 0, 0, 0 },			/* platform id */
	{ ONE(0x2a), IGNORED },				/* EBL_CR_POWERON */
	{ ONE(0x34), IGNORED },				/* SMI_COUNT */
	{ ONE(0x3a), CONST, 0, 0, 1 },			/* FEATURE_CONTROL: locked, all off */
	{ ONE(0x79), WRITE_ONLY, 0, ANY, 0 },		/* microcode update */
	{ ONE(0x8b), MICROCODE, 0, ANY, 0 },
	{ 0xc1, 0xc2, IGNORED },			/* P6 counters */
	{ ONE(0xce), CONST, 0, 0, 0 },			/* PLATFORM_INFO */
	{ ONE(0xfe), CONST, 0, 0, MTRR_CAP },
	{ ONE(0x140), IGNORED },			/* MISC_FEATURES_ENABLES */
	{ ONE(0x179), CONST, 0, 0, MCG_CAP },
	{ ONE(0x17a), KEPT, AT_MCG_STATUS, 7, 0 },
	{ ONE(0x17b), KEPT, AT_MCG_CTL, ANY, ANY },
	{ 0x186, 0x187, IGNORED },			/* P6 event selects */
	{ 0x198, 0x199, IGNORED },			/* PERF_STATUS, _CTL */
	{ ONE(0x1a0), KEPT_MISC_ENABLE, AT_MISC_ENABLE, ANY, MISC_FAST_STRING | MISC_NO_BTS_PEBS },
	{ ONE(0x1ad), IGNORED },			/* TURBO_RATIO_LIMIT */
	/* LBR and BTF are asked for by debuggers and have no effect. */
	{ ONE(0x1d9), CONST, 0, 3, 0 },			/* DEBUGCTL */
	{ 0x1db, 0x1de, CONST, 0, 0, 0 },		/* last branch, last interrupt */
	{ 0x200, 0x200 + 2 * MTRR_VARS - 1, KEPT_MTRR, AT_MTRR_VAR, ANY, 0 },
	{ ONE(0x250), KEPT_MTRR, AT_MTRR_FIXED, ANY, MTRR_FIXED_WB },
	{ 0x258, 0x259, KEPT_MTRR, AT_MTRR_FIXED + 1, ANY, MTRR_FIXED_WB },
	{ 0x268, 0x26f, KEPT_MTRR, AT_MTRR_FIXED + 3, ANY, MTRR_FIXED_WB },
	{ ONE(0x2ff), KEPT_MTRR, AT_MTRR_DEF, 0xcff, MTRR_DEF_WB },
	{ 0x400, 0x403, KEPT_MC0, AT_MC0, ANY, 0 },
	{ ONE(0x606), IGNORED },			/* RAPL_POWER_UNIT */
	{ ONE(0x611), IGNORED },			/* PKG_ENERGY_STATUS */
	{ ONE(0x619), IGNORED },			/* DRAM_ENERGY_STATUS */
	{ ONE(MSR_WALL_CLOCK_NEW), KEPT, AT_WALL_CLOCK, ~3ULL, 0 },
	{ 0xc0010000, 0xc0010007, IGNORED },		/* event selects and counters */
	{ ONE(0xc0010010), IGNORED },			/* SYSCFG */
	{ ONE(0xc0010015), KEPT, AT_HWCR, ANY, HWCR_RESET },
	{ ONE(0xc001001a), IGNORED },			/* TOP_MEM */
	{ ONE(0xc001001d), IGNORED },			/* TOP_MEM2 */
	{ ONE(0xc001001f), IGNORED },			/* NB_CFG */
	{ ONE(0xc0010020), WRITE_ONLY, 0, ANY, 0 },	/* microcode update */
	{ ONE(0xc0010055), IGNORED },			/* interrupt pending and C1E */
	{ ONE(0xc0010058), IGNORED },			/* MMIO configuration base */
	{ 0xc0010112, 0xc0010113, IGNORED },		/* TSEG base and mask */
	{ ONE(0xc0010114), CONST, 0, ANY, VM_CR_NO_SVM },
	{ ONE(0xc0010117), IGNORED },			/* VM_HSAVE_PA */
	{ 0xc0010140, 0xc0010141, IGNORED },		/* OSVW */
	{ 0xc0011022, 0xc0011023, IGNORED },		/* DC_CFG, BU_CFG */
	{ ONE(0xc0011029), KEPT, AT_DE_CFG, ANY, DE_CFG_RESET },
	{ ONE(0xc001102a), IGNORED },			/* BU_CFG2 */
	{ ONE(0xc001102c), IGNORED },			/* EX_CFG */
};

#define NR_ROWS		(sizeof(rows) / sizeof(rows[0]))

static const struct msr_row *find_row(uint32_t index)
{
	size_t i;

	for (i = 0; i < NR_ROWS; i++)
		if (index >= rows[i].first && index <= rows[i].last)
			return &rows[i];
	return NULL;
}

static uint64_t host_microcode(void)
{
	unsigned int eax, ebx, ecx, edx, rev = 0;
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "microcode : %x", &rev) == 1)
			break;
	if (f)
		fclose(f);
	/* AMD shows it in the lower half, Intel in the upper. */
	return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ecx == signature_INTEL_ecx ?
	       (uint64_t)rev << 32 : rev;
}

void msr_init(struct msr_store *s)
{
	s->microcode = host_microcode();
	msr_power_on(s);
}

void msr_power_on(struct msr_store *s)
{
	uint32_t n;
	size_t i;

	/* SDM vol. 3 table 9-1, and MTRRs as firmware leaves them for RAM. */
	for (i = 0; i < NR_ROWS; i++)
		for (n = 0; rows[i].kind >= KEPT && n <= rows[i].last - rows[i].first; n++)
			s->kept[rows[i].at + n] = rows[i].value;
}

/* SDM vol. 3 "Memory Type Range Registers": types, and the bits that exist in variable ranges. */
static bool mtrr_ok(uint32_t index, uint64_t val, unsigned int phys_bits)
{
	bool variable = index < 0x250, mask = variable && (index & 1);
	unsigned int i, types = variable ? !mask : index == 0x2ff ? 1 : 8;
	uint64_t address = ((1ULL << phys_bits) - 1) & ~0xfffULL;

	for (i = 0; i < types; i++) {	/* UC, WC, WT, WP, WB */
		unsigned int type = val >> i * 8 & 0xff;

		if (type > 7 || !(0x73 >> type & 1))
			return false;
	}
	return !variable || !(val & ~(address | (mask ? 1 << 11 : 0xff)));
}

bool msr_read(const struct msr_store *s, uint32_t index, uint64_t *val)
{
	const struct msr_row *row = find_row(index);

	if (!row || row->kind == WRITE_ONLY)
		return false;
	*val = row->kind == CONST ? row->value :
	       row->kind == MICROCODE ? s->microcode : s->kept[row->at + index - row->first];
	return true;
}

bool msr_write(struct msr_store *s, unsigned int phys_bits, uint32_t index, uint64_t val)
{
	const struct msr_row *row = find_row(index);

	if (!row || !row->mask || (val & ~row->mask))
		return false;
	switch (row->kind) {
	case CONST:
	case WRITE_ONLY:
	case MICROCODE:
		return true;
	case KEPT_MISC_ENABLE:
		val = (val & MISC_FAST_STRING) | MISC_NO_BTS_PEBS;
		break;
	case KEPT_MTRR:
		if (!mtrr_ok(index, val, phys_bits))
			return false;
		break;
	case KEPT_MC0:
		/* CTL takes anything, the others only zero: no error is ever logged. */
		if (index != row->first && val)
			return false;
		break;
	}
	s->kept[row->at + index - row->first] = val;
	return true;
}

#define MSR_MICROCODE	0x8b

unsigned int msr_save(const struct msr_store *s, uint32_t *index, uint64_t *val)
{
	uint64_t done = 0;	/* two rows can share a place */
	unsigned int n = 0;
	uint32_t i;
	size_t r;

	_Static_assert(AT_NR <= 64, "a bit for each");
	for (r = 0; r < NR_ROWS; r++) {
		for (i = 0; rows[r].kind >= KEPT && i <= rows[r].last - rows[r].first; i++) {
			unsigned int at = rows[r].at + i;

			if (done >> at & 1)
				continue;
			done |= 1ULL << at;
			index[n] = rows[r].first + i;
			val[n++] = s->kept[at];
		}
	}
	index[n] = MSR_MICROCODE;
	val[n++] = s->microcode;
	return n;
}

bool msr_load(struct msr_store *s, unsigned int phys_bits, uint32_t index, uint64_t val)
{
	const struct msr_row *row = find_row(index);

	if (index == MSR_MICROCODE) {
		s->microcode = val;
		return true;
	}
	return row && row->kind >= KEPT && msr_write(s, phys_bits, index, val);
}
