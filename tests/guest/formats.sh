#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel formats besides bzImage: multiboot 1 by addresses and as ELF, with
# modules, and an uncompressed Linux with a PVH entry point.
# limit: 600

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

for tool in nasm ld; do
	command -v $tool > /dev/null || { echo "SKIP: $tool is missing: run scripts/setup"; exit 77; }
done

nasm -f bin -DAOUT -o "$work/aout" "$here/multiboot.asm" || fail "nasm"
nasm -f elf32 -o "$work/elf.o" "$here/multiboot.asm" &&
	ld -m elf_i386 -Ttext 0x100000 -o "$work/elf" "$work/elf.o" || fail "nasm or ld"
printf 'first module' > "$work/mod1"
printf 'second' > "$work/mod2"

for format in aout elf; do
	kernel=$work/$format initramfs="$work/mod1 a b,$work/mod2"
	domain $format 64 1 'key=value'
	boot $format 60
	check "$format: it liked what it found ($status)" [ "$status" -eq 15 ]
	check "$format: the loader has a name" shown $format '^LOADER hvx$'
	check "$format: command line" shown $format "^CMDLINE $work/$format .*key=value$"
	check "$format: memory above 1 MiB" shown $format '^UPPER 0000fc00$'
	check "$format: first module" shown $format "^MODULE $work/mod1 a b=first module$"
	check "$format: second module" shown $format "^MODULE $work/mod2=second$"
	check "$format: memory map" shown $format '^MAP 00100000 03f00000 00000001$'
done

# The payload of the bzImage is vmlinux, compressed (boot.rst: payload_offset).
kernel=$HVX_GUEST_KERNEL initramfs=$HVX_GUEST_INITRAMFS
field() { od -An "-t$1" -j "$2" -N "${1#u}" "$kernel" | tr -d ' '; }
offset=$((($(field u1 497) + 1) * 512 + $(field u4 584)))
length=$(field u4 588)
payload() { tail -c +$((offset + 1)) "$kernel" | head -c "$length"; }
case $(payload | od -An -tx1 -N 4 | tr -d ' ') in
fd377a58) unpack='xz -dc' ;;
28b52ffd) unpack='zstd -dc' ;;
1f8b*) unpack='gzip -dc' ;;
*) echo "SKIP: this kernel's compression is not known here"; exit 77 ;;
esac
# The payload ends in its uncompressed size, which xz and zstd take for rubbish.
payload | $unpack 2> /dev/null > "$work/vmlinux"
check "vmlinux was unpacked" [ -s "$work/vmlinux" ]
kernel=$work/vmlinux
domain pvh 512 2 'hvx.run="nproc > /dev/null; cat /proc/cmdline" hvx.exit=debug'
boot pvh 240
check "PVH Linux runs its initramfs ($status)" [ "$status" -eq 1 ]
check "PVH command line" shown pvh '^console=ttyS0.*hvx.exit=debug$'

# What is no kernel is refused, and named.
gzip -c "$work/elf" > "$work/zipped"
kernel=$work/zipped
domain zipped 64 1 ''
boot zipped 60
check "a gzip file is refused ($status)" [ "$status" -eq 65 ]
check "and called by its name" grep -q 'gzip' "$work/zipped.err"
