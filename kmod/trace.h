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

#define HVX_EXIT_NAMES									\
	{ HVX_EXIT_NONE, "none" }, { HVX_EXIT_PIO, "pio" }, { HVX_EXIT_MMIO, "mmio" },	\
	{ HVX_EXIT_EMULATE, "emulate" }, { HVX_EXIT_MSR, "msr" },			\
	{ HVX_EXIT_HYPERCALL, "hypercall" }, { HVX_EXIT_EOI, "eoi" },			\
	{ HVX_EXIT_INTR_WINDOW, "intr_window" }, { HVX_EXIT_DEBUG, "debug" },		\
	{ HVX_EXIT_HALTED, "halted" }, { HVX_EXIT_SHUTDOWN, "shutdown" },		\
	{ HVX_EXIT_INTERRUPTED, "interrupted" }, { HVX_EXIT_KICKED, "kicked" },		\
	{ HVX_EXIT_FAIL_ENTRY, "fail_entry" }, { HVX_EXIT_INTERNAL, "internal" },	\
	{ HVX_EXIT_MEMORY_FAULT, "memory_fault" }

/* Every event says first which vCPU, and where its guest is. */
#define HVX_FIELDS	__field(u32, vm) __field(u32, vcpu) __field(u64, rip)
#define HVX_ASSIGN	__entry->vm = vcpu->vm->id;					\
			__entry->vcpu = vcpu->id;					\
			__entry->rip = vcpu->rip
#define HVX_PRINTK(fmt, ...)								\
	TP_printk("vm %u vcpu %u rip 0x%llx" fmt,					\
		  __entry->vm, __entry->vcpu, __entry->rip, ##__VA_ARGS__)

/* Just before the guest is entered. */
TRACE_EVENT(hvx_entry,
	TP_PROTO(struct hvx_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(HVX_FIELDS),
	TP_fast_assign(HVX_ASSIGN;),
	HVX_PRINTK("")
);

/* A hardware exit: the CPU's own reason, and the two words that qualify it. */
TRACE_EVENT(hvx_exit,
	TP_PROTO(struct hvx_vcpu *vcpu, u64 hw_reason, u64 info1, u64 info2),
	TP_ARGS(vcpu, hw_reason, info1, info2),
	TP_STRUCT__entry(HVX_FIELDS __field(u64, hw_reason) __field(u64, info1) __field(u64, info2)),
	TP_fast_assign(
		HVX_ASSIGN;
		__entry->hw_reason = hw_reason;
		__entry->info1 = info1;
		__entry->info2 = info2;
	),
	HVX_PRINTK(" hw_reason 0x%llx info 0x%llx 0x%llx",
		   __entry->hw_reason, __entry->info1, __entry->info2)
);

/* HVX_RUN returns: the neutral reason, and the errno. */
TRACE_EVENT(hvx_user_exit,
	TP_PROTO(struct hvx_vcpu *vcpu, u32 reason, int ret),
	TP_ARGS(vcpu, reason, ret),
	TP_STRUCT__entry(HVX_FIELDS __field(u32, reason) __field(int, ret)),
	TP_fast_assign(
		HVX_ASSIGN;
		__entry->reason = reason;
		__entry->ret = ret;
	),
	HVX_PRINTK(" reason %s ret %d",
		   __print_symbolic(__entry->reason, HVX_EXIT_NAMES), __entry->ret)
);

/* An event goes into the guest. kind: 0 IRQ, 1 NMI, 2 exception; code: the error code, or 0. */
TRACE_EVENT(hvx_inject,
	TP_PROTO(struct hvx_vcpu *vcpu, u32 kind, u8 vector, u32 code),
	TP_ARGS(vcpu, kind, vector, code),
	TP_STRUCT__entry(HVX_FIELDS __field(u32, kind) __field(u32, code) __field(u8, vector)),
	TP_fast_assign(
		HVX_ASSIGN;
		__entry->kind = kind;
		__entry->code = code;
		__entry->vector = vector;
	),
	HVX_PRINTK(" %s vector %u code 0x%x",
		   __print_symbolic(__entry->kind, { 0, "irq" }, { 1, "nmi" }, { 2, "exception" }),
		   __entry->vector, __entry->code)
);

/* A second-level fault. access: HVX_ACC_*; result: HVX_FAULT_* or an errno. */
TRACE_EVENT(hvx_page_fault,
	TP_PROTO(struct hvx_vcpu *vcpu, u64 gpa, u32 access, int result),
	TP_ARGS(vcpu, gpa, access, result),
	TP_STRUCT__entry(HVX_FIELDS __field(u64, gpa) __field(u32, access) __field(int, result)),
	TP_fast_assign(
		HVX_ASSIGN;
		__entry->gpa = gpa;
		__entry->access = access;
		__entry->result = result;
	),
	HVX_PRINTK(" gpa 0x%llx access %s result %d", __entry->gpa,
		   __print_flags(__entry->access, "|", { HVX_ACC_READ, "r" },
				 { HVX_ACC_WRITE, "w" }, { HVX_ACC_EXEC, "x" }),
		   __entry->result)
);

/* The guest's RDMSR or WRMSR. result: 0, 1 (#GP), HVX_MSR_TO_USER. */
TRACE_EVENT(hvx_msr,
	TP_PROTO(struct hvx_vcpu *vcpu, bool write, u32 index, u64 data, int result),
	TP_ARGS(vcpu, write, index, data, result),
	TP_STRUCT__entry(HVX_FIELDS __field(u64, data) __field(u32, index) __field(int, result)
			 __field(bool, write)),
	TP_fast_assign(
		HVX_ASSIGN;
		__entry->data = data;
		__entry->index = index;
		__entry->result = result;
		__entry->write = write;
	),
	HVX_PRINTK(" %s 0x%x = 0x%llx%s", __entry->write ? "write" : "read",
		   __entry->index, __entry->data,
		   __print_symbolic(__entry->result, { 0, "" }, { 1, " (#GP)" },
				    { HVX_MSR_TO_USER, " (user)" }))
);

#endif /* _HVX_TRACE_H */

/* "../kmod" is looked up from each -I directory: only .../kmod itself matches. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../kmod
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
