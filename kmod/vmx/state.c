// SPDX-License-Identifier: GPL-2.0-only
/* Guest state that lives in the VMCS, and the format of EPT entries. */
#include "vmx/vmx.h"

/*
 * SDM vol. 3 "The Extended Page Table Mechanism". Memory is write-back whatever
 * the guest's PAT says ("ignore PAT"): the host maps the same pages so.
 */
#define EPT_R		BIT_ULL(0)
#define EPT_W		BIT_ULL(1)
#define EPT_X		BIT_ULL(2)
#define EPT_WB		(6ULL << 3)
#define EPT_IPAT	BIT_ULL(6)
#define EPT_LARGE	BIT_ULL(7)
#define EPT_A		BIT_ULL(8)
#define EPT_D		BIT_ULL(9)

struct hvx_pte_format vmx_pte = {
	.table = EPT_R | EPT_W | EPT_X | EPT_A,
	.leaf = EPT_R | EPT_X | EPT_WB | EPT_IPAT | EPT_A,
	.write = EPT_W | EPT_D,
	.large = EPT_LARGE,
	.accessed = EPT_A,
};

/* Access rights: bits 55:52 of a descriptor lie four bits higher than in HVX_SEG_*. */
static u32 attr_to_rights(u16 a)
{
	return (a & 0xff) | (a & 0x1f00) << 4;
}

u16 vmx_get_attr(struct hvx_vcpu *vcpu, int seg)
{
	u32 ar = vmx_get(to_vmx(vcpu), 4 * seg + F_RIGHTS);

	/* Of an unusable segment only the DPL counts, and that in SS. */
	if (ar & VMX_AR_UNUSABLE)
		return (ar & 0x60) | HVX_SEG_UNUSABLE;
	return (ar & 0xff) | (ar >> 4 & 0xf00);
}

void vmx_get_segment(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	if (seg >= HVX_SEG_GDTR) {
		out->base = vmx_get(v, F_GDTR_BASE + 2 * (seg - HVX_SEG_GDTR));
		out->limit = vmx_get(v, F_GDTR_LIMIT + 2 * (seg - HVX_SEG_GDTR));
		return;
	}
	out->selector = vmx_get(v, 4 * seg + F_SELECTOR);
	out->limit = vmx_get(v, 4 * seg + F_LIMIT);
	out->attr = vmx_get_attr(vcpu, seg);
	out->base = vmx_get(v, 4 * seg + F_BASE);
}

/* VM entry is stricter than the CPU's own loads: SDM vol. 3 "Checks on Guest Segment Registers". */
void vmx_set_segment(struct hvx_vcpu *vcpu, int seg, const struct hvx_segment *in)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u16 attr = in->attr;

	if (seg >= HVX_SEG_GDTR) {
		vmx_set(v, F_GDTR_BASE + 2 * (seg - HVX_SEG_GDTR), in->base);
		vmx_set(v, F_GDTR_LIMIT + 2 * (seg - HVX_SEG_GDTR), in->limit);
		return;
	}
	/* CPL is SS.DPL, and zero in real mode. */
	if (seg == HVX_SEG_SS && !(vmx_get_cr(vcpu, 0) & X86_CR0_PE))
		attr &= ~0x60;
	if (!(attr & HVX_SEG_P))
		attr |= HVX_SEG_UNUSABLE;
	if (seg == HVX_SEG_TR)	/* always there, always busy */
		attr = (attr & ~HVX_SEG_UNUSABLE) | HVX_SEG_P | 3;
	else if (attr & HVX_SEG_S)
		attr |= 1;	/* accessed */
	if (in->limit > 0xfffff)
		attr |= HVX_SEG_G;
	else if ((in->limit & 0xfff) != 0xfff)
		attr &= ~HVX_SEG_G;
	if (attr & HVX_SEG_UNUSABLE)
		attr &= HVX_SEG_UNUSABLE | 0x60;
	vmx_set(v, 4 * seg + F_SELECTOR, in->selector);
	vmx_set(v, 4 * seg + F_LIMIT, in->limit);
	vmx_set(v, 4 * seg + F_RIGHTS, attr_to_rights(attr));
	vmx_set(v, 4 * seg + F_BASE, in->base);
}

/*
 * VMX_CR0_MASK: caching is the host's affair, NE is fixed in VMX operation, and
 * PG is watched so that EFER.LMA changes with our knowledge only.
 */
u64 vmx_get_cr(struct hvx_vcpu *vcpu, int cr)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 mask = v->val[F_CR4_MASK];

	if (cr == 0)
		return (vmx_get(v, F_CR0) & ~VMX_CR0_MASK) | (v->val[F_CR0_SHADOW] & VMX_CR0_MASK);
	return cr == 3 ? vmx_get(v, F_CR3) :
			 (vmx_get(v, F_CR4) & ~mask) | (v->val[F_CR4_SHADOW] & mask);
}

bool vmx_load_pdptes(struct hvx_vcpu *vcpu, bool can_sleep)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 gpa = vmx_get(v, F_CR3) & 0xffffffe0, pdpte[4];
	int i, r;

	r = hvx_guest_mem(vcpu->vm, gpa, pdpte, sizeof(pdpte), can_sleep ? 0 : HVX_MEM_ATOMIC);
	if (r && !can_sleep)
		return false;
	for (i = 0; i < 4; i++)
		vmx_set(v, F_PDPTE0 + i, r ? 0 : pdpte[i]);
	v->pdpte_stale = false;
	return true;
}

/* Of CR4, what the guest's CPUID does not show it must not set; VMXE and MCE are the host's. */
void vmx_set_cr(struct hvx_vcpu *vcpu, int cr, u64 val)
{
	u64 mask = ~vcpu->cr4_allowed | X86_CR4_VMXE | X86_CR4_MCE;
	struct vmx_vcpu *v = to_vmx(vcpu);

	v->flush_vpid = true;
	if (cr == 3) {
		vmx_set(v, F_CR3, val);
		return;
	}
	if (cr == 0) {
		vmx_set(v, F_CR0_SHADOW, val);
		vmx_set(v, F_CR0, (val & ~(u64)(X86_CR0_CD | X86_CR0_NW)) | vmx_caps.cr0_fixed0);
	} else {
		vmx_set(v, F_CR4_MASK, mask);
		vmx_set(v, F_CR4_SHADOW, val);
		vmx_set(v, F_CR4, (val & ~mask) | X86_CR4_VMXE | (__read_cr4() & X86_CR4_MCE));
	}
	/* The PDPTEs are registers of their own: who sets CR0 or CR4 for the guest loads them. */
	v->pdpte_stale = vmx_get(v, F_CR0) & X86_CR0_PG && vmx_get(v, F_CR4) & X86_CR4_PAE &&
			 !(vcpu->efer & EFER_LMA);
}

void vmx_set_efer(struct hvx_vcpu *vcpu, u64 val)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vcpu->efer = val;
	vmx_set(v, F_EFER, val);
	vmx_set(v, F_ENTRY, val & EFER_LMA ? vmx_caps.entry | VM_ENTRY_IA32E_MODE : vmx_caps.entry);
	v->flush_vpid = true;
}

/* The guest's DR7 or the debugger's; exceptions and steps that the debugger wants to see. */
void vmx_update_debug(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 exceptions = BIT(1) | BIT(17) | BIT(18);
	u64 proc = v->val[F_PROC] & ~(u64)CPU_BASED_MONITOR_TRAP_FLAG;

	if (vcpu->debug_flags & HVX_DEBUG_SW)
		exceptions |= BIT(3);
	if (vcpu->debug_flags & HVX_DEBUG_STEP)
		proc |= CPU_BASED_MONITOR_TRAP_FLAG;
	vmx_set(v, F_EXCEPTIONS, exceptions);
	vmx_set(v, F_PROC, proc);
	vmx_set(v, F_DR7, vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7);
}
