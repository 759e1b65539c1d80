// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access to guest memory through the slots, and the guest's own page tables,
 * walked to fetch an instruction that the CPU has already executed the fetch of:
 * presence is checked, rights are not, and accessed bits are left alone.
 * Formats: SDM vol. 3, chapter "Paging".
 */
#include "backend.h"
#include "mmu.h"

/* Around accesses to guest memory through the slots; how: HVX_MEM_*. */
static struct hvx_memslots *mem_begin(struct hvx_vm *vm, unsigned int how, int *idx)
{
	if (how & HVX_MEM_ATOMIC) {
		rcu_read_lock_sched();
		pagefault_disable();
	} else {
		*idx = srcu_read_lock(&vm->srcu);
	}
	return hvx_slots(vm);
}

static void mem_end(struct hvx_vm *vm, unsigned int how, int idx)
{
	if (how & HVX_MEM_ATOMIC) {
		pagefault_enable();
		rcu_read_unlock_sched();
	} else {
		srcu_read_unlock(&vm->srcu, idx);
	}
}

/* The aligned eight bytes that gpa lies in, in a single access. Between begin and end. */
static bool read_u64(struct hvx_memslots *slots, u64 gpa, u64 *val)
{
	struct hvx_memslot *slot = hvx_slot_find(slots, gpa >> PAGE_SHIFT);

	return slot && !__get_user(*val, (const u64 __user *)(hvx_slot_hva(slot, gpa >> PAGE_SHIFT) +
							      (offset_in_page(gpa) & ~7UL)));
}

/*
 * Bytes left over. Slots only ever hold addresses that passed access_ok().
 * Single bytes are the PV EOI flag, on a hot path: they go without a function's
 * worth of checks.
 */
static __always_inline unsigned long copy(void *buf, void __user *p, size_t n, bool write)
{
	if (n == 1)
		return write ? __put_user(*(u8 *)buf, (u8 __user *)p) :
			       __get_user(*(u8 *)buf, (u8 __user *)p);
	return write ? __copy_to_user(p, buf, n) : __copy_from_user(buf, p, n);
}

int hvx_guest_mem(struct hvx_vm *vm, u64 gpa, void *buf, size_t len, unsigned int how)
{
	int idx = 0, ret = 0;
	struct hvx_memslots *slots = mem_begin(vm, how, &idx);
	bool write = how & HVX_MEM_WRITE;

	while (len && !ret) {
		struct hvx_memslot *slot = hvx_slot_find(slots, gpa >> PAGE_SHIFT);
		u64 page, last;
		size_t n;

		ret = -EFAULT;
		if (!slot || (write && slot->flags & HVX_SLOT_READONLY))
			break;
		n = min_t(u64, len, ((slot->base_gfn + slot->npages) << PAGE_SHIFT) - gpa);
		if (!copy(buf, (void __user *)hvx_slot_hva(slot, gpa >> PAGE_SHIFT) +
			  offset_in_page(gpa), n, write))
			ret = 0;
		/*
		 * Also where only part of it is there, and after the data: a bit
		 * that is set earlier could be harvested before it.
		 */
		if (write && slot->dirty) {
			page = (gpa >> PAGE_SHIFT) - slot->base_gfn;
			last = ((gpa + n - 1) >> PAGE_SHIFT) - slot->base_gfn;
			for (; page <= last; page++)
				set_bit(page, slot->dirty);
		}
		gpa += n;
		buf += n;
		len -= n;
	}
	mem_end(vm, how, idx);
	return ret;
}

#define GUEST_P		BIT_ULL(0)
#define GUEST_PS	BIT_ULL(7)
#define GUEST_ADDR	0x000ffffffffff000ULL

/* Guest-linear to guest-physical. Between mem_begin() and _end(), as all reads here. */
static bool walk(struct hvx_vcpu *vcpu, struct hvx_memslots *slots, u64 gva, u64 *gpa)
{
	u64 table = hvx_backend->get_cr(vcpu, 3), cr4 = hvx_backend->get_cr(vcpu, 4), entry;
	int level, shift, max_leaf, bits = 9, size = 8;

	if (!(hvx_backend->get_cr(vcpu, 0) & X86_CR0_PG)) {
		*gpa = (u32)gva;
		return true;
	}
	if (vcpu->efer & EFER_LMA) {
		level = cr4 & X86_CR4_LA57 ? 5 : 4;
		max_leaf = 3;
		table &= GUEST_ADDR;
		shift = 64 - (PAGE_SHIFT + 9 * level);
		if ((u64)((s64)(gva << shift) >> shift) != gva)
			return false;	/* not canonical */
	} else if (cr4 & X86_CR4_PAE) {
		level = 3;
		max_leaf = 2;
		table &= 0xffffffe0;
		gva = (u32)gva;
	} else {
		level = 2;
		max_leaf = cr4 & X86_CR4_PSE ? 2 : 1;
		table &= 0xfffff000;
		gva = (u32)gva;
		bits = 10;
		size = 4;
	}
	for (; level > 0; level--, table = entry & GUEST_ADDR) {
		shift = PAGE_SHIFT + bits * (level - 1);
		table += ((gva >> shift) & ((1 << bits) - 1)) * size;
		if (!read_u64(slots, table, &entry))
			return false;
		if (size == 4)
			entry = (u32)(entry >> (table & 4) * 8);
		if (!(entry & GUEST_P))
			return false;
		if (level > 1 && !(level <= max_leaf && entry & GUEST_PS))
			continue;
		*gpa = entry & GUEST_ADDR;
		/* PSE-36: bits 20:13 of a 4 MiB leaf are address bits 39:32. */
		if (size == 4 && level == 2)
			*gpa = (entry & 0xffc00000) | ((entry >> 13) & 0xff) << 32;
		*gpa = (*gpa >> shift << shift) | (gva & ((1ULL << shift) - 1));
		return true;
	}
	return false;
}

int hvx_fetch_insn(struct hvx_vcpu *vcpu, u8 *insn, int max, bool can_sleep)
{
	unsigned int how = can_sleep ? 0 : HVX_MEM_ATOMIC;
	u64 gpa = 0, word, linear = vcpu->rip, mask = ~0ULL;
	struct hvx_memslots *slots;
	struct hvx_segment cs;
	int n, got, idx = 0;

	if (hvx_mode(vcpu) != HVX_MODE_64) {
		hvx_backend->get_segment(vcpu, HVX_SEG_CS, &cs);
		linear = cs.base + (u32)vcpu->rip;
		mask = U32_MAX;		/* it wraps at 4 GiB */
	}
	max = min(max, HVX_INSN_MAX);
	slots = mem_begin(vcpu->vm, how, &idx);
	/* Word by word, as copying from user space is dear for so few bytes. */
	for (got = 0; got < max; got += n, gpa += n) {
		int skip = (linear + got) % sizeof(word);

		n = min_t(int, max - got, sizeof(word) - skip);
		if ((!got || !offset_in_page(linear + got)) &&
		    !walk(vcpu, slots, (linear + got) & mask, &gpa))
			break;
		if (!read_u64(slots, gpa, &word))
			break;
		memcpy(insn + got, (u8 *)&word + skip, n);
	}
	mem_end(vcpu->vm, how, idx);
	return got;
}
