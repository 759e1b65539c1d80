// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to do about each #VMEXIT: translate it and hand it to the shared code.
 *
 * handle_exit() runs with preemption off. A handler that needs to sleep says
 * HVX_SLOW and is called again, with preemption on, through handle_slow().
 */
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/debugreg.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "trace.h"
#include "svm/svm.h"

typedef enum hvx_next (*svm_handler)(struct hvx_vcpu *vcpu);

enum hvx_cpu_mode svm_get_mode(struct hvx_vcpu *vcpu)
{
	const struct vmcb_save *v = &to_svm(vcpu)->vmcb->save;

	if (v->efer & EFER_LMA && v->cs.attr & HVX_SEG_L)
		return HVX_MODE_64;
	if (!(v->cr0 & X86_CR0_PE) || v->rflags & X86_EFLAGS_VM)
		return HVX_MODE_16;
	return v->cs.attr & HVX_SEG_DB ? HVX_MODE_32 : HVX_MODE_16;
}

/* ------------------------------------------------------ instruction length */

/*
 * The exiting instruction's length. CPUs with NRIPS say where the next one
 * begins; elsewhere the bytes are fetched and measured. 0: they could not be
 * fetched now. The caller returns HVX_SLOW; slow_fetch() then brings the page
 * in, and the guest runs into the same exit again.
 */
static unsigned int insn_len(struct hvx_vcpu *vcpu, const u8 *opcode, int opcode_len)
{
	const struct vmcb *vmcb = to_svm(vcpu)->vmcb;
	u8 insn[HVX_INSN_MAX];
	int n;

	if (svm_features & SVM_FEAT_NRIPS && vmcb->ctl.next_rip > vcpu->rip &&
	    vmcb->ctl.next_rip - vcpu->rip <= HVX_INSN_MAX)
		return vmcb->ctl.next_rip - vcpu->rip;
	/* Almost always there is no prefix, and two or three bytes are all there is to fetch. */
	n = hvx_fetch_insn(vcpu, insn, opcode_len, false);
	if (n == opcode_len && !memcmp(insn, opcode, opcode_len))
		return opcode_len;
	n = hvx_fetch_insn(vcpu, insn, sizeof(insn), false);
	return hvx_insn_len(insn, n, svm_get_mode(vcpu), opcode, opcode_len, NULL);
}

/*
 * Preemption on: make the instruction's page present. If it cannot be read at
 * all the guest's own fetch decides what happens.
 */
static int slow_fetch(struct hvx_vcpu *vcpu)
{
	u8 insn[HVX_INSN_MAX];

	hvx_fetch_insn(vcpu, insn, sizeof(insn), true);
	return HVX_REENTER;
}

#define SIMPLE_EXIT(name, call, ...)					\
static enum hvx_next name(struct hvx_vcpu *vcpu)			\
{									\
	static const u8 opcode[] = { __VA_ARGS__ };			\
	unsigned int len = insn_len(vcpu, opcode, sizeof(opcode));	\
									\
	return likely(len) ? call(vcpu, len) : HVX_SLOW;		\
}

static enum hvx_next skip_insn(struct hvx_vcpu *vcpu, unsigned int len)
{
	vcpu->stats.exit_other++;
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

SIMPLE_EXIT(on_cpuid, hvx_exit_cpuid, 0x0f, 0xa2)
SIMPLE_EXIT(on_hlt, hvx_exit_hlt, 0xf4)
SIMPLE_EXIT(on_vmmcall, hvx_exit_hypercall, 0x0f, 0x01, 0xd9)
SIMPLE_EXIT(on_xsetbv, hvx_exit_xsetbv, 0x0f, 0x01, 0xd1)
SIMPLE_EXIT(on_rdmsr, hvx_exit_rdmsr, 0x0f, 0x32)
SIMPLE_EXIT(on_wrmsr, hvx_exit_wrmsr, 0x0f, 0x30)
SIMPLE_EXIT(on_wbinvd, skip_insn, 0x0f, 0x09)

/*
 * No device of the guest's reads memory past the cache: caches need not be
 * written back. QEMU's TCG reports INVD as WBINVD.
 */
static enum hvx_next on_invd(struct hvx_vcpu *vcpu)
{
	static const u8 opcode[] = { 0x0f, 0x08 };
	unsigned int len = insn_len(vcpu, opcode, sizeof(opcode));

	return len ? skip_insn(vcpu, len) : on_wbinvd(vcpu);
}

static enum hvx_next on_msr(struct hvx_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->ctl.exit_info1 ? on_wrmsr(vcpu) : on_rdmsr(vcpu);
}

static enum hvx_next on_undefined(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_other++;
	hvx_inject_ud(vcpu);
	return HVX_REENTER;
}

/* No virtual performance counters: APM vol. 3 "RDPMC", #GP for a counter that does not exist. */
static enum hvx_next on_rdpmc(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_other++;
	hvx_inject_gp(vcpu);
	return HVX_REENTER;
}

/* A spinning vCPU gives its time away; the intercept repeats the PAUSE, which does no harm. */
static enum hvx_next on_pause(struct hvx_vcpu *vcpu)
{
	static const u8 opcode[] = { 0xf3, 0x90 };
	unsigned int len;

	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	vcpu->stats.exit_pause++;
	len = insn_len(vcpu, opcode, sizeof(opcode));
	if (len)
		hvx_skip(vcpu, vcpu->rip + len);
	yield();
	return HVX_REENTER;
}

/* --------------------------------------------------- host events, windows */

static enum hvx_next on_intr(struct hvx_vcpu *vcpu)
{
	/* Taken by the host already, when the run loop turned interrupts on. */
	vcpu->stats.exit_intr++;
	return HVX_REENTER;
}

static enum hvx_next on_nmi(struct hvx_vcpu *vcpu)
{
	/* Taken by the host at STGI. */
	vcpu->stats.exit_nmi++;
	return HVX_REENTER;
}

static enum hvx_next on_vintr(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vcpu->stats.exit_window++;
	svm->window = false;
	svm->vmcb->ctl.vintr &= ~(VINTR_IRQ | VINTR_PRIO(0xf) | VINTR_IGN_TPR);
	svm->vmcb->ctl.icpt3 &= ~ICPT3_VINTR;
	mark_dirty(svm, CLEAN_ICPT | CLEAN_TPR);
	return HVX_REENTER;
}

/* The guest is about to leave its NMI handler. */
static enum hvx_next on_iret(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vcpu->stats.exit_window++;
	svm->iret = false;
	svm->iret_done = true;
	svm->iret_rip = vcpu->rip;
	svm->vmcb->ctl.icpt3 &= ~ICPT3_IRET;
	mark_dirty(svm, CLEAN_ICPT);
	return HVX_REENTER;
}

/* ------------------------------------------------------------- exceptions */

static enum hvx_next on_db(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 dr6 = svm->vmcb->save.dr6;

	vcpu->stats.exit_exception++;
	if (svm->nmi_step) {
		svm->nmi_step = false;
		vcpu->rflags &= ~(u64)(X86_EFLAGS_TF | X86_EFLAGS_RF);
		svm->iret_done = false;
		vcpu->ev.nmi_masked = false;
		svm->vmcb->save.dr6 = vcpu->dr6 = dr6 & ~(u64)DR_STEP;
		mark_dirty(svm, CLEAN_DR);
		if (!(vcpu->debug_flags & HVX_DEBUG_STEP) && !(dr6 & DR_TRAP_BITS))
			return HVX_REENTER;
	}
	if (vcpu->debug_flags & (HVX_DEBUG_STEP | HVX_DEBUG_HW)) {
		svm->vmcb->save.dr6 = vcpu->dr6 = dr6 & ~(u64)(DR_STEP | DR_TRAP_BITS);
		mark_dirty(svm, CLEAN_DR);
		return hvx_exit_debug(vcpu, 1, dr6);
	}
	/*
	 * The CPU has set DR6 already. Intercepted only so that a guest cannot
	 * keep the CPU in microcode by a #DB whose delivery raises #DB.
	 */
	hvx_queue_exception(vcpu, 1, false, 0, 0);
	return HVX_REENTER;
}

static enum hvx_next on_bp(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_exception++;
	return hvx_exit_debug(vcpu, 3, 0);
}

static enum hvx_next on_ac(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_exception++;
	hvx_queue_exception(vcpu, 17, true, 0, 0);
	return HVX_REENTER;
}

/* A machine check of the host's, taken while the guest ran: the host's handler must see it. */
static enum hvx_next on_mc(struct hvx_vcpu *vcpu)
{
	vcpu->stats.exit_exception++;
	hvx_host_machine_check();
	return HVX_REENTER;
}

/* ------------------------------------------------------ control registers */

/* MOV to CR4 or CR8, MOV to or from DR: which register? -1: fetch failed or not that instruction. */
static int fetch_mov_special(struct hvx_vcpu *vcpu, const u8 opcode[2], struct hvx_modrm *m)
{
	u8 insn[HVX_INSN_MAX];
	int n = hvx_fetch_insn(vcpu, insn, sizeof(insn), false);
	int len = hvx_insn_len(insn, n, svm_get_mode(vcpu), opcode, 2, m);

	return len ?: -1;
}

static u64 gpr(struct hvx_vcpu *vcpu, int reg)
{
	return svm_get_mode(vcpu) == HVX_MODE_64 ? vcpu->regs[reg] : (u32)vcpu->regs[reg];
}

/* APM vol. 3 "MOV CRn": #GP for reserved bits and for clearing PAE in long mode. */
static bool cr4_valid(struct hvx_vcpu *vcpu, u64 val)
{
	const struct vmcb_save *v = &to_svm(vcpu)->vmcb->save;
	u64 change = val ^ v->cr4;

	if (val & ~vcpu->cr4_allowed)
		return false;
	if (v->efer & EFER_LMA && (!(val & X86_CR4_PAE) || change & X86_CR4_LA57))
		return false;
	if (change & val & X86_CR4_PCIDE && (!(v->efer & EFER_LMA) || v->cr3 & 0xfff))
		return false;
	return true;
}

/* MOV to CR4 or CR8, whose register the instruction must tell. */
static enum hvx_next on_cr_write(struct hvx_vcpu *vcpu)
{
	static const u8 opcode[] = { 0x0f, 0x22 };
	bool cr8 = to_svm(vcpu)->vmcb->ctl.exit_code == SVMEXIT_CR_WRITE + 8;
	struct hvx_modrm m;
	int len = fetch_mov_special(vcpu, opcode, &m);
	u64 val;

	if (len < 0)
		return HVX_SLOW;
	vcpu->stats.exit_cr++;
	val = gpr(vcpu, m.rm);
	if (cr8 ? val > 15 : m.reg != 4 || !cr4_valid(vcpu, val)) {
		hvx_inject_gp(vcpu);
		return HVX_REENTER;
	}
	if (cr8)
		hvx_lapic_set_cr8(vcpu, val);
	else
		svm_set_cr4(vcpu, val);
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

/* The guest's own debug registers (APM vol. 2 13.1.1). DR4 and 5 are 6 and 7 unless CR4.DE. */
static bool dr_access(struct hvx_vcpu *vcpu, int dr, u64 *val, bool write)
{
	if (dr == 4 || dr == 5) {
		if (to_svm(vcpu)->vmcb->save.cr4 & X86_CR4_DE)
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
		vcpu->dr6 = (*val & 0xe00f) | 0xffff0ff0;
	else
		vcpu->dr7 = (*val & 0xffff2bff) | 0x400;
	svm_update_debug(vcpu);
	return true;
}

static enum hvx_next on_dr(struct hvx_vcpu *vcpu)
{
	static const u8 op_read[] = { 0x0f, 0x21 }, op_write[] = { 0x0f, 0x23 };
	struct svm_vcpu *svm = to_svm(vcpu);
	u32 code = svm->vmcb->ctl.exit_code;
	bool write = code >= SVMEXIT_DR_WRITE;
	struct hvx_modrm m;
	int len;
	u64 val;

	/* DR0-3 are loaded on the way in: leave, so that a change takes effect. */
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	len = fetch_mov_special(vcpu, write ? op_write : op_read, &m);
	if (len < 0)
		return slow_fetch(vcpu);
	vcpu->stats.exit_cr++;
	if (vcpu->dr7 & BIT(13)) {
		/* General detect: #DB before the access. */
		vcpu->dr6 |= DR_STEP >> 1;
		hvx_queue_exception(vcpu, 1, false, 0, 0);
		return HVX_REENTER;
	}
	val = gpr(vcpu, m.rm);
	if (write && m.reg >= 4 && val >> 32) {
		hvx_inject_gp(vcpu);
		return HVX_REENTER;
	}
	if (!dr_access(vcpu, m.reg & 7, &val, write)) {
		hvx_inject_ud(vcpu);
		return HVX_REENTER;
	}
	if (!write)
		vcpu->regs[m.rm] = svm_get_mode(vcpu) == HVX_MODE_64 ? val : (u32)val;
	hvx_skip(vcpu, vcpu->rip + len);
	return HVX_REENTER;
}

/* ------------------------------------------------------- I/O, page faults */

static enum hvx_next on_ioio(struct hvx_vcpu *vcpu)
{
	const struct vmcb_ctl *c = &to_svm(vcpu)->vmcb->ctl;
	u64 info = c->exit_info1;

	if (unlikely(info & IOIO_STR))
		return hvx_exit_emulate_pio(vcpu, !(info & IOIO_IN));
	/* EXITINFO2 is the next instruction's RIP (APM vol. 2 15.10.2). */
	return hvx_exit_pio(vcpu, info >> 16, IOIO_SIZE(info), !(info & IOIO_IN), c->exit_info2);
}

static u32 npf_access(u64 info)
{
	if (info & NPF_WRITE)
		return HVX_ACC_WRITE;
	return info & NPF_FETCH ? HVX_ACC_EXEC : HVX_ACC_READ;
}

static enum hvx_next on_npf(struct hvx_vcpu *vcpu)
{
	const struct vmcb_ctl *c = &to_svm(vcpu)->vmcb->ctl;
	int n = svm_features & SVM_FEAT_DECODE ? c->insn_len & 15 : 0;

	return hvx_exit_page_fault(vcpu, c->exit_info2, npf_access(c->exit_info1), c->insn, n);
}

/* ------------------------------------------------------------- the end */

static enum hvx_next on_shutdown(struct hvx_vcpu *vcpu)
{
	/*
	 * The VMCB is undefined after SHUTDOWN (APM vol. 2 15.14.3). Needs
	 * preemption on, as it rewrites the vCPU.
	 */
	if (vcpu->fpu_loaded)
		return HVX_SLOW;
	hvx_vcpu_reset(vcpu, true);
	return hvx_exit_to_user(vcpu, HVX_EXIT_SHUTDOWN);
}

static const svm_handler handlers[] = {
	[SVMEXIT_CR_WRITE + 4] = on_cr_write,
	[SVMEXIT_CR_WRITE + 8] = on_cr_write,
	[SVMEXIT_DR_READ ... SVMEXIT_DR_READ + 7] = on_dr,
	[SVMEXIT_DR_WRITE ... SVMEXIT_DR_WRITE + 7] = on_dr,
	[SVMEXIT_EXC + 1] = on_db,
	[SVMEXIT_EXC + 3] = on_bp,
	[SVMEXIT_EXC + 17] = on_ac,
	[SVMEXIT_EXC + 18] = on_mc,
	[SVMEXIT_INTR] = on_intr,
	[SVMEXIT_NMI] = on_nmi,
	[SVMEXIT_SMI] = on_intr,
	[SVMEXIT_INIT] = on_intr,
	[SVMEXIT_VINTR] = on_vintr,
	[SVMEXIT_RDPMC] = on_rdpmc,
	[SVMEXIT_CPUID] = on_cpuid,
	[SVMEXIT_IRET] = on_iret,
	[SVMEXIT_INVD] = on_invd,
	[SVMEXIT_PAUSE] = on_pause,
	[SVMEXIT_HLT] = on_hlt,
	[SVMEXIT_INVLPGA] = on_undefined,
	[SVMEXIT_IOIO] = on_ioio,
	[SVMEXIT_MSR] = on_msr,
	[SVMEXIT_SHUTDOWN] = on_shutdown,
	[SVMEXIT_VMRUN] = on_undefined,
	[SVMEXIT_VMMCALL] = on_vmmcall,
	[SVMEXIT_VMLOAD ... SVMEXIT_RDTSCP] = on_undefined,
	[SVMEXIT_WBINVD] = on_invd,
	[SVMEXIT_MONITOR ... SVMEXIT_MWAIT_ARM] = on_undefined,
	[SVMEXIT_XSETBV] = on_xsetbv,
	[SVMEXIT_RDPRU] = on_undefined,
	[0xa0 ... SVMEXIT_INVPCID] = on_undefined,
};

static enum hvx_next dispatch(struct hvx_vcpu *vcpu)
{
	const struct vmcb_ctl *c = &to_svm(vcpu)->vmcb->ctl;
	u64 code = c->exit_code;

	if (code == SVMEXIT_NPF)
		return on_npf(vcpu);
	if (likely(code < ARRAY_SIZE(handlers))) {
		code = array_index_nospec(code, ARRAY_SIZE(handlers));
		if (likely(handlers[code]))
			return handlers[code](vcpu);
	}
	if ((u32)code == (u32)SVMEXIT_INVALID)
		return hvx_exit_fail(vcpu, HVX_EXIT_FAIL_ENTRY, 0, c->exit_code, c->exit_info1,
				     c->exit_info2, c->exit_int_info);
	return hvx_exit_fail(vcpu, HVX_EXIT_INTERNAL, HVX_INTERNAL_UNHANDLED, c->exit_code,
			     c->exit_info1, c->exit_info2, c->exit_int_info);
}

enum hvx_next svm_handle_exit(struct hvx_vcpu *vcpu)
{
	const struct vmcb_ctl *c = &to_svm(vcpu)->vmcb->ctl;

	trace_hvx_exit(vcpu, c->exit_code, c->exit_info1, c->exit_info2);
	return dispatch(vcpu);
}

/* Preemption on: the same exit again; where fetching failed, bring the page in. */
int svm_handle_slow(struct hvx_vcpu *vcpu)
{
	enum hvx_next next = dispatch(vcpu);

	return next == HVX_SLOW ? slow_fetch(vcpu) : next;
}

/*
 * After an exit: which event was delivered, and which was cut short and must
 * go in again (APM vol. 2 15.7.2). Software interrupts are not re-injected:
 * RIP still points at the instruction, which runs again.
 */
void svm_complete_events(struct hvx_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 info = svm->vmcb->ctl.exit_int_info;
	struct hvx_pending *ev = &vcpu->ev;
	u8 vector = info & 0xff;

	/*
	 * Without virtual NMIs the end of a handler is seen by intercepting IRET,
	 * at its start: NMIs come back only when RIP has moved on from it.
	 */
	if (unlikely(svm->iret_done) && vcpu->rip != svm->iret_rip) {
		svm->iret_done = false;
		ev->nmi_masked = false;
	}
	ev->exc_injected = ev->irq_injected = ev->nmi_injected = false;
	if (likely(!(info & EVENT_VALID)))
		return;
	switch (info & EVENT_TYPE_MASK) {
	case EVENT_TYPE_INTR:
		ev->irq_injected = true;
		ev->irq_vector = vector;
		break;
	case EVENT_TYPE_NMI:
		ev->nmi_injected = true;
		break;
	case EVENT_TYPE_EXC:
		/* INT3 and INTO are instructions, too. */
		if (vector == 3 || vector == 4)
			break;
		ev->exc_injected = true;
		ev->exc_vector = vector;
		ev->exc_has_code = info & EVENT_HAS_CODE;
		ev->exc_code = info >> 32;
		break;
	}
}
