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
	void *msrpm;		/* 8 KiB */
	u64 asid_gen;		/* of the CPU's generation the ASID is from; 0: take a new one */
	int asid_cpu;
	u32 clean;		/* what the CPU may keep; cleared by mark_dirty() */
	bool flush;
	bool window;		/* VINTR intercept is set */
	bool iret;		/* IRET intercept is set: NMIs are masked */
	bool iret_done;		/* IRET is being executed at iret_rip: unmask when it moved */
	bool nmi_step;		/* TF set to get past IRET */
	u64 iret_rip;
	bool dr_loaded;		/* DR0-3 hold the guest's or the debugger's */
	u64 host_dr[4];
	u64 host_tsc_aux;
};

/* Per CPU; the host save area is where VMRUN keeps the host's state. */
struct svm_cpu {
	struct page *save_area;
	struct page *host_vmcb;	/* VMSAVE of what VMRUN does not keep */
	u64 host_pa;
	u64 gen;		/* ASID generation */
	u32 next_asid, max_asid;
	u64 tsc_ratio;		/* value now in the MSR */
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpus);

extern u32 svm_features;
extern bool svm_has_rdtscp;

static inline struct svm_vcpu *to_svm(struct hvx_vcpu *vcpu)
{
	return vcpu->backend;
}

static inline void mark_dirty(struct svm_vcpu *svm, u32 bits)
{
	svm->clean &= ~bits;
}

/* enter.S: one VMRUN, with the guest's general registers from and to regs[16] (RAX and RSP are the VMCB's). */
void svm_vmrun(u64 vmcb_pa, u64 *regs, u64 host_pa);

/* exits.c */
enum hvx_cpu_mode svm_get_mode(struct hvx_vcpu *vcpu);
enum hvx_next svm_handle_exit(struct hvx_vcpu *vcpu);
int svm_handle_slow(struct hvx_vcpu *vcpu);
void svm_complete_events(struct hvx_vcpu *vcpu);

/* state.c */
extern const struct hvx_pte_ops svm_pte;
void svm_get_sregs(struct hvx_vcpu *vcpu, struct hvx_sregs *s);
void svm_set_sregs(struct hvx_vcpu *vcpu, const struct hvx_sregs *s);
u64 svm_get_cr(struct hvx_vcpu *vcpu, int cr);
u64 svm_get_efer(struct hvx_vcpu *vcpu);
void svm_set_efer(struct hvx_vcpu *vcpu, u64 val);
void svm_set_cr4(struct hvx_vcpu *vcpu, u64 val);
void svm_get_segment(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out);
int svm_get_cpl(struct hvx_vcpu *vcpu);
int svm_get_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val);
int svm_set_msr(struct hvx_vcpu *vcpu, u32 index, u64 val);
u8 svm_get_shadow(struct hvx_vcpu *vcpu);
void svm_set_shadow(struct hvx_vcpu *vcpu, u8 shadow);
void svm_update_debug(struct hvx_vcpu *vcpu);

#endif
