/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between kernels, as in ../compat.h: those that only VT-x meets with. */
#ifndef _HVX_VMX_COMPAT_H
#define _HVX_VMX_COMPAT_H

/* 6.9 renamed it. */
#ifndef SECONDARY_EXEC_ENABLE_XSAVES
#define SECONDARY_EXEC_ENABLE_XSAVES	SECONDARY_EXEC_XSAVES
#endif

/*
 * All up to now: hand on an NMI that ended the guest. It leaves NMIs blocked
 * and is lost, so unblock them with IRET and send another in its place: that
 * way in is right for IDT and FRED kernels alike.
 */
#include <asm/apic.h>
#include <asm/sync_core.h>
static inline void hvx_host_nmi(void)
{
	iret_to_self();
	apic->send_IPI(smp_processor_id(), NMI_VECTOR);
}

/*
 * All up to now: the vector by which a running guest is told of posted interrupts, 0:
 * none. The kernel has one for hypervisors, with a handler that does no more than
 * acknowledge it. With posted interrupts the CPU takes the host's interrupts as
 * it exits, and FRED kernels keep to KVM what could hand them on.
 */
static inline u8 hvx_notify_vector(void)
{
#ifdef X86_FEATURE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED))
		return 0;
#endif
	return IS_ENABLED(CONFIG_KVM) ? POSTED_INTR_VECTOR : 0;
}

/*
 * CR4.VMXE with the kernel's shadow of CR4, and word to the Intel PT driver.
 * Some release after 6.12 keeps both functions for KVM alone.
 */
#include <asm/perf_event.h>
#include <asm/tlbflush.h>
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define HVX_CAN_OWN_VMX	true
static inline void hvx_vmxe(bool on)
{
	if (on)
		intel_pt_handle_vmx(1);
	cr4_update_irqsoff(on ? X86_CR4_VMXE : 0, on ? 0 : X86_CR4_VMXE);
	if (!on)
		intel_pt_handle_vmx(0);
}
#else
#define HVX_CAN_OWN_VMX	false
static inline void hvx_vmxe(bool on)
{
}
#endif

/* All up to now: an interrupt on this CPU since the last flush of the L1 cache, noted for KVM. */
#include <linux/hardirq.h>
static inline bool hvx_irq_seen(void)
{
#if IS_ENABLED(CONFIG_KVM_INTEL)
	bool seen = kvm_get_cpu_l1tf_flush_l1d();

	kvm_clear_cpu_l1tf_flush_l1d();
	return seen;
#else
	return true;
#endif
}

#endif
