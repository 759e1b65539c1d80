/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels that hvx builds on, one shim each, with the
 * release it is for. Where a header can be asked, ask it: stable updates carry
 * changes back.
 */
#ifndef _HVX_COMPAT_H
#define _HVX_COMPAT_H

#include <asm/cpufeatures.h>

/* 6.16 and updates: TSA. */
#ifndef X86_FEATURE_CLEAR_CPU_BUF_VM
#define X86_FEATURE_CLEAR_CPU_BUF_VM	X86_FEATURE_CLEAR_CPU_BUF
#endif

/* 7.x: what clears the branch history is KVM's alone, the barrier stands in for it. */
#ifndef X86_FEATURE_CLEAR_BHB_VMEXIT
#define X86_FEATURE_CLEAR_BHB_VMEXIT	X86_FEATURE_IBPB_ON_VMEXIT
#endif

/* Updates of 6.1 up to 6.19: the kernel's own way to clear it. */
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
#define HVX_CLEAR_BHB	CLEAR_BRANCH_HISTORY_VMEXIT
#else
#define HVX_CLEAR_BHB
#endif

/* The rest is not for enter.S. */
#ifndef __ASSEMBLER__
#include <linux/mmu_notifier.h>
#include <linux/version.h>

/* 7.2: the *_young callbacks return bool instead of int. */
typedef typeof(((const struct mmu_notifier_ops *)0)->test_young(NULL, NULL, 0)) hvx_young_t;

/* 6.16 renamed the MSR accessors; the old names are gone in 7.x. */
#include <asm/msr.h>
#ifndef rdmsrq
#define rdmsrq(msr, val)	rdmsrl(msr, val)
#define wrmsrq(msr, val)	wrmsrl(msr, val)
#define rdmsrq_safe(msr, p)	rdmsrl_safe(msr, p)
#define wrmsrq_safe(msr, val)	wrmsrl_safe(msr, val)
#endif

/*
 * 6.6 and some updates of older kernels, up to 6.19: a callback that takes each
 * CPU out of VMX or SVM operation at a crash or emergency restart. Before, the
 * kernel looks at the CPU itself; after, it knows of its own users only and
 * exports nothing for others: a crash dump with guests running may fail there.
 */
#include <asm/reboot.h>
#if defined(HVX_HAVE_EMERGENCY_VIRT) && \
	(IS_ENABLED(CONFIG_KVM_INTEL) || IS_ENABLED(CONFIG_KVM_AMD))
#define hvx_register_emergency(fn)	cpu_emergency_register_virt_callback(fn)
#define hvx_unregister_emergency(fn)	cpu_emergency_unregister_virt_callback(fn)
#else
#define hvx_register_emergency(fn)	((void)(fn))
#define hvx_unregister_emergency(fn)	((void)(fn))
#endif

/* 6.8: eventfd_signal() lost its count. */
#if KERNEL_VERSION(6, 8, 0) <= LINUX_VERSION_CODE
#define hvx_eventfd_signal(ctx)	eventfd_signal(ctx)
#else
#define hvx_eventfd_signal(ctx)	eventfd_signal(ctx, 1)
#endif

/* 6.13: hrtimer_setup(), which also takes the function; 6.15 made the field private. */
#if KERNEL_VERSION(6, 13, 0) <= LINUX_VERSION_CODE
#define hvx_hrtimer_setup(t, fn, clock, mode)	hrtimer_setup(t, fn, clock, mode)
#else
#define hvx_hrtimer_setup(t, fn, clock, mode) \
	do { hrtimer_init(t, clock, mode); (t)->function = (fn); } while (0)
#endif

/* 6.18: the guest-work header was renamed. */
#if __has_include(<linux/entry-virt.h>)
#include <linux/entry-virt.h>
#else
#include <linux/entry-kvm.h>
#endif
#define hvx_work_pending()	__xfer_to_guest_mode_work_pending()
/* A guest of KVM's left MSRs until user mode. Up to 6.11 its last guest's end cleans up by interrupt. */
#define hvx_kvm_msrs_left()	test_thread_flag(TIF_USER_RETURN_NOTIFY)

/* 6.19 and some 6.12 updates: syscore operations take a data pointer and an object around them. */
#include <linux/syscore_ops.h>
#ifdef HVX_HAVE_SYSCORE_DATA
#define HVX_SYSCORE(name, suspend_fn, resume_fn) \
static int name##_suspend(void *data) { return suspend_fn(); } \
static void name##_resume(void *data) { resume_fn(); } \
static const struct syscore_ops name##_ops = { .suspend = name##_suspend, .resume = name##_resume }; \
static struct syscore name = { .ops = &name##_ops }
#define hvx_register_syscore(s)		register_syscore(s)
#define hvx_unregister_syscore(s)	unregister_syscore(s)
#else
#define HVX_SYSCORE(name, suspend_fn, resume_fn) \
static struct syscore_ops name = { .suspend = suspend_fn, .resume = resume_fn }
#define hvx_register_syscore(s)		register_syscore_ops(s)
#define hvx_unregister_syscore(s)	unregister_syscore_ops(s)
#endif

/*
 * 6.2: a page fault-in can be made to end at any signal; before, only at a
 * fatal one. 6.6: honouring NUMA hinting faults is asked for; before, implied.
 */
#if KERNEL_VERSION(6, 6, 0) <= LINUX_VERSION_CODE
#define HVX_FOLL_FAULT (FOLL_INTERRUPTIBLE | FOLL_HONOR_NUMA_FAULT)
#elif KERNEL_VERSION(6, 2, 0) <= LINUX_VERSION_CODE
#define HVX_FOLL_FAULT FOLL_INTERRUPTIBLE
#else
#define HVX_FOLL_FAULT 0
#endif

/* 6.9: kernels that may run with FRED, which takes events by other ways in than the IDT. */
#ifdef X86_FEATURE_FRED
#define hvx_fred()	cpu_feature_enabled(X86_FEATURE_FRED)
#else
#define hvx_fred()	false
#endif

/*
 * All up to now: hand a machine check that ended the guest to the host's own
 * handler. FRED kernels have no such software interrupt; there the banks are
 * polled by the kernel soon enough.
 */
static inline void hvx_host_machine_check(void)
{
	if (!hvx_fred())
		asm volatile("int $18");
}

#ifdef CONFIG_MODIFY_LDT_SYSCALL
#define hvx_has_ldt()	READ_ONCE(current->mm->context.ldt)
#else
#define hvx_has_ldt()	NULL
#endif

/*
 * 6.16: X86_FEATURE_USE_IBPB, which also says that nobody has switched the
 * mitigation off, is gone, and what the kernel's own barrier calls is KVM's alone.
 */
static inline void hvx_branch_barrier(void)
{
#ifdef X86_FEATURE_USE_IBPB
	if (boot_cpu_has(X86_FEATURE_USE_IBPB))
#else
	if (boot_cpu_has(X86_FEATURE_IBPB))
#endif
		wrmsrq(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
}

/* 6.17: what reads CPUID is no longer part of asm/processor.h. */
#if __has_include(<asm/cpuid/api.h>)
#include <asm/cpuid/api.h>
#endif

/* 6.17 and updates: a barrier on the way to userspace, where a guest could steer it (VMSCAPE). */
static inline void hvx_guest_ran(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/* 6.4: smp_send_reschedule() is a macro around a tracepoint. */
#include <linux/smp.h>
#ifdef smp_send_reschedule
#include <trace/events/ipi.h>
#endif

/* 6.9 renamed it. */
#include <asm/vmx.h>
#ifndef SECONDARY_EXEC_ENABLE_XSAVES
#define SECONDARY_EXEC_ENABLE_XSAVES	SECONDARY_EXEC_XSAVES
#endif

/*
 * CR4.VMXE with the kernel's shadow of CR4, and word to the Intel PT driver.
 * Some release after 6.12 keeps both functions for KVM alone.
 */
#include <asm/perf_event.h>
#include <asm/tlbflush.h>
#if KERNEL_VERSION(6, 13, 0) <= LINUX_VERSION_CODE
#define HVX_CAN_OWN_VMX	false
#define hvx_vmxe(on)	((void)(on))
#else
#define HVX_CAN_OWN_VMX	true
static inline void hvx_vmxe(bool on)
{
	if (on)
		intel_pt_handle_vmx(1);
	cr4_update_irqsoff(on ? X86_CR4_VMXE : 0, on ? 0 : X86_CR4_VMXE);
	if (!on)
		intel_pt_handle_vmx(0);
}
#endif

#endif /* __ASSEMBLER__ */
#endif
