/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside the emulator. Flow of one instruction:
 *
 *   emul.c         mode of the CPU, retry loop, commit
 *   emul_decode.c  bytes -> struct emul (prefixes, opcode, ModRM, immediate)
 *   emul_mem.c     logical address -> linear (segmentation), operand access
 *   emul_walk.c    linear -> guest-physical (paging)
 *   emul_alu.c, emul_bits.c, emul_mov.c, emul_string.c, emul_sse.c: execution
 *
 * and emul_task.c, task switches, on what emul_mem.c and emul_walk.c offer.
 *
 * Handlers work on a copy of the registers (e->regs), which reaches the guest
 * only when they return EMUL_OK, or when they set e->commit. Whatever can fault
 * is translated before anything is read that may have side effects (MMIO).
 *
 * Internal functions return enum emul_result, or EMUL_RETRY: an atomic update
 * lost a race, start the instruction over.
 */
#ifndef HVX_VMM_EMUL_INT_H
#define HVX_VMM_EMUL_INT_H

#include <stddef.h>
#include <string.h>
#include "emul.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define EMUL_RETRY	16

enum { R_AX, R_CX, R_DX, R_BX, R_SP, R_BP, R_SI, R_DI };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_NONE };
enum { VEC_DE = 0, VEC_UD = 6, VEC_NM = 7, VEC_DF, VEC_TS = 10, VEC_NP, VEC_SS, VEC_GP, VEC_PF, VEC_AC = 17 };

#define FL_CF		(1ULL << 0)
#define FL_PF		(1ULL << 2)
#define FL_AF		(1ULL << 4)
#define FL_ZF		(1ULL << 6)
#define FL_SF		(1ULL << 7)
#define FL_DF		(1ULL << 10)
#define FL_OF		(1ULL << 11)
#define FL_NT		(1ULL << 14)
#define FL_IOPL(f)	(((f) >> 12) & 3)
#define FL_VM		(1ULL << 17)
#define FL_AC		(1ULL << 18)
#define FL_ARITH	(FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE		(1ULL << 0)
#define CR0_EM		(1ULL << 2)
#define CR0_TS		(1ULL << 3)
#define CR0_WP		(1ULL << 16)
#define CR0_AM		(1ULL << 18)
#define CR0_PG		(1ULL << 31)
#define CR4_PSE		(1ULL << 4)
#define CR4_PAE		(1ULL << 5)
#define CR4_OSFXSR	(1ULL << 9)
#define CR4_LA57	(1ULL << 12)
#define CR4_OSXSAVE	(1ULL << 18)
#define CR4_SMEP	(1ULL << 20)
#define CR4_SMAP	(1ULL << 21)
#define CR4_PKE		(1ULL << 22)
#define CR4_CET		(1ULL << 23)
#define EFER_LMA	(1ULL << 10)
#define EFER_NXE	(1ULL << 11)

/* How memory is accessed. */
#define ACC_READ	0
#define ACC_WRITE	(1U << 0)	/* also read-modify-write: the CPU reports a write */
#define ACC_EXEC	(1U << 1)
#define ACC_SYSTEM	(1U << 2)	/* implicit supervisor access (TSS) */
#define ACC_ALIGNED	(1U << 3)	/* #GP(0) unless aligned to its size */

struct emul;
typedef int (*emul_exec)(struct emul *e);

/* One row of the opcode tables. */
struct emul_op {
	emul_exec exec;		/* NULL: unhandled */
	u16 flags;		/* OP_* */
	u8 lock;		/* ModRM.reg values for which LOCK is legal */
};

#define OP_MODRM	(1U << 0)
#define OP_BYTE		(1U << 1)	/* operand size is 1 */
#define OP_IMM8		(1U << 2)	/* one byte, sign-extended */
#define OP_IMMZ		(1U << 3)	/* operand size, at most 4, sign-extended */
#define OP_IMM16	(1U << 4)	/* two bytes, zero-extended */
#define OP_MOFFS	(1U << 5)	/* address-size offset */
#define OP_D64		(1U << 6)	/* operand size 64 by default in 64-bit mode */
#define OP_NO64		(1U << 7)	/* invalid in 64-bit mode */
#define OP_ONLY64	(1U << 8)	/* something else outside 64-bit mode */
#define OP_MEM		(1U << 9)	/* the register form is something else */
#define OP_GRP3		(1U << 10)	/* immediate only for ModRM.reg 0 and 1 */

/* An operand in memory, translated. It touches one page or two. */
struct emul_span {
	u64 gpa[2];
	unsigned int len[2];
};

/* The r/m operand, register or memory. */
struct emul_rm {
	bool mem;
	unsigned int size;	/* 1, 2, 4, 8 */
	u64 val;		/* as loaded */
	struct emul_span span;
};

struct emul_tlb {
	bool valid;
	u64 page, gpa;
};

struct emul {
	struct emul_ctx *ctx;
	struct hvx_regs regs;	/* working copy */
	bool commit;		/* e->regs counts although the result is not EMUL_OK */

	/* mode */
	bool mode64, protected, vm86;
	unsigned int cpl;
	unsigned int defsize;	/* 2 or 4, from CS */
	u64 stack_mask;

	/* decoded */
	u8 bytes[15];
	unsigned int have, pos;
	const struct emul_op *op;
	bool opsz66, lock, have_rex, vex, adsz67;
	u8 rep;			/* 0, 0xf2, 0xf3 */
	u8 rex;			/* REX or VEX bits: W=8 R=4 X=2 B=1 */
	u8 vex_l, vex_v;
	u8 map;			/* 0, 1 = 0F, 2 = 0F38, 3 = 0F3A */
	u8 opcode;
	u8 mod, reg, rm;	/* ModRM with REX bits applied */
	int seg;		/* of the memory operand */
	int override;		/* SEG_NONE: no segment prefix that counts */
	int base, index;	/* registers, or -1 */
	u8 scale;
	bool rip_rel;
	s64 disp;
	u64 imm;		/* sign-extended */
	unsigned int opsize, adsize;
	u64 next_rip;

	struct emul_tlb tlb[2];	/* last translation for reads, for writes */
};

/* --- emul.c --- */
int emul_fault(struct emul *e, u8 vector);			/* no error code */
int emul_fault_code(struct emul *e, u8 vector, u32 code);	/* returns EMUL_FAULT */
/* Check a near branch target and go there when the instruction completes. */
int emul_branch(struct emul *e, u64 target);
void emul_begin(struct emul *e, struct emul_ctx *ctx);	/* a copy of the registers, the mode, and nothing else */

/* --- emul_decode.c --- */
int emul_decode(struct emul *e);

/* --- emul_walk.c --- */
bool emul_canonical(const struct emul *e, u64 lin);
int emul_translate(struct emul *e, u64 lin, unsigned int acc, u64 *gpa);

/* --- emul_mem.c --- */
u64 emul_mask(unsigned int size);				/* size 1..8 bytes of ones */
u64 emul_sext(u64 val, unsigned int size);
u64 emul_gpr(const struct emul *e, unsigned int n);		/* whole register */
u64 emul_reg_get(const struct emul *e, unsigned int n, unsigned int size);
void emul_reg_set(struct emul *e, unsigned int n, unsigned int size, u64 val);
/* Write size bytes of a register used as address or counter (no high-byte registers). */
void emul_gpr_set(struct emul *e, unsigned int n, unsigned int size, u64 val);

const struct hvx_segment *emul_segment(const struct emul *e, int seg);
u64 emul_ea(const struct emul *e);				/* offset of the memory operand */
int emul_span(struct emul *e, int seg, u64 off, unsigned int len, unsigned int acc, struct emul_span *s);
void emul_span_read(struct emul *e, const struct emul_span *s, void *buf);
void emul_span_write(struct emul *e, const struct emul_span *s, const void *buf);
int emul_span_cmpxchg(struct emul *e, const struct emul_span *s, const void *expected, const void *desired);
int emul_read_system(struct emul *e, u64 lin, void *buf, unsigned int len);
int emul_map_system(struct emul *e, u64 lin, unsigned int len, unsigned int acc, struct emul_span *s);

/* The r/m operand: rm_map checks and translates, rm_read reads it, rm_load does both. */
int emul_rm_map(struct emul *e, struct emul_rm *rm, unsigned int size, unsigned int acc);
void emul_rm_read(struct emul *e, struct emul_rm *rm);
int emul_rm_load(struct emul *e, struct emul_rm *rm, unsigned int size, unsigned int acc);
int emul_rm_store(struct emul *e, struct emul_rm *rm, u64 val);
/* The same for memory at an offset that is not e's plain effective address. */
int emul_rm_map_at(struct emul *e, struct emul_rm *rm, u64 off, unsigned int size, unsigned int acc);

/* --- emul_alu.c --- */
void emul_flags(struct emul *e, u64 set, u64 mask);
u64 emul_flags_szp(u64 res, unsigned int size);
u64 emul_alu(struct emul *e, unsigned int op, unsigned int size, u64 a, u64 b);	/* op 0..7 as in 80 /op */
bool emul_cond(const struct emul *e, unsigned int cc);

enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

int x_alu_rm_r(struct emul *e);
int x_alu_r_rm(struct emul *e);
int x_alu_acc_imm(struct emul *e);
int x_alu_grp1(struct emul *e);
int x_test_rm_r(struct emul *e);
int x_test_acc_imm(struct emul *e);
int x_grp3(struct emul *e);
int x_incdec(struct emul *e);
int x_imul(struct emul *e);

/* --- emul_bits.c --- */
int x_shift(struct emul *e);
int x_shld(struct emul *e);
int x_bt_reg(struct emul *e);
int x_bt_imm(struct emul *e);
int x_bsf(struct emul *e);
int x_popcnt(struct emul *e);
int x_setcc(struct emul *e);
int x_cmov(struct emul *e);

/* --- emul_mov.c --- */
int x_mov_rm_r(struct emul *e);
int x_mov_r_rm(struct emul *e);
int x_mov_rm_imm(struct emul *e);
int x_mov_rm_seg(struct emul *e);
int x_mov_moffs(struct emul *e);
int x_movx(struct emul *e);
int x_movsxd(struct emul *e);
int x_movbe(struct emul *e);
int x_movnti(struct emul *e);
int x_xlat(struct emul *e);
int x_xchg(struct emul *e);
int x_xadd(struct emul *e);
int x_cmpxchg(struct emul *e);
int x_grp9(struct emul *e);
int x_cacheline(struct emul *e);

/* --- emul_stack.c --- */
int emul_push(struct emul *e, u64 val);				/* opsize bytes */
int x_push_r(struct emul *e);
int x_pop_r(struct emul *e);
int x_push_imm(struct emul *e);
int x_pop_rm(struct emul *e);
int x_grp5(struct emul *e);
int x_call_rel(struct emul *e);
int x_ret(struct emul *e);
int x_leave(struct emul *e);

/* --- emul_string.c --- */
int x_string(struct emul *e);
int x_string_io(struct emul *e);

/* --- emul_sse.c --- */
int x_sse(struct emul *e);

#endif
