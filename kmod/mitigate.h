/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entry and exit against CPU side channels, for both vendors' enter.S: what the
 * kernel's own mitigation state, its feature bits, asks for: docs/security.md.
 */
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

#include "compat.h"

/* Last before the entry, for the buffers of MDS, TAA, RFDS, MMIO, TSA. Of the flags ZF changes. */
.macro HVX_BEFORE_ENTRY
	ALTERNATIVE_2 "jmp .Lhvx_entry\@", "", X86_FEATURE_CLEAR_CPU_BUF, \
		      "", X86_FEATURE_CLEAR_CPU_BUF_VM
	verw	.Lhvx_ds\@(%rip)
.Lhvx_entry\@:
	.pushsection .rodata
.Lhvx_ds\@: .word __KERNEL_DS
	.popsection
.endm

/* Before the first RET: the guest's predictions must not steer the host. RAX, RCX, RDX are lost. */
.macro HVX_AFTER_EXIT
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE
	CALL_UNTRAIN_RET
	ALTERNATIVE_2 "", "jmp .Lhvx_ibpb\@", X86_FEATURE_ENTRY_IBPB, \
		      "jmp .Lhvx_ibpb\@", X86_FEATURE_IBPB_ON_VMEXIT
	ALTERNATIVE "jmp .Lhvx_no_ibpb\@", "", X86_FEATURE_CLEAR_BHB_VMEXIT
.Lhvx_ibpb\@:
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
.Lhvx_no_ibpb\@:
.endm
