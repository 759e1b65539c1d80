/* SPDX-License-Identifier: GPL-2.0-only */
/* What slots.c and mmu.c offer each other. */
#ifndef _HVX_MMU_H
#define _HVX_MMU_H

#include <linux/nospec.h>
#include <linux/rcupdate.h>
#include <linux/uaccess.h>

#include "hvx.h"

/*
 * The slot array, for those who hold slots_lock, mmu_lock, srcu or RCU (here
 * always of the sched kind, which costs least).
 */
static inline struct hvx_memslots *hvx_slots(struct hvx_vm *vm)
{
	return rcu_dereference_check(vm->slots, lockdep_is_held(&vm->slots_lock) ||
				     lockdep_is_held(&vm->mmu_lock) ||
				     srcu_read_lock_held(&vm->srcu) ||
				     rcu_read_lock_sched_held());
}

static inline bool hvx_slot_has(const struct hvx_memslot *slot, u64 gfn)
{
	return gfn - slot->base_gfn < slot->npages;
}

struct hvx_memslot *hvx_slot_search(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gfn);

/* The slot that gfn lies in, or NULL. */
static inline struct hvx_memslot *hvx_slot_find(struct hvx_vm *vm, struct hvx_memslots *slots,
						u64 gfn)
{
	unsigned int hint = READ_ONCE(vm->mmu.slot_hint);

	if (likely(hint < slots->count && hvx_slot_has(&slots->slot[hint], gfn)))
		return &slots->slot[hint];
	return hvx_slot_search(vm, slots, gfn);
}

/* Host address of a gfn of the slot, safe against speculation with a gfn beyond it. */
static inline unsigned long hvx_slot_hva(const struct hvx_memslot *slot, u64 gfn)
{
	return slot->hva + (array_index_nospec(gfn - slot->base_gfn, slot->npages) << PAGE_SHIFT);
}

/* Around accesses to guest memory through the slots; how: HVX_MEM_*. */
static inline struct hvx_memslots *hvx_mem_begin(struct hvx_vm *vm, unsigned int how, int *idx)
{
	if (how & HVX_MEM_ATOMIC) {
		rcu_read_lock_sched();
		pagefault_disable();
	} else {
		*idx = srcu_read_lock(&vm->srcu);
	}
	return hvx_slots(vm);
}

static inline void hvx_mem_end(struct hvx_vm *vm, unsigned int how, int idx)
{
	if (how & HVX_MEM_ATOMIC) {
		pagefault_enable();
		rcu_read_unlock_sched();
	} else {
		srcu_read_unlock(&vm->srcu, idx);
	}
}

/* The aligned eight bytes that gpa lies in, in a single access. Between begin and end. */
static inline bool hvx_mem_read_u64(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gpa,
				    u64 *val)
{
	struct hvx_memslot *slot = hvx_slot_find(vm, slots, gpa >> PAGE_SHIFT);

	return slot && !__get_user(*val, (const u64 __user *)(hvx_slot_hva(slot, gpa >> PAGE_SHIFT) +
							      (offset_in_page(gpa) & ~7UL)));
}

/*
 * Host addresses [start, end) are about to show something else: remove the
 * leaves that map them; until the end, faults on them wait. With can_sleep,
 * mmu_lock is dropped now and then: the caller is under srcu or slots_lock.
 */
void hvx_mmu_invalidate_begin(struct hvx_vm *vm, unsigned long start, unsigned long end,
			      bool can_sleep);
/* It is done; slots: the new array, NULL: as before. */
void hvx_mmu_invalidate_end(struct hvx_vm *vm, struct hvx_memslots *slots);
/* Take write access from the leaves of [gfn, end) whose bit is set; bit 0 is gfn. May sleep. */
void hvx_mmu_protect(struct hvx_vm *vm, u64 gfn, u64 end, const unsigned long *words);

#endif
