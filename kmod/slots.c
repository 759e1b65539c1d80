// SPDX-License-Identifier: GPL-2.0-only
/* Memory slots: which host memory shows where in guest-physical space, and their dirty bitmaps. */
#include "backend.h"
#include "mmu.h"

/* Words of a dirty bitmap that are handled at a time: one page of them, 128 MiB of guest memory. */
#define CHUNK_WORDS	(PAGE_SIZE / sizeof(unsigned long))

struct hvx_memslot *hvx_slot_search(struct hvx_memslots *slots, u64 gfn)
{
	unsigned int lo = 0, hi = slots->count;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (gfn < slots->slot[mid].base_gfn) {
			hi = mid;
		} else if (gfn - slots->slot[mid].base_gfn >= slots->slot[mid].npages) {
			lo = mid + 1;
		} else {
			WRITE_ONCE(slots->last, mid);
			return &slots->slot[mid];
		}
	}
	return NULL;
}

static struct hvx_memslot *slot_by_id(struct hvx_memslots *slots, u32 id)
{
	unsigned int i;

	for (i = 0; i < slots->count; i++)
		if (slots->slot[i].id == id)
			return &slots->slot[i];
	return NULL;
}

/* The array with `new` for the slot of its id; without pages it is left out. -EEXIST: overlap. */
static struct hvx_memslots *slots_replace(const struct hvx_memslots *old,
					  const struct hvx_memslot *new)
{
	struct hvx_memslots *slots;
	unsigned int i;

	slots = kzalloc(struct_size(slots, slot, old->count + 1), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < old->count; i++) {
		const struct hvx_memslot *s = &old->slot[i];

		if (s->id == new->id)
			continue;
		if (new->npages && s->base_gfn < new->base_gfn + new->npages &&
		    new->base_gfn < s->base_gfn + s->npages) {
			kfree(slots);
			return ERR_PTR(-EEXIST);
		}
		slots->slot[slots->count++] = *s;
	}
	if (!new->npages)
		return slots;
	for (i = slots->count++; i && slots->slot[i - 1].base_gfn > new->base_gfn; i--)
		slots->slot[i] = slots->slot[i - 1];
	slots->slot[i] = *new;
	return slots;
}

/* Put `new` for `old` (NULL: there is none). Under slots_lock. */
static int slot_change(struct hvx_vm *vm, const struct hvx_memslot *old, struct hvx_memslot *new)
{
	struct hvx_memslots *slots = hvx_slots(vm), *new_slots;
	unsigned long *gone, start = (old ?: new)->hva;
	u64 bytes;
	int ret;

	if (new->flags & HVX_SLOT_LOG_DIRTY) {
		bytes = BITS_TO_LONGS(new->npages) * sizeof(unsigned long);
		if (old && old->dirty)
			new->dirty = old->dirty;
		else if (bytes <= INT_MAX)	/* else kvmalloc() would complain loudly */
			new->dirty = kvzalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
		if (!new->dirty)
			return -ENOMEM;
		WRITE_ONCE(vm->mmu.logged, true);
	}
	new_slots = slots_replace(slots, new);
	ret = PTR_ERR_OR_ZERO(new_slots);
	gone = ret ? new->dirty : old ? old->dirty : NULL;
	if (old && old->dirty == new->dirty)
		gone = NULL;
	if (!ret) {
		/*
		 * To the second-level tables this is a change of the host's: the
		 * old slot's leaves go, and faults that saw it start over.
		 */
		hvx_mmu_invalidate_begin(vm, start,
					 start + (old ? old->npages << PAGE_SHIFT : 0), true);
		hvx_mmu_invalidate_end(vm, new_slots);
		synchronize_srcu_expedited(&vm->srcu);
		synchronize_rcu_expedited();
		kfree(slots);	/* old lies in it */
	}
	kvfree(gone);
	return ret;
}

/* Whether there is memory at hva is for faults to find out: it may change at any time. */
int hvx_mmu_set_slot(struct hvx_vm *vm, const struct hvx_slot *arg)
{
	u64 limit = 1ULL << hvx_mmu_phys_bits();
	struct hvx_memslot new = { .id = arg->slot }, *old;
	int ret;

	if (arg->slot >= HVX_MAX_SLOTS || arg->flags & ~(HVX_SLOT_READONLY | HVX_SLOT_LOG_DIRTY))
		return -EINVAL;
	if (arg->size) {
		if (!PAGE_ALIGNED(arg->gpa | arg->size | arg->hva) || arg->gpa >= limit ||
		    arg->size > limit - arg->gpa || !access_ok((void __user *)arg->hva, arg->size))
			return -EINVAL;
		new.base_gfn = arg->gpa >> PAGE_SHIFT;
		new.npages = arg->size >> PAGE_SHIFT;
		new.hva = arg->hva;
		new.flags = arg->flags;
	}
	mutex_lock(&vm->slots_lock);
	old = slot_by_id(hvx_slots(vm), arg->slot);
	if (!arg->size && !old)
		ret = -ENOENT;
	else if (arg->size && old && (new.npages != old->npages || new.hva != old->hva))
		ret = -EINVAL;
	else if (arg->size && old && new.base_gfn == old->base_gfn && new.flags == old->flags)
		ret = 0;
	else
		ret = slot_change(vm, old, &new);
	mutex_unlock(&vm->slots_lock);
	return ret;
}

/*
 * One chunk [first, end) of HVX_GET_DIRTY; first is a multiple of 64. Bits are
 * cleared only after they were told, and pages write-protected after that: a
 * write that comes later faults, and sets its bit again under mmu_lock.
 */
static int dirty_chunk(struct hvx_vm *vm, struct hvx_memslot *slot, u64 first, u64 end,
		       struct hvx_dirty *arg, unsigned long *words)
{
	void __user *p = u64_to_user_ptr(arg->bitmap) + (first - arg->first_page) / 8;
	atomic_long_t *dirty = (atomic_long_t *)&slot->dirty[first / BITS_PER_LONG];
	unsigned int i, n = BITS_TO_LONGS(end - first);

	for (i = 0; i < n; i++)
		words[i] = atomic_long_read(&dirty[i]);
	words[n - 1] &= BITMAP_LAST_WORD_MASK(end - first);
	if (copy_to_user(p, words, n * sizeof(*words)))
		return -EFAULT;
	arg->dirty_pages += bitmap_weight(words, n * BITS_PER_LONG);
	if (arg->flags & HVX_DIRTY_CLEAR) {
		for (i = 0; i < n; i++)
			if (words[i])
				atomic_long_andnot(words[i], &dirty[i]);
		hvx_mmu_protect(vm, slot->base_gfn + first, slot->base_gfn + end, words);
	}
	return 0;
}

int hvx_mmu_get_dirty(struct hvx_vm *vm, struct hvx_dirty *arg)
{
	struct hvx_memslot *slot;
	unsigned long *words;
	u64 first, next, end;
	int ret = 0;

	if (arg->flags & ~HVX_DIRTY_CLEAR || arg->first_page % 64)
		return -EINVAL;
	words = (unsigned long *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!words)
		return -ENOMEM;
	mutex_lock(&vm->slots_lock);
	slot = slot_by_id(hvx_slots(vm), arg->slot);
	if (!slot || !slot->dirty)
		ret = -ENOENT;
	else if (arg->first_page > slot->npages || arg->num_pages > slot->npages - arg->first_page)
		ret = -EINVAL;

	/* What CPUs have logged themselves is in the bitmap once their guests have exited. */
	if (!ret && hvx_backend->pte->logs) {
		spin_lock(&vm->mmu_lock);
		hvx_kick_all_wait(vm, HVX_REQ_EVENT);
		spin_unlock(&vm->mmu_lock);
	}
	arg->dirty_pages = 0;
	end = arg->first_page + arg->num_pages;
	for (first = arg->first_page; !ret && first < end; first = next) {
		next = min(end, first + CHUNK_WORDS * BITS_PER_LONG);
		ret = dirty_chunk(vm, slot, first, next, arg, words);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	mutex_unlock(&vm->slots_lock);
	free_page((unsigned long)words);
	return ret;
}
