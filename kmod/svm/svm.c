// SPDX-License-Identifier: GPL-2.0-only
/*
 * AMD-V (APM vol. 2 chapter 15): CPUs and vCPUs, guest state in the VMCB, the run loop's steps.
 *
 * Beside another hypervisor each entry is a window with interrupts off, after
 * which EFER is as that left it: it may turn SVM on and off in between. As it uses
 * the same ASIDs, ours is flushed before a vCPU's first entry, and again as it
 * leaves the CPU.
 */
#include "svm/svm.h"

#define MSR_AMD_TSC_RATIO	0xc0000104
#define TSC_RATIO_ONE		(1ULL << 32)	/* 8.32 fixed point, APM vol. 2 15.30.5 */
#define MSR_AMD_VM_CR		0xc0010114
#define VM_CR_SVMDIS		BIT(4)
#define MSR_AMD_HSAVE_PA	0xc0010117

/* Intercept maps, the same for every VM: all ports (12 KiB), and MSRs (8 KiB). */
#define IOPM_SIZE	(3 * PAGE_SIZE)
#define MAPS_SIZE	(IOPM_SIZE + 2 * PAGE_SIZE)

static struct svm_cpu __percpu *svm_cpus;
u32 svm_features;
static u32 svm_nasid;
static void *maps;
static u32 tlbctl_flush;	/* the least that flushes an ASID */

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

static const struct hvx_pte_format svm_pte = {
	.table = PTE_P | PTE_W | PTE_U | PTE_A,
	.leaf = PTE_P | PTE_U | PTE_A,
	.write = PTE_W | PTE_D,
	.large = PTE_PS,
	.accessed = PTE_A,
};

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

/*
 * MSR permission map, APM vol. 2 15.11: two bits each, set = exit, for reads
 * and for writes; 2 KiB for MSRs from 0, 2 KiB for those from c000_0000.
 */
static void init_msrpm(u8 *map)
{
	unsigned int i, n;

	memset(map, 0xff, 2 * PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		n = (msrs[i].index & 0x1fff) + (msrs[i].index >> 31) * 0x2000;
		if (msrs[i].direct)
			map[n / 4] &= ~(3 << n % 4 * 2);
	}
}

/* ------------------------------------------------------------- the CPUs */

static void svm_free_cpus(void)
{
	free_percpu(svm_cpus);
	if (maps)
		free_pages_exact(maps, MAPS_SIZE);
}

static int svm_alloc_cpus(void)
{
	int cpu;

	maps = alloc_pages_exact(MAPS_SIZE, GFP_KERNEL);
	svm_cpus = __alloc_percpu(sizeof(*svm_cpus), PAGE_SIZE);
	if (!maps || !svm_cpus) {
		svm_free_cpus();
		return -ENOMEM;
	}
	memset(maps, 0xff, IOPM_SIZE);
	init_msrpm(maps + IOPM_SIZE);
	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = per_cpu_ptr(svm_cpus, cpu);

		sc->save_pa = __sme_set(hvx_percpu_pa(sc->save));
		sc->host_pa = __sme_set(hvx_percpu_pa(sc->host));
		sc->flusher_pa = __sme_set(hvx_percpu_pa(&sc->flusher));
		sc->flusher.np_control = 1;
		sc->flusher.ncr3 = __sme_set(hvx_percpu_pa(sc->table));
		sc->flusher.efer = EFER_SVME;
		sc->flusher.rflags = X86_EFLAGS_FIXED;
		sc->flusher.dr6 = HVX_DR6_FIXED;
	}
	return 0;
}

static int svm_setup(void)
{
	const char *missing = NULL;
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
	tlbctl_flush = edx & SVM_FEAT_FLUSH_ASID ? TLBCTL_FLUSH_ASID : TLBCTL_FLUSH_ALL;
	if (!(edx & SVM_FEAT_NP))
		missing = "nested paging";
	else if (svm_nasid < 2)
		missing = "address space identifiers";
	if (missing) {
		hvx_err("this CPU's AMD-V has no %s\n", missing);
		return -ENODEV;
	}
	hvx_svm.max_leaf_level = boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2;
	/* Nested tables have the host's own depth: nCR3 is walked in the host's mode (APM vol. 2 15.25.3). */
	hvx_svm.table_levels = pgtable_l5_enabled() ? 5 : 4;
	hvx_svm.features = (hvx_svm.max_leaf_level == 3 ? HVX_FEAT_NPT_1G : 0) |
			   (edx & SVM_FEAT_NRIPS ? HVX_FEAT_NRIPS : 0) |
			   (edx & SVM_FEAT_DECODE ? HVX_FEAT_DECODE_ASSIST : 0) |
			   (edx & SVM_FEAT_TSC_RATE ? HVX_FEAT_TSC_SCALING : 0) |
			   (boot_cpu_has(X86_FEATURE_XSAVES) ? HVX_FEAT_XSAVES : 0);
	return svm_alloc_cpus();
}

static void set_tsc_ratio(struct svm_cpu *sc, u64 ratio)
{
	if (svm_features & SVM_FEAT_TSC_RATE && sc->tsc_ratio != ratio)
		wrmsrq(MSR_AMD_TSC_RATIO, ratio);
	sc->tsc_ratio = ratio;
}

static int svm_enable_cpu(void)
{
	struct svm_cpu *sc = this_cpu_ptr(svm_cpus);
	u64 efer;

	/* Whatever the TLB holds from before is nobody's: the first user begins a generation. */
	sc->gen++;
	sc->next_asid = svm_nasid;
	rdmsrq(MSR_EFER, efer);
	if (READ_ONCE(hvx_beside) || efer & EFER_SVME)
		return 0;	/* each window finds its way */
	wrmsrq(MSR_EFER, efer | EFER_SVME);
	wrmsrq(MSR_AMD_HSAVE_PA, sc->save_pa);
	sc->owned = true;
	sc->tsc_ratio = 0;
	set_tsc_ratio(sc, TSC_RATIO_ONE);
	return 0;
}

static void svm_disable_cpu(void)
{
	struct svm_cpu *sc = this_cpu_ptr(svm_cpus);
	u64 area, efer;

	rdmsrq(MSR_AMD_HSAVE_PA, area);
	if (area == sc->save_pa)	/* a window's, too */
		wrmsrq(MSR_AMD_HSAVE_PA, 0);
	if (!sc->owned)
		return;
	sc->owned = false;
	set_tsc_ratio(sc, TSC_RATIO_ONE);
	rdmsrq(MSR_EFER, efer);
	wrmsrq(MSR_EFER, efer & ~(u64)EFER_SVME);
}

/* What VMRUN does not save: FS, GS, TR, LDTR and the MSRs of system calls. SVM on. */
static void save_host(struct svm_cpu *sc)
{
	asm volatile("vmsave %%rax" : : "a" (sc->host_pa) : "memory");
	sc->host_saved = true;
}

/*
 * Interrupts off, as until window_end(). VMRUN's save area holds nothing between an exit and the
 * next entry (APM vol. 2 15.5.1): the other's, as long as it has SVM on, will do.
 */
static void window_begin(struct svm_cpu *sc)
{
	bool on;
	u64 area;

	rdmsrq(MSR_EFER, sc->prev_efer);
	on = sc->prev_efer & EFER_SVME;
	if (!on)
		wrmsrq(MSR_EFER, sc->prev_efer | EFER_SVME);
	rdmsrq(MSR_AMD_HSAVE_PA, area);
	if (unlikely(!area || (!on && area != sc->save_pa)))
		wrmsrq(MSR_AMD_HSAVE_PA, sc->save_pa);
	if (unlikely(!sc->host_saved))
		save_host(sc);
}

static void window_end(struct svm_cpu *sc)
{
	if (!(sc->prev_efer & EFER_SVME))
		wrmsrq(MSR_EFER, sc->prev_efer);
}

/* ------------------------------------------------------------------ vCPU */

static void svm_vcpu_destroy(struct hvx_vcpu *vcpu)
{
	free_page((unsigned long)to_vmcb(vcpu));
	kfree(to_svm(vcpu));
}

static int svm_vcpu_create(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = kzalloc(sizeof(*svm), GFP_KERNEL_ACCOUNT);
	struct vmcb *v;

	if (!svm)
		return -ENOMEM;
	vcpu->backend = svm;
	svm->vmcb = v = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	svm->vmcb_pa = __sme_set(__pa(v));
	svm->asid_cpu = -1;

	svm_init_intercepts(svm);
	if (svm_features & SVM_FEAT_PAUSE) {
		v->pause_count = 3000;
		v->pause_threshold = svm_features & SVM_FEAT_PAUSE_THR ? 128 : 0;
	}
	v->iopm_pa = __sme_set(__pa(maps));
	v->msrpm_pa = v->iopm_pa + IOPM_SIZE;
	v->np_control = 1;
	v->ncr3 = __sme_set(__pa(vcpu->vm->mmu.root));
	return 0;
}

/* Registers and MSRs come from state.c and x86/msr.c; here only what is the backend's own. */
static void svm_vcpu_reset(struct hvx_vcpu *vcpu, bool init)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->iret_done = svm->nmi_step = false;
	svm_intercept(svm, EXIT_VINTR, false);
	svm_intercept(svm, EXIT_IRET, false);
	svm->vmcb->vintr = VINTR_MASKING;
}

/* -------------------------------------------------------------- segments */

/* Where those that the core numbers, ES to TR, GDTR, IDTR, are in the VMCB. */
static const u8 seg_at[] = {
	0, VMCB_CS, VMCB_SS, 3, VMCB_FS, VMCB_GS, VMCB_LDTR, VMCB_TR, VMCB_GDTR, VMCB_IDTR
};

/*
 * The VMCB packs descriptor bits 55:52 right above bits 47:40; HVX_SEG_* keeps
 * a spare bit for "unusable". What the CPU does not keep there (CS.G, TR's busy
 * bit, and SS.DPL, which SYSRET leaves behind) is made up to be as others want it.
 */
static u16 svm_get_attr(struct hvx_vcpu *vcpu, int seg)
{
	const struct vmcb *v = to_vmcb(vcpu);
	const struct vmcb_seg *s = &v->seg[seg_at[seg]];
	u16 attr = (s->attr & 0xfff) | (s->attr & HVX_SEG_P ? 0 : HVX_SEG_UNUSABLE);

	if (seg == HVX_SEG_CS)
		return attr | (s->limit > 0xfffff ? HVX_SEG_G : 0);
	if (seg == HVX_SEG_SS)
		return (attr & ~(3 << 5)) | v->cpl << 5;
	return seg == HVX_SEG_TR ? attr | 2 : attr;
}

static void svm_get_segment(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out)
{
	const struct vmcb_seg *s = &to_vmcb(vcpu)->seg[seg_at[seg]];

	*out = (struct hvx_segment) {
		.base = s->base, .limit = s->limit, .selector = s->selector,
		.attr = svm_get_attr(vcpu, seg),
	};
}

static void svm_set_segment(struct hvx_vcpu *vcpu, int seg, const struct hvx_segment *in)
{
	struct vmcb *v = to_vmcb(vcpu);

	v->seg[seg_at[seg]] = (struct vmcb_seg) {
		.selector = in->selector, .limit = in->limit, .base = in->base,
		.attr = in->attr & 0xfff & ~(in->attr & HVX_SEG_UNUSABLE ? HVX_SEG_P : 0),
	};
	/* VMRUN takes CPL from here, not from SS (APM vol. 2 15.5.1). */
	if (seg == HVX_SEG_SS)
		v->cpl = !(v->cr0 & X86_CR0_PE) ? 0 :
			 vcpu->rflags & X86_EFLAGS_VM ? 3 : HVX_SEG_DPL(in->attr);
	to_svm(vcpu)->clean = 0;
}

/* ------------------------------------------------------ control registers */

u64 svm_get_cr(struct hvx_vcpu *vcpu, int cr)
{
	const struct vmcb *v = to_vmcb(vcpu);

	return cr == 0 ? v->cr0 | to_svm(vcpu)->cr0_cache :
	       cr == 3 ? v->cr3 : v->cr4 & ~(u64)to_svm(vcpu)->cr4_mce;
}

static void svm_set_efer(struct hvx_vcpu *vcpu, u64 val)
{
	vcpu->efer = val;
	to_vmcb(vcpu)->efer = val | EFER_SVME;
	to_svm(vcpu)->clean &= ~CLEAN_CR;
	vcpu->flush_tlb = true;
}

/*
 * CD set, as at reset, would make all of the guest's accesses uncached until
 * its software gets round to clearing it. The memory is ordinary, so the bit
 * need not have its effect: the guest sees CD and NW, but the CPU does not. It
 * takes intercepting CR0 as long as one is set, and not after that.
 */
static void set_cr0(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->cr0_cache = val & (X86_CR0_CD | X86_CR0_NW);
	svm->vmcb->cr0 = val & ~(X86_CR0_CD | X86_CR0_NW);
	svm_intercept(svm, EXIT_CR0_READ, svm->cr0_cache);
	svm_intercept(svm, EXIT_CR0_WRITE, svm->cr0_cache);
	vcpu->flush_tlb = true;
}

/*
 * The host's machine checks come through whatever the guest wants: with MCE clear they would end in
 * SHUTDOWN. Guests that have it clear, which is early in their lives, do not see it set.
 */
static void set_cr4(struct hvx_vcpu *vcpu, u64 val)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* APM vol. 2 5.5.2: which changes drop translations; OSXSAVE and the like do not. */
	if ((svm->vmcb->cr4 ^ val) & (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PCIDE |
				      X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_LA57))
		vcpu->flush_tlb = true;
	svm->cr4_mce = ~val & __read_cr4() & X86_CR4_MCE;
	svm->vmcb->cr4 = val | svm->cr4_mce;
	svm_intercept(svm, EXIT_CR4_READ, svm->cr4_mce);
}

void svm_set_cr(struct hvx_vcpu *vcpu, int cr, u64 val)
{
	if (cr == 0)
		set_cr0(vcpu, val);
	else if (cr == 4)
		set_cr4(vcpu, val);
	else
		to_vmcb(vcpu)->cr3 = val;
	to_svm(vcpu)->clean &= ~CLEAN_CR;
}

/* Nothing that VMLOAD loads is ever kept by the CPU; PAT is. */
static int svm_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write)
{
	u64 *p;
	int i;

	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (msrs[i].index != index)
			continue;
		p = (void *)to_vmcb(vcpu) + msrs[i].at;
		*(write ? p : val) = write ? *val : *p;
		if (write)
			to_svm(vcpu)->clean &= ~CLEAN_NP;
		return 0;
	}
	return 1;
}

/*
 * Debug registers, TSC or CPUID have changed. DR6 and DR7 in the VMCB are the
 * guest's, or the debugger's breakpoints in their place; an instruction that the
 * guest's CPUID does not show must not exist for it.
 */
void svm_update(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->dr6 = vcpu->dr6;
	svm->vmcb->dr7 = vcpu->debug_flags & HVX_DEBUG_HW ? vcpu->debug_dr7 : vcpu->dr7;
	svm->vmcb->tsc_offset = vcpu->tsc_offset;
	svm->clean &= ~(CLEAN_DR | CLEAN_ICPT);
	svm_intercept(svm, EXIT_BP, vcpu->debug_flags & HVX_DEBUG_SW);
	svm_intercept(svm, EXIT_RDTSCP, !(vcpu->caps & HVX_CAP_RDTSCP));
	svm_intercept(svm, EXIT_INVPCID, !(vcpu->caps & HVX_CAP_INVPCID));
}

/* ------------------------------------------------------- the loop's steps */

/* The CPU may not have done what the VMCB asked for before the state that it refused: flush again. */
void svm_forget_entry(struct svm_vcpu *svm)
{
	svm->asid_cpu = -1;
	if (svm->vmcb->tlb_control == TLBCTL_FLUSH_ALL)
		this_cpu_ptr(svm_cpus)->next_asid = svm_nasid;
}

/*
 * Another hypervisor's guest may come to the CPU, and have the same ASID: it is
 * not to find our guest's translations. VMRUN alone flushes them, so the flusher
 * runs, up to the nested page fault of its first fetch. Where SVM is off, who turns
 * it on begins with a flush of all ASIDs anyway: the TLB may hold anybody's.
 */
static void flush_behind(struct svm_cpu *sc, struct svm_vcpu *svm)
{
	u64 efer, regs[16] = {};

	rdmsrq(MSR_EFER, efer);
	if (!(efer & EFER_SVME))
		return;
	memcpy(sc->flusher.icpt, svm->vmcb->icpt, sizeof(svm->vmcb->icpt));
	sc->flusher.asid = svm->vmcb->asid;
	sc->flusher.tlb_control = tlbctl_flush;
	sc->host_saved = false;	/* the LDT may have changed since svm_load() */
	local_irq_disable();
	window_begin(sc);
	svm_vmrun(sc->flusher_pa, regs, sc->host_pa);
	window_end(sc);
	if (unlikely(hw_breakpoint_active()))
		set_debugreg(__this_cpu_read(cpu_dr7), 7);
	local_irq_enable();
}

/*
 * Have the entry start without stale translations where there may be some, and with the whole VMCB
 * read where the CPU does not know it. A fresh ASID has no translations on this CPU, whoever used
 * it before: when they run out a new generation begins with a flush of them all (APM vol. 2 15.16).
 */
static void prepare_asid(struct hvx_vcpu *vcpu, struct svm_cpu *sc, int cpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	bool known = svm->asid_cpu == cpu && svm->asid_gen == sc->gen;
	struct vmcb *v = svm->vmcb;

	v->tlb_control = TLBCTL_KEEP;
	if (likely(known && !vcpu->flush_tlb))
		return;
	vcpu->flush_tlb = false;
	if (known && svm_features & SVM_FEAT_FLUSH_ASID) {
		v->tlb_control = TLBCTL_FLUSH_ASID;
		return;
	}
	if (!sc->owned)		/* another may have used it */
		v->tlb_control = tlbctl_flush;
	if (sc->next_asid >= svm_nasid) {
		sc->gen++;
		sc->next_asid = 1;
		v->tlb_control = TLBCTL_FLUSH_ALL;
	}
	v->asid = sc->next_asid++;
	svm->asid_gen = sc->gen;
	svm->asid_cpu = cpu;
	svm->clean = known ? svm->clean & ~CLEAN_ASID : 0;
}

static void svm_load(struct hvx_vcpu *vcpu)
{
	struct svm_cpu *sc = this_cpu_ptr(svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);

	local_irq_disable();
	if (likely(sc->owned)) {
		save_host(sc);
		hvx_tsc_aux(vcpu, true);
		set_tsc_ratio(sc, vcpu->tsc_ratio ?: TSC_RATIO_ONE);
	} else {
		vcpu->flush_tlb = true;
		sc->host_saved = false;
		/* The other has its own, or may set it to one: see enter_window(). */
		if (svm_features & SVM_FEAT_TSC_RATE)
			rdmsrq(MSR_AMD_TSC_RATIO, sc->tsc_ratio);
	}
	local_irq_enable();
	/* NMIs were masked by HVX_SET_STATE: IRET has to be seen. */
	if (unlikely(vcpu->ev.nmi_masked && !svm->iret_done))
		svm_intercept(svm, EXIT_IRET, true);
}

static void svm_put(struct hvx_vcpu *vcpu)
{
	struct svm_cpu *sc = this_cpu_ptr(svm_cpus);

	hvx_tsc_aux(vcpu, false);
	if (unlikely(!sc->owned))
		flush_behind(sc, to_svm(vcpu));
}

static void svm_inject(struct hvx_vcpu *vcpu, u32 event, u32 code)
{
	to_vmcb(vcpu)->event_inj = event | (u64)code << 32;
	if (hvx_event_is(event, HVX_EVENT_NMI))
		svm_intercept(to_svm(vcpu), EXIT_IRET, true);
}

/*
 * For interrupts a virtual one that is always pending: VINTR exits as soon as the
 * guest could take it. For NMIs, where IRET exits, that asks again; else the IRET or
 * the interrupt shadow is over one instruction further.
 */
static void svm_request_window(struct hvx_vcpu *vcpu, bool nmi)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (nmi) {
		svm->nmi_step = !svm_intercepts(svm, EXIT_IRET);
	} else if (!svm_intercepts(svm, EXIT_VINTR)) {
		svm_intercept(svm, EXIT_VINTR, true);
		svm->vmcb->vintr |= VINTR_WINDOW;
		svm->clean &= ~CLEAN_TPR;
	}
}

/* CR8 writes exit only when one could let a waiting vector through. */
static void svm_set_tpr_threshold(struct hvx_vcpu *vcpu, int vector)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u8 tpr = hvx_lapic_get_cr8(vcpu);

	svm_intercept(svm, EXIT_CR8_WRITE, vector >= 0 && vector >> 4 <= tpr);
	if ((svm->vmcb->vintr & VINTR_TPR) != tpr) {
		svm->vmcb->vintr = (svm->vmcb->vintr & ~VINTR_TPR) | tpr;
		svm->clean &= ~CLEAN_TPR;
	}
}

/* Only a vCPU that comes to the CPU changes the TSC ratio, but who turns SVM on sets it to one. */
static void enter_window(struct hvx_vcpu *vcpu, struct svm_cpu *sc)
{
	u64 ratio = vcpu->tsc_ratio ?: TSC_RATIO_ONE, prev = ratio;
	bool scaled = svm_features & SVM_FEAT_TSC_RATE &&
		      (ratio != TSC_RATIO_ONE || sc->tsc_ratio != TSC_RATIO_ONE);

	window_begin(sc);
	hvx_tsc_aux(vcpu, true);
	if (unlikely(scaled)) {
		rdmsrq(MSR_AMD_TSC_RATIO, prev);
		wrmsrq(MSR_AMD_TSC_RATIO, ratio);
	}
	svm_vmrun(to_svm(vcpu)->vmcb_pa, vcpu->regs, sc->host_pa);
	if (unlikely(scaled))
		wrmsrq(MSR_AMD_TSC_RATIO, prev);
	/* As KVM starts it notes, in an interrupt, what is the host's. */
	hvx_tsc_aux(vcpu, false);
	window_end(sc);
}

static void svm_enter(struct hvx_vcpu *vcpu)
{
	struct svm_cpu *sc = this_cpu_ptr(svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *v = svm->vmcb;
	bool step = vcpu->debug_flags & HVX_DEBUG_STEP;

	prepare_asid(vcpu, sc, smp_processor_id());
	/* Changed for the guest: EVENTINJ does not set it (APM vol. 2 15.20). */
	if (v->cr2 != vcpu->cr2)
		svm->clean &= ~CLEAN_CR2;
	v->cr2 = vcpu->cr2;
	v->clean = svm->clean;
	v->int_state = !!vcpu->ev.interrupt_shadow;
	v->rax = vcpu->regs[0];
	v->rsp = vcpu->regs[4];
	v->rip = vcpu->rip;
	v->rflags = vcpu->rflags;
	if (unlikely(svm->nmi_step)) {
		/* A guest that steps itself exits anyway; an event would put TF where the guest sees it. */
		svm->nmi_step = !(v->event_inj & HVX_EVENT_VALID) && !(vcpu->rflags & X86_EFLAGS_TF);
		step |= svm->nmi_step;
	}
	if (unlikely(step))
		v->rflags |= X86_EFLAGS_TF | X86_EFLAGS_RF;

	if (likely(sc->owned))
		svm_vmrun(svm->vmcb_pa, vcpu->regs, sc->host_pa);
	else
		enter_window(vcpu, sc);

	vcpu->regs[0] = v->rax;
	vcpu->regs[4] = v->rsp;
	vcpu->rip = v->rip;
	vcpu->rflags = v->rflags;
	if (unlikely(step))
		vcpu->rflags &= ~(u64)X86_EFLAGS_TF;
	vcpu->cr2 = v->cr2;
	vcpu->dr6 = v->dr6;
	/* In the CPU's, too, where the host's next #DB would find the guest's causes. */
	if (unlikely(vcpu->dr6 != HVX_DR6_FIXED))
		set_debugreg(HVX_DR6_FIXED, 6);
	vcpu->efer = v->efer & ~(u64)EFER_SVME;		/* LMA changes with CR0.PG */
	/* The CPU does not say which kind; both last one instruction. */
	vcpu->ev.interrupt_shadow = v->int_state & HVX_SHADOW_STI;
	svm->clean = svm_features & SVM_FEAT_CLEAN ? CLEAN_ALL : 0;
	v->event_inj = 0;
	if ((v->vintr & 0xf) != hvx_lapic_get_cr8(vcpu))
		hvx_lapic_set_cr8(vcpu, v->vintr & 0xf);
	/*
	 * Without virtual NMIs the end of a handler is seen by intercepting IRET,
	 * at its start: NMIs come back only when RIP has moved on from it.
	 */
	if (unlikely(svm->iret_done) && vcpu->rip != svm->iret_rip) {
		svm->iret_done = false;
		vcpu->ev.nmi_masked = false;
	}
	hvx_event_cut_short(vcpu, v->exit_int_info, v->exit_int_info >> 32);
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
	.inject = svm_inject,
	.request_window = svm_request_window,
	.set_tpr_threshold = svm_set_tpr_threshold,
	.enter = svm_enter,
	.handle_exit = svm_handle_exit,
	.get_cr = svm_get_cr,
	.set_cr = svm_set_cr,
	.set_efer = svm_set_efer,
	.get_attr = svm_get_attr,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.msr = svm_msr,
	.update = svm_update,
};
