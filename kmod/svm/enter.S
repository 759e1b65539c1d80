/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One VMRUN (APM vol. 2 15.5). Called with interrupts off. Physical interrupts
 * must be able to end the guest, and with V_INTR_MASKING the host's IF decides
 * that, so IF is set while GIF is clear: nothing is delivered before STGI.
 */
#include <linux/linkage.h>

#include "mitigate.h"

#define REG(n)	((n) * 8)

/* void svm_vmrun(u64 vmcb_pa (%rdi), u64 *regs (%rsi), u64 host_pa (%rdx)) */
SYM_FUNC_START(svm_vmrun)
	.irp reg, rbp, r15, r14, r13, r12, rbx
	push	%\reg
	.endr
	push	%rdx			/* 8(%rsp): host state for VMLOAD */
	push	%rsi			/*  (%rsp): regs */

	mov	%rdi, %rax
	mov	REG(1)(%rsi), %rcx
	mov	REG(2)(%rsi), %rdx
	mov	REG(3)(%rsi), %rbx
	mov	REG(5)(%rsi), %rbp
	mov	REG(7)(%rsi), %rdi
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	REG(\n)(%rsi), %r\n
	.endr
	mov	REG(6)(%rsi), %rsi

	clgi
	sti
	vmload	%rax
	HVX_BEFORE_ENTRY
	vmrun	%rax
	vmsave	%rax

	/* RAX is the host's again; RSP too. */
	mov	8(%rsp), %rax
	vmload	%rax
	mov	(%rsp), %rax

	mov	%rcx, REG(1)(%rax)
	mov	%rdx, REG(2)(%rax)
	mov	%rbx, REG(3)(%rax)
	mov	%rbp, REG(5)(%rax)
	mov	%rsi, REG(6)(%rax)
	mov	%rdi, REG(7)(%rax)
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	%r\n, REG(\n)(%rax)
	.endr

	/* Nothing of the guest's stays where host code could be made to speculate on it. */
	.irp reg, ecx, edx, ebx, ebp, esi, edi, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
	xor	%\reg, %\reg
	.endr

	HVX_AFTER_EXIT

	cli
	stgi

	add	$16, %rsp
	.irp reg, rbx, r12, r13, r14, r15, rbp
	pop	%\reg
	.endr
	RET
SYM_FUNC_END(svm_vmrun)
