// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction decoding: the plain MOVs that local APIC, ioeventfd and simple
 * device registers need, and lengths of instructions that always exit. All
 * bytes come from the guest; every read goes through fetch(), which checks.
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
	bool opsize_66, adsize_67, lock, rep_f3;
	u8 rex;			/* whole byte, 0 = none */
	u8 modrm;
};

/* n bytes, little-endian */
static bool fetch(struct insn *in, int n, u64 *val)
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

static bool skip_bytes(struct insn *in, int n)
{
	u64 unused;

	return fetch(in, n, &unused);
}

static bool fetch_modrm(struct insn *in)
{
	u64 val;

	if (!fetch(in, 1, &val))
		return false;
	in->modrm = val;
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
	case 0xf2:
		return true;	/* segment: the address is known from the exit; F2: nothing here */
	case 0x66:
		in->opsize_66 = true;
		return true;
	case 0x67:
		in->adsize_67 = true;
		return true;
	case 0xf0:
		in->lock = true;
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
	return (in->mode == HVX_MODE_16) == in->opsize_66 ? 4 : 2;
}

static int address_size(const struct insn *in)
{
	if (in->mode == HVX_MODE_64)
		return in->adsize_67 ? 4 : 8;
	return (in->mode == HVX_MODE_16) == in->adsize_67 ? 4 : 2;
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
		u64 sib;

		if (!fetch(in, 1, &sib))
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

/* What an opcode does. */
#define MOV_WRITE	(1U << 0)
#define MOV_BYTE	(1U << 1)	/* memory operand is a byte */
#define MOV_WORD	(1U << 2)	/* ... always a word */
#define MOV_EXTEND	(1U << 3)	/* the register is of operand size, whatever the memory is */
#define MOV_SIGN	(1U << 4)
#define MOV_IMM		(1U << 5)
#define MOV_MOFFS	(1U << 6)	/* no ModRM: accumulator and an absolute offset */

static const struct mov_form {
	u16 opcode;
	u8 flags;
} mov_forms[] = {
	{ 0x89, MOV_WRITE },
	{ 0x8b, 0 },
	{ 0x88, MOV_WRITE | MOV_BYTE },
	{ 0x8a, MOV_BYTE },
	{ 0xc7, MOV_WRITE | MOV_IMM },
	{ 0xc6, MOV_WRITE | MOV_IMM | MOV_BYTE },
	{ 0xa0, MOV_MOFFS | MOV_BYTE },
	{ 0xa1, MOV_MOFFS },
	{ 0xa2, MOV_MOFFS | MOV_WRITE | MOV_BYTE },
	{ 0xa3, MOV_MOFFS | MOV_WRITE },
	{ 0x0fb6, MOV_EXTEND | MOV_BYTE },
	{ 0x0fb7, MOV_EXTEND | MOV_WORD },
	{ 0x0fbe, MOV_EXTEND | MOV_SIGN | MOV_BYTE },
	{ 0x0fbf, MOV_EXTEND | MOV_SIGN | MOV_WORD },
	{ 0x63, MOV_EXTEND | MOV_SIGN },	/* MOVSXD; ARPL outside 64-bit mode */
};

static const struct mov_form *mov_form(struct insn *in)
{
	unsigned int i;
	u64 op, op2;

	if (!fetch(in, 1, &op) || (op == 0x63 && in->mode != HVX_MODE_64))
		return NULL;
	if (op == 0x0f) {
		if (!fetch(in, 1, &op2))
			return NULL;
		op = op << 8 | op2;
	}
	for (i = 0; i < sizeof(mov_forms) / sizeof(mov_forms[0]); i++)
		if (mov_forms[i].opcode == op)
			return &mov_forms[i];
	return NULL;
}

static int mov_memory_size(const struct insn *in, u8 flags)
{
	if (flags & MOV_BYTE)
		return 1;
	if (flags & MOV_WORD)
		return 2;
	if (flags & MOV_EXTEND)		/* MOVSXD: a doubleword, or a word with 66 and no REX.W */
		return operand_size(in) == 2 ? 2 : 4;
	return operand_size(in);
}

static bool mov_operands(struct insn *in, u8 flags, struct hvx_mov *mov)
{
	if (flags & MOV_MOFFS)
		return skip_bytes(in, address_size(in));	/* register 0 */

	if (!fetch_modrm(in) || in->modrm >> 6 == 3)
		return false;
	mov->reg = (in->modrm >> 3) & 7;
	if (flags & MOV_IMM) {
		if (mov->reg)	/* C6, C7: only /0 is MOV */
			return false;
	} else if (mov->dst_size == 1 && !in->rex && mov->reg >= 4) {
		mov->high_byte = true;
		mov->reg -= 4;
	} else if (in->rex & REX_R) {
		mov->reg += 8;
	}
	if (!skip_memory_operand(in))
		return false;
	if (!(flags & MOV_IMM))
		return true;
	if (!fetch(in, mov->size < 4 ? mov->size : 4, &mov->imm))
		return false;
	if (mov->size == 8)
		mov->imm = (u64)(s64)(s32)mov->imm;
	return true;
}

int hvx_decode_mov(const u8 *insn, int len, enum hvx_cpu_mode mode, struct hvx_mov *mov)
{
	const struct mov_form *f;
	struct insn in;

	insn_start(&in, insn, len, mode);
	/* LOCK MOV is #UD; REP and XACQUIRE/XRELEASE are ignored on it. */
	if (!skip_prefixes(&in) || in.lock)
		return -EINVAL;
	f = mov_form(&in);
	if (!f)
		return -EINVAL;

	memset(mov, 0, sizeof(*mov));
	mov->is_write = f->flags & MOV_WRITE;
	mov->sign_extend = f->flags & MOV_SIGN;
	mov->is_imm = f->flags & MOV_IMM;
	mov->size = mov_memory_size(&in, f->flags);
	mov->dst_size = f->flags & MOV_EXTEND ? operand_size(&in) : mov->size;
	if (!mov_operands(&in, f->flags, mov))
		return -EINVAL;
	mov->len = in.pos;
	return 0;
}

/* Prefixes and opcode; afterwards in->pos is behind the opcode. */
static bool match_opcode(struct insn *in, const u8 *opcode, int opcode_len)
{
	if (!skip_prefixes(in))
		return false;
	if (opcode_len > 1 && opcode[0] == 0xf3) {
		if (!in->rep_f3)
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

int hvx_insn_len(const u8 *insn, int len, enum hvx_cpu_mode mode,
		 const u8 *opcode, int opcode_len, struct hvx_modrm *modrm)
{
	/* MOV to and from CRn and DRn: registers whatever mod says (SDM vol. 2, "MOV"). */
	bool ignores_mod = opcode_len == 2 && opcode[0] == 0x0f && (opcode[1] & ~3) == 0x20;
	struct insn in;

	insn_start(&in, insn, len, mode);
	if (!match_opcode(&in, opcode, opcode_len))
		return 0;
	if (modrm) {
		if (!fetch_modrm(&in) || (!ignores_mod && !skip_memory_operand(&in)))
			return 0;
		modrm->mod = in.modrm >> 6;
		modrm->reg = ((in.modrm >> 3) & 7) | (in.rex & REX_R ? 8 : 0);
		modrm->rm = (in.modrm & 7) | (in.rex & REX_B ? 8 : 0);
		modrm->lock = in.lock;
	}
	return in.pos;
}
