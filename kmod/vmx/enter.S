/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One VM entry and exit (SDM vol. 3 "VM Entries", "VM Exits"). Called with
 * interrupts off and the VMCS current; a VM exit leaves them off.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>

#include "mitigate.h"

#define REG(n)		((n) * 8)
#define HOST_RSP	0x6c14

/* u32 vmx_run(u64 *regs (%rdi), bool resume (%sil), u64 spec_ctrl (%rdx)) */
SYM_FUNC_START(vmx_run)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdx			/* 8(%rsp): the host's SPEC_CTRL */
	push	%rdi			/*  (%rsp): regs */

	mov	$HOST_RSP, %eax
	vmwrite	%rsp, %rax
	/* The flag lasts until the jump: neither MOV nor VERW changes CF. */
	bt	$0, %esi
	mov	%rdi, %rax
	mov	REG(1)(%rax), %rcx
	mov	REG(2)(%rax), %rdx
	mov	REG(3)(%rax), %rbx
	mov	REG(5)(%rax), %rbp
	mov	REG(6)(%rax), %rsi
	mov	REG(7)(%rax), %rdi
	mov	REG(8)(%rax), %r8
	mov	REG(9)(%rax), %r9
	mov	REG(10)(%rax), %r10
	mov	REG(11)(%rax), %r11
	mov	REG(12)(%rax), %r12
	mov	REG(13)(%rax), %r13
	mov	REG(14)(%rax), %r14
	mov	REG(15)(%rax), %r15
	mov	REG(0)(%rax), %rax

	HVX_BEFORE_ENTRY
	jnc	1f
	vmresume
	jmp	2f
1:	vmlaunch
2:	/* Still here: CF or ZF says so, and the registers are as they were. */
	mov	$1, %eax
	jbe	3f

	/* HOST_RIP. RSP is as at VMWRITE above. */
SYM_INNER_LABEL(vmx_exit_point, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	push	%rax
	mov	8(%rsp), %rax
	mov	%rcx, REG(1)(%rax)
	mov	%rdx, REG(2)(%rax)
	mov	%rbx, REG(3)(%rax)
	mov	%rbp, REG(5)(%rax)
	mov	%rsi, REG(6)(%rax)
	mov	%rdi, REG(7)(%rax)
	mov	%r8, REG(8)(%rax)
	mov	%r9, REG(9)(%rax)
	mov	%r10, REG(10)(%rax)
	mov	%r11, REG(11)(%rax)
	mov	%r12, REG(12)(%rax)
	mov	%r13, REG(13)(%rax)
	mov	%r14, REG(14)(%rax)
	mov	%r15, REG(15)(%rax)
	pop	%rcx
	mov	%rcx, REG(0)(%rax)
	xor	%eax, %eax

3:	/* Nothing of the guest's stays where host code could be made to speculate on it. */
	mov	%eax, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebp, %ebp
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d

	HVX_AFTER_EXIT

	/* Where the host relies on IBRS, only a write after the exit makes it count. */
	ALTERNATIVE "jmp 4f", "", X86_FEATURE_KERNEL_IBRS
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	mov	8(%rsp), %eax
	mov	12(%rsp), %edx
	wrmsr
4:
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif
	mov	%ebx, %eax
	add	$16, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET
SYM_FUNC_END(vmx_run)
