/* SPDX-License-Identifier: GPL-2.0-only */
/* What slots.c and mmu.c offer each other. */
#ifndef _HVX_MMU_H
#define _HVX_MMU_H

#include <linux/nospec.h>
#include <linux/rcupdate.h>
#include <linux/uaccess.h>

#include "hvx.h"

/* slots.c */

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

struct hvx_memslot *hvx_slot_search(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gfn);

static inline bool hvx_slot_has(const struct hvx_memslot *slot, u64 gfn)
{
	return gfn - slot->base_gfn < slot->npages;
}

/* The slot that gfn lies in, or NULL. */
static inline struct hvx_memslot *hvx_slot_find(struct hvx_vm *vm, struct hvx_memslots *slots,
						u64 gfn)
{
	unsigned int hint = READ_ONCE(vm->mmu.slot_hint);

	if (likely(hint < slots->count)) {
		struct hvx_memslot *slot = &slots->slot[hint];

		if (likely(hvx_slot_has(slot, gfn)))
			return slot;
	}
	return hvx_slot_search(vm, slots, gfn);
}

/* Host address of a gfn of the slot, safe against speculation with a gfn beyond it. */
static inline unsigned long hvx_slot_hva(const struct hvx_memslot *slot, u64 gfn)
{
	return slot->hva + (array_index_nospec(gfn - slot->base_gfn, slot->npages) << PAGE_SHIFT);
}

/* Around reads of guest memory that must not sleep. */
static inline struct hvx_memslots *hvx_atomic_begin(struct hvx_vm *vm)
{
	rcu_read_lock_sched();
	pagefault_disable();
	return hvx_slots(vm);
}

static inline void hvx_atomic_end(void)
{
	pagefault_enable();
	rcu_read_unlock_sched();
}

/* The aligned eight bytes that gpa lies in. */
static inline bool hvx_atomic_read_u64(struct hvx_vm *vm, struct hvx_memslots *slots,
				       u64 gpa, u64 *val)
{
	struct hvx_memslot *slot = hvx_slot_find(vm, slots, gpa >> PAGE_SHIFT);
	unsigned long hva;

	if (!slot)
		return false;
	hva = hvx_slot_hva(slot, gpa >> PAGE_SHIFT) + (offset_in_page(gpa) & ~7UL);
	return !__get_user(*val, (const u64 __user *)hva);
}

/* mmu.c */

/*
 * Host addresses [start, end) are about to show something else: remove the
 * leaves that map them; until the end, faults on them wait. With can_sleep,
 * mmu_lock is dropped now and then: the caller is under srcu or slots_lock.
 */
void hvx_mmu_invalidate_begin(struct hvx_vm *vm, unsigned long start, unsigned long end,
			      bool can_sleep);
/* It is done; slots: the new array, NULL: as before. */
void hvx_mmu_invalidate_end(struct hvx_vm *vm, struct hvx_memslots *slots);
/* Take write access from the leaves whose bits are set; bit 0 is gfn. */
void hvx_mmu_protect(struct hvx_vm *vm, u64 gfn, const unsigned long *words, unsigned int nbits);

#endif
