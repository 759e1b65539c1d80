/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The core's own types: VM, vCPU, and what each file offers to the others.
 *
 * Locks, outermost first:
 *   hw_lock         hardware on/off (main.c)
 *   vm->lock        creation of vCPUs, irqfds, ioeventfds, MSR filter (mutex)
 *   vcpu->lock      everything in a vCPU that only its runner touches (mutex)
 *   vm->slots_lock  changes to the slot array (mutex), which also take mmu_lock;
 *                   readers use vm->srcu, or RCU where they do not sleep
 *   mmap_lock       (the host's; taken by gup under the above)
 *   vm->mmu_lock    second-level tables (spinlock; taken in MMU notifiers)
 *   vm->irqfd_lock  list of irqfds (spinlock, irq-safe)
 * LAPIC request registers are atomic; a LAPIC's other registers belong to its
 * vCPU's runner.
 */
#ifndef _HVX_H
#define _HVX_H

/* What most files need; what one needs it includes itself. */
#include <linux/hashtable.h>
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/nospec.h>
#include <linux/rcuwait.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/tsc.h>
#include <uapi/hvx.h>

#include "compat.h"
#include "decode.h"

#define hvx_err(fmt, ...)  pr_err("hvx: " fmt, ##__VA_ARGS__)
#define hvx_info(fmt, ...) pr_info("hvx: " fmt, ##__VA_ARGS__)

/*
 * Work that a vCPU does before it next enters the guest. Set by any context
 * with hvx_request(); taken by the runner. A request that must be seen before
 * the caller goes on is followed by hvx_kick() or hvx_kick_all_wait().
 */
enum hvx_req {
	HVX_REQ_TLB_FLUSH,	/* second-level tables changed: drop all of this VM's translations */
	HVX_REQ_KICK,		/* return to userspace with HVX_EXIT_KICKED */
	HVX_REQ_EVENT,		/* look at IRR, NMI, INIT/SIPI again */
	HVX_REQ_CLOCK,		/* kvmclock page of this vCPU is stale */
	HVX_REQ_STEAL,		/* steal time page of this vCPU is stale */
	HVX_REQ_TIMER,		/* LAPIC timer expired */
	HVX_REQ_PV_EOI,		/* PV EOI word could not be read without sleeping */
	HVX_REQ_EOI,		/* a level-triggered EOI waits for userspace: HVX_EXIT_EOI */
	HVX_REQ_TRIPLE,		/* triple fault: HVX_EXIT_SHUTDOWN */
	HVX_REQ_STEP,		/* the debugger's step ended in an instruction that the module did: HVX_EXIT_DEBUG */
};

/* ----------------------------------------------------------------- memory */

/* One memory slot. Immutable once published, but for the bitmap's bits. */
struct hvx_memslot {
	u64 base_gfn;
	u64 npages;
	unsigned long hva;
	u32 flags;		/* HVX_SLOT_* */
	u32 id;
	unsigned long *dirty;	/* npages bits, or NULL; set_bit()/xchg() only */
};

/* Slots by rising address; replaced as a whole. */
struct hvx_memslots {
	unsigned int count;
	unsigned int last;	/* where the last search ended */
	struct hvx_memslot slot[];
};

/* Access bits of a second-level fault, vendor-neutral. */
#define HVX_ACC_READ	(1U << 0)
#define HVX_ACC_WRITE	(1U << 1)
#define HVX_ACC_EXEC	(1U << 2)

/* Tables for one fault, allocated before mmu_lock is taken: all levels below the root. */
struct hvx_mmu_cache {
	unsigned int count;
	u64 *table[4];
};

/*
 * Second-level paging state of one VM (mmu.c). Nobody may hold a stale
 * translation while mmu_lock is free: who takes rights away from an entry
 * flushes before unlocking. stats.table_pages counts the tables.
 */
struct hvx_mmu {
	u64 *root;		/* top-level table, one page, for life */
	struct page *apic_page;	/* at BASE_DEFAULT, unless a slot is, where hvx_backend->apic_page; for life */
	unsigned int levels;	/* 4 or 5 */
	bool logged;		/* there is a dirty log, or was */
	unsigned long invalidate_seq;	/* under mmu_lock; bumped by each notifier range and slot change */
	unsigned long invalidate_count;	/* notifier ranges in progress, all within: */
	unsigned long invalidate_start, invalidate_end;	/* hva */
	wait_queue_head_t invalidate_wait;	/* faults wait here until a range ends */
	struct hvx_mmu_cache caches[HVX_MAX_VCPUS];	/* each belongs to that vCPU's runner */
};

/* ---------------------------------------------------------------------- VM */

struct hvx_vm {
	refcount_t refs;		/* VM fd, vCPU fds */
	struct mm_struct *mm;		/* the creator's; mmgrab()ed for life */
	u32 flags;			/* HVX_VM_*, fixed at creation */
	u32 id;				/* for debugfs and traces, fixed */

	struct mutex lock;
	struct hvx_vcpu *vcpus[HVX_MAX_VCPUS];	/* set once under lock, for the VM's life */
	unsigned long vcpu_ids;		/* bit set: vcpus[bit] is there; atomic */

	/* memory: mmu.c */
	struct mutex slots_lock;
	struct srcu_struct srcu;	/* guards slots, io buses, msr filter */
	struct hvx_memslots __rcu *slots;	/* written under slots_lock and mmu_lock */
	struct hvx_mmu mmu;
	spinlock_t mmu_lock;
	struct cpumask kick_mask;	/* hvx_kick_all_wait(); mmu_lock */
	struct mmu_notifier mn;
	struct hvx_stats stats;		/* VM-wide counters; racy adds are fine */

	/* interrupts: irq/ */
	struct list_head irqfds;	/* changed under lock and irqfd_lock */
	spinlock_t irqfd_lock;
	DECLARE_HASHTABLE(ioevents, 7);	/* by address; RCU, changed under lock */
	unsigned int nr_ioevents;

	/* clock: pv.c */
	s64 clock_offset;		/* guest kvmclock ns = host TSC in ns + offset; READ_ONCE */

	struct hvx_msr_range __rcu *msr_filter;	/* x86/msr.c; ends with flags 0 */
	struct dentry *debugfs;
};

/* -------------------------------------------------------------------- vCPU */

struct hvx_vcpu {
	struct hvx_vm *vm;
	struct mutex lock;
	u32 id;				/* = APIC id at reset */
	u64 serial;			/* of all vCPUs since the module was loaded */
	int cpu;			/* CPU last run on, -1 never */
	bool in_guest;			/* from "interrupts off, requests checked" to VM exit: a kick needs an IPI */
	unsigned long requests;		/* bits of enum hvx_req, atomic */
	bool flush_tlb;			/* at the next entry: all of the guest's translations */
	struct rcuwait wait;		/* runner sleeping in HLT */
	u64 halt_last_ns;		/* how long its last wait was */
	struct hvx_run *run;		/* shared page(s): every read is hostile */
	bool launched;			/* has run once: CPUID is frozen */

	union {				/* the backend loads them at entry and stores them at exit */
		struct hvx_regs gpr;
		struct { u64 regs[16], rip, rflags; };
	};

	u64 cr2, efer, xcr0, apic_base;	/* the first two: as gpr */
	struct hvx_events ev;		/* its shadow: as gpr */
	atomic_t nmi_queued;		/* by any thread */
	unsigned long init_sipi;	/* atomic bits: 0 INIT pending, 1 SIPI pending */
	u8 sipi_queued;
	bool extint_level;		/* 8259 INTR, WRITE_ONCE */

	/* debugger */
	u32 debug_flags;
	u64 debug_db[4], debug_dr7;
	union {				/* the guest's own */
		struct hvx_debugregs dr;
		struct { u64 db[4], dr6, dr7; };
	};

	/* FPU: x86/fpu.c */
	void *xsave;			/* XSAVE area, 64-byte aligned */
	u32 host_pkru;			/* while loaded */
	bool fpu_loaded;		/* between hvx_fpu_load() and hvx_fpu_save() */
	bool msrs_loaded;		/* as hvx_tsc_aux() was told: the CPU has its MSRs */

	/* CPUID and MSRs: x86/ */
	struct hvx_cpuid_entry *cpuid;	/* ascending by leaf, subleaf; kvfree() */
	unsigned int cpuid_count;
	u16 cpuid_hint[32];		/* by a hash of the leaf: where its last look-up ended */
	u64 caps;			/* from CPUID: HVX_CAP_*, low half 0x40000001 EAX */
	u64 cr4_allowed;
	u64 efer_allowed;
	u64 xcr0_allowed;
	u64 tsc_aux;
	u64 pat;
	u64 tsc_offset;
	u64 tsc_adjust;
	u32 tsc_khz;
	u64 tsc_ratio;			/* guest TSC frequency / host's, 32.32 fixed point; 0 = none */
	unsigned int phys_bits;		/* guest's MAXPHYADDR */

	/* paravirtual: pv.c */
	struct hvx_pv {
		u64 system_time_msr, steal_msr, eoi_msr;
		u32 clock_version;
		bool eoi_set;		/* PV EOI flag is set in guest memory */
		bool unhalted;		/* KVM_HC_KICK_CPU: ends HLT once; xchg() by the run loop, set by any vCPU */
		u64 steal_last;
	} pv;

	struct hvx_lapic *lapic;	/* irq/lapic.c */

	/* The last exit, where the instruction ends only with userspace's answer. */
	u32 complete;			/* HVX_EXIT_*; HVX_EXIT_NONE: nothing is left to do */
	struct hvx_mov complete_mov;	/* what to do with the data */
	u64 complete_rip;		/* RIP afterwards */

	struct hvx_stats stats;
	void *backend;			/* vmx or svm vCPU */
};

/* What an exit handler says to the run loop. < 0: errno for HVX_RUN. */
enum hvx_next {
	HVX_REENTER = 0,	/* handled with preemption off: enter again */
	HVX_SLOW = 1,		/* ->handle_exit() is to be called again, with preemption on */
	HVX_TO_USER = 2,	/* run->exit_reason is filled */
	HVX_LEAVE = 3,		/* handled, but something must be done with preemption on first */
};

/* main.c */
extern struct dentry *hvx_debugfs;
DECLARE_PER_CPU(bool, hvx_cpu_on);	/* this CPU's extension is ours; preemption off */
int hvx_hw_get(void);		/* one per VM */
void hvx_hw_put(void);

/* ioctl.c */
extern struct miscdevice hvx_misc;

/* vcpu.c */
extern struct kmem_cache *hvx_vcpu_cache;
struct hvx_vcpu *hvx_vcpu_create(struct hvx_vm *vm, u32 id);	/* or ERR_PTR */
void hvx_vcpu_destroy(struct hvx_vcpu *vcpu);	/* nobody knows of it any more */
int hvx_vcpu_run(struct hvx_vcpu *vcpu);	/* vcpu->lock held */
void hvx_kick(struct hvx_vcpu *vcpu, u8 vector);	/* wake from HLT, or send this, 0: what forces an exit; any context */
void hvx_notify(struct hvx_vcpu *vcpu, bool posted);	/* hvx_lapic_accept() took a vector */
/* Request on all, return once none is in the guest with it unseen. Under mmu_lock, interrupts on. */
void hvx_kick_all_wait(struct hvx_vm *vm, enum hvx_req req);
enum hvx_next hvx_queue_exception(struct hvx_vcpu *vcpu, u8 vector, bool has_code, u32 code,
				  u64 payload);

/* Both, and hvx_queue_exception(), give HVX_REENTER, for exit handlers to end with. */
#define hvx_inject_gp(vcpu)	hvx_queue_exception(vcpu, 13, true, 0, 0)
#define hvx_inject_ud(vcpu)	hvx_queue_exception(vcpu, 6, false, 0, 0)

/* After this, the vCPU's next entry sees the request. Any context; a full barrier, as set_bit() is. */
static inline void hvx_request(struct hvx_vcpu *vcpu, enum hvx_req req)
{
	set_bit(req, &vcpu->requests);
}

static inline void hvx_request_kick(struct hvx_vcpu *vcpu, enum hvx_req req)
{
	hvx_request(vcpu, req);
	hvx_kick(vcpu, 0);
}

static inline bool hvx_take_request(struct hvx_vcpu *vcpu, enum hvx_req req)
{
	return test_bit(req, &vcpu->requests) && test_and_clear_bit(req, &vcpu->requests);
}

/* The vCPU of the lowest id from `id` on, or NULL. */
static inline struct hvx_vcpu *hvx_vcpu_from(struct hvx_vm *vm, unsigned int id)
{
	id = find_next_bit(&vm->vcpu_ids, HVX_MAX_VCPUS, id);
	/* Pairs with the release in create_vcpu(). */
	return id < HVX_MAX_VCPUS ? smp_load_acquire(&vm->vcpus[id]) : NULL;
}

#define hvx_for_each_vcpu(i, v, vm) \
	for ((i) = 0; ((v) = hvx_vcpu_from(vm, i)); (i) = (v)->id + 1)

/* mmu.c, slots.c, guestmem.c: all return 0 or a negative errno unless said otherwise */
int hvx_mmu_init(struct hvx_vm *vm);		/* after vm->mm is set; initialises slots_lock, srcu, mmu_lock, registers the notifier */
void hvx_mmu_destroy(struct hvx_vm *vm);	/* notifier unregistered, vCPUs gone: free slots, tables, srcu */
unsigned int hvx_mmu_phys_bits(void);		/* guest-physical address width that can be mapped */
int hvx_mmu_set_slot(struct hvx_vm *vm, const struct hvx_slot *arg);
int hvx_mmu_get_dirty(struct hvx_vm *vm, struct hvx_dirty *arg);
#define HVX_FAULT_OK		0	/* mapped, or another thread did: re-enter */
#define HVX_FAULT_MMIO		1	/* no slot, or write to a read-only one */
/*
 * Resolve a second-level fault at gpa. < 0: host memory cannot be had; without
 * can_sleep (preemption off) -EAGAIN: it takes sleeping.
 */
int hvx_mmu_fault(struct hvx_vcpu *vcpu, u64 gpa, u32 access, bool can_sleep);
/*
 * Guest-physical memory; the caller runs in vm->mm. Ranges may cross slots.
 * Writes log dirty. -EFAULT; HVX_MEM_ATOMIC: without sleeping (page faults
 * disabled), so also where the page is not present now.
 */
#define HVX_MEM_WRITE		(1U << 0)
#define HVX_MEM_ATOMIC		(1U << 1)
int hvx_guest_mem(struct hvx_vm *vm, u64 gpa, void *buf, size_t len, unsigned int how);
#define hvx_read_guest(vm, gpa, buf, len)	hvx_guest_mem(vm, gpa, buf, len, 0)
#define hvx_write_guest(vm, gpa, buf, len) \
	hvx_guest_mem(vm, gpa, (void *)(buf), len, HVX_MEM_WRITE)

/*
 * Fetch up to max bytes at CS:RIP into insn; returns the count (0 if the first byte is not mapped).
 * Without can_sleep it also fails where the host has paged the guest's memory out.
 */
int hvx_fetch_insn(struct hvx_vcpu *vcpu, u8 *insn, int max, bool can_sleep);

/* x86/cpuid.c */
/* vcpu->caps: features of the guest that mean something to more than the CPU. */
#define HVX_CAP_X2APIC	BIT_ULL(32)
#define HVX_CAP_RDTSCP	BIT_ULL(33)
#define HVX_CAP_RDPID	BIT_ULL(34)
#define HVX_CAP_INVPCID	BIT_ULL(35)
#define HVX_CAP_XSAVES	BIT_ULL(36)
void hvx_cpuid_limits(const struct hvx_vcpu *vcpu, u64 *cr4, u64 *efer, u64 *caps);	/* NULL: for any guest */
int hvx_vcpu_set_cpuid(struct hvx_vcpu *vcpu, struct hvx_cpuid_entry *e, unsigned int count); /* e: kvmalloc()ed, taken over on success; -EINVAL, -EBUSY */
void hvx_cpuid_init(struct hvx_vcpu *vcpu);	/* no table yet: leaves read zero, every feature that hvx offers is allowed */
void hvx_cpuid(struct hvx_vcpu *vcpu);		/* EAX, ECX -> EAX..EDX */
const struct hvx_cpuid_entry *hvx_cpuid_find(const struct hvx_vcpu *vcpu, u32 leaf);	/* subleaf 0; NULL: none */

/* x86/msr.c: 0 done; 1 = #GP; HVX_MSR_TO_USER */
#define HVX_MSR_TO_USER 2
int hvx_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write, bool host);	/* host: ioctl, not guest */
void hvx_msr_reset(struct hvx_vcpu *vcpu);	/* once, for a new vCPU; INIT leaves MSRs alone */
int hvx_set_guest_tsc_khz(struct hvx_vcpu *vcpu, u32 khz);	/* 0: the host's; -EINVAL */
bool hvx_canonical(struct hvx_vcpu *vcpu, u64 addr);	/* for the widest paging that the guest may use */
int hvx_set_msr_filter(struct hvx_vm *vm, const struct hvx_msr_range *range, unsigned int count);
u64 hvx_read_guest_tsc(struct hvx_vcpu *vcpu);		/* now */
u64 hvx_guest_tsc(struct hvx_vcpu *vcpu, u64 host_tsc);
u64 hvx_scale_tsc(const struct hvx_vcpu *vcpu, u64 host_tsc);	/* its rate, without its offset */
void hvx_write_guest_tsc(struct hvx_vcpu *vcpu, u64 val);
void hvx_set_tsc_offset(struct hvx_vcpu *vcpu, u64 offset);

/* x86/fpu.c */
extern u64 hvx_xcr0_mask;	/* XCR0 bits that guests may have */
extern u32 hvx_xsave_size;
int hvx_fpu_setup(void);	/* module load */
int hvx_fpu_create(struct hvx_vcpu *vcpu);	/* vcpu->xsave, in its power-up state; kfree() */
/*
 * Preemption off until hvx_fpu_save(). From 6.16 on softirqs are off as well:
 * the run loop leaves when local_softirq_pending(). Interrupts on at both.
 */
void hvx_fpu_load(struct hvx_vcpu *vcpu);
void hvx_fpu_save(struct hvx_vcpu *vcpu);
void hvx_fpu_get(struct hvx_vcpu *vcpu, void *buf);	/* struct hvx_xsave_hdr and area */
int hvx_fpu_set(struct hvx_vcpu *vcpu, const void *buf);	/* -EINVAL */
bool hvx_set_xcr0(struct hvx_vcpu *vcpu, u64 val);	/* false: #GP */
u32 hvx_xsave_bytes(struct hvx_vcpu *vcpu, u32 subleaf);	/* EBX of CPUID 0xD subleaf 0 or 1; while loaded */

/* irq/lapic.c */
int hvx_lapic_create(struct hvx_vcpu *vcpu);
void hvx_lapic_destroy(struct hvx_vcpu *vcpu);	/* cancels its timer */
void hvx_lapic_reset(struct hvx_vcpu *vcpu, bool init);	/* init: INIT, keeps the APIC id and base */
void hvx_lapic_get(struct hvx_vcpu *vcpu, void *buf);	/* struct hvx_lapic_state */
int hvx_lapic_set(struct hvx_vcpu *vcpu, const void *buf);	/* -EINVAL */
int hvx_lapic_set_base(struct hvx_vcpu *vcpu, u64 val, bool host);	/* IA32_APIC_BASE; 1 = #GP */
/* Never sleeps. 0, 1 = #GP; also TSC_DEADLINE 0x6e0. */
int hvx_lapic_msr(struct hvx_vcpu *vcpu, u32 index, u64 *val, bool write);
bool hvx_lapic_accepts_extint(struct hvx_vcpu *vcpu);	/* the 8259's INTR reaches this CPU */
u8 hvx_lapic_get_cr8(struct hvx_vcpu *vcpu);
void hvx_lapic_set_cr8(struct hvx_vcpu *vcpu, u8 val);
void hvx_lapic_timer(struct hvx_lapic *l);	/* runner, HVX_REQ_TIMER: fire if it is time, arm the hrtimer if it is not */
void hvx_lapic_timer_restart(struct hvx_lapic *l);	/* guest TSC was written: re-arm the deadline */

/* irq/route.c */
int hvx_deliver_msi(struct hvx_vm *vm, u64 address, u32 data);	/* any context; number of takers */
void hvx_send_ipi(struct hvx_vcpu *src, u64 icr);	/* ICR in x2APIC layout */
int hvx_pv_send_ipi(struct hvx_vcpu *src, u64 lo, u64 hi, u64 min, u64 icr, bool mode64);	/* KVM_HC_SEND_IPI */

/* irq/eventfd.c */
int hvx_irqfd(struct hvx_vm *vm, const struct hvx_irqfd *arg);
int hvx_ioeventfd(struct hvx_vm *vm, const struct hvx_ioeventfd *arg);
void hvx_eventfd_release(struct hvx_vm *vm);	/* all irqfds and ioeventfds */
bool hvx_ioeventfd_write(struct hvx_vcpu *vcpu, bool pio, u64 addr, u32 len, u64 val);	/* true: taken */
void hvx_irqfd_eoi(struct hvx_vm *vm, u8 vector);	/* level-triggered; any context */

/* pv.c */
int hvx_pv_set_clock(struct hvx_vcpu *vcpu, u64 val, bool host);	/* rows of x86/msr.c; never sleep */
int hvx_pv_set_steal(struct hvx_vcpu *vcpu, u64 val, bool host);
int hvx_pv_set_eoi(struct hvx_vcpu *vcpu, u64 val, bool host);
#define HVX_PV_UNKNOWN	(-1000)	/* KVM_ENOSYS of the documented ABI */
long hvx_pv_hypercall(struct hvx_vcpu *vcpu, u64 mask);	/* of registers' bits; what the guest gets; never sleeps */
void hvx_pv_update_clock(struct hvx_vcpu *vcpu);	/* may sleep */
void hvx_pv_update_steal(struct hvx_vcpu *vcpu);	/* may sleep */
void hvx_pv_eoi_set(struct hvx_vcpu *vcpu);	/* before entry, preemption off */
void hvx_pv_eoi_check(struct hvx_vcpu *vcpu);	/* after exit, pv.eoi_set, preemption off */
void hvx_pv_eoi_settle(struct hvx_vcpu *vcpu, unsigned int how);	/* HVX_REQ_PV_EOI, before events are looked at; HVX_MEM_ATOMIC or 0 */
int hvx_get_clock(struct hvx_vm *vm, struct hvx_clock *c);
int hvx_set_clock(struct hvx_vm *vm, const struct hvx_clock *c);	/* also at VM creation, with zeroes */

/* state.c */
#define HVX_MAX_STATE (sizeof(struct hvx_xsave_hdr) + 16384)	/* of any group, bytes */
int hvx_state(struct hvx_vcpu *vcpu, u32 group, void *buf, u32 size, bool set);	/* -EINVAL */
/* The groups that the run page can carry. */
#define HVX_RUN_GROUPS (BIT(HVX_STATE_REGS) | BIT(HVX_STATE_SREGS) | BIT(HVX_STATE_EVENTS))
void hvx_state_to_run(struct hvx_vcpu *vcpu, u32 mask);		/* groups to the run page */
int hvx_state_from_run(struct hvx_vcpu *vcpu, u32 mask);	/* groups from the run page; -EINVAL */
void hvx_vcpu_reset(struct hvx_vcpu *vcpu, bool init);
void hvx_serve_init_sipi(struct hvx_vcpu *vcpu);

#endif
