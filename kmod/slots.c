// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: which host memory shows where in guest-physical space, the
 * accessors to guest memory that go through them, and their dirty bitmaps.
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mmu.h"

/* Words of a dirty bitmap that are handled at a time: one page of them, 128 MiB of guest memory. */
#define CHUNK_WORDS	(PAGE_SIZE / sizeof(unsigned long))

/* ------------------------------------------------------------------ look-up */

struct hvx_memslot *hvx_slot_search(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gfn)
{
	unsigned int lo = 0, hi = slots->count;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (hvx_slot_has(&slots->slot[mid], gfn)) {
			WRITE_ONCE(vm->mmu.slot_hint, mid);
			return &slots->slot[mid];
		}
		if (gfn < slots->slot[mid].base_gfn)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* ---------------------------------------------------------------- accessors */

/* After the data is there: a bit that is set earlier could be harvested before it. */
static void mark_dirty(struct hvx_memslot *slot, u64 gpa, size_t len)
{
	u64 page, last;

	if (!slot->dirty || !len)
		return;
	page = (gpa >> PAGE_SHIFT) - slot->base_gfn;
	last = ((gpa + len - 1) >> PAGE_SHIFT) - slot->base_gfn;
	for (; page <= last; page++)
		set_bit(page, slot->dirty);
}

/*
 * Slots only ever hold addresses that passed access_ok(). Single bytes are the
 * PV EOI flag, on a hot path: they go without a function's worth of checks.
 */
static __always_inline unsigned long copy(void *buf, void __user *p, size_t n, bool write)
{
	if (n == 1)
		return write ? __put_user(*(u8 *)buf, (u8 __user *)p) :
			       __get_user(*(u8 *)buf, (u8 __user *)p);
	return write ? __copy_to_user(p, buf, n) : __copy_from_user(buf, p, n);
}

static __always_inline int copy_slots(struct hvx_vm *vm, struct hvx_memslots *slots,
				      u64 gpa, void *buf, size_t len, bool write)
{
	while (len) {
		struct hvx_memslot *slot = hvx_slot_find(vm, slots, gpa >> PAGE_SHIFT);
		unsigned long left;
		void __user *p;
		size_t n;

		if (!slot || (write && slot->flags & HVX_SLOT_READONLY))
			return -EFAULT;
		n = min_t(u64, len, ((slot->base_gfn + slot->npages) << PAGE_SHIFT) - gpa);
		p = (void __user *)(hvx_slot_hva(slot, gpa >> PAGE_SHIFT) + offset_in_page(gpa));
		left = copy(buf, p, n, write);
		if (write)
			mark_dirty(slot, gpa, n);	/* in any case: part of it may be there */
		if (left)
			return -EFAULT;
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

int hvx_read_guest(struct hvx_vm *vm, u64 gpa, void *buf, size_t len)
{
	int idx = srcu_read_lock(&vm->srcu);
	int ret = copy_slots(vm, hvx_slots(vm), gpa, buf, len, false);

	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

int hvx_write_guest(struct hvx_vm *vm, u64 gpa, const void *buf, size_t len)
{
	int idx = srcu_read_lock(&vm->srcu);
	int ret = copy_slots(vm, hvx_slots(vm), gpa, (void *)buf, len, true);

	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

int hvx_read_guest_atomic(struct hvx_vm *vm, u64 gpa, void *buf, size_t len)
{
	int ret = copy_slots(vm, hvx_atomic_begin(vm), gpa, buf, len, false);

	hvx_atomic_end();
	return ret;
}

int hvx_write_guest_atomic(struct hvx_vm *vm, u64 gpa, const void *buf, size_t len)
{
	int ret = copy_slots(vm, hvx_atomic_begin(vm), gpa, (void *)buf, len, true);

	hvx_atomic_end();
	return ret;
}

/* ------------------------------------------------------------ HVX_SET_SLOT */

static int check_slot_arg(const struct hvx_slot *arg)
{
	u64 limit = 1ULL << hvx_mmu_phys_bits();

	if (arg->slot >= HVX_MAX_SLOTS || arg->flags & ~(HVX_SLOT_READONLY | HVX_SLOT_LOG_DIRTY) ||
	    arg->reserved[0] || arg->reserved[1])
		return -EINVAL;
	if (!arg->size)
		return 0;
	if (!PAGE_ALIGNED(arg->gpa) || !PAGE_ALIGNED(arg->size) || !PAGE_ALIGNED(arg->hva))
		return -EINVAL;
	if (arg->gpa >= limit || arg->size > limit - arg->gpa)
		return -EINVAL;
	if (arg->hva + arg->size < arg->hva || !access_ok((void __user *)arg->hva, arg->size))
		return -EINVAL;
	return 0;
}

/* Is all of [hva, hva + size) mapped, and ordinary memory? */
static int check_vmas(struct mm_struct *mm, unsigned long hva, unsigned long size)
{
	unsigned long end = hva + size;
	int ret = 0;

	mmap_read_lock(mm);
	while (hva < end) {
		struct vm_area_struct *vma = find_vma(mm, hva);

		if (!vma || vma->vm_start > hva || vma->vm_flags & (VM_IO | VM_PFNMAP)) {
			ret = -EINVAL;
			break;
		}
		hva = vma->vm_end;
		cond_resched();
	}
	mmap_read_unlock(mm);
	return ret;
}

static struct hvx_memslot *slot_by_id(struct hvx_memslots *slots, u32 id)
{
	unsigned int i;

	for (i = 0; i < slots->count; i++)
		if (slots->slot[i].id == id)
			return &slots->slot[i];
	return NULL;
}

/* The array without slot `id`, and with `new` where it has pages; -EEXIST: that overlaps. */
static struct hvx_memslots *slots_replace(struct hvx_memslots *old, u32 id,
					  const struct hvx_memslot *new)
{
	struct hvx_memslots *slots;
	bool placed = !new->npages;
	unsigned int i;

	slots = kzalloc(struct_size(slots, slot, old->count + 1), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < old->count; i++) {
		const struct hvx_memslot *s = &old->slot[i];

		if (s->id == id)
			continue;
		if (new->npages && s->base_gfn < new->base_gfn + new->npages &&
		    new->base_gfn < s->base_gfn + s->npages) {
			kfree(slots);
			return ERR_PTR(-EEXIST);
		}
		if (!placed && new->base_gfn < s->base_gfn) {
			slots->slot[slots->count++] = *new;
			placed = true;
		}
		slots->slot[slots->count++] = *s;
	}
	if (!placed)
		slots->slot[slots->count++] = *new;
	return slots;
}

static unsigned long *bitmap_create(u64 npages)
{
	u64 size = BITS_TO_LONGS(npages) * sizeof(unsigned long);

	if (size > INT_MAX)	/* kvmalloc() would complain loudly */
		return NULL;
	return kvzalloc(size, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

/*
 * Make `slots` the array. To the second-level tables the change of a slot is
 * one of the host's: its leaves go, and faults that saw the old array start over.
 */
static void slots_publish(struct hvx_vm *vm, struct hvx_memslots *slots,
			  const struct hvx_memslot *old, const struct hvx_memslot *new)
{
	struct hvx_memslots *old_slots = hvx_slots(vm);
	unsigned long start = old ? old->hva : new->hva;
	unsigned long end = start + (old ? old->npages << PAGE_SHIFT : 0);

	hvx_mmu_invalidate_begin(vm, start, end, true);
	hvx_mmu_invalidate_end(vm, slots);

	synchronize_srcu_expedited(&vm->srcu);
	synchronize_rcu_expedited();
	if (old && old->dirty != new->dirty)
		kvfree(old->dirty);
	kfree(old_slots);	/* old lies in it */
}

/* arg->size 0: delete. Under slots_lock. */
static int slot_change(struct hvx_vm *vm, const struct hvx_slot *arg)
{
	struct hvx_memslots *slots = hvx_slots(vm), *new_slots;
	const struct hvx_memslot *old = slot_by_id(slots, arg->slot);
	struct hvx_memslot new = {
		.base_gfn = arg->gpa >> PAGE_SHIFT,
		.npages = arg->size >> PAGE_SHIFT,
		.hva = arg->hva,
		.flags = arg->flags,
		.id = arg->slot,
	};

	if (!arg->size && !old)
		return -ENOENT;
	if (arg->size && old && (new.npages != old->npages || new.hva != old->hva))
		return -EINVAL;
	if (arg->size && old && new.base_gfn == old->base_gfn && new.flags == old->flags)
		return 0;
	if (arg->size && !old) {
		int ret = check_vmas(vm->mm, arg->hva, arg->size);

		if (ret)
			return ret;
	}

	if (arg->size && new.flags & HVX_SLOT_LOG_DIRTY) {
		new.dirty = old && old->dirty ? old->dirty : bitmap_create(new.npages);
		if (!new.dirty)
			return -ENOMEM;
	}
	new_slots = slots_replace(slots, arg->slot, &new);
	if (IS_ERR(new_slots)) {
		if (!old || new.dirty != old->dirty)
			kvfree(new.dirty);
		return PTR_ERR(new_slots);
	}
	slots_publish(vm, new_slots, old, &new);
	return 0;
}

int hvx_mmu_set_slot(struct hvx_vm *vm, const struct hvx_slot *arg)
{
	int ret = check_slot_arg(arg);

	if (ret)
		return ret;
	mutex_lock(&vm->slots_lock);
	ret = slot_change(vm, arg);
	mutex_unlock(&vm->slots_lock);
	return ret;
}

/* ----------------------------------------------------------- HVX_GET_DIRTY */

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
	bool only_clear = arg->flags & HVX_DIRTY_ONLY_CLEAR;

	if (only_clear && copy_from_user(words, p, n * sizeof(*words)))
		return -EFAULT;
	for (i = 0; i < n; i++)
		words[i] = atomic_long_read(&dirty[i]) & (only_clear ? words[i] : ~0UL);
	words[n - 1] &= BITMAP_LAST_WORD_MASK(end - first);
	if (!only_clear) {
		if (copy_to_user(p, words, n * sizeof(*words)))
			return -EFAULT;
		arg->dirty_pages += bitmap_weight(words, n * BITS_PER_LONG);
	}
	if (arg->flags) {
		for (i = 0; i < n; i++)
			if (words[i])
				atomic_long_fetch_andnot(words[i], &dirty[i]);
		hvx_mmu_protect(vm, slot->base_gfn + first, words, end - first);
	}
	return 0;
}

int hvx_mmu_get_dirty(struct hvx_vm *vm, struct hvx_dirty *arg)
{
	struct hvx_memslot *slot;
	unsigned long *words;
	u64 first, end;
	int ret = 0;

	if (arg->flags & ~(HVX_DIRTY_CLEAR | HVX_DIRTY_ONLY_CLEAR) ||
	    arg->flags == (HVX_DIRTY_CLEAR | HVX_DIRTY_ONLY_CLEAR) ||
	    arg->reserved[0] || arg->reserved[1] || arg->first_page % 64)
		return -EINVAL;
	words = (unsigned long *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!words)
		return -ENOMEM;
	mutex_lock(&vm->slots_lock);
	slot = slot_by_id(hvx_slots(vm), arg->slot);
	if (!slot || !slot->dirty) {
		ret = -ENOENT;
		goto out;
	}
	if (arg->first_page > slot->npages || arg->num_pages > slot->npages - arg->first_page) {
		ret = -EINVAL;
		goto out;
	}

	arg->dirty_pages = 0;
	end = arg->first_page + arg->num_pages;
	for (first = arg->first_page; first < end && !ret; first += CHUNK_WORDS * BITS_PER_LONG) {
		ret = dirty_chunk(vm, slot, first, min(end, first + CHUNK_WORDS * BITS_PER_LONG),
				  arg, words);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
out:
	mutex_unlock(&vm->slots_lock);
	free_page((unsigned long)words);
	return ret;
}
