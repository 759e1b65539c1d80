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
#define PTE_NX	BIT_ULL(63)
#define PTE_PA	GENMASK_ULL(51, 12)

static u64 pte_make_table(u64 pa)
{
	return __sme_set(pa) | PTE_P | PTE_W | PTE_U | PTE_A;
}

static u64 pte_make_leaf(u64 pa, int level, bool write, bool exec)
{
	return __sme_set(pa) | PTE_P | PTE_U | PTE_A | (write ? PTE_W | PTE_D : 0) |
	       (exec ? 0 : PTE_NX) | (level > 1 ? PTE_PS : 0);
}

static bool pte_is_leaf(u64 pte, int level)
{
	return level == 1 || pte & PTE_PS;
}

static bool pte_is_writable(u64 pte)
{
	return pte & PTE_W;
}

static u64 pte_no_write(u64 pte)
{
	return pte & ~(PTE_W | PTE_D);
}

static u64 pte_pa(u64 pte)
{
	return __sme_clr(pte & PTE_PA);
}

static bool pte_is_accessed(u64 pte)
{
	return pte & PTE_A;
}

static u64 pte_no_accessed(u64 pte)
{
	return pte & ~PTE_A;
}

const struct hvx_pte_ops svm_pte = {
	.make_table = pte_make_table,
	.make_leaf = pte_make_leaf,
	.leaf = pte_is_leaf,
	.writable = pte_is_writable,
	.clear_write = pte_no_write,
	.address = pte_pa,
	.accessed = pte_is_accessed,
	.clear_accessed = pte_no_accessed,
};

/* -------------------------------------------------------------- segments */

static struct vmcb_seg *vmcb_segment(struct vmcb *vmcb, int seg)
{
	switch (seg) {
	case 0: return &vmcb->save.es;
	case 1: return &vmcb->save.cs;
	case 2: return &vmcb->save.ss;
	case 3: return &vmcb->save.ds;
	case 4: return &vmcb->save.fs;
	case 5: return &vmcb->save.gs;
	case 6: return &vmcb->save.ldtr;
	default: return &vmcb->save.tr;
	}
}

/* The VMCB packs descriptor bits 55:52 right above bits 47:40; HVX_SEG_* keeps a spare bit for "unusable". */
static u16 attr_from_vmcb(u16 a)
{
	u16 out = (a & 0xff) | (a & 0xf00);

	return a & HVX_SEG_P ? out : out | HVX_SEG_UNUSABLE;
}

static u16 attr_to_vmcb(u16 a)
{
	if (a & HVX_SEG_UNUSABLE)
		a &= ~(u16)HVX_SEG_P;
	return a & 0xfff;
}

void svm_get_segment(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out)
{
	const struct vmcb_seg *s = vmcb_segment(to_svm(vcpu)->vmcb, seg);

	out->base = s->base;
	out->limit = s->limit;
	out->selector = s->selector;
	out->attr = attr_from_vmcb(s->attr);
	/* The CPU does not keep CS.G and TR's busy bit as the formats of others want them. */
	if (seg == 7)
		out->attr |= 2;
	else if (seg == 1 && out->limit > 0xfffff)
		out->attr |= HVX_SEG_G;
}

static void set_segment(struct hvx_vcpu *vcpu, int seg, const struct hvx_segment *in)
{
	struct vmcb_seg *s = vmcb_segment(to_svm(vcpu)->vmcb, seg);

	s->base = in->base;
	s->limit = in->limit;
	s->selector = in->selector;
	s->attr = attr_to_vmcb(in->attr);
}

int svm_get_cpl(struct hvx_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.cpl;
}

void svm_get_sregs(struct hvx_vcpu *vcpu, struct hvx_sregs *s)
{
	const struct vmcb_save *v = &to_svm(vcpu)->vmcb->save;

	svm_get_segment(vcpu, 0, &s->es);
	svm_get_segment(vcpu, 1, &s->cs);
	svm_get_segment(vcpu, 2, &s->ss);
	svm_get_segment(vcpu, 3, &s->ds);
	svm_get_segment(vcpu, 4, &s->fs);
	svm_get_segment(vcpu, 5, &s->gs);
	svm_get_segment(vcpu, 6, &s->ldtr);
	svm_get_segment(vcpu, 7, &s->tr);
	s->gdtr.base = v->gdtr.base;
	s->gdtr.limit = v->gdtr.limit;
	s->idtr.base = v->idtr.base;
	s->idtr.limit = v->idtr.limit;
	s->cr0 = v->cr0;
	s->cr2 = vcpu->cr2;
	s->cr3 = v->cr3;
	s->cr4 = v->cr4;
	s->efer = v->efer & ~(u64)EFER_SVME;
	s->cpl = v->cpl;
}

void svm_set_sregs(struct hvx_vcpu *vcpu, const struct hvx_sregs *s)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_save *v = &svm->vmcb->save;

	set_segment(vcpu, 0, &s->es);
	set_segment(vcpu, 1, &s->cs);
	set_segment(vcpu, 2, &s->ss);
	set_segment(vcpu, 3, &s->ds);
	set_segment(vcpu, 4, &s->fs);
	set_segment(vcpu, 5, &s->gs);
	set_segment(vcpu, 6, &s->ldtr);
	set_segment(vcpu, 7, &s->tr);
	v->gdtr.base = s->gdtr.base;
	v->gdtr.limit = s->gdtr.limit;
	v->idtr.base = s->idtr.base;
	v->idtr.limit = s->idtr.limit;
	v->cr0 = s->cr0;
	v->cr2 = vcpu->cr2 = s->cr2;
	v->cr3 = s->cr3;
	v->cr4 = s->cr4;
	v->efer = s->efer | EFER_SVME;
	/* VMRUN takes CPL from here, not from SS (APM vol. 2 15.5.1). */
	v->cpl = !(s->cr0 & X86_CR0_PE) ? 0 :
		 vcpu->rflags & X86_EFLAGS_VM ? 3 : HVX_SEG_DPL(s->ss.attr);
	svm->flush = true;
	svm->clean = 0;
}

u64 svm_get_cr(struct hvx_vcpu *vcpu, int cr)
{
	const struct vmcb_save *v = &to_svm(vcpu)->vmcb->save;

	switch (cr) {
	case 0: return v->cr0;
	case 2: return vcpu->cr2;
	case 3: return v->cr3;
	case 4: return v->cr4;
	}
	return 0;
}

u64 svm_get_efer(struct hvx_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.efer & ~(u64)EFER_SVME;
}

void svm_set_efer(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->save.efer = val | EFER_SVME;
	mark_dirty(svm, CLEAN_CR);
	svm->flush = true;
}

void svm_set_cr4(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* APM vol. 2 5.5.2: which changes drop translations; OSXSAVE and the like do not. */
	if ((svm->vmcb->save.cr4 ^ val) & (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PCIDE |
					   X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE |
					   X86_CR4_LA57))
		svm->flush = true;
	svm->vmcb->save.cr4 = val;
	mark_dirty(svm, CLEAN_CR);
}

/* MSRs that VMRUN and VMLOAD switch. */
static u64 *vmcb_msr(struct hvx_vcpu *vcpu, u32 index)
{
	struct vmcb_save *v = &to_svm(vcpu)->vmcb->save;

	switch (index) {
	case MSR_STAR: return &v->star;
	case MSR_LSTAR: return &v->lstar;
	case MSR_CSTAR: return &v->cstar;
	case MSR_SYSCALL_MASK: return &v->sfmask;
	case MSR_KERNEL_GS_BASE: return &v->kernel_gs_base;
	case MSR_FS_BASE: return &v->fs.base;
	case MSR_GS_BASE: return &v->gs.base;
	case MSR_IA32_SYSENTER_CS: return &v->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP: return &v->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP: return &v->sysenter_eip;
	case MSR_IA32_CR_PAT: return &v->gpat;
	case MSR_IA32_DEBUGCTLMSR: return &v->dbgctl;
	}
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
	mark_dirty(to_svm(vcpu), index == MSR_IA32_CR_PAT ? CLEAN_NP :
		   index == MSR_IA32_DEBUGCTLMSR ? CLEAN_LBR : CLEAN_SEG);
	return 0;
}

u8 svm_get_shadow(struct hvx_vcpu *vcpu)
{
	/* The CPU does not say which kind; both last one instruction. */
	return to_svm(vcpu)->vmcb->ctl.int_state & 1 ? HVX_SHADOW_STI : 0;
}

void svm_set_shadow(struct hvx_vcpu *vcpu, u8 shadow)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	vmcb->ctl.int_state = (vmcb->ctl.int_state & ~1ULL) | !!shadow;
}

/* DR6 and DR7 in the VMCB: the guest's, or the debugger's breakpoints in their place. */
void svm_update_debug(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;

	vmcb->save.dr6 = vcpu->dr6;
	vmcb->save.dr7 = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7;
	if (vcpu->debug_flags & HVX_DEBUG_SW)
		vmcb->ctl.icpt_exc |= BIT(3);
	else
		vmcb->ctl.icpt_exc &= ~BIT(3);
	mark_dirty(svm, CLEAN_DR | CLEAN_ICPT);
}
