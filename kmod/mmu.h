/* SPDX-License-Identifier: GPL-2.0-only */
/* What slots.c, mmu.c and guestmem.c offer each other. */
#ifndef _HVX_MMU_H
#define _HVX_MMU_H


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

/* The slot that gfn lies in, or NULL; mostly that of the last search. */
struct hvx_memslot *hvx_slot_search(struct hvx_memslots *slots, u64 gfn);

static inline struct hvx_memslot *hvx_slot_find(struct hvx_memslots *slots, u64 gfn)
{
	struct hvx_memslot *slot = &slots->slot[READ_ONCE(slots->last)];

	return likely(gfn - slot->base_gfn < slot->npages) ? slot : hvx_slot_search(slots, gfn);
}

/* Host address of a gfn of the slot, safe against speculation with a gfn beyond it. */
static inline unsigned long hvx_slot_hva(const struct hvx_memslot *slot, u64 gfn)
{
	return slot->hva + (array_index_nospec(gfn - slot->base_gfn, slot->npages) << PAGE_SHIFT);
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
