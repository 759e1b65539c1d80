// SPDX-License-Identifier: GPL-2.0-only
/* Registers and memory operands: effective addresses, segmentation, access. */
#include "emul_int.h"

_Static_assert(offsetof(struct hvx_regs, r15) == 15 * sizeof(u64), "registers in encoding order");
_Static_assert(offsetof(struct hvx_sregs, gs) == 5 * sizeof(struct hvx_segment), "segments in encoding order");

u64 emul_mask(unsigned int size)
{
	return size >= 8 ? ~0ULL : (1ULL << (size * 8)) - 1;
}

u64 emul_sext(u64 val, unsigned int size)
{
	unsigned int shift = 64 - size * 8;

	return (u64)((s64)(val << shift) >> shift);
}

static u64 *gpr_slot(struct emul *e, unsigned int n)
{
	return (u64 *)((char *)&e->regs + (n & 15) * sizeof(u64));
}

u64 emul_gpr(const struct emul *e, unsigned int n)
{
	return *gpr_slot((struct emul *)e, n);
}

/* Without REX, byte registers 4..7 are AH, CH, DH, BH. */
static bool is_high_byte(const struct emul *e, unsigned int n, unsigned int size)
{
	return size == 1 && n >= 4 && n < 8 && !e->have_rex;
}

u64 emul_reg_get(const struct emul *e, unsigned int n, unsigned int size)
{
	if (is_high_byte(e, n, size))
		return (emul_gpr(e, n - 4) >> 8) & 0xff;
	return emul_gpr(e, n) & emul_mask(size);
}

void emul_gpr_set(struct emul *e, unsigned int n, unsigned int size, u64 val)
{
	u64 *reg = gpr_slot(e, n), mask = emul_mask(size);

	if (size >= 4)
		*reg = val & mask;	/* 32-bit results are zero-extended */
	else
		*reg = (*reg & ~mask) | (val & mask);
}

void emul_reg_set(struct emul *e, unsigned int n, unsigned int size, u64 val)
{
	if (is_high_byte(e, n, size)) {
		u64 *reg = gpr_slot(e, n - 4);

		*reg = (*reg & ~0xff00ULL) | ((val & 0xff) << 8);
		return;
	}
	emul_gpr_set(e, n, size, val);
}

u64 emul_ea(const struct emul *e)
{
	u64 ea = (u64)e->disp;

	if (e->rip_rel)
		ea += e->next_rip;
	if (e->base >= 0)
		ea += emul_gpr(e, e->base);
	if (e->index >= 0)
		ea += emul_gpr(e, e->index) << e->scale;
	return ea & emul_mask(e->adsize);
}

static int seg_fault(struct emul *e, int seg)
{
	return emul_fault_code(e, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
}

const struct hvx_segment *emul_segment(const struct emul *e, int seg)
{
	return (const struct hvx_segment *)((const char *)e->ctx->sregs + seg * sizeof(struct hvx_segment));
}

/* Type and limit, SDM vol. 3, "Protection": limit checking, type checking. */
static bool seg_permits(const struct emul *e, const struct hvx_segment *s, u64 off, unsigned int len,
			unsigned int acc)
{
	unsigned int type = HVX_SEG_TYPE(s->attr);
	bool code = type & 8;
	u64 last = off + len - 1;

	if ((s->attr & HVX_SEG_UNUSABLE) && !e->vm86)
		return false;
	if (e->protected && !e->vm86) {
		if ((acc & ACC_WRITE) ? (code || !(type & 2)) : (code && !(type & 2)))
			return false;
		if (!code && (type & 4))	/* expand down */
			return off > s->limit && last <= (s->attr & HVX_SEG_DB ? 0xffffffffULL : 0xffffULL);
	}
	return last <= s->limit;
}

static int linearize(struct emul *e, int seg, u64 off, unsigned int len, unsigned int acc, u64 *lin)
{
	const struct hvx_segment *s = emul_segment(e, seg);

	if (e->mode64) {
		*lin = off;
		if (seg == SEG_FS || seg == SEG_GS)
			*lin += s->base;
		if (!emul_canonical(e, *lin) || !emul_canonical(e, *lin + len - 1))
			return seg_fault(e, seg);
		return EMUL_OK;
	}
	if (!seg_permits(e, s, off, len, acc))
		return seg_fault(e, seg);
	*lin = (u32)(s->base + off);
	return EMUL_OK;
}

static int alignment(struct emul *e, u64 lin, unsigned int len, unsigned int acc)
{
	if ((acc & ACC_ALIGNED) && (lin & (len - 1)))
		return emul_fault_code(e, VEC_GP, 0);
	if (e->cpl != 3 || !(e->ctx->sregs->cr0 & CR0_AM) || !(e->regs.rflags & FL_AC))
		return EMUL_OK;
	if (len <= 8 && (lin & (len - 1)))
		return emul_fault_code(e, VEC_AC, 0);
	return EMUL_OK;
}

static int span_linear(struct emul *e, u64 lin, unsigned int len, unsigned int acc, struct emul_span *s)
{
	unsigned int first = 4096 - (lin & 0xfff);
	u64 next;
	int r;

	s->len[0] = len < first ? len : first;
	s->len[1] = len - s->len[0];
	r = emul_translate(e, lin, acc, &s->gpa[0]);
	if (r || !s->len[1])
		return r;
	next = lin + s->len[0];
	if (!(e->ctx->sregs->efer & EFER_LMA) || !e->mode64)
		next = (u32)next;
	return emul_translate(e, next, acc, &s->gpa[1]);
}

int emul_span(struct emul *e, int seg, u64 off, unsigned int len, unsigned int acc, struct emul_span *s)
{
	u64 lin = 0;
	int r;

	r = linearize(e, seg, off, len, acc, &lin);
	if (!r)
		r = alignment(e, lin, len, acc);
	if (!r)
		r = span_linear(e, lin, len, acc, s);
	return r;
}

void emul_span_read(struct emul *e, const struct emul_span *s, void *buf)
{
	const struct emul_ops *ops = e->ctx->ops;

	if (ops->read_phys(e->ctx->opaque, s->gpa[0], buf, s->len[0]))
		memset(buf, 0xff, s->len[0]);
	if (s->len[1] && ops->read_phys(e->ctx->opaque, s->gpa[1], (u8 *)buf + s->len[0], s->len[1]))
		memset((u8 *)buf + s->len[0], 0xff, s->len[1]);
}

void emul_span_write(struct emul *e, const struct emul_span *s, const void *buf)
{
	const struct emul_ops *ops = e->ctx->ops;

	/* nobody there: the write is lost, as on a bus */
	(void)ops->write_phys(e->ctx->opaque, s->gpa[0], buf, s->len[0]);
	if (s->len[1])
		(void)ops->write_phys(e->ctx->opaque, s->gpa[1], (const u8 *)buf + s->len[0], s->len[1]);
}

/* A split lock: the host may kill a process for one, or stall every core. */
static bool is_split(const struct emul_span *s)
{
	return s->len[1] || (s->gpa[0] & 63) + s->len[0] > 64;
}

/*
 * Atomic where it can be. On MMIO, and on operands across two cache lines, it
 * is a plain write: a device is written under its own lock, and nothing else
 * orders the two halves.
 */
int emul_span_cmpxchg(struct emul *e, const struct emul_span *s, const void *expected, const void *desired)
{
	enum emul_cmpxchg r = EMUL_CMPXCHG_NOT_RAM;

	if (!is_split(s))
		r = e->ctx->ops->cmpxchg_phys(e->ctx->opaque, s->gpa[0], expected, desired, s->len[0]);
	if (r == EMUL_CMPXCHG_DIFFERS)
		return EMUL_RETRY;
	if (r == EMUL_CMPXCHG_NOT_RAM)
		emul_span_write(e, s, desired);
	return EMUL_OK;
}

/* The CPU's own accesses to system structures; lin as computed from a base. */
int emul_map_system(struct emul *e, u64 lin, unsigned int len, unsigned int acc, struct emul_span *s)
{
	if (!(e->ctx->sregs->efer & EFER_LMA))
		lin = (u32)lin;
	return span_linear(e, lin, len, acc | ACC_SYSTEM, s);
}

int emul_read_system(struct emul *e, u64 lin, void *buf, unsigned int len)
{
	struct emul_span s;
	int r = emul_map_system(e, lin, len, ACC_READ, &s);

	if (!r)
		emul_span_read(e, &s, buf);
	return r;
}

int emul_rm_map_at(struct emul *e, struct emul_rm *rm, u64 off, unsigned int size, unsigned int acc)
{
	rm->mem = true;
	rm->size = size;
	rm->val = 0;
	return emul_span(e, e->seg, off, size, acc, &rm->span);
}

int emul_rm_map(struct emul *e, struct emul_rm *rm, unsigned int size, unsigned int acc)
{
	if (e->mod != 3)
		return emul_rm_map_at(e, rm, emul_ea(e), size, acc);
	rm->mem = false;
	rm->size = size;
	rm->val = 0;
	return EMUL_OK;
}

void emul_rm_read(struct emul *e, struct emul_rm *rm)
{
	rm->val = 0;
	if (rm->mem)
		emul_span_read(e, &rm->span, &rm->val);
	else
		rm->val = emul_reg_get(e, e->rm, rm->size);
}

int emul_rm_load(struct emul *e, struct emul_rm *rm, unsigned int size, unsigned int acc)
{
	int r = emul_rm_map(e, rm, size, acc);

	if (!r)
		emul_rm_read(e, rm);
	return r;
}

/* Under LOCK the store succeeds only while memory still holds what was loaded. */
int emul_rm_store(struct emul *e, struct emul_rm *rm, u64 val)
{
	if (!rm->mem) {
		emul_reg_set(e, e->rm, rm->size, val);
		return EMUL_OK;
	}
	if (e->lock)
		return emul_span_cmpxchg(e, &rm->span, &rm->val, &val);
	emul_span_write(e, &rm->span, &val);
	return EMUL_OK;
}
