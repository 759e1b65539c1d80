// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to do about each VM exit: translate it and hand it to the shared code.
 *
 * handle_exit() runs with preemption off. A handler that needs to sleep says
 * HVX_SLOW and is called again with preemption on.
 */
#include "irq/lapic.h"
#include "trace.h"
#include "vmx/vmx.h"

typedef enum hvx_next (*vmx_handler)(struct hvx_vcpu *vcpu, unsigned int len);

#define EXIT_REASON_GETSEC	11
#define EXIT_REASON_RSM		17

/* Those of a #DB exit's qualification. */
#define DR6_CAUSES		(DR_TRAP_BITS | DR_STEP | HVX_DR_GD)

/* ------------------------------------------------------------ instructions */

static enum hvx_next on_io(struct hvx_vcpu *vcpu, unsigned int len)
{
	/* SDM vol. 3 "Exit Qualification for I/O Instructions" */
	const struct vmx_vcpu *v = to_vmx(vcpu);
	bool write = !(v->qual & BIT(3));

	if (unlikely(v->qual & BIT(4)))
		return hvx_exit_emulate_pio(vcpu, write);
	return hvx_exit_pio(vcpu, v->qual >> 16, (v->qual & 7) + 1, write, vcpu->rip + len);
}

static enum hvx_next on_msr(struct hvx_vcpu *vcpu, unsigned int len)
{
	return hvx_exit_msr(vcpu, len, to_vmx(vcpu)->reason == EXIT_REASON_MSR_WRITE);
}

/* --------------------------------------------------- host events, windows */

static enum hvx_next on_intr(struct hvx_vcpu *vcpu, unsigned int len)
{
	/* Taken by the host already: from vmx_enter(), or as the run loop turned interrupts on. */
	vcpu->stats.exit_intr++;
	return HVX_REENTER;
}

static enum hvx_next on_window(struct hvx_vcpu *vcpu, unsigned int len)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 window = v->reason == EXIT_REASON_NMI_WINDOW ? CPU_BASED_NMI_WINDOW_EXITING :
							   CPU_BASED_INTR_WINDOW_EXITING;

	vcpu->stats.exit_window++;
	vmx_set(v, F_PROC, v->val[F_PROC] & ~(u64)window);
	return HVX_REENTER;
}

/* The TPR went below the threshold: the run loop looks at the IRR again. */
static enum hvx_next on_tpr(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_window++;
	return HVX_REENTER;
}

/* The EOI of a level-triggered vector, done. */
static enum hvx_next on_eoi(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_msr++;
	hvx_lapic_eoi_done(vcpu->lapic, to_vmx(vcpu)->qual);
	return HVX_REENTER;
}

/* The instruction is done, and the page written; what that means the CPU leaves to software. */
static enum hvx_next on_apic_write(struct hvx_vcpu *vcpu, unsigned int len)
{
	u32 offset = to_vmx(vcpu)->qual & 0xff0;

	vcpu->stats.exit_mmio++;
	hvx_lapic_mmio(vcpu->lapic, offset, true, vcpu->lapic->regs[offset / 4]);
	return HVX_REENTER;
}

/* SDM vol. 3 "Exit Qualification for APIC-Access VM Exits": where in the xAPIC's page, and how. */
static enum hvx_next on_apic_access(struct hvx_vcpu *vcpu, unsigned int len)
{
	u64 qual = to_vmx(vcpu)->qual;

	return hvx_exit_mmio(vcpu, vcpu->lapic->mmio_page | (qual & 0xfff), (qual >> 12 & 15) == 1,
			     NULL, 0);
}

static enum hvx_next on_timer(struct hvx_vcpu *vcpu, unsigned int len)
{
	hvx_request(vcpu, HVX_REQ_TIMER);
	return HVX_REENTER;
}

/* ------------------------------------------------------------- exceptions */

static enum hvx_next on_step(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_exception++;
	if (!(vcpu->debug_flags & HVX_DEBUG_STEP))
		return HVX_REENTER;
	return hvx_exit_debug(vcpu, 1, HVX_DR6_FIXED | DR_STEP);
}

static enum hvx_next on_exception(struct hvx_vcpu *vcpu, unsigned int len)
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
			return hvx_exit_debug(vcpu, 1, HVX_DR6_FIXED | causes);
		/*
		 * The exit leaves DR6 alone: delivery sets it. Intercepted only so
		 * that a guest cannot keep the CPU in microcode by a #DB whose
		 * delivery raises #DB; #AC for the same reason.
		 */
		return hvx_queue_exception(vcpu, 1, false, 0, causes);
	case 3:
		return hvx_exit_debug(vcpu, 3, 0);
	case 17:
		return hvx_queue_exception(vcpu, 17, true, v->intr_code, 0);
	}
	return HVX_REENTER;	/* #MC, the host's, which has handled it */
}

/* ------------------------------------------------------ control registers */

/* Writes to CR0 and CR4 that touch what the guest does not own. CR3 and CR8 do not exit. */
static enum hvx_next on_cr(struct hvx_vcpu *vcpu, unsigned int len)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	enum hvx_next next = hvx_exit_mov_to_cr(vcpu, v->qual & 0xf, v->qual >> 8 & 0xf, len);

	/* The entry asks again where the memory is not there now. */
	if (v->pdpte_stale)
		vmx_load_pdptes(vcpu, false);
	return next;
}

/* There was no entry. The PAE root may have to be read, from memory that has to be brought in. */
static enum hvx_next on_again(struct hvx_vcpu *vcpu)
{
	if (!to_vmx(vcpu)->pdpte_stale)
		return HVX_REENTER;
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vmx_load_pdptes(vcpu, true);
	return HVX_REENTER;
}

static enum hvx_next on_dr(struct hvx_vcpu *vcpu, unsigned int len)
{
	u64 qual = to_vmx(vcpu)->qual;

	/* This exit comes before the CPL is looked at: SDM vol. 3, "MOV DR" among the exits. */
	if (hvx_cpl(vcpu))
		return hvx_exit_gp(vcpu, len);
	return hvx_exit_mov_dr(vcpu, qual & 7, qual >> 8 & 0xf, !(qual & BIT(4)), len);
}

/* ----------------------------------------------------------- page faults */

/* SDM vol. 3 "Exit Qualification for EPT Violations" */
static u32 ept_access(u64 qual)
{
	if (qual & BIT(1))
		return HVX_ACC_WRITE;
	return qual & BIT(2) ? HVX_ACC_EXEC : HVX_ACC_READ;
}

static enum hvx_next on_ept_violation(struct hvx_vcpu *vcpu, unsigned int len)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);

	return hvx_exit_page_fault(vcpu, v->gpa, ept_access(v->qual), NULL, 0);
}

/* ------------------------------------------------------------- the end */

static enum hvx_next fail(struct hvx_vcpu *vcpu, u32 reason, u32 suberror)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);

	return hvx_exit_fail(vcpu, reason, suberror, v->reason, v->qual,
			     v->reason == EXIT_VMFAIL ? v->error : v->gpa, v->idt_info);
}

/*
 * VT-x leaves these to software (SDM vol. 3 "Treatment of Task Switches"). The length
 * counts where an instruction did it: of events that is those whose type has its bit 2 set.
 */
static enum hvx_next on_task_switch(struct hvx_vcpu *vcpu, unsigned int len)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);
	u8 source = v->qual >> 30 & 3;

	vcpu->stats.exit_other++;
	if (source == HVX_TASK_GATE && !(v->idt_info & BIT(10)))
		len = 0;
	vcpu->run->task_switch = (struct hvx_exit_task_switch) {
		.selector = v->qual, .source = source, .insn_len = len,
	};
	return hvx_exit_to_user(vcpu, HVX_EXIT_TASK_SWITCH);
}

static const vmx_handler handlers[] = {
	[EXIT_REASON_EXCEPTION_NMI] = on_exception,
	[EXIT_REASON_EXTERNAL_INTERRUPT] = on_intr,
	[EXIT_REASON_TRIPLE_FAULT] = hvx_exit_shutdown,
	[EXIT_REASON_INIT_SIGNAL] = on_intr,
	[EXIT_REASON_INTERRUPT_WINDOW] = on_window,
	[EXIT_REASON_NMI_WINDOW] = on_window,
	[EXIT_REASON_TASK_SWITCH] = on_task_switch,
	[EXIT_REASON_CPUID] = hvx_exit_cpuid,
	[EXIT_REASON_GETSEC] = hvx_exit_ud,
	[EXIT_REASON_HLT] = hvx_exit_hlt,
	[EXIT_REASON_INVD] = hvx_exit_skip,
	[EXIT_REASON_RDPMC] = hvx_exit_gp,
	[EXIT_REASON_RSM] = hvx_exit_ud,
	[EXIT_REASON_VMCALL] = hvx_exit_hypercall,
	[EXIT_REASON_VMCLEAR ... EXIT_REASON_VMON] = hvx_exit_ud,
	[EXIT_REASON_CR_ACCESS] = on_cr,
	[EXIT_REASON_DR_ACCESS] = on_dr,
	[EXIT_REASON_IO_INSTRUCTION] = on_io,
	[EXIT_REASON_MSR_READ] = on_msr,
	[EXIT_REASON_MSR_WRITE] = on_msr,
	[EXIT_REASON_MWAIT_INSTRUCTION] = hvx_exit_ud,
	[EXIT_REASON_MONITOR_TRAP_FLAG] = on_step,
	[EXIT_REASON_MONITOR_INSTRUCTION] = hvx_exit_ud,
	[EXIT_REASON_PAUSE_INSTRUCTION] = hvx_exit_pause,
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = on_tpr,
	[EXIT_REASON_APIC_ACCESS] = on_apic_access,
	[EXIT_REASON_EOI_INDUCED] = on_eoi,
	[EXIT_REASON_APIC_WRITE] = on_apic_write,
	[EXIT_REASON_EPT_VIOLATION] = on_ept_violation,
	[EXIT_REASON_INVEPT] = hvx_exit_ud,
	[EXIT_REASON_INVVPID] = hvx_exit_ud,
	[EXIT_REASON_PREEMPTION_TIMER] = on_timer,
	[EXIT_REASON_PML_FULL] = on_tpr,	/* emptied already */
	[EXIT_REASON_WBINVD] = hvx_exit_skip,
	[EXIT_REASON_XSETBV] = hvx_exit_xsetbv,
	[EXIT_REASON_ENCLS] = hvx_exit_ud,
	/* For components that IA32_XSS does not have: they are not there. */
	[EXIT_REASON_XSAVES ... EXIT_REASON_XRSTORS] = hvx_exit_gp,
};

#define QUICK	(BIT_ULL(EXIT_REASON_CPUID) | BIT_ULL(EXIT_REASON_MSR_READ) |		\
		 BIT_ULL(EXIT_REASON_MSR_WRITE) | BIT_ULL(EXIT_REASON_IO_INSTRUCTION) |	\
		 BIT_ULL(EXIT_REASON_VMCALL))

/* Without the table, whose calls cost more. None of these says HVX_SLOW. */
static enum hvx_next handle_quickly(struct hvx_vcpu *vcpu, u32 reason, unsigned int len)
{
	if (reason == EXIT_REASON_CPUID)
		return hvx_exit_cpuid(vcpu, len);
	if (reason == EXIT_REASON_IO_INSTRUCTION)
		return on_io(vcpu, len);
	if (reason == EXIT_REASON_VMCALL)
		return hvx_exit_hypercall(vcpu, len);
	return hvx_exit_msr(vcpu, len, reason == EXIT_REASON_MSR_WRITE);
}

/*
 * Exits that come often and wait for no other CPU are answered in their window. An interrupt
 * that has come meanwhile, a kick's too, is the next exit. True: enter again.
 */
bool vmx_answer_quickly(struct hvx_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 reason = v->reason;

	if (reason >= 64 || !(QUICK & BIT_ULL(reason)) || unlikely(vcpu->pv.eoi_set))
		return false;
	trace_hvx_exit(vcpu, reason, v->qual, 0);
	v->reason = EXIT_HANDLED;
	v->next = handle_quickly(vcpu, reason, v->insn_len);
	/* For the run loop is all but registers and fields. Of these handlers WRMSR can do most. */
	if (v->next != HVX_REENTER || !hvx_goes_on(vcpu) ||
	    (reason == EXIT_REASON_MSR_WRITE &&
	     (v->flush_ept || v->flush_vpid || vcpu->lapic->near || v->apic != vmx_apic_controls(vcpu))))
		return false;
	vcpu->stats.exits++;
	trace_hvx_entry(vcpu, vcpu->rflags, vcpu->cr2, vcpu->cpu);
	return true;
}

enum hvx_next vmx_handle_exit(struct hvx_vcpu *vcpu)
{
	const struct vmx_vcpu *v = to_vmx(vcpu);
	u32 reason = v->reason;

	if (reason == EXIT_HANDLED)
		return v->next;
	trace_hvx_exit(vcpu, reason, v->qual, reason == EXIT_REASON_EPT_VIOLATION ? v->gpa :
		       v->intr_info);
	if (likely(reason < ARRAY_SIZE(handlers))) {
		reason = array_index_nospec(reason, ARRAY_SIZE(handlers));
		if (likely(handlers[reason]))
			return handlers[reason](vcpu, v->insn_len);
	}
	if (reason == EXIT_AGAIN)
		return on_again(vcpu);
	if (reason == EXIT_LOST)
		return -EIO;
	if (reason == EXIT_VMFAIL || reason & VMX_EXIT_REASONS_FAILED_VMENTRY)
		return fail(vcpu, HVX_EXIT_FAIL_ENTRY, 0);
	return fail(vcpu, HVX_EXIT_INTERNAL, HVX_INTERNAL_UNHANDLED);
}
