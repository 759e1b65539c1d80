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
#include "backend.h"
#include "mmu.h"
#include "irq/lapic.h"

#define ENTRIES		512
#define APIC_GFN	(BASE_DEFAULT >> PAGE_SHIFT)
#define BATCH		4096	/* leaves, about, between looks at need_resched() */

/*
 * Kept in a leaf of 4 KiB that cannot be written: only the dirty log forbids
 * it. Software's own in the entries of both vendors, which all have the
 * address in bits 51:12.
 */
#define ENTRY_LOGGED	BIT_ULL(52)
#define ENTRY_ADDR	GENMASK_ULL(51, 12)

static inline const struct hvx_pte_format *format(void)
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
	return level == 1 || pte & format()->large;
}

static inline u64 entry_pa(u64 pte)
{
	return __sme_clr(pte & ENTRY_ADDR);
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

	set_page_private(page, page_private(page) + !!val - !!*ptep);
	WRITE_ONCE(*ptep, val);
}

/* Change a present leaf without losing bits that the CPU sets meanwhile. */
static void leaf_update(u64 *ptep, u64 clear, u64 set)
{
	u64 old = READ_ONCE(*ptep);

	while (!try_cmpxchg64(ptep, &old, (old & ~clear) | set))
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

/* Hang an empty table into an empty entry. NULL: the vCPU's cache is empty. */
static u64 *table_add(struct hvx_vcpu *vcpu, u64 *ptep)
{
	struct hvx_mmu_cache *cache = &vcpu->vm->mmu.caches[vcpu->id];
	u64 *table;

	if (!cache->count)
		return NULL;
	table = cache->table[--cache->count];
	set_page_private(virt_to_page(table), 0);
	vcpu->vm->stats.table_pages++;
	smp_wmb();	/* its zeroes before its address */
	entry_set(ptep, __sme_set(__pa(table)) | format()->table);
	return table;
}

/* ------------------------------------------------------------------- walks */

enum leaf_op { LEAF_ZAP, LEAF_PROTECT, LEAF_TEST_YOUNG, LEAF_CLEAR_YOUNG };

/* One pass over the leaves of [pos, end), in pieces. */
struct leaf_walk {
	struct hvx_vm *vm;
	enum leaf_op op;
	u64 pos, end;		/* gfn; pos is what comes next */
	u64 first;		/* LEAF_PROTECT: what bit 0 of words stands for */
	const unsigned long *words;
	bool can_sleep;		/* mmu_lock may be dropped now and then */
	int budget;		/* leaves until the next pause */
	bool flush;		/* rights were taken away: flush before mmu_lock is dropped */
	bool young;		/* some leaf was accessed */
	u64 *freed;		/* tables to free after the flush */
};

static void walk_leaf(struct leaf_walk *w, u64 *ptep)
{
	u64 pte = READ_ONCE(*ptep), log = format()->logs ?: format()->write;

	switch (w->op) {
	case LEAF_ZAP:
		entry_set(ptep, 0);
		w->vm->stats.pages_zapped++;
		w->flush = true;
		break;
	case LEAF_PROTECT:
		if (pte & log && test_bit(w->pos - w->first, w->words)) {
			leaf_update(ptep, log, ENTRY_LOGGED);
			w->flush = true;
		}
		break;
	case LEAF_CLEAR_YOUNG:
		/*
		 * No flush: a translation that stays cached only makes the page
		 * look older than it is, as with the host's own tables on x86.
		 */
		leaf_update(ptep, format()->accessed, 0);
		fallthrough;
	case LEAF_TEST_YOUNG:
		w->young |= !format()->accessed || pte & format()->accessed;
		break;
	}
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
			u64 *child = __va(entry_pa(pte));

			walk_table(w, child, level - 1);
			w->budget -= ENTRIES / 8;	/* empty entries take time too */
			if (w->op == LEAF_ZAP && !page_private(virt_to_page(child))) {
				entry_set(ptep, 0);
				set_page_private(virt_to_page(child), (unsigned long)w->freed);
				w->freed = child;
				w->vm->stats.table_pages--;
				w->flush = true;
			}
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
		__free_page(page);
	}
}

/* Under mmu_lock. */
static void walk_run(struct leaf_walk *w)
{
	lockdep_assert_held(&w->vm->mmu_lock);
	while (w->pos < w->end) {
		w->budget = BATCH;
		walk_table(w, w->vm->mmu.root, w->vm->mmu.levels);
		if (w->can_sleep && w->pos < w->end &&
		    (need_resched() || spin_needbreak(&w->vm->mmu_lock))) {
			walk_settle(w);
			cond_resched_lock(&w->vm->mmu_lock);
		}
	}
	walk_settle(w);
}

void hvx_mmu_protect(struct hvx_vm *vm, u64 gfn, u64 end, const unsigned long *words)
{
	struct leaf_walk w = { .vm = vm, .op = LEAF_PROTECT, .pos = gfn, .end = end,
			       .first = gfn, .words = words, .can_sleep = true };

	spin_lock(&vm->mmu_lock);
	walk_run(&w);
	spin_unlock(&vm->mmu_lock);
}

/*
 * Walk what the slots show of host addresses [start, end). Under mmu_lock.
 * With can_sleep also under srcu or slots_lock. Was any leaf accessed?
 */
static bool walk_slots(struct hvx_vm *vm, enum leaf_op op, unsigned long start,
		       unsigned long end, bool can_sleep)
{
	struct leaf_walk w = { .vm = vm, .op = op, .can_sleep = can_sleep };
	struct hvx_memslots *slots = hvx_slots(vm);
	unsigned int i;

	for (i = 0; i < slots->count; i++) {
		const struct hvx_memslot *slot = &slots->slot[i];
		unsigned long first = max(start, slot->hva);
		unsigned long last = min(end, slot->hva + (slot->npages << PAGE_SHIFT));

		if (first >= last)
			continue;
		w.pos = slot->base_gfn + ((first - slot->hva) >> PAGE_SHIFT);
		w.end = slot->base_gfn + (PAGE_ALIGN(last - slot->hva) >> PAGE_SHIFT);
		walk_run(&w);
	}
	return w.young;
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
	bool write;		/* the leaf may be writable: slot, log, and the host's mapping allow it */
	int goal;		/* level of the leaf to make */
};

static int fault_begin(struct fault *f)
{
	struct hvx_vm *vm = f->vcpu->vm;
	struct hvx_memslot *slot;

	f->seq = READ_ONCE(vm->mmu.invalidate_seq);
	smp_rmb();	/* pairs with hvx_mmu_invalidate_end() */
	rcu_read_lock_sched();
	slot = hvx_slot_find(hvx_slots(vm), f->gfn);
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

/* The page if it is mapped now, writable if it can be had so. Does not sleep. */
static bool fault_page_fast(struct fault *f)
{
	bool write = f->access & HVX_ACC_WRITE;

	f->write = (write || (!f->slot.dirty && !(f->slot.flags & HVX_SLOT_READONLY))) &&
		   get_user_page_fast_only(f->hva, FOLL_WRITE, &f->page);
	return f->write || (!write && get_user_page_fast_only(f->hva, 0, &f->page));
}

/* Fault the page in. Reading leaves copy-on-write alone: the leaf will be read-only. */
static int fault_page_slow(struct fault *f)
{
	unsigned int write = f->access & HVX_ACC_WRITE ? FOLL_WRITE : 0;
	struct page *page;
	long n;

	n = get_user_pages_unlocked(f->hva, 1, &page, FOLL_HWPOISON | HVX_FOLL_FAULT | write);
	if (n != 1)
		return n < 0 ? n : -EFAULT;
	/* Now that it is there, the host may turn out to let us write without further ado. */
	if (!write && fault_page_fast(f)) {
		put_page(page);
		return 0;
	}
	f->page = page;
	f->write = write;
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
	if (folio_test_swapbacked(folio))
		folio_set_dirty(folio);
	else if (can_sleep)
		set_page_dirty_lock(page);
	else
		return false;
	return true;
}

/* Level at which the host maps hva: 1 also where it does not at all. */
static int host_level(struct mm_struct *mm, unsigned long hva)
{
	unsigned long flags;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	/* Tables are freed only after every CPU has had interrupts on. */
	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(mm, hva));
	p4d = pgd_none(pgd) ? __p4d(0) : READ_ONCE(*p4d_offset(&pgd, hva));
	pud = p4d_present(p4d) ? READ_ONCE(*pud_offset(&p4d, hva)) : __pud(0);
	pmd = pud_present(pud) && !pud_leaf(pud) ? READ_ONCE(*pmd_offset(&pud, hva)) : __pmd(0);
	local_irq_restore(flags);
	if (pud_present(pud) && pud_leaf(pud))
		return 3;
	return pmd_present(pmd) && pmd_leaf(pmd) ? 2 : 1;
}

/*
 * The largest leaf that may cover f->gfn: it stays within the slot, the slot's
 * memory is aligned like its guest addresses, and the host maps it alike.
 */
static int fault_goal(struct fault *f)
{
	const struct hvx_memslot *slot = &f->slot;
	int level = slot->dirty ? 1 : hvx_backend->max_leaf_level;

	for (; level > 1; level--) {
		u64 pages = level_pages(level), first = f->gfn & ~(pages - 1);

		if (first >= slot->base_gfn && first + pages <= slot->base_gfn + slot->npages &&
		    !((slot->base_gfn ^ (slot->hva >> PAGE_SHIFT)) & (pages - 1)))
			return min(level, host_level(f->vcpu->vm->mm, f->hva));
	}
	return 1;
}

/* Write the leaf. Under mmu_lock. */
static void fault_install(struct fault *f, u64 *ptep, u64 pa, int level)
{
	struct hvx_stats *stats = &f->vcpu->stats;
	u64 leaf = __sme_set(pa & ~((level_pages(level) << PAGE_SHIFT) - 1)) | format()->leaf |
		   (level > 1 ? format()->large : 0) | (f->write ? format()->write : 0);

	if (*ptep && (*ptep ^ leaf) & ENTRY_ADDR) {
		entry_set(ptep, 0);	/* never two translations at once */
		mmu_flush(f->vcpu->vm);
	}
	entry_set(ptep, leaf);
	if (f->write && f->slot.dirty)
		set_bit(f->gfn - f->slot.base_gfn, f->slot.dirty);
	++*(level == 1 ? &stats->pages_mapped_4k :
	    level == 2 ? &stats->pages_mapped_2m : &stats->pages_mapped_1g);
}

/*
 * Make the leaf, with the tables above it. -EAGAIN: start over. Without a page
 * this is done for a leaf that only the dirty log holds writes back from: the
 * page was writable, and is what the host maps still, or the leaf were gone.
 */
static int fault_map_locked(struct fault *f)
{
	struct hvx_vm *vm = f->vcpu->vm;
	bool write = f->access & HVX_ACC_WRITE, leaf;
	u64 *table, *ptep, pte, pages;
	int level;

	/* Do the host's tables and the slots still say what this fault has seen? */
	if (vm->mmu.invalidate_seq != f->seq || fault_is_invalidating(f))
		return -EAGAIN;
again:
	table = vm->mmu.root;
	for (level = vm->mmu.levels; table; level--) {
		ptep = &table[level_index(f->gfn, level)];
		pte = *ptep;
		leaf = pte && entry_is_leaf(pte, level);
		if (leaf && (!write || pte & format()->write))
			return HVX_FAULT_OK;	/* another vCPU was faster */
		if (!f->page && (leaf ? !(pte & ENTRY_LOGGED) : !pte))
			return -EAGAIN;
		if (level == f->goal && (!pte || leaf)) {
			fault_install(f, ptep, f->page ? page_to_phys(f->page) : entry_pa(pte),
				      level);
			return HVX_FAULT_OK;
		}
		if (level == f->goal || leaf) {	/* leaves of another size are in the way */
			pages = level_pages(level);
			walk_run(&(struct leaf_walk) { .vm = vm, .op = LEAF_ZAP,
				 .pos = f->gfn & ~(pages - 1), .end = (f->gfn | (pages - 1)) + 1 });
			goto again;
		}
		table = pte ? __va(entry_pa(pte)) : table_add(f->vcpu, ptep);
	}
	return -EAGAIN;		/* no more tables in the cache: it was not filled for this fault */
}

static int fault_map(struct fault *f)
{
	int ret;

	spin_lock(&f->vcpu->vm->mmu_lock);
	ret = fault_map_locked(f);
	spin_unlock(&f->vcpu->vm->mmu_lock);
	return ret;
}

int hvx_mmu_fault(struct hvx_vcpu *vcpu, u64 gpa, u32 access, bool can_sleep)
{
	struct fault f = { .vcpu = vcpu, .gfn = gpa >> PAGE_SHIFT, .access = access, .goal = 1 };
	struct hvx_mmu *mmu = &vcpu->vm->mmu;
	int ret = fault_begin(&f);
	bool apic;

	if (can_sleep && ret == HVX_FAULT_OK && fault_is_invalidating(&f)) {
		if (wait_event_interruptible(mmu->invalidate_wait, !fault_is_invalidating(&f)))
			return HVX_FAULT_OK;	/* a signal waits: the guest will fault again */
		ret = fault_begin(&f);
	}
	/* A vCPU in xAPIC mode never gets to the page: by it the CPU knows such accesses. To others it is memory. */
	apic = ret == HVX_FAULT_MMIO && mmu->apic_page && f.gfn == APIC_GFN && !f.slot.npages;
	if (ret != HVX_FAULT_OK && !apic)
		return ret;
	if (f.slot.dirty && access & HVX_ACC_WRITE) {
		f.write = true;
		if (fault_map(&f) == HVX_FAULT_OK)
			return HVX_FAULT_OK;
	}
	ret = can_sleep ? cache_fill(&mmu->caches[vcpu->id], mmu->levels - 1) : 0;
	if (apic && !ret) {
		f.write = true;
		f.page = mmu->apic_page;
		return fault_map(&f);
	}
	if (!ret)
		ret = can_sleep ? fault_page_slow(&f) : fault_page_fast(&f) ? 0 : -EAGAIN;
	if (!ret) {
		ret = -EAGAIN;
		if (!f.write || page_mark_dirty(f.page, can_sleep)) {
			f.goal = fault_goal(&f);
			ret = fault_map(&f);
		}
		put_page(f.page);
	}
	/* The host changed something meanwhile: the guest will fault again. */
	return ret == -EAGAIN && can_sleep ? HVX_FAULT_OK : ret;
}

/* ---------------------------------------------------------------- notifier */

void hvx_mmu_invalidate_begin(struct hvx_vm *vm, unsigned long start, unsigned long end,
			      bool can_sleep)
{
	struct hvx_mmu *mmu = &vm->mmu;

	spin_lock(&vm->mmu_lock);
	if (!mmu->invalidate_count++) {
		mmu->invalidate_start = start;
		mmu->invalidate_end = end;
	} else {
		mmu->invalidate_start = min(mmu->invalidate_start, start);
		mmu->invalidate_end = max(mmu->invalidate_end, end);
	}
	walk_slots(vm, LEAF_ZAP, start, end, can_sleep);
	spin_unlock(&vm->mmu_lock);
}

void hvx_mmu_invalidate_end(struct hvx_vm *vm, struct hvx_memslots *slots)
{
	spin_lock(&vm->mmu_lock);
	if (slots) {
		rcu_assign_pointer(vm->slots, slots);
		/* Where the APIC's page was mapped a slot may lie now. */
		walk_run(&(struct leaf_walk) { .vm = vm, .op = LEAF_ZAP, .pos = APIC_GFN,
					       .end = APIC_GFN + 1 });
	}
	smp_wmb();	/* pairs with fault_begin() */
	vm->mmu.invalidate_seq++;
	vm->mmu.invalidate_count--;
	spin_unlock(&vm->mmu_lock);
	if (wq_has_sleeper(&vm->mmu.invalidate_wait))
		wake_up_all(&vm->mmu.invalidate_wait);
}

/* Flushing does not sleep, so that this may also be called where sleeping is not allowed. */
static int invalidate_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct hvx_vm *vm = container_of(mn, struct hvx_vm, mn);
	int idx = srcu_read_lock(&vm->srcu);

	hvx_mmu_invalidate_begin(vm, range->start, range->end, mmu_notifier_range_blockable(range));
	srcu_read_unlock(&vm->srcu, idx);
	return 0;
}

static void invalidate_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	hvx_mmu_invalidate_end(container_of(mn, struct hvx_vm, mn), NULL);
}

static bool walk_young(struct mmu_notifier *mn, enum leaf_op op,
		       unsigned long start, unsigned long end)
{
	struct hvx_vm *vm = container_of(mn, struct hvx_vm, mn);
	bool young;

	spin_lock(&vm->mmu_lock);
	young = walk_slots(vm, op, start, end, false);
	spin_unlock(&vm->mmu_lock);
	return young;
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

/* The address space ends, or the VM: nobody faults any more. */
static void release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct hvx_vm *vm = container_of(mn, struct hvx_vm, mn);

	spin_lock(&vm->mmu_lock);
	walk_run(&(struct leaf_walk) { .vm = vm, .op = LEAF_ZAP, .can_sleep = true,
				       .end = level_pages(vm->mmu.levels + 1) });
	spin_unlock(&vm->mmu_lock);
}

static const struct mmu_notifier_ops mn_ops = {
	.release = release,
	.clear_flush_young = clear_young,
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
	slots = kzalloc(struct_size(slots, slot, 1), GFP_KERNEL_ACCOUNT);
	RCU_INIT_POINTER(vm->slots, slots);
	vm->mmu.root = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (hvx_backend->apic_page)
		vm->mmu.apic_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	ret = -ENOMEM;
	if (slots && vm->mmu.root && (vm->mmu.apic_page || !hvx_backend->apic_page)) {
		set_page_private(virt_to_page(vm->mmu.root), 0);
		vm->stats.table_pages = 1;
		vm->mn.ops = &mn_ops;
		ret = mmu_notifier_register(&vm->mn, vm->mm);
	}
	if (ret)
		hvx_mmu_destroy(vm);
	return ret;
}

void hvx_mmu_destroy(struct hvx_vm *vm)
{
	struct hvx_memslots *slots = rcu_dereference_protected(vm->slots, true);
	unsigned int i;

	WARN_ON_ONCE(vm->stats.table_pages > 1);	/* release() has left the root */
	free_page((unsigned long)vm->mmu.root);
	if (vm->mmu.apic_page)
		__free_page(vm->mmu.apic_page);
	for (i = 0; i < HVX_MAX_VCPUS; i++)
		while (vm->mmu.caches[i].count)
			free_page((unsigned long)vm->mmu.caches[i].table[--vm->mmu.caches[i].count]);
	for (i = 0; slots && i < slots->count; i++)
		kvfree(slots->slot[i].dirty);
	kfree(slots);
	cleanup_srcu_struct(&vm->srcu);
}
