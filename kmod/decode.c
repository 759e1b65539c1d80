// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction decoding: the plain MOVs that local APIC, ioeventfd and simple
 * device registers need, and lengths of instructions that always exit. All
 * bytes come from the guest; every read goes through fetch_le(), which checks.
 * Formats: SDM vol. 2, chapter 2.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/string.h>
#else
#include <errno.h>
#include <string.h>
#endif
#include "decode.h"

#define REX_B	0x01
#define REX_R	0x04
#define REX_W	0x08

struct insn {
	const u8 *bytes;
	int len;		/* valid bytes, at most HVX_INSN_MAX */
	int pos;
	enum hvx_cpu_mode mode;
	bool opsize_66, adsize_67, lock, rep_f3, rep_f2;
	u8 rex;			/* whole byte, 0 = none */
	u8 modrm;
};

static bool fetch_le(struct insn *in, int n, u64 *val)
{
	int i;

	if (n > in->len - in->pos)
		return false;
	*val = 0;
	for (i = 0; i < n; i++)
		*val |= (u64)in->bytes[in->pos + i] << (8 * i);
	in->pos += n;
	return true;
}

static bool fetch_u8(struct insn *in, u8 *val)
{
	if (in->pos >= in->len)
		return false;
	*val = in->bytes[in->pos++];
	return true;
}

static bool skip_bytes(struct insn *in, int n)
{
	if (n > in->len - in->pos)
		return false;
	in->pos += n;
	return true;
}

static void insn_start(struct insn *in, const u8 *bytes, int len, enum hvx_cpu_mode mode)
{
	memset(in, 0, sizeof(*in));
	in->bytes = bytes;
	in->len = len < HVX_INSN_MAX ? len : HVX_INSN_MAX;
	in->mode = mode;
}

/* Is b a legacy prefix? Notes what it means. */
static bool legacy_prefix(struct insn *in, u8 b)
{
	switch (b) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
		return true;	/* segment: the address is known from the exit */
	case 0x66:
		in->opsize_66 = true;
		return true;
	case 0x67:
		in->adsize_67 = true;
		return true;
	case 0xf0:
		in->lock = true;
		return true;
	case 0xf2:
		in->rep_f2 = true;
		return true;
	case 0xf3:
		in->rep_f3 = true;
		return true;
	}
	return false;
}

/* Skip the prefixes; false when nothing follows them. */
static bool skip_prefixes(struct insn *in)
{
	for (; in->pos < in->len; in->pos++) {
		u8 b = in->bytes[in->pos];

		if (legacy_prefix(in, b))
			in->rex = 0;	/* REX counts only right before the opcode */
		else if (in->mode == HVX_MODE_64 && (b & 0xf0) == 0x40)
			in->rex = b;
		else
			return true;
	}
	return false;
}

static int operand_size(const struct insn *in)
{
	if (in->rex & REX_W)
		return 8;
	if (in->mode == HVX_MODE_16)
		return in->opsize_66 ? 4 : 2;
	return in->opsize_66 ? 2 : 4;
}

static int address_size(const struct insn *in)
{
	switch (in->mode) {
	case HVX_MODE_64:
		return in->adsize_67 ? 4 : 8;
	case HVX_MODE_32:
		return in->adsize_67 ? 2 : 4;
	default:
		return in->adsize_67 ? 4 : 2;
	}
}

/* Skip SIB and displacement of in->modrm. */
static bool skip_memory_operand(struct insn *in)
{
	u8 mod = in->modrm >> 6, rm = in->modrm & 7;
	int disp = 0;

	if (mod == 3)
		return true;
	if (address_size(in) == 2) {
		if (mod == 1)
			disp = 1;
		else if (mod == 2 || rm == 6)
			disp = 2;
		return skip_bytes(in, disp);
	}
	if (rm == 4) {
		u8 sib;

		if (!fetch_u8(in, &sib))
			return false;
		if (mod == 0 && (sib & 7) == 5)
			disp = 4;
	} else if (mod == 0 && rm == 5) {
		disp = 4;	/* disp32, RIP-relative in 64-bit mode */
	}
	if (mod == 1)
		disp = 1;
	else if (mod == 2)
		disp = 4;
	return skip_bytes(in, disp);
}

static u64 low_bytes(u64 val, int size)
{
	return size == 8 ? val : val & ((1ULL << (8 * size)) - 1);
}

/* What an opcode does. */
struct mov_form {
	bool valid;
	bool is_write;
	bool byte;		/* memory operand is a byte */
	bool word;		/* ... always a word */
	bool extend, sign;	/* the register is of operand size, whatever the memory is */
	bool is_imm;
	bool moffs;		/* no ModRM: accumulator and an absolute offset */
};

static struct mov_form one_byte_form(const struct insn *in, u8 op)
{
	struct mov_form f = { .valid = true };

	switch (op) {
	case 0x88: case 0x89:
		f.is_write = true;
		f.byte = op == 0x88;
		break;
	case 0x8a: case 0x8b:
		f.byte = op == 0x8a;
		break;
	case 0xc6: case 0xc7:
		f.is_write = true;
		f.is_imm = true;
		f.byte = op == 0xc6;
		break;
	case 0xa0: case 0xa1: case 0xa2: case 0xa3:
		f.moffs = true;
		f.byte = !(op & 1);
		f.is_write = op & 2;
		break;
	case 0x63:		/* MOVSXD; ARPL outside 64-bit mode */
		f.valid = in->mode == HVX_MODE_64;
		f.extend = true;
		f.sign = true;
		break;
	default:
		f.valid = false;
	}
	return f;
}

static struct mov_form two_byte_form(u8 op)
{
	struct mov_form f = { .valid = true, .extend = true };

	switch (op) {
	case 0xb6: case 0xb7: case 0xbe: case 0xbf:
		f.byte = !(op & 1);
		f.word = op & 1;
		f.sign = op >= 0xbe;
		break;
	default:
		f.valid = false;
	}
	return f;
}

static int mov_memory_size(const struct insn *in, const struct mov_form *f)
{
	if (f->byte)
		return 1;
	if (f->word)
		return 2;
	if (f->extend)		/* MOVSXD: a doubleword, or a word with 66 and no REX.W */
		return operand_size(in) == 2 ? 2 : 4;
	return operand_size(in);
}

static bool mov_operands(struct insn *in, const struct mov_form *f, struct hvx_mov *mov)
{
	if (f->moffs)
		return skip_bytes(in, address_size(in));	/* register 0 */

	if (!fetch_u8(in, &in->modrm) || in->modrm >> 6 == 3)
		return false;
	mov->reg = (in->modrm >> 3) & 7;
	if (f->is_imm) {
		if (mov->reg)	/* C6, C7: only /0 is MOV */
			return false;
	} else if (mov->dst_size == 1 && !in->rex && mov->reg >= 4) {
		mov->high_byte = true;
		mov->reg -= 4;
	} else if (in->rex & REX_R) {
		mov->reg += 8;
	}
	return skip_memory_operand(in);
}

static bool mov_immediate(struct insn *in, struct hvx_mov *mov)
{
	u64 imm;

	if (!fetch_le(in, mov->size < 4 ? mov->size : 4, &imm))
		return false;
	if (mov->size == 8)
		imm = (u64)(s64)(s32)imm;
	mov->imm = low_bytes(imm, mov->size);
	return true;
}

int hvx_decode_mov(const u8 *insn, int len, enum hvx_cpu_mode mode, struct hvx_mov *mov)
{
	struct mov_form f;
	struct insn in;
	u8 op;

	insn_start(&in, insn, len, mode);
	/* LOCK MOV is #UD; REP and XACQUIRE/XRELEASE are ignored on it. */
	if (!skip_prefixes(&in) || in.lock || !fetch_u8(&in, &op))
		return -EINVAL;
	if (op == 0x0f) {
		if (!fetch_u8(&in, &op))
			return -EINVAL;
		f = two_byte_form(op);
	} else {
		f = one_byte_form(&in, op);
	}
	if (!f.valid)
		return -EINVAL;

	memset(mov, 0, sizeof(*mov));
	mov->is_write = f.is_write;
	mov->sign_extend = f.sign;
	mov->is_imm = f.is_imm;
	mov->size = mov_memory_size(&in, &f);
	mov->dst_size = f.extend ? operand_size(&in) : mov->size;
	if (!mov_operands(&in, &f, mov))
		return -EINVAL;
	if (f.is_imm) {
		mov->reg = 0;
		if (!mov_immediate(&in, mov))
			return -EINVAL;
	}
	mov->len = in.pos;
	return 0;
}

/* Prefixes and opcode; afterwards in->pos is behind the opcode. */
static bool match_opcode(struct insn *in, const u8 *opcode, int opcode_len)
{
	if (!skip_prefixes(in))
		return false;
	if (opcode_len > 1 && (opcode[0] == 0xf3 || opcode[0] == 0xf2 || opcode[0] == 0x66)) {
		if ((opcode[0] == 0xf3 && !in->rep_f3) || (opcode[0] == 0xf2 && !in->rep_f2) ||
		    (opcode[0] == 0x66 && !in->opsize_66))
			return false;
		opcode++;
		opcode_len--;
	}
	if (opcode_len <= 0 || opcode_len > in->len - in->pos ||
	    memcmp(in->bytes + in->pos, opcode, opcode_len))
		return false;
	in->pos += opcode_len;
	return true;
}

/* MOV to and from control and debug registers: registers whatever mod says (SDM vol. 2, "MOV"). */
static bool ignores_mod(const u8 *opcode, int opcode_len)
{
	return opcode_len == 2 && opcode[0] == 0x0f && opcode[1] >= 0x20 && opcode[1] <= 0x23;
}

int hvx_insn_len_modrm(const u8 *insn, int len, enum hvx_cpu_mode mode,
		       const u8 *opcode, int opcode_len, struct hvx_modrm *out)
{
	struct insn in;

	insn_start(&in, insn, len, mode);
	if (!match_opcode(&in, opcode, opcode_len) || !fetch_u8(&in, &in.modrm))
		return 0;
	if (!ignores_mod(opcode, opcode_len) && !skip_memory_operand(&in))
		return 0;
	out->mod = in.modrm >> 6;
	out->reg = ((in.modrm >> 3) & 7) | (in.rex & REX_R ? 8 : 0);
	out->rm = (in.modrm & 7) | (in.rex & REX_B ? 8 : 0);
	out->lock = in.lock;
	return in.pos;
}

int hvx_insn_len(const u8 *insn, int len, enum hvx_cpu_mode mode,
		 const u8 *opcode, int opcode_len, bool modrm)
{
	struct hvx_modrm unused;
	struct insn in;

	if (modrm)
		return hvx_insn_len_modrm(insn, len, mode, opcode, opcode_len, &unused);
	insn_start(&in, insn, len, mode);
	return match_opcode(&in, opcode, opcode_len) ? in.pos : 0;
}
