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

#define SEG_CS		1

/* One of the guest's paging modes. */
struct paging {
	int levels;		/* 0: off */
	int bits;		/* index bits of a level; a PAE top level has 2 */
	int entry;		/* bytes of a table entry */
	int max_leaf;		/* highest level whose entry can be a leaf */
	u64 root;
};

/* One table entry. slots: the caller is between hvx_atomic_begin() and _end(); NULL: may sleep. */
static bool read_entry(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gpa, int size, u64 *entry)
{
	if (!slots) {
		*entry = 0;
		return !hvx_read_guest(vm, gpa, entry, size);
	}
	if (!hvx_atomic_read_u64(vm, slots, gpa, entry))
		return false;
	if (size == 4)
		*entry = (u32)(*entry >> (gpa & 4) * 8);
	return true;
}

static struct paging paging_of(struct hvx_vcpu *vcpu)
{
	u64 cr3 = hvx_backend->get_cr(vcpu, 3), cr4 = hvx_backend->get_cr(vcpu, 4);

	if (!(hvx_backend->get_cr(vcpu, 0) & X86_CR0_PG))
		return (struct paging) { .levels = 0 };
	if (hvx_backend->get_efer(vcpu) & EFER_LMA)
		return (struct paging) { .levels = cr4 & X86_CR4_LA57 ? 5 : 4, .bits = 9,
					 .entry = 8, .max_leaf = 3, .root = cr3 & GUEST_ADDR };
	if (cr4 & X86_CR4_PAE)
		return (struct paging) { .levels = 3, .bits = 9, .entry = 8,
					 .max_leaf = 2, .root = cr3 & 0xffffffe0 };
	return (struct paging) { .levels = 2, .bits = 10, .entry = 4,
				 .max_leaf = cr4 & X86_CR4_PSE ? 2 : 1, .root = cr3 & 0xfffff000 };
}

static bool is_canonical(u64 gva, int levels)
{
	int unused = 64 - (PAGE_SHIFT + 9 * levels);

	return (u64)((s64)(gva << unused) >> unused) == gva;
}

/* Where the page begins that a leaf of `shift` bits maps. */
static u64 leaf_base(const struct paging *p, u64 entry, int shift)
{
	u64 mask = ~((1ULL << shift) - 1);

	/* PSE-36: bits 20:13 of a 4 MiB leaf are address bits 39:32. */
	if (p->entry == 4 && shift == 22)
		return (entry & 0xffc00000) | ((entry >> 13) & 0xff) << 32;
	return entry & GUEST_ADDR & mask;
}

static int walk(struct hvx_vcpu *vcpu, struct hvx_memslots *slots, u64 gva, u64 *gpa)
{
	struct paging p = paging_of(vcpu);
	u64 table = p.root;
	int level;

	if (p.entry != 8 || p.levels == 3)
		gva = (u32)gva;
	else if (!is_canonical(gva, p.levels))
		return -EFAULT;
	if (!p.levels) {
		*gpa = gva;
		return 0;
	}

	for (level = p.levels; level > 0; level--) {
		int shift = PAGE_SHIFT + p.bits * (level - 1);
		u64 index = (gva >> shift) & ((1 << p.bits) - 1);
		u64 entry;

		if (!read_entry(vcpu->vm, slots, table + index * p.entry, p.entry, &entry) ||
		    !(entry & GUEST_P))
			return -EFAULT;
		if (level == 1 || (level <= p.max_leaf && entry & GUEST_PS)) {
			*gpa = leaf_base(&p, entry, shift) | (gva & ((1ULL << shift) - 1));
			return 0;
		}
		table = entry & GUEST_ADDR;
	}
	return -EFAULT;
}

/* Linear address of the next instruction; wraps at 4 GiB outside 64-bit mode. */
static u64 linear_rip(struct hvx_vcpu *vcpu, enum hvx_cpu_mode mode)
{
	struct hvx_segment cs;

	if (mode == HVX_MODE_64)
		return vcpu->rip;
	hvx_backend->get_segment(vcpu, SEG_CS, &cs);
	return (u32)(cs.base + (u32)vcpu->rip);
}

/*
 * Bytes of one page; slots as in read_entry(). Word by word, as copying from
 * user space is dear for so few bytes.
 */
static bool read_bytes(struct hvx_vm *vm, struct hvx_memslots *slots, u64 gpa, u8 *buf, int n)
{
	if (!slots)
		return !hvx_read_guest(vm, gpa, buf, n);
	while (n > 0) {
		int skip = gpa % sizeof(u64), part = min_t(int, n, sizeof(u64) - skip);
		u64 word;

		if (!hvx_atomic_read_u64(vm, slots, gpa, &word))
			return false;
		memcpy(buf, (u8 *)&word + skip, part);
		gpa += part;
		buf += part;
		n -= part;
	}
	return true;
}

int hvx_fetch_insn(struct hvx_vcpu *vcpu, u8 *insn, int max, bool can_sleep)
{
	enum hvx_cpu_mode mode = hvx_vcpu_mode(vcpu);
	u64 gpa, linear = linear_rip(vcpu, mode);
	struct hvx_memslots *slots = can_sleep ? NULL : hvx_atomic_begin(vcpu->vm);
	int n, got;

	max = min(max, HVX_INSN_MAX);
	for (got = 0; got < max; got += n) {	/* twice at most: 15 bytes touch two pages */
		n = min_t(int, max - got, PAGE_SIZE - offset_in_page(linear));
		if (walk(vcpu, slots, linear, &gpa) ||
		    !read_bytes(vcpu->vm, slots, gpa, insn + got, n))
			break;
		linear += n;
		if (mode != HVX_MODE_64)
			linear = (u32)linear;
	}
	if (slots)
		hvx_atomic_end();
	return got;
}
