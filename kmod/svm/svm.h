/* SPDX-License-Identifier: GPL-2.0-only */
/* The AMD-V backend's own types. */
#ifndef _HVX_SVM_H
#define _HVX_SVM_H

#include <linux/mem_encrypt.h>
#include "backend.h"
#include "svm/vmcb.h"

/* CPUID Fn8000_000A EDX */
#define SVM_FEAT_NP		BIT(0)
#define SVM_FEAT_NRIPS		BIT(3)
#define SVM_FEAT_TSC_RATE	BIT(4)
#define SVM_FEAT_CLEAN		BIT(5)
#define SVM_FEAT_FLUSH_ASID	BIT(6)
#define SVM_FEAT_DECODE		BIT(7)
#define SVM_FEAT_PAUSE		BIT(10)
#define SVM_FEAT_PAUSE_THR	BIT(12)

struct svm_vcpu {
	struct vmcb *vmcb;
	u64 vmcb_pa;
	u64 asid_gen;		/* of the CPU's generation that the ASID is from */
	int asid_cpu;
	u32 clean;		/* CLEAN_* for the next entry */
	u32 cr0_cache;		/* CD and NW of the guest's CR0, which the VMCB's does not have */
	u32 cr4_mce;		/* X86_CR4_MCE where the VMCB's CR4 has it and the guest's has not */
	bool iret_done;		/* IRET is being executed at iret_rip: NMIs come back when it moved */
	bool nmi_step;		/* TF is to be set to get past IRET or an interrupt shadow */
	u64 iret_rip;
};

/* Per CPU; the pages are for the hardware. */
struct svm_cpu {
	u8 save[PAGE_SIZE];	/* VMRUN's save area */
	u8 host[PAGE_SIZE];	/* VMSAVE of the rest */
	struct vmcb flusher;	/* a guest of no instruction, to flush an ASID by */
	u64 table[PAGE_SIZE / 8]; /* its nested table, empty */
	u64 save_pa, host_pa, flusher_pa;
	u64 gen;		/* ASID generation */
	u32 next_asid;
	bool owned;		/* EFER.SVME is ours, and stays */
	u64 tsc_ratio;		/* value now in the MSR; not owned: as a vCPU came to the CPU */
	bool host_saved;	/* at host_pa, since the vCPU came to the CPU */
	u64 prev_efer;		/* in a window: what it was before */
};

extern u32 svm_features;

static inline struct svm_vcpu *to_svm(struct hvx_vcpu *vcpu)
{
	return vcpu->backend;
}

static inline struct vmcb *to_vmcb(struct hvx_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb;
}

static inline bool svm_intercepts(struct svm_vcpu *svm, enum vmcb_exit code)
{
	return svm->vmcb->icpt[code / 32] & BIT(code % 32);
}

static inline void svm_intercept(struct svm_vcpu *svm, enum vmcb_exit code, bool on)
{
	if (svm_intercepts(svm, code) == on)
		return;
	svm->vmcb->icpt[code / 32] ^= BIT(code % 32);
	svm->clean &= ~CLEAN_ICPT;
}

/* enter.S: one VMRUN, with the guest's general registers from and to regs[16] (RAX and RSP are the VMCB's). */
void svm_vmrun(u64 vmcb_pa, u64 *regs, u64 host_pa);

/* svm.c */
void svm_forget_entry(struct svm_vcpu *svm);	/* the last VMRUN failed; preemption off */
u64 svm_get_cr(struct hvx_vcpu *vcpu, int cr);
void svm_set_cr(struct hvx_vcpu *vcpu, int cr, u64 val);
void svm_update(struct hvx_vcpu *vcpu);

/* exits.c */
void svm_init_intercepts(struct svm_vcpu *svm);
enum hvx_next svm_handle_exit(struct hvx_vcpu *vcpu);

#endif
