// SPDX-License-Identifier: GPL-2.0-only
/*
 * Integer arithmetic and its flags. Flags that the manuals leave undefined are
 * set as current CPUs do where that is simple, else left alone.
 */
#include "emul_int.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

void emul_flags(struct emul *e, u64 set, u64 mask)
{
	e->regs.rflags = (e->regs.rflags & ~mask) | (set & mask);
}

static u64 sign_bit(unsigned int size)
{
	return 1ULL << (size * 8 - 1);
}

u64 emul_flags_szp(u64 res, unsigned int size)
{
	u64 fl = 0;

	if (!(res & emul_mask(size)))
		fl |= FL_ZF;
	if (res & sign_bit(size))
		fl |= FL_SF;
	if (!__builtin_parity(res & 0xff))
		fl |= FL_PF;
	return fl;
}

static u64 add(struct emul *e, unsigned int size, u64 a, u64 b, unsigned int carry)
{
	u64 mask = emul_mask(size), res = (a + b + carry) & mask, fl;

	fl = emul_flags_szp(res, size);
	if (res < a || (carry && res == a))
		fl |= FL_CF;
	if ((a ^ b ^ res) & 0x10)
		fl |= FL_AF;
	if (~(a ^ b) & (a ^ res) & sign_bit(size))
		fl |= FL_OF;
	emul_flags(e, fl, FL_ARITH);
	return res;
}

static u64 sub(struct emul *e, unsigned int size, u64 a, u64 b, unsigned int borrow)
{
	u64 mask = emul_mask(size), res = (a - b - borrow) & mask, fl;

	fl = emul_flags_szp(res, size);
	if (a < b || (borrow && a == b))
		fl |= FL_CF;
	if ((a ^ b ^ res) & 0x10)
		fl |= FL_AF;
	if ((a ^ b) & (a ^ res) & sign_bit(size))
		fl |= FL_OF;
	emul_flags(e, fl, FL_ARITH);
	return res;
}

static u64 logic(struct emul *e, unsigned int size, u64 res)
{
	emul_flags(e, emul_flags_szp(res, size), FL_ARITH);
	return res;
}

u64 emul_alu(struct emul *e, unsigned int op, unsigned int size, u64 a, u64 b)
{
	unsigned int carry = e->regs.rflags & FL_CF;

	a &= emul_mask(size);
	b &= emul_mask(size);
	switch (op) {
	case ALU_ADD:
		return add(e, size, a, b, 0);
	case ALU_OR:
		return logic(e, size, a | b);
	case ALU_ADC:
		return add(e, size, a, b, carry);
	case ALU_SBB:
		return sub(e, size, a, b, carry);
	case ALU_AND:
		return logic(e, size, a & b);
	case ALU_XOR:
		return logic(e, size, a ^ b);
	default:	/* ALU_SUB, ALU_CMP */
		return sub(e, size, a, b, 0);
	}
}

/* SDM vol. 1, appendix B: condition codes. */
bool emul_cond(const struct emul *e, unsigned int cc)
{
	u64 fl = e->regs.rflags;
	bool less = !(fl & FL_SF) != !(fl & FL_OF), yes;

	switch (cc >> 1 & 7) {
	case 0:
		yes = fl & FL_OF;
		break;
	case 1:
		yes = fl & FL_CF;
		break;
	case 2:
		yes = fl & FL_ZF;
		break;
	case 3:
		yes = fl & (FL_CF | FL_ZF);
		break;
	case 4:
		yes = fl & FL_SF;
		break;
	case 5:
		yes = fl & FL_PF;
		break;
	case 6:
		yes = less;
		break;
	default:
		yes = less || (fl & FL_ZF);
		break;
	}
	return yes != (cc & 1);
}

/* op rm, src: with a store unless op is CMP. */
static int alu_to_rm(struct emul *e, unsigned int op, u64 src)
{
	struct emul_rm rm;
	u64 res;
	int r;

	r = emul_rm_load(e, &rm, e->opsize, op == ALU_CMP ? ACC_READ : ACC_WRITE);
	if (r)
		return r;
	res = emul_alu(e, op, e->opsize, rm.val, src);
	return op == ALU_CMP ? EMUL_OK : emul_rm_store(e, &rm, res);
}

static void alu_to_reg(struct emul *e, unsigned int op, unsigned int reg, u64 src)
{
	u64 res = emul_alu(e, op, e->opsize, emul_reg_get(e, reg, e->opsize), src);

	if (op != ALU_CMP)
		emul_reg_set(e, reg, e->opsize, res);
}

int x_alu_rm_r(struct emul *e)
{
	return alu_to_rm(e, (e->opcode >> 3) & 7, emul_reg_get(e, e->reg, e->opsize));
}

int x_alu_r_rm(struct emul *e)
{
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_READ);

	if (!r)
		alu_to_reg(e, (e->opcode >> 3) & 7, e->reg, rm.val);
	return r;
}

int x_alu_acc_imm(struct emul *e)
{
	alu_to_reg(e, (e->opcode >> 3) & 7, R_AX, e->imm);
	return EMUL_OK;
}

int x_alu_grp1(struct emul *e)
{
	return alu_to_rm(e, e->reg & 7, e->imm);
}

static int test_rm(struct emul *e, u64 src)
{
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_READ);

	if (!r)
		logic(e, e->opsize, rm.val & src & emul_mask(e->opsize));
	return r;
}

int x_test_rm_r(struct emul *e)
{
	return test_rm(e, emul_reg_get(e, e->reg, e->opsize));
}

int x_test_acc_imm(struct emul *e)
{
	logic(e, e->opsize, emul_reg_get(e, R_AX, e->opsize) & e->imm & emul_mask(e->opsize));
	return EMUL_OK;
}

static int not_neg(struct emul *e)
{
	struct emul_rm rm;
	u64 res;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);

	if (r)
		return r;
	if ((e->reg & 7) == 2)
		res = ~rm.val;
	else
		res = sub(e, e->opsize, 0, rm.val, 0);
	return emul_rm_store(e, &rm, res);
}

/* The double-width accumulator of MUL and DIV: AX, or rDX:rAX. */
static u128 acc_get(const struct emul *e)
{
	unsigned int bits = e->opsize * 8;

	if (e->opsize == 1)
		return emul_gpr(e, R_AX) & 0xffff;
	return (u128)emul_reg_get(e, R_DX, e->opsize) << bits | emul_reg_get(e, R_AX, e->opsize);
}

static void acc_set(struct emul *e, u64 low, u64 high)
{
	if (e->opsize == 1) {
		emul_gpr_set(e, R_AX, 2, (low & 0xff) | (high & 0xff) << 8);
		return;
	}
	emul_gpr_set(e, R_AX, e->opsize, low);
	emul_gpr_set(e, R_DX, e->opsize, high);
}

/* CF and OF say whether the upper half matters; the others are undefined. */
static void mul_flags(struct emul *e, bool overflow)
{
	emul_flags(e, overflow ? FL_CF | FL_OF : 0, FL_CF | FL_OF);
}

static void mul(struct emul *e, u64 src, bool is_signed)
{
	unsigned int size = e->opsize;
	u64 a = emul_reg_get(e, R_AX, size), low, high;
	u128 prod;

	if (is_signed)
		prod = (u128)((s128)(s64)emul_sext(a, size) * (s64)emul_sext(src, size));
	else
		prod = (u128)a * src;
	low = (u64)prod & emul_mask(size);
	high = (u64)(prod >> (size * 8)) & emul_mask(size);
	acc_set(e, low, high);
	if (is_signed)
		mul_flags(e, prod != (u128)(s128)(s64)emul_sext(low, size));
	else
		mul_flags(e, high);
}

static int div_unsigned(struct emul *e, u64 src)
{
	u128 a = acc_get(e), quot;

	if (!src)
		return emul_fault(e, VEC_DE);
	quot = a / src;
	if (quot > emul_mask(e->opsize))
		return emul_fault(e, VEC_DE);
	acc_set(e, quot, a % src);
	return EMUL_OK;
}

/* On magnitudes, so that no intermediate result can overflow. */
static int div_signed(struct emul *e, u64 src)
{
	unsigned int size = e->opsize, bits = size * 16;
	u64 d = emul_sext(src, size), limit = sign_bit(size), rem;
	u128 a = acc_get(e), quot;
	bool a_neg = (a >> (bits - 1)) & 1, d_neg = d >> 63;

	if (a_neg)
		a = (((u128)1 << (bits - 1)) - a) + ((u128)1 << (bits - 1));
	if (d_neg)
		d = -d;
	if (!d)
		return emul_fault(e, VEC_DE);
	quot = a / d;
	rem = a % d;
	if (quot > limit || (quot == limit && a_neg == d_neg))
		return emul_fault(e, VEC_DE);
	acc_set(e, a_neg != d_neg ? -(u64)quot : (u64)quot, a_neg ? -rem : rem);
	return EMUL_OK;
}

int x_grp3(struct emul *e)
{
	struct emul_rm rm;
	unsigned int op = e->reg & 7;
	int r;

	if (op < 2)
		return test_rm(e, e->imm);
	if (op < 4)
		return not_neg(e);
	r = emul_rm_load(e, &rm, e->opsize, ACC_READ);
	if (r)
		return r;
	if (op == 6)
		return div_unsigned(e, rm.val);
	if (op == 7)
		return div_signed(e, rm.val);
	mul(e, rm.val, op == 5);
	return EMUL_OK;
}

/* FE /0 /1, and FF /0 /1: INC and DEC leave CF alone. */
int x_incdec(struct emul *e)
{
	u64 carry = e->regs.rflags & FL_CF;
	struct emul_rm rm;
	u64 res;
	int r;

	if ((e->reg & 7) > 1)
		return EMUL_UNHANDLED;
	r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);
	if (r)
		return r;
	if (e->reg & 1)
		res = sub(e, e->opsize, rm.val, 1, 0);
	else
		res = add(e, e->opsize, rm.val, 1, 0);
	emul_flags(e, carry, FL_CF);
	return emul_rm_store(e, &rm, res);
}

/* IMUL r, rm (0F AF) and IMUL r, rm, imm (69, 6B). */
int x_imul(struct emul *e)
{
	unsigned int size = e->opsize;
	struct emul_rm rm;
	s128 prod;
	u64 b, res;
	int r = emul_rm_load(e, &rm, size, ACC_READ);

	if (r)
		return r;
	b = e->map == 0 ? e->imm : emul_reg_get(e, e->reg, size);
	prod = (s128)(s64)emul_sext(rm.val, size) * (s64)emul_sext(b, size);
	res = (u64)prod & emul_mask(size);
	emul_reg_set(e, e->reg, size, res);
	mul_flags(e, prod != (s128)(s64)emul_sext(res, size));
	return EMUL_OK;
}
