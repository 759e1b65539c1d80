// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vector moves between memory and XMM/YMM registers, legacy SSE and VEX.
 * Register to register forms cannot have touched memory: unhandled.
 */
#include "emul_int.h"

/* Which bytes of the register, and how. */
#define WHOLE		0		/* 16, or 32 with VEX.L */
#define LOW		(1U << 0)	/* the low `size`; a load zeroes the rest */
#define MERGE_LOW	(1U << 1)	/* the low 8; a load keeps the others */
#define MERGE_HIGH	(1U << 2)	/* bytes 15:8; a load keeps the others */
#define STORE		(1U << 3)
#define ALIGNED		(1U << 4)
#define ANY_L		(1U << 5)	/* scalar whose VEX.L is ignored */

struct sse_op {
	u8 map, opcode, prefix;	/* mandatory prefix 0, 66, F3, F2 */
	u8 size;		/* 4 or 8; 0: WHOLE, or by REX.W (MOVD, MOVQ) */
	u8 how;
};

static const struct sse_op sse_ops[] = {
	{ 1, 0x10, 0x00, 0, WHOLE },	/* MOVUPS */
	{ 1, 0x10, 0x66, 0, WHOLE },	/* MOVUPD */
	{ 1, 0x10, 0xf3, 4, LOW | ANY_L },	/* MOVSS */
	{ 1, 0x10, 0xf2, 8, LOW | ANY_L },	/* MOVSD */
	{ 1, 0x11, 0x00, 0, STORE },
	{ 1, 0x11, 0x66, 0, STORE },
	{ 1, 0x11, 0xf3, 4, LOW | STORE | ANY_L },
	{ 1, 0x11, 0xf2, 8, LOW | STORE | ANY_L },
	{ 1, 0x12, 0x00, 8, MERGE_LOW },	/* MOVLPS */
	{ 1, 0x12, 0x66, 8, MERGE_LOW },	/* MOVLPD */
	{ 1, 0x13, 0x00, 8, MERGE_LOW | STORE },
	{ 1, 0x13, 0x66, 8, MERGE_LOW | STORE },
	{ 1, 0x16, 0x00, 8, MERGE_HIGH },	/* MOVHPS */
	{ 1, 0x16, 0x66, 8, MERGE_HIGH },	/* MOVHPD */
	{ 1, 0x17, 0x00, 8, MERGE_HIGH | STORE },
	{ 1, 0x17, 0x66, 8, MERGE_HIGH | STORE },
	{ 1, 0x28, 0x00, 0, ALIGNED },	/* MOVAPS */
	{ 1, 0x28, 0x66, 0, ALIGNED },	/* MOVAPD */
	{ 1, 0x29, 0x00, 0, STORE | ALIGNED },
	{ 1, 0x29, 0x66, 0, STORE | ALIGNED },
	{ 1, 0x2b, 0x00, 0, STORE | ALIGNED },	/* MOVNTPS */
	{ 1, 0x2b, 0x66, 0, STORE | ALIGNED },	/* MOVNTPD */
	{ 1, 0x6e, 0x66, 0, LOW },	/* MOVD, MOVQ */
	{ 1, 0x6f, 0x66, 0, ALIGNED },	/* MOVDQA */
	{ 1, 0x6f, 0xf3, 0, WHOLE },	/* MOVDQU */
	{ 1, 0x7e, 0x66, 0, LOW | STORE },	/* MOVD, MOVQ */
	{ 1, 0x7e, 0xf3, 8, LOW },	/* MOVQ */
	{ 1, 0x7f, 0x66, 0, STORE | ALIGNED },	/* MOVDQA */
	{ 1, 0x7f, 0xf3, 0, STORE },	/* MOVDQU */
	{ 1, 0xd6, 0x66, 8, LOW | STORE },	/* MOVQ */
	{ 1, 0xe7, 0x66, 0, STORE | ALIGNED },	/* MOVNTDQ */
	{ 1, 0xf0, 0xf2, 0, WHOLE },	/* LDDQU */
	{ 2, 0x2a, 0x66, 0, ALIGNED },	/* MOVNTDQA */
};

static const struct sse_op *find(const struct emul *e)
{
	u8 prefix = e->rep ? e->rep : e->opsz66 ? 0x66 : 0;
	unsigned int i;

	for (i = 0; i < sizeof(sse_ops) / sizeof(sse_ops[0]); i++) {
		const struct sse_op *op = &sse_ops[i];

		if (op->map == e->map && op->opcode == e->opcode && op->prefix == prefix)
			return op;
	}
	return NULL;
}

/* SDM vol. 2, "Exceptions Type 1 / 4": what the control registers say. */
static int enabled(struct emul *e)
{
	const struct hvx_sregs *s = e->ctx->sregs;
	const struct emul_ops *ops = e->ctx->ops;

	if (e->vex) {
		u64 xcr0 = ops->get_xcr0 ? ops->get_xcr0(e->ctx->opaque) : 0;

		if (!(s->cr4 & CR4_OSXSAVE) || (xcr0 & 6) != 6)
			return emul_fault(e, VEC_UD);
	} else if ((s->cr0 & CR0_EM) || !(s->cr4 & CR4_OSFXSR)) {
		return emul_fault(e, VEC_UD);
	}
	if (s->cr0 & CR0_TS)
		return emul_fault(e, VEC_NM);
	return EMUL_OK;
}

static bool merging_load(const struct sse_op *op)
{
	return (op->how & (MERGE_LOW | MERGE_HIGH)) && !(op->how & STORE);
}

/* VEX.vvvv names a source only where a load merges; VEX.L must fit. */
static bool vex_legal(const struct emul *e, const struct sse_op *op)
{
	if (!e->vex)
		return true;
	if (!merging_load(op) && e->vex_v)
		return false;
	return !e->vex_l || (op->how & ANY_L) || !(op->how & (LOW | MERGE_LOW | MERGE_HIGH));
}

static unsigned int length(const struct emul *e, const struct sse_op *op)
{
	if (op->size)
		return op->size;
	if (op->how & LOW)	/* MOVD or MOVQ */
		return e->rex & 8 ? 8 : 4;
	return e->vex && e->vex_l ? 32 : 16;
}

static int write_reg(struct emul *e, const u8 *val)
{
	if (e->ctx->ops->set_vec(e->ctx->opaque, e->reg, val, e->vex ? 32 : 16))
		return EMUL_UNHANDLED;
	e->ctx->dirty |= 1U << HVX_STATE_XSAVE;
	return EMUL_OK;
}

int x_sse(struct emul *e)
{
	const struct sse_op *op = find(e);
	const struct emul_ops *ops = e->ctx->ops;
	unsigned int len, at, acc;
	struct emul_span s;
	u8 val[32] = { 0 };
	int r;

	if (!op || e->mod == 3 || !ops->get_vec || !ops->set_vec)
		return EMUL_UNHANDLED;
	r = enabled(e);
	if (r)
		return r;
	if (!vex_legal(e, op))
		return emul_fault(e, VEC_UD);

	len = length(e, op);
	at = op->how & MERGE_HIGH ? 8 : 0;
	acc = op->how & STORE ? ACC_WRITE : ACC_READ;
	if (op->how & ALIGNED)
		acc |= ACC_ALIGNED;
	r = emul_span(e, e->seg, emul_ea(e), len, acc, &s);
	if (r)
		return r;
	/* fetched for all loads: what can fail must fail before memory is read */
	if (ops->get_vec(e->ctx->opaque, e->vex && merging_load(op) ? e->vex_v : e->reg, val, len == 32 ? 32 : 16))
		return EMUL_UNHANDLED;
	if (op->how & STORE) {
		emul_span_write(e, &s, val + at);
		return EMUL_OK;
	}
	if (!merging_load(op))
		memset(val, 0, sizeof(val));
	emul_span_read(e, &s, val + at);
	return write_reg(e, val);
}
