// SPDX-License-Identifier: GPL-2.0-only
/* String instructions, on memory and on I/O ports. */
#include "emul_int.h"

#define TSS_IOMAP_BASE	102	/* offset of the I/O map's offset, 32- and 64-bit TSS */
#define TSS_TYPE_32	9	/* available; 11 is busy */

static void advance(struct emul *e, unsigned int reg)
{
	u64 step = e->regs.rflags & FL_DF ? -(u64)e->opsize : e->opsize;

	emul_gpr_set(e, reg, e->adsize, emul_gpr(e, reg) + step);
}

static int map_source(struct emul *e, struct emul_span *s)
{
	return emul_span(e, e->seg, e->regs.rsi & emul_mask(e->adsize), e->opsize, ACC_READ, s);
}

static int map_dest(struct emul *e, unsigned int acc, struct emul_span *s)
{
	return emul_span(e, SEG_ES, e->regs.rdi & emul_mask(e->adsize), e->opsize, acc, s);
}

/* Each of these does one element and changes no register unless it succeeds. */

static int movs(struct emul *e)
{
	struct emul_span from, to;
	u64 val = 0;
	int r = map_source(e, &from);

	if (!r)
		r = map_dest(e, ACC_WRITE, &to);
	if (r)
		return r;
	emul_span_read(e, &from, &val);
	emul_span_write(e, &to, &val);
	advance(e, R_SI);
	advance(e, R_DI);
	return EMUL_OK;
}

static int cmps(struct emul *e)
{
	struct emul_span sa, sb;
	u64 a = 0, b = 0;
	int r = map_source(e, &sa);

	if (!r)
		r = map_dest(e, ACC_READ, &sb);
	if (r)
		return r;
	emul_span_read(e, &sa, &a);
	emul_span_read(e, &sb, &b);
	emul_alu(e, ALU_CMP, e->opsize, a, b);
	advance(e, R_SI);
	advance(e, R_DI);
	return EMUL_OK;
}

static int stos(struct emul *e)
{
	struct emul_span s;
	int r = map_dest(e, ACC_WRITE, &s);

	if (r)
		return r;
	emul_span_write(e, &s, &e->regs.rax);
	advance(e, R_DI);
	return EMUL_OK;
}

static int lods(struct emul *e)
{
	struct emul_span s;
	u64 val = 0;
	int r = map_source(e, &s);

	if (r)
		return r;
	emul_span_read(e, &s, &val);
	emul_reg_set(e, R_AX, e->opsize, val);
	advance(e, R_SI);
	return EMUL_OK;
}

static int scas(struct emul *e)
{
	struct emul_span s;
	u64 val = 0;
	int r = map_dest(e, ACC_READ, &s);

	if (r)
		return r;
	emul_span_read(e, &s, &val);
	emul_alu(e, ALU_CMP, e->opsize, e->regs.rax, val);
	advance(e, R_DI);
	return EMUL_OK;
}

static int ins(struct emul *e)
{
	struct emul_span s;
	u32 val = 0;
	int r = map_dest(e, ACC_WRITE, &s);

	if (r)
		return r;
	e->ctx->ops->pio_in(e->ctx->opaque, (u16)e->regs.rdx, e->opsize, &val);
	emul_span_write(e, &s, &val);
	advance(e, R_DI);
	return EMUL_OK;
}

static int outs(struct emul *e)
{
	struct emul_span s;
	u32 val = 0;
	int r = map_source(e, &s);

	if (r)
		return r;
	emul_span_read(e, &s, &val);
	e->ctx->ops->pio_out(e->ctx->opaque, (u16)e->regs.rdx, e->opsize, val);
	advance(e, R_SI);
	return EMUL_OK;
}

/*
 * The REP loop: a batch of it. What was done before a fault or the end of the
 * batch stays done, with RIP at the instruction (SDM vol. 2, "REP").
 */
static int repeat(struct emul *e, int (*one)(struct emul *e), bool until_flag)
{
	unsigned int done;

	for (done = 0;; done++) {
		u64 count = e->regs.rcx & emul_mask(e->adsize);
		bool zf;
		int r;

		if (e->rep && !count)
			return EMUL_OK;
		if (done == EMUL_MAX_BATCH) {
			e->commit = true;
			return EMUL_AGAIN;
		}
		r = one(e);
		if (r) {
			e->commit = done > 0;
			return r == EMUL_RETRY && done ? EMUL_AGAIN : r;
		}
		if (!e->rep)
			return EMUL_OK;
		emul_gpr_set(e, R_CX, e->adsize, count - 1);
		zf = e->regs.rflags & FL_ZF;
		if (until_flag && zf != (e->rep == 0xf3))
			return EMUL_OK;
	}
}

int x_string(struct emul *e)
{
	switch (e->opcode & ~1) {
	case 0xa4:
		return repeat(e, movs, false);
	case 0xa6:
		return repeat(e, cmps, true);
	case 0xaa:
		return repeat(e, stos, false);
	case 0xac:
		return repeat(e, lods, false);
	default:
		return repeat(e, scas, true);
	}
}

/* SDM vol. 1, "I/O Permission Bit Map". */
static int port_allowed(struct emul *e, u16 port, unsigned int size)
{
	const struct hvx_segment *tr = &e->ctx->sregs->tr;
	u16 base = 0, bits = 0;
	u32 at;
	int r;

	if (!e->protected || (!e->vm86 && e->cpl <= FL_IOPL(e->regs.rflags)))
		return EMUL_OK;
	if ((HVX_SEG_TYPE(tr->attr) & ~2) != TSS_TYPE_32 || (tr->attr & HVX_SEG_UNUSABLE) ||
	    tr->limit < TSS_IOMAP_BASE + 1)
		return emul_fault_code(e, VEC_GP, 0);
	r = emul_read_system(e, tr->base + TSS_IOMAP_BASE, &base, 2);
	if (r)
		return r;
	at = base + port / 8;
	if (at + 1 > tr->limit)
		return emul_fault_code(e, VEC_GP, 0);
	r = emul_read_system(e, tr->base + at, &bits, 2);
	if (r)
		return r;
	if ((bits >> (port & 7)) & ((1U << size) - 1))
		return emul_fault_code(e, VEC_GP, 0);
	return EMUL_OK;
}

int x_string_io(struct emul *e)
{
	int r;

	if (e->opsize == 8)	/* there is no 64-bit port I/O */
		e->opsize = 4;
	r = port_allowed(e, (u16)e->regs.rdx, e->opsize);
	if (r)
		return r;
	return repeat(e, e->opcode < 0x6e ? ins : outs, false);
}
