// SPDX-License-Identifier: GPL-2.0-only
/* AMD-V: set-up of CPUs, VMs and vCPUs, and the steps of the run loop. APM vol. 2 chapter 15. */
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/processor.h>

#include "svm/svm.h"

#define MSR_AMD_TSC_RATIO	0xc0000104
#define MSR_AMD_VM_CR		0xc0010114
#define VM_CR_SVMDIS		BIT(4)
#define MSR_AMD_HSAVE_PA	0xc0010117

#define IOPM_ORDER	2	/* 12 KiB, in 16 */
#define MSRPM_ORDER	1

DEFINE_PER_CPU(struct svm_cpu, svm_cpus);
u32 svm_features;
bool svm_has_rdtscp;
static u32 svm_nasid;
static struct page *iopm;		/* all ports intercepted, for every VM */

/* ------------------------------------------------------------- the CPUs */

static void svm_free_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = &per_cpu(svm_cpus, cpu);

		if (sc->save_area)
			__free_page(sc->save_area);
		if (sc->host_vmcb)
			__free_page(sc->host_vmcb);
		memset(sc, 0, sizeof(*sc));
	}
	if (iopm)
		__free_pages(iopm, IOPM_ORDER);
	iopm = NULL;
}

static int svm_alloc_cpus(void)
{
	int cpu;

	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	if (!iopm)
		return -ENOMEM;
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = &per_cpu(svm_cpus, cpu);

		sc->save_area = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
		sc->host_vmcb = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
		if (!sc->save_area || !sc->host_vmcb) {
			svm_free_cpus();
			return -ENOMEM;
		}
		sc->host_pa = __sme_set(page_to_phys(sc->host_vmcb));
		sc->gen = 1;
		sc->max_asid = svm_nasid - 1;
		sc->next_asid = svm_nasid;	/* the first user begins a generation, with a flush */
	}
	return 0;
}

static int svm_setup(void)
{
	u32 eax, ebx, ecx, edx;
	u64 vm_cr;

	if (!boot_cpu_has(X86_FEATURE_SVM))
		return -ENODEV;
	if (!rdmsrq_safe(MSR_AMD_VM_CR, &vm_cr) && vm_cr & VM_CR_SVMDIS) {
		hvx_err("AMD-V is switched off by the firmware: enable \"SVM\" in its setup\n");
		return -ENODEV;
	}
	cpuid(0x8000000a, &eax, &ebx, &ecx, &edx);
	svm_features = edx;
	svm_nasid = ebx;
	if (!(edx & SVM_FEAT_NP)) {
		hvx_err("this CPU's AMD-V has no nested paging\n");
		return -ENODEV;
	}
	if (svm_nasid < 2) {
		hvx_err("this CPU's AMD-V offers no address space identifiers\n");
		return -ENODEV;
	}
	svm_has_rdtscp = boot_cpu_has(X86_FEATURE_RDTSCP);
	hvx_svm.max_leaf_level = boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2;
	/* Nested tables have the host's own depth: nCR3 is walked in the host's mode (APM vol. 2 15.25.3). */
	hvx_svm.table_levels = pgtable_l5_enabled() ? 5 : 4;
	hvx_svm.features = (hvx_svm.max_leaf_level == 3 ? HVX_FEAT_NPT_1G : 0) |
			   (edx & SVM_FEAT_NRIPS ? HVX_FEAT_NRIPS : 0) |
			   (edx & SVM_FEAT_DECODE ? HVX_FEAT_DECODE_ASSIST : 0) |
			   (edx & SVM_FEAT_TSC_RATE ? HVX_FEAT_TSC_SCALING : 0);
	return svm_alloc_cpus();
}

static int svm_enable_cpu(void)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	u64 efer;

	rdmsrq(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return -EBUSY;
	wrmsrq(MSR_EFER, efer | EFER_SVME);
	wrmsrq(MSR_AMD_HSAVE_PA, __sme_set(page_to_phys(sc->save_area)));
	/* Whatever the TLB holds from before is nobody's: begin a new generation. */
	sc->gen++;
	sc->next_asid = sc->max_asid + 1;
	sc->tsc_ratio = 0;
	if (svm_features & SVM_FEAT_TSC_RATE) {
		sc->tsc_ratio = 1ULL << 32;
		wrmsrq(MSR_AMD_TSC_RATIO, sc->tsc_ratio);
	}
	return 0;
}

static void svm_disable_cpu(void)
{
	u64 efer;

	if (svm_features & SVM_FEAT_TSC_RATE)
		wrmsrq(MSR_AMD_TSC_RATIO, 1ULL << 32);
	wrmsrq(MSR_AMD_HSAVE_PA, 0);
	rdmsrq(MSR_EFER, efer);
	wrmsrq(MSR_EFER, efer & ~(u64)EFER_SVME);
}

/* ------------------------------------------------------------------ vCPU */

/* MSR permission map, APM vol. 2 15.11: bit 0 of each pair reads, bit 1 writes; set = exit. */
static void msrpm_allow(u8 *map, u32 msr)
{
	u32 bit;

	if (msr < 0x2000)
		bit = msr * 2;
	else if (msr >= 0xc0000000 && msr < 0xc0002000)
		bit = 0x800 * 8 + (msr - 0xc0000000) * 2;
	else
		bit = 0x1000 * 8 + (msr - 0xc0010000) * 2;
	map[bit / 8] &= ~(3U << bit % 8);
}

/* MSRs that VMLOAD/VMSAVE switch belong to the guest while it runs. */
static const u32 passthrough[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE, MSR_FS_BASE,
	MSR_GS_BASE, MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

static void svm_update_cpuid(struct hvx_vcpu *vcpu)
{
	struct vmcb *vmcb = to_svm(vcpu)->vmcb;

	/* An instruction that the guest's CPUID does not show must not exist for it. */
	if (vcpu->caps & HVX_CAP_RDTSCP)
		vmcb->ctl.icpt4 &= ~ICPT4_RDTSCP;
	else
		vmcb->ctl.icpt4 |= ICPT4_RDTSCP;
	if (vcpu->caps & HVX_CAP_INVPCID)
		vmcb->ctl.icpt5 &= ~ICPT5_INVPCID;
	else
		vmcb->ctl.icpt5 |= ICPT5_INVPCID;
	mark_dirty(to_svm(vcpu), CLEAN_ICPT);
}

static void vmcb_set_controls(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_ctl *c = &svm->vmcb->ctl;

	c->icpt_cr = BIT(16 + 4) | BIT(16 + 8);
	c->icpt_dr = 0x00ff00ff;
	c->icpt_exc = BIT(1) | BIT(17) | BIT(18);
	c->icpt3 = ICPT3_INTR | ICPT3_NMI | ICPT3_INIT | ICPT3_RDPMC | ICPT3_CPUID | ICPT3_INVD |
		   ICPT3_HLT | ICPT3_INVLPGA | ICPT3_IOIO | ICPT3_MSR | ICPT3_SHUTDOWN;
	c->icpt4 = ICPT4_VMRUN | ICPT4_VMMCALL | ICPT4_VMLOAD | ICPT4_VMSAVE | ICPT4_STGI |
		   ICPT4_CLGI | ICPT4_SKINIT | ICPT4_WBINVD | ICPT4_MONITOR | ICPT4_MWAIT |
		   ICPT4_XSETBV | ICPT4_RDPRU;
	c->icpt5 = ICPT5_INVLPGB | ICPT5_TLBSYNC;
	if (svm_features & SVM_FEAT_PAUSE) {
		c->icpt3 |= ICPT3_PAUSE;
		c->pause_count = 3000;
		if (svm_features & SVM_FEAT_PAUSE_THR)
			c->pause_threshold = 128;
	}
	c->iopm_pa = __sme_set(page_to_phys(iopm));
	c->msrpm_pa = __sme_set(__pa(svm->msrpm));
	c->vintr = VINTR_MASKING;
	c->np_control = 1;
	c->ncr3 = __sme_set(__pa(vcpu->vm->mmu.root));
	svm->clean = 0;
}

static int svm_vcpu_create(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm;
	int i;

	svm = kzalloc(sizeof(*svm), GFP_KERNEL_ACCOUNT);
	if (!svm)
		return -ENOMEM;
	svm->vmcb = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!svm->vmcb)
		goto err_svm;
	svm->msrpm = (void *)__get_free_pages(GFP_KERNEL_ACCOUNT, MSRPM_ORDER);
	if (!svm->msrpm)
		goto err_vmcb;
	svm->vmcb_pa = __sme_set(__pa(svm->vmcb));
	svm->asid_cpu = -1;
	/* Switched MSRs cannot be filtered (UAPI): the map stays as it is. */
	memset(svm->msrpm, 0xff, PAGE_SIZE << MSRPM_ORDER);
	for (i = 0; i < ARRAY_SIZE(passthrough); i++)
		msrpm_allow(svm->msrpm, passthrough[i]);
	vcpu->backend = svm;
	vmcb_set_controls(vcpu);
	return 0;

err_vmcb:
	free_page((unsigned long)svm->vmcb);
err_svm:
	kfree(svm);
	return -ENOMEM;
}

static void svm_vcpu_destroy(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	free_pages((unsigned long)svm->msrpm, MSRPM_ORDER);
	free_page((unsigned long)svm->vmcb);
	kfree(svm);
}

/* Registers come from state.c; here only what is the backend's own. */
static void svm_vcpu_reset(struct hvx_vcpu *vcpu, bool init)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;

	svm->window = svm->iret = svm->iret_done = svm->nmi_step = false;
	vmcb->ctl.icpt3 &= ~(ICPT3_VINTR | ICPT3_IRET);
	vmcb->ctl.vintr = VINTR_MASKING;
	vmcb->ctl.int_state = 0;
	vmcb->ctl.event_inj = 0;
	vmcb->ctl.exit_int_info = 0;
	vmcb->save.gpat = vcpu->pat;
	if (!init) {
		vmcb->save.star = vmcb->save.lstar = vmcb->save.cstar = vmcb->save.sfmask = 0;
		vmcb->save.kernel_gs_base = 0;
		vmcb->save.sysenter_cs = vmcb->save.sysenter_esp = vmcb->save.sysenter_eip = 0;
	}
	svm->flush = true;
	svm->clean = 0;
	svm_update_debug(vcpu);
}

/* ------------------------------------------------------- the loop's steps */

static void svm_flush_tlb(struct hvx_vcpu *vcpu)
{
	to_svm(vcpu)->flush = true;
}

/*
 * A fresh ASID has no translations on this CPU, whoever used it before: when
 * they run out a new generation begins with a flush of them all (APM vol. 2
 * 15.16). Interrupts off.
 */
static void svm_new_asid(struct svm_vcpu *svm, struct svm_cpu *sc)
{
	struct vmcb_ctl *c = &svm->vmcb->ctl;

	if (sc->next_asid > sc->max_asid) {
		sc->gen++;
		sc->next_asid = 1;
		c->tlb_control = TLBCTL_FLUSH_ALL;
	}
	c->asid = sc->next_asid++;
	svm->asid_gen = sc->gen;
	svm->asid_cpu = smp_processor_id();
	svm->clean &= ~CLEAN_ASID;
}

static void svm_load_debug(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	const u64 *db = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_db : vcpu->db;
	unsigned long v;

	get_debugreg(v, 0);
	svm->host_dr[0] = v;
	get_debugreg(v, 1);
	svm->host_dr[1] = v;
	get_debugreg(v, 2);
	svm->host_dr[2] = v;
	get_debugreg(v, 3);
	svm->host_dr[3] = v;
	set_debugreg(db[0], 0);
	set_debugreg(db[1], 1);
	set_debugreg(db[2], 2);
	set_debugreg(db[3], 3);
	svm->dr_loaded = true;
}

static void svm_put_debug(struct svm_vcpu *svm)
{
	set_debugreg(svm->host_dr[0], 0);
	set_debugreg(svm->host_dr[1], 1);
	set_debugreg(svm->host_dr[2], 2);
	set_debugreg(svm->host_dr[3], 3);
	svm->dr_loaded = false;
}

static void svm_intercept_iret(struct svm_vcpu *svm)
{
	svm->iret = true;
	svm->vmcb->ctl.icpt3 |= ICPT3_IRET;
	mark_dirty(svm, CLEAN_ICPT);
}

static void svm_load(struct hvx_vcpu *vcpu)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 ratio;

	asm volatile("vmsave %%rax" : : "a" (sc->host_pa) : "memory");
	if (svm->asid_cpu != smp_processor_id())
		svm->clean = 0;
	/* NMIs were masked by HVX_SET_STATE: IRET has to be seen. */
	if (unlikely(vcpu->ev.nmi_masked && !svm->iret && !svm->iret_done))
		svm_intercept_iret(svm);
	if (svm->vmcb->save.dr7 & 0xff)
		svm_load_debug(vcpu);
	if (svm_has_rdtscp) {
		rdmsrq(MSR_TSC_AUX, svm->host_tsc_aux);
		if (svm->host_tsc_aux != vcpu->tsc_aux)
			wrmsrq(MSR_TSC_AUX, vcpu->tsc_aux);
	}
	if (svm_features & SVM_FEAT_TSC_RATE) {
		/* 8.32 fixed point, APM vol. 2 15.30.5 */
		ratio = vcpu->tsc_ratio ?: 1ULL << 32;
		if (sc->tsc_ratio != ratio) {
			wrmsrq(MSR_AMD_TSC_RATIO, ratio);
			sc->tsc_ratio = ratio;
		}
	}
}

static void svm_put(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (svm->dr_loaded)
		svm_put_debug(svm);
	/* #VMEXIT leaves DR7 with everything off (APM vol. 2 15.6). */
	if (unlikely(hw_breakpoint_active()))
		set_debugreg(__this_cpu_read(cpu_dr7), 7);
	if (svm_has_rdtscp && svm->host_tsc_aux != vcpu->tsc_aux)
		wrmsrq(MSR_TSC_AUX, svm->host_tsc_aux);
}

static bool svm_irq_allowed(struct hvx_vcpu *vcpu)
{
	return vcpu->rflags & X86_EFLAGS_IF && !(to_svm(vcpu)->vmcb->ctl.int_state & 1);
}

static bool svm_nmi_allowed(struct hvx_vcpu *vcpu)
{
	return !vcpu->ev.nmi_masked && !(to_svm(vcpu)->vmcb->ctl.int_state & 1);
}

static void svm_inject_irq(struct hvx_vcpu *vcpu, u8 vector)
{
	to_svm(vcpu)->vmcb->ctl.event_inj = vector | EVENT_TYPE_INTR | EVENT_VALID;
}

static void svm_inject_nmi(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->ctl.event_inj = 2 | EVENT_TYPE_NMI | EVENT_VALID;
	svm_intercept_iret(svm);
}

static void svm_inject_exception(struct hvx_vcpu *vcpu)
{
	struct hvx_pending *ev = &vcpu->ev;
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;

	vmcb->ctl.event_inj = ev->exc_vector | EVENT_TYPE_EXC | EVENT_VALID;
	if (ev->exc_has_code)
		vmcb->ctl.event_inj |= EVENT_HAS_CODE | (u64)ev->exc_code << 32;
	/* EVENTINJ does not do what the exception's own microcode would (APM vol. 2 15.20). */
	if (ev->exc_vector == 14) {
		vmcb->save.cr2 = vcpu->cr2;
		mark_dirty(svm, CLEAN_CR2);
	} else if (ev->exc_vector == 1) {
		vmcb->save.dr6 = vcpu->dr6;
		vcpu->dr7 &= ~(u64)(1U << 13);
		vmcb->save.dr7 &= ~(u64)(1U << 13);
		mark_dirty(svm, CLEAN_DR);
	}
}

/* A virtual interrupt that is always pending: VINTR exits as soon as the guest could take one. */
static void svm_request_irq_window(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (svm->window)
		return;
	svm->window = true;
	svm->vmcb->ctl.vintr |= VINTR_IRQ | VINTR_PRIO(0xf) | VINTR_IGN_TPR;
	svm->vmcb->ctl.icpt3 |= ICPT3_VINTR;
	mark_dirty(svm, CLEAN_ICPT | CLEAN_TPR);
}

static void svm_request_nmi_window(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (vcpu->ev.nmi_masked && !svm->iret_done) {
		/* IRET exits, and asks again. */
		if (!svm->iret)
			svm_intercept_iret(svm);
		return;
	}
	/* One instruction further the IRET, or the interrupt shadow, is over. A guest that steps itself exits anyway. */
	if (!svm->nmi_step && !(vcpu->rflags & X86_EFLAGS_TF)) {
		svm->nmi_step = true;
		vcpu->rflags |= X86_EFLAGS_TF | X86_EFLAGS_RF;
	}
}

/* CR8 writes exit only when one could let a waiting vector through. */
static void svm_set_tpr_threshold(struct hvx_vcpu *vcpu, int vector)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u8 tpr = hvx_lapic_get_cr8(vcpu);
	u32 icpt = svm->vmcb->ctl.icpt_cr & ~BIT(16 + 8);

	if (vector >= 0 && vector >> 4 <= tpr)
		icpt |= BIT(16 + 8);
	if (icpt != svm->vmcb->ctl.icpt_cr) {
		svm->vmcb->ctl.icpt_cr = icpt;
		mark_dirty(svm, CLEAN_ICPT);
	}
	if ((svm->vmcb->ctl.vintr & VINTR_TPR) != tpr) {
		svm->vmcb->ctl.vintr = (svm->vmcb->ctl.vintr & ~VINTR_TPR) | tpr;
		mark_dirty(svm, CLEAN_TPR);
	}
}

static void svm_enter(struct hvx_vcpu *vcpu)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;

	vmcb->ctl.tlb_control = TLBCTL_KEEP;
	if (unlikely(svm->asid_cpu != smp_processor_id() || svm->asid_gen != sc->gen)) {
		svm_new_asid(svm, sc);
		svm->flush = false;
	} else if (unlikely(svm->flush)) {
		svm->flush = false;
		if (svm_features & SVM_FEAT_FLUSH_ASID)
			vmcb->ctl.tlb_control = TLBCTL_FLUSH_ASID;
		else
			svm_new_asid(svm, sc);
	}
	vmcb->ctl.clean = svm->clean;
	vmcb->save.rax = vcpu->regs[0];
	vmcb->save.rsp = vcpu->regs[4];
	vmcb->save.rip = vcpu->rip;
	vmcb->save.rflags = vcpu->rflags;
	if (unlikely(vcpu->debug_flags & HVX_DEBUG_STEP))
		vmcb->save.rflags |= X86_EFLAGS_TF | X86_EFLAGS_RF;

	svm_vmrun(svm->vmcb_pa, vcpu->regs, sc->host_pa);

	vcpu->regs[0] = vmcb->save.rax;
	vcpu->regs[4] = vmcb->save.rsp;
	vcpu->rip = vmcb->save.rip;
	vcpu->rflags = vmcb->save.rflags;
	if (unlikely(vcpu->debug_flags & HVX_DEBUG_STEP))
		vcpu->rflags &= ~(u64)X86_EFLAGS_TF;
	vcpu->cr2 = vmcb->save.cr2;
	vcpu->dr6 = vmcb->save.dr6;
	svm->clean = svm_features & SVM_FEAT_CLEAN ? CLEAN_ALL : 0;
	vmcb->ctl.event_inj = 0;
	if ((vmcb->ctl.vintr & VINTR_TPR & 0xf) != hvx_lapic_get_cr8(vcpu))
		hvx_lapic_set_cr8(vcpu, vmcb->ctl.vintr & 0xf);
	svm_complete_events(vcpu);
}

static void svm_update_tsc(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->ctl.tsc_offset = vcpu->tsc_offset;
	mark_dirty(svm, CLEAN_ICPT);
}

static int svm_set_tsc_khz(struct hvx_vcpu *vcpu, u32 khz)
{
	/* The ratio's integer part has 8 bits. */
	if (!(svm_features & SVM_FEAT_TSC_RATE) || khz / tsc_khz >= 256)
		return -EINVAL;
	return 0;
}

struct hvx_backend hvx_svm = {
	.name = "svm",
	.pte = &svm_pte,
	.setup = svm_setup,
	.teardown = svm_free_cpus,
	.enable_cpu = svm_enable_cpu,
	.disable_cpu = svm_disable_cpu,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.vcpu_reset = svm_vcpu_reset,
	.load = svm_load,
	.put = svm_put,
	.flush_tlb = svm_flush_tlb,
	.irq_allowed = svm_irq_allowed,
	.nmi_allowed = svm_nmi_allowed,
	.inject_irq = svm_inject_irq,
	.inject_nmi = svm_inject_nmi,
	.inject_exception = svm_inject_exception,
	.request_irq_window = svm_request_irq_window,
	.request_nmi_window = svm_request_nmi_window,
	.set_tpr_threshold = svm_set_tpr_threshold,
	.enter = svm_enter,
	.handle_exit = svm_handle_exit,
	.handle_slow = svm_handle_slow,
	.get_sregs = svm_get_sregs,
	.set_sregs = svm_set_sregs,
	.get_cr = svm_get_cr,
	.get_efer = svm_get_efer,
	.set_efer = svm_set_efer,
	.set_cr4 = svm_set_cr4,
	.get_segment = svm_get_segment,
	.get_cpl = svm_get_cpl,
	.get_mode = svm_get_mode,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.get_shadow = svm_get_shadow,
	.set_shadow = svm_set_shadow,
	.update_debug = svm_update_debug,
	.update_tsc = svm_update_tsc,
	.update_cpuid = svm_update_cpuid,
	.set_tsc_khz = svm_set_tsc_khz,
};
