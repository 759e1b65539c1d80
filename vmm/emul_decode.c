// SPDX-License-Identifier: GPL-2.0-only
/* From instruction bytes to struct emul: SDM vol. 2, chapter 2 and appendix A. */
#include "emul_int.h"

#define MAX_INSN	15

#define ALL_REGS	0xff
#define OP(fn, fl)	{ .exec = fn, .flags = fl }
#define OPL(fn, fl, l)	{ .exec = fn, .flags = fl, .lock = l }

/* The six encodings of each of the eight ALU operations; CMP cannot be locked. */
#define ALU_ROWS(base, l) \
	[base + 0] = OPL(x_alu_rm_r, OP_MODRM | OP_BYTE, l), \
	[base + 1] = OPL(x_alu_rm_r, OP_MODRM, l), \
	[base + 2] = OP(x_alu_r_rm, OP_MODRM | OP_BYTE), \
	[base + 3] = OP(x_alu_r_rm, OP_MODRM), \
	[base + 4] = OP(x_alu_acc_imm, OP_BYTE | OP_IMM8), \
	[base + 5] = OP(x_alu_acc_imm, OP_IMMZ)

static const struct emul_op map0[256] = {
	ALU_ROWS(0x00, ALL_REGS),
	ALU_ROWS(0x08, ALL_REGS),
	ALU_ROWS(0x10, ALL_REGS),
	ALU_ROWS(0x18, ALL_REGS),
	ALU_ROWS(0x20, ALL_REGS),
	ALU_ROWS(0x28, ALL_REGS),
	ALU_ROWS(0x30, ALL_REGS),
	ALU_ROWS(0x38, 0),
	[0x50 ... 0x57] = OP(x_push_r, OP_D64),
	[0x58 ... 0x5f] = OP(x_pop_r, OP_D64),
	[0x63] = OP(x_movsxd, OP_MODRM | OP_ONLY64),
	[0x68] = OP(x_push_imm, OP_IMMZ | OP_D64),
	[0x69] = OP(x_imul, OP_MODRM | OP_IMMZ),
	[0x6a] = OP(x_push_imm, OP_IMM8 | OP_D64),
	[0x6b] = OP(x_imul, OP_MODRM | OP_IMM8),
	[0x6c] = OP(x_string_io, OP_BYTE),
	[0x6d] = OP(x_string_io, 0),
	[0x6e] = OP(x_string_io, OP_BYTE),
	[0x6f] = OP(x_string_io, 0),
	[0x80] = OPL(x_alu_grp1, OP_MODRM | OP_BYTE | OP_IMM8, 0x7f),
	[0x81] = OPL(x_alu_grp1, OP_MODRM | OP_IMMZ, 0x7f),
	[0x82] = OPL(x_alu_grp1, OP_MODRM | OP_BYTE | OP_IMM8 | OP_NO64, 0x7f),
	[0x83] = OPL(x_alu_grp1, OP_MODRM | OP_IMM8, 0x7f),
	[0x84] = OP(x_test_rm_r, OP_MODRM | OP_BYTE),
	[0x85] = OP(x_test_rm_r, OP_MODRM),
	[0x86] = OPL(x_xchg, OP_MODRM | OP_BYTE, ALL_REGS),
	[0x87] = OPL(x_xchg, OP_MODRM, ALL_REGS),
	[0x88] = OP(x_mov_rm_r, OP_MODRM | OP_BYTE),
	[0x89] = OP(x_mov_rm_r, OP_MODRM),
	[0x8a] = OP(x_mov_r_rm, OP_MODRM | OP_BYTE),
	[0x8b] = OP(x_mov_r_rm, OP_MODRM),
	[0x8c] = OP(x_mov_rm_seg, OP_MODRM),
	[0x8f] = OP(x_pop_rm, OP_MODRM | OP_D64),
	[0xa0] = OP(x_mov_moffs, OP_BYTE | OP_MOFFS),
	[0xa1] = OP(x_mov_moffs, OP_MOFFS),
	[0xa2] = OP(x_mov_moffs, OP_BYTE | OP_MOFFS),
	[0xa3] = OP(x_mov_moffs, OP_MOFFS),
	[0xa4] = OP(x_string, OP_BYTE),
	[0xa5] = OP(x_string, 0),
	[0xa6] = OP(x_string, OP_BYTE),
	[0xa7] = OP(x_string, 0),
	[0xa8] = OP(x_test_acc_imm, OP_BYTE | OP_IMM8),
	[0xa9] = OP(x_test_acc_imm, OP_IMMZ),
	[0xaa] = OP(x_string, OP_BYTE),
	[0xab] = OP(x_string, 0),
	[0xac] = OP(x_string, OP_BYTE),
	[0xad] = OP(x_string, 0),
	[0xae] = OP(x_string, OP_BYTE),
	[0xaf] = OP(x_string, 0),
	[0xc0] = OP(x_shift, OP_MODRM | OP_BYTE | OP_IMM8),
	[0xc1] = OP(x_shift, OP_MODRM | OP_IMM8),
	[0xc2] = OP(x_ret, OP_IMM16 | OP_D64),
	[0xc3] = OP(x_ret, OP_D64),
	[0xc6] = OP(x_mov_rm_imm, OP_MODRM | OP_BYTE | OP_IMM8),
	[0xc7] = OP(x_mov_rm_imm, OP_MODRM | OP_IMMZ),
	[0xc9] = OP(x_leave, OP_D64),
	[0xd0] = OP(x_shift, OP_MODRM | OP_BYTE),
	[0xd1] = OP(x_shift, OP_MODRM),
	[0xd2] = OP(x_shift, OP_MODRM | OP_BYTE),
	[0xd3] = OP(x_shift, OP_MODRM),
	[0xd7] = OP(x_xlat, OP_BYTE),
	[0xe8] = OP(x_call_rel, OP_IMMZ | OP_D64),
	[0xf6] = OPL(x_grp3, OP_MODRM | OP_BYTE | OP_GRP3, 0x0c),
	[0xf7] = OPL(x_grp3, OP_MODRM | OP_GRP3, 0x0c),
	[0xfe] = OPL(x_incdec, OP_MODRM | OP_BYTE, 0x03),
	[0xff] = OPL(x_grp5, OP_MODRM, 0x03),
};

static const struct emul_op map1[256] = {
	[0x10 ... 0x13] = OP(x_sse, OP_MODRM),
	[0x16 ... 0x17] = OP(x_sse, OP_MODRM),
	[0x28 ... 0x29] = OP(x_sse, OP_MODRM),
	[0x2b] = OP(x_sse, OP_MODRM),
	[0x40 ... 0x4f] = OP(x_cmov, OP_MODRM),
	[0x6e ... 0x6f] = OP(x_sse, OP_MODRM),
	[0x7e ... 0x7f] = OP(x_sse, OP_MODRM),
	[0x90 ... 0x9f] = OP(x_setcc, OP_MODRM | OP_BYTE),
	[0xa3] = OP(x_bt_reg, OP_MODRM),
	[0xa4] = OP(x_shld, OP_MODRM | OP_IMM8),
	[0xa5] = OP(x_shld, OP_MODRM),
	[0xab] = OPL(x_bt_reg, OP_MODRM, ALL_REGS),
	[0xac] = OP(x_shld, OP_MODRM | OP_IMM8),
	[0xad] = OP(x_shld, OP_MODRM),
	[0xae] = OP(x_cacheline, OP_MODRM | OP_MEM),
	[0xaf] = OP(x_imul, OP_MODRM),
	[0xb0] = OPL(x_cmpxchg, OP_MODRM | OP_BYTE, ALL_REGS),
	[0xb1] = OPL(x_cmpxchg, OP_MODRM, ALL_REGS),
	[0xb3] = OPL(x_bt_reg, OP_MODRM, ALL_REGS),
	[0xb6 ... 0xb7] = OP(x_movx, OP_MODRM),
	[0xb8] = OP(x_popcnt, OP_MODRM),
	[0xba] = OPL(x_bt_imm, OP_MODRM | OP_IMM8, 0xe0),
	[0xbb] = OPL(x_bt_reg, OP_MODRM, ALL_REGS),
	[0xbc ... 0xbd] = OP(x_bsf, OP_MODRM),
	[0xbe ... 0xbf] = OP(x_movx, OP_MODRM),
	[0xc0] = OPL(x_xadd, OP_MODRM | OP_BYTE, ALL_REGS),
	[0xc1] = OPL(x_xadd, OP_MODRM, ALL_REGS),
	[0xc3] = OP(x_movnti, OP_MODRM | OP_MEM),
	[0xc7] = OPL(x_grp9, OP_MODRM | OP_MEM, 0x02),
	[0xd6] = OP(x_sse, OP_MODRM),
	[0xe7] = OP(x_sse, OP_MODRM),
	[0xf0] = OP(x_sse, OP_MODRM),
};

static const struct emul_op map2[256] = {
	[0x2a] = OP(x_sse, OP_MODRM),
	[0xf0 ... 0xf1] = OP(x_movbe, OP_MODRM | OP_MEM),
};

/* Get more bytes from CS:RIP, up to the end of the page, of the segment, or of 15. */
static int refill(struct emul *e)
{
	const struct hvx_segment *cs = &e->ctx->sregs->cs;
	u64 lin, gpa, off = e->regs.rip + e->have;
	unsigned int n = MAX_INSN - e->have;
	int r;

	if (e->mode64) {
		lin = off;
		if (!emul_canonical(e, lin))
			return emul_fault_code(e, VEC_GP, 0);
	} else {
		off = (u32)off;
		if (off > cs->limit)
			return emul_fault_code(e, VEC_GP, 0);
		if (cs->limit - off + 1 < n)
			n = cs->limit - off + 1;
		lin = (u32)(cs->base + off);
	}
	if (n > 4096 - (lin & 0xfff))
		n = 4096 - (lin & 0xfff);
	r = emul_translate(e, lin, ACC_EXEC, &gpa);
	if (r)
		return r;
	if (e->ctx->ops->read_phys(e->ctx->opaque, gpa, e->bytes + e->have, n))
		memset(e->bytes + e->have, 0xff, n);
	e->have += n;
	return EMUL_OK;
}

/* Next size (1, 2, 4, 8) bytes, zero-extended. */
static int fetch(struct emul *e, unsigned int size, u64 *val)
{
	int r;

	if (e->pos + size > MAX_INSN)
		return emul_fault_code(e, VEC_GP, 0);
	while (e->have < e->pos + size) {
		r = refill(e);
		if (r)
			return r;
	}
	*val = 0;
	memcpy(val, e->bytes + e->pos, size);
	e->pos += size;
	return EMUL_OK;
}

static int fetch8(struct emul *e, u8 *val)
{
	u64 v;
	int r = fetch(e, 1, &v);

	if (!r)
		*val = v;
	return r;
}

static int fetch_signed(struct emul *e, unsigned int size, u64 *val)
{
	int r = fetch(e, size, val);

	if (!r)
		*val = emul_sext(*val, size);
	return r;
}

/* True: b was a legacy prefix. */
static bool legacy_prefix(struct emul *e, u8 b)
{
	switch (b) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		/* 64-bit mode ignores ES, CS, SS and DS overrides */
		if (!e->mode64)
			e->override = (b - 0x26) >> 3;
		return true;
	case 0x64:
		e->override = SEG_FS;
		return true;
	case 0x65:
		e->override = SEG_GS;
		return true;
	case 0x66:
		e->opsz66 = true;
		return true;
	case 0x67:
		e->adsz67 = true;
		return true;
	case 0xf0:
		e->lock = true;
		return true;
	case 0xf2:
	case 0xf3:
		e->rep = b;
		return true;
	}
	return false;
}

/*
 * Prefixes and the first opcode byte. A REX prefix counts only directly before
 * the opcode.
 */
static int prefixes(struct emul *e, u8 *opcode)
{
	u8 b;
	int r;

	e->override = SEG_NONE;
	for (;;) {
		r = fetch8(e, &b);
		if (r)
			return r;
		if (legacy_prefix(e, b)) {
			e->have_rex = false;
			e->rex = 0;
		} else if (e->mode64 && (b & 0xf0) == 0x40) {
			e->have_rex = true;
			e->rex = b & 15;
		} else {
			*opcode = b;
			return EMUL_OK;
		}
	}
}

/* SDM vol. 2, "The VEX prefix". first is C4 or C5, known to be VEX. */
static int vex_prefix(struct emul *e, u8 first)
{
	static const u8 rep[4] = { 0, 0, 0xf3, 0xf2 };
	u8 b1, b2;
	int r;

	if (e->lock || e->opsz66 || e->rep || e->have_rex)
		return emul_fault(e, VEC_UD);
	r = fetch8(e, &b1);
	if (r)
		return r;
	if (first == 0xc5) {
		b2 = b1 & 0x7f;
		b1 = (b1 & 0x80) | 0x61;	/* X and B inverted, map 0F */
	} else {
		r = fetch8(e, &b2);
		if (r)
			return r;
	}
	e->vex = true;
	e->rex = (~b1 >> 5) & 7;
	if (b2 & 0x80)
		e->rex |= 8;
	if (!e->mode64)
		e->rex = 0;
	e->map = b1 & 0x1f;
	e->vex_v = (~b2 >> 3) & (e->mode64 ? 15 : 7);
	e->vex_l = (b2 >> 2) & 1;
	e->opsz66 = (b2 & 3) == 1;
	e->rep = rep[b2 & 3];
	return fetch8(e, &e->opcode);
}

/* C4 and C5 are LES and LDS outside 64-bit mode, unless the ModRM would be a register. */
static int is_vex(struct emul *e, u8 b, bool *yes)
{
	u64 next;
	int r;

	*yes = false;
	if ((b != 0xc4 && b != 0xc5) || !e->protected || e->vm86)
		return EMUL_OK;
	r = fetch(e, 1, &next);
	if (r)
		return r;
	e->pos--;
	*yes = e->mode64 || next >= 0xc0;
	return EMUL_OK;
}

static int opcode(struct emul *e)
{
	bool vex;
	u8 b;
	int r;

	r = prefixes(e, &b);
	if (!r)
		r = is_vex(e, b, &vex);
	if (r)
		return r;
	if (vex)
		return vex_prefix(e, b);
	if (b == 0x0f) {
		e->map = 1;
		r = fetch8(e, &b);
		if (!r && (b == 0x38 || b == 0x3a)) {
			e->map = b == 0x38 ? 2 : 3;
			r = fetch8(e, &b);
		}
	}
	e->opcode = b;
	return r;
}

static int modrm16(struct emul *e)
{
	static const struct { signed char base, index; } forms[8] = {
		{ R_BX, R_SI }, { R_BX, R_DI }, { R_BP, R_SI }, { R_BP, R_DI },
		{ R_SI, -1 }, { R_DI, -1 }, { R_BP, -1 }, { R_BX, -1 },
	};
	u64 disp = 0;
	int r = EMUL_OK;

	e->base = forms[e->rm].base;
	e->index = forms[e->rm].index;
	if (e->mod == 0 && e->rm == 6) {
		e->base = -1;
		r = fetch_signed(e, 2, &disp);
	} else if (e->mod) {
		r = fetch_signed(e, e->mod, &disp);
	}
	e->disp = (s64)disp;
	return r;
}

static int modrm32(struct emul *e)
{
	unsigned int low = e->rm & 7;
	u64 disp = 0;
	u8 sib;
	int r = EMUL_OK;

	e->base = e->rm;
	if (low == 4) {
		r = fetch8(e, &sib);
		if (r)
			return r;
		e->scale = sib >> 6;
		e->index = ((sib >> 3) & 7) | (e->rex & 2 ? 8 : 0);
		if (e->index == 4)
			e->index = -1;
		low = sib & 7;
		e->base = low | (e->rex & 1 ? 8 : 0);
	}
	if (e->mod == 0 && low == 5) {
		/* no base; without SIB, RIP-relative in 64-bit mode */
		e->base = -1;
		e->rip_rel = e->mode64 && (e->rm & 7) == 5;
		r = fetch_signed(e, 4, &disp);
	} else if (e->mod) {
		r = fetch_signed(e, e->mod == 1 ? 1 : 4, &disp);
	}
	e->disp = (s64)disp;
	return r;
}

static int modrm(struct emul *e)
{
	u8 b;
	int r;

	r = fetch8(e, &b);
	if (r)
		return r;
	e->mod = b >> 6;
	e->reg = ((b >> 3) & 7) | (e->rex & 4 ? 8 : 0);
	e->rm = (b & 7) | (e->rex & 1 ? 8 : 0);
	if (e->mod == 3)
		return EMUL_OK;
	r = e->adsize == 2 ? modrm16(e) : modrm32(e);
	if (e->base == R_SP || e->base == R_BP)
		e->seg = SEG_SS;
	return r;
}

static void sizes(struct emul *e)
{
	if (e->mode64)
		e->adsize = e->adsz67 ? 4 : 8;
	else
		e->adsize = e->adsz67 ? 6 - e->defsize : e->defsize;
	if (e->op->flags & OP_BYTE)
		e->opsize = 1;
	else if (e->mode64 && (e->rex & 8))
		e->opsize = 8;
	else if (e->mode64 && (e->op->flags & OP_D64))
		e->opsize = e->opsz66 ? 2 : 8;
	else
		e->opsize = e->opsz66 ? 6 - e->defsize : e->defsize;
}

static int immediates(struct emul *e)
{
	unsigned int flags = e->op->flags;
	u64 disp;
	int r = EMUL_OK;

	if (flags & OP_MOFFS) {
		r = fetch(e, e->adsize, &disp);
		e->disp = r ? 0 : (s64)disp;
	} else if (flags & OP_GRP3) {
		if ((e->reg & 7) < 2)
			r = fetch_signed(e, e->opsize < 4 ? e->opsize : 4, &e->imm);
	} else if (flags & OP_IMM8) {
		r = fetch_signed(e, 1, &e->imm);
	} else if (flags & OP_IMMZ) {
		r = fetch_signed(e, e->opsize < 4 ? e->opsize : 4, &e->imm);
	} else if (flags & OP_IMM16) {
		r = fetch(e, 2, &e->imm);
	}
	return r;
}

static bool lock_legal(const struct emul *e)
{
	return (e->op->flags & OP_MODRM) && e->mod != 3 && (e->op->lock & (1U << (e->reg & 7)));
}

static const struct emul_op *lookup(const struct emul *e)
{
	static const struct emul_op unknown;

	/* of the VEX encodings only moves are executed */
	if (e->map == 1 && (!e->vex || map1[e->opcode].exec == x_sse))
		return &map1[e->opcode];
	if (e->map == 2 && (!e->vex || map2[e->opcode].exec == x_sse))
		return &map2[e->opcode];
	return e->map == 0 && !e->vex ? &map0[e->opcode] : &unknown;
}

int emul_decode(struct emul *e)
{
	int r;

	e->base = -1;
	e->index = -1;
	e->seg = SEG_DS;
	r = opcode(e);
	if (r)
		return r;
	e->op = lookup(e);
	if (!e->op->exec || (e->op->flags & (e->mode64 ? OP_NO64 : OP_ONLY64)))
		return EMUL_UNHANDLED;
	sizes(e);
	if (e->op->flags & OP_MODRM)
		r = modrm(e);
	if (!r)
		r = immediates(e);
	if (r)
		return r;
	if ((e->op->flags & OP_MEM) && e->mod == 3)
		return EMUL_UNHANDLED;
	if (e->override != SEG_NONE)
		e->seg = e->override;
	if (e->lock && !lock_legal(e))
		return emul_fault(e, VEC_UD);
	e->next_rip = e->regs.rip + e->pos;
	return EMUL_OK;
}
