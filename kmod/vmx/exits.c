// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to do about each VM exit: translate it and hand it to the shared code.
 *
 * handle_exit() runs with preemption off. A handler that needs to sleep says
 * HVX_SLOW and is called again, with preemption on, through handle_slow().
 */
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/debugreg.h>
#include <asm/msr-index.h>

#include "trace.h"
#include "vmx/vmx.h"

typedef enum hvx_next (*vmx_handler)(struct hvx_vcpu *vcpu);

#define EXIT_REASON_GETSEC	11
#define EXIT_REASON_RSM		17

#define DR6_FIXED		0xffff0ff0ULL
#define DR6_CAUSES		(DR_TRAP_BITS | DR_STEP | BIT(13))	/* those of a #DB exit's qualification */
#define DR7_GD			BIT(13)

/* Qualification and event bit 12: an IRET was cut short after it had unblocked NMIs. */
#define UNBLOCKED_NMI		BIT(12)

enum hvx_cpu_mode vmx_get_mode(struct hvx_vcpu *vcpu)
{
	u16 rights = vmx_get(to_vmx(vcpu), 4 * 1 + F_RIGHTS);

	if (vmx_get_efer(vcpu) & EFER_LMA && rights & VMX_AR_L)
		return HVX_MODE_64;
	if (!(vmx_get_cr(vcpu, 0) & X86_CR0_PE) || vcpu->rflags & X86_EFLAGS_VM)
		return HVX_MODE_16;
	return rights & VMX_AR_DB ? HVX_MODE_32 : HVX_MODE_16;
}

/* ------------------------------------------------------------ instructions */

#define SIMPLE_EXIT(name, call)						\
static enum hvx_next name(struct hvx_vcpu *vcpu)			\
{									\
	return call(vcpu, to_vmx(vcpu)->insn_len);			\
}

static enum hvx_next skip_insn(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_other++;
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

SIMPLE_EXIT(on_cpuid, hvx_exit_cpuid)
SIMPLE_EXIT(on_hlt, hvx_exit_hlt)
SIMPLE_EXIT(on_vmcall, hvx_exit_hypercall)
SIMPLE_EXIT(on_xsetbv, hvx_exit_xsetbv)
SIMPLE_EXIT(on_rdmsr, hvx_exit_rdmsr)
SIMPLE_EXIT(on_wrmsr, hvx_exit_wrmsr)
/* INVD, WBINVD: no device of the guest's reads memory past the cache. */
SIMPLE_EXIT(on_skip, skip_insn)

static enum hvx_next on_undefined(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_other++;
	hvx_inject_ud(vcpu);
	return HVX_REENTER;
}

/* No virtual performance counters: SDM vol. 2 "RDPMC", #GP for a counter that does not exist. */
static enum hvx_next on_rdpmc(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_other++;
	hvx_inject_gp(vcpu);
	return HVX_REENTER;
}

/* A spinning vCPU gives its time away. */
static enum hvx_next on_pause(struct hvx_vcpu *vcpu)
{
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vcpu->stats.exit_pause++;
	hvx_skip(vcpu, vcpu->rip + to_vmx(vcpu)->insn_len);
	yield();
	return HVX_REENTER;
}

static enum hvx_next on_io(struct hvx_vcpu *vcpu)
{
	/* SDM vol. 3 "Exit Qualification for I/O Instructions" */
	const struct vmx_vcpu *v = to_vmx(vcpu);
	bool write = !(v->qual & BIT(3));

	if (unlikely(v->qual & BIT(4)))
		return hvx_exit_emulate_pio(vcpu, write);
	return hvx_exit_pio(vcpu, v->qual >> 16, (v->qual & 7) + 1, write, vcpu->rip + v->insn_len);
}

/* --------------------------------------------------- host events, windows */

static enum hvx_next on_intr(struct hvx_vcpu *vcpu)
{
	/* Taken by the host already, when the run loop turned interrupts on. */
	vcpu->stats.exit_intr++;
	return HVX_REENTER;
}

static enum hvx_next on_window(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 window = v->reason == EXIT_REASON_NMI_WINDOW ? CPU_BASED_NMI_WINDOW_EXITING :
							   CPU_BASED_INTR_WINDOW_EXITING;

	vcpu->stats.exit_window++;
	vmx_set(v, F_PROC, v->val[F_PROC] & ~(u64)window);
	return HVX_REENTER;
}

/* The TPR went below the threshold: the run loop looks at the IRR again. */
static enum hvx_next on_tpr(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_window++;
	return HVX_REENTER;
}

/* ------------------------------------------------------------- exceptions */

static enum hvx_next on_step(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_exception++;
	return vcpu->debug_flags & HVX_DEBUG_STEP ? hvx_exit_debug(vcpu, 1, DR6_FIXED | DR_STEP) : HVX_REENTER;
}

static enum hvx_next on_exception(struct hvx_vcpu *vcpu)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);
	u64 causes = v->qual & DR6_CAUSES;

	if ((v->intr_info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR) {
		vcpu->stats.exit_nmi++;
		return HVX_REENTER;
	}
	vcpu->stats.exit_exception++;
	switch (v->intr_info & INTR_INFO_VECTOR_MASK) {
	case 1:
		if (vcpu->debug_flags & HVX_DEBUG_HW && causes & DR_TRAP_BITS)
			return hvx_exit_debug(vcpu, 1, DR6_FIXED | causes);
		/*
		 * The exit leaves DR6 alone: delivery sets it. Intercepted only so
		 * that a guest cannot keep the CPU in microcode by a #DB whose
		 * delivery raises #DB; #AC for the same reason.
		 */
		hvx_queue_exception(vcpu, 1, false, 0, causes);
		return HVX_REENTER;
	case 3:
		return hvx_exit_debug(vcpu, 3, 0);
	case 17:
		hvx_queue_exception(vcpu, 17, true, v->intr_code, 0);
		return HVX_REENTER;
	}
	return HVX_REENTER;	/* #MC, the host's, which has handled it */
}

/* ------------------------------------------------------ control registers */

static u64 gpr(struct hvx_vcpu *vcpu, int reg)
{
	return vmx_get_mode(vcpu) == HVX_MODE_64 ? vcpu->regs[reg] : (u32)vcpu->regs[reg];
}

/* SDM vol. 2 "MOV—Move to/from Control Registers": what raises #GP. */
static bool cr4_valid(struct hvx_vcpu *vcpu, u64 val)
{
	u64 efer = vmx_get_efer(vcpu), change = val ^ vmx_get_cr(vcpu, 4);

	if (val & ~vcpu->cr4_allowed)
		return false;
	if (efer & EFER_LMA && (!(val & X86_CR4_PAE) || change & X86_CR4_LA57))
		return false;
	if (change & val & X86_CR4_PCIDE && (!(efer & EFER_LMA) || vmx_get_cr(vcpu, 3) & 0xfff))
		return false;
	return true;
}

/* The whole MOV, as with the bits that make it exit others may change: paging switches long mode. */
static bool mov_to_cr0(struct hvx_vcpu *vcpu, u64 val)
{
	u64 efer = vmx_get_efer(vcpu), change = val ^ vmx_get_cr(vcpu, 0);
	bool cs_l = vmx_get(to_vmx(vcpu), 4 * 1 + F_RIGHTS) & VMX_AR_L;

	if (val >> 32 || (val & X86_CR0_PG && !(val & X86_CR0_PE)) ||
	    (val & X86_CR0_NW && !(val & X86_CR0_CD)))
		return false;
	if (change & val & X86_CR0_PG && efer & EFER_LME) {
		if (!(vmx_get_cr(vcpu, 4) & X86_CR4_PAE) || cs_l ||
		    (vmx_get(to_vmx(vcpu), 4 * 7 + F_RIGHTS) & 0xf) != 11)
			return false;
		efer |= EFER_LMA;
	} else if (change & ~val & X86_CR0_PG) {
		if ((efer & EFER_LMA && cs_l) || vmx_get_cr(vcpu, 4) & X86_CR4_PCIDE)
			return false;
		efer &= ~(u64)EFER_LMA;
	}
	if (change & X86_CR0_PG)
		vmx_set_efer(vcpu, efer);
	vmx_set_cr0(vcpu, (val & VMX_CR0_BITS) | X86_CR0_ET);
	return true;
}

/* Writes to CR0 and CR4 that touch what the guest does not own. CR3 and CR8 do not exit. */
static enum hvx_next on_cr(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int cr = v->qual & 0xf;
	u64 val = gpr(vcpu, v->qual >> 8 & 0xf);
	bool ok;

	vcpu->stats.exit_cr++;
	if (cr == 0) {
		ok = mov_to_cr0(vcpu, val);
	} else {
		ok = cr4_valid(vcpu, val);
		if (ok)
			vmx_set_cr4(vcpu, val);
	}
	if (!ok) {
		hvx_inject_gp(vcpu);
		return HVX_REENTER;
	}
	/* The entry asks again where the memory is not there now. */
	if (v->pdpte_stale)
		vmx_load_pdptes(vcpu, false);
	hvx_skip(vcpu, vcpu->rip + v->insn_len);
	return HVX_REENTER;
}

/* The PAE root is to be read, from memory that has to be brought in. */
static enum hvx_next on_pdpte(struct hvx_vcpu *vcpu)
{
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vmx_load_pdptes(vcpu, true);
	return HVX_REENTER;
}

/* The guest's own debug registers (SDM vol. 3 "Debug Registers"). DR4 and 5 are 6 and 7 unless CR4.DE. */
static bool dr_access(struct hvx_vcpu *vcpu, int dr, u64 *val, bool write)
{
	if (dr == 4 || dr == 5) {
		if (vmx_get_cr(vcpu, 4) & X86_CR4_DE)
			return false;
		dr += 2;
	}
	if (!write) {
		*val = dr < 4 ? vcpu->db[dr] : dr == 6 ? vcpu->dr6 : vcpu->dr7;
		return true;
	}
	if (dr < 4)
		vcpu->db[dr] = *val;
	else if (dr == 6)
		vcpu->dr6 = (*val & 0xe00f) | DR6_FIXED;
	else
		vcpu->dr7 = (*val & 0xffff2bff) | 0x400;
	vmx_update_debug(vcpu);
	return true;
}

static enum hvx_next on_dr(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int dr = v->qual & 7, reg = v->qual >> 8 & 0xf;
	bool write = !(v->qual & BIT(4));
	u64 val;

	/* DR0-3 are loaded on the way in: leave, so that a change takes effect. */
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vcpu->stats.exit_cr++;
	/* The exit comes before the checks that could fault (SDM vol. 3 "Relative Priority"), but for the CPL. */
	if (vcpu->dr7 & DR7_GD) {
		hvx_queue_exception(vcpu, 1, false, 0, BIT(13));
		return HVX_REENTER;
	}
	val = gpr(vcpu, reg);
	if (write && dr >= 4 && val >> 32) {
		hvx_inject_gp(vcpu);
		return HVX_REENTER;
	}
	if (!dr_access(vcpu, dr, &val, write)) {
		hvx_inject_ud(vcpu);
		return HVX_REENTER;
	}
	if (!write)
		vcpu->regs[reg] = vmx_get_mode(vcpu) == HVX_MODE_64 ? val : (u32)val;
	hvx_skip(vcpu, vcpu->rip + v->insn_len);
	return HVX_REENTER;
}

/* ----------------------------------------------------------- page faults */

/* SDM vol. 3 "Exit Qualification for EPT Violations" */
static u32 ept_access(u64 qual)
{
	if (qual & BIT(1))
		return HVX_ACC_WRITE;
	return qual & BIT(2) ? HVX_ACC_EXEC : HVX_ACC_READ;
}

static enum hvx_next on_ept_violation(struct hvx_vcpu *vcpu)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);

	return hvx_exit_page_fault(vcpu, v->gpa, ept_access(v->qual), NULL, 0);
}

/* ------------------------------------------------------------- the end */

static enum hvx_next on_triple_fault(struct hvx_vcpu *vcpu)
{
	return hvx_exit_to_user(vcpu, HVX_EXIT_SHUTDOWN);
}

static enum hvx_next fail(struct hvx_vcpu *vcpu, u32 reason)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);

	return hvx_exit_fail(vcpu, reason, reason == HVX_EXIT_INTERNAL ? HVX_INTERNAL_UNHANDLED : 0,
			     v->reason, v->qual, v->reason == EXIT_VMFAIL ? v->error : v->gpa,
			     v->idt_info);
}

static const vmx_handler handlers[] = {
	[EXIT_REASON_EXCEPTION_NMI] = on_exception,
	[EXIT_REASON_EXTERNAL_INTERRUPT] = on_intr,
	[EXIT_REASON_TRIPLE_FAULT] = on_triple_fault,
	[EXIT_REASON_INIT_SIGNAL] = on_intr,
	[EXIT_REASON_INTERRUPT_WINDOW] = on_window,
	[EXIT_REASON_NMI_WINDOW] = on_window,
	[EXIT_REASON_CPUID] = on_cpuid,
	[EXIT_REASON_GETSEC] = on_undefined,
	[EXIT_REASON_HLT] = on_hlt,
	[EXIT_REASON_INVD] = on_skip,
	[EXIT_REASON_RDPMC] = on_rdpmc,
	[EXIT_REASON_RSM] = on_undefined,
	[EXIT_REASON_VMCALL] = on_vmcall,
	[EXIT_REASON_VMCLEAR ... EXIT_REASON_VMON] = on_undefined,
	[EXIT_REASON_CR_ACCESS] = on_cr,
	[EXIT_REASON_DR_ACCESS] = on_dr,
	[EXIT_REASON_IO_INSTRUCTION] = on_io,
	[EXIT_REASON_MSR_READ] = on_rdmsr,
	[EXIT_REASON_MSR_WRITE] = on_wrmsr,
	[EXIT_REASON_MWAIT_INSTRUCTION] = on_undefined,
	[EXIT_REASON_MONITOR_TRAP_FLAG] = on_step,
	[EXIT_REASON_MONITOR_INSTRUCTION] = on_undefined,
	[EXIT_REASON_PAUSE_INSTRUCTION] = on_pause,
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = on_tpr,
	[EXIT_REASON_EPT_VIOLATION] = on_ept_violation,
	[EXIT_REASON_INVEPT] = on_undefined,
	[EXIT_REASON_INVVPID] = on_undefined,
	[EXIT_REASON_WBINVD] = on_skip,
	[EXIT_REASON_XSETBV] = on_xsetbv,
	[EXIT_REASON_ENCLS] = on_undefined,
};

static enum hvx_next dispatch(struct hvx_vcpu *vcpu)
{
	u32 reason = to_vmx(vcpu)->reason;

	if (likely(reason < ARRAY_SIZE(handlers))) {
		reason = array_index_nospec(reason, ARRAY_SIZE(handlers));
		if (likely(handlers[reason]))
			return handlers[reason](vcpu);
	}
	if (reason == EXIT_PDPTE)
		return on_pdpte(vcpu);
	if (reason == EXIT_LOST)
		return -EIO;
	if (reason == EXIT_VMFAIL || reason & VMX_EXIT_REASONS_FAILED_VMENTRY)
		return fail(vcpu, HVX_EXIT_FAIL_ENTRY);
	return fail(vcpu, HVX_EXIT_INTERNAL);
}

enum hvx_next vmx_handle_exit(struct hvx_vcpu *vcpu)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);

	trace_hvx_exit(vcpu, v->reason, v->qual, v->reason == EXIT_REASON_EPT_VIOLATION ? v->gpa :
		       v->intr_info);
	return dispatch(vcpu);
}

/* Preemption on: the same exit again; where fetching failed, bring the page in. */
int vmx_handle_slow(struct hvx_vcpu *vcpu)
{
	enum hvx_next next = dispatch(vcpu);

	return next == HVX_SLOW ? HVX_REENTER : next;
}

/*
 * After an exit: which event was delivered, and which was cut short and must
 * go in again (SDM vol. 3 "Information for VM Exits That Occur During Event
 * Delivery"). Software interrupts are not re-injected: RIP still points at the
 * instruction, which runs again.
 */
void vmx_complete_events(struct hvx_vcpu *vcpu)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);
	struct hvx_pending *ev = &vcpu->ev;
	u32 info = v->idt_info;

	ev->exc_injected = ev->irq_injected = ev->nmi_injected = false;
	ev->nmi_masked = v->val[F_INT_STATE] & GUEST_INTR_STATE_NMI;
	if (likely(!(info & VECTORING_INFO_VALID_MASK))) {
		/* SDM vol. 3 "Resuming Guest Software after Handling an Exception" */
		if (unlikely((v->reason == EXIT_REASON_EPT_VIOLATION && v->qual & UNBLOCKED_NMI) ||
			     (v->intr_info & UNBLOCKED_NMI &&
			      (v->intr_info & INTR_INFO_VECTOR_MASK) != 8)))
			ev->nmi_masked = true;
		return;
	}
	switch (info & VECTORING_INFO_TYPE_MASK) {
	case INTR_TYPE_EXT_INTR:
		ev->irq_injected = true;
		ev->irq_vector = info & VECTORING_INFO_VECTOR_MASK;
		break;
	case INTR_TYPE_NMI_INTR:
		ev->nmi_injected = true;
		ev->nmi_masked = true;
		break;
	case INTR_TYPE_HARD_EXCEPTION:
		ev->exc_injected = true;
		ev->exc_vector = info & VECTORING_INFO_VECTOR_MASK;
		ev->exc_has_code = info & VECTORING_INFO_DELIVER_CODE_MASK;
		ev->exc_code = ev->exc_has_code ? v->idt_code : 0;
		break;
	}
}
