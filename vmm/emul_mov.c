// SPDX-License-Identifier: GPL-2.0-only
/* Moves and exchanges of integer registers and memory. */
#include "emul_int.h"

static int store(struct emul *e, unsigned int size, u64 val)
{
	struct emul_rm rm;
	int r = emul_rm_map(e, &rm, size, ACC_WRITE);

	return r ? r : emul_rm_store(e, &rm, val);
}

int x_mov_rm_r(struct emul *e)
{
	return store(e, e->opsize, emul_reg_get(e, e->reg, e->opsize));
}

int x_mov_r_rm(struct emul *e)
{
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_READ);

	if (!r)
		emul_reg_set(e, e->reg, e->opsize, rm.val);
	return r;
}

int x_mov_rm_imm(struct emul *e)
{
	if (e->reg & 7)
		return EMUL_UNHANDLED;
	return store(e, e->opsize, e->imm);
}

/* 8C: to memory always 16 bits, to a register zero-extended. */
int x_mov_rm_seg(struct emul *e)
{
	unsigned int seg = e->reg & 7;

	if (seg > SEG_GS)
		return emul_fault(e, VEC_UD);
	return store(e, e->mod == 3 ? e->opsize : 2, emul_segment(e, seg)->selector);
}

/* A0..A3: the accumulator and an absolute offset. */
int x_mov_moffs(struct emul *e)
{
	struct emul_rm rm;
	int r;

	if (e->opcode & 2)
		return store(e, e->opsize, emul_reg_get(e, R_AX, e->opsize));
	r = emul_rm_load(e, &rm, e->opsize, ACC_READ);
	if (!r)
		emul_reg_set(e, R_AX, e->opsize, rm.val);
	return r;
}

/* MOVZX (B6, B7) and MOVSX (BE, BF). */
int x_movx(struct emul *e)
{
	unsigned int size = e->opcode & 1 ? 2 : 1;
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, size, ACC_READ);

	if (r)
		return r;
	if (e->opcode & 8)
		rm.val = emul_sext(rm.val, size);
	/* the destination is never 1 byte: no high-byte register here */
	emul_gpr_set(e, e->reg, e->opsize, rm.val);
	return EMUL_OK;
}

int x_movsxd(struct emul *e)
{
	unsigned int size = e->opsize == 2 ? 2 : 4;
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, size, ACC_READ);

	if (!r)
		emul_gpr_set(e, e->reg, e->opsize, emul_sext(rm.val, size));
	return r;
}

static u64 byteswap(u64 val, unsigned int size)
{
	return __builtin_bswap64(val) >> (64 - size * 8);
}

/* 0F38 F0 (load), F1 (store). With F2 it is CRC32. */
int x_movbe(struct emul *e)
{
	struct emul_rm rm;
	int r;

	if (e->rep)
		return EMUL_UNHANDLED;
	if (e->opcode == 0xf1)
		return store(e, e->opsize, byteswap(emul_reg_get(e, e->reg, e->opsize), e->opsize));
	r = emul_rm_load(e, &rm, e->opsize, ACC_READ);
	if (!r)
		emul_reg_set(e, e->reg, e->opsize, byteswap(rm.val, e->opsize));
	return r;
}

int x_movnti(struct emul *e)
{
	if (e->rep || e->opsz66)
		return EMUL_UNHANDLED;
	return x_mov_rm_r(e);
}

int x_xlat(struct emul *e)
{
	u64 off = (e->regs.rbx + (e->regs.rax & 0xff)) & emul_mask(e->adsize);
	struct emul_rm rm;
	int r = emul_rm_map_at(e, &rm, off, 1, ACC_READ);

	if (r)
		return r;
	emul_rm_read(e, &rm);
	emul_reg_set(e, R_AX, 1, rm.val);
	return EMUL_OK;
}

/* With memory it is locked, prefix or not. */
int x_xchg(struct emul *e)
{
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);

	if (r)
		return r;
	e->lock = true;
	r = emul_rm_store(e, &rm, emul_reg_get(e, e->reg, e->opsize));
	if (!r)
		emul_reg_set(e, e->reg, e->opsize, rm.val);
	return r;
}

int x_xadd(struct emul *e)
{
	struct emul_rm rm;
	u64 sum;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);

	if (r)
		return r;
	sum = emul_alu(e, ALU_ADD, e->opsize, rm.val, emul_reg_get(e, e->reg, e->opsize));
	/* source first: XADD of a register with itself keeps the sum */
	emul_reg_set(e, e->reg, e->opsize, rm.val);
	return emul_rm_store(e, &rm, sum);
}

/* Memory is written either way, with its old value if the comparison fails. */
int x_cmpxchg(struct emul *e)
{
	u64 acc = emul_reg_get(e, R_AX, e->opsize);
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);

	if (r)
		return r;
	emul_alu(e, ALU_CMP, e->opsize, acc, rm.val);
	if (acc == rm.val)
		return emul_rm_store(e, &rm, emul_reg_get(e, e->reg, e->opsize));
	if (rm.mem)
		r = emul_rm_store(e, &rm, rm.val);
	if (!r)
		emul_reg_set(e, R_AX, e->opsize, rm.val);
	return r;
}

static int store_pair(struct emul *e, const struct emul_span *s, const u8 *old, const u8 *new)
{
	if (e->lock)
		return emul_span_cmpxchg(e, s, old, new);
	emul_span_write(e, s, new);
	return EMUL_OK;
}

/* 0F C7 /1: CMPXCHG8B, with REX.W CMPXCHG16B. */
int x_grp9(struct emul *e)
{
	unsigned int half = e->opsize == 8 ? 8 : 4;
	unsigned int acc = ACC_WRITE | (half == 8 ? ACC_ALIGNED : 0);
	u8 old[16], new[16];
	u64 low = 0, high = 0;
	struct emul_span s;
	int r;

	if ((e->reg & 7) != 1)
		return EMUL_UNHANDLED;
	r = emul_span(e, e->seg, emul_ea(e), half * 2, acc, &s);
	if (r)
		return r;
	emul_span_read(e, &s, old);
	memcpy(&low, old, half);
	memcpy(&high, old + half, half);
	if (low == (e->regs.rax & emul_mask(half)) && high == (e->regs.rdx & emul_mask(half))) {
		memcpy(new, &e->regs.rbx, half);
		memcpy(new + half, &e->regs.rcx, half);
		emul_flags(e, FL_ZF, FL_ZF);
		return store_pair(e, &s, old, new);
	}
	r = store_pair(e, &s, old, old);
	if (r)
		return r;
	emul_flags(e, 0, FL_ZF);
	emul_gpr_set(e, R_AX, half, low);
	emul_gpr_set(e, R_DX, half, high);
	return EMUL_OK;
}

/* CLFLUSH, CLFLUSHOPT, CLWB: checked as a load of one byte, nothing to do. */
int x_cacheline(struct emul *e)
{
	unsigned int op = e->reg & 7;
	struct emul_span s;

	if (e->rep || !(op == 7 || (op == 6 && e->opsz66)))
		return EMUL_UNHANDLED;
	return emul_span(e, e->seg, emul_ea(e), 1, ACC_READ, &s);
}
