/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * hvx userspace API: everything that userspace and hvx.ko say to each other.
 *
 * Three kinds of file descriptor, each obtained from the one before:
 *
 *   open("/dev/hvx")  --HVX_CREATE_VM-->  VM fd  --HVX_CREATE_VCPU-->  vCPU fd
 *
 * Rules that hold for every call:
 *  - An ioctl that the fd does not know fails with ENOTTY.
 *  - All structures have one layout for every caller; there is no compat entry
 *    point, 32-bit callers get ENOTTY.
 *  - Fields named "reserved" or "pad", and flag bits that are not defined here,
 *    must be zero, else EINVAL. So they can be given a meaning later.
 *  - A VM belongs to the address space (mm) that created it. VM and vCPU ioctls
 *    from another address space fail with EIO.
 *  - Pointers travel as __u64. Sizes are bytes unless a comment says otherwise.
 *  - Numbers that are filled in for the caller are never larger than the size
 *    that the caller gave; where more would be needed the call fails with E2BIG
 *    and the needed count is written back.
 *
 * docs/api.md has the same in prose, with the errors of each call.
 */
#ifndef _UAPI_HVX_H
#define _UAPI_HVX_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Incompatible changes raise it; additions show as feature bits. */
#define HVX_API_VERSION		1

#define HVX_MAX_VCPUS		64	/* vCPUs of one VM; ids are 0..HVX_MAX_VCPUS-1 */
#define HVX_MAX_SLOTS		128	/* memory slots of one VM */
#define HVX_MAX_CPUID		256	/* CPUID table entries of one vCPU */
#define HVX_MAX_MSRS		256	/* MSRs of one call */
#define HVX_MAX_MSR_RANGES	64	/* MSR filter ranges of one VM */
#define HVX_MAX_IOEVENTFDS	512	/* ioeventfds of one VM */
#define HVX_MAX_IRQFDS		2048	/* irqfds of one VM */

/* ------------------------------------------------------------------ device */

/* Feature bits: struct hvx_info.features */
#define HVX_FEAT_NPT_1G		(1ULL << 0)	/* 1 GiB second-level leaves */
#define HVX_FEAT_TSC_SCALING	(1ULL << 1)	/* HVX_STATE_TSC.khz may differ from the host's */
#define HVX_FEAT_DECODE_ASSIST	(1ULL << 3)	/* the CPU hands over instruction bytes on MMIO */
#define HVX_FEAT_NRIPS		(1ULL << 4)	/* the CPU hands over the next instruction's address */
#define HVX_FEAT_APIC_VIRT	(1ULL << 5)	/* x2APIC: the CPU delivers and EOIs itself */
#define HVX_FEAT_SINGLE_STEP	(1ULL << 6)	/* HVX_DEBUG_STEP works */
#define HVX_FEAT_DIRTY_RANGE	(1ULL << 7)	/* HVX_GET_DIRTY takes ranges */
#define HVX_FEAT_XSAVES		(1ULL << 8)	/* CPUID 0xD.1 EAX[3] may be shown; IA32_XSS is 0 */

/* HVX_GET_INFO: what this module and this host offer. Always succeeds. */
struct hvx_info {
	__u32 api_version;	/* HVX_API_VERSION of the module */
	__u32 run_size;		/* bytes to mmap() on a vCPU fd, a multiple of the page size */
	__u64 features;		/* HVX_FEAT_* */
	__u32 max_vcpus;
	__u32 max_slots;
	__u32 tsc_khz;		/* host TSC frequency, kHz */
	__u32 phys_bits;	/* guest-physical address width that can be mapped */
	__u64 xcr0;		/* XCR0 bits that a guest may be given */
	__u32 xsave_size;	/* bytes of HVX_STATE_XSAVE data */
	char  backend[12];	/* "svm" or "vmx", NUL-terminated; for messages only */
	__u64 cr4, efer;	/* bits that a guest may be given */
	__u32 pv_features;	/* KVM_FEATURE_* that the module answers */
	__u32 pad;
	__u64 reserved[5];
};

/*
 * One CPUID leaf. Where HVX_CPUID_SUBLEAF is clear, the entry answers for every
 * ECX. Leaves that are not in the table read as zeroes (and, above the highest
 * basic leaf, as the highest basic leaf's data on CPUs that do so; hvx: zeroes).
 *
 * Userspace makes the table: the host's own CPUID, less what hvx does not
 * virtualise. What an instruction needs beyond the CPU itself decides:
 *  - CR4, EFER or XCR0 bits: hvx_info.cr4, .efer, .xcr0 have them;
 *  - an MSR: the module knows it (HVX_SAVED_MSRS), or userspace answers it;
 *  - nothing: it works whatever the table says.
 * The module gives x2APIC, the TSC deadline timer and TSC_ADJUST on every host.
 * Saying more than that misleads the guest and harms nobody else: what a guest
 * may turn on is bounded by the host, the module, and then the table.
 */
struct hvx_cpuid_entry {
	__u32 leaf;
	__u32 subleaf;
	__u32 flags;		/* HVX_CPUID_* */
	__u32 eax, ebx, ecx, edx;
	__u32 pad;
};
#define HVX_CPUID_SUBLEAF	(1U << 0)	/* subleaf is significant */

/*
 * HVX_SET_CPUID (vCPU). nent: number of entries.
 * Entries ascend by leaf, then subleaf. SET is allowed until the vCPU has first
 * run, then only with the same table (EBUSY otherwise).
 * Dynamic bits (OSXSAVE, OSPKE, the APIC bit, EBX of leaf 0xD subleaves 0 and
 * 1) are computed by the module whatever the table says.
 */
struct hvx_cpuid {
	__u32 nent;
	__u32 pad;
	__u64 entries;		/* struct hvx_cpuid_entry * */
};

/*
 * The MSRs that HVX_GET_MSRS / HVX_SET_MSRS must carry to save and restore a
 * vCPU: all that the module keeps and no state group shows. A later module
 * keeps more only where userspace's CPUID table asks for it.
 */
#define HVX_SAVED_MSRS { \
	0x0000003b,			/* IA32_TSC_ADJUST */ \
	0x00000174, 0x00000175, 0x00000176, /* IA32_SYSENTER_CS, _ESP, _EIP */ \
	0x00000277, 0x00000da0,		/* IA32_PAT, IA32_XSS */ \
	0x4b564d01, 0x4b564d03, 0x4b564d04, /* paravirtual: system time, steal time, EOI */ \
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, SFMASK */ \
	0xc0000102, 0xc0000103,		/* KERNEL_GS_BASE, TSC_AUX */ \
}

/* HVX_CREATE_VM: returns a VM fd (close-on-exec). */
struct hvx_create_vm {
	__u32 flags;		/* HVX_VM_* */
	__u32 pad;
	__u64 reserved[7];
};
#define HVX_VM_EXIT_HLT		(1U << 0)	/* HLT exits with HVX_EXIT_HALTED instead of waiting in the kernel */
#define HVX_VM_EXIT_HYPERCALL	(1U << 1)	/* hypercalls unknown to the module exit with HVX_EXIT_HYPERCALL */
#define HVX_VM_EXIT_MSR		(1U << 2)	/* MSRs unknown to the module exit with HVX_EXIT_MSR instead of #GP */

/* ---------------------------------------------------------------------- VM */

/*
 * HVX_SET_SLOT: guest-physical range [gpa, gpa+size) shows the caller's memory
 * at [hva, hva+size). All three are page-aligned. What is mapped there may
 * change at any time: an access for which there is no ordinary memory (nothing
 * mapped, no right to write, VM_IO, VM_PFNMAP) exits with
 * HVX_EXIT_MEMORY_FAULT. size 0 deletes the slot. A slot may be moved (new gpa,
 * same size and hva) and its flags changed while vCPUs run; changing size or
 * hva needs delete and add: EINVAL. Overlap with another slot: EEXIST. Accesses
 * after the call returns see the new layout. Where no slot is, accesses exit with
 * HVX_EXIT_MMIO, but for those to the xAPIC's page; where the CPU does these
 * (VT-x) a page of the VM's own is at 0xfee00000 for vCPUs whose xAPIC is not.
 */
struct hvx_slot {
	__u32 slot;		/* 0..HVX_MAX_SLOTS-1 */
	__u32 flags;		/* HVX_SLOT_* */
	__u64 gpa;
	__u64 size;
	__u64 hva;
	__u64 reserved[2];
};
#define HVX_SLOT_READONLY	(1U << 0)	/* guest writes exit as MMIO */
#define HVX_SLOT_LOG_DIRTY	(1U << 1)	/* keep a dirty bitmap; it starts clean */

/*
 * HVX_GET_DIRTY: copy the dirty bits of [first_page, first_page + num_pages)
 * of a slot, one bit a 4 KiB page, little-endian, to bitmap (64-bit words;
 * first_page must be a multiple of 64). With HVX_DIRTY_CLEAR, the bits
 * reported are cleared and the pages write-protected again before the call
 * returns: a write that the bitmap does not show will be in the next one.
 * ENOENT: no such slot, or not logged. EINVAL: range.
 */
struct hvx_dirty {
	__u32 slot;
	__u32 flags;		/* HVX_DIRTY_* */
	__u64 first_page;
	__u64 num_pages;
	__u64 bitmap;		/* __u64 *, (num_pages + 63) / 64 words */
	__u64 dirty_pages;	/* out: number of bits set */
	__u64 reserved[2];
};
#define HVX_DIRTY_CLEAR		(1U << 0)

/*
 * An interrupt message, as a PCI function would write it (SDM vol. 3, "Message
 * Signalled Interrupts"; 15-bit destination ids in address bits 11:5).
 * HVX_SIGNAL_MSI delivers it once; returns the number of vCPUs that took it.
 */
struct hvx_msi {
	__u64 address;
	__u32 data;
	__u32 flags;		/* must be zero */
};

/*
 * HVX_IRQFD: each time eventfd `fd` is signalled, deliver the message. An fd
 * that is assigned already is assigned anew. With HVX_IRQFD_RESAMPLE the
 * message is level-triggered (data bit 15), and resample_fd is signalled at
 * each EOI of a level-triggered interrupt of its vector, whoever sent it;
 * HVX_EXIT_EOI is made as for any other. HVX_IRQFD_DEASSIGN removes it; after
 * the call returns no message is in flight. EBADF, ENOENT, ENOSPC.
 */
struct hvx_irqfd {
	__s32 fd;
	__s32 resample_fd;	/* with HVX_IRQFD_RESAMPLE, else -1 */
	__u32 flags;		/* HVX_IRQFD_* */
	__u32 data;
	__u64 address;
	__u64 reserved[2];
};
#define HVX_IRQFD_DEASSIGN	(1U << 0)
#define HVX_IRQFD_RESAMPLE	(1U << 1)

/*
 * HVX_IOEVENTFD: a guest write of len bytes (0 = any length) to addr signals
 * the eventfd instead of exiting. Port I/O with HVX_IOEVENTFD_PIO, else MMIO.
 * With HVX_IOEVENTFD_DATAMATCH only where the value written equals datamatch
 * (len must not be 0). Overlap of equal address, length and match: EEXIST.
 */
struct hvx_ioeventfd {
	__u64 addr;
	__u64 datamatch;
	__u32 len;		/* 0, 1, 2, 4 or 8 */
	__s32 fd;
	__u32 flags;		/* HVX_IOEVENTFD_* */
	__u32 pad;
	__u64 reserved[2];
};
#define HVX_IOEVENTFD_PIO	(1U << 0)
#define HVX_IOEVENTFD_DATAMATCH	(1U << 1)
#define HVX_IOEVENTFD_DEASSIGN	(1U << 2)

/*
 * HVX_SET_MSR_FILTER: replaces the VM's filter. Accesses to an MSR in a range
 * exit with HVX_EXIT_MSR (reads, writes, or both). Local APIC MSRs
 * (0x800-0x8ff) and those that the CPU switches by itself cannot be filtered:
 * EINVAL. Takes effect on each vCPU before it next enters the guest.
 */
struct hvx_msr_range {
	__u32 first;
	__u32 last;		/* inclusive */
	__u32 flags;		/* HVX_MSR_FILTER_* */
	__u32 pad;
};
#define HVX_MSR_FILTER_READ	(1U << 0)
#define HVX_MSR_FILTER_WRITE	(1U << 1)

struct hvx_msr_filter {
	__u32 count;
	__u32 pad;
	__u64 ranges;		/* struct hvx_msr_range * */
};

/*
 * HVX_GET_CLOCK / HVX_SET_CLOCK: the VM's paravirtual clock. ns: nanoseconds
 * the guest's kvmclock shows now. realtime_ns: the host's wall clock at the same
 * moment (out only; zero on SET). host_tsc: its TSC then; on SET the moment at
 * which the clock shows ns, 0: now.
 */
struct hvx_clock {
	__u64 ns;
	__u64 realtime_ns;
	__u64 host_tsc;
	__u64 reserved[5];
};

/* -------------------------------------------------------------------- vCPU */

struct hvx_regs {
	__u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;	/* in encoding order 0..7 */
	__u64 r8, r9, r10, r11, r12, r13, r14, r15;
	__u64 rip, rflags;
};

/* Segment attributes as in bits 55:40 of a descriptor, packed (see HVX_SEG_*). */
struct hvx_segment {
	__u64 base;
	__u32 limit;		/* bytes, granularity already applied */
	__u16 selector;
	__u16 attr;		/* HVX_SEG_* */
};
#define HVX_SEG_TYPE(a)		((a) & 0xf)
#define HVX_SEG_S		(1U << 4)	/* code or data (clear: system) */
#define HVX_SEG_DPL(a)		(((a) >> 5) & 3)
#define HVX_SEG_P		(1U << 7)	/* present */
#define HVX_SEG_AVL		(1U << 8)
#define HVX_SEG_L		(1U << 9)	/* 64-bit code */
#define HVX_SEG_DB		(1U << 10)
#define HVX_SEG_G		(1U << 11)
#define HVX_SEG_UNUSABLE	(1U << 12)	/* null selector loaded */

struct hvx_dtable {
	__u64 base;
	__u16 limit;
	__u16 pad[3];
};

struct hvx_sregs {
	struct hvx_segment es, cs, ss, ds, fs, gs;	/* in encoding order 0..5 */
	struct hvx_segment ldtr, tr;
	struct hvx_dtable gdtr, idtr;
	__u64 cr0, cr2, cr3, cr4, cr8;
	__u64 efer;
	__u64 apic_base;	/* IA32_APIC_BASE */
	__u64 cpl;		/* out only; ignored on SET */
};

struct hvx_debugregs {
	__u64 db[4];
	__u64 dr6, dr7;
	__u64 reserved[2];
};

/*
 * One event, in the form that AMD-V and VT-x share (APM vol. 2 15.20, SDM vol. 3
 * "VM-Entry Controls for Event Injection"): vector, kind, HVX_EVENT_VALID, and
 * for exceptions that push an error code HVX_EVENT_HAS_CODE. 0: no event.
 */
#define HVX_EVENT_VECTOR	0xffU
#define HVX_EVENT_TYPE		(7U << 8)
#define HVX_EVENT_IRQ		(0U << 8)
#define HVX_EVENT_NMI		(2U << 8 | 2)
#define HVX_EVENT_EXC		(3U << 8)
#define HVX_EVENT_HAS_CODE	(1U << 11)
#define HVX_EVENT_VALID		(1U << 31)

/* Events in flight, what blocks them, and whether the vCPU runs. */
struct hvx_events {
	__u32 injected;		/* delivery was cut short by an exit: goes in again, before all others */
	__u32 injected_code;
	__u32 exception;	/* to be delivered at the next entry */
	__u32 exception_code;
	__u64 exception_payload;	/* CR2 for #PF, DR6 bits for #DB */
	__u32 extint;		/* an HVX_EVENT_IRQ that the 8259 has let go of, not delivered yet */
	__u8  interrupt_shadow;	/* HVX_SHADOW_* */
	__u8  nmi_pending;	/* 0..2 */
	__u8  nmi_masked;	/* until IRET */
	__u8  mp_state;		/* HVX_MP_* */
	__u8  pv_unhalted;	/* KVM_HC_KICK_CPU came: the next HLT, or this one, ends at once. SET: 0 takes none back */
	__u8  pad[7];
	__u64 reserved[2];
};
#define HVX_SHADOW_STI		(1U << 0)	/* STI: shadow of one instruction */
#define HVX_SHADOW_MOV_SS	(1U << 1)	/* MOV SS / POP SS */

#define HVX_MP_RUNNABLE		0
#define HVX_MP_HALTED		1
#define HVX_MP_WAIT_SIPI	2	/* INIT received (or AP after power-on), waits for SIPI */

/*
 * HVX_STATE_LAPIC: the 4 KiB register page in xAPIC layout, plus what it does
 * not show. A one-shot or periodic timer runs on from its current count (0x390).
 */
struct hvx_lapic_state {
	__u32 regs[256];	/* register at offset o is regs[o / 4] (SDM vol. 3 table "Local APIC Register Address Map") */
	__u64 tsc_deadline;	/* guest TSC, 0 = disarmed */
	__u8  pending_init;
	__u8  pending_sipi;
	__u8  sipi_vector;
	__u8  pad[5];
	__u64 reserved[6];
};

/*
 * HVX_STATE_TSC. guest TSC = scaled host TSC + offset. Scaled: as it is where the
 * frequencies are equal, else times (khz << 32) / hvx_info.tsc_khz, >> 32, each
 * rounded down. Writing it sets the guest TSC to value now, or, with
 * HVX_TSC_BY_OFFSET, sets the offset, and value is ignored.
 */
#define HVX_TSC_BY_OFFSET	(1U << 0)
struct hvx_tsc_state {
	__u64 value;		/* guest TSC */
	__u64 offset;
	__u32 khz;		/* guest TSC frequency; 0 on SET: the host's */
	__u32 flags;		/* HVX_TSC_BY_OFFSET; out: 0 */
	__u64 reserved[4];
};

/* HVX_STATE_XSAVE: an XSAVE area, standard (non-compacted) format, then XCR0. */
struct hvx_xsave_hdr {
	__u64 xcr0;
	__u32 size;		/* of area[], struct hvx_info.xsave_size */
	__u32 pad;
	__u64 reserved[6];
	/* followed by size bytes of XSAVE area */
};

/* State groups of HVX_GET_STATE / HVX_SET_STATE, and bits (1 << group) of run page masks. */
#define HVX_STATE_REGS		0	/* struct hvx_regs */
#define HVX_STATE_SREGS		1	/* struct hvx_sregs */
#define HVX_STATE_EVENTS	2	/* struct hvx_events */
#define HVX_STATE_DEBUGREGS	3	/* struct hvx_debugregs */
#define HVX_STATE_XSAVE		4	/* struct hvx_xsave_hdr + area */
#define HVX_STATE_LAPIC		5	/* struct hvx_lapic_state */
#define HVX_STATE_TSC		6	/* struct hvx_tsc_state */
#define HVX_STATE_NR		7

/*
 * HVX_GET_STATE / HVX_SET_STATE: one group. size must be the group's size
 * exactly (EINVAL), so that a grown group gets a number of its own. SET checks
 * everything that the CPU would reject at entry (EINVAL) and takes effect at
 * the next entry. EBUSY never: the calls wait until the vCPU leaves HVX_RUN.
 */
struct hvx_state {
	__u32 size;
	__u32 group;		/* HVX_STATE_* */
	__u64 data;
	__u64 reserved[2];
};

struct hvx_msr_entry {
	__u32 index;
	__u32 pad;
	__u64 value;
};

/*
 * HVX_GET_MSRS / HVX_SET_MSRS: entries in order; stops at the first one that
 * is unknown or refused. Returns the number done.
 */
struct hvx_msrs {
	__u32 count;		/* at most HVX_MAX_MSRS */
	__u32 pad;
	__u64 entries;		/* struct hvx_msr_entry * */
};

/*
 * HVX_SET_DEBUG: a debugger's breakpoints and single-step, apart from the
 * guest's own debug registers (which the guest keeps seeing unchanged, but
 * which do not fire while HVX_DEBUG_HW is set).
 */
struct hvx_debug {
	__u32 flags;		/* HVX_DEBUG_* */
	__u32 pad;
	__u64 db[4];		/* with HVX_DEBUG_HW: DR0-3 */
	__u64 dr7;		/* with HVX_DEBUG_HW */
	__u64 reserved[2];
};
#define HVX_DEBUG_STEP		(1U << 0)	/* exit after each instruction */
#define HVX_DEBUG_HW		(1U << 1)	/* use db[], dr7 */
#define HVX_DEBUG_SW		(1U << 2)	/* INT3 exits */

/*
 * HVX_GET_STATS (VM and vCPU fd): counters since creation. VM: sums over its
 * vCPUs plus the VM's own. exits: hardware exits; exits_user: returns of HVX_RUN
 * to userspace; exit_intr, exit_nmi: host interrupts; exit_page_fault:
 * second-level faults, MMIO included; halt_ns: time spent waiting in HLT;
 * pages_mapped_*: leaves made; pages_zapped: leaves removed; table_pages (VM):
 * second-level table pages now in use; ioeventfd, irqfd: signals taken;
 * msr_refused: #GP for unknown or refused MSRs.
 */
#define HVX_STATS(X)								\
	X(exits), X(exits_user),						\
	X(exit_pio), X(exit_mmio), X(exit_msr), X(exit_cpuid), X(exit_hlt),	\
	X(exit_pause), X(exit_intr), X(exit_nmi), X(exit_page_fault),		\
	X(exit_hypercall), X(exit_cr), X(exit_window), X(exit_exception),	\
	X(exit_other), X(inj_irq), X(inj_nmi), X(inj_exception),		\
	X(ipi_sent), X(timer_fired), X(halt_ns),				\
	X(pages_mapped_4k), X(pages_mapped_2m), X(pages_mapped_1g),		\
	X(pages_zapped), X(tlb_flush), X(table_pages),				\
	X(ioeventfd), X(irqfd), X(msr_refused)

#define HVX_STATS_FIELD(counter) counter
struct hvx_stats {
	__u64 HVX_STATS(HVX_STATS_FIELD);
	__u64 reserved[16];
};

/* ---------------------------------------------------------- the run page */

/* Exit reasons: struct hvx_run.exit_reason */
#define HVX_EXIT_NONE		0
#define HVX_EXIT_PIO		1	/* .pio */
#define HVX_EXIT_MMIO		2	/* .mmio: a plain MOV, already decoded */
#define HVX_EXIT_EMULATE	3	/* .emulate: userspace executes one instruction */
#define HVX_EXIT_MSR		4	/* .msr */
#define HVX_EXIT_HYPERCALL	5	/* .hypercall */
#define HVX_EXIT_EOI		6	/* .eoi */
#define HVX_EXIT_INTR_WINDOW	7	/* the 8259's INTR (HVX_SET_EXTINT) can be taken now: acknowledge the 8259, answer in extint_vector */
#define HVX_EXIT_DEBUG		8	/* .debug */
#define HVX_EXIT_HALTED		9	/* HLT, with HVX_VM_EXIT_HLT */
#define HVX_EXIT_SHUTDOWN	10	/* triple fault: registers as the CPU left them, for a message; reset the vCPU before it runs again */
#define HVX_EXIT_INTERRUPTED	11	/* a signal, or other work of the thread's own; HVX_RUN also returns -1, EINTR: call it again */
#define HVX_EXIT_KICKED		12	/* HVX_KICK or immediate_exit */
#define HVX_EXIT_FAIL_ENTRY	13	/* .fail */
#define HVX_EXIT_INTERNAL	14	/* .fail */
#define HVX_EXIT_MEMORY_FAULT	15	/* .memory_fault: in a slot, but the host memory cannot be had */
#define HVX_EXIT_TASK_SWITCH	16	/* .task_switch: userspace switches to another task */
#define HVX_EXIT_NR		17

/* IN/OUT without a string prefix. Reads: userspace fills data before the next HVX_RUN. */
struct hvx_exit_pio {
	__u16 port;
	__u8  size;		/* 1, 2, 4 */
	__u8  is_write;
	__u32 data;
};

/* A plain MOV/MOVZX/MOVSX to or from gpa; the module completes the register on the next HVX_RUN. */
struct hvx_exit_mmio {
	__u64 gpa;
	__u64 data;		/* zero-extended */
	__u8  size;		/* 1, 2, 4, 8 */
	__u8  is_write;
	__u8  pad[6];
};

/*
 * One instruction at CS:RIP that userspace must execute (MMIO that is no plain
 * MOV, string I/O). All groups are valid. Userspace writes back registers
 * through the run page's dirty mask, RIP included.
 */
struct hvx_exit_emulate {
	__u64 gpa;		/* faulting guest-physical address, ~0 for port I/O */
	__u8  is_write;
	__u8  is_pio;
	__u8  insn_len;		/* valid bytes in insn[]; 0: fetch them yourself */
	__u8  insn[15];
	__u8  pad[6];
};

/* An MSR left to userspace. Set error to make the guest take #GP. */
struct hvx_exit_msr {
	__u32 index;
	__u8  is_write;
	__u8  error;		/* in: non-zero = #GP(0) */
	__u8  pad[2];
	__u64 data;
};

/* nr and args as KVM's documented hypercall convention (RAX; RBX, RCX, RDX, RSI); ret goes to RAX. */
struct hvx_exit_hypercall {
	__u64 nr;
	__u64 args[4];
	__u64 ret;
	__u32 longmode;
	__u32 cpl;
};

struct hvx_exit_eoi {
	__u32 vector;		/* a level-triggered vector was EOIed */
	__u32 pad;
};

struct hvx_exit_debug {
	__u64 rip;		/* linear address */
	__u64 dr6;
	__u64 dr7;
	__u32 vector;		/* 1 = #DB, 3 = #BP */
	__u32 pad;
};

struct hvx_exit_fail {
	__u64 hw_reason;	/* the CPU's own exit or error code */
	__u64 info[4];		/* hardware qualification, or module detail */
	__u32 suberror;		/* HVX_INTERNAL_* with HVX_EXIT_INTERNAL */
	__u32 cpu;		/* host CPU */
};
#define HVX_INTERNAL_UNHANDLED	1	/* the CPU made an exit the module does not know */
#define HVX_INTERNAL_DELIVERY	2	/* MMIO touched while an event was being delivered */

/*
 * A task switch through a TSS (SDM vol. 3, chapter "Task Management"), which the
 * CPU leaves to userspace: VT-x; AMD-V does it without an exit. All groups are
 * valid. What the CPU has checked: rights to the gate and to the new TSS's
 * descriptor, its type, P and limit. Nothing has changed, neither in memory nor
 * in registers. Where an event led to the switch it is events.injected, with its
 * error code in injected_code. Userspace does the switch, takes the event back
 * (0), and sets the dirty bits; a fault on the way goes into events.exception.
 */
struct hvx_exit_task_switch {
	__u16 selector;		/* of the new task's TSS */
	__u8  source;		/* HVX_TASK_* */
	__u8  insn_len;		/* bytes of the instruction at RIP that did it; 0: an event did */
	__u32 pad;
};
#define HVX_TASK_CALL		0	/* CALL, to the TSS or through a task gate */
#define HVX_TASK_IRET		1	/* IRET with RFLAGS.NT: back to the task of the old TSS's link */
#define HVX_TASK_JMP		2
#define HVX_TASK_GATE		3	/* a task gate in the IDT; insn_len: INT n, INT3, INTO */

struct hvx_exit_memory_fault {
	__u64 gpa;
	__u32 is_write;
	__u32 error;		/* positive errno */
};

/*
 * The page shared with the kernel: mmap(vCPU fd, offset 0, run_size).
 * The module reads each "in" field once per HVX_RUN, at its start.
 *
 * Register groups travel here so that a common exit costs one system call:
 *   want:  bits (1 << HVX_STATE_REGS | SREGS | EVENTS) that userspace would like filled at each exit
 *   valid: bits that the module did fill at this exit
 *   dirty: bits that userspace changed; written to the vCPU at the next HVX_RUN, then cleared
 * A dirty group that does not pass SET_STATE's checks makes HVX_RUN fail with EINVAL.
 */
struct hvx_run {
	/* in */
	__u32 want;
	__u32 dirty;
	__u8  immediate_exit;	/* leave before entering the guest; set by a signal handler or another thread */
	__u8  extint_valid;	/* answer to HVX_EXIT_INTR_WINDOW: deliver extint_vector; cleared by the module */
	__u8  extint_vector;
	__u8  pad0[5];
	__u64 reserved0[6];
	/* out */
	__u32 exit_reason;	/* HVX_EXIT_* */
	__u32 valid;
	__u8  extint_ready;	/* the guest could take an 8259 interrupt now */
	__u8  if_flag;		/* RFLAGS.IF */
	__u8  pad1[6];
	__u64 reserved1[6];
	union {
		struct hvx_exit_pio pio;
		struct hvx_exit_mmio mmio;
		struct hvx_exit_emulate emulate;
		struct hvx_exit_msr msr;
		struct hvx_exit_hypercall hypercall;
		struct hvx_exit_eoi eoi;
		struct hvx_exit_debug debug;
		struct hvx_exit_fail fail;
		struct hvx_exit_memory_fault memory_fault;
		struct hvx_exit_task_switch task_switch;
		__u8 exit_pad[256];
	};
	struct hvx_regs regs;
	struct hvx_sregs sregs;
	struct hvx_events events;
};

/* ------------------------------------------------------------------ ioctls */

#define HVX_IOC 'h'

/* /dev/hvx */
#define HVX_GET_INFO		_IOR(HVX_IOC, 0x00, struct hvx_info)
#define HVX_CREATE_VM		_IOW(HVX_IOC, 0x01, struct hvx_create_vm)

/* VM fd */
#define HVX_CREATE_VCPU		_IO(HVX_IOC, 0x20)	/* arg: id, also the initial APIC id; returns a vCPU fd. EEXIST, EINVAL */
#define HVX_SET_SLOT		_IOW(HVX_IOC, 0x21, struct hvx_slot)
#define HVX_GET_DIRTY		_IOWR(HVX_IOC, 0x22, struct hvx_dirty)
#define HVX_SIGNAL_MSI		_IOW(HVX_IOC, 0x23, struct hvx_msi)
#define HVX_IRQFD		_IOW(HVX_IOC, 0x24, struct hvx_irqfd)
#define HVX_IOEVENTFD		_IOW(HVX_IOC, 0x25, struct hvx_ioeventfd)
#define HVX_SET_MSR_FILTER	_IOW(HVX_IOC, 0x26, struct hvx_msr_filter)
#define HVX_GET_CLOCK		_IOR(HVX_IOC, 0x27, struct hvx_clock)
#define HVX_SET_CLOCK		_IOW(HVX_IOC, 0x28, struct hvx_clock)

/* VM and vCPU fd */
#define HVX_GET_STATS		_IOR(HVX_IOC, 0x2f, struct hvx_stats)

/* vCPU fd */
#define HVX_RUN			_IO(HVX_IOC, 0x40)	/* arg must be 0. 0 with exit_reason set, or EINTR, EINVAL, EIO */
#define HVX_GET_STATE		_IOW(HVX_IOC, 0x41, struct hvx_state)
#define HVX_SET_STATE		_IOW(HVX_IOC, 0x42, struct hvx_state)
#define HVX_GET_MSRS		_IOW(HVX_IOC, 0x43, struct hvx_msrs)
#define HVX_SET_MSRS		_IOW(HVX_IOC, 0x44, struct hvx_msrs)
#define HVX_SET_CPUID		_IOW(HVX_IOC, 0x45, struct hvx_cpuid)
#define HVX_SET_DEBUG		_IOW(HVX_IOC, 0x46, struct hvx_debug)
#define HVX_NMI			_IO(HVX_IOC, 0x47)	/* queue an NMI; any thread */
#define HVX_KICK		_IO(HVX_IOC, 0x48)	/* make HVX_RUN return with HVX_EXIT_KICKED, now or at its next call; any thread */
#define HVX_SET_EXTINT		_IO(HVX_IOC, 0x49)	/* arg 0/1: level of the 8259's INTR pin at this vCPU; any thread. While 1, HVX_EXIT_INTR_WINDOW as soon as the guest can take it */

#endif
