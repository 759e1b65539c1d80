// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction decoding: the plain MOVs that local APIC, ioeventfd and simple
 * device registers need, and lengths of instructions that always exit. All
 * bytes come from the guest. They are copied into a buffer of zeroes that an
 * instruction cannot outgrow: what was read beyond their end shows at the end
 * of decoding, by `pos`. Formats: SDM vol. 2, chapter 2.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include "decode.h"

#define REX_B	0x01
#define REX_R	0x04
#define REX_W	0x08

struct insn {
	/* 15 prefixes, then at most: opcode 2, ModRM, SIB, displacement 4, immediate 4; or offset 8 */
	u8 bytes[HVX_INSN_MAX + 16];
	int len;		/* valid bytes, at most HVX_INSN_MAX */
	int pos;
	enum hvx_cpu_mode mode;
	bool opsize_66, adsize_67, lock, rep_f3;
	u8 rex;			/* whole byte, 0 = none */
	u8 modrm;
};

/* Segments, whose address is known from the exit; F2, which means nothing here; those that count. */
static const u8 prefixes[] = {
	0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf2, 0x66, 0x67, 0xf0, 0xf3
};

/* Take the bytes and skip the prefixes; in->pos == in->len when nothing follows them. */
static void insn_start(struct insn *in, const u8 *bytes, int len, enum hvx_cpu_mode mode)
{
	memset(in, 0, sizeof(*in));
	in->len = len < 0 ? 0 : len < HVX_INSN_MAX ? len : HVX_INSN_MAX;
	in->mode = mode;
	memcpy(in->bytes, bytes, in->len);
	for (; in->pos < in->len; in->pos++) {
		u8 b = in->bytes[in->pos];

		if (mode == HVX_MODE_64 && (b & 0xf0) == 0x40) {
			in->rex = b;
			continue;
		}
		if (!memchr(prefixes, b, sizeof(prefixes)))
			return;
		in->opsize_66 |= b == 0x66;
		in->adsize_67 |= b == 0x67;
		in->lock |= b == 0xf0;
		in->rep_f3 |= b == 0xf3;
		in->rex = 0;	/* it counts only right before the opcode */
	}
}

static int operand_size(const struct insn *in)
{
	if (in->rex & REX_W)
		return 8;
	return (in->mode == HVX_MODE_16) == in->opsize_66 ? 4 : 2;
}

static int address_size(const struct insn *in)
{
	if (in->mode == HVX_MODE_64)
		return in->adsize_67 ? 4 : 8;
	return (in->mode == HVX_MODE_16) == in->adsize_67 ? 4 : 2;
}

/* Skip SIB and displacement of in->modrm. */
static void skip_operand(struct insn *in)
{
	u8 mod = in->modrm >> 6, rm = in->modrm & 7;

	if (mod == 3)
		return;
	if (address_size(in) == 2) {
		in->pos += mod == 0 ? (rm == 6) * 2 : mod;
		return;
	}
	if (rm == 4)
		rm = in->bytes[in->pos++] & 7;	/* base 5 without mod: disp32, as without SIB */
	if (mod == 1)
		in->pos++;
	else if (mod == 2 || rm == 5)		/* rm 5: disp32, RIP-relative in 64-bit mode */
		in->pos += 4;
}

/* What an opcode does. */
#define MOV_WRITE	(1U << 0)
#define MOV_EXTEND	(1U << 1)	/* the register is of operand size, whatever the memory is */
#define MOV_SIGN	(1U << 2)
#define MOV_IMM		(1U << 3)
#define MOV_MOFFS	(1U << 4)	/* no ModRM: accumulator and an absolute offset */

static const struct mov_form {
	u16 opcode;
	u8 size;		/* bytes of the memory operand, if not less by operand size */
	u8 flags;
} mov_forms[] = {
	{ 0x89, 8, MOV_WRITE },
	{ 0x8b, 8, 0 },
	{ 0x88, 1, MOV_WRITE },
	{ 0x8a, 1, 0 },
	{ 0xc7, 8, MOV_WRITE | MOV_IMM },
	{ 0xc6, 1, MOV_WRITE | MOV_IMM },
	{ 0xa0, 1, MOV_MOFFS },
	{ 0xa1, 8, MOV_MOFFS },
	{ 0xa2, 1, MOV_MOFFS | MOV_WRITE },
	{ 0xa3, 8, MOV_MOFFS | MOV_WRITE },
	{ 0x0fb6, 1, MOV_EXTEND },
	{ 0x0fb7, 2, MOV_EXTEND },
	{ 0x0fbe, 1, MOV_EXTEND | MOV_SIGN },
	{ 0x0fbf, 2, MOV_EXTEND | MOV_SIGN },
	{ 0x63, 4, MOV_EXTEND | MOV_SIGN },	/* MOVSXD; ARPL outside 64-bit mode */
};

static const struct mov_form *mov_form(struct insn *in)
{
	u16 op = in->bytes[in->pos++];
	unsigned int i;

	if (op == 0x63 && in->mode != HVX_MODE_64)
		return NULL;
	if (op == 0x0f)
		op = op << 8 | in->bytes[in->pos++];
	for (i = 0; i < sizeof(mov_forms) / sizeof(mov_forms[0]); i++)
		if (mov_forms[i].opcode == op)
			return &mov_forms[i];
	return NULL;
}

static bool mov_operands(struct insn *in, u8 flags, struct hvx_mov *mov)
{
	int i;

	if (flags & MOV_MOFFS) {
		in->pos += address_size(in);	/* register 0 */
		return true;
	}
	in->modrm = in->bytes[in->pos++];
	if (in->modrm >> 6 == 3)
		return false;
	skip_operand(in);
	mov->reg = (in->modrm >> 3) & 7;
	if (flags & MOV_IMM) {
		for (i = 0; i < mov->size && i < 4; i++)
			mov->imm |= (u64)in->bytes[in->pos++] << (8 * i);
		if (mov->size == 8)
			mov->imm = (u64)(s64)(s32)mov->imm;
		return !mov->reg;	/* C6, C7: only /0 is MOV */
	}
	if (mov->dst_size == 1 && !in->rex && mov->reg >= 4) {
		mov->high_byte = true;
		mov->reg -= 4;
	} else if (in->rex & REX_R) {
		mov->reg += 8;
	}
	return true;
}

int hvx_decode_mov(const u8 *insn, int len, enum hvx_cpu_mode mode, struct hvx_mov *mov)
{
	const struct mov_form *f;
	struct insn in;
	int opsize;

	insn_start(&in, insn, len, mode);
	opsize = operand_size(&in);
	f = mov_form(&in);
	/* LOCK MOV is #UD; REP and XACQUIRE/XRELEASE are ignored on it. */
	if (!f || in.lock)
		return -EINVAL;

	memset(mov, 0, sizeof(*mov));
	mov->is_write = f->flags & MOV_WRITE;
	mov->sign_extend = f->flags & MOV_SIGN;
	mov->is_imm = f->flags & MOV_IMM;
	mov->size = f->size < opsize ? f->size : opsize;
	mov->dst_size = f->flags & MOV_EXTEND ? opsize : mov->size;
	if (!mov_operands(&in, f->flags, mov) || in.pos > in.len)
		return -EINVAL;
	mov->len = in.pos;
	return 0;
}

int hvx_insn_len(const u8 *insn, int len, enum hvx_cpu_mode mode,
		 const u8 *opcode, int opcode_len, u8 *rm)
{
	bool f3 = opcode_len > 1 && opcode[0] == 0xf3;
	struct insn in;

	insn_start(&in, insn, len, mode);
	opcode += f3;
	opcode_len -= f3;
	if ((f3 && !in.rep_f3) || opcode_len <= 0 || opcode_len > in.len - in.pos ||
	    memcmp(in.bytes + in.pos, opcode, opcode_len))
		return 0;
	in.pos += opcode_len;
	if (rm)
		*rm = (in.bytes[in.pos++] & 7) | (in.rex & REX_B ? 8 : 0);
	return in.pos <= in.len ? in.pos : 0;
}
