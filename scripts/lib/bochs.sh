# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Bochs: which one, its configuration, the disk that it boots from.

bochs_die() { echo "bochs: $*" >&2; exit 125; }

# The distribution's BIOS serves any version.
bochs_share=/usr/share/bochs

# bochs_find: completes $bochs; $bochs_version;
# $bochs_debugger when it is built with its debugger, as Debian's is.
bochs_find() {
	if [ -z "$bochs" ]; then
		# The one built from source last.
		# shellcheck disable=SC2012
		bochs=$(ls -t "$hvx_cache"/bochs-*/bin/bochs 2>/dev/null | head -n 1)
		[ -x "$bochs" ] || bochs=$(command -v bochs-bin || command -v bochs) ||
			bochs_die "bochs is missing: run scripts/setup"
	fi
	bochs_version=$("$bochs" --help 2>&1 < /dev/null | sed -n 's/.*\(Bochs x86 Emulator [0-9.]*\).*/\1/p' | head -n 1)
	"$bochs" --help 2>&1 < /dev/null | grep -q -- '-rc ' && bochs_debugger=1 || bochs_debugger=''
	if [ "$cpu" = ryzen ] && [ -n "$bochs_debugger" ]; then
		echo "bochs: note: without the repairs of scripts/setup --fast-bochs this AMD-V does not interrupt a guest that has interrupts off" >&2
	fi
	[ -r "$bochs_share/BIOS-bochs-latest" ] || bochs_die "no BIOS for Bochs: run scripts/setup"
}

# Has it the network card, and the Unix sockets of bochs.patch?
bochs_can_link() { grep -aq 'paths of two sockets' "$bochs"; }

bochs_link() {
	local listen connect

	[ -n "$link" ] || return 0
	listen=$(realpath "${link#*:}") connect=$listen.connect
	[ "$l1_link" = 1 ] || { connect=$listen; listen=$connect.connect; }
	echo "e1000: enabled=1, mac=$(l1_mac "$l1_link"), ethmod=socket, ethdev=\"$listen:$connect\""
}

sectors() { # FILE
	echo $((($(stat -Lc %s "$1") + 511) / 512))
}

patch() { # FILE OFFSET BYTES VALUE, little endian
	local i bytes=''

	for ((i = 0; i < $3; i++)); do
		bytes+=$(printf '\\x%02x' $((($4 >> (8 * i)) & 255)))
	done
	printf '%b' "$bytes" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# bochs_boot_disk FILE COMMAND-LINE: boot sector, the kernel's real-mode code,
# command line (4 sectors), the rest of the kernel, initramfs. The loader's part
# of the setup header is filled in here (Linux boot protocol, "The real-mode
# kernel header").
bochs_boot_disk() {
	local setup kernel_lba kernel_sectors initrd_lba initrd_sectors
	local initrd_address=$((0x8000000)) segment=$((0x10000)) tmp=$dir/part

	setup=$(od -An -tu1 -j 497 -N 1 "$kernel" | tr -d ' ')
	setup=$(((setup ? setup : 4) + 1))
	dd if="$kernel" of="$tmp.setup" bs=512 count=$setup status=none
	dd if="$kernel" of="$tmp.kernel" bs=512 skip=$setup status=none
	[ ${#2} -lt 2047 ] || bochs_die "the kernel command line is too long"
	printf '%s\0' "$2" > "$tmp.cmdline"
	truncate -s 2048 "$tmp.cmdline"
	kernel_lba=$((1 + setup + 4))
	kernel_sectors=$(sectors "$tmp.kernel")
	initrd_lba=$((kernel_lba + kernel_sectors))
	initrd_sectors=$(sectors "$initramfs")

	patch "$tmp.setup" $((0x210)) 1 255		# type_of_loader
	patch "$tmp.setup" $((0x211)) 1 $((0x81))	# loadflags: LOADED_HIGH, CAN_USE_HEAP
	patch "$tmp.setup" $((0x218)) 4 $initrd_address	# ramdisk_image
	patch "$tmp.setup" $((0x21c)) 4 "$(stat -Lc %s "$initramfs")"
	patch "$tmp.setup" $((0x224)) 2 $((0xde00))	# heap_end_ptr
	patch "$tmp.setup" $((0x228)) 4 $((segment + 0xe000)) # cmd_line_ptr

	nasm -f bin -DSETUP_SECTORS=$setup -DKERNEL_LBA=$kernel_lba -DKERNEL_SECTORS="$kernel_sectors" \
		-DINITRD_LBA=$initrd_lba -DINITRD_SECTORS="$initrd_sectors" \
		-DINITRD_ADDRESS=$initrd_address -o "$1" "$here/lib/l1-boot.asm" ||
		bochs_die "nasm failed"
	dd if="$tmp.setup" of="$1" bs=512 seek=1 conv=notrunc status=none
	dd if="$tmp.cmdline" of="$1" bs=512 seek=$((1 + setup)) conv=notrunc status=none
	dd if="$tmp.kernel" of="$1" bs=512 seek=$kernel_lba conv=notrunc status=none
	dd if="$initramfs" of="$1" bs=512 seek=$initrd_lba conv=notrunc status=none
	truncate -s $((($(stat -c %s "$1") / 516096 + 1) * 516096)) "$1"
	rm "$tmp".*
}

bochs_disk() { # CHANNEL FILE MODEL
	echo "$1: type=disk, path=\"$2\", mode=flat, cylinders=$(($(stat -c %s "$2") / 516096)), heads=16, spt=63, model=\"$3\", translation=lba"
}

bochs_config() {
	# Debian's, with its debugger, has no "nogui", and aborts without a sound card.
	if [ -n "$bochs_debugger" ]; then
		echo "display_library: term"
		echo "sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy"
	else
		echo "display_library: nogui"
	fi
	cat <<-END
	config_interface: textconfig
	cpu: model=$cpu, count=$smp, ips=$ips, reset_on_triple_fault=0, ignore_bad_msrs=1
	memory: guest=$memory, host=$memory
	romimage: file="$bochs_share/BIOS-bochs-latest"
	vgaromimage: file="$bochs_share/VGABIOS-lgpl-latest"
	pci: enabled=1, chipset=i440fx
	clock: sync=none
	mouse: enabled=0
	ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
	ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
	$(bochs_disk ata0-master "$dir/boot.img" HVX-BOOT)
	$(bochs_disk ata0-slave "$dir/root.img" HVX-ROOT)
	$(bochs_disk ata1-master "$dir/result.img" HVX-RESULT)
	$(bochs_link)
	boot: disk
	com1: enabled=1, mode=file, dev="$ctl/console"
	com2: enabled=1, mode=file, dev="$dir/output"
	log: "$dir/log"
	panic: action=fatal
	error: action=report
	info: action=ignore
	debug: action=ignore
	END
}

# What "display_library: term" draws goes to a terminal that Bochs makes itself. Nobody looks at
# it, but Bochs stands still once it is full.
read_screen() { # BOCHS-PID
	local screen=''

	while [ -z "$screen" ]; do
		kill -0 "$1" 2> /dev/null || return
		sleep 0.2
		screen=$(sed -n 's/.*connected to screen "\(.*\)".*/\1/p' "$dir/terminal" | head -n 1)
	done
	stty -F "$screen" raw -echo
	exec cat "$screen" > /dev/null 2>&1
}

# bochs_run: runs it until it ends; 124 when the time ran out.
bochs_run() {
	local command=("$bochs" -q -f "$dir/bochsrc") pid

	if [ -n "$bochs_debugger" ]; then
		# The debugger wants a terminal, and a word to begin.
		printf "c\nq\n" > "$dir/rc"
		command+=(-rc "$dir/rc")
		command=(script -qec "$(printf '%q ' "${command[@]}")" /dev/null)
	fi
	TERM=xterm timeout -k 5 "$timeout" nice "${command[@]}" < /dev/null > "$dir/terminal" 2>&1 &
	pid=$!
	pids+=("$pid")
	if [ -n "$bochs_debugger" ]; then
		read_screen "$pid" &
		pids+=($!)
	fi
	wait "$pid"
}

# bochs_reasons: what Bochs has said of failed VM entries, and its last words.
bochs_reasons() {
	local pattern='VMFAIL|VMENTRY FAIL|VMENTER|VMABORT|VMX abort|SVM.*FAIL|VMRUN|PANIC|panic'

	grep -aEq "$pattern" "$dir/log" 2>/dev/null || return 0
	echo "$prog: Bochs' log says:"
	grep -aE "$pattern" "$dir/log" | tail -n 20
}
