/* SPDX-License-Identifier: GPL-2.0-only */
/* What slots.c and mmu.c offer each other. */
#ifndef _HVX_MMU_H
#define _HVX_MMU_H

#include <linux/nospec.h>
#include <linux/rcupdate.h>

#include "hvx.h"

/* slots.c */

/* The slot array, for those who hold slots_lock, mmu_lock, srcu or RCU. */
static inline struct hvx_memslots *hvx_slots(struct hvx_vm *vm)
{
	return rcu_dereference_check(vm->slots, lockdep_is_held(&vm->slots_lock) ||
				     lockdep_is_held(&vm->mmu_lock) ||
				     srcu_read_lock_held(&vm->srcu));
}

struct hvx_memslot *hvx_slot_search(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gfn);

static inline bool hvx_slot_has(const struct hvx_memslot *slot, u64 gfn)
{
	return gfn - slot->base_gfn < slot->npages;
}

/* The slot that gfn lies in, or NULL. */
static inline struct hvx_memslot *hvx_slot_find(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gfn)
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

/* mmu.c. Those with a range work under mmu_lock and flush before they return. */

/* Remove every leaf in [gfn, end). Drops mmu_lock now and then. */
void hvx_mmu_zap_range(struct hvx_vm *vm, u64 gfn, u64 end);
/* Take write access from every leaf in [gfn, end). Drops mmu_lock now and then. */
void hvx_mmu_protect_range(struct hvx_vm *vm, u64 gfn, u64 end);
/* Take write access from the 4K leaves whose bits are set; bit 0 of words[0] is gfn. Keeps mmu_lock. */
void hvx_mmu_protect_bits(struct hvx_vm *vm, u64 gfn, const unsigned long *words, unsigned int nwords);

#endif
