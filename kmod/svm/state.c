// SPDX-License-Identifier: GPL-2.0-only
/* Guest state that lives in the VMCB, and the format of nested page table entries. */
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "svm/svm.h"

/* ------------------------------------------------ nested page table entries */

/*
 * Nested tables are the long mode format (APM vol. 2 15.25.5); every access of
 * the guest counts as a user access, so U must be set at each level.
 */
#define PTE_P	BIT_ULL(0)
#define PTE_W	BIT_ULL(1)
#define PTE_U	BIT_ULL(2)
#define PTE_A	BIT_ULL(5)
#define PTE_D	BIT_ULL(6)
#define PTE_PS	BIT_ULL(7)

const struct hvx_pte_format svm_pte = {
	.table = PTE_P | PTE_W | PTE_U | PTE_A,
	.leaf = PTE_P | PTE_U | PTE_A,
	.write = PTE_W | PTE_D,
	.large = PTE_PS,
	.accessed = PTE_A,
};

/* -------------------------------------------------------------- segments */

/* Where those that the core numbers 0-7, ES to TR, are in the VMCB. */
static const u8 seg_at[] = { 0, VMCB_CS, VMCB_SS, 3, VMCB_FS, VMCB_GS, VMCB_LDTR, VMCB_TR };

/*
 * The VMCB packs descriptor bits 55:52 right above bits 47:40; HVX_SEG_* keeps
 * a spare bit for "unusable". What the CPU does not keep there (CS.G, TR's busy
 * bit, and SS.DPL, which SYSRET leaves behind) is made up to be as others want it.
 */
void svm_get_segment(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out)
{
	const struct vmcb_seg *s = &to_vmcb(vcpu)->seg[seg_at[seg]];

	out->base = s->base;
	out->limit = s->limit;
	out->selector = s->selector;
	out->attr = (s->attr & 0xfff) | (s->attr & HVX_SEG_P ? 0 : HVX_SEG_UNUSABLE);
	if (seg_at[seg] == VMCB_TR)
		out->attr |= 2;
	else if (seg_at[seg] == VMCB_CS && out->limit > 0xfffff)
		out->attr |= HVX_SEG_G;
	else if (seg_at[seg] == VMCB_SS)
		out->attr = (out->attr & ~(3 << 5)) | svm_get_cpl(vcpu) << 5;
}

int svm_get_cpl(struct hvx_vcpu *vcpu)
{
	return to_vmcb(vcpu)->cpl;
}

void svm_get_dtables(struct hvx_vcpu *vcpu, struct hvx_dtable *gdtr, struct hvx_dtable *idtr)
{
	const struct vmcb_seg *seg = to_vmcb(vcpu)->seg;

	gdtr->base = seg[VMCB_GDTR].base;
	gdtr->limit = seg[VMCB_GDTR].limit;
	idtr->base = seg[VMCB_IDTR].base;
	idtr->limit = seg[VMCB_IDTR].limit;
}

void svm_set_sregs(struct hvx_vcpu *vcpu, const struct hvx_sregs *s)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *v = svm->vmcb;
	const struct hvx_segment *seg = &s->es;
	int i;

	for (i = 0; i < ARRAY_SIZE(seg_at); i++, seg++)
		v->seg[seg_at[i]] = (struct vmcb_seg) {
			.selector = seg->selector, .limit = seg->limit, .base = seg->base,
			.attr = seg->attr & (seg->attr & HVX_SEG_UNUSABLE ? 0xfff & ~HVX_SEG_P : 0xfff),
		};
	v->seg[VMCB_GDTR].base = s->gdtr.base;
	v->seg[VMCB_GDTR].limit = s->gdtr.limit;
	v->seg[VMCB_IDTR].base = s->idtr.base;
	v->seg[VMCB_IDTR].limit = s->idtr.limit;
	svm_set_cr0(vcpu, s->cr0);
	v->cr2 = vcpu->cr2 = s->cr2;
	v->cr3 = s->cr3;
	v->cr4 = s->cr4;
	v->efer = s->efer | EFER_SVME;
	/* VMRUN takes CPL from here, not from SS (APM vol. 2 15.5.1). */
	v->cpl = !(s->cr0 & X86_CR0_PE) ? 0 :
		 vcpu->rflags & X86_EFLAGS_VM ? 3 : HVX_SEG_DPL(s->ss.attr);
	vcpu->flush_tlb = true;
	svm->clean = 0;
}

/* ------------------------------------------------------ control registers */

u64 svm_get_cr(struct hvx_vcpu *vcpu, int cr)
{
	const struct vmcb *v = to_vmcb(vcpu);

	switch (cr) {
	case 0: return v->cr0 | to_svm(vcpu)->cr0_cache;
	case 3: return v->cr3;
	case 4: return v->cr4;
	}
	return 0;
}

u64 svm_get_efer(struct hvx_vcpu *vcpu)
{
	return to_vmcb(vcpu)->efer & ~(u64)EFER_SVME;
}

void svm_set_efer(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->efer = val | EFER_SVME;
	svm->clean &= ~CLEAN_CR;
	vcpu->flush_tlb = true;
}

/*
 * CD set, as at reset, would make all of the guest's accesses uncached until
 * its software gets round to clearing it. The memory is ordinary, so the bit
 * need not have its effect: the guest sees CD and NW, but the CPU does not. It
 * takes intercepting CR0 as long as one is set, and not after that.
 */
void svm_set_cr0(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->cr0_cache = val & (X86_CR0_CD | X86_CR0_NW);
	svm->vmcb->cr0 = val & ~(X86_CR0_CD | X86_CR0_NW);
	svm_intercept(svm, EXIT_CR0_READ, svm->cr0_cache);
	svm_intercept(svm, EXIT_CR0_WRITE, svm->cr0_cache);
	svm->clean &= ~CLEAN_CR;
	vcpu->flush_tlb = true;
}

void svm_set_cr4(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* APM vol. 2 5.5.2: which changes drop translations; OSXSAVE and the like do not. */
	if ((svm->vmcb->cr4 ^ val) & (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PCIDE |
				      X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_LA57))
		vcpu->flush_tlb = true;
	svm->vmcb->cr4 = val;
	svm->clean &= ~CLEAN_CR;
}

/* -------------------------------------------------------------------- MSRs */

/* MSRs that are the guest's own while it runs: VMLOAD and VMSAVE switch them, PAT is VMRUN's. */
static const struct {
	u32 index;
	u16 at;			/* offset in the VMCB */
	bool direct;		/* accesses do not exit */
} msrs[] = {
	{ MSR_IA32_SYSENTER_CS, offsetof(struct vmcb, sysenter_cs), true },
	{ MSR_IA32_SYSENTER_ESP, offsetof(struct vmcb, sysenter_esp), true },
	{ MSR_IA32_SYSENTER_EIP, offsetof(struct vmcb, sysenter_eip), true },
	{ MSR_IA32_CR_PAT, offsetof(struct vmcb, gpat), false },
	{ MSR_STAR, offsetof(struct vmcb, star), true },
	{ MSR_LSTAR, offsetof(struct vmcb, lstar), true },
	{ MSR_CSTAR, offsetof(struct vmcb, cstar), true },
	{ MSR_SYSCALL_MASK, offsetof(struct vmcb, sfmask), true },
	{ MSR_FS_BASE, offsetof(struct vmcb, seg[VMCB_FS].base), true },
	{ MSR_GS_BASE, offsetof(struct vmcb, seg[VMCB_GS].base), true },
	{ MSR_KERNEL_GS_BASE, offsetof(struct vmcb, kernel_gs_base), true },
};

static u64 *vmcb_msr(struct hvx_vcpu *vcpu, u32 index)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].index == index)
			return (void *)to_vmcb(vcpu) + msrs[i].at;
	return NULL;
}

int svm_get_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val)
{
	const u64 *p = vmcb_msr(vcpu, index);

	if (!p)
		return 1;
	*val = *p;
	return 0;
}

int svm_set_msr(struct hvx_vcpu *vcpu, u32 index, u64 val)
{
	u64 *p = vmcb_msr(vcpu, index);

	if (!p)
		return 1;
	*p = val;
	to_svm(vcpu)->clean &= ~CLEAN_NP;	/* PAT; nothing that VMLOAD loads is ever kept */
	return 0;
}

/*
 * MSR permission map, APM vol. 2 15.11: two bits each, set = exit, for reads
 * and for writes; 2 KiB for MSRs from 0, 2 KiB for those from c000_0000.
 */
void svm_init_msrpm(u8 *map)
{
	unsigned int i, n;

	memset(map, 0xff, 2 * PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		n = (msrs[i].index & 0x1fff) + (msrs[i].index >> 31) * 0x2000;
		if (msrs[i].direct)
			map[n / 4] &= ~(3 << n % 4 * 2);
	}
}

/* ---------------------------------------------------------------- the rest */

u8 svm_get_shadow(struct hvx_vcpu *vcpu)
{
	/* The CPU does not say which kind; both last one instruction. */
	return to_vmcb(vcpu)->int_state & 1 ? HVX_SHADOW_STI : 0;
}

void svm_set_shadow(struct hvx_vcpu *vcpu, u8 shadow)
{
	to_vmcb(vcpu)->int_state = (to_vmcb(vcpu)->int_state & ~1ULL) | !!shadow;
}

/* DR6 and DR7 in the VMCB: the guest's, or the debugger's breakpoints in their place. */
void svm_update_debug(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->dr6 = vcpu->dr6;
	svm->vmcb->dr7 = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7;
	svm->clean &= ~CLEAN_DR;
	svm_intercept(svm, EXIT_BP, vcpu->debug_flags & HVX_DEBUG_SW);
}
