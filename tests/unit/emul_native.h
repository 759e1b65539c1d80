/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs instruction bytes on the real CPU in this process and in the emulator,
 * from the same state, and compares what comes out.
 */
#ifndef HVX_TESTS_EMUL_NATIVE_H
#define HVX_TESTS_EMUL_NATIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <check.h>

#define FLAG_CF		0x001ULL
#define FLAG_PF		0x004ULL
#define FLAG_AF		0x010ULL
#define FLAG_ZF		0x040ULL
#define FLAG_SF		0x080ULL
#define FLAG_DF		0x400ULL
#define FLAG_OF		0x800ULL
#define FLAGS_ARITH	0x8d5ULL

#define BUF_SIZE	8192	/* memory operands */
#define STACK_SIZE	4096	/* follows them */
#define MEM_SIZE	(BUF_SIZE + STACK_SIZE)

struct cpu {
	uint64_t gpr[16];
	uint64_t flags;
	uint8_t ymm[16][32];
};

/* Everything native code may touch, in the low 2 GiB so that any address form reaches it. */
struct native_area {
	uint8_t code[4096];
	struct cpu in, out;
	uint64_t host_rsp;
	uint8_t pad[4096 - 2 * sizeof(struct cpu) - 8];
	uint8_t mem[MEM_SIZE];
};

struct native {
	struct native_area *area;
	bool avx;
	uint64_t gs_base;
	unsigned int cases, faults;
};

extern struct native nat;

void native_setup(void);
/* Where the bytes under test will be; the code after them is the way out. */
uint64_t native_insn_addr(void);

/* One comparison. undef: flags not compared; undef_gpr: bit n = register n not compared. */
struct trial {
	const char *name;
	uint8_t insn[16];
	int len;
	struct cpu in;
	uint64_t undef;
	uint32_t undef_gpr;
};

/* Memory (area->mem) is taken as it stands. Fails the test on a difference. */
void native_compare(const struct trial *t);

/* Fixed-seed generator; the same sequence in every run. */
void rnd_seed(uint64_t seed);
uint64_t rnd(void);
unsigned int rnd_below(unsigned int n);
uint64_t rnd_value(void);	/* prefers the edges */

TCase *emul_native_cases(void);

#endif
