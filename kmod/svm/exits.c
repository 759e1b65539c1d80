// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to do about each #VMEXIT: translate it and hand it to the shared code.
 *
 * handle_exit() runs with preemption off. A handler that needs to sleep says
 * HVX_SLOW and is called again with preemption on.
 */
#include "trace.h"
#include "svm/svm.h"

/* ----------------------------------------------------------- instructions */

/*
 * The exiting instruction's length. CPUs with NRIPS say where the next one
 * begins; elsewhere the bytes are fetched and measured. 0: they could not be
 * fetched now. The caller returns HVX_SLOW; the run loop then brings the page
 * in, and the guest runs into the same exit again.
 */
static unsigned int insn_len(struct hvx_vcpu *vcpu, const u8 *opcode, int opcode_len)
{
	u64 len = to_vmcb(vcpu)->next_rip - vcpu->rip;
	u8 insn[HVX_INSN_MAX];
	int n;

	if (svm_features & SVM_FEAT_NRIPS && len - 1 < HVX_INSN_MAX)
		return len;
	/* Almost always there is no prefix, and two or three bytes are all there is to fetch. */
	n = hvx_fetch_insn(vcpu, insn, opcode_len, false);
	if (n == opcode_len && !memcmp(insn, opcode, opcode_len))
		return opcode_len;
	n = hvx_fetch_insn(vcpu, insn, sizeof(insn), false);
	return hvx_insn_len(insn, n, hvx_mode(vcpu), opcode, opcode_len, NULL);
}

static enum hvx_next on_msr(struct hvx_vcpu *vcpu, unsigned int len)
{
	static const u8 rdmsr[] = { 0x0f, 0x32 }, wrmsr[] = { 0x0f, 0x30 };
	bool write = to_vmcb(vcpu)->exit_info1;

	len = insn_len(vcpu, write ? wrmsr : rdmsr, 2);
	if (unlikely(!len))
		return HVX_SLOW;
	return hvx_exit_msr(vcpu, len, write);
}

/*
 * No device of the guest's reads memory past the cache: caches need not be
 * written back. QEMU's TCG reports INVD as WBINVD.
 */
static enum hvx_next on_wbinvd(struct hvx_vcpu *vcpu, unsigned int len)
{
	static const u8 invd[] = { 0x0f, 0x08 }, wbinvd[] = { 0x0f, 0x09 };

	len = insn_len(vcpu, wbinvd, 2) ?: insn_len(vcpu, invd, 2);
	if (!len)
		return HVX_SLOW;
	return hvx_exit_skip(vcpu, len);
}

/* --------------------------------------------------- host events, windows */

/* Taken by the host already: NMIs at STGI, the others when the run loop turned interrupts on. */
static enum hvx_next on_host(struct hvx_vcpu *vcpu, unsigned int len)
{
	if (to_vmcb(vcpu)->exit_code == EXIT_NMI)
		vcpu->stats.exit_nmi++;
	else
		vcpu->stats.exit_intr++;
	return HVX_REENTER;
}

static enum hvx_next on_vintr(struct hvx_vcpu *vcpu, unsigned int len)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vcpu->stats.exit_window++;
	svm->vmcb->vintr &= ~VINTR_WINDOW;
	svm->clean &= ~CLEAN_TPR;
	svm_intercept(svm, EXIT_VINTR, false);
	return HVX_REENTER;
}

/* The guest is about to leave its NMI handler. */
static enum hvx_next on_iret(struct hvx_vcpu *vcpu, unsigned int len)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vcpu->stats.exit_window++;
	svm->iret_done = true;
	svm->iret_rip = vcpu->rip;
	svm_intercept(svm, EXIT_IRET, false);
	return HVX_REENTER;
}

/* ------------------------------------------------------------- exceptions */

static enum hvx_next on_db(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 dr6 = vcpu->dr6;	/* the CPU has set it already */

	if (svm->nmi_step && !(vcpu->debug_flags & HVX_DEBUG_STEP)) {
		svm->nmi_step = false;
		vcpu->dr6 = dr6 &= ~(u64)DR_STEP;
		svm_update(vcpu);
		if (!(dr6 & DR_TRAP_BITS))
			return HVX_REENTER;
	}
	if (vcpu->debug_flags & (HVX_DEBUG_STEP | HVX_DEBUG_HW)) {
		vcpu->dr6 = dr6 & ~(u64)(DR_STEP | DR_TRAP_BITS);
		svm_update(vcpu);
		return hvx_exit_debug(vcpu, 1, dr6);
	}
	return hvx_queue_exception(vcpu, 1, false, 0, 0);
}

/*
 * #DB and #AC are intercepted so that a guest cannot keep the CPU in microcode by
 * one whose delivery raises it again. #MC is the host's, whose handler must see it.
 */
static enum hvx_next on_exception(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_exception++;
	switch (to_vmcb(vcpu)->exit_code) {
	case EXIT_DB:
		return on_db(vcpu);
	case EXIT_BP:
		return hvx_exit_debug(vcpu, 3, 0);
	case EXIT_AC:
		return hvx_queue_exception(vcpu, 17, true, 0, 0);
	case EXIT_MC:
		hvx_host_machine_check();
		break;
	}
	return HVX_REENTER;
}

/* -------------------------------------------- control and debug registers */

/* MOV to or from CR or DR: its length; 0: it could not be fetched, or is something else. */
static int fetch_mov(struct hvx_vcpu *vcpu, u8 opcode, u8 *rm)
{
	u8 insn[HVX_INSN_MAX];
	int n = hvx_fetch_insn(vcpu, insn, sizeof(insn), false);

	return hvx_insn_len(insn, n, hvx_mode(vcpu), (u8 []){ 0x0f, opcode }, 2, rm);
}

static enum hvx_next on_cr(struct hvx_vcpu *vcpu, unsigned int len)
{
	u32 code = to_vmcb(vcpu)->exit_code;
	u64 cr0;
	u8 rm;

	len = fetch_mov(vcpu, code < EXIT_CR0_WRITE ? 0x20 : 0x22, &rm);
	if (len && code >= EXIT_CR0_WRITE)
		return hvx_exit_mov_to_cr(vcpu, code - EXIT_CR0_WRITE, rm, len);
	if (!len && code & 15)	/* no CR0 */
		return HVX_SLOW;
	vcpu->stats.exit_cr++;
	cr0 = svm_get_cr(vcpu, 0);
	if (len) {
		vcpu->regs[rm] = svm_get_cr(vcpu, code);
		hvx_skip(vcpu, vcpu->rip + len);
	} else {
		/* CLTS, LMSW, SMSW: not worth doing. Without make-believe the CPU does them itself. */
		svm_set_cr(vcpu, 0, 0);
		to_vmcb(vcpu)->cr0 = cr0;
	}
	return HVX_REENTER;
}

static enum hvx_next on_dr(struct hvx_vcpu *vcpu, unsigned int len)
{
	u32 code = to_vmcb(vcpu)->exit_code;
	bool write = code >= EXIT_DR_WRITE;
	u8 rm;

	len = fetch_mov(vcpu, write ? 0x23 : 0x21, &rm);
	return len ? hvx_exit_mov_dr(vcpu, code & 7, rm, write, len) : HVX_SLOW;
}

/* ------------------------------------------------------- I/O, page faults */

static enum hvx_next on_ioio(struct hvx_vcpu *vcpu, unsigned int len)
{
	const struct vmcb *v = to_vmcb(vcpu);
	u64 info = v->exit_info1;

	if (unlikely(info & IOIO_STR))
		return hvx_exit_emulate_pio(vcpu, !(info & IOIO_IN));
	/* EXITINFO2 is the next instruction's RIP (APM vol. 2 15.10.2). */
	return hvx_exit_pio(vcpu, info >> 16, IOIO_SIZE(info), !(info & IOIO_IN), v->exit_info2);
}

static enum hvx_next on_npf(struct hvx_vcpu *vcpu)
{
	const struct vmcb *v = to_vmcb(vcpu);
	u32 access = v->exit_info1 & NPF_WRITE ? HVX_ACC_WRITE :
		     v->exit_info1 & NPF_FETCH ? HVX_ACC_EXEC : HVX_ACC_READ;

	return hvx_exit_page_fault(vcpu, v->exit_info2, access, v->insn,
				   svm_features & SVM_FEAT_DECODE ? v->insn_len & 15 : 0);
}

/* ------------------------------------------------------------- the end */

/* The entry failed, or ended in an exit that nobody asked for. */
static enum hvx_next fail(struct hvx_vcpu *vcpu)
{
	const struct vmcb *v = to_vmcb(vcpu);
	bool entry = (u32)v->exit_code == EXIT_INVALID;

	if (entry)
		svm_forget_entry(to_svm(vcpu));
	return hvx_exit_fail(vcpu, entry ? HVX_EXIT_FAIL_ENTRY : HVX_EXIT_INTERNAL,
			     entry ? 0 : HVX_INTERNAL_UNHANDLED, v->exit_code,
			     v->exit_info1, v->exit_info2, v->exit_int_info);
}

/* --------------------------------------------------------------- dispatch */

/* What is in this table is intercepted, but for what is so only at times. */
static const struct exit_row {
	enum hvx_next (*handle)(struct hvx_vcpu *vcpu, unsigned int len);
	u8 opcode[3], opcode_len;	/* of the instruction whose length the handler needs */
	bool at_times;
} exits[EXIT_NR] = {
#define INSN(handle, ...) { handle, { __VA_ARGS__ }, sizeof((u8 []){ __VA_ARGS__ }) }
	[EXIT_CR0_READ] = { on_cr, .at_times = true },
	[EXIT_CR4_READ] = { on_cr, .at_times = true },
	[EXIT_CR0_WRITE] = { on_cr, .at_times = true },
	[EXIT_CR4_WRITE] = { on_cr },
	[EXIT_CR8_WRITE] = { on_cr },
	[EXIT_DR_READ ... EXIT_DR_READ + 7] = { on_dr },
	[EXIT_DR_WRITE ... EXIT_DR_WRITE + 7] = { on_dr },
	[EXIT_DB] = { on_exception },
	[EXIT_BP] = { on_exception, .at_times = true },
	[EXIT_AC] = { on_exception },
	[EXIT_MC] = { on_exception },
	[EXIT_INTR] = { on_host },
	[EXIT_NMI] = { on_host },
	[EXIT_INIT] = { on_host },
	[EXIT_VINTR] = { on_vintr, .at_times = true },
	[EXIT_RDPMC] = { hvx_exit_gp },
	[EXIT_CPUID] = INSN(hvx_exit_cpuid, 0x0f, 0xa2),
	[EXIT_IRET] = { on_iret, .at_times = true },
	[EXIT_INVD] = { on_wbinvd },
	[EXIT_PAUSE] = INSN(hvx_exit_pause, 0xf3, 0x90),
	[EXIT_HLT] = INSN(hvx_exit_hlt, 0xf4),
	[EXIT_INVLPGA] = { hvx_exit_ud },
	[EXIT_IOIO] = { on_ioio },
	[EXIT_MSR] = { on_msr },
	[EXIT_SHUTDOWN] = { hvx_exit_shutdown },
	[EXIT_VMRUN] = { hvx_exit_ud },
	[EXIT_VMMCALL] = INSN(hvx_exit_hypercall, 0x0f, 0x01, 0xd9),
	[EXIT_VMLOAD ... EXIT_SKINIT] = { hvx_exit_ud },
	[EXIT_RDTSCP] = { hvx_exit_ud, .at_times = true },
	[EXIT_WBINVD] = { on_wbinvd },
	[EXIT_MONITOR] = { hvx_exit_ud },
	[EXIT_MWAIT] = { hvx_exit_ud },
	[EXIT_XSETBV] = INSN(hvx_exit_xsetbv, 0x0f, 0x01, 0xd1),
	[EXIT_RDPRU] = { hvx_exit_ud },
	[EXIT_INVLPGB] = { hvx_exit_ud },
	[EXIT_INVPCID] = { hvx_exit_ud, .at_times = true },
	[EXIT_TLBSYNC] = { hvx_exit_ud },
};

void svm_init_intercepts(struct svm_vcpu *svm)
{
	int code;

	for (code = 0; code < EXIT_NR; code++)
		svm_intercept(svm, code, exits[code].handle && !exits[code].at_times);
	svm_intercept(svm, EXIT_PAUSE, svm_features & SVM_FEAT_PAUSE);
}

enum hvx_next svm_handle_exit(struct hvx_vcpu *vcpu)
{
	const struct vmcb *v = to_vmcb(vcpu);
	u64 code = v->exit_code;
	const struct exit_row *row;
	unsigned int len = 0;

	trace_hvx_exit(vcpu, code, v->exit_info1, v->exit_info2);
	if (code == EXIT_NPF)
		return on_npf(vcpu);
	if (unlikely(code >= EXIT_NR))
		return fail(vcpu);
	row = &exits[array_index_nospec(code, EXIT_NR)];
	if (unlikely(!row->handle))
		return fail(vcpu);
	if (row->opcode_len) {
		len = insn_len(vcpu, row->opcode, row->opcode_len);
		if (unlikely(!len))
			return HVX_SLOW;
	}
	return row->handle(vcpu, len);
}
