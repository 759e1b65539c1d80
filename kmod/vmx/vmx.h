/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VT-x backend's own types. Intel SDM vol. 3, part "VMX".
 *
 * VMCS fields that hold guest state or controls are reached through a cache,
 * vmx_get() and vmx_set(): the VMCS is the CPU's current one only in windows
 * with interrupts off (vmcs.c), and what is set is written at the next entry.
 */
#ifndef _HVX_VMX_H
#define _HVX_VMX_H

#include <asm/vmx.h>
#include "backend.h"

/* Cached fields. Segments come first, four fields for each of HVX's 0..7. */
enum vmx_field {
	F_SELECTOR, F_LIMIT, F_RIGHTS, F_BASE,	/* + 4 * segment */
	F_SEG_END = 32,
	F_GDTR_BASE = F_SEG_END, F_GDTR_LIMIT, F_IDTR_BASE, F_IDTR_LIMIT,
	F_CR0, F_CR3, F_CR4,
	F_SYSENTER_CS, F_SYSENTER_ESP, F_SYSENTER_EIP,
	F_PDPTE0, F_PDPTE1, F_PDPTE2, F_PDPTE3,
	F_RSP, F_RIP, F_RFLAGS, F_INT_STATE, F_PENDING_DBG,
	/* The CPU never changes those from here on: the cache always has them. */
	F_OURS,
	F_CR0_SHADOW = F_OURS, F_CR4_SHADOW, F_CR4_MASK, F_EFER, F_DR7,
	F_PROC, F_PROC2, F_ENTRY, F_EXCEPTIONS, F_TSC_OFFSET, F_TSC_MULT, F_TPR_THRESHOLD,
	F_PIN,
	F_NR
};
static_assert(F_NR <= 64);

/* CR0 bits that exist. */
#define VMX_CR0_MASK	((u64)(X86_CR0_CD | X86_CR0_NW | X86_CR0_NE | X86_CR0_PG))

/* Segment access rights as in the VMCS. */
#define VMX_AR_L		BIT(13)
#define VMX_AR_DB		BIT(14)
#define VMX_AR_UNUSABLE		BIT(16)

/* Exit reasons of our own, beyond the CPU's. */
#define EXIT_LOST	0x10000		/* VMX operation is gone from this CPU */
#define EXIT_VMFAIL	0x10001		/* the entry failed with a VM-instruction error */
#define EXIT_AGAIN	0x10002		/* not entered: something is to be done first */
#define EXIT_HANDLED	0x10003		/* vmx_vcpu.next is what the handler said */

#define VMX_MSRS	4	/* switched at load and put */

struct vmx_vcpu {
	void *vmcs;
	u64 vmcs_pa;
	u8 *msr_bitmap;
	u32 apic;			/* secondary controls: what the CPU does of its local APIC */
	u16 intr_status;		/* in the VMCS: highest in service, in IRR; 0: none */
	u64 *pml;			/* page-modification log: filled from its end */
	u64 eptp;
	u16 vpid;

	int cpu;			/* where the VMCS is active, -1 nowhere; list's CPU */
	struct list_head active;
	bool launched;
	bool open;			/* this CPU is in its window */
	int host_cpu;			/* whose values the host-state area holds, -1 none */
	u64 host_cr3, host_cr4, host_fs_base, host_efer;	/* in the host-state area */

	u32 timer;			/* VMX-preemption timer, as in the VMCS */
	u64 valid, dirty;		/* bits by enum vmx_field */
	u64 val[F_NR];

	bool flush_ept, flush_vpid;	/* at the next entry */
	bool pdpte_stale;		/* CR3 was set without the CPU's loading the PDPTEs */
	u32 inject, inject_code;	/* VM-entry interruption information */

	/* The last exit. */
	u32 reason, insn_len;
	enum hvx_next next;
	u32 intr_info, intr_code;
	u32 idt_info, idt_code;
	u64 qual, gpa;
	u32 error;			/* VM-instruction error */

	bool l1d_dirty;		/* host data may be in the L1 cache */
	/* Guest MSRs that VM entry does not switch; what was in them, and else, while loaded. */
	u64 msr[VMX_MSRS + 1], host_msr[VMX_MSRS];
	u64 fs_base, efer, debugctl;
	u16 ds, es, fs, gs;
};

/* What this CPU can do: control MSRs, settled at load. */
struct vmx_caps {
	u32 revision;
	u32 pin, proc, proc2, exit, entry;	/* values for every guest */
	u32 x2apic, xapic;			/* in proc2 for guests in x2APIC, in xAPIC mode */
	u64 ept;				/* IA32_VMX_EPT_VPID_CAP */
	u64 cr0_fixed0;				/* CR0 bits that must be 1 in a guest */
	bool ept_ad;
};

extern struct vmx_caps vmx_caps;
/* In use. */
extern bool vmx_virtual_interrupts, vmx_posted_interrupts, vmx_preemption_timer;
extern bool vmx_ple, vmx_tsc_scaling, vmx_pml;
bool vmx_supports_proc2(u32 bit);	/* a secondary control that only some guests have set */

static inline struct vmx_vcpu *to_vmx(struct hvx_vcpu *vcpu)
{
	return vcpu->backend;
}

/* VMREAD and VMWRITE: inside a window only. */
static inline u64 vmcs_read(u32 field)
{
	u64 val;

	asm volatile("vmread %1, %0" : "=rm" (val) : "r" ((u64)field) : "cc");
	return val;
}

static inline bool vmcs_write(u32 field, u64 val)
{
	bool failed;

	asm volatile("vmwrite %2, %1" : "=@ccbe" (failed) : "r" ((u64)field), "rm" (val));
	return !failed;
}

/* vmcs.c */
int vmx_setup_caps(void);		/* -ENODEV, and the log says what is missing */
int vmx_alloc_cpus(void);
void vmx_free_cpus(void);
int vmx_enable_cpu(void);
void vmx_disable_cpu(void);
int vmcs_open(struct vmx_vcpu *v);	/* interrupts off from open to close; -EIO: VMX is gone */
bool vmcs_close(struct vmx_vcpu *v);	/* false: VMX is not our own, others may come before the next */
void vmcs_migrate(struct vmx_vcpu *v);	/* to this CPU; preemption off, interrupts on */
void vmcs_release(struct vmx_vcpu *v);	/* active nowhere; may sleep */
void vmcs_flush_tlb(struct vmx_vcpu *v);	/* in a window: flush_ept, flush_vpid */
void vmcs_write_dirty(struct vmx_vcpu *v);	/* in a window */
/* In a window, after a failed entry: log why. The former sets qual: field << 32 | wrong bits. */
void vmcs_explain(struct vmx_vcpu *v);
void vmcs_explain_state(struct vmx_vcpu *v);
u64 vmcs_fetch(struct vmx_vcpu *v, enum vmx_field f);	/* out of a window */
extern const u16 vmx_encoding[F_NR];

static inline u64 vmx_get(struct vmx_vcpu *v, enum vmx_field f)
{
	if (likely(v->valid & BIT_ULL(f)))
		return v->val[f];
	if (unlikely(!v->open))
		return vmcs_fetch(v, f);
	v->valid |= BIT_ULL(f);
	return v->val[f] = vmcs_read(vmx_encoding[f]);
}

/* Of what each exit collects, and what the CPU never changes. */
static inline void vmx_set_valid(struct vmx_vcpu *v, enum vmx_field f, u64 val)
{
	if (v->val[f] == val)
		return;
	v->val[f] = val;
	v->dirty |= BIT_ULL(f);
}

static inline void vmx_set(struct vmx_vcpu *v, enum vmx_field f, u64 val)
{
	if (!(v->valid & BIT_ULL(f))) {
		v->val[f] = ~val;
		v->valid |= BIT_ULL(f);
	}
	vmx_set_valid(v, f, val);
}

/* enter.S: 0 after an exit, 1 when VMLAUNCH or VMRESUME itself failed. */
u32 vmx_run(u64 *regs, bool resume, u64 spec_ctrl);
extern const char vmx_exit_point[];
void vmx_interrupt(unsigned long handler);	/* what the CPU does on an interrupt; IF is clear */

/* exits.c */
enum hvx_next vmx_handle_exit(struct hvx_vcpu *vcpu);
bool vmx_answer_quickly(struct hvx_vcpu *vcpu);	/* in a window, after an exit */

/* vmx.c */
u32 vmx_apic_controls(struct hvx_vcpu *vcpu);	/* what vmx_vcpu.apic should be */

/* state.c */
extern struct hvx_pte_format vmx_pte;	/* constant after setup */
u64 vmx_get_cr(struct hvx_vcpu *vcpu, int cr);
void vmx_set_cr(struct hvx_vcpu *vcpu, int cr, u64 val);
void vmx_set_efer(struct hvx_vcpu *vcpu, u64 val);
bool vmx_load_pdptes(struct hvx_vcpu *vcpu, bool can_sleep);
u16 vmx_get_attr(struct hvx_vcpu *vcpu, int seg);
void vmx_get_segment(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out);
void vmx_set_segment(struct hvx_vcpu *vcpu, int seg, const struct hvx_segment *in);
void vmx_update_debug(struct hvx_vcpu *vcpu);

#endif
