/* SPDX-License-Identifier: GPL-2.0-only */
/* A guest of one vCPU and a little memory, for tests with results worked out by hand. */
#ifndef HVX_TESTS_EMUL_GUEST_H
#define HVX_TESTS_EMUL_GUEST_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "../../vmm/emul.h"

#define RAM_SIZE	0x200000ULL	/* RAM at 0 */
#define MMIO_BASE	0xd0000000ULL	/* a device: 4 KiB that log what is done */
#define MMIO_SIZE	0x1000ULL
#define MAX_LOG		64

/* CR bits and the like, spelled out here on purpose: the test is its own reading of the manual. */
#define T_CR0_PE	0x1ULL
#define T_CR0_EM	0x4ULL
#define T_CR0_TS	0x8ULL
#define T_CR0_WP	0x10000ULL
#define T_CR0_AM	0x40000ULL
#define T_CR0_PG	0x80000000ULL
#define T_CR4_PSE	0x10ULL
#define T_CR4_PAE	0x20ULL
#define T_CR4_OSFXSR	0x200ULL
#define T_CR4_LA57	0x1000ULL
#define T_CR4_OSXSAVE	0x40000ULL
#define T_CR4_SMEP	0x100000ULL
#define T_CR4_SMAP	0x200000ULL
#define T_CR4_PKE	0x400000ULL
#define T_EFER_LMA	0x500ULL	/* with LME */
#define T_EFER_NX	0x800ULL
#define T_FL_VM		0x20000ULL
#define T_FL_AC		0x40000ULL

#define DATA_RW		0x93	/* present, data, writable, accessed */
#define DATA_RO		0x91
#define DATA_DOWN	0x97	/* expand down, writable */
#define CODE_RX		0x9b
#define CODE_X		0x99	/* execute only */

struct access {
	bool write;
	uint64_t addr;
	unsigned int len;
	uint64_t val;		/* first 8 bytes */
};

struct guest {
	uint8_t *ram;
	struct hvx_regs regs;
	struct hvx_sregs sregs;
	struct emul_ctx ctx;
	uint8_t vec[16][32];
	uint64_t xcr0;
	uint32_t pkru;
	/* device and ports */
	struct access log[MAX_LOG];
	unsigned int logged;
	uint64_t mmio_value;	/* what reads return, repeated */
	uint32_t port_value;
	unsigned int accesses;	/* all callbacks, for bounds */
	uint64_t last_gpa;	/* of the latest memory access, answered or not */
	/* cmpxchg_phys: say DIFFERS this many times first, changing the word by +1 */
	unsigned int races;
	unsigned int cmpxchgs;
};

void guest_init(struct guest *g);
void guest_fini(struct guest *g);
void guest_real(struct guest *g);
void guest_prot32(struct guest *g);	/* flat, CPL 0, no paging */
void guest_long(struct guest *g);	/* 64-bit, CPL 0, no paging yet (flat physical) */
void guest_user(struct guest *g);	/* CPL 3 */

/* Run the bytes at CS:RIP, handed over as the CPU would; guest_fetch: the emulator fetches. */
enum emul_result guest_insn(struct guest *g, const char *hex);
enum emul_result guest_fetch(struct guest *g);
uint64_t guest_rd(const struct guest *g, uint64_t gpa, unsigned int len);
void guest_wr(struct guest *g, uint64_t gpa, unsigned int len, uint64_t val);
unsigned int guest_hex(const char *hex, uint8_t *bytes);

#define expect_fault(g, r, vec, code) do { \
	ck_assert_int_eq(r, EMUL_FAULT); \
	ck_assert_int_eq((g)->ctx.vector, vec); \
	ck_assert((g)->ctx.has_error_code); \
	ck_assert_uint_eq((g)->ctx.error_code, code); \
} while (0)

#define expect_fault_plain(g, r, vec) do { \
	ck_assert_int_eq(r, EMUL_FAULT); \
	ck_assert_int_eq((g)->ctx.vector, vec); \
	ck_assert(!(g)->ctx.has_error_code); \
} while (0)

TCase *emul_mode_cases(void);
TCase *emul_paging_cases(void);
TCase *emul_task_cases(void);
TCase *emul_random_cases(void);

#endif
