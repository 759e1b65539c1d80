; SPDX-License-Identifier: GPL-2.0-only
;
; A multiboot 1 kernel that looks at what it was handed and says so on COM1,
; a line each: the loader's name, its command line, its modules, how much memory
; there is. It ends through the debug-exit port: 7 when its .bss was zero and
; its CPU state right, else 1.
;
; nasm -f bin -DAOUT: a flat file, loaded by the addresses in the header.
; nasm -f elf32, ld -m elf_i386 -Ttext 0x100000: ELF.

	bits 32
%ifdef AOUT
	org 0x100000
%endif
section .text
	global _start

magic	equ 0x1badb002
%ifdef AOUT
flags	equ 0x10003
%else
flags	equ 0x3
%endif

start:
	jmp _start
	align 4
header:
	dd magic, flags, -(magic + flags)
%ifdef AOUT
	dd header, start, end, bss_end, _start
%endif

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

newline:
	mov al, 10
	jmp putc

hex:	; ebx
	mov ecx, 8
.next:	rol ebx, 4
	mov eax, ebx
	and eax, 15
	mov al, [digits + eax]
	call putc
	loop .next
	ret

_start:
	cmp eax, 0x2badb002
	jne fail
	mov esp, stack_end
	mov ebp, ebx			; information
	mov eax, cr0
	and eax, 0x80000001		; paging off, protection on
	cmp eax, 1
	jne fail
	pushfd
	pop eax
	test eax, 0x20200		; VM, IF
	jnz fail
	mov esi, bss_start
	mov ecx, (bss_end - bss_start) / 4 - 1024
.zero:	cmp dword [esi], 0
	jne fail
	add esi, 4
	loop .zero

	mov eax, [ebp]			; memory, command line, modules, map, loader
	and eax, 0x24d
	cmp eax, 0x24d
	jne fail
	mov esi, text_loader
	call puts
	mov esi, [ebp + 64]
	call puts
	call newline
	mov esi, text_cmdline
	call puts
	mov esi, [ebp + 16]
	call puts
	call newline
	mov esi, text_upper
	call puts
	mov ebx, [ebp + 8]
	call hex
	call newline
	mov edx, [ebp + 20]		; modules
	mov edi, [ebp + 24]
.module:
	test edx, edx
	jz map
	push edx
	mov esi, text_module
	call puts
	mov esi, [edi + 8]
	call puts
	mov al, '='
	call putc
	mov esi, [edi]
.byte:	cmp esi, [edi + 4]
	jae .end
	lodsb
	call putc
	jmp .byte
.end:	call newline
	pop edx
	dec edx
	add edi, 16
	jmp .module

map:	mov edi, [ebp + 48]
	mov ecx, [ebp + 44]
.range:	cmp ecx, 0
	jle .over
	push ecx
	mov esi, text_map
	call puts
	mov ebx, [edi + 4]
	call hex
	mov al, ' '
	call putc
	mov ebx, [edi + 12]
	call hex
	mov al, ' '
	call putc
	mov ebx, [edi + 20]
	call hex
	call newline
	pop ecx
	mov eax, [edi]
	add eax, 4
	sub ecx, eax
	add edi, eax
	jmp .range
.over:	mov al, 7
	jmp exit
fail:	mov al, 1
exit:	mov dx, 0x501
	out dx, al
.halt:	hlt
	jmp .halt

digits	db "0123456789abcdef"
text_loader db "LOADER ", 0
text_cmdline db "CMDLINE ", 0
text_upper db "UPPER ", 0
text_module db "MODULE ", 0
text_map db "MAP ", 0
	align 4
end:

section .bss
	alignb 4
bss_start:
	resb 4096
	resb 4096
stack_end:
bss_end:
