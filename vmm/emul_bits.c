// SPDX-License-Identifier: GPL-2.0-only
/* Shifts, rotates, bit tests, bit scans, and what depends on a condition. */
#include "emul_int.h"

/* What a shift does: the result, and CF and OF before they are merged. */
struct shifted {
	u64 res;
	bool cf, of;
};

static bool top(u64 v, unsigned int bits)
{
	return (v >> (bits - 1)) & 1;
}

static struct shifted rol(u64 v, unsigned int n, unsigned int bits)
{
	struct shifted s;

	n %= bits;
	s.res = n ? v << n | v >> (bits - n) : v;
	s.cf = s.res & 1;
	s.of = top(s.res, bits) ^ s.cf;
	return s;
}

static struct shifted ror(u64 v, unsigned int n, unsigned int bits)
{
	struct shifted s;

	n %= bits;
	s.res = n ? v >> n | v << (bits - n) : v;
	s.cf = top(s.res, bits);
	s.of = top(s.res, bits) ^ ((s.res >> (bits - 2)) & 1);
	return s;
}

/* Through carry: one bit at a time, at most 63 of them. */
static struct shifted rcl(u64 v, unsigned int n, unsigned int bits, bool cf)
{
	struct shifted s;

	for (n %= bits + 1; n; n--) {
		bool out = top(v, bits);

		v = v << 1 | cf;
		cf = out;
	}
	s.res = v;
	s.cf = cf;
	s.of = top(v, bits) ^ cf;
	return s;
}

static struct shifted rcr(u64 v, unsigned int n, unsigned int bits, bool cf)
{
	struct shifted s;

	for (n %= bits + 1; n; n--) {
		bool out = v & 1;

		v = v >> 1 | (u64)cf << (bits - 1);
		cf = out;
	}
	s.res = v;
	s.cf = cf;
	s.of = top(v, bits) ^ ((v >> (bits - 2)) & 1);
	return s;
}

/* n is 1..63 and may exceed bits. */
static struct shifted shl(u64 v, unsigned int n, unsigned int bits)
{
	struct shifted s;

	s.cf = n <= bits && (v >> (bits - n)) & 1;
	s.res = v << n;
	s.of = top(s.res, bits) ^ s.cf;
	return s;
}

static struct shifted shr(u64 v, unsigned int n, unsigned int bits)
{
	struct shifted s;

	s.cf = (v >> (n - 1)) & 1;
	s.res = v >> n;
	s.of = top(v, bits);
	return s;
}

static struct shifted sar(u64 v, unsigned int n, unsigned int bits)
{
	s64 x = (s64)emul_sext(v, bits / 8);
	struct shifted s;

	s.cf = (x >> (n - 1)) & 1;
	s.res = (u64)(x >> n);
	s.of = false;
	return s;
}

static struct shifted shift(const struct emul *e, unsigned int op, u64 v, unsigned int n, unsigned int bits)
{
	bool cf = e->regs.rflags & FL_CF;

	switch (op) {
	case 0:
		return rol(v, n, bits);
	case 1:
		return ror(v, n, bits);
	case 2:
		return rcl(v, n, bits, cf);
	case 3:
		return rcr(v, n, bits, cf);
	case 5:
		return shr(v, n, bits);
	case 7:
		return sar(v, n, bits);
	default:	/* 4, and 6 as its alias */
		return shl(v, n, bits);
	}
}

static unsigned int shift_count(const struct emul *e)
{
	unsigned int mask = e->opsize == 8 ? 63 : 31;

	switch (e->opcode) {
	case 0xc0:
	case 0xc1:
	case 0xa4:
	case 0xac:
		return e->imm & mask;
	case 0xd0:
	case 0xd1:
		return 1;
	default:
		return e->regs.rcx & mask;
	}
}

int x_shift(struct emul *e)
{
	unsigned int n = shift_count(e), op = e->reg & 7;
	u64 fl, changed = FL_CF | FL_OF;
	struct emul_rm rm;
	struct shifted s;
	int r;

	r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);
	if (r)
		return r;
	if (!n)		/* a write of the old value, flags stay */
		return emul_rm_store(e, &rm, rm.val);
	s = shift(e, op, rm.val, n, e->opsize * 8);
	fl = (s.cf ? FL_CF : 0) | (s.of ? FL_OF : 0);
	if (op >= 4) {
		fl |= emul_flags_szp(s.res, e->opsize);
		changed = FL_ARITH & ~FL_AF;
	}
	emul_flags(e, fl, changed);
	return emul_rm_store(e, &rm, s.res);
}

/* SHLD (A4, A5) and SHRD (AC, AD). With 16 bits and n > 16 the result is undefined. */
int x_shld(struct emul *e)
{
	unsigned int n = shift_count(e), bits = e->opsize * 8;
	u64 src = emul_reg_get(e, e->reg, e->opsize), res;
	struct emul_rm rm;
	bool cf;
	int r;

	r = emul_rm_load(e, &rm, e->opsize, ACC_WRITE);
	if (r)
		return r;
	if (!n)
		return emul_rm_store(e, &rm, rm.val);
	if (n > bits)
		n -= bits;
	if (e->opcode < 0xa8) {
		res = n == bits ? src : rm.val << n | src >> (bits - n);
		cf = (rm.val >> (bits - n)) & 1;
	} else {
		res = n == bits ? src : rm.val >> n | src << (bits - n);
		cf = (rm.val >> (n - 1)) & 1;
	}
	res &= emul_mask(e->opsize);
	emul_flags(e, emul_flags_szp(res, e->opsize) | (cf ? FL_CF : 0) |
		   (top(res ^ rm.val, bits) ? FL_OF : 0), FL_ARITH & ~FL_AF);
	return emul_rm_store(e, &rm, res);
}

/* op: 0 BT, 1 BTS, 2 BTR, 3 BTC. Only CF is defined. */
static int bit_op(struct emul *e, struct emul_rm *rm, unsigned int op, unsigned int bit)
{
	u64 m = 1ULL << bit, val;

	emul_rm_read(e, rm);
	val = rm->val;
	emul_flags(e, val & m ? FL_CF : 0, FL_CF);
	switch (op) {
	case 0:
		return EMUL_OK;
	case 1:
		val |= m;
		break;
	case 2:
		val &= ~m;
		break;
	default:
		val ^= m;
		break;
	}
	return emul_rm_store(e, rm, val);
}

/* A bit offset in a register reaches beyond the operand: SDM vol. 2, "Bit(BitBase, BitOffset)". */
int x_bt_reg(struct emul *e)
{
	unsigned int op = (e->opcode >> 3) & 3, bits = e->opsize * 8;
	unsigned int acc = op ? ACC_WRITE : ACC_READ;
	u64 bit = emul_reg_get(e, e->reg, e->opsize);
	struct emul_rm rm;
	int r;

	if (e->mod == 3) {
		r = emul_rm_map(e, &rm, e->opsize, acc);
	} else {
		s64 words = (s64)emul_sext(bit, e->opsize) >> __builtin_ctz(bits);
		u64 off = emul_ea(e) + (u64)words * e->opsize;

		r = emul_rm_map_at(e, &rm, off & emul_mask(e->adsize), e->opsize, acc);
	}
	return r ? r : bit_op(e, &rm, op, bit & (bits - 1));
}

int x_bt_imm(struct emul *e)
{
	unsigned int op = e->reg & 3;
	struct emul_rm rm;
	int r;

	if ((e->reg & 7) < 4)
		return EMUL_UNHANDLED;
	r = emul_rm_map(e, &rm, e->opsize, op ? ACC_WRITE : ACC_READ);
	return r ? r : bit_op(e, &rm, op, e->imm & (e->opsize * 8 - 1));
}

/* BSF and BSR leave the destination alone when the source is zero. */
static void scan(struct emul *e, u64 v, bool reverse)
{
	emul_flags(e, v ? 0 : FL_ZF, FL_ZF);
	if (v)
		emul_reg_set(e, e->reg, e->opsize, reverse ? 63 - __builtin_clzll(v) : __builtin_ctzll(v));
}

static void count_zeroes(struct emul *e, u64 v, bool leading)
{
	unsigned int bits = e->opsize * 8, n = bits;

	if (v)
		n = leading ? __builtin_clzll(v) - (64 - bits) : (unsigned int)__builtin_ctzll(v);
	emul_flags(e, (v ? 0 : FL_CF) | (n ? 0 : FL_ZF), FL_CF | FL_ZF);
	emul_reg_set(e, e->reg, e->opsize, n);
}

/* 0F BC: BSF or, with F3, TZCNT. 0F BD: BSR or LZCNT. */
int x_bsf(struct emul *e)
{
	bool reverse = e->opcode & 1;
	unsigned int missing = reverse ? EMUL_NO_LZCNT : EMUL_NO_TZCNT;
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_READ);

	if (r)
		return r;
	if (e->rep == 0xf3 && !(e->ctx->quirks & missing))
		count_zeroes(e, rm.val, reverse);
	else
		scan(e, rm.val, reverse);
	return EMUL_OK;
}

int x_popcnt(struct emul *e)
{
	struct emul_rm rm;
	int r;

	if (e->rep != 0xf3)
		return EMUL_UNHANDLED;
	r = emul_rm_load(e, &rm, e->opsize, ACC_READ);
	if (r)
		return r;
	emul_flags(e, rm.val ? 0 : FL_ZF, FL_ARITH);
	emul_reg_set(e, e->reg, e->opsize, __builtin_popcountll(rm.val));
	return EMUL_OK;
}

int x_setcc(struct emul *e)
{
	struct emul_rm rm;
	int r = emul_rm_map(e, &rm, 1, ACC_WRITE);

	return r ? r : emul_rm_store(e, &rm, emul_cond(e, e->opcode & 15));
}

/* Memory is read, and a 32-bit destination zero-extended, whatever the condition says. */
int x_cmov(struct emul *e)
{
	struct emul_rm rm;
	int r = emul_rm_load(e, &rm, e->opsize, ACC_READ);

	if (r)
		return r;
	if (!emul_cond(e, e->opcode & 15))
		rm.val = emul_reg_get(e, e->reg, e->opsize);
	emul_reg_set(e, e->reg, e->opsize, rm.val);
	return EMUL_OK;
}
