/* SPDX-License-Identifier: GPL-2.0-only */
/* The virtual machine control block: APM vol. 2 (24593), appendix B. */
#ifndef _HVX_VMCB_H
#define _HVX_VMCB_H

#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>

/* Control area, APM vol. 2 table B-1. */
struct vmcb_ctl {
	u32 icpt_cr;		/* 000: reads 15:0, writes 31:16 */
	u32 icpt_dr;		/* 004: the same for DRs */
	u32 icpt_exc;		/* 008: by vector */
	u32 icpt3;		/* 00c: ICPT3_* */
	u32 icpt4;		/* 010: ICPT4_* */
	u32 icpt5;		/* 014 */
	u8  rsvd018[0x3c - 0x18];
	u16 pause_threshold;	/* 03c */
	u16 pause_count;	/* 03e */
	u64 iopm_pa;		/* 040 */
	u64 msrpm_pa;		/* 048 */
	u64 tsc_offset;		/* 050 */
	u32 asid;		/* 058 */
	u8  tlb_control;	/* 05c: TLBCTL_* */
	u8  rsvd05d[3];
	u64 vintr;		/* 060: VINTR_* */
	u64 int_state;		/* 068: bit 0 shadow, bit 1 guest interrupt mask */
	u64 exit_code;		/* 070 */
	u64 exit_info1;		/* 078 */
	u64 exit_info2;		/* 080 */
	u64 exit_int_info;	/* 088: EVENT_* */
	u64 np_control;		/* 090: bit 0 nested paging */
	u8  rsvd098[0xa8 - 0x98];
	u64 event_inj;		/* 0a8: EVENT_* */
	u64 ncr3;		/* 0b0 */
	u64 virt_ext;		/* 0b8 */
	u32 clean;		/* 0c0: CLEAN_* */
	u32 rsvd0c4;
	u64 next_rip;		/* 0c8 */
	u8  insn_len;		/* 0d0 */
	u8  insn[15];		/* 0d1 */
	u8  rsvd0e0[0x400 - 0xe0];
};

struct vmcb_seg {
	u16 selector;
	u16 attr;		/* descriptor bits 55:52, 47:40 packed to 12 bits */
	u32 limit;
	u64 base;
};

/* State save area, APM vol. 2 table B-2. Offsets from 0x400. */
struct vmcb_save {
	struct vmcb_seg es, cs, ss, ds, fs, gs;	/* 000 */
	struct vmcb_seg gdtr, ldtr, idtr, tr;	/* 060 */
	u8  rsvd0a0[0xcb - 0xa0];
	u8  cpl;		/* 0cb */
	u32 rsvd0cc;
	u64 efer;		/* 0d0 */
	u8  rsvd0d8[0x148 - 0xd8];
	u64 cr4, cr3, cr0;	/* 148 */
	u64 dr7, dr6;		/* 160 */
	u64 rflags, rip;	/* 170 */
	u8  rsvd180[0x1d8 - 0x180];
	u64 rsp;		/* 1d8 */
	u64 s_cet, ssp, isst;	/* 1e0 */
	u64 rax;		/* 1f8 */
	u64 star, lstar, cstar, sfmask, kernel_gs_base;	/* 200 */
	u64 sysenter_cs, sysenter_esp, sysenter_eip;	/* 228 */
	u64 cr2;		/* 240 */
	u8  rsvd248[0x268 - 0x248];
	u64 gpat;		/* 268 */
	u64 dbgctl, br_from, br_to, lastexc_from, lastexc_to;	/* 270 */
	u8  rsvd298[0xc00 - 0x298];
};

struct vmcb {
	struct vmcb_ctl ctl;
	struct vmcb_save save;
};

static_assert(offsetof(struct vmcb_ctl, iopm_pa) == 0x40);
static_assert(offsetof(struct vmcb_ctl, vintr) == 0x60);
static_assert(offsetof(struct vmcb_ctl, event_inj) == 0xa8);
static_assert(offsetof(struct vmcb_ctl, insn) == 0xd1);
static_assert(offsetof(struct vmcb_save, efer) == 0xd0);
static_assert(offsetof(struct vmcb_save, cr4) == 0x148);
static_assert(offsetof(struct vmcb_save, rsp) == 0x1d8);
static_assert(offsetof(struct vmcb_save, star) == 0x200);
static_assert(offsetof(struct vmcb_save, gpat) == 0x268);
static_assert(sizeof(struct vmcb) == 4096);

/* icpt3, offset 00c */
#define ICPT3_INTR	BIT(0)
#define ICPT3_NMI	BIT(1)
#define ICPT3_SMI	BIT(2)
#define ICPT3_INIT	BIT(3)
#define ICPT3_VINTR	BIT(4)
#define ICPT3_RDPMC	BIT(15)
#define ICPT3_CPUID	BIT(18)
#define ICPT3_IRET	BIT(20)
#define ICPT3_INVD	BIT(22)
#define ICPT3_PAUSE	BIT(23)
#define ICPT3_HLT	BIT(24)
#define ICPT3_INVLPGA	BIT(26)
#define ICPT3_IOIO	BIT(27)
#define ICPT3_MSR	BIT(28)
#define ICPT3_SHUTDOWN	BIT(31)
/* icpt4, offset 010 */
#define ICPT4_VMRUN	BIT(0)
#define ICPT4_VMMCALL	BIT(1)
#define ICPT4_VMLOAD	BIT(2)
#define ICPT4_VMSAVE	BIT(3)
#define ICPT4_STGI	BIT(4)
#define ICPT4_CLGI	BIT(5)
#define ICPT4_SKINIT	BIT(6)
#define ICPT4_RDTSCP	BIT(7)
#define ICPT4_WBINVD	BIT(9)
#define ICPT4_MONITOR	BIT(10)
#define ICPT4_MWAIT	BIT(11)
#define ICPT4_MWAIT_ARM	BIT(12)
#define ICPT4_XSETBV	BIT(13)
#define ICPT4_RDPRU	BIT(14)
/* icpt5, offset 014 */
#define ICPT5_INVLPGB	BIT(0)
#define ICPT5_INVPCID	BIT(2)
#define ICPT5_TLBSYNC	BIT(4)

#define TLBCTL_KEEP	0
#define TLBCTL_FLUSH_ALL	1
#define TLBCTL_FLUSH_ASID	3	/* CPUID 8000_000A EDX.FlushByAsid */

#define VINTR_TPR	0xffULL
#define VINTR_IRQ	BIT_ULL(8)
#define VINTR_PRIO(n)	((u64)(n) << 16)
#define VINTR_IGN_TPR	BIT_ULL(20)
#define VINTR_MASKING	BIT_ULL(24)

#define EVENT_TYPE_INTR	(0ULL << 8)
#define EVENT_TYPE_NMI	(2ULL << 8)
#define EVENT_TYPE_EXC	(3ULL << 8)
#define EVENT_TYPE_SOFT	(4ULL << 8)
#define EVENT_TYPE_MASK	(7ULL << 8)
#define EVENT_HAS_CODE	BIT_ULL(11)
#define EVENT_VALID	BIT_ULL(31)

/* Clean bits, APM vol. 2 15.15.3 */
#define CLEAN_ICPT	BIT(0)
#define CLEAN_IOPM	BIT(1)
#define CLEAN_ASID	BIT(2)
#define CLEAN_TPR	BIT(3)
#define CLEAN_NP	BIT(4)
#define CLEAN_CR	BIT(5)
#define CLEAN_DR	BIT(6)
#define CLEAN_DT	BIT(7)
#define CLEAN_SEG	BIT(8)
#define CLEAN_CR2	BIT(9)
#define CLEAN_LBR	BIT(10)
#define CLEAN_ALL	0x7ffU

/* Exit codes, APM vol. 2 appendix C */
#define SVMEXIT_CR_READ		0x000
#define SVMEXIT_CR_WRITE	0x010
#define SVMEXIT_DR_READ		0x020
#define SVMEXIT_DR_WRITE	0x030
#define SVMEXIT_EXC		0x040
#define SVMEXIT_INTR		0x060
#define SVMEXIT_NMI		0x061
#define SVMEXIT_SMI		0x062
#define SVMEXIT_INIT		0x063
#define SVMEXIT_VINTR		0x064
#define SVMEXIT_RDPMC		0x06f
#define SVMEXIT_CPUID		0x072
#define SVMEXIT_IRET		0x074
#define SVMEXIT_INVD		0x076
#define SVMEXIT_PAUSE		0x077
#define SVMEXIT_HLT		0x078
#define SVMEXIT_INVLPGA		0x07a
#define SVMEXIT_IOIO		0x07b
#define SVMEXIT_MSR		0x07c
#define SVMEXIT_SHUTDOWN	0x07f
#define SVMEXIT_VMRUN		0x080
#define SVMEXIT_VMMCALL		0x081
#define SVMEXIT_VMLOAD		0x082
#define SVMEXIT_VMSAVE		0x083
#define SVMEXIT_STGI		0x084
#define SVMEXIT_CLGI		0x085
#define SVMEXIT_SKINIT		0x086
#define SVMEXIT_RDTSCP		0x087
#define SVMEXIT_WBINVD		0x089
#define SVMEXIT_MONITOR		0x08a
#define SVMEXIT_MWAIT		0x08b
#define SVMEXIT_MWAIT_ARM	0x08c
#define SVMEXIT_XSETBV		0x08d
#define SVMEXIT_RDPRU		0x08e
#define SVMEXIT_INVPCID		0x0a2
#define SVMEXIT_NPF		0x400
#define SVMEXIT_INVALID		(~0ULL)

/* Nested page fault, EXITINFO1 (APM vol. 2 15.25.6) */
#define NPF_PRESENT	BIT_ULL(0)
#define NPF_WRITE	BIT_ULL(1)
#define NPF_FETCH	BIT_ULL(4)
#define NPF_TABLE	BIT_ULL(33)	/* while walking the guest's own tables */

/* IOIO, EXITINFO1 (APM vol. 2 15.10.2) */
#define IOIO_IN		BIT(0)
#define IOIO_STR	BIT(2)
#define IOIO_SIZE(i)	(((i) >> 4) & 7)	/* bytes: the SZ bits are 1, 2, 4 */

#endif
