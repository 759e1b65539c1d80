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

#define HVX_EXIT_NAMES					\
	{ HVX_EXIT_NONE, "none" },			\
	{ HVX_EXIT_PIO, "pio" },			\
	{ HVX_EXIT_MMIO, "mmio" },			\
	{ HVX_EXIT_EMULATE, "emulate" },		\
	{ HVX_EXIT_MSR, "msr" },			\
	{ HVX_EXIT_HYPERCALL, "hypercall" },		\
	{ HVX_EXIT_EOI, "eoi" },			\
	{ HVX_EXIT_INTR_WINDOW, "intr_window" },	\
	{ HVX_EXIT_DEBUG, "debug" },			\
	{ HVX_EXIT_HALTED, "halted" },			\
	{ HVX_EXIT_SHUTDOWN, "shutdown" },		\
	{ HVX_EXIT_INTERRUPTED, "interrupted" },	\
	{ HVX_EXIT_KICKED, "kicked" },			\
	{ HVX_EXIT_FAIL_ENTRY, "fail_entry" },		\
	{ HVX_EXIT_INTERNAL, "internal" },		\
	{ HVX_EXIT_MEMORY_FAULT, "memory_fault" }

/* hvx_inject: kinds of event */
#define HVX_INJ_IRQ		0
#define HVX_INJ_NMI		1
#define HVX_INJ_EXCEPTION	2

/* Just before the guest is entered. */
TRACE_EVENT(hvx_entry,
	TP_PROTO(struct hvx_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->rip = vcpu->rip;
	),
	TP_printk("vm %u vcpu %u rip 0x%llx", __entry->vm, __entry->vcpu, __entry->rip)
);

/* A hardware exit: the CPU's own reason, and the two words that qualify it. */
TRACE_EVENT(hvx_exit,
	TP_PROTO(struct hvx_vcpu *vcpu, u64 hw_reason, u64 info1, u64 info2),
	TP_ARGS(vcpu, hw_reason, info1, info2),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, rip)
		__field(u64, hw_reason)
		__field(u64, info1)
		__field(u64, info2)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->rip = vcpu->rip;
		__entry->hw_reason = hw_reason;
		__entry->info1 = info1;
		__entry->info2 = info2;
	),
	TP_printk("vm %u vcpu %u hw_reason 0x%llx rip 0x%llx info 0x%llx 0x%llx",
		  __entry->vm, __entry->vcpu, __entry->hw_reason, __entry->rip,
		  __entry->info1, __entry->info2)
);

/* HVX_RUN returns: the neutral reason, and the errno. */
TRACE_EVENT(hvx_user_exit,
	TP_PROTO(struct hvx_vcpu *vcpu, u32 reason, int ret),
	TP_ARGS(vcpu, reason, ret),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, rip)
		__field(u32, reason)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->rip = vcpu->rip;
		__entry->reason = reason;
		__entry->ret = ret;
	),
	TP_printk("vm %u vcpu %u reason %s ret %d rip 0x%llx",
		  __entry->vm, __entry->vcpu,
		  __print_symbolic(__entry->reason, HVX_EXIT_NAMES),
		  __entry->ret, __entry->rip)
);

/* An event goes into the guest. kind: HVX_INJ_*; code: the error code, or 0. */
TRACE_EVENT(hvx_inject,
	TP_PROTO(struct hvx_vcpu *vcpu, u32 kind, u8 vector, u32 code),
	TP_ARGS(vcpu, kind, vector, code),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u32, kind)
		__field(u32, code)
		__field(u8, vector)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->kind = kind;
		__entry->code = code;
		__entry->vector = vector;
	),
	TP_printk("vm %u vcpu %u %s vector %u code 0x%x",
		  __entry->vm, __entry->vcpu,
		  __print_symbolic(__entry->kind,
				   { HVX_INJ_IRQ, "irq" },
				   { HVX_INJ_NMI, "nmi" },
				   { HVX_INJ_EXCEPTION, "exception" }),
		  __entry->vector, __entry->code)
);

/* A second-level fault. access: HVX_ACC_*; result: HVX_FAULT_* or an errno. */
TRACE_EVENT(hvx_page_fault,
	TP_PROTO(struct hvx_vcpu *vcpu, u64 gpa, u32 access, int result),
	TP_ARGS(vcpu, gpa, access, result),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, rip)
		__field(u64, gpa)
		__field(u32, access)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->rip = vcpu->rip;
		__entry->gpa = gpa;
		__entry->access = access;
		__entry->result = result;
	),
	TP_printk("vm %u vcpu %u gpa 0x%llx access %s result %d rip 0x%llx",
		  __entry->vm, __entry->vcpu, __entry->gpa,
		  __print_flags(__entry->access, "|",
				{ HVX_ACC_READ, "r" },
				{ HVX_ACC_WRITE, "w" },
				{ HVX_ACC_EXEC, "x" }),
		  __entry->result, __entry->rip)
);

/* The guest's RDMSR or WRMSR. result: 0, 1 (#GP), HVX_MSR_TO_USER. */
TRACE_EVENT(hvx_msr,
	TP_PROTO(struct hvx_vcpu *vcpu, bool write, u32 index, u64 data, int result),
	TP_ARGS(vcpu, write, index, data, result),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u64, data)
		__field(u32, index)
		__field(int, result)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->data = data;
		__entry->index = index;
		__entry->result = result;
		__entry->write = write;
	),
	TP_printk("vm %u vcpu %u %s 0x%x = 0x%llx%s",
		  __entry->vm, __entry->vcpu, __entry->write ? "write" : "read",
		  __entry->index, __entry->data,
		  __entry->result == 0 ? "" :
		  __entry->result == HVX_MSR_TO_USER ? " (user)" : " (#GP)")
);

/* A local APIC takes a message. mode: the delivery mode, as in the ICR. */
TRACE_EVENT(hvx_lapic_accept,
	TP_PROTO(struct hvx_vcpu *vcpu, u8 mode, u8 vector, bool level),
	TP_ARGS(vcpu, mode, vector, level),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(u8, mode)
		__field(u8, vector)
		__field(bool, level)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->mode = mode;
		__entry->vector = vector;
		__entry->level = level;
	),
	TP_printk("vm %u vcpu %u mode %s vector %u %s",
		  __entry->vm, __entry->vcpu,
		  __print_symbolic(__entry->mode, { 0, "fixed" }, { 1, "lowest" },
				   { 2, "smi" }, { 4, "nmi" }, { 5, "init" },
				   { 6, "sipi" }, { 7, "extint" }),
		  __entry->vector, __entry->level ? "level" : "edge")
);

TRACE_EVENT(hvx_lapic_eoi,
	TP_PROTO(struct hvx_vcpu *vcpu, int vector),
	TP_ARGS(vcpu, vector),
	TP_STRUCT__entry(
		__field(u32, vm)
		__field(u32, vcpu)
		__field(int, vector)
	),
	TP_fast_assign(
		__entry->vm = vcpu->vm->id;
		__entry->vcpu = vcpu->id;
		__entry->vector = vector;
	),
	TP_printk("vm %u vcpu %u vector %d", __entry->vm, __entry->vcpu, __entry->vector)
);

#endif /* _HVX_TRACE_H */

/* "../kmod" is looked up from each -I directory: only .../kmod itself matches. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../kmod
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
