// SPDX-License-Identifier: GPL-2.0-only
/* Guest state that lives in the VMCS, and the format of EPT entries. */
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "vmx/vmx.h"

/* ------------------------------------------------------------ EPT entries */

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

/* -------------------------------------------------------------- segments */

/* Access rights: bits 55:52 of a descriptor lie four bits higher than in HVX_SEG_*. */
static u32 attr_to_rights(u16 a)
{
	return (a & 0xff) | (a & 0x1f00) << 4;
}

static u16 rights_to_attr(u32 ar)
{
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
	out->attr = rights_to_attr(vmx_get(v, 4 * seg + F_RIGHTS));
	out->base = vmx_get(v, 4 * seg + F_BASE);
}

/* VM entry is stricter than the CPU's own loads: SDM vol. 3 "Checks on Guest Segment Registers". */
static void set_segment(struct hvx_vcpu *vcpu, int seg, const struct hvx_segment *in)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u16 attr = in->attr;

	if (!(attr & HVX_SEG_P))
		attr |= HVX_SEG_UNUSABLE;
	if (seg == 7)	/* always there, always busy */
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

int vmx_get_cpl(struct hvx_vcpu *vcpu)
{
	return HVX_SEG_DPL(vmx_get(to_vmx(vcpu), 4 * 2 + F_RIGHTS));
}

void vmx_set_sregs(struct hvx_vcpu *vcpu, const struct hvx_sregs *s)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	const struct hvx_segment *seg = &s->es;
	struct hvx_segment ss = s->ss;
	int i;

	for (i = 0; i < 8; i++)
		set_segment(vcpu, i, &seg[i]);
	/* CPL is SS.DPL, and zero in real mode. */
	if (!(s->cr0 & X86_CR0_PE)) {
		ss.attr &= ~0x60;
		set_segment(vcpu, 2, &ss);
	}
	vmx_set(v, F_GDTR_BASE, s->gdtr.base);
	vmx_set(v, F_GDTR_LIMIT, s->gdtr.limit);
	vmx_set(v, F_IDTR_BASE, s->idtr.base);
	vmx_set(v, F_IDTR_LIMIT, s->idtr.limit);
	vmx_set(v, F_CR3, s->cr3);
	vcpu->cr2 = s->cr2;
	vmx_set_efer(vcpu, s->efer);
	vmx_set_cr4(vcpu, s->cr4);
	vmx_set_cr0(vcpu, s->cr0);
	v->flush_vpid = true;
}

/* ----------------------------------------------------- control registers */

/*
 * VMX_CR0_MASK: caching is the host's affair, NE is fixed in VMX operation, and
 * PG is watched so that EFER.LMA changes with our knowledge only.
 */
u64 vmx_get_cr(struct hvx_vcpu *vcpu, int cr)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 mask;

	switch (cr) {
	case 0:
		return (vmx_get(v, F_CR0) & ~VMX_CR0_MASK) | (v->val[F_CR0_SHADOW] & VMX_CR0_MASK);
	case 3:
		return vmx_get(v, F_CR3);
	case 4:
		mask = v->val[F_CR4_MASK];
		return (vmx_get(v, F_CR4) & ~mask) | (v->val[F_CR4_SHADOW] & mask);
	}
	return 0;
}

/* The PDPTEs are registers of their own: who sets CR0, CR3 or CR4 for the guest loads them. */
static void check_pdptes(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	v->pdpte_stale = v->val[F_CR0] & X86_CR0_PG && v->val[F_CR4] & X86_CR4_PAE &&
			 !(v->val[F_EFER] & EFER_LMA);
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

void vmx_set_cr0(struct hvx_vcpu *vcpu, u64 val)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmx_set(v, F_CR0_SHADOW, val);
	vmx_set(v, F_CR0, (val & ~(u64)(X86_CR0_CD | X86_CR0_NW)) | vmx_caps.cr0_fixed0);
	vmx_get(v, F_CR4);
	check_pdptes(vcpu);
	v->flush_vpid = true;
}

/* What the guest's CPUID does not show it must not set; VMXE and MCE are the host's. */
void vmx_set_cr4(struct hvx_vcpu *vcpu, u64 val)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 mask = ~vcpu->cr4_allowed | X86_CR4_VMXE | X86_CR4_MCE;

	vmx_set(v, F_CR4_MASK, mask);
	vmx_set(v, F_CR4_SHADOW, val);
	vmx_set(v, F_CR4, (val & ~mask) | X86_CR4_VMXE | (__read_cr4() & X86_CR4_MCE));
	vmx_get(v, F_CR0);
	check_pdptes(vcpu);
	v->flush_vpid = true;
}

u64 vmx_get_efer(struct hvx_vcpu *vcpu)
{
	return to_vmx(vcpu)->val[F_EFER];
}

void vmx_set_efer(struct hvx_vcpu *vcpu, u64 val)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmx_set(v, F_EFER, val);
	vmx_set(v, F_ENTRY, val & EFER_LMA ? vmx_caps.entry | VM_ENTRY_IA32E_MODE : vmx_caps.entry);
	v->flush_vpid = true;
}

/* ------------------------------------------------------------------ MSRs */

/* Those that VM entry and exit switch. */
static int msr_field(u32 index)
{
	switch (index) {
	case MSR_FS_BASE: return 4 * 4 + F_BASE;
	case MSR_GS_BASE: return 4 * 5 + F_BASE;
	case MSR_IA32_SYSENTER_CS: return F_SYSENTER_CS;
	case MSR_IA32_SYSENTER_ESP: return F_SYSENTER_ESP;
	case MSR_IA32_SYSENTER_EIP: return F_SYSENTER_EIP;
	}
	return -1;
}

/* Those that vmx_load() switches, and one that Intel CPUs do not use. */
static u64 *msr_value(struct vmx_vcpu *v, u32 index)
{
	int slot = vmx_msr_slot(index);

	return slot >= 0 ? &v->msr[slot] : index == MSR_CSTAR ? &v->cstar : NULL;
}

int vmx_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int f = msr_field(index);
	u64 *p = msr_value(v, index);

	/* Memory types are the host's affair, so the guest's PAT has no effect. */
	if (index == MSR_IA32_CR_PAT)
		return 0;
	if (f >= 0 && write) {
		/* 32 bits of SYSENTER_CS count, and VM entry wants the field so. */
		vmx_set(v, f, f == F_SYSENTER_CS ? (u32)*val : *val);
	} else if (f >= 0) {
		*val = vmx_get(v, f);
	} else if (p && write) {
		*p = *val;
		if (v->loaded && index != MSR_CSTAR)
			wrmsrq(index, *val);
	} else if (p) {
		*val = *p;
	}
	return f < 0 && !p;
}

/* ---------------------------------------------------------------- events */

u8 vmx_get_shadow(struct hvx_vcpu *vcpu)
{
	/* HVX_SHADOW_STI and _MOV_SS are the CPU's own bits. */
	return vmx_get(to_vmx(vcpu), F_INT_STATE) & 3;
}

void vmx_set_shadow(struct hvx_vcpu *vcpu, u8 shadow)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	/* Not both at once (SDM vol. 3 "Checks on Guest Non-Register State"). */
	if (shadow & HVX_SHADOW_MOV_SS)
		shadow = HVX_SHADOW_MOV_SS;
	vmx_set(v, F_INT_STATE, (vmx_get(v, F_INT_STATE) & ~3ULL) | shadow);
}
static_assert(HVX_SHADOW_STI == GUEST_INTR_STATE_STI &&
	      HVX_SHADOW_MOV_SS == GUEST_INTR_STATE_MOV_SS);

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
