/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One VM entry and exit (SDM vol. 3 "VM Entries", "VM Exits"). Called with
 * interrupts off and the VMCS current; a VM exit leaves them off.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/processor-flags.h>

#include "mitigate.h"

#define REG(n)		((n) * 8)
#define HOST_RSP	0x6c14

/* u32 vmx_run(u64 *regs (%rdi), bool resume (%sil), u64 spec_ctrl (%rdx)) */
SYM_FUNC_START(vmx_run)
	.irp reg, rbp, r15, r14, r13, r12, rbx
	push	%\reg
	.endr
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
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	REG(\n)(%rax), %r\n
	.endr
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
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	%r\n, REG(\n)(%rax)
	.endr
	pop	%rcx
	mov	%rcx, REG(0)(%rax)
	xor	%eax, %eax

3:	/* Nothing of the guest's stays where host code could be made to speculate on it. */
	mov	%eax, %ebx
	.irp reg, ecx, edx, ebp, esi, edi, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
	xor	%\reg, %\reg
	.endr

	HVX_AFTER_EXIT

	/* Where the host relies on IBRS, only a write after the exit makes it count. */
	ALTERNATIVE "jmp 4f", "", X86_FEATURE_KERNEL_IBRS
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	mov	8(%rsp), %eax
	mov	12(%rsp), %edx
	wrmsr
4:	HVX_CLEAR_BHB
	mov	%ebx, %eax
	add	$16, %rsp
	.irp reg, rbx, r12, r13, r14, r15, rbp
	pop	%\reg
	.endr
	RET
SYM_FUNC_END(vmx_run)

/*
 * void vmx_interrupt(unsigned long handler (%rdi)): into the handler of an interrupt
 * that the CPU has acknowledged as it left the guest, as if after STI: newer kernels arm the
 * timer again only on the way back to code with interrupts on. Its IRET takes RSP from RBP.
 */
SYM_FUNC_START(vmx_interrupt)
	push	%rbp
	mov	%rsp, %rbp
	and	$-16, %rsp
	push	$__KERNEL_DS
	push	%rbp
	pushf
	orl	$X86_EFLAGS_IF, (%rsp)
	push	$__KERNEL_CS
	CALL_NOSPEC rdi
	mov	%rbp, %rsp
	pop	%rbp
	RET
SYM_FUNC_END(vmx_interrupt)
