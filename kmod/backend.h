/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a hardware backend (svm/, vmx/) must provide. Vendor code is reached
 * through this table and nowhere else.
 */
#ifndef _HVX_BACKEND_H
#define _HVX_BACKEND_H

#include "hvx.h"

#define HVX_EVENT_BITS	(HVX_EVENT_VECTOR | HVX_EVENT_TYPE | HVX_EVENT_HAS_CODE | HVX_EVENT_VALID)
/* Is an HVX_EVENT_* of that kind? */
#define hvx_event_is(event, kind)	(((event) & HVX_EVENT_TYPE) == ((kind) & HVX_EVENT_TYPE))

#define HVX_CR0_BITS	0xe005003fULL	/* PG CD NW AM WP NE ET TS EM MP PE */
#define HVX_DR6_FIXED	0xffff0ff0ULL
#define HVX_DR6_BITS	0xe00fULL	/* B0-B3, BD, BS, BT */
#define HVX_DR7_FIXED	0x400ULL
#define HVX_DR7_BITS	0xffff2bffULL	/* GD among them */
#define HVX_DR_GD	BIT(13)		/* BD in DR6 as well */

/*
 * Second-level table entries: bits beside the address. An entry of zero is not
 * present, bits 52 to 56 are software's.
 */
struct hvx_pte_format {
	u64 table;		/* an entry that points to a table */
	u64 leaf;		/* a leaf that can be read and executed, and counts as accessed */
	u64 write;		/* ... written too, and counts as dirty */
	u64 large;		/* ... above level 1 (4K; 2 = 2M, 3 = 1G) */
	u64 accessed;		/* set by the CPU; 0: it does not, and every page looks used */
	u64 logs;		/* set by the CPU, which logs the page then; 0: it does not */
};

/* Segments as in struct hvx_sregs. Of GDTR and IDTR only base and limit mean anything. */
enum { HVX_SEG_CS = 1, HVX_SEG_SS, HVX_SEG_LDTR = 6, HVX_SEG_TR, HVX_SEG_GDTR, HVX_SEG_IDTR };

struct hvx_backend {
	const char *name;
	u64 features;			/* HVX_FEAT_*, set by ->setup() */
	const struct hvx_pte_format *pte;
	bool hides_xsaves;		/* #UD for guests without HVX_CAP_XSAVES */
	bool apic_page;			/* the CPU does accesses to the xAPIC where hvx_mmu.apic_page is mapped */
	u8 notify_vector;		/* of posted interrupts, 0: guests exit for each */
	u32 near_ns;			/* ->enter() sees to deadlines nearer than that */
	int max_leaf_level;		/* 2 or 3 */
	unsigned int table_levels;	/* 4 or 5 */

	/* Can this CPU do it? Logs what is missing. 0, -ENODEV. */
	int (*setup)(void);
	void (*teardown)(void);
	/*
	 * Turn the extension on/off on this CPU, with preemption off for all who use
	 * it. irqs off. Where hvx_beside or somebody else has it on, enable_cpu() leaves
	 * it alone and each entry finds its way. disable_cpu() is also called for that,
	 * under running guests, and when the host crashes, maybe in an NMI.
	 */
	int (*enable_cpu)(void);
	void (*disable_cpu)(void);

	int (*vcpu_create)(struct hvx_vcpu *vcpu);	/* what fails later has set vcpu->backend */
	void (*vcpu_destroy)(struct hvx_vcpu *vcpu);
	void (*vcpu_reset)(struct hvx_vcpu *vcpu, bool init);

	/*
	 * The run loop's steps, in order. preemption off from load to put,
	 * interrupts off from prepare to enter's return.
	 */
	void (*load)(struct hvx_vcpu *vcpu);	/* to this CPU: guest MSRs that need swapping */
	void (*put)(struct hvx_vcpu *vcpu);	/* may be NULL */
	void (*inject)(struct hvx_vcpu *vcpu, u32 event, u32 code);	/* HVX_EVENT_*, its error code */
	void (*request_window)(struct hvx_vcpu *vcpu, bool nmi);	/* exit when open */
	void (*set_tpr_threshold)(struct hvx_vcpu *vcpu, int vector);	/* IRR vector that TPR holds back, -1 none */
	void (*enter)(struct hvx_vcpu *vcpu);	/* VM entry and exit, more while hvx_goes_on(); irqs off */
	/*
	 * Host interrupts on. First with preemption off (vcpu->fpu_loaded): fast, never
	 * sleeps; after HVX_SLOW once more with preemption on, where it may.
	 */
	enum hvx_next (*handle_exit)(struct hvx_vcpu *vcpu);

	/*
	 * State that lives in the control block. What is set has been checked. Who
	 * sets all begins with EFER and ends with the segments: CPL is SS.DPL.
	 */
	u64 (*get_cr)(struct hvx_vcpu *vcpu, int cr);		/* 0, 3, 4 */
	void (*set_cr)(struct hvx_vcpu *vcpu, int cr, u64 val);
	void (*set_efer)(struct hvx_vcpu *vcpu, u64 val);	/* vcpu->efer, too */
	u16 (*get_attr)(struct hvx_vcpu *vcpu, int seg);	/* HVX_SEG_*; SS.DPL is CPL */
	void (*get_segment)(struct hvx_vcpu *vcpu, int seg, struct hvx_segment *out);
	void (*set_segment)(struct hvx_vcpu *vcpu, int seg, const struct hvx_segment *in);
	int (*msr)(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write); /* switched ones: 0; 1 not mine */
	void (*update)(struct hvx_vcpu *vcpu);	/* debug registers, debugger, TSC or CPUID changed */
};

extern bool hvx_beside;		/* another hypervisor's module is there */
extern const struct hvx_backend *hvx_backend;	/* chosen at load, constant after */
extern struct hvx_backend hvx_svm, hvx_vmx;

/* Of one page of per-CPU memory. */
static inline u64 hvx_percpu_pa(void *p)
{
	return is_vmalloc_addr(p) ? page_to_phys(vmalloc_to_page(p)) + offset_in_page(p) : __pa(p);
}

/*
 * Shared parts of exit handling (exits.c), called by the backends with
 * exits already made neutral. They advance RIP by `len` where they complete.
 */
enum hvx_next hvx_exit_cpuid(struct hvx_vcpu *vcpu, unsigned int len);
enum hvx_next hvx_exit_msr(struct hvx_vcpu *vcpu, unsigned int len, bool write);
enum hvx_next hvx_exit_hypercall(struct hvx_vcpu *vcpu, unsigned int len);
enum hvx_next hvx_exit_hlt(struct hvx_vcpu *vcpu, unsigned int len);
enum hvx_next hvx_exit_shutdown(struct hvx_vcpu *vcpu, unsigned int len);
enum hvx_next hvx_exit_xsetbv(struct hvx_vcpu *vcpu, unsigned int len);
enum hvx_next hvx_exit_skip(struct hvx_vcpu *vcpu, unsigned int len);	/* nothing to do */
enum hvx_next hvx_exit_pause(struct hvx_vcpu *vcpu, unsigned int len);	/* may sleep */
enum hvx_next hvx_exit_ud(struct hvx_vcpu *vcpu, unsigned int len);	/* not for guests */
enum hvx_next hvx_exit_gp(struct hvx_vcpu *vcpu, unsigned int len);
enum hvx_next hvx_exit_mov_to_cr(struct hvx_vcpu *vcpu, int cr, int reg, unsigned int len); /* 0, 4, 8 */
enum hvx_next hvx_exit_mov_dr(struct hvx_vcpu *vcpu, int dr, int reg, bool write, unsigned int len);
enum hvx_next hvx_exit_pio(struct hvx_vcpu *vcpu, u16 port, u8 size, bool write, u64 next_rip);
enum hvx_next hvx_exit_emulate_pio(struct hvx_vcpu *vcpu, bool write);
/*
 * Second-level fault: map, or LAPIC, ioeventfd, a decoded MOV, emulation. insn:
 * what the CPU handed over, at most HVX_INSN_MAX; 0: fetched. HVX_SLOW: again
 * with preemption on.
 */
enum hvx_next hvx_exit_page_fault(struct hvx_vcpu *vcpu, u64 gpa, u32 access,
				  const u8 *insn, int insn_len);
enum hvx_next hvx_exit_mmio(struct hvx_vcpu *vcpu, u64 gpa, bool write, const u8 *insn, int insn_len);
enum hvx_next hvx_exit_debug(struct hvx_vcpu *vcpu, u32 vector, u64 dr6);	/* for the debugger */
/* HVX_EXIT_FAIL_ENTRY or _INTERNAL */
enum hvx_next hvx_exit_fail(struct hvx_vcpu *vcpu, u32 reason, u32 suberror, u64 hw_reason,
			    u64 info0, u64 info1, u64 info2);
enum hvx_next hvx_exit_to_user(struct hvx_vcpu *vcpu, u32 reason);	/* without details */
void hvx_exit_complete(struct hvx_vcpu *vcpu);	/* what userspace answered; start of HVX_RUN */
void hvx_event_cut_short(struct hvx_vcpu *vcpu, u32 event, u32 code); /* after each exit; without _VALID: none was */
void hvx_tsc_aux(struct hvx_vcpu *vcpu, bool guest);	/* from load to put, who owns the CPU; else around entries */
bool hvx_goes_on(struct hvx_vcpu *vcpu);	/* ->enter() may do so without the run loop */
enum hvx_cpu_mode hvx_mode(struct hvx_vcpu *vcpu);
int hvx_cpl(struct hvx_vcpu *vcpu);
enum hvx_next hvx_skip(struct hvx_vcpu *vcpu, u64 next_rip);	/* RIP, clears shadow and RF, raises #DB on TF; HVX_REENTER */

#endif
