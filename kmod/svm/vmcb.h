/* SPDX-License-Identifier: GPL-2.0-only */
/* The virtual machine control block, as far as it is used: APM vol. 2 (24593), appendix B. */
#ifndef _HVX_VMCB_H
#define _HVX_VMCB_H

#include <linux/build_bug.h>
#include <linux/types.h>

struct vmcb_seg {
	u16 selector;
	u16 attr;		/* descriptor bits 55:52, 47:40 packed to 12 bits */
	u32 limit;
	u64 base;
};

/* Places in vmcb->seg[]. */
enum { VMCB_CS = 1, VMCB_SS, VMCB_FS = 4, VMCB_GS, VMCB_GDTR, VMCB_LDTR, VMCB_IDTR, VMCB_TR, VMCB_SEGS };

struct vmcb {
	/* Control area, table B-1 */
	u32 icpt[6];		/* 000: intercepts: bit n of the whole is that of exit code n */
	u8  rsvd018[0x3c - 0x18];
	u16 pause_threshold;	/* 03c */
	u16 pause_count;	/* 03e */
	u64 iopm_pa;		/* 040 */
	u64 msrpm_pa;		/* 048 */
	u64 tsc_offset;		/* 050 */
	u32 asid;		/* 058 */
	u32 tlb_control;	/* 05c: TLBCTL_* */
	u64 vintr;		/* 060: VINTR_* */
	u64 int_state;		/* 068: bit 0: interrupt shadow */
	u64 exit_code;		/* 070: enum vmcb_exit */
	u64 exit_info1;		/* 078 */
	u64 exit_info2;		/* 080 */
	u64 exit_int_info;	/* 088: HVX_EVENT_*, error code in 63:32 */
	u64 np_control;		/* 090: bit 0: nested paging */
	u8  rsvd098[0xa8 - 0x98];
	u64 event_inj;		/* 0a8: the same */
	u64 ncr3;		/* 0b0 */
	u64 rsvd0b8;
	u64 clean;		/* 0c0: CLEAN_* */
	u64 next_rip;		/* 0c8 */
	u8  insn_len;		/* 0d0 */
	u8  insn[15];		/* 0d1 */
	u8  rsvd0e0[0x400 - 0xe0];

	/* State save area, table B-2 */
	struct vmcb_seg seg[VMCB_SEGS];	/* 400 */
	u8  rsvd4a0[0x4cb - 0x4a0];
	u8  cpl;		/* 4cb */
	u32 rsvd4cc;
	u64 efer;		/* 4d0 */
	u8  rsvd4d8[0x548 - 0x4d8];
	u64 cr4, cr3, cr0;	/* 548 */
	u64 dr7, dr6;		/* 560 */
	u64 rflags, rip;	/* 570 */
	u8  rsvd580[0x5d8 - 0x580];
	u64 rsp;		/* 5d8 */
	u8  rsvd5e0[0x5f8 - 0x5e0];
	u64 rax;		/* 5f8 */
	u64 star, lstar, cstar, sfmask, kernel_gs_base;	/* 600 */
	u64 sysenter_cs, sysenter_esp, sysenter_eip;	/* 628 */
	u64 cr2;		/* 640 */
	u8  rsvd648[0x668 - 0x648];
	u64 gpat;		/* 668 */
	u8  rsvd670[0x1000 - 0x670];
};
static_assert(offsetof(struct vmcb, iopm_pa) == 0x40);
static_assert(offsetof(struct vmcb, insn) == 0xd1);
static_assert(offsetof(struct vmcb, efer) == 0x4d0);
static_assert(offsetof(struct vmcb, rsp) == 0x5d8);
static_assert(offsetof(struct vmcb, gpat) == 0x668);
static_assert(sizeof(struct vmcb) == 0x1000);

#define TLBCTL_KEEP		0
#define TLBCTL_FLUSH_ALL	1
#define TLBCTL_FLUSH_ASID	3	/* CPUID 8000_000A EDX.FlushByAsid */

#define VINTR_TPR		0xffULL
#define VINTR_WINDOW		(BIT_ULL(8) | 0xfULL << 16 | BIT_ULL(20)) /* IRQ, priority 15, TPR ignored */
#define VINTR_MASKING		BIT_ULL(24)

/* What the CPU may keep of the VMCB of the run before, APM vol. 2 15.15.3 */
#define CLEAN_ICPT		BIT(0)	/* intercepts, TSC offset */
#define CLEAN_ASID		BIT(2)
#define CLEAN_TPR		BIT(3)	/* vintr */
#define CLEAN_NP		BIT(4)	/* nCR3, PAT */
#define CLEAN_CR		BIT(5)	/* CR0, CR3, CR4, EFER */
#define CLEAN_DR		BIT(6)
#define CLEAN_CR2		BIT(9)
#define CLEAN_ALL		0x7ffU

/* Exit codes, APM vol. 2 appendix C. Those that name nothing are intercepted to be refused. */
enum vmcb_exit {
	EXIT_CR0_READ = 0x00, EXIT_CR4_READ = 0x04,
	EXIT_CR0_WRITE = 0x10, EXIT_CR4_WRITE = 0x14, EXIT_CR8_WRITE = 0x18,
	EXIT_DR_READ = 0x20, EXIT_DR_WRITE = 0x30,
	EXIT_DB = 0x41, EXIT_BP = 0x43, EXIT_AC = 0x51, EXIT_MC = 0x52,
	EXIT_INTR = 0x60, EXIT_NMI, EXIT_SMI, EXIT_INIT, EXIT_VINTR, EXIT_RDPMC = 0x6f,
	EXIT_CPUID = 0x72, EXIT_IRET = 0x74, EXIT_INVD = 0x76, EXIT_PAUSE, EXIT_HLT,
	EXIT_INVLPGA = 0x7a, EXIT_IOIO, EXIT_MSR, EXIT_SHUTDOWN = 0x7f,
	EXIT_VMRUN, EXIT_VMMCALL, EXIT_VMLOAD, EXIT_SKINIT = 0x86, EXIT_RDTSCP, EXIT_WBINVD = 0x89,
	EXIT_MONITOR, EXIT_MWAIT, EXIT_XSETBV = 0x8d, EXIT_RDPRU,
	EXIT_INVLPGB = 0xa0, EXIT_INVPCID = 0xa2, EXIT_TLBSYNC = 0xa4, EXIT_NR = 0xc0,
	EXIT_NPF = 0x400,
};
#define EXIT_INVALID		(~0U)	/* the low half; CPUs disagree on the upper */

/* Nested page fault, EXITINFO1 (APM vol. 2 15.25.6) */
#define NPF_WRITE		BIT_ULL(1)
#define NPF_FETCH		BIT_ULL(4)

/* IOIO, EXITINFO1 (APM vol. 2 15.10.2) */
#define IOIO_IN			BIT(0)
#define IOIO_STR		BIT(2)
#define IOIO_SIZE(i)		(((i) >> 4) & 7)	/* bytes: the SZ bits are 1, 2, 4 */

#endif
