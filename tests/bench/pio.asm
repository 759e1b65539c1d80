; SPDX-License-Identifier: GPL-2.0-only
;
; A multiboot 1 kernel that measures port I/O which the VMM answers: for each
; port a loop, timed by TSC, and a line "NAME TICKS" on COM1, TICKS an access.
; It ends through the debug-exit port at 0x501, so that it boots in any VMM that
; has one there.
;
; nasm -f elf32, ld -m elf_i386 -Ttext 0x100000

	bits 32
	section .text
	global _start

magic	equ 0x1badb002
flags	equ 0
rounds	equ 2000

	dd magic, flags, -(magic + flags)

putc:	; al
	push edx
	push eax
	mov dx, 0x3fd
.wait:	in al, dx
	test al, 0x20
	jz .wait
	pop eax
	mov dx, 0x3f8
	out dx, al
	pop edx
	ret

puts:	; esi
	lodsb
	test al, al
	jz .done
	call putc
	jmp puts
.done:	ret

decimal: ; eax
	mov ecx, 10
	xor edx, edx
	div ecx
	push edx
	test eax, eax
	jz .last
	call decimal
.last:	pop eax
	add al, '0'
	jmp putc

; name, instruction: prints the cost of the instruction.
%macro measure 2+
	call %%empty
	mov ebp, eax
	call %%loop
	sub eax, ebp
	xor edx, edx
	mov ecx, rounds
	div ecx
	push eax
	mov esi, %%name
	call puts
	pop eax
	call decimal
	mov al, 10
	call putc
	jmp %%next
%%empty:
	mov edi, rounds
	rdtsc
	mov ebx, eax
	align 16
%%e:	dec edi
	jnz %%e
	rdtsc
	sub eax, ebx
	ret
%%loop:
	mov edi, rounds
	rdtsc
	mov ebx, eax
	align 16
%%l:	%2
	dec edi
	jnz %%l
	rdtsc
	sub eax, ebx
	ret
%%name:	db %1, ' ', 0
%%next:
%endmacro

_start:
	mov esp, stack_top
	mov al, 0x40		; a plain byte of CMOS memory
	out 0x70, al
	; Nothing of the first accesses: warm all paths.
	mov edi, 100
.warm:	out 0x80, al
	in al, 0x71
	dec edi
	jnz .warm
	measure "vmm_out_unused", out 0x80, al
	measure "vmm_in_cmos", in al, 0x71
	xor eax, eax		; the clock's seconds
	out 0x70, al
	measure "vmm_in_clock", in al, 0x71
	measure "vmm_in_port61", in al, 0x61
	mov dx, 0x3ff
	measure "vmm_in_serial", in al, dx
	mov dx, 0x3ff
	measure "vmm_out_serial", out dx, al

	mov dx, 0x501
	xor eax, eax
	out dx, al
.halt:	cli
	hlt
	jmp .halt

	section .bss
	align 16
	resb 4096
stack_top:
