// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-level page tables: guest-physical to host-physical. Built by faults
 * from the host's own page tables, taken apart by the MMU notifier whenever
 * the host changes those. No page is pinned: a leaf lives only between a fault
 * that saw the page mapped and the notifier that announces its end.
 *
 * A fault notes invalidate_seq, looks at slots and host tables without locks,
 * then takes mmu_lock and starts over if a notifier range is in progress or
 * the sequence has grown.
 *
 * A table's page keeps its number of non-zero entries in page->private, so
 * that a table that becomes empty can be freed; freed tables are chained
 * through the same field until the CPUs have forgotten them.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <asm/cpufeature.h>

#include "backend.h"
#include "mmu.h"

#define ENTRIES		512
#define BATCH		4096	/* leaves, about, between looks at need_resched() */

/* Tables for one fault, allocated before mmu_lock is taken: all levels below the root. */
struct hvx_mmu_cache {
	unsigned int count;
	u64 *table[4];
};

static inline const struct hvx_pte_ops *pte_ops(void)
{
	return hvx_backend->pte;
}

/* Pages that an entry of a level maps. */
static inline u64 level_pages(int level)
{
	return 1ULL << (9 * (level - 1));
}

static inline unsigned int level_index(u64 gfn, int level)
{
	return (gfn >> (9 * (level - 1))) & (ENTRIES - 1);
}

static inline bool entry_is_leaf(u64 pte, int level)
{
	return level == 1 || pte_ops()->leaf(pte, level);
}

static inline u64 *entry_table(u64 pte)
{
	return __va(pte_ops()->address(pte));
}

/*
 * On CPUs with the iTLB multihit erratum a guest could stop the machine by
 * changing the size of a page that it executes: large leaves are not
 * executable there (Documentation/admin-guide/hw-vuln/multihit.rst).
 */
static inline bool no_exec_large(void)
{
	return boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT);
}

static inline bool leaf_grants(u64 pte, int level, u32 access)
{
	if (access & HVX_ACC_WRITE && !pte_ops()->writable(pte))
		return false;
	return !(access & HVX_ACC_EXEC && level > 1 && no_exec_large());
}

unsigned int hvx_mmu_phys_bits(void)
{
	unsigned int mapped = hvx_backend->table_levels * 9 + PAGE_SHIFT;

	return min_t(unsigned int, min(mapped, 52U), boot_cpu_data.x86_phys_bits);
}

/* Under mmu_lock. */
static void mmu_flush(struct hvx_vm *vm)
{
	vm->stats.tlb_flush++;
	hvx_kick_all_wait(vm, HVX_REQ_TLB_FLUSH);
}

/* ------------------------------------------------------- entries and tables */

static void entry_set(u64 *ptep, u64 val)
{
	struct page *page = virt_to_page(ptep);

	if (!*ptep)
		set_page_private(page, page_private(page) + 1);
	WRITE_ONCE(*ptep, val);
}

static void entry_clear(u64 *ptep)
{
	struct page *page = virt_to_page(ptep);

	set_page_private(page, page_private(page) - 1);
	WRITE_ONCE(*ptep, 0);
}

/* Change a present leaf without losing bits that the CPU sets meanwhile. */
static void leaf_update(u64 *ptep, u64 (*change)(u64 pte))
{
	u64 old = READ_ONCE(*ptep);

	while (!try_cmpxchg64(ptep, &old, change(old)))
		;
}

static int cache_fill(struct hvx_mmu_cache *cache, unsigned int want)
{
	while (cache->count < want) {
		u64 *table = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);

		if (!table)
			return -ENOMEM;
		cache->table[cache->count++] = table;
	}
	return 0;
}

static u64 *cache_take(struct hvx_vm *vm, struct hvx_mmu_cache *cache)
{
	u64 *table;

	if (!cache->count)
		return NULL;
	table = cache->table[--cache->count];
	set_page_private(virt_to_page(table), 0);
	vm->stats.table_pages++;
	return table;
}

/* Hang an empty table into an empty entry. NULL: the cache is empty. */
static u64 *table_add(struct hvx_vm *vm, struct hvx_mmu_cache *cache, u64 *ptep)
{
	u64 *table = cache_take(vm, cache);

	if (table) {
		smp_wmb();	/* its zeroes before its address */
		entry_set(ptep, pte_ops()->make_table(__pa(table)));
	}
	return table;
}

static u64 leaf_make(u64 pa, int level, bool write, bool host_writable)
{
	return pte_ops()->make_leaf(pa, level, write, level == 1 || !no_exec_large()) |
	       (host_writable ? pte_ops()->sw_host_writable : 0);
}

/* Replace a large leaf by a table of leaves with the same rights. NULL: the cache is empty. */
static u64 *leaf_split(struct hvx_vm *vm, struct hvx_mmu_cache *cache, u64 *ptep, int level)
{
	u64 old = READ_ONCE(*ptep), size = level_pages(level - 1) << PAGE_SHIFT;
	u64 pa = pte_ops()->address(old) & ~(size * ENTRIES - 1);
	u64 *table = cache_take(vm, cache);
	int i;

	if (!table)
		return NULL;
	for (i = 0; i < ENTRIES; i++)
		table[i] = leaf_make(pa + i * size, level - 1, pte_ops()->writable(old),
				     old & pte_ops()->sw_host_writable);
	set_page_private(virt_to_page(table), ENTRIES);
	smp_wmb();	/* its entries before its address */
	entry_set(ptep, pte_ops()->make_table(__pa(table)));
	mmu_flush(vm);
	return table;
}

/* The leaf that maps gfn, or NULL. */
static u64 *leaf_find(struct hvx_vm *vm, u64 gfn, int *level_out)
{
	u64 *table = vm->mmu.root;
	int level;

	for (level = vm->mmu.levels; level > 0; level--) {
		u64 *ptep = &table[level_index(gfn, level)];
		u64 pte = READ_ONCE(*ptep);

		if (!pte)
			return NULL;
		if (entry_is_leaf(pte, level)) {
			*level_out = level;
			return ptep;
		}
		table = entry_table(pte);
	}
	return NULL;
}

/* ------------------------------------------------------------------- walks */

enum leaf_op { LEAF_ZAP, LEAF_PROTECT, LEAF_TEST_YOUNG, LEAF_CLEAR_YOUNG };

/* One pass over the leaves of [pos, end), in pieces. */
struct leaf_walk {
	struct hvx_vm *vm;
	enum leaf_op op;
	u64 pos, end;		/* gfn; pos is what comes next */
	int budget;		/* leaves until the next pause */
	bool flush;		/* rights were taken away: flush before mmu_lock is dropped */
	bool young;		/* some leaf was accessed */
	u64 *freed;		/* tables to free after the flush */
};

static void walk_leaf(struct leaf_walk *w, u64 *ptep)
{
	u64 pte = READ_ONCE(*ptep);

	switch (w->op) {
	case LEAF_ZAP:
		entry_clear(ptep);
		w->vm->stats.pages_zapped++;
		w->flush = true;
		break;
	case LEAF_PROTECT:
		if (pte_ops()->writable(pte)) {
			leaf_update(ptep, pte_ops()->clear_write);
			w->flush = true;
		}
		break;
	case LEAF_CLEAR_YOUNG:
		/*
		 * No flush: a translation that stays cached only makes the page
		 * look older than it is, as with the host's own tables on x86.
		 */
		if (pte_ops()->accessed(pte)) {
			leaf_update(ptep, pte_ops()->clear_accessed);
			w->young = true;
		}
		break;
	case LEAF_TEST_YOUNG:
		w->young |= pte_ops()->accessed(pte);
		break;
	}
}

static void walk_free_table(struct leaf_walk *w, u64 *ptep, u64 *table)
{
	entry_clear(ptep);
	set_page_private(virt_to_page(table), (unsigned long)w->freed);
	w->freed = table;
	w->vm->stats.table_pages--;
	w->flush = true;
}

/* Recursion is as deep as the tables. */
static void walk_table(struct leaf_walk *w, u64 *table, int level)
{
	u64 pages = level_pages(level);
	u64 end = min(w->end, (w->pos | (pages * ENTRIES - 1)) + 1);

	while (w->pos < end && w->budget > 0) {
		u64 *ptep = &table[level_index(w->pos, level)];
		u64 next = (w->pos | (pages - 1)) + 1;
		u64 pte = READ_ONCE(*ptep);

		if (pte && !entry_is_leaf(pte, level)) {
			u64 *child = entry_table(pte);

			walk_table(w, child, level - 1);
			w->budget -= ENTRIES / 8;	/* empty entries take time too */
			if (w->op == LEAF_ZAP && !page_private(virt_to_page(child)))
				walk_free_table(w, ptep, child);
			continue;	/* the child has moved pos */
		}
		if (pte) {
			walk_leaf(w, ptep);
			w->budget--;
		}
		w->pos = next;
	}
}

/* What must be done before mmu_lock is dropped. */
static void walk_settle(struct leaf_walk *w)
{
	if (w->flush)
		mmu_flush(w->vm);
	w->flush = false;
	while (w->freed) {
		struct page *page = virt_to_page(w->freed);

		w->freed = (u64 *)page_private(page);
		set_page_private(page, 0);
		__free_page(page);
	}
}

/* Under mmu_lock; with can_sleep it is dropped now and then. */
static bool walk_range(struct hvx_vm *vm, enum leaf_op op, u64 gfn, u64 end, bool can_sleep)
{
	struct leaf_walk w = { .vm = vm, .op = op, .pos = gfn, .end = end };

	lockdep_assert_held(&vm->mmu_lock);
	while (w.pos < w.end) {
		w.budget = BATCH;
		walk_table(&w, vm->mmu.root, vm->mmu.levels);
		if (can_sleep && w.pos < w.end &&
		    (need_resched() || spin_needbreak(&vm->mmu_lock))) {
			walk_settle(&w);
			cond_resched_lock(&vm->mmu_lock);
		}
	}
	walk_settle(&w);
	return w.young;
}

void hvx_mmu_zap_range(struct hvx_vm *vm, u64 gfn, u64 end)
{
	walk_range(vm, LEAF_ZAP, gfn, end, true);
}

void hvx_mmu_protect_range(struct hvx_vm *vm, u64 gfn, u64 end)
{
	walk_range(vm, LEAF_PROTECT, gfn, end, true);
}

void hvx_mmu_protect_bits(struct hvx_vm *vm, u64 gfn, const unsigned long *words,
			  unsigned int nwords)
{
	struct leaf_walk w = { .vm = vm, .op = LEAF_PROTECT };
	unsigned long bit;

	lockdep_assert_held(&vm->mmu_lock);
	for_each_set_bit(bit, words, nwords * BITS_PER_LONG) {
		int level;
		u64 *ptep = leaf_find(vm, gfn + bit, &level);

		if (ptep)
			walk_leaf(&w, ptep);
	}
	walk_settle(&w);
}

/* ------------------------------------------------------------------ faults */

struct fault {
	struct hvx_vcpu *vcpu;
	u64 gfn;
	u32 access;		/* HVX_ACC_* */
	unsigned long seq;	/* invalidate_seq before anything was looked at */
	struct hvx_memslot slot; /* copy; slot.dirty is good under mmu_lock while seq holds */
	unsigned long hva;
	struct page *page;	/* a reference of our own */
	bool page_writable;	/* the host lets this mm write to it */
	int goal;		/* level of the leaf to make */
};

static int fault_begin(struct fault *f)
{
	struct hvx_vm *vm = f->vcpu->vm;
	struct hvx_memslot *slot;

	f->seq = READ_ONCE(vm->mmu.invalidate_seq);
	smp_rmb();	/* pairs with slots_publish() and invalidate_end() */
	rcu_read_lock_sched();
	slot = hvx_slot_find(vm, hvx_slots(vm), f->gfn);
	if (slot)
		f->slot = *slot;
	rcu_read_unlock_sched();
	if (!slot || (f->access & HVX_ACC_WRITE && f->slot.flags & HVX_SLOT_READONLY))
		return HVX_FAULT_MMIO;
	f->hva = hvx_slot_hva(&f->slot, f->gfn);
	return HVX_FAULT_OK;
}

/*
 * Is the host changing what the fault would map? Where a large leaf is the
 * goal, host and guest addresses are aligned alike.
 */
static bool fault_is_invalidating(struct fault *f)
{
	struct hvx_mmu *mmu = &f->vcpu->vm->mmu;
	u64 size = level_pages(f->goal) << PAGE_SHIFT;
	unsigned long hva = f->hva & ~(size - 1);

	return READ_ONCE(mmu->invalidate_count) &&
	       hva < READ_ONCE(mmu->invalidate_end) &&
	       hva + size > READ_ONCE(mmu->invalidate_start);
}

/* Do the host's tables and the slots still say what this fault has seen? Under mmu_lock. */
static bool fault_is_stale(struct fault *f)
{
	return f->vcpu->vm->mmu.invalidate_seq != f->seq || fault_is_invalidating(f);
}

/* The page if it is mapped now, writable if it can be had so. Does not sleep. */
static bool fault_page_fast(struct fault *f)
{
	if (!(f->slot.flags & HVX_SLOT_READONLY) &&
	    get_user_page_fast_only(f->hva, FOLL_WRITE, &f->page)) {
		f->page_writable = true;
		return true;
	}
	f->page_writable = false;
	return !(f->access & HVX_ACC_WRITE) && get_user_page_fast_only(f->hva, 0, &f->page);
}

/* Fault the page in. Reading leaves copy-on-write alone: the leaf will be read-only. */
static int fault_page_slow(struct fault *f)
{
	unsigned int flags = FOLL_HWPOISON | HVX_FOLL_FAULT;
	struct page *page;
	long n;

	if (f->access & HVX_ACC_WRITE)
		flags |= FOLL_WRITE;
	n = get_user_pages_unlocked(f->hva, 1, &f->page, flags);
	if (n != 1)
		return n < 0 ? n : -EFAULT;
	f->page_writable = f->access & HVX_ACC_WRITE;

	/* Now that it is there, the host may turn out to let us write without further ado. */
	if (!f->page_writable && !(f->slot.flags & HVX_SLOT_READONLY) &&
	    get_user_page_fast_only(f->hva, FOLL_WRITE, &page)) {
		put_page(f->page);
		f->page = page;
		f->page_writable = true;
	}
	return 0;
}

/*
 * A page that the guest can write counts as dirty from here on; the host
 * announces through the notifier before it takes a page to be clean again.
 * (That the page is accessed get_user_pages() has noted already.) Anonymous
 * and shmem pages just have the flag; others need the page lock.
 */
static bool page_mark_dirty(struct page *page, bool can_sleep)
{
	struct folio *folio = page_folio(page);

	if (folio_test_dirty(folio))
		return true;
	if (folio_test_swapbacked(folio)) {
		folio_set_dirty(folio);
		return true;
	}
	if (!can_sleep)
		return false;
	folio_lock(folio);
	folio_mark_dirty(folio);
	folio_unlock(folio);
	return true;
}

static bool fault_maps_writable(struct fault *f)
{
	return f->page_writable && (!f->slot.dirty || f->access & HVX_ACC_WRITE);
}

/* Level at which the host maps hva: 1 also where it does not at all. */
static int host_level(struct mm_struct *mm, unsigned long hva)
{
	unsigned long flags;
	int level = 1;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	/* Tables are freed only after every CPU has had interrupts on. */
	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(mm, hva));
	if (pgd_none(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (p4d_none(p4d) || !p4d_present(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (pud_none(pud) || !pud_present(pud))
		goto out;
	if (pud_leaf(pud)) {
		level = 3;
		goto out;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	if (pmd_present(pmd) && pmd_leaf(pmd))
		level = 2;
out:
	local_irq_restore(flags);
	return level;
}

/*
 * May a leaf of this level cover f->gfn: does it stay within the slot, and is
 * the slot's memory aligned like its guest addresses?
 */
static bool slot_allows_level(struct fault *f, int level)
{
	const struct hvx_memslot *slot = &f->slot;
	u64 pages = level_pages(level);
	u64 first = f->gfn & ~(pages - 1);

	return first >= slot->base_gfn &&
	       first + pages <= slot->base_gfn + slot->npages &&
	       !((slot->base_gfn ^ (slot->hva >> PAGE_SHIFT)) & (pages - 1));
}

static int fault_goal(struct fault *f)
{
	int level = hvx_backend->max_leaf_level;

	if (f->slot.dirty || (f->access & HVX_ACC_EXEC && no_exec_large()))
		return 1;
	while (level > 1 && !slot_allows_level(f, level))
		level--;
	if (level > 1)
		level = min(level, host_level(f->vcpu->vm->mm, f->hva));
	return level;
}

/* Write the leaf. Under mmu_lock. */
static void fault_install(struct fault *f, u64 *ptep, int level)
{
	struct hvx_stats *stats = &f->vcpu->stats;
	bool write = fault_maps_writable(f);
	u64 pfn = page_to_pfn(f->page) & ~(level_pages(level) - 1);
	u64 leaf = leaf_make(pfn << PAGE_SHIFT, level, write, f->page_writable);
	u64 old = READ_ONCE(*ptep);

	if (old && (pte_ops()->address(old) ^ pte_ops()->address(leaf)) >> PAGE_SHIFT) {
		entry_clear(ptep);	/* never two translations at once */
		mmu_flush(f->vcpu->vm);
	}
	entry_set(ptep, leaf);
	if (write && f->slot.dirty)
		set_bit(f->gfn - f->slot.base_gfn, f->slot.dirty);
	if (level == 3)
		stats->pages_mapped_1g++;
	else if (level == 2)
		stats->pages_mapped_2m++;
	else
		stats->pages_mapped_4k++;
}

/*
 * Make the leaf, with the tables above it. Under mmu_lock. -EAGAIN: the cache
 * ran out of tables, which it does not when it was full.
 */
static int fault_map(struct fault *f)
{
	struct hvx_vm *vm = f->vcpu->vm;
	struct hvx_mmu_cache *cache = &vm->mmu.caches[f->vcpu->id];
	u64 *table, *ptep, pte;
	int level;

again:
	table = vm->mmu.root;
	for (level = vm->mmu.levels; table; level--) {
		ptep = &table[level_index(f->gfn, level)];
		pte = READ_ONCE(*ptep);
		if (pte && entry_is_leaf(pte, level) && leaf_grants(pte, level, f->access))
			return HVX_FAULT_OK;	/* another vCPU was faster */
		if (level == f->goal) {
			u64 first = f->gfn & ~(level_pages(level) - 1);

			if (!pte || entry_is_leaf(pte, level)) {
				fault_install(f, ptep, level);
				return HVX_FAULT_OK;
			}
			/* Smaller leaves are in the way of a large one. */
			if (!no_exec_large()) {
				walk_range(vm, LEAF_ZAP, first, first + level_pages(level), false);
				goto again;
			}
			f->goal--;	/* there because the guest executes them: keep them */
		}
		if (!pte)
			table = table_add(vm, cache, ptep);
		else if (entry_is_leaf(pte, level))
			table = leaf_split(vm, cache, ptep, level);
		else
			table = entry_table(pte);
	}
	return -EAGAIN;
}

/* Everything after the page was found; lets go of it. -EAGAIN: start over. */
static int fault_finish(struct fault *f)
{
	struct hvx_vm *vm = f->vcpu->vm;
	int ret;

	f->goal = fault_goal(f);
	spin_lock(&vm->mmu_lock);
	ret = fault_is_stale(f) ? -EAGAIN : fault_map(f);
	spin_unlock(&vm->mmu_lock);
	put_page(f->page);
	return ret;
}

static int fault_slow(struct fault *f)
{
	struct hvx_mmu *mmu = &f->vcpu->vm->mmu;
	int ret = fault_begin(f);

	if (ret == HVX_FAULT_OK && fault_is_invalidating(f)) {
		if (wait_event_interruptible(mmu->invalidate_wait, !fault_is_invalidating(f)))
			return -EAGAIN;
		ret = fault_begin(f);
	}
	if (ret != HVX_FAULT_OK)
		return ret;
	ret = cache_fill(&mmu->caches[f->vcpu->id], mmu->levels - 1);
	if (!ret)
		ret = fault_page_slow(f);
	if (ret)
		return ret;
	if (fault_maps_writable(f))
		page_mark_dirty(f->page, true);
	return fault_finish(f);
}

int hvx_mmu_fault(struct hvx_vcpu *vcpu, u64 gpa, u32 access)
{
	struct fault f = { .vcpu = vcpu, .gfn = gpa >> PAGE_SHIFT, .access = access, .goal = 1 };
	int ret = fault_slow(&f);

	/* The host changed something meanwhile, or a signal waits: the guest will fault again. */
	return ret == -EAGAIN ? HVX_FAULT_OK : ret;
}

/* Write to a page that is only protected for the dirty log: no need to ask the host. */
static bool fault_unprotect(struct fault *f)
{
	struct hvx_vm *vm = f->vcpu->vm;
	bool done = false;
	int level;
	u64 *ptep;

	spin_lock(&vm->mmu_lock);
	ptep = fault_is_stale(f) ? NULL : leaf_find(vm, f->gfn, &level);
	if (ptep && level == 1 && *ptep & pte_ops()->sw_host_writable &&
	    page_mark_dirty(pfn_to_page(pte_ops()->address(*ptep) >> PAGE_SHIFT), false)) {
		leaf_update(ptep, pte_ops()->set_write);
		set_bit(f->gfn - f->slot.base_gfn, f->slot.dirty);
		done = true;
	}
	spin_unlock(&vm->mmu_lock);
	return done;
}

int hvx_mmu_fault_fast(struct hvx_vcpu *vcpu, u64 gpa, u32 access)
{
	struct fault f = { .vcpu = vcpu, .gfn = gpa >> PAGE_SHIFT, .access = access, .goal = 1 };
	int ret = fault_begin(&f);

	if (ret != HVX_FAULT_OK)
		return ret;
	if (f.slot.dirty && access & HVX_ACC_WRITE && fault_unprotect(&f))
		return HVX_FAULT_OK;
	if (!fault_page_fast(&f))
		return -EAGAIN;
	if (fault_maps_writable(&f) && !page_mark_dirty(f.page, false)) {
		put_page(f.page);
		return -EAGAIN;
	}
	return fault_finish(&f);
}

/* ---------------------------------------------------------------- notifier */

static struct hvx_vm *mn_vm(struct mmu_notifier *mn)
{
	return container_of(mn, struct hvx_vm, mn);
}

/* Walk what the slot shows of host addresses [start, end). */
static bool walk_hva(struct hvx_vm *vm, const struct hvx_memslot *slot, enum leaf_op op,
		     unsigned long start, unsigned long end, bool can_sleep)
{
	start = max(start, slot->hva);
	end = min(end, slot->hva + (slot->npages << PAGE_SHIFT));
	if (start >= end)
		return false;
	return walk_range(vm, op, slot->base_gfn + ((start - slot->hva) >> PAGE_SHIFT),
			  slot->base_gfn + ((end - slot->hva + PAGE_SIZE - 1) >> PAGE_SHIFT),
			  can_sleep);
}

/* Under mmu_lock. With can_sleep also under srcu, as the array may be replaced meanwhile. */
static bool walk_slots(struct hvx_vm *vm, enum leaf_op op, unsigned long start,
		       unsigned long end, bool can_sleep)
{
	struct hvx_memslots *slots = hvx_slots(vm);
	struct hvx_memslot leaving = vm->mmu.leaving;
	bool young = false;
	unsigned int i;

	for (i = 0; i < slots->count; i++)
		young |= walk_hva(vm, &slots->slot[i], op, start, end, can_sleep);
	if (leaving.npages)
		young |= walk_hva(vm, &leaving, op, start, end, can_sleep);
	return young;
}

/* Flushing does not sleep, so that this may also be called where sleeping is not allowed. */
static int invalidate_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct hvx_vm *vm = mn_vm(mn);
	struct hvx_mmu *mmu = &vm->mmu;
	int idx = srcu_read_lock(&vm->srcu);

	spin_lock(&vm->mmu_lock);
	if (!mmu->invalidate_count++) {
		mmu->invalidate_start = range->start;
		mmu->invalidate_end = range->end;
	} else {
		mmu->invalidate_start = min(mmu->invalidate_start, range->start);
		mmu->invalidate_end = max(mmu->invalidate_end, range->end);
	}
	walk_slots(vm, LEAF_ZAP, range->start, range->end, mmu_notifier_range_blockable(range));
	spin_unlock(&vm->mmu_lock);
	srcu_read_unlock(&vm->srcu, idx);
	return 0;
}

static void invalidate_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct hvx_vm *vm = mn_vm(mn);

	spin_lock(&vm->mmu_lock);
	vm->mmu.invalidate_seq++;
	vm->mmu.invalidate_count--;
	spin_unlock(&vm->mmu_lock);
	if (wq_has_sleeper(&vm->mmu.invalidate_wait))
		wake_up_all(&vm->mmu.invalidate_wait);
}

static bool walk_young(struct mmu_notifier *mn, enum leaf_op op,
		       unsigned long start, unsigned long end)
{
	struct hvx_vm *vm = mn_vm(mn);
	bool young;

	spin_lock(&vm->mmu_lock);
	young = walk_slots(vm, op, start, end, false);
	spin_unlock(&vm->mmu_lock);
	return young;
}

static hvx_young_t clear_flush_young(struct mmu_notifier *mn, struct mm_struct *mm,
				     unsigned long start, unsigned long end)
{
	return walk_young(mn, LEAF_CLEAR_YOUNG, start, end);
}

static hvx_young_t clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
			       unsigned long start, unsigned long end)
{
	return walk_young(mn, LEAF_CLEAR_YOUNG, start, end);
}

static hvx_young_t test_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long addr)
{
	return walk_young(mn, LEAF_TEST_YOUNG, addr, addr + 1);
}

/* The address space ends, or hvx_mmu_stop(): nobody faults any more. */
static void release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct hvx_vm *vm = mn_vm(mn);

	spin_lock(&vm->mmu_lock);
	walk_range(vm, LEAF_ZAP, 0, level_pages(vm->mmu.levels + 1), true);
	spin_unlock(&vm->mmu_lock);
}

static const struct mmu_notifier_ops mn_ops = {
	.release = release,
	.clear_flush_young = clear_flush_young,
	.clear_young = clear_young,
	.test_young = test_young,
	.invalidate_range_start = invalidate_start,
	.invalidate_range_end = invalidate_end,
};

/* ------------------------------------------------------------ begin and end */

int hvx_mmu_init(struct hvx_vm *vm)
{
	struct hvx_memslots *slots;
	int ret;

	mutex_init(&vm->slots_lock);
	spin_lock_init(&vm->mmu_lock);
	init_waitqueue_head(&vm->mmu.invalidate_wait);
	vm->mmu.levels = hvx_backend->table_levels;
	BUILD_BUG_ON(ARRAY_SIZE(vm->mmu.caches->table) < 5 - 1);

	ret = init_srcu_struct(&vm->srcu);
	if (ret)
		return ret;
	ret = -ENOMEM;
	slots = kzalloc(sizeof(*slots), GFP_KERNEL_ACCOUNT);
	if (!slots)
		goto free_srcu;
	RCU_INIT_POINTER(vm->slots, slots);
	vm->mmu.caches = kcalloc(HVX_MAX_VCPUS, sizeof(*vm->mmu.caches), GFP_KERNEL_ACCOUNT);
	if (!vm->mmu.caches)
		goto free_slots;
	vm->mmu.root = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vm->mmu.root)
		goto free_caches;
	set_page_private(virt_to_page(vm->mmu.root), 0);
	vm->stats.table_pages = 1;

	vm->mn.ops = &mn_ops;
	ret = mmu_notifier_register(&vm->mn, vm->mm);
	if (ret)
		goto free_root;
	return 0;

free_root:
	free_page((unsigned long)vm->mmu.root);
free_caches:
	kfree(vm->mmu.caches);
free_slots:
	RCU_INIT_POINTER(vm->slots, NULL);
	kfree(slots);
free_srcu:
	cleanup_srcu_struct(&vm->srcu);
	return ret;
}

void hvx_mmu_stop(struct hvx_vm *vm)
{
	mmu_notifier_unregister(&vm->mn, vm->mm);	/* calls release() unless the mm has */
}

static void cache_free(struct hvx_mmu_cache *cache)
{
	while (cache->count)
		free_page((unsigned long)cache->table[--cache->count]);
}

void hvx_mmu_destroy(struct hvx_vm *vm)
{
	struct hvx_memslots *slots = rcu_dereference_protected(vm->slots, true);
	unsigned int i;

	WARN_ON_ONCE(vm->stats.table_pages != 1);	/* release() has left the root */
	set_page_private(virt_to_page(vm->mmu.root), 0);
	free_page((unsigned long)vm->mmu.root);
	for (i = 0; i < HVX_MAX_VCPUS; i++)
		cache_free(&vm->mmu.caches[i]);
	kfree(vm->mmu.caches);

	for (i = 0; i < slots->count; i++)
		kvfree(slots->slot[i].dirty);
	kfree(slots);
	cleanup_srcu_struct(&vm->srcu);
}
