// SPDX-License-Identifier: GPL-2.0-only
/* The emulator's entry: CPU mode, retries, and what becomes visible. */
#include "emul_int.h"

/* Lost races (another vCPU changes the same word) tolerated in one call. */
#define MAX_RETRIES	64

int emul_fault(struct emul *e, u8 vector)
{
	e->ctx->vector = vector;
	e->ctx->has_error_code = false;
	e->ctx->error_code = 0;
	return EMUL_FAULT;
}

int emul_fault_code(struct emul *e, u8 vector, u32 code)
{
	e->ctx->vector = vector;
	e->ctx->has_error_code = true;
	e->ctx->error_code = code;
	return EMUL_FAULT;
}

int emul_branch(struct emul *e, u64 target)
{
	target &= emul_mask(e->opsize);
	if (e->mode64) {
		if (!emul_canonical(e, target))
			return emul_fault_code(e, VEC_GP, 0);
	} else if (target > e->ctx->sregs->cs.limit) {
		return emul_fault_code(e, VEC_GP, 0);
	}
	e->next_rip = target;
	return EMUL_OK;
}

/* SDM vol. 3, "Modes of Operation": what CR0, RFLAGS.VM, EFER and CS say. */
static void set_mode(struct emul *e)
{
	const struct hvx_sregs *s = e->ctx->sregs;

	e->protected = s->cr0 & CR0_PE;
	e->vm86 = e->protected && (e->regs.rflags & FL_VM);
	e->mode64 = (s->efer & EFER_LMA) && (s->cs.attr & HVX_SEG_L);
	if (!e->protected)
		e->cpl = 0;
	else
		e->cpl = e->vm86 ? 3 : s->cpl & 3;
	e->defsize = e->mode64 || (s->cs.attr & HVX_SEG_DB) ? 4 : 2;
	if (e->mode64)
		e->stack_mask = ~0ULL;
	else
		e->stack_mask = s->ss.attr & HVX_SEG_DB ? 0xffffffffULL : 0xffffULL;
}

void emul_begin(struct emul *e, struct emul_ctx *ctx)
{
	memset(e, 0, sizeof(*e));
	e->ctx = ctx;
	e->regs = *ctx->regs;
	set_mode(e);
}

static int attempt(struct emul *e, struct emul_ctx *ctx, const u8 *insn, unsigned int len)
{
	int r;

	emul_begin(e, ctx);
	memcpy(e->bytes, insn, len);
	e->have = len;

	r = emul_decode(e);
	if (r)
		return r;
	return e->op->exec(e);
}

enum emul_result emul_insn(struct emul_ctx *ctx, const uint8_t *insn, int len)
{
	static const u8 none[1];
	struct emul e;
	int r, tries = 0;

	ctx->dirty = 0;
	ctx->vector = 0;
	ctx->has_error_code = false;
	ctx->error_code = 0;
	ctx->cr2 = 0;
	if (len <= 0 || len > (int)sizeof(e.bytes) || !insn) {
		insn = none;
		len = 0;
	}

	do {
		r = attempt(&e, ctx, insn, len);
	} while (r == EMUL_RETRY && ++tries < MAX_RETRIES);

	if (r == EMUL_RETRY)
		r = EMUL_AGAIN;
	if (r == EMUL_OK)
		e.regs.rip = e.mode64 ? e.next_rip : (u32)e.next_rip;
	if (r == EMUL_OK || e.commit) {
		*ctx->regs = e.regs;
		ctx->dirty |= 1U << HVX_STATE_REGS;
	}
	return r;
}
