// SPDX-License-Identifier: GPL-2.0-only
/* VT-x: the backend's table, a vCPU's life, the steps of the run loop. SDM vol. 3, part "VMX". */
#include <linux/cpu.h>
#include <linux/idr.h>
#include <asm/apic.h>
#include <asm/cpu_entry_area.h>
#include <asm/desc.h>
#include <asm/mmu_context.h>
#include <asm/nospec-branch.h>
#include <asm/sync_core.h>

#include "irq/lapic.h"
#include "mmu.h"
#include "vmx/vmx.h"

#define PENDING_DBG_BS	BIT(14)
#define PLE_GAP_TICKS	128
#define PLE_WINDOW_TICKS	4096
/* A deadline that is nearer is cheaper to have from the preemption timer, at a VMWRITE an entry. */
#define NEAR_NS		(100 * NSEC_PER_USEC)

#define PML_LAST	511	/* of its entries */

static bool has_rdtscp, has_xsaves, has_debugctl, has_l1tf;
static unsigned int timer_shift;	/* TSC ticks to the preemption timer's */

/* MSRs that are the guest's own while it runs. */
static const struct vmx_msr {
	u32 index;
	u8 field;		/* what VM entry and exit switch */
	bool read, write;	/* ... do not exit */
} msrs[] = {
	/* In vmx_vcpu.msr[], switched at load and put. Guests write the first three once. */
	{ MSR_STAR, 0, true, false },
	{ MSR_LSTAR, 0, true, false },
	{ MSR_SYSCALL_MASK, 0, true, false },
	{ MSR_KERNEL_GS_BASE, 0, true, true },
	{ MSR_CSTAR, 0, false, false },		/* Intel CPUs do not use it */
	{ MSR_FS_BASE, 4 * 4 + F_BASE, true, true },
	{ MSR_GS_BASE, 4 * 5 + F_BASE, true, true },
	{ MSR_IA32_SYSENTER_CS, F_SYSENTER_CS, true, true },
	{ MSR_IA32_SYSENTER_ESP, F_SYSENTER_ESP, true, true },
	{ MSR_IA32_SYSENTER_EIP, F_SYSENTER_EIP, true, true },
};
#define GS_SLOT		(VMX_MSRS - 1)

static DEFINE_IDA(vpids);
static struct desc_ptr host_idt;	/* the same on each CPU */

/* ----------------------------------------------------------------- module */

static int vmx_setup(void)
{
	int r = vmx_setup_caps();
	u64 val;

	if (r)
		return r;
	has_rdtscp = boot_cpu_has(X86_FEATURE_RDTSCP) &&
		     vmx_supports_proc2(SECONDARY_EXEC_ENABLE_RDTSCP);
	has_xsaves = boot_cpu_has(X86_FEATURE_XSAVES) &&
		     vmx_supports_proc2(SECONDARY_EXEC_ENABLE_XSAVES);
	hvx_vmx.hides_xsaves = true;
	hvx_vmx.apic_page = vmx_caps.xapic;
	/* Unless the CPU, or a hypervisor around this host, says that it need not be. */
	has_l1tf = boot_cpu_has_bug(X86_BUG_L1TF) && boot_cpu_has(X86_FEATURE_FLUSH_L1D) &&
		   !cpu_mitigations_off() && (rdmsrq_safe(MSR_IA32_ARCH_CAPABILITIES, &val) ||
					      !(val & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH));
	has_debugctl = !rdmsrq_safe(MSR_IA32_DEBUGCTLMSR, &val);
	if (!vmx_caps.ept_ad)
		vmx_pte.accessed = 0;
	if (vmx_pml)
		vmx_pte.logs = VMX_EPT_DIRTY_BIT;
	if (vmx_preemption_timer) {
		rdmsrq(MSR_IA32_VMX_MISC, val);
		timer_shift = val & 0x1f;
		hvx_vmx.near_ns = NEAR_NS;
	}
	hvx_vmx.notify_vector = vmx_posted_interrupts ? POSTED_INTR_VECTOR : 0;
	hvx_vmx.max_leaf_level = vmx_caps.ept & VMX_EPT_1GB_PAGE_BIT ? 3 :
				 vmx_caps.ept & VMX_EPT_2MB_PAGE_BIT ? 2 : 1;
	hvx_vmx.table_levels = vmx_caps.ept & VMX_EPT_PAGE_WALK_5_BIT &&
			       boot_cpu_data.x86_phys_bits > 48 ? 5 : 4;
	hvx_vmx.features = HVX_FEAT_NRIPS |
			   (hvx_vmx.max_leaf_level == 3 ? HVX_FEAT_NPT_1G : 0) |
			   (vmx_tsc_scaling ? HVX_FEAT_TSC_SCALING : 0) |
			   (vmx_caps.x2apic & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY ?
			    HVX_FEAT_APIC_VIRT : 0) |
			   (has_xsaves ? HVX_FEAT_XSAVES : 0);
	return vmx_alloc_cpus();
}

/* ------------------------------------------------------------------ vCPU */

/* SDM vol. 3 "MSR-Bitmap Address": reads of low and high MSRs, then writes; set = exit. */
#define BITMAP_HIGH	0x400
#define BITMAP_WRITE	0x800

static void bitmap_allow(u8 *map, u32 msr, bool read, bool write)
{
	u32 at = msr >= 0xc0000000 ? BITMAP_HIGH : 0, bit = msr & 0x1fff;

	if (read)
		map[at + bit / 8] &= ~(1U << bit % 8);
	if (write)
		map[at + BITMAP_WRITE + bit / 8] &= ~(1U << bit % 8);
}

/* Switched MSRs belong to the guest while it runs. They cannot be filtered (UAPI). */
static void fill_msr_bitmap(u8 *map)
{
	const struct vmx_msr *m;

	memset(map, 0xff, PAGE_SIZE);
	for (m = msrs; m < msrs + ARRAY_SIZE(msrs); m++)
		bitmap_allow(map, m->index, m->read, m->write);
}

static int vmx_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write)
{
	const struct vmx_msr *m = msrs;
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 *p;

	while (m->index != index)
		if (++m == msrs + ARRAY_SIZE(msrs))	/* memory types are the host's affair */
			return index != MSR_IA32_CR_PAT;
	p = m->field ? &v->val[m->field] : &v->msr[m - msrs];
	if (!write)
		*val = m->field ? vmx_get(v, m->field) : *p;
	else if (m->field)	/* 32 bits of SYSENTER_CS count, and VM entry wants the field so */
		vmx_set(v, m->field, m->field == F_SYSENTER_CS ? (u32)*val : *val);
	else
		*p = *val;
	if (write && vcpu->msrs_loaded && m < msrs + VMX_MSRS)
		wrmsrq(index, *val);
	return 0;
}

/*
 * The local APIC's page is the virtual-APIC page: the CPU does accesses to the
 * TPR there, and reads of what is in the page as the guest would see it. That is not
 * so of ICR (in two parts), of the timer's count, and of PPR unless the CPU delivers
 * interrupts by itself. Others are not for it that userspace filters. Out of x2APIC
 * mode these MSRs would be the host's. A PV EOI must be seen by the module first.
 *
 * Accesses to an xAPIC are known by hvx_mmu.apic_page, which all vCPUs have mapped or none. One
 * that has it must not take it for memory: what exits is done by software, whoever delivers.
 */
u32 vmx_apic_controls(struct hvx_vcpu *vcpu)
{
	const struct hvx_lapic *l = vcpu->lapic;
	u32 now = to_vmx(vcpu)->apic;

	if (l->mode == LAPIC_X2APIC && !rcu_access_pointer(vcpu->vm->msr_filter))
		return now == vmx_caps.x2apic || !vcpu->pv.eoi_set ? vmx_caps.x2apic : 0;
	if (l->mmio_page != BASE_DEFAULT)
		return 0;
	return now == vmx_caps.xapic || !vcpu->pv.eoi_set ? vmx_caps.xapic :
	       vmx_caps.xapic & SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES;
}

static void switch_apic(struct hvx_vcpu *vcpu)
{
	static const struct { u8 first, last; } reads[] = {
		{ AREG_ID, AREG_VERSION }, { AREG_LDR, AREG_LDR }, { AREG_SVR, AREG_ESR },
		{ AREG_LVT, AREG_TMICT }, { AREG_TDCR, AREG_TDCR },
	};
	struct vmx_vcpu *v = to_vmx(vcpu);
	struct hvx_lapic *l = vcpu->lapic;
	int i, reg;

	v->apic = vmx_apic_controls(vcpu);
	l->delivers = v->apic & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY;
	/* Translations are kept with whether it is the APIC's page that they end in. */
	v->flush_ept = true;
	hvx_lapic_recount(l);
	memset(v->msr_bitmap + AREG_MSR / 8, 0xff, 8);
	memset(v->msr_bitmap + BITMAP_WRITE + AREG_MSR / 8, 0xff, 8);
	vmx_set(v, F_PROC2, (v->val[F_PROC2] & ~(u64)(vmx_caps.x2apic | vmx_caps.xapic)) | v->apic);
	vmx_set(v, F_PIN, vmx_caps.pin |
		(l->delivers && vmx_posted_interrupts ? PIN_BASED_POSTED_INTR : 0));
	if (!(v->apic & SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE))
		return;
	bitmap_allow(v->msr_bitmap, AREG_MSR + AREG_TPR, true, true);
	bitmap_allow(v->msr_bitmap, AREG_MSR + AREG_EOI, false, l->delivers);
	bitmap_allow(v->msr_bitmap, AREG_MSR + AREG_SELF_IPI, false, l->delivers);
	if (!(vmx_caps.x2apic & SECONDARY_EXEC_APIC_REGISTER_VIRT))
		return;
	bitmap_allow(v->msr_bitmap, AREG_MSR + AREG_PPR, l->delivers, false);
	for (i = 0; i < ARRAY_SIZE(reads); i++)
		for (reg = reads[i].first; reg <= reads[i].last; reg++)
			bitmap_allow(v->msr_bitmap, AREG_MSR + reg, true, false);
}

/* In the window: which vectors wait and are in service, and which EOIs are to exit. */
static void write_interrupts(struct vmx_vcpu *v, struct hvx_lapic *l)
{
	u16 status = max(l->isr_top, 0) << 8 | max(hvx_lapic_highest_irr(l), 0);
	int i;

	if (v->intr_status != status)
		vmcs_write(GUEST_INTR_STATUS, v->intr_status = status);
	if (likely(!l->tmr_changed))
		return;
	l->tmr_changed = false;
	for (i = 0; i < 4; i++)
		vmcs_write(EOI_EXIT_BITMAP0 + 2 * i, l->regs[(AREG_TMR + 2 * i) * 4] |
			   (u64)l->regs[(AREG_TMR + 2 * i + 1) * 4] << 32);
}

/* ... and afterwards: the CPU has moved vectors about, and sent some to itself. */
static void read_interrupts(struct vmx_vcpu *v, struct hvx_lapic *l)
{
	u8 svi, rvi;

	v->intr_status = vmcs_read(GUEST_INTR_STATUS);
	svi = v->intr_status >> 8;
	rvi = v->intr_status;
	l->isr_top = svi ?: -1;
	if (rvi && !test_bit(rvi / 32, &l->irr_words))
		set_bit(rvi / 32, &l->irr_words);
}

/* An instruction that the guest's CPUID does not show must not exist for it. */
static void vmx_update_cpuid(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 proc2 = vmx_caps.proc2;

	if (vcpu->caps & (HVX_CAP_RDTSCP | HVX_CAP_RDPID) && has_rdtscp)
		proc2 |= SECONDARY_EXEC_ENABLE_RDTSCP;
	if (vcpu->caps & HVX_CAP_INVPCID && vmx_supports_proc2(SECONDARY_EXEC_ENABLE_INVPCID))
		proc2 |= SECONDARY_EXEC_ENABLE_INVPCID;
	if (vcpu->caps & HVX_CAP_XSAVES)	/* only where it is there */
		proc2 |= SECONDARY_EXEC_ENABLE_XSAVES;
	vmx_set(v, F_PROC2, proc2);
	v->apic = vcpu->lapic->delivers = 0;
	/* Which CR4 bits are the guest's own depends on CPUID as well. */
	vmx_set_cr(vcpu, 4, vmx_get_cr(vcpu, 4));
}

static void vmx_update_tsc(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmx_set(v, F_TSC_OFFSET, vcpu->tsc_offset);
	/* 16.48 fixed point, SDM vol. 3 "TSC-multiplier" */
	if (vmx_tsc_scaling)
		vmx_set(v, F_TSC_MULT, vcpu->tsc_ratio ? vcpu->tsc_ratio << 16 : BIT_ULL(48));
}

static void vmx_update(struct hvx_vcpu *vcpu)
{
	vmx_update_debug(vcpu);
	vmx_update_tsc(vcpu);
	if (!vcpu->launched)	/* CPUID is frozen then */
		vmx_update_cpuid(vcpu);
}

static void vmx_vcpu_destroy(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmcs_release(v);
	if (v->vpid)
		ida_free(&vpids, 0x10000 - v->vpid);
	free_page((unsigned long)v->pml);
	free_page((unsigned long)v->msr_bitmap);
	free_page((unsigned long)v->vmcs);
	kfree(v);
}

static int vmx_vcpu_create(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	int vpid;

	if (!v)
		return -ENOMEM;
	vcpu->backend = v;
	v->cpu = v->host_cpu = -1;
	INIT_LIST_HEAD(&v->active);
	v->vmcs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	v->msr_bitmap = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	v->pml = (void *)(vmx_pml ? get_zeroed_page(GFP_KERNEL_ACCOUNT) : 0);
	/* KVM gives out VPIDs from 1 upwards: come from the other end. */
	vpid = ida_alloc_range(&vpids, 1, 0x7fff, GFP_KERNEL);
	v->vpid = vpid < 0 ? 0 : 0x10000 - vpid;
	if (!v->vmcs || !v->msr_bitmap || (vmx_pml && !v->pml) || vpid < 0)
		return -ENOMEM;
	*(u32 *)v->vmcs = vmx_caps.revision;
	v->vmcs_pa = __pa(v->vmcs);
	v->eptp = __pa(vcpu->vm->mmu.root) | VMX_EPTP_MT_WB | (vcpu->vm->mmu.levels - 1) << 3 |
		  (vmx_caps.ept_ad ? VMX_EPTP_AD_ENABLE_BIT : 0);
	vcpu->lapic->posts = vmx_virtual_interrupts;
	/* A VMCS begins with no defined contents. */
	v->valid = v->dirty = GENMASK_ULL(F_NR - 1, 0);
	if (!vmx_tsc_scaling)
		v->dirty &= ~BIT_ULL(F_TSC_MULT);
	v->val[F_PIN] = vmx_caps.pin;
	v->val[F_PROC] = vmx_caps.proc;
	v->val[F_PROC2] = vmx_caps.proc2;
	v->val[F_ENTRY] = vmx_caps.entry;
	fill_msr_bitmap(v->msr_bitmap);
	return 0;
}

/* Registers come from the core's state.c; here only what is the backend's own. */
static void vmx_vcpu_reset(struct hvx_vcpu *vcpu, bool init)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmx_set(v, F_PROC, vmx_caps.proc);
	vmx_set(v, F_PENDING_DBG, 0);
	if (!init) {
		memset(v->msr, 0, sizeof(v->msr));
		vmx_set(v, F_SYSENTER_CS, 0);
		vmx_set(v, F_SYSENTER_ESP, 0);
		vmx_set(v, F_SYSENTER_EIP, 0);
	}
	vmx_update_debug(vcpu);
}

/* ------------------------------------------------------------ load and put */

static void switch_msrs(const u64 *from, const u64 *to)
{
	int i;

	for (i = 0; i < VMX_MSRS; i++)
		if (from[i] != to[i])
			wrmsrq(msrs[i].index, to[i]);
}

/*
 * From the first entry to put where VMX is our own, else around each window: KVM up to 6.11 notes what
 * the host has here in an interrupt, as its first VM starts, and goes by it for ever.
 */
static void load_msrs(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	switch_msrs(v->host_msr, v->msr);
	hvx_tsc_aux(vcpu, true);
}

static void put_msrs(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	if (!vcpu->msrs_loaded)
		return;
	rdmsrq(MSR_KERNEL_GS_BASE, v->msr[GS_SLOT]);
	switch_msrs(v->msr, v->host_msr);
	hvx_tsc_aux(vcpu, false);
}

/*
 * What VM exits do not restore as it was is noted here: they leave null
 * selectors, as the host-state area takes none of a user's (RPL must be 0).
 */
static void vmx_load(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int i;

	vmcs_migrate(v);
	v->inject = 0;		/* an entry that was put off may have left it */
	if (unlikely(v->pdpte_stale))
		vmx_load_pdptes(vcpu, false);
	savesegment(ds, v->ds);
	savesegment(es, v->es);
	savesegment(fs, v->fs);
	savesegment(gs, v->gs);
	rdmsrq(MSR_FS_BASE, v->fs_base);
	rdmsrq(MSR_EFER, v->efer);
	if (has_debugctl)
		rdmsrq(MSR_IA32_DEBUGCTLMSR, v->debugctl);
	for (i = 0; i < VMX_MSRS; i++)
		rdmsrq(msrs[i].index, v->host_msr[i]);
	v->l1d_dirty = true;
}

static void put_segments(struct vmx_vcpu *v)
{
	if (unlikely(v->ds))
		loadsegment(ds, v->ds);
	if (unlikely(v->es))
		loadsegment(es, v->es);
	if (unlikely(v->fs)) {
		loadsegment(fs, v->fs);
		wrmsrq(MSR_FS_BASE, v->fs_base);
	}
	/* This writes MSR_KERNEL_GS_BASE. */
	if (unlikely(v->gs)) {
		load_gs_index(v->gs);
		wrmsrq(MSR_KERNEL_GS_BASE, v->host_msr[GS_SLOT]);
	}
	/* VM exits set the limits of GDT and TSS to fixed values. */
	load_fixmap_gdt(smp_processor_id());
	invalidate_tss_limit();
}

static void vmx_put(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	put_msrs(vcpu);
	put_segments(v);
	/* VM exits clear DEBUGCTL. */
	if (unlikely(v->debugctl))
		wrmsrq(MSR_IA32_DEBUGCTLMSR, v->debugctl);
}

/* ---------------------------------------------------------------- events */

static void vmx_inject(struct hvx_vcpu *vcpu, u32 event, u32 code)
{
	/* VM entry insists on their codes, but in real mode: SDM "VM-Entry Control Fields". */
	const u32 with_code = BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17);
	struct vmx_vcpu *v = to_vmx(vcpu);

	v->inject_code = event & HVX_EVENT_HAS_CODE ? code : 0;
	event &= ~HVX_EVENT_HAS_CODE;
	if ((event & HVX_EVENT_TYPE) == HVX_EVENT_EXC && vmx_get_cr(vcpu, 0) & X86_CR0_PE &&
	    with_code & BIT(event & 31))
		event |= HVX_EVENT_HAS_CODE;
	v->inject = event;
}

static void vmx_request_window(struct hvx_vcpu *vcpu, bool nmi)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmx_set(v, F_PROC, v->val[F_PROC] | (nmi ? CPU_BASED_NMI_WINDOW_EXITING :
						   CPU_BASED_INTR_WINDOW_EXITING));
}

/* An exit when the guest lowers its TPR below a waiting vector's class; never above what it is. */
static void vmx_set_tpr_threshold(struct hvx_vcpu *vcpu, int vector)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u8 tpr = hvx_lapic_get_cr8(vcpu);

	vmx_set(v, F_TPR_THRESHOLD, vector >= 0 && vector >> 4 <= tpr ? vector >> 4 : 0);
}

/* ----------------------------------------------------------------- entry */

/* What is the same for every entry, of any vCPU. No page fault exits. */
static const struct {
	u32 field;
	u64 val;
} constants[] = {
	{ VMCS_LINK_POINTER, ~0ULL }, { CR0_GUEST_HOST_MASK, VMX_CR0_MASK },
	{ PAGE_FAULT_ERROR_CODE_MASK, 0 }, { PAGE_FAULT_ERROR_CODE_MATCH, 0 },
	{ CR3_TARGET_COUNT, 0 }, { VM_EXIT_MSR_STORE_COUNT, 0 },
	{ VM_EXIT_MSR_LOAD_COUNT, 0 }, { VM_ENTRY_MSR_LOAD_COUNT, 0 },
	{ VM_ENTRY_INTR_INFO_FIELD, 0 }, { GUEST_IA32_DEBUGCTL, 0 },
	{ GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE },
	{ HOST_CS_SELECTOR, __KERNEL_CS }, { HOST_SS_SELECTOR, __KERNEL_DS },
	{ HOST_DS_SELECTOR, 0 }, { HOST_ES_SELECTOR, 0 }, { HOST_FS_SELECTOR, 0 },
	{ HOST_GS_SELECTOR, 0 }, { HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8 },
	{ HOST_RIP, (unsigned long)vmx_exit_point },
};

/* ... of this one. */
static void write_constants(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int i;

	for (i = 0; i < ARRAY_SIZE(constants); i++)
		vmcs_write(constants[i].field, constants[i].val);
	vmcs_write(VM_EXIT_CONTROLS, vmx_caps.exit);
	vmcs_write(VIRTUAL_PROCESSOR_ID, v->vpid);
	vmcs_write(EPT_POINTER, v->eptp);
	vmcs_write(MSR_BITMAP, __pa(v->msr_bitmap));
	vmcs_write(VIRTUAL_APIC_PAGE_ADDR, __pa(vcpu->lapic->page));
	if (hvx_vmx.apic_page)
		vmcs_write(APIC_ACCESS_ADDR, page_to_phys(vcpu->vm->mmu.apic_page));
	if (vmx_caps.proc2 & SECONDARY_EXEC_ENCLS_EXITING)
		vmcs_write(ENCLS_EXITING_BITMAP, ~0ULL);
	if (has_xsaves)
		vmcs_write(XSS_EXIT_BITMAP, ~0ULL);
	v->intr_status = ~0;
	v->timer = ~0;
	if (vmx_preemption_timer)
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, v->timer);
	if (vmx_posted_interrupts) {
		vmcs_write(POSTED_INTR_NV, hvx_vmx.notify_vector);
		vmcs_write(POSTED_INTR_DESC_ADDR, __pa(&vcpu->lapic->posted));
	}
	if (vmx_pml) {
		vmcs_write(PML_ADDRESS, __pa(v->pml));
		vmcs_write(GUEST_PML_INDEX, PML_LAST);
	}
	if (vmx_ple) {
		vmcs_write(PLE_GAP, PLE_GAP_TICKS);
		vmcs_write(PLE_WINDOW, PLE_WINDOW_TICKS);
	}
}

/* What belongs to this CPU. */
static void write_host_cpu(struct vmx_vcpu *v, int cpu)
{
	u64 val;

	store_idt(&host_idt);
	vmcs_write(HOST_IDTR_BASE, host_idt.address);
	vmcs_write(HOST_GDTR_BASE, (unsigned long)get_cpu_gdt_ro(cpu));
	vmcs_write(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	vmcs_write(HOST_CR0, read_cr0());
	rdmsrq(MSR_GS_BASE, val);
	vmcs_write(HOST_GS_BASE, val);
	rdmsrq(MSR_IA32_SYSENTER_CS, val);
	vmcs_write(HOST_IA32_SYSENTER_CS, val);
	rdmsrq(MSR_IA32_SYSENTER_ESP, val);
	vmcs_write(HOST_IA32_SYSENTER_ESP, val);
	rdmsrq(MSR_IA32_SYSENTER_EIP, val);
	vmcs_write(HOST_IA32_SYSENTER_EIP, val);
	v->host_cr3 = v->host_cr4 = v->host_fs_base = v->host_efer = ~0ULL;
}

/* In a window: the host-state area as an exit must find it. */
static void write_host(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int cpu = smp_processor_id();
	u64 cr3 = __read_cr3(), cr4 = __read_cr4();

	if (unlikely(v->host_cpu != cpu)) {
		if (v->host_cpu < 0)
			write_constants(vcpu);
		write_host_cpu(v, cpu);
		v->host_cpu = cpu;
		/* What this CPU kept of the guest's translations may be from long ago. */
		v->flush_ept = true;
	}
	if (unlikely(v->host_fs_base != v->fs_base))
		vmcs_write(HOST_FS_BASE, v->host_fs_base = v->fs_base);
	if (unlikely(v->host_efer != v->efer))
		vmcs_write(HOST_IA32_EFER, v->host_efer = v->efer);
	/* Both can change with each interrupt. */
	if (unlikely(v->host_cr3 != cr3))
		vmcs_write(HOST_CR3, v->host_cr3 = cr3);
	if (unlikely(v->host_cr4 != cr4))
		vmcs_write(HOST_CR4, v->host_cr4 = cr4);
}

/* In the window: what of the guest's state the entry checks want to fit together. */
static void prepare_guest(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u64 state = vcpu->ev.interrupt_shadow;

	/* An event ends the shadow. STI's is none without IF, nor beside the other's. */
	if (v->inject & INTR_INFO_VALID_MASK)
		state = 0;
	else if (state & HVX_SHADOW_MOV_SS || !(vcpu->rflags & X86_EFLAGS_IF))
		state &= HVX_SHADOW_MOV_SS;
	if (state)	/* a trap is pending exactly when TF is set */
		vmx_set(v, F_PENDING_DBG, (vmx_get(v, F_PENDING_DBG) & ~(u64)PENDING_DBG_BS) |
			(vcpu->rflags & X86_EFLAGS_TF ? PENDING_DBG_BS : 0));
	/* An NMI that is injected blocks the next one by itself. */
	if (vcpu->ev.nmi_masked && !hvx_event_is(vcpu->ev.injected, HVX_EVENT_NMI))
		state |= GUEST_INTR_STATE_NMI;
	vmx_set_valid(v, F_INT_STATE, state);
	vmx_set_valid(v, F_RSP, vcpu->regs[4]);
	vmx_set_valid(v, F_RIP, vcpu->rip);
	vmx_set_valid(v, F_RFLAGS, vcpu->rflags);
}

/* A page that the CPU says is dirty. */
static void log_page(struct hvx_vm *vm, u64 gfn)
{
	struct hvx_memslot *slot;

	rcu_read_lock_sched();
	slot = hvx_slot_find(hvx_slots(vm), gfn);
	if (slot && slot->dirty)
		set_bit(gfn - slot->base_gfn, slot->dirty);
	rcu_read_unlock_sched();
}

/* The CPU counts the index down: what it has logged is above. SDM vol. 3 "Page-Modification Logging". */
static void flush_pml(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u16 index = vmcs_read(GUEST_PML_INDEX), i;

	if (index == PML_LAST)
		return;
	for (i = index + 1; i <= PML_LAST; i++)
		log_page(vcpu->vm, v->pml[i] >> PAGE_SHIFT);
	vmcs_write(GUEST_PML_INDEX, PML_LAST);
}

/* Qualification and event bit 12: an IRET was cut short after it had unblocked NMIs. */
#define UNBLOCKED_NMI		BIT(12)

/* What became of what the entry injected, and of what holds back events. */
static void complete_events(struct hvx_vcpu *vcpu)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);

	/* HVX_SHADOW_STI and _MOV_SS are the CPU's own bits. */
	vcpu->ev.interrupt_shadow = v->val[F_INT_STATE] & 3;
	vcpu->ev.nmi_masked = v->val[F_INT_STATE] & GUEST_INTR_STATE_NMI;
	/* SDM vol. 3 "Resuming Guest Software after Handling an Exception" */
	if (unlikely(!(v->idt_info & VECTORING_INFO_VALID_MASK) &&
		     (((v->reason == EXIT_REASON_EPT_VIOLATION ||
			v->reason == EXIT_REASON_PML_FULL) && v->qual & UNBLOCKED_NMI) ||
		      (v->reason == EXIT_REASON_EXCEPTION_NMI && v->intr_info & UNBLOCKED_NMI &&
		       (v->intr_info & INTR_INFO_VECTOR_MASK) != 8))))
		vcpu->ev.nmi_masked = true;
	vcpu->ev.injected = 0;
	if (unlikely(v->idt_info & VECTORING_INFO_VALID_MASK))
		hvx_event_cut_short(vcpu, v->idt_info, v->idt_code);
}
static_assert(HVX_SHADOW_STI == GUEST_INTR_STATE_STI &&
	      HVX_SHADOW_MOV_SS == GUEST_INTR_STATE_MOV_SS);

/* In the window, after an exit or an entry that failed on the guest's state. */
static void collect_exit(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	v->valid = GENMASK_ULL(F_NR - 1, F_OURS) | BIT_ULL(F_RSP) | BIT_ULL(F_RIP) |
		   BIT_ULL(F_RFLAGS) | BIT_ULL(F_INT_STATE);
	v->reason = vmcs_read(VM_EXIT_REASON);
	v->qual = vmcs_read(EXIT_QUALIFICATION);
	v->insn_len = vmcs_read(VM_EXIT_INSTRUCTION_LEN);
	v->intr_info = v->idt_info = 0;
	if (vcpu->lapic->delivers)
		read_interrupts(v, vcpu->lapic);
	if (unlikely(READ_ONCE(vcpu->vm->mmu.logged)) && vmx_pml)
		flush_pml(vcpu);
	vcpu->regs[4] = v->val[F_RSP] = vmcs_read(GUEST_RSP);
	vcpu->rip = v->val[F_RIP] = vmcs_read(GUEST_RIP);
	vcpu->rflags = v->val[F_RFLAGS] = vmcs_read(GUEST_RFLAGS);
	v->val[F_INT_STATE] = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	if (unlikely(v->reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		vmcs_explain_state(v);
		/* Nothing was delivered: the core injects it again. */
		vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
		return;
	}
	v->idt_info = vmcs_read(IDT_VECTORING_INFO_FIELD);
	if (unlikely(v->idt_info & VECTORING_INFO_DELIVER_CODE_MASK))
		v->idt_code = vmcs_read(IDT_VECTORING_ERROR_CODE);
	if (v->reason == EXIT_REASON_EXTERNAL_INTERRUPT && vmx_posted_interrupts) {
		v->intr_info = vmcs_read(VM_EXIT_INTR_INFO);
	} else if (v->reason == EXIT_REASON_EXCEPTION_NMI) {
		v->intr_info = vmcs_read(VM_EXIT_INTR_INFO);
		v->intr_code = vmcs_read(VM_EXIT_INTR_ERROR_CODE);
	} else if (v->reason == EXIT_REASON_EPT_VIOLATION ||
		   v->reason == EXIT_REASON_EPT_MISCONFIG) {
		v->gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
		v->l1d_dirty = true;
	}
	complete_events(vcpu);
	/* The CPU writes the TPR into the page, and no more than that. */
	hvx_lapic_update_ppr(vcpu->lapic);
}

static bool is_event(const struct vmx_vcpu *v, u32 type, u8 vector)
{
	return (v->intr_info & (INTR_INFO_VALID_MASK | INTR_INFO_INTR_TYPE_MASK |
				INTR_INFO_VECTOR_MASK)) == (INTR_INFO_VALID_MASK | type | vector);
}

/* An interrupt on this CPU since the last flush of the L1 cache, noted for KVM. */
static bool irq_seen(void)
{
#if IS_ENABLED(CONFIG_KVM_INTEL)
	bool seen = kvm_get_cpu_l1tf_flush_l1d();

	kvm_clear_cpu_l1tf_flush_l1d();
	return seen;
#else
	return true;
#endif
}

/* L1TF: what the host brought into the cache since the last entry must not be there in the next. */
static void flush_l1d(struct vmx_vcpu *v)
{
	if (!has_l1tf || !(v->l1d_dirty || irq_seen()))
		return;
	v->l1d_dirty = false;
	wrmsrq(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

/* TSC ticks of the host until the deadline that the backend sees to; ~0: there is none. */
static u64 lapic_near(struct hvx_vcpu *vcpu)
{
	const struct hvx_lapic *l = vcpu->lapic;
	u64 now;

	if (likely(!l->near || l->near != l->expires))
		return ~0ULL;
	now = hvx_read_guest_tsc(vcpu);
	if (now >= l->near)
		return 0;
	return vcpu->tsc_ratio ? ((l->near - now) << 32) / vcpu->tsc_ratio : l->near - now;
}

/* In the window: what stays as it is while interrupts are off. */
static void prepare_window(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 timer = v->timer;

	write_host(vcpu);
	v->flush_ept |= vcpu->flush_tlb;
	vcpu->flush_tlb = false;
	vmcs_flush_tlb(v);
	if (vmx_preemption_timer)
		timer = min_t(u64, lapic_near(vcpu) >> timer_shift, U32_MAX);
	if (unlikely(v->timer != timer))
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, v->timer = timer);
}

/* In the window, prepared: one entry and exit. */
static void run_vmcs(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	flush_l1d(v);
	vmcs_write_dirty(v);
	if (vcpu->lapic->delivers)
		write_interrupts(v, vcpu->lapic);
	if (v->inject) {
		vmcs_write(VM_ENTRY_INTR_INFO_FIELD, v->inject);
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, v->inject_code);
		v->inject = 0;
	}
	if (native_read_cr2() != vcpu->cr2)
		native_write_cr2(vcpu->cr2);

	if (unlikely(vmx_run(vcpu->regs, v->launched, this_cpu_read(x86_spec_ctrl_current)))) {
		v->error = vmcs_read(VM_INSTRUCTION_ERROR);
		v->reason = EXIT_VMFAIL;
		vmcs_explain(v);
		vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
		return;
	}
	vcpu->cr2 = native_read_cr2();
	collect_exit(vcpu);
	/* An entry that failed on the guest's state has not launched the VMCS. */
	if (!(v->reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		v->launched = true;
}

static void vmx_enter(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	v->intr_info = v->idt_info = 0;
	v->reason = EXIT_AGAIN;
	if (unlikely(v->pdpte_stale))
		return;
	if (unlikely(v->apic != vmx_apic_controls(vcpu))) {
		switch_apic(vcpu);
		return;		/* whose affair it is to deliver has changed */
	}
	v->reason = EXIT_LOST;
	if (unlikely(vmcs_open(v)))
		return;
	if (unlikely(!vcpu->msrs_loaded))
		load_msrs(vcpu);
	prepare_window(vcpu);
	do {
		prepare_guest(vcpu);
		run_vmcs(vcpu);
	} while (vmx_answer_quickly(vcpu));
	if (unlikely(!vmcs_close(v)))
		put_msrs(vcpu);

	/*
	 * The host's own NMI has blocked the next ones, and is lost: unblock them with
	 * IRET and send another, a way in that is right for IDT and FRED kernels alike.
	 */
	if (unlikely(is_event(v, INTR_TYPE_NMI_INTR, 2))) {
		iret_to_self();
		apic->send_IPI(smp_processor_id(), NMI_VECTOR);
	} else if (v->intr_info && v->reason == EXIT_REASON_EXTERNAL_INTERRUPT) {
		vmx_interrupt(gate_offset((gate_desc *)host_idt.address +
					  (v->intr_info & INTR_INFO_VECTOR_MASK)));
	} else if (unlikely(is_event(v, INTR_TYPE_HARD_EXCEPTION, 18) ||
			    (u16)v->reason == EXIT_REASON_MCE_DURING_VMENTRY)) {
		hvx_host_machine_check();
	}
}

struct hvx_backend hvx_vmx = {
	.name = "vmx",
	.pte = &vmx_pte,
	.setup = vmx_setup,
	.teardown = vmx_free_cpus,
	.enable_cpu = vmx_enable_cpu,
	.disable_cpu = vmx_disable_cpu,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.vcpu_reset = vmx_vcpu_reset,
	.load = vmx_load,
	.put = vmx_put,
	.inject = vmx_inject,
	.request_window = vmx_request_window,
	.set_tpr_threshold = vmx_set_tpr_threshold,
	.enter = vmx_enter,
	.handle_exit = vmx_handle_exit,
	.get_cr = vmx_get_cr,
	.set_cr = vmx_set_cr,
	.set_efer = vmx_set_efer,
	.get_attr = vmx_get_attr,
	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.msr = vmx_msr,
	.update = vmx_update,
};
