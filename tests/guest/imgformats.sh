#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Disk images of other formats than raw: a guest writes to qcow2, VDI and VMDK images, and
# QEMU's tools find in them what it wrote. The storage daemon ends with the VMM, and the
# guest gets errors where the daemon ends first.
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config
mkdir "$work/run"

for tool in qemu-storage-daemon qemu-img; do
	command -v $tool > /dev/null || { echo "SKIP: $tool is missing: run scripts/setup"; exit 77; }
done

image_xml() { # FORMAT FILE TARGET [MORE]
	echo "<disk type='file' device='disk'><driver name='qemu' type='$1' discard='unmap'/>
	<source file='$2'/><target dev='$3' bus='virtio'/>${4:-}</disk>"
}
daemons() { pgrep -c qemu-storage-d; }
helpers() { pgrep -c hvx-image-qsd; }
until_true() { # what, command...
	local n=0 what=$1

	shift
	until "$@"; do
		n=$((n + 1))
		[ $n -lt 600 ] || fail "$what: not after two minutes ($(daemons) daemons, $(helpers) helpers)"
		sleep 0.2
	done
	echo "ok: $what"
}
none_left() { [ "$(daemons)" -eq 0 ] && [ "$(helpers)" -eq 0 ]; }

# What the guest is to write, and what it finds under a qcow2 image.
head -c 3000000 /dev/urandom > "$work/data"
truncate -s 16M "$work/base.raw"
printf 'from below' | dd of="$work/base.raw" bs=512 seek=20000 conv=notrunc status=none
qemu-img create -q -f qcow2 -b "$work/base.raw" -F raw "$work/a.qcow2" || fail "qemu-img create"
qemu-img create -q -f vdi "$work/b.vdi" 16M || fail "qemu-img create"
qemu-img create -q -f vmdk "$work/c.vmdk" 16M || fail "qemu-img create"
cp "$work/data" "$work/d.raw" && truncate -s 4M "$work/d.raw"
qemu-img convert -f raw -O qcow2 "$work/d.raw" "$work/d.qcow2" || fail "qemu-img convert"

base="<backingStore type='file'><format type='raw'/><source file='$work/base.raw'/></backingStore>"
disks="$(image_xml qcow2 "$work/a.qcow2" vda "$base")$(image_xml vdi "$work/b.vdi" vdb)$(image_xml vmdk "$work/c.vmdk" vdc)"
disks="$disks$(image_xml qcow2 "$work/d.qcow2" vdd '<readonly/>')"
domain formats 256 2 'cryptomgr.notests' "$disks"

# No file is opened because an image says so.
sed "s,$base,," "$work/formats.xml" > "$work/nochain.xml"
boot nochain 120
check "a backing file that only the image names is refused ($status)" [ "$status" -eq "$ERR_SETUP" ]
check "and the message says what to write" grep -q "$work/base.raw.*<backingStore" "$work/nochain.err"
sed "s,type='vdi',type='vmdk',; s,<name>.*,<name>wrong</name>," "$work/formats.xml" > "$work/wrong.xml"
boot wrong 120
check "an image of another format than the XML says is refused ($status)" [ "$status" -eq "$ERR_SETUP" ]
none_left || fail "$(daemons) daemons and $(helpers) helpers are left of guests that did not start"

start formats
wait_for formats 240 'guest of hvx'
mark=0
ask() { # what, commands: in the guest's shell
	mark=$((mark + 1))
	send formats "$2 ; echo MARK-$mark-\$?-"
	wait_for formats 120 "^MARK-$mark-[0-9]"
	shown formats "^MARK-$mark-0-" || fail "in the guest: $1"
	echo "ok: in the guest: $1"
}
check "each image has a daemon ($(daemons))" [ "$(daemons)" -eq 4 ]
ask "it has what lies under the qcow2 image" '[ "$(dd if=/dev/vda bs=512 skip=20000 count=1 2>/dev/null | head -c 10)" = "from below" ]'
ask "it reads a qcow2 image" "[ \$(head -c 3000000 /dev/vdd | md5sum | cut -c1-32) = $(md5sum < "$work/data" | cut -c1-32) ]"
for disk in vda vdb vdc; do
	ask "it writes to $disk" "head -c 3000000 /dev/vdd | dd of=/dev/$disk bs=64k seek=16 conv=fsync 2>/dev/null"
	ask "and reads what it wrote" "[ \$(dd if=/dev/$disk bs=64k skip=16 count=46 2>/dev/null | head -c 3000000 | md5sum | cut -c1-32) = $(md5sum < "$work/data" | cut -c1-32) ]"
done
check "another program does not get the image" grep -q 'lock' <(qemu-img check -f qcow2 "$work/a.qcow2" 2>&1)

# kill -9 of the VMM leaves nothing behind, and what was flushed is in the images.
pid=$(cat "$work/run/hvx/formats/pid")
kill -9 "$pid"
finish formats 60
until_true "no daemon is left of a VMM that was killed" none_left
rm -rf "$work/run/hvx/formats"
truncate -s 16M "$work/plain.raw"
dd if="$work/data" of="$work/plain.raw" bs=64k seek=16 conv=notrunc status=none
check "compare: vdi" qemu-img compare -q -f raw -F vdi "$work/plain.raw" "$work/b.vdi"
check "compare: vmdk" qemu-img compare -q -f raw -F vmdk "$work/plain.raw" "$work/c.vmdk"
printf 'from below' | dd of="$work/plain.raw" bs=512 seek=20000 conv=notrunc status=none
check "compare: qcow2" qemu-img compare -q -f raw -F qcow2 "$work/plain.raw" "$work/a.qcow2"
check "check: vdi" qemu-img check -q -f vdi "$work/b.vdi"
check "check: qcow2" qemu-img check -q -f qcow2 "$work/a.qcow2"
check "what lies below is as it was" [ "$(tr -d '\0' < "$work/base.raw")" = "from below" ]

# kill -9 of a daemon: errors, no hang; the others go on, and the guest ends well.
rm -f "$work/formats.in"
sed -i "s,discard='unmap'/>,discard='unmap' cache='writethrough'/>," "$work/formats.xml"
start formats
wait_for formats 240 'guest of hvx'
mark=0
pkill -9 -f "qemu-storage-daemon.*$work/b.vdi"
ask "a disk without its daemon fails" '! dd if=/dev/vdb of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null'
ask "the others go on" 'echo still here | dd of=/dev/vdc bs=512 conv=sync 2>/dev/null && sync'
check "the VMM says so" grep -q 'vdb.*b.vdi.*I/O errors' "$work/formats.err"
ask "write zeroes and discard work" 'blkdiscard /dev/vdc'

# One that is plugged in, and out.
qemu-img create -q -f qcow2 "$work/e.qcow2" 16M || fail "qemu-img create"
before=$(daemons)
said=$("$hvx" attach-disk formats "$work/e.qcow2" vde --subdriver qcow2 2>&1) || fail "attach-disk: $said"
check "a daemon came with it ($(daemons), $before before)" [ "$(daemons)" -eq $((before + 1)) ]
ask "it writes to a disk that was plugged in" 'n=0; until [ -b /dev/vde ] || [ $n -gt 200 ]; do n=$((n + 1)); sleep 0.2; done; head -c 3000000 /dev/vdd | dd of=/dev/vde bs=64k seek=16 conv=fsync 2>/dev/null'
! said=$("$hvx" attach-disk formats "$work/e.qcow2" vdf --subdriver qcow2 2>&1) || fail "one image twice: $said"
check "one image twice is refused (${said:0:100})" grep -q 'in use' <<< "$said"
check "detach-disk" "$hvx" detach-disk formats vde
until_true "its daemon goes with it" eval '[ "$(daemons)" -eq '"$before"' ]'
truncate -s 16M "$work/plain2.raw"
dd if="$work/data" of="$work/plain2.raw" bs=64k seek=16 conv=notrunc status=none
check "compare: plugged in" qemu-img compare -q -f raw -F qcow2 "$work/plain2.raw" "$work/e.qcow2"
send formats "poweroff -f"
finish formats 120
check "the guest ends well ($status)" [ "$status" -eq 0 ]
until_true "no daemon is left" none_left
check "check after it: qcow2" qemu-img check -q -f qcow2 "$work/a.qcow2"
