; SPDX-License-Identifier: GPL-2.0-only
;
; The boot sector of the nested host under Bochs. The BIOS loads it from a disk
; on which scripts/l1-bochs has laid out everything, headers filled in; it copies
; the pieces to their places and enters the kernel's real-mode code (Linux boot
; protocol, Documentation/x86/boot.rst, "Running the kernel").
;
; nasm -f bin with -D: SETUP_SECTORS (with the old boot sector), KERNEL_LBA,
; KERNEL_SECTORS, INITRD_LBA, INITRD_SECTORS, INITRD_ADDRESS.

	bits 16
	org 0x7c00

SETUP_SEGMENT	equ 0x1000	; at its offset 0xe000: the command line
BUFFER_SEGMENT	equ 0x2000
STEP		equ 64		; sectors for one BIOS call: 32 KiB

	jmp 0:start
start:
	xor ax, ax
	mov ds, ax
	mov ss, ax
	mov sp, 0x7c00
	sti
	cld
	mov [drive], dl
	in al, 0x92		; A20 on
	or al, 2
	out 0x92, al

	; The kernel's real-mode code, with the command line behind it.
	mov dword [packet.lba], 1
	mov word [packet.count], SETUP_SECTORS
	mov word [packet.segment], SETUP_SEGMENT
	call read
	mov dword [packet.lba], KERNEL_LBA - 4
	mov word [packet.count], 4
	mov word [packet.segment], SETUP_SEGMENT + 0xe00
	call read

	mov word [packet.segment], BUFFER_SEGMENT
	mov edi, 0x100000
	mov dword [packet.lba], KERNEL_LBA
	mov ebp, KERNEL_SECTORS
	call load
	mov edi, INITRD_ADDRESS
	mov dword [packet.lba], INITRD_LBA
	mov ebp, INITRD_SECTORS
	call load

	cli
	mov ax, SETUP_SEGMENT
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov sp, 0xe000
	jmp SETUP_SEGMENT + 0x20:0

; ebp sectors from packet.lba to the address edi.
load:
	mov eax, STEP
	cmp ebp, eax
	jae .full
	mov eax, ebp
.full:
	mov [packet.count], ax
	push eax
	call read
	pop eax
	sub ebp, eax
	add [packet.lba], eax

	; Copy with segments of 4 GiB: those of protected mode stay in force in
	; real mode until they are loaded again (SDM vol. 3, 10.9.2).
	mov ecx, eax
	shl ecx, 7		; in units of 4 bytes
	cli
	lgdt [gdt.pointer]
	mov eax, cr0
	inc ax
	mov cr0, eax
	mov bx, 8
	mov ds, bx
	mov es, bx
	dec ax
	mov cr0, eax
	mov esi, BUFFER_SEGMENT * 16
	a32 rep movsd
	xor ax, ax
	mov ds, ax
	mov es, ax
	sti
	test ebp, ebp
	jnz load
	ret

; INT 13h, function 42h: the sectors that the packet names.
read:
	pushad
	mov si, packet
	mov ah, 0x42
	mov dl, [drive]
	int 0x13
	popad
	jc failed
	ret

failed:
	mov si, message
.next:
	lodsb
	test al, al
	jz .halt
	mov dx, 0x3f8
	out dx, al
	jmp .next
.halt:
	cli
	hlt
	jmp .halt

message	db 'l1: the disk cannot be read', 13, 10, 0
drive	db 0
	align 4
packet:	db 16, 0
.count:	dw 0
	dw 0
.segment: dw 0
.lba:	dq 0
	align 8
gdt:	dq 0
	dq 0x00cf92000000ffff	; data, 4 GiB
.pointer: dw 15
	dd gdt

	times 510 - ($ - $$) db 0
	dw 0xaa55
