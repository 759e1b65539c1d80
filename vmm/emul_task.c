// SPDX-License-Identifier: GPL-2.0-only
/*
 * Switching tasks through a TSS (SDM vol. 3, chapter "Task Management"; the order
 * is that of "Task Switching"). Up to commit() everything that can fault is read
 * and translated, and nothing changes. From there on the new task runs: what its
 * segments or its stack are wrong in is its own fault.
 */
#include "emul_int.h"

#define MAX_RETRIES	64
#define PIECE		32U	/* bytes of one access of emul_ops */
#define TSS_MAX		80U	/* bytes read or written in one go */

#define SEL_TI		4U
#define SEL_INDEX(s)	((s) & 0xfff8U)
#define IS_NULL(s)	(!((s) & 0xfffcU))
#define DESC_BUSY	2U	/* in the type of a TSS descriptor, byte 5 */
#define DESC_ACCESSED	1U
#define FL_DEFINED	0x3f7fd7ULL
#define FL_FIXED	2ULL

/* The two kinds of TSS. What is saved lies in one piece: IP, flags, 8 registers, ES CS SS DS (FS GS); then LDT. */
struct form {
	unsigned int word;	/* bytes of a field */
	unsigned int saved;	/* offset of the first that is saved */
	unsigned int segs;
	unsigned int limit;	/* the least it must have */
};

static const struct form form16 = { 2, 0x0e, 4, 0x2b }, form32 = { 4, 0x20, 6, 0x67 };
#define TSS32_CR3	0x1cU
#define TSS32_TRAP	0x64U

/* What a task's TSS holds. */
struct image {
	u32 ip, flags, gpr[8], seg[6], ldt;
};

/* Memory that has been translated. */
struct area {
	struct emul_span span[(TSS_MAX + PIECE - 1) / PIECE];
	unsigned int len;
};

struct task {
	struct emul e;
	struct hvx_sregs *sregs;
	const struct emul_task *what;
	bool nested;			/* it will come back by IRET */
	u32 ext;			/* error codes: an event of no instruction's was on its way */
	const struct form *old, *new;
	struct hvx_segment tr;		/* the new one */
	struct image in;
	u32 cr3;
	bool trap;
	struct area save, link, busy, idle;	/* to be written at the commit */
};

/* ---------------------------------------------------------------- memory */

static int map(struct task *t, u64 lin, unsigned int len, unsigned int acc, struct area *a)
{
	unsigned int at, tries = 0;
	int r = EMUL_OK;

	a->len = len;
	for (at = 0; at < len && !r; at += PIECE) {
		unsigned int n = len - at < PIECE ? len - at : PIECE;

		do {
			r = emul_map_system(&t->e, lin + at, n, acc, &a->span[at / PIECE]);
		} while (r == EMUL_RETRY && ++tries < MAX_RETRIES);
	}
	return r;
}

static void get(struct task *t, const struct area *a, void *buf)
{
	unsigned int i;

	for (i = 0; i * PIECE < a->len; i++)
		emul_span_read(&t->e, &a->span[i], (u8 *)buf + i * PIECE);
}

static void put(struct task *t, const struct area *a, const void *buf)
{
	unsigned int i;

	for (i = 0; i * PIECE < a->len; i++)
		emul_span_write(&t->e, &a->span[i], (const u8 *)buf + i * PIECE);
}

static int read_at(struct task *t, u64 lin, void *buf, unsigned int len)
{
	struct area a;
	int r = map(t, lin, len, ACC_READ, &a);

	if (!r)
		get(t, &a, buf);
	return r;
}

/* One byte, of a descriptor. */
static void change(struct task *t, const struct area *a, u8 clear, u8 set)
{
	u8 b;

	get(t, a, &b);
	b = (b & ~clear) | set;
	put(t, a, &b);
}

/* ----------------------------------------------------------- descriptors */

static int fault(struct task *t, u8 vector, u16 sel)
{
	return emul_fault_code(&t->e, vector, (sel & ~3U) | t->ext);
}

/* Where the descriptor is; vector: the fault when the table has none. */
static int locate(struct task *t, u16 sel, u8 vector, u64 *lin)
{
	const struct hvx_sregs *s = t->sregs;
	u64 base = s->gdtr.base;
	u32 limit = s->gdtr.limit;

	if (sel & SEL_TI) {
		if (s->ldtr.attr & HVX_SEG_UNUSABLE)
			return fault(t, vector, sel);
		base = s->ldtr.base;
		limit = s->ldtr.limit;
	}
	if (SEL_INDEX(sel) + 7 > limit)
		return fault(t, vector, sel);
	*lin = (u32)(base + SEL_INDEX(sel));
	return EMUL_OK;
}

static int descriptor(struct task *t, u16 sel, u8 vector, struct hvx_segment *s, u64 *lin)
{
	u64 d = 0;
	int r = locate(t, sel, vector, lin);

	if (!r)
		r = read_at(t, *lin, &d, sizeof(d));
	if (r)
		return r;
	*s = (struct hvx_segment) {
		.base = (d >> 16 & 0xffffff) | (d >> 56 << 24),
		.limit = (d & 0xffff) | (d >> 32 & 0xf0000),
		.selector = sel,
		.attr = (d >> 40 & 0xff) | (d >> 44 & 0xf00),
	};
	if (s->attr & HVX_SEG_G)
		s->limit = s->limit << 12 | 0xfff;
	return EMUL_OK;
}

/* --------------------------------------------------------- up to the commit */

static const struct form *form_of(const struct hvx_segment *tss)
{
	return tss->attr & 8 ? &form32 : &form16;
}

/* The CPU has checked it before the exit: once more, of what is there now. */
static int new_tss(struct task *t)
{
	bool iret = t->what->source == HVX_TASK_IRET;
	u16 sel = t->what->selector;
	u8 wrong = iret ? VEC_TS : VEC_GP;
	u64 lin;
	int r;

	if (IS_NULL(sel) || sel & SEL_TI)
		return fault(t, wrong, sel);
	r = descriptor(t, sel, wrong, &t->tr, &lin);
	if (r)
		return r;
	/* A TSS of either kind, busy or not. */
	if ((t->tr.attr & (HVX_SEG_S | 7)) != (iret ? 1 | DESC_BUSY : 1))
		return fault(t, wrong, sel);
	if (!(t->tr.attr & HVX_SEG_P))
		return fault(t, VEC_NP, sel);
	t->new = form_of(&t->tr);
	if (t->tr.limit < t->new->limit)
		return fault(t, VEC_TS, sel);
	t->tr.attr |= DESC_BUSY;
	return iret ? EMUL_OK : map(t, lin + 5, 1, ACC_WRITE, &t->busy);
}

static u32 field(const struct form *f, const u8 *buf, unsigned int n)
{
	u32 val = 0;

	memcpy(&val, buf + n * f->word, f->word);
	return val;
}

static int read_new(struct task *t)
{
	const struct form *f = t->new;
	unsigned int i;
	u8 buf[TSS_MAX];
	u16 trap = 0;
	int r = read_at(t, t->tr.base + f->saved, buf, (11 + f->segs) * f->word);

	if (!r && f == &form32)
		r = read_at(t, t->tr.base + TSS32_CR3, &t->cr3, sizeof(t->cr3));
	if (!r && f == &form32)
		r = read_at(t, t->tr.base + TSS32_TRAP, &trap, sizeof(trap));
	if (r)
		return r;
	t->in.ip = field(f, buf, 0);
	t->in.flags = field(f, buf, 1);
	for (i = 0; i < 8; i++)
		t->in.gpr[i] = field(f, buf, 2 + i);
	for (i = 0; i < f->segs; i++)
		t->in.seg[i] = field(f, buf, 10 + i);
	t->in.ldt = field(f, buf, 10 + f->segs);
	t->trap = trap & 1;
	return EMUL_OK;
}

/* What the commit is going to write. */
static int map_changes(struct task *t)
{
	const struct hvx_segment *tr = &t->sregs->tr;
	u64 lin;
	int r;

	t->old = form_of(tr);
	r = tr->limit < t->old->limit ? fault(t, VEC_TS, tr->selector) :
	    map(t, tr->base + t->old->saved, (10 + t->old->segs) * t->old->word, ACC_WRITE, &t->save);
	if (!r && t->nested)
		return map(t, t->tr.base, 2, ACC_WRITE, &t->link);
	if (!r)
		r = locate(t, tr->selector, VEC_TS, &lin);
	return r ? r : map(t, lin + 5, 1, ACC_WRITE, &t->idle);
}

/* ------------------------------------------------------------- the commit */

static void save_old(struct task *t)
{
	const struct hvx_regs *regs = &t->e.regs;
	const struct form *f = t->old;
	u8 buf[TSS_MAX];
	u64 flags = regs->rflags;
	u32 val[16];
	unsigned int i;

	if (t->what->source == HVX_TASK_IRET)
		flags &= ~FL_NT;
	val[0] = (u32)(regs->rip + t->what->insn_len);
	val[1] = (u32)flags;
	for (i = 0; i < 8; i++)
		val[2 + i] = (u32)emul_gpr(&t->e, i);
	for (i = 0; i < f->segs; i++)
		val[10 + i] = emul_segment(&t->e, i)->selector;
	for (i = 0; i < 10 + f->segs; i++)
		memcpy(buf + i * f->word, &val[i], f->word);
	put(t, &t->save, buf);
}

static void commit(struct task *t)
{
	struct hvx_regs *regs = t->e.ctx->regs;
	struct hvx_sregs *s = t->sregs;
	unsigned int i;

	save_old(t);
	if (t->nested)
		put(t, &t->link, &s->tr.selector);
	else
		change(t, &t->idle, DESC_BUSY, 0);
	if (t->what->source != HVX_TASK_IRET)
		change(t, &t->busy, 0, DESC_BUSY);

	memset(regs, 0, sizeof(*regs));
	for (i = 0; i < 8; i++)
		memcpy((char *)regs + i * sizeof(u64), &t->in.gpr[i], sizeof(u32));
	regs->rip = t->in.ip;
	regs->rflags = (t->in.flags & FL_DEFINED) | FL_FIXED | (t->nested ? FL_NT : 0);
	s->tr = t->tr;
	s->cr0 |= CR0_TS;
	if (s->cr0 & CR0_PG && t->new == &form32)
		s->cr3 = t->cr3;
	t->e.ctx->dirty = 1U << HVX_STATE_REGS | 1U << HVX_STATE_SREGS;
	emul_begin(&t->e, t->e.ctx);
}

/* ---------------------------------------------------------- the new task */

/* Selectors; and until a descriptor has been taken what an event can be delivered from. */
static void begin_segments(struct task *t)
{
	struct hvx_segment *s = &t->sregs->es;
	bool vm = t->in.flags & FL_VM;
	unsigned int i;

	t->sregs->cpl = vm ? 3 : t->in.seg[SEG_CS] & 3;
	for (i = 0; i < 6; i++) {
		s[i] = (struct hvx_segment) { .selector = t->in.seg[i], .attr = HVX_SEG_UNUSABLE };
		if (vm) {
			s[i].base = (u64)s[i].selector << 4;
			s[i].limit = 0xffff;
			s[i].attr = HVX_SEG_P | 3 << 5 | HVX_SEG_S | 3;
		} else if (i == SEG_CS || i == SEG_SS) {
			s[i].limit = ~0U;
			s[i].attr = HVX_SEG_P | HVX_SEG_G | HVX_SEG_DB | t->sregs->cpl << 5 | HVX_SEG_S |
				    (i == SEG_CS ? 0xb : 3);
		}
	}
	t->sregs->ldtr = (struct hvx_segment) { .selector = t->in.ldt, .attr = HVX_SEG_UNUSABLE };
}

static int load_ldt(struct task *t)
{
	struct hvx_segment s;
	u16 sel = t->in.ldt;
	u64 lin;
	int r;

	if (IS_NULL(sel))
		return EMUL_OK;
	r = sel & SEL_TI ? fault(t, VEC_TS, sel) : descriptor(t, sel, VEC_TS, &s, &lin);
	if (r)
		return r;
	if ((s.attr & 0x1f) != 2 || !(s.attr & HVX_SEG_P))
		return fault(t, VEC_TS, sel);
	t->sregs->ldtr = s;
	return EMUL_OK;
}

static bool suits(const struct task *t, unsigned int seg, const struct hvx_segment *s)
{
	unsigned int dpl = HVX_SEG_DPL(s->attr), rpl = s->selector & 3, cpl = t->sregs->cpl;
	bool code = s->attr & 8, wr = s->attr & 2, conforming = code && s->attr & 4;

	if (!(s->attr & HVX_SEG_S))
		return false;
	if (seg == SEG_CS)
		return code && (conforming ? dpl <= rpl : dpl == rpl);
	if (seg == SEG_SS)
		return !code && wr && dpl == cpl && rpl == cpl;
	return (!code || wr) && (conforming || (dpl >= cpl && dpl >= rpl));
}

static int load_segment(struct task *t, unsigned int seg)
{
	u16 sel = t->in.seg[seg];
	struct hvx_segment s;
	struct area a;
	u64 lin;
	int r;

	if (IS_NULL(sel))
		return seg == SEG_CS || seg == SEG_SS ? fault(t, VEC_TS, sel) : EMUL_OK;
	r = descriptor(t, sel, VEC_TS, &s, &lin);
	if (r)
		return r;
	if (!suits(t, seg, &s))
		return fault(t, VEC_TS, sel);
	if (!(s.attr & HVX_SEG_P))
		return fault(t, seg == SEG_SS ? VEC_SS : VEC_NP, sel);
	if (!(s.attr & DESC_ACCESSED)) {
		r = map(t, lin + 5, 1, ACC_WRITE, &a);
		if (r)
			return r;
		change(t, &a, 0, DESC_ACCESSED);
	}
	s.attr = (s.attr & ~HVX_SEG_L) | DESC_ACCESSED;
	(&t->sregs->es)[seg] = s;
	return EMUL_OK;
}

static int load_segments(struct task *t)
{
	static const u8 order[] = { SEG_CS, SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };
	unsigned int i;
	int r = load_ldt(t);

	if (t->in.flags & FL_VM)
		return r;
	for (i = 0; !r && i < sizeof(order); i++)
		r = load_segment(t, order[i]);
	return r;
}

static int push_code(struct task *t)
{
	struct emul *e = &t->e;
	int r, tries = 0;

	do {
		emul_begin(e, e->ctx);
		e->opsize = t->new->word;
		r = emul_push(e, t->what->error_code);
	} while (r == EMUL_RETRY && ++tries < MAX_RETRIES);
	if (!r)
		*e->ctx->regs = e->regs;
	return r;
}

static int run_new(struct task *t)
{
	int r;

	begin_segments(t);
	r = load_segments(t);
	if (!r && t->what->event & HVX_EVENT_HAS_CODE)
		r = push_code(t);
	if (!r && t->in.ip > t->sregs->cs.limit)
		r = fault(t, VEC_GP, 0);
	/* Page tables that do not hold still are the new task's own affair by now. */
	return r == EMUL_RETRY ? fault(t, VEC_TS, 0) : r;
}

/* SDM vol. 3 table "Conditions for Generating a Double Fault": a fault before an exception was delivered. */
static int second_fault(struct task *t)
{
	const u32 contributory = 1U << VEC_DE | 1U << VEC_TS | 1U << VEC_NP | 1U << VEC_SS | 1U << VEC_GP;
	u32 first = t->what->event & HVX_EVENT_VECTOR, second = t->e.ctx->vector;

	if ((t->what->event & HVX_EVENT_TYPE) != HVX_EVENT_EXC || first > 31)
		return EMUL_FAULT;
	if (first == VEC_DF)
		return EMUL_SHUTDOWN;
	if ((contributory >> first & 1 && contributory >> second & 1) ||
	    (first == VEC_PF && (contributory | 1U << VEC_PF) >> second & 1))
		return emul_fault_code(&t->e, VEC_DF, 0);
	return EMUL_FAULT;
}

enum emul_result emul_task_switch(struct emul_ctx *ctx, struct hvx_sregs *sregs, struct emul_task *what)
{
	struct task t = { .sregs = sregs, .what = what };
	int r;

	ctx->dirty = 0;
	ctx->cr2 = 0;
	what->trap = false;
	emul_begin(&t.e, ctx);
	/* Outside protected mode and in long mode there are none. */
	if (!t.e.protected || sregs->efer & EFER_LMA)
		return EMUL_UNHANDLED;
	t.nested = what->source == HVX_TASK_CALL || what->source == HVX_TASK_GATE;
	t.ext = what->source == HVX_TASK_GATE && !what->insn_len;
	r = new_tss(&t);
	if (!r)
		r = read_new(&t);
	if (!r)
		r = map_changes(&t);
	if (r == EMUL_RETRY)
		return EMUL_AGAIN;
	if (r)
		return second_fault(&t);
	commit(&t);
	r = run_new(&t);
	what->trap = !r && t.trap;
	return r;
}
