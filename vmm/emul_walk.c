// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's page tables: linear to guest-physical, with the checks and the
 * accessed/dirty updates of SDM vol. 3, chapter "Paging".
 */
#include "emul_int.h"

#define PTE_P		(1ULL << 0)
#define PTE_RW		(1ULL << 1)
#define PTE_US		(1ULL << 2)
#define PTE_A		(1ULL << 5)
#define PTE_D		(1ULL << 6)
#define PTE_PS		(1ULL << 7)
#define PTE_NX		(1ULL << 63)
#define PTE_KEY(p)	(((p) >> 59) & 15)

#define PF_P		(1U << 0)
#define PF_W		(1U << 1)
#define PF_U		(1U << 2)
#define PF_RSVD		(1U << 3)
#define PF_I		(1U << 4)
#define PF_PK		(1U << 5)

#define MAX_LEVELS	5
#define BITS(hi, lo)	((~0ULL >> (63 - (hi))) & ~((1ULL << (lo)) - 1))
#define ADDR_MASK	BITS(51, 12)

/* The shape of the tables in the current paging mode. */
struct walk {
	unsigned int levels, idx_bits, entry;	/* entry: bytes */
	bool pae_top;				/* level 3 entries are PAE PDPTEs */
	bool lma, nxe;
	u64 table;
	/* found on the way, top first */
	unsigned int n;
	u64 pa[MAX_LEVELS], pte[MAX_LEVELS];
	bool has_ad[MAX_LEVELS];
	bool us, rw, nx;
};

bool emul_canonical(const struct emul *e, u64 lin)
{
	unsigned int bits = e->ctx->sregs->cr4 & CR4_LA57 ? 57 : 48;
	s64 high = (s64)lin >> (bits - 1);

	return high == 0 || high == -1;
}

static int page_fault(struct emul *e, u64 lin, unsigned int acc, u32 code)
{
	const struct hvx_sregs *s = e->ctx->sregs;
	bool nxe = (s->cr4 & CR4_PAE) && (s->efer & EFER_NXE);

	if (acc & ACC_WRITE)
		code |= PF_W;
	if (e->cpl == 3 && !(acc & ACC_SYSTEM))
		code |= PF_U;
	if ((acc & ACC_EXEC) && (nxe || (s->cr4 & CR4_SMEP)))
		code |= PF_I;
	e->ctx->cr2 = lin;
	return emul_fault_code(e, VEC_PF, code);
}

static void walk_setup(const struct emul *e, struct walk *w)
{
	const struct hvx_sregs *s = e->ctx->sregs;

	memset(w, 0, sizeof(*w));
	w->us = true;
	w->rw = true;
	w->nxe = s->efer & EFER_NXE;
	w->entry = 8;
	w->idx_bits = 9;
	if (s->efer & EFER_LMA) {
		w->lma = true;
		w->levels = s->cr4 & CR4_LA57 ? 5 : 4;
		w->table = s->cr3 & ADDR_MASK;
	} else if (s->cr4 & CR4_PAE) {
		w->levels = 3;
		w->pae_top = true;
		w->table = s->cr3 & BITS(31, 5);
	} else {
		w->levels = 2;
		w->entry = 4;
		w->idx_bits = 10;
		w->table = s->cr3 & BITS(31, 12);
	}
}

static bool is_large(const struct emul *e, const struct walk *w, unsigned int level, u64 pte)
{
	if (level == 1 || !(pte & PTE_PS))
		return false;
	if (w->entry == 4)
		return e->ctx->sregs->cr4 & CR4_PSE;
	return level == 2 || (level == 3 && w->lma);
}

/* Reserved bits that must be clear in a present entry. */
static u64 reserved_bits(const struct emul *e, const struct walk *w, unsigned int level, bool large)
{
	unsigned int phys = e->ctx->phys_bits;
	u64 rsvd;

	if (phys < 32 || phys > 52)
		phys = 52;
	if (w->entry == 4) {
		/* PSE-36: bits 20:13 are address bits 39:32 */
		if (!large)
			return 0;
		return BITS(21, 21) | (phys < 40 ? BITS(20, 13 + phys - 32) : 0);
	}
	rsvd = phys < 52 ? BITS(51, phys) : 0;
	if (w->pae_top && level == 3)
		return rsvd | BITS(63, 52) | BITS(8, 5) | BITS(2, 1);
	if (!w->lma)
		rsvd |= BITS(62, 52);
	if (!w->nxe)
		rsvd |= PTE_NX;
	if (level >= 4)
		rsvd |= PTE_PS;
	if (large)
		rsvd |= level == 3 ? BITS(29, 13) : BITS(20, 13);
	return rsvd;
}

static bool permitted(const struct emul *e, const struct walk *w, unsigned int acc)
{
	const struct hvx_sregs *s = e->ctx->sregs;
	bool user = e->cpl == 3 && !(acc & ACC_SYSTEM);

	if (user && !w->us)
		return false;
	if ((acc & ACC_WRITE) && !w->rw && (user || (s->cr0 & CR0_WP)))
		return false;
	if (acc & ACC_EXEC)
		return !w->nx && (user || !w->us || !(s->cr4 & CR4_SMEP));
	if (!user && w->us && (s->cr4 & CR4_SMAP))
		return !(acc & ACC_SYSTEM) && (e->regs.rflags & FL_AC);
	return true;
}

/* SDM vol. 3, "Protection Keys": data accesses to user pages. */
static bool key_permits(const struct emul *e, const struct walk *w, u64 leaf, unsigned int acc)
{
	const struct hvx_sregs *s = e->ctx->sregs;
	bool user = e->cpl == 3 && !(acc & ACC_SYSTEM);
	u32 key;

	if (!w->lma || !(s->cr4 & CR4_PKE) || !w->us || (acc & ACC_EXEC) || !e->ctx->ops->get_pkru)
		return true;
	key = e->ctx->ops->get_pkru(e->ctx->opaque) >> (2 * PTE_KEY(leaf));
	if (key & 1)
		return false;
	return !((acc & ACC_WRITE) && (key & 2) && (user || (s->cr0 & CR0_WP)));
}

/* Accessed in every entry used, dirty in the leaf. */
static int mark_used(struct emul *e, struct walk *w, unsigned int acc)
{
	const struct emul_ops *ops = e->ctx->ops;
	unsigned int i;

	for (i = 0; i < w->n; i++) {
		u64 want = w->pte[i] | PTE_A;

		if (!w->has_ad[i])
			continue;
		if (i == w->n - 1 && (acc & ACC_WRITE))
			want |= PTE_D;
		if (want == w->pte[i])
			continue;
		if (ops->cmpxchg_phys(e->ctx->opaque, w->pa[i], &w->pte[i], &want, w->entry) ==
		    EMUL_CMPXCHG_DIFFERS)
			return EMUL_RETRY;
	}
	return EMUL_OK;
}

static u64 leaf_address(const struct walk *w, unsigned int shift, bool large, u64 lin)
{
	u64 pte = w->pte[w->n - 1], in_page = (1ULL << shift) - 1;

	if (w->entry == 4 && large)
		return (pte & BITS(31, 22)) | ((pte & BITS(20, 13)) << 19) | (lin & in_page);
	return (pte & ADDR_MASK & ~in_page) | (lin & in_page);
}

static int walk(struct emul *e, u64 lin, unsigned int acc, u64 *gpa)
{
	unsigned int level, shift;
	bool large;
	struct walk w;
	int r;

	walk_setup(e, &w);
	for (level = w.levels;; level--) {
		u64 pte = 0, pa;

		shift = 12 + (level - 1) * w.idx_bits;
		pa = w.table + ((lin >> shift) & ((1ULL << w.idx_bits) - 1)) * w.entry;
		if (e->ctx->ops->read_phys(e->ctx->opaque, pa, &pte, w.entry))
			pte = emul_mask(w.entry);
		if (!(pte & PTE_P))
			return page_fault(e, lin, acc, 0);
		large = is_large(e, &w, level, pte);
		if (pte & reserved_bits(e, &w, level, large))
			return page_fault(e, lin, acc, PF_P | PF_RSVD);
		w.pa[w.n] = pa;
		w.pte[w.n] = pte;
		w.has_ad[w.n] = !(w.pae_top && level == 3);
		if (w.has_ad[w.n]) {
			w.us &= !!(pte & PTE_US);
			w.rw &= !!(pte & PTE_RW);
			w.nx |= w.entry == 8 && (pte & PTE_NX);
		}
		w.n++;
		if (large || level == 1)
			break;
		w.table = pte & ADDR_MASK;
	}

	if (!permitted(e, &w, acc))
		return page_fault(e, lin, acc, PF_P);
	if (!key_permits(e, &w, w.pte[w.n - 1], acc))
		return page_fault(e, lin, acc, PF_P | PF_PK);
	r = mark_used(e, &w, acc);
	if (r)
		return r;
	*gpa = leaf_address(&w, shift, large, lin);
	return EMUL_OK;
}

/*
 * The last translation of each kind is kept for the time of one emul_insn()
 * call, as a TLB would, so that string instructions do not walk per element.
 */
int emul_translate(struct emul *e, u64 lin, unsigned int acc, u64 *gpa)
{
	struct emul_tlb *t = &e->tlb[acc & ACC_WRITE ? 1 : 0];
	int r;

	if (!(e->ctx->sregs->cr0 & CR0_PG)) {
		*gpa = lin;
		return EMUL_OK;
	}
	if (acc & (ACC_EXEC | ACC_SYSTEM))
		return walk(e, lin, acc, gpa);
	if (t->valid && t->page == lin >> 12) {
		*gpa = t->gpa | (lin & 0xfff);
		return EMUL_OK;
	}
	r = walk(e, lin, acc, gpa);
	if (r)
		return r;
	t->valid = true;
	t->page = lin >> 12;
	t->gpa = *gpa & ~0xfffULL;
	return EMUL_OK;
}
