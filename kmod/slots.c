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

bool hvx_gpa_is_ram(struct hvx_vm *vm, u64 gpa, bool write)
{
	struct hvx_memslot *slot;
	bool ram;

	rcu_read_lock_sched();
	slot = hvx_slot_find(vm, hvx_slots(vm), gpa >> PAGE_SHIFT);
	ram = slot && !(write && slot->flags & HVX_SLOT_READONLY);
	rcu_read_unlock_sched();
	return ram;
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

/* How much of [gpa, gpa + len) lies in the slot, and where. */
static __always_inline size_t slot_part(struct hvx_memslot *slot, u64 gpa, size_t len,
					void __user **p)
{
	u64 room = ((slot->base_gfn + slot->npages) << PAGE_SHIFT) - gpa;

	*p = (void __user *)(hvx_slot_hva(slot, gpa >> PAGE_SHIFT) + offset_in_page(gpa));
	return len < room ? len : room;
}

/*
 * Slots only ever hold addresses that passed access_ok(). Words of the
 * paravirtual structures are on hot paths, so they go without a function's
 * worth of checks on the length.
 */
static __always_inline unsigned long copy_in(void *buf, const void __user *p, size_t n, bool atomic)
{
	if (!atomic)
		return __copy_from_user(buf, p, n);
	switch (n) {
	case 1:
		return __get_user(*(u8 *)buf, (const u8 __user *)p);
	case 4:
		return __get_user(*(u32 *)buf, (const u32 __user *)p);
	case 8:
		return __get_user(*(u64 *)buf, (const u64 __user *)p);
	}
	return __copy_from_user_inatomic(buf, p, n);
}

static __always_inline unsigned long copy_out(void __user *p, const void *buf, size_t n,
					      bool atomic)
{
	if (!atomic)
		return __copy_to_user(p, buf, n);
	switch (n) {
	case 1:
		return __put_user(*(const u8 *)buf, (u8 __user *)p);
	case 4:
		return __put_user(*(const u32 *)buf, (u32 __user *)p);
	case 8:
		return __put_user(*(const u64 *)buf, (u64 __user *)p);
	}
	return __copy_to_user_inatomic(p, buf, n);
}

static __always_inline int read_slots(struct hvx_vm *vm, struct hvx_memslots *slots,
				      u64 gpa, void *buf, size_t len, bool atomic)
{
	while (len) {
		struct hvx_memslot *slot = hvx_slot_find(vm, slots, gpa >> PAGE_SHIFT);
		void __user *p;
		size_t n;

		if (!slot)
			return -EFAULT;
		n = slot_part(slot, gpa, len, &p);
		if (copy_in(buf, p, n, atomic))
			return -EFAULT;
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

static __always_inline int write_slots(struct hvx_vm *vm, struct hvx_memslots *slots,
				       u64 gpa, const void *buf, size_t len, bool atomic)
{
	while (len) {
		struct hvx_memslot *slot = hvx_slot_find(vm, slots, gpa >> PAGE_SHIFT);
		unsigned long left;
		void __user *p;
		size_t n;

		if (!slot || slot->flags & HVX_SLOT_READONLY)
			return -EFAULT;
		n = slot_part(slot, gpa, len, &p);
		left = copy_out(p, buf, n, atomic);
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
	int ret = read_slots(vm, hvx_slots(vm), gpa, buf, len, false);

	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

int hvx_write_guest(struct hvx_vm *vm, u64 gpa, const void *buf, size_t len)
{
	int idx = srcu_read_lock(&vm->srcu);
	int ret = write_slots(vm, hvx_slots(vm), gpa, buf, len, false);

	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

int hvx_read_guest_atomic(struct hvx_vm *vm, u64 gpa, void *buf, size_t len)
{
	struct hvx_memslots *slots = hvx_atomic_begin(vm);
	int ret = read_slots(vm, slots, gpa, buf, len, true);

	hvx_atomic_end();
	return ret;
}

int hvx_write_guest_atomic(struct hvx_vm *vm, u64 gpa, const void *buf, size_t len)
{
	struct hvx_memslots *slots = hvx_atomic_begin(vm);
	int ret = write_slots(vm, slots, gpa, buf, len, true);

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

static bool slot_overlaps(struct hvx_memslots *slots, const struct hvx_memslot *new)
{
	unsigned int i;

	for (i = 0; i < slots->count; i++) {
		const struct hvx_memslot *s = &slots->slot[i];

		if (s->id != new->id && s->base_gfn < new->base_gfn + new->npages &&
		    new->base_gfn < s->base_gfn + s->npages)
			return true;
	}
	return false;
}

/* The array without slot `id`, and with `new` unless that is NULL. */
static struct hvx_memslots *slots_replace(struct hvx_memslots *old, u32 id,
					  const struct hvx_memslot *new)
{
	struct hvx_memslots *slots;
	unsigned int i;

	slots = kzalloc(struct_size(slots, slot, old->count + 1), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return NULL;
	for (i = 0; i < old->count; i++) {
		if (old->slot[i].id == id)
			continue;
		if (new && new->base_gfn < old->slot[i].base_gfn) {
			slots->slot[slots->count++] = *new;
			new = NULL;
		}
		slots->slot[slots->count++] = old->slot[i];
	}
	if (new)
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
 * Make `slots` the array and bring the second-level tables in line. From the
 * moment that invalidate_seq has grown, faults that looked at the old array
 * start over, so that nothing reappears behind the zapping.
 */
static void slots_publish(struct hvx_vm *vm, struct hvx_memslots *slots,
			  const struct hvx_memslot *old, const struct hvx_memslot *new)
{
	struct hvx_memslots *old_slots = hvx_slots(vm);
	u32 changed = old && new ? old->flags ^ new->flags : 0;

	spin_lock(&vm->mmu_lock);
	rcu_assign_pointer(vm->slots, slots);
	smp_wmb();	/* pairs with fault_begin() */
	vm->mmu.invalidate_seq++;
	if (old) {
		u64 end = old->base_gfn + old->npages;

		/* With logging off, faults may build large leaves again. */
		if (!new || new->base_gfn != old->base_gfn || changed & HVX_SLOT_READONLY ||
		    changed & old->flags & HVX_SLOT_LOG_DIRTY) {
			vm->mmu.leaving = *old;	/* for notifiers while the lock is dropped */
			hvx_mmu_zap_range(vm, old->base_gfn, end);
			vm->mmu.leaving.npages = 0;
		} else if (changed & HVX_SLOT_LOG_DIRTY) {
			hvx_mmu_protect_range(vm, old->base_gfn, end);
		}
	}
	spin_unlock(&vm->mmu_lock);

	synchronize_srcu_expedited(&vm->srcu);
	synchronize_rcu_expedited();
	if (old && old->dirty && (!new || new->dirty != old->dirty))
		kvfree(old->dirty);
	kfree(old_slots);	/* old lies in it */
}

static int slot_delete(struct hvx_vm *vm, struct hvx_memslots *slots, const struct hvx_memslot *old)
{
	struct hvx_memslots *new_slots;

	if (!old)
		return -ENOENT;
	new_slots = slots_replace(slots, old->id, NULL);
	if (!new_slots)
		return -ENOMEM;
	slots_publish(vm, new_slots, old, NULL);
	return 0;
}

static int slot_change(struct hvx_vm *vm, struct hvx_memslots *slots, const struct hvx_memslot *old,
		       const struct hvx_slot *arg)
{
	struct hvx_memslot new = {
		.base_gfn = arg->gpa >> PAGE_SHIFT,
		.npages = arg->size >> PAGE_SHIFT,
		.hva = arg->hva,
		.flags = arg->flags,
		.id = arg->slot,
	};
	struct hvx_memslots *new_slots;
	int ret;

	if (old && (new.npages != old->npages || new.hva != old->hva))
		return -EINVAL;
	if (slot_overlaps(slots, &new))
		return -EEXIST;
	if (old && new.base_gfn == old->base_gfn && new.flags == old->flags)
		return 0;
	if (!old) {
		ret = check_vmas(vm->mm, arg->hva, arg->size);
		if (ret)
			return ret;
	}

	if (new.flags & HVX_SLOT_LOG_DIRTY) {
		new.dirty = old && old->dirty ? old->dirty : bitmap_create(new.npages);
		if (!new.dirty)
			return -ENOMEM;
	}
	new_slots = slots_replace(slots, new.id, &new);
	if (!new_slots) {
		if (!old || new.dirty != old->dirty)
			kvfree(new.dirty);
		return -ENOMEM;
	}
	slots_publish(vm, new_slots, old, &new);
	return 0;
}

int hvx_mmu_set_slot(struct hvx_vm *vm, const struct hvx_slot *arg)
{
	struct hvx_memslots *slots;
	struct hvx_memslot *old;
	int ret = check_slot_arg(arg);

	if (ret)
		return ret;
	mutex_lock(&vm->slots_lock);
	slots = hvx_slots(vm);
	old = slot_by_id(slots, arg->slot);
	ret = arg->size ? slot_change(vm, slots, old, arg) : slot_delete(vm, slots, old);
	mutex_unlock(&vm->slots_lock);
	return ret;
}

/* ----------------------------------------------------------- HVX_GET_DIRTY */

/* Bits of the word at page `page` that lie in [page, end). */
static unsigned long word_mask(u64 page, u64 end)
{
	return end - page >= BITS_PER_LONG ? ~0UL : (1UL << (end - page)) - 1;
}

/*
 * Clear in the slot's bitmap what words[] asks for (NULL: everything), starting
 * at page `first` (a multiple of 64), and write-protect it. words[] becomes
 * what was cleared. A write after this sets its bit again: it faults, and the
 * bit is set under the mmu_lock that is taken here after the bits were read.
 */
static void dirty_clear(struct hvx_vm *vm, struct hvx_memslot *slot, u64 first, u64 end,
			unsigned long *words, bool given)
{
	unsigned int i, n = DIV_ROUND_UP(end - first, BITS_PER_LONG);
	unsigned long any = 0;

	for (i = 0; i < n; i++) {
		u64 page = first + (u64)i * BITS_PER_LONG;
		atomic_long_t *word = (atomic_long_t *)&slot->dirty[page / BITS_PER_LONG];
		unsigned long mask = word_mask(page, end);

		if (given)
			mask &= words[i];
		words[i] = 0;
		if (atomic_long_read(word) & mask)
			words[i] = atomic_long_fetch_andnot(mask, word) & mask;
		any |= words[i];
	}
	if (!any)
		return;
	spin_lock(&vm->mmu_lock);
	hvx_mmu_protect_bits(vm, slot->base_gfn + first, words, n);
	spin_unlock(&vm->mmu_lock);
}

static void dirty_read(struct hvx_memslot *slot, u64 first, u64 end, unsigned long *words)
{
	unsigned int i, n = DIV_ROUND_UP(end - first, BITS_PER_LONG);

	for (i = 0; i < n; i++) {
		u64 page = first + (u64)i * BITS_PER_LONG;

		words[i] = READ_ONCE(slot->dirty[page / BITS_PER_LONG]) & word_mask(page, end);
	}
}

/* Put bits back that could not be told to userspace. */
static void dirty_restore(struct hvx_memslot *slot, u64 first, unsigned int n,
			  const unsigned long *words)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (words[i])
			atomic_long_or(words[i],
				       (atomic_long_t *)&slot->dirty[first / BITS_PER_LONG + i]);
}

/* One chunk [first, end) of HVX_GET_DIRTY. */
static int dirty_chunk(struct hvx_vm *vm, struct hvx_memslot *slot, u64 first, u64 end,
		       struct hvx_dirty *arg, unsigned long *words)
{
	void __user *p = u64_to_user_ptr(arg->bitmap) + (first - arg->first_page) / 8;
	unsigned int n = DIV_ROUND_UP(end - first, BITS_PER_LONG);

	if (arg->flags & HVX_DIRTY_ONLY_CLEAR) {
		if (copy_from_user(words, p, n * sizeof(*words)))
			return -EFAULT;
		dirty_clear(vm, slot, first, end, words, true);
		return 0;
	}
	if (arg->flags & HVX_DIRTY_CLEAR)
		dirty_clear(vm, slot, first, end, words, false);
	else
		dirty_read(slot, first, end, words);
	if (copy_to_user(p, words, n * sizeof(*words))) {
		if (arg->flags & HVX_DIRTY_CLEAR)
			dirty_restore(slot, first, n, words);
		return -EFAULT;
	}
	arg->dirty_pages += bitmap_weight(words, n * BITS_PER_LONG);
	return 0;
}

static int check_dirty_arg(const struct hvx_dirty *arg)
{
	if (arg->flags & ~(HVX_DIRTY_CLEAR | HVX_DIRTY_ONLY_CLEAR) ||
	    arg->flags == (HVX_DIRTY_CLEAR | HVX_DIRTY_ONLY_CLEAR) ||
	    arg->reserved[0] || arg->reserved[1] || arg->first_page % 64)
		return -EINVAL;
	return 0;
}

int hvx_mmu_get_dirty(struct hvx_vm *vm, struct hvx_dirty *arg)
{
	struct hvx_memslot *slot;
	unsigned long *words;
	u64 first, end;
	int ret = check_dirty_arg(arg);

	if (ret)
		return ret;
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
