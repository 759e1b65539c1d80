/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints, under events/hvx/ in tracefs. main.c defines CREATE_TRACE_POINTS
 * before it includes this file; everybody else just includes it. The second
 * read of this file by the tracing headers finds it through -I.../kmod.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hvx

#if !defined(_HVX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _HVX_TRACE_H

#include <linux/tracepoint.h>
#include "hvx.h"

/* Every event says first which vCPU, and where its guest is; then three of its own fields. */
#define HVX_EVENT(event, t1, f1, t2, f2, t3, f3, fmt, ...)				\
TRACE_EVENT(event,									\
	TP_PROTO(struct hvx_vcpu *vcpu, t1 f1, t2 f2, t3 f3),				\
	TP_ARGS(vcpu, f1, f2, f3),							\
	TP_STRUCT__entry(__field(u32, vm) __field(u32, vcpu) __field(u64, rip)		\
			 __field(t1, f1) __field(t2, f2) __field(t3, f3)),		\
	TP_fast_assign(									\
		__entry->vm = vcpu->vm->id;						\
		__entry->vcpu = vcpu->id;						\
		__entry->rip = vcpu->rip;						\
		__entry->f1 = f1;							\
		__entry->f2 = f2;							\
		__entry->f3 = f3;							\
	),										\
	TP_printk("vm %u vcpu %u rip 0x%llx " fmt,					\
		  __entry->vm, __entry->vcpu, __entry->rip, __VA_ARGS__)		\
)

/* Just before the guest is entered. */
HVX_EVENT(hvx_entry, u64, rflags, u64, cr2, int, cpu,
	  "rflags 0x%llx cr2 0x%llx cpu %d", __entry->rflags, __entry->cr2, __entry->cpu);

/* A hardware exit: the CPU's own reason, and the two words that qualify it. */
HVX_EVENT(hvx_exit, u64, hw_reason, u64, info1, u64, info2, "hw_reason 0x%llx info 0x%llx 0x%llx",
	  __entry->hw_reason, __entry->info1, __entry->info2);

/* HVX_RUN returns: the neutral reason, the errno, and HVX_MP_*. */
HVX_EVENT(hvx_user_exit, u32, reason, int, ret, u32, mp_state, "reason %s ret %d mp_state %u",
	  __print_symbolic(__entry->reason,
			   { HVX_EXIT_NONE, "none" }, { HVX_EXIT_PIO, "pio" },
			   { HVX_EXIT_MMIO, "mmio" }, { HVX_EXIT_EMULATE, "emulate" },
			   { HVX_EXIT_MSR, "msr" }, { HVX_EXIT_HYPERCALL, "hypercall" },
			   { HVX_EXIT_EOI, "eoi" }, { HVX_EXIT_INTR_WINDOW, "intr_window" },
			   { HVX_EXIT_DEBUG, "debug" }, { HVX_EXIT_HALTED, "halted" },
			   { HVX_EXIT_SHUTDOWN, "shutdown" },
			   { HVX_EXIT_INTERRUPTED, "interrupted" },
			   { HVX_EXIT_KICKED, "kicked" }, { HVX_EXIT_FAIL_ENTRY, "fail_entry" },
			   { HVX_EXIT_INTERNAL, "internal" },
			   { HVX_EXIT_MEMORY_FAULT, "memory_fault" },
			   { HVX_EXIT_TASK_SWITCH, "task_switch" }),
	  __entry->ret, __entry->mp_state);

/* An event goes into the guest. kind: 0 IRQ, 1 NMI, 2 exception; code: the error code, or 0. */
HVX_EVENT(hvx_inject, u32, kind, u8, vector, u32, code, "%s vector %u code 0x%x",
	  __print_symbolic(__entry->kind, { 0, "irq" }, { 1, "nmi" }, { 2, "exception" }),
	  __entry->vector, __entry->code);

/* A second-level fault. access: HVX_ACC_*; result: HVX_FAULT_* or an errno. */
HVX_EVENT(hvx_page_fault, u64, gpa, u32, access, int, result, "gpa 0x%llx access %s result %d",
	  __entry->gpa,
	  __print_flags(__entry->access, "|", { HVX_ACC_READ, "r" }, { HVX_ACC_WRITE, "w" },
			{ HVX_ACC_EXEC, "x" }),
	  __entry->result);

/* The guest's RDMSR or WRMSR. result: 0, 1 (#GP), HVX_MSR_TO_USER. */
#define HVX_MSR_EVENT(event)								\
HVX_EVENT(event, u32, index, u64, data, int, result, "0x%x = 0x%llx%s", __entry->index,	\
	  __entry->data, __print_symbolic(__entry->result, { 0, "" }, { 1, " (#GP)" },	\
					  { HVX_MSR_TO_USER, " (user)" }))
HVX_MSR_EVENT(hvx_rdmsr);
HVX_MSR_EVENT(hvx_wrmsr);

#endif /* _HVX_TRACE_H */

/* "../kmod" is looked up from each -I directory: only .../kmod itself matches. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../kmod
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
