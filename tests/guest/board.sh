#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the board shows a guest beyond what it needs to boot: names and tables, a virtio
# console, random numbers, disks with each cache mode, on huge pages; a port of the host's that
# leads to it. And a terminal with its escape key.
# limit: 900

. "$(dirname "$0")/lib.sh"

end_all() {
	cleanup
	echo 0 > /proc/sys/vm/nr_hugepages
}
trap end_all EXIT

release=${kernel##*/vmlinuz-}
module=$(modinfo -k "$release" -n qemu_fw_cfg) || fail "no module qemu_fw_cfg of the guest's kernel"
mkdir "$work/more"
case $module in
*.xz) xz -dc "$module" ;;
*.zst) zstd -qdc "$module" ;;
*) cat "$module" ;;
esac > "$work/more/fw_cfg.ko"
# Compressed: an archive that is not must begin at a multiple of 4.
{ cat "$initramfs"; (cd "$work/more" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1); } > "$work/initramfs"

disk() { # LETTER, attributes of the driver, more elements
	head -c 1M /dev/urandom > "$work/$1.img"
	echo "<disk type='file' device='disk'><driver name='qemu' type='raw' $2/><source file='$work/$1.img'/><target dev='vd$1' bus='virtio'/>${3:-}</disk>"
}
echo 160 > /proc/sys/vm/nr_hugepages
[ "$(cat /proc/sys/vm/nr_hugepages)" -ge 128 ] || fail "the nested host has no 160 huge pages ($(cat /proc/sys/vm/nr_hugepages))"

say() { echo "; echo HVX-$1 $2"; } # NAME, what it shows
run="insmod /fw_cfg.ko$(say PRODUCT '$(cat /sys/class/dmi/id/product_name)')$(say TABLES '$(ls /sys/firmware/acpi/tables)')"
run+="$(say MMCONFIG "\$(dmesg | grep -c 'MMCONFIG for domain 0000')")$(say FWCFG '$(cat /sys/firmware/qemu_fw_cfg/rev)')"
run+="$(say RNG '$(cat /sys/class/misc/hw_random/rng_current) $(head -c 4096 /dev/hwrng | wc -c)'); echo HVX-HVC > /dev/hvc0"
run+="$(say CACHE '$(cat /sys/block/vd[abcd]/queue/write_cache)')$(say SERIAL '$(cat /sys/block/vda/serial)')"
run+="$(say QUEUES '$(ls /sys/block/vda/mq | wc -l) $(ls /sys/block/vdb/mq | wc -l)')$(say BLOCKS '$(cat /sys/block/vdc/queue/logical_block_size /sys/block/vdc/queue/physical_block_size)')"
run+="$(say RO '$(cat /sys/block/vd[abcd]/ro)')$(say SUMS "\$(cat /dev/vda /dev/vdb /dev/vdc /dev/vdd | md5sum | cut -c1-32)")"
run+='; for d in a b c; do dd if=/dev/urandom of=/dev/vd$d bs=4k seek=3 count=5 conv=fsync 2> /dev/null; done'
run+="$(say WRITTEN "\$(cat /dev/vda /dev/vdb /dev/vdc /dev/vdd | md5sum | cut -c1-32)")"
run+='; up > /dev/null 2>&1; echo HVX-UP; nc -l -p 7000 -e cat'
initramfs=$work/initramfs domain board 256 2 "hvx.run=\"$run\"" \
	"$(disk a "queues='2'" '<serial>HVX-12345</serial>')$(disk b "cache='writethrough' queues='1'")$(disk c "cache='none'" \
		"<blockio logical_block_size='4096' physical_block_size='4096'/>")$(disk d "cache='directsync'" '<readonly/>')
	<interface type='user'><model type='virtio'/><portForward proto='tcp' address='127.0.0.1'><range start='7070' to='7000'/></portForward></interface>
	<console type='file'><source path='$work/hvc0'/><target type='virtio' port='1'/></console>
	<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>" \
	"<sysinfo type='smbios'><system><entry name='product'>A board</entry></system></sysinfo>
	<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>"
sed -i "s,</os>,<smbios mode='sysinfo'/>&," "$work/board.xml"
sum=$(cat "$work"/[abcd].img | md5sum | cut -c1-32)
start board
wait_for board 240 '^HVX-UP'
line() { tr -d '\r' < "$work/board.out" | sed -n "s/^HVX-$1 //p"; }
is() { # what, NAME, value
	check "$1 ($(line "$2"))" [ "$(line "$2")" = "$3" ]
}
vmm=$(pgrep -x hvx-vmm)
huge=$(sed -n 's/^HugetlbPages:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$vmm/status")
check "its memory is huge pages ($huge KiB of them)" [ "$huge" -ge 65536 ]
is "SMBIOS has the product's name" PRODUCT 'A board'
for table in APIC DSDT FACP MCFG; do
	check "ACPI has $table ($(line TABLES))" grep -qw $table <<< "$(line TABLES)"
done
check "configuration space is memory ($(line MMCONFIG) lines say so)" [ "$(line MMCONFIG)" -ge 1 ]
is "fw_cfg, with DMA" FWCFG 3
check "random numbers ($(line RNG))" grep -q '^virtio_rng.0 4096$' <<< "$(line RNG)"
check "a virtio console ($(cat "$work/hvc0"))" grep -q HVX-HVC "$work/hvc0"
is "cache modes" CACHE 'write back write through write back write through'
is "a disk's serial number" SERIAL HVX-12345
is "queues" QUEUES '2 1'
is "sizes of blocks" BLOCKS '4096 4096'
is "a disk for reading" RO '0 0 0 1'
is "the disks' data" SUMS "$sum"
check "what it wrote is in the files" [ "$(line WRITTEN)" = "$(cat "$work"/[abcd].img | md5sum | cut -c1-32)" ]
check "and is another" [ "$(line WRITTEN)" != "$sum" ]
# The guest's server may not listen yet: then the connection ends without an answer.
end=$((SECONDS + 120)) back=''
until back=$(echo HVX-BACK | timeout 20 busybox nc 127.0.0.1 7070) && [ -n "$back" ]; do
	[ $SECONDS -lt $end ] || break
	sleep 0.5
done
check "a port of the host's leads to it ($back)" [ "$back" = HVX-BACK ]
finish board 120
check "it powered off ($status)" [ "$status" -eq 0 ]
check "its kernel has no complaints" no_complaints board

# --- on a terminal ---
domain terminal 128 1 'hvx.run="echo HVX-READY; read x < /dev/ttyS0; echo HVX-READ $x; sleep 100000"'
cat > "$work/terminal.py" <<'END'
import os, pty, select, sys, termios, time
master, slave = pty.openpty()
before = termios.tcgetattr(slave)
pid = os.fork()
if not pid:
	os.setsid()
	import fcntl
	fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
	for fd in 0, 1, 2:
		os.dup2(slave, fd)
	os.execv(sys.argv[1], sys.argv[1:])
seen, end = b"", time.monotonic() + 240
def until(text):
	global seen
	while text not in seen:
		if not select.select([master], [], [], max(0, end - time.monotonic()))[0]:
			sys.exit(f"no {text} in {seen[-200:]}")
		seen += os.read(master, 4096)
until(b"HVX-READY")
print("raw" if termios.tcgetattr(slave)[3] != before[3] else "not raw")
os.write(master, b"hello\r")
until(b"HVX-READ hello")
os.write(master, b"\x1d?")
until(b"q stop the guest")
os.write(master, b"\x1dq")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print("status", status, "restored" if termios.tcgetattr(slave) == before else "not restored")
END
out=$(python3 "$work/terminal.py" "$hvx" run "$work/terminal.xml" 2>&1 | tr '\n' ' ')
check "a terminal: raw for the guest, the escape key ends it ($out)" [ "$out" = 'raw status 70 restored ' ]
