// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's own page tables, walked to fetch an instruction that the CPU has
 * already executed the fetch of: presence is checked, rights are not, and
 * accessed bits are left alone. Formats: SDM vol. 3, chapter "Paging".
 */
#include <linux/mm.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "backend.h"
#include "mmu.h"

#define GUEST_P		BIT_ULL(0)
#define GUEST_PS	BIT_ULL(7)
#define GUEST_ADDR	0x000ffffffffff000ULL

/* Guest-linear to guest-physical. Between hvx_mem_begin() and _end(), as all reads here. */
static bool walk(struct hvx_vcpu *vcpu, struct hvx_memslots *slots, u64 gva, u64 *gpa)
{
	u64 table = hvx_backend->get_cr(vcpu, 3), cr4 = hvx_backend->get_cr(vcpu, 4), entry;
	int level, shift, max_leaf, bits = 9, size = 8;

	if (!(hvx_backend->get_cr(vcpu, 0) & X86_CR0_PG)) {
		*gpa = (u32)gva;
		return true;
	}
	if (hvx_backend->get_efer(vcpu) & EFER_LMA) {
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
		if (!hvx_mem_read_u64(vcpu->vm, slots, table, &entry))
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

	if (hvx_vcpu_mode(vcpu) != HVX_MODE_64) {
		hvx_backend->get_segment(vcpu, HVX_SEG_CS, &cs);
		linear = cs.base + (u32)vcpu->rip;
		mask = U32_MAX;		/* it wraps at 4 GiB */
	}
	max = min(max, HVX_INSN_MAX);
	slots = hvx_mem_begin(vcpu->vm, how, &idx);
	/* Word by word, as copying from user space is dear for so few bytes. */
	for (got = 0; got < max; got += n, gpa += n) {
		int skip = (linear + got) % sizeof(word);

		n = min_t(int, max - got, sizeof(word) - skip);
		if ((!got || !offset_in_page(linear + got)) &&
		    !walk(vcpu, slots, (linear + got) & mask, &gpa))
			break;
		if (!hvx_mem_read_u64(vcpu->vm, slots, gpa, &word))
			break;
		memcpy(insn + got, (u8 *)&word + skip, n);
	}
	hvx_mem_end(vcpu->vm, how, idx);
	return got;
}
