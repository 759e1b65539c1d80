// SPDX-License-Identifier: GPL-2.0-only
/*
 * What this CPU's VT-x can do, who has VMX operation on, and the windows in
 * which a VMCS is current.
 *
 * Three roads lead into VMX operation, chosen CPU by CPU as a window opens:
 *
 * - Owned: VMXON was done when the first VM came, and stays. VMCSs stay active
 *   on the CPU, and the last one current, so a window costs nothing. Only while
 *   KVM is not loaded, as KVM refuses to start beside a foreign CR4.VMXE, and
 *   only on kernels that let a module change CR4 together with its shadow.
 * - Another's: CR4.VMXE is set, and not by us, so KVM has done VMXON. Its
 *   current VMCS is noted and put back as the window closes.
 * - Neither: VMXON when the window opens, VMXOFF when it closes. With interrupts
 *   off nobody writes CR4 from the shadow meanwhile, nor sees the bit.
 *
 * In the latter two the VMCS is cleared in the end: KVM may execute VMXOFF in
 * between, which would lose what the CPU holds of it (SDM vol. 3 "Software Use
 * of Virtual-Machine Control Structures").
 */
#include <linux/module.h>
#include <asm/asm.h>

#include "vmx/vmx.h"

#define NO_VMCS		(~0ULL)

struct vmx_cpu {
	u64 vmxon_pa;		/* of vmxon_regions */
	bool owned;		/* VMXON is ours, and stays */
	bool window_on;		/* VMXON is for this window only */
	u64 prev;		/* another's current VMCS */
	struct vmx_vcpu *current_vmcs;	/* while owned */
	struct list_head active;	/* VMCSs that this CPU may hold parts of */
};

static DEFINE_PER_CPU(struct vmx_cpu, vmx_cpus);
static u32 __percpu *vmxon_regions;
struct vmx_caps vmx_caps;

/* ---------------------------------------------------------- instructions */

/* Their operand is a pointer in memory. They fault outside VMX operation: KVM may have left it. */
#define VMX_OP(name)								\
static int name(u64 *pa)							\
{										\
	asm goto("1: " #name " %0\n\t"						\
		 "jna %l[fail]\n\t"						\
		 _ASM_EXTABLE(1b, %l[fail])					\
		 : : "m" (*pa) : "cc", "memory" : fail);			\
	return 0;								\
fail:										\
	return -EIO;								\
}
VMX_OP(vmxon)
VMX_OP(vmclear)
VMX_OP(vmptrld)
VMX_OP(vmptrst)

static void vmxoff(void)
{
	asm volatile("1: vmxoff\n2:\n\t" _ASM_EXTABLE(1b, 2b) : : : "cc", "memory");
}

static void write_cr4(u64 val)
{
	asm volatile("mov %0, %%cr4" : : "r" (val) : "memory");
}

#define INV_SINGLE	1ULL
#define INV_ALL		2ULL

static void invept(u64 type, u64 eptp)
{
	u64 desc[2] = { eptp, 0 };

	asm volatile("invept %0, %1" : : "m" (desc), "r" (type) : "cc", "memory");
}

static void invvpid(u64 type, u16 vpid)
{
	u64 desc[2] = { vpid, 0 };

	asm volatile("invvpid %0, %1" : : "m" (desc), "r" (type) : "cc", "memory");
}

/* -------------------------------------------------------- capabilities */

enum { PIN, PROC, PROC2, EXIT, ENTRY, NR_KINDS };

/* SDM vol. 3 appendix A.3-A.5. The secondary controls have no TRUE twin. */
static const struct {
	const char *name;
	u32 msr, field;
} kinds[NR_KINDS] = {
	[PIN] = { "pin-based", MSR_IA32_VMX_TRUE_PINBASED_CTLS, PIN_BASED_VM_EXEC_CONTROL },
	[PROC] = { "primary", MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_VM_EXEC_CONTROL },
	[PROC2] = { "secondary", MSR_IA32_VMX_PROCBASED_CTLS2, SECONDARY_VM_EXEC_CONTROL },
	[EXIT] = { "exit", MSR_IA32_VMX_TRUE_EXIT_CTLS, VM_EXIT_CONTROLS },
	[ENTRY] = { "entry", MSR_IA32_VMX_TRUE_ENTRY_CTLS, VM_ENTRY_CONTROLS },
};

static u32 ctl_min[NR_KINDS], ctl_max[NR_KINDS];

/* What is not there, or not asked for, reads N. */
#define OPTION(var, text)				\
	module_param_named(var, vmx_##var, bool, 0444);		\
	MODULE_PARM_DESC(var, "VT-x: use " text " where the CPU has it")
static bool vmx_xapic = true, vmx_x2apic = true, vmx_apic_reads = true;
bool vmx_virtual_interrupts = true, vmx_posted_interrupts = true, vmx_preemption_timer = true;
bool vmx_ple = true, vmx_tsc_scaling = true, vmx_pml = true;
static bool vmx_ept_ad = true;
OPTION(xapic, "virtualisation of accesses to the xAPIC's page");
OPTION(x2apic, "virtualisation of the x2APIC's TPR");
OPTION(apic_reads, "virtualisation of APIC registers beside the TPR (with x2apic, xapic)");
OPTION(virtual_interrupts, "virtual-interrupt delivery (with x2apic, xapic)");
OPTION(posted_interrupts, "posted interrupts (with virtual_interrupts)");
OPTION(ple, "PAUSE-loop exiting");
OPTION(tsc_scaling, "TSC scaling");
OPTION(preemption_timer, "the VMX-preemption timer, for near deadlines of guests' APIC timers");
OPTION(pml, "page-modification logging for the dirty log");
OPTION(ept_ad, "accessed and dirty bits of EPT");

/* Controls that hvx uses; with a name: it cannot do without. */
static const struct {
	u8 kind;
	u32 bits;
	const char *name;
	bool *option;
} controls[] = {
	{ PIN, PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING, "interrupt exiting" },
	{ PIN, PIN_BASED_VIRTUAL_NMIS, "virtual NMIs" },
	{ PROC, CPU_BASED_HLT_EXITING | CPU_BASED_MWAIT_EXITING | CPU_BASED_MONITOR_EXITING |
	  CPU_BASED_RDPMC_EXITING | CPU_BASED_MOV_DR_EXITING | CPU_BASED_UNCOND_IO_EXITING,
	  "instruction exits" },
	{ PROC, CPU_BASED_USE_TSC_OFFSETTING, "TSC offsetting" },
	{ PROC, CPU_BASED_TPR_SHADOW, "TPR shadow" },
	{ PROC, CPU_BASED_USE_MSR_BITMAPS, "MSR bitmaps" },
	{ PROC, CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, "secondary controls" },
	{ PROC2, SECONDARY_EXEC_ENABLE_EPT, "EPT" },
	{ PROC2, SECONDARY_EXEC_UNRESTRICTED_GUEST, "unrestricted guests" },
	{ PROC2, SECONDARY_EXEC_ENABLE_VPID, "VPID" },
	{ PROC2, SECONDARY_EXEC_WBINVD_EXITING },
	{ PROC2, SECONDARY_EXEC_ENCLS_EXITING },
	{ PROC2, SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES, .option = &vmx_xapic },
	{ PROC2, SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE, .option = &vmx_x2apic },
	{ PROC2, SECONDARY_EXEC_APIC_REGISTER_VIRT, .option = &vmx_apic_reads },
	{ PROC2, SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY, .option = &vmx_virtual_interrupts },
	{ PROC2, SECONDARY_EXEC_PAUSE_LOOP_EXITING, .option = &vmx_ple },
	{ PROC2, SECONDARY_EXEC_TSC_SCALING, .option = &vmx_tsc_scaling },
	{ PROC2, SECONDARY_EXEC_ENABLE_PML, .option = &vmx_pml },
	{ PIN, PIN_BASED_VMX_PREEMPTION_TIMER, .option = &vmx_preemption_timer },
	{ PIN, PIN_BASED_POSTED_INTR, .option = &vmx_posted_interrupts },
	{ EXIT, VM_EXIT_ACK_INTR_ON_EXIT, .option = &vmx_posted_interrupts },
	{ EXIT, VM_EXIT_HOST_ADDR_SPACE_SIZE, "64-bit hosts" },
	{ EXIT, VM_EXIT_LOAD_IA32_EFER, "EFER loading" },
	{ ENTRY, VM_ENTRY_LOAD_IA32_EFER, "EFER loading" },
	{ ENTRY, VM_ENTRY_LOAD_DEBUG_CONTROLS, "debug register loading" },
};

/* Allowed settings: the low half says what must be 1, the high half what may be. */
static bool setup_controls(void)
{
	u32 *const out[NR_KINDS] = { &vmx_caps.pin, &vmx_caps.proc, &vmx_caps.proc2,
				     &vmx_caps.exit, &vmx_caps.entry };
	bool ok = true;
	u64 val;
	int i;

	for (i = 0; i < NR_KINDS; i++) {
		if (rdmsrq_safe(kinds[i].msr, &val))
			val = 0;
		ctl_min[i] = *out[i] = val;
		ctl_max[i] = val >> 32;
	}
	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		u32 have = controls[i].bits & ctl_max[controls[i].kind];

		if (controls[i].option && !*controls[i].option)
			continue;
		*out[controls[i].kind] |= have;
		if (have != controls[i].bits && controls[i].name) {
			hvx_err("this CPU's VT-x has no %s\n", controls[i].name);
			ok = false;
		}
		if (controls[i].option)
			*controls[i].option = have;
	}
	/* CR3 accesses must not exit: nothing here would handle them. */
	return ok && !(ctl_min[PROC] & (CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING));
}

bool vmx_supports_proc2(u32 bit)
{
	return ctl_max[PROC2] & bit;
}

static bool setup_ept(void)
{
	static const struct {
		u64 bits;
		const char *name;
	} need[] = {
		{ VMX_EPT_PAGE_WALK_4_BIT, "4-level EPT" },
		{ VMX_EPTP_WB_BIT, "write-back EPT" },
		{ VMX_EPT_INVEPT_BIT | VMX_EPT_EXTENT_CONTEXT_BIT | VMX_EPT_EXTENT_GLOBAL_BIT,
		  "INVEPT" },
		{ (u64)(VMX_VPID_INVVPID_BIT | VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT) << 32,
		  "INVVPID" },
	};
	bool ok = true;
	int i;

	if (rdmsrq_safe(MSR_IA32_VMX_EPT_VPID_CAP, &vmx_caps.ept))
		vmx_caps.ept = 0;
	for (i = 0; i < ARRAY_SIZE(need); i++) {
		if ((vmx_caps.ept & need[i].bits) != need[i].bits) {
			hvx_err("this CPU's VT-x has no %s\n", need[i].name);
			ok = false;
		}
	}
	vmx_ept_ad = vmx_ept_ad && vmx_caps.ept & VMX_EPT_AD_BIT;
	vmx_caps.ept_ad = vmx_ept_ad;
	return ok;
}

int vmx_setup_caps(void)
{
	u32 more;
	u64 val;

	if (!boot_cpu_has(X86_FEATURE_VMX))
		return -ENODEV;
	/* SDM vol. 3 A.1: bit 55 says that the TRUE control MSRs are there. */
	rdmsrq(MSR_IA32_VMX_BASIC, val);
	vmx_caps.revision = vmx_basic_vmcs_revision_id(val);
	if (!(val & BIT_ULL(55))) {
		hvx_err("this CPU's VT-x is too old (no TRUE controls)\n");
		return -ENODEV;
	}
	if (!setup_ept())
		return -ENODEV;
	vmx_pml = vmx_pml && vmx_ept_ad;
	if (!setup_controls())
		return -ENODEV;
	vmx_virtual_interrupts = vmx_virtual_interrupts && (vmx_x2apic || vmx_xapic);
	/*
	 * A guest that runs is told of them by the vector that the kernel has for
	 * hypervisors, whose handler does no more than acknowledge it. With it the CPU
	 * takes the host's interrupts as it exits, which FRED kernels let only KVM hand on.
	 */
	vmx_posted_interrupts = vmx_posted_interrupts && vmx_virtual_interrupts &&
				IS_ENABLED(CONFIG_KVM) && !hvx_fred();
	more = vmx_caps.proc2 & (SECONDARY_EXEC_APIC_REGISTER_VIRT | SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY);
	vmx_caps.x2apic = vmx_x2apic ? SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | more : 0;
	vmx_caps.xapic = vmx_xapic ? SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES | more : 0;
	vmx_caps.proc2 &= ~(vmx_caps.x2apic | vmx_caps.xapic | more);
	/* The former is for guests whose interrupts the CPU delivers. */
	vmx_caps.pin &= ~PIN_BASED_POSTED_INTR;
	if (!vmx_posted_interrupts)
		vmx_caps.exit &= ~VM_EXIT_ACK_INTR_ON_EXIT;
	rdmsrq(MSR_IA32_VMX_CR0_FIXED0, vmx_caps.cr0_fixed0);
	/* Unrestricted guests may have these clear (SDM vol. 3 A.7). */
	vmx_caps.cr0_fixed0 &= ~(u64)(X86_CR0_PE | X86_CR0_PG);
	return 0;
}

/* ------------------------------------------------------------- the CPUs */

/* Owned CPUs only. */
static void vmcs_clear(struct vmx_vcpu *v)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);

	vmclear(&v->vmcs_pa);
	if (c->current_vmcs == v)
		c->current_vmcs = NULL;
	v->launched = false;
	list_del_init(&v->active);
	WRITE_ONCE(v->cpu, -1);
}

int vmx_enable_cpu(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);

	if (!HVX_CAN_OWN_VMX || READ_ONCE(hvx_beside) || __read_cr4() & X86_CR4_VMXE)
		return 0;	/* each window finds its way */
	hvx_vmxe(true);
	if (vmxon(&c->vmxon_pa)) {
		hvx_vmxe(false);
		hvx_err("CPU %d: VMXON failed\n", raw_smp_processor_id());
		return -EIO;
	}
	c->owned = true;
	/* Whatever the TLB holds from before is nobody's. */
	invept(INV_ALL, 0);
	return 0;
}

void vmx_disable_cpu(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);
	struct vmx_vcpu *v, *tmp;

	if (!c->owned)
		return;		/* outside windows nothing is left behind */
	list_for_each_entry_safe(v, tmp, &c->active, active)
		vmcs_clear(v);
	c->owned = false;
	vmxoff();
	hvx_vmxe(false);
}

void vmx_free_cpus(void)
{
	free_percpu(vmxon_regions);
}

int vmx_alloc_cpus(void)
{
	int cpu;

	/* 4 KiB at most, SDM vol. 3 A.1, and zero but for the revision. */
	vmxon_regions = __alloc_percpu(PAGE_SIZE, PAGE_SIZE);
	if (!vmxon_regions)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = &per_cpu(vmx_cpus, cpu);

		INIT_LIST_HEAD(&c->active);
		*per_cpu_ptr(vmxon_regions, cpu) = vmx_caps.revision;
		c->vmxon_pa = hvx_percpu_pa(per_cpu_ptr(vmxon_regions, cpu));
	}
	return 0;
}

/* --------------------------------------------------------------- windows */

static int window_begin(struct vmx_cpu *c)
{
	u64 cr4 = __read_cr4();

	c->prev = NO_VMCS;
	c->window_on = !(cr4 & X86_CR4_VMXE);
	if (!c->window_on)
		return vmptrst(&c->prev);
	write_cr4(cr4 | X86_CR4_VMXE);
	if (!vmxon(&c->vmxon_pa))
		return 0;
	write_cr4(cr4);
	return -EIO;
}

static void window_end(struct vmx_cpu *c)
{
	if (c->window_on) {
		vmxoff();
		write_cr4(__read_cr4() & ~X86_CR4_VMXE);
	} else if (c->prev != NO_VMCS) {
		vmptrld(&c->prev);
	}
}

int vmcs_open(struct vmx_vcpu *v)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);
	int cpu = smp_processor_id();

	if (WARN_ON_ONCE(v->cpu >= 0 && v->cpu != cpu))
		return -EIO;
	if (likely(c->owned && c->current_vmcs == v)) {
		v->open = true;
		return 0;
	}
	if (!c->owned && window_begin(c))
		return -EIO;
	/* A new VMCS is of no known state before VMCLEAR. */
	if ((v->host_cpu < 0 && v->cpu < 0 && vmclear(&v->vmcs_pa)) || vmptrld(&v->vmcs_pa)) {
		if (!c->owned)
			window_end(c);
		return -EIO;
	}
	if (c->owned) {
		c->current_vmcs = v;
		if (v->cpu < 0)
			list_add(&v->active, &c->active);
		WRITE_ONCE(v->cpu, cpu);
	}
	v->open = true;
	return 0;
}

bool vmcs_close(struct vmx_vcpu *v)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);

	v->open = false;
	if (likely(c->owned))
		return true;
	vmclear(&v->vmcs_pa);
	v->launched = false;
	window_end(c);
	return false;
}

static void clear_ipi(void *arg)
{
	struct vmx_vcpu *v = arg;

	/* It may have been cleared meanwhile, by KVM's arrival or as the CPU went down. */
	if (v->cpu == smp_processor_id())
		vmcs_clear(v);
}

void vmcs_migrate(struct vmx_vcpu *v)
{
	int cpu = READ_ONCE(v->cpu);

	if (cpu >= 0 && cpu != smp_processor_id())
		smp_call_function_single(cpu, clear_ipi, v, 1);
}

void vmcs_release(struct vmx_vcpu *v)
{
	int cpu = READ_ONCE(v->cpu);

	if (cpu >= 0)
		smp_call_function_single(cpu, clear_ipi, v, 1);
}

/* ---------------------------------------------------------------- fields */

#define SEGMENT(i)	[4 * (i) + F_SELECTOR] = GUEST_ES_SELECTOR + 2 * (i),	\
			[4 * (i) + F_LIMIT] = GUEST_ES_LIMIT + 2 * (i),		\
			[4 * (i) + F_RIGHTS] = GUEST_ES_AR_BYTES + 2 * (i),	\
			[4 * (i) + F_BASE] = GUEST_ES_BASE + 2 * (i)

const u16 vmx_encoding[F_NR] = {
	SEGMENT(0), SEGMENT(1), SEGMENT(2), SEGMENT(3),
	SEGMENT(4), SEGMENT(5), SEGMENT(6), SEGMENT(7),
	[F_GDTR_BASE] = GUEST_GDTR_BASE, [F_GDTR_LIMIT] = GUEST_GDTR_LIMIT,
	[F_IDTR_BASE] = GUEST_IDTR_BASE, [F_IDTR_LIMIT] = GUEST_IDTR_LIMIT,
	[F_CR0] = GUEST_CR0, [F_CR3] = GUEST_CR3, [F_CR4] = GUEST_CR4,
	[F_SYSENTER_CS] = GUEST_SYSENTER_CS,
	[F_SYSENTER_ESP] = GUEST_SYSENTER_ESP, [F_SYSENTER_EIP] = GUEST_SYSENTER_EIP,
	[F_PDPTE0] = GUEST_PDPTR0, [F_PDPTE1] = GUEST_PDPTR1,
	[F_PDPTE2] = GUEST_PDPTR2, [F_PDPTE3] = GUEST_PDPTR3,
	[F_RSP] = GUEST_RSP, [F_RIP] = GUEST_RIP, [F_RFLAGS] = GUEST_RFLAGS,
	[F_INT_STATE] = GUEST_INTERRUPTIBILITY_INFO,
	[F_PENDING_DBG] = GUEST_PENDING_DBG_EXCEPTIONS,
	[F_CR0_SHADOW] = CR0_READ_SHADOW, [F_CR4_SHADOW] = CR4_READ_SHADOW,
	[F_CR4_MASK] = CR4_GUEST_HOST_MASK,
	[F_EFER] = GUEST_IA32_EFER, [F_DR7] = GUEST_DR7,
	[F_PROC] = CPU_BASED_VM_EXEC_CONTROL, [F_PROC2] = SECONDARY_VM_EXEC_CONTROL,
	[F_ENTRY] = VM_ENTRY_CONTROLS, [F_EXCEPTIONS] = EXCEPTION_BITMAP,
	[F_TSC_OFFSET] = TSC_OFFSET, [F_TSC_MULT] = TSC_MULTIPLIER,
	[F_TPR_THRESHOLD] = TPR_THRESHOLD, [F_PIN] = PIN_BASED_VM_EXEC_CONTROL,
};

/* Read a field that the cache does not have, and where a window is dear, all. All zero when VMX is gone. */
u64 vmcs_fetch(struct vmx_vcpu *v, enum vmx_field f)
{
	u64 want = BIT_ULL(f);
	unsigned long flags;

	preempt_disable();
	if (!irqs_disabled())
		vmcs_migrate(v);
	local_irq_save(flags);
	if (!__this_cpu_read(vmx_cpus.owned))
		want = GENMASK_ULL(F_OURS - 1, 0);
	want &= ~v->valid;
	if (!vmcs_open(v)) {
		v->valid |= want;
		for (; want; want &= want - 1)
			v->val[__ffs64(want)] = vmcs_read(vmx_encoding[__ffs64(want)]);
		vmcs_close(v);
	}
	local_irq_restore(flags);
	preempt_enable();
	return v->val[f];
}

void vmcs_write_dirty(struct vmx_vcpu *v)
{
	while (v->dirty) {
		int f = __ffs64(v->dirty);

		if (!vmcs_write(vmx_encoding[f], v->val[f]))
			pr_err_ratelimited("hvx: VMWRITE of field 0x%x failed\n", vmx_encoding[f]);
		v->dirty &= v->dirty - 1;
	}
}

/* Translations carry the VPID and the EPT root: SDM vol. 3 "Caching Translation Information". */
void vmcs_flush_tlb(struct vmx_vcpu *v)
{
	if (v->flush_ept)
		invept(INV_SINGLE, v->eptp);
	else if (v->flush_vpid)
		invvpid(INV_SINGLE, v->vpid);
	v->flush_ept = v->flush_vpid = false;
}

/* SDM vol. 3 "VM-Instruction Error Numbers": those that an entry can give. */
static const char *const error_name[] = {
	[4] = "VMLAUNCH with a VMCS that is not clear",
	[5] = "VMRESUME with a VMCS that is not launched",
	[7] = "an invalid control field",
	[8] = "an invalid host-state field",
	[26] = "events are blocked by MOV SS",
};

/*
 * An entry was refused for its controls: which one it was, as its VMCS encoding (0: not found), and
 * in *bits what is wrong of it. SDM vol. 3 "Checks on VMX Controls", those that can go wrong here.
 */
static u32 wrong_control(u64 *bits)
{
	u64 event = vmcs_read(VM_ENTRY_INTR_INFO_FIELD);
	u64 code = vmcs_read(VM_ENTRY_EXCEPTION_ERROR_CODE);
	u64 tpr = vmcs_read(TPR_THRESHOLD);
	int i;

	for (i = 0; i < NR_KINDS; i++) {
		u32 val = vmcs_read(kinds[i].field);

		*bits = (val & ~ctl_max[i]) | (ctl_min[i] & ~val);
		if (*bits)
			return kinds[i].field;
	}
	*bits = event & INTR_INFO_DELIVER_CODE_MASK ? code >> 16 << 16 : 0;
	if (event & INTR_INFO_VALID_MASK && *bits)
		return VM_ENTRY_EXCEPTION_ERROR_CODE;
	*bits = event & INTR_INFO_VALID_MASK ? event : tpr;
	return event & INTR_INFO_VALID_MASK ? VM_ENTRY_INTR_INFO_FIELD : tpr ? TPR_THRESHOLD : 0;
}

void vmcs_explain(struct vmx_vcpu *v)
{
	const char *name = v->error < ARRAY_SIZE(error_name) ? error_name[v->error] : NULL;
	u32 field = 0;
	u64 bits = 0;

	if (v->error == 7)
		field = wrong_control(&bits);
	v->qual = (u64)field << 32 | (u32)bits;
	pr_err_ratelimited("hvx: VM entry failed, VM-instruction error %u: %s (field 0x%x, bits 0x%llx)\n",
			   v->error, name ?: "see the manual", field, bits);
}

/* In a window, after an entry that was refused for the guest's state. Segments the VMM looks at. */
void vmcs_explain_state(struct vmx_vcpu *v)
{
	pr_err_ratelimited("hvx: VM entry refused, reason 0x%x, qualification %llu; CR0 0x%llx CR4 0x%llx EFER 0x%llx RFLAGS 0x%llx, blocking %llu, event 0x%llx\n",
			   v->reason, v->qual, vmcs_read(GUEST_CR0), vmcs_read(GUEST_CR4),
			   vmcs_read(GUEST_IA32_EFER), vmcs_read(GUEST_RFLAGS),
			   vmcs_read(GUEST_INTERRUPTIBILITY_INFO), vmcs_read(VM_ENTRY_INTR_INFO_FIELD));
}
