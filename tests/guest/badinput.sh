#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Bad inputs to hvx run: each is refused with the documented status and a
# message that names the file, and with the line for XML; nothing hangs or dies
# of a signal.
# limit: 900

. "$(dirname "$0")/lib.sh"

# refuse WHAT STATUS REGEX: $work/bad.xml ends with STATUS and says REGEX.
refuse() {
	timeout -k 5 60 "$hvx" run "$work/bad.xml" < /dev/null > "$work/bad.out" 2> "$work/bad.err"
	status=$?
	check "$1: status $2 (got $status)" [ "$status" -eq "$2" ]
	check "$1: the message says $3" grep -Eq "$3" "$work/bad.err"
}

edit() { # sed script on a good domain
	domain good 256 1 ''
	sed "$1" "$work/good.xml" > "$work/bad.xml"
}

# --- the XML
: > "$work/bad.xml"
refuse "an empty file" $ERR_USAGE 'bad\.xml'
rm "$work/bad.xml"
refuse "no file" $ERR_USAGE 'bad\.xml'
head -c 100000 /dev/urandom > "$work/bad.xml"
refuse "noise" $ERR_USAGE 'bad\.xml'
edit 's,</devices>,,'
refuse "an element not closed" $ERR_USAGE 'bad\.xml:[0-9]+'
edit 's,<vcpu>1<,<vcpu>0<,'
refuse "no vCPU" $ERR_USAGE 'bad\.xml:4:.*vcpu'
edit 's,<vcpu>1<,<vcpu>100000<,'
refuse "too many vCPUs" $ERR_USAGE 'bad\.xml:4:.*vcpu'
edit 's,<vcpu>1<,<vcpu>one<,'
refuse "a vCPU count that is no number" $ERR_USAGE 'bad\.xml:4:.*vcpu'
edit "s,>256<,>99999999999999999999<,"
refuse "memory beyond 64 bits" $ERR_USAGE 'bad\.xml:3:.*memory'
edit "s,>256<,>0<,"
refuse "no memory" $ERR_USAGE 'bad\.xml:3:.*memory'
edit "s,unit='MiB',unit='parsec',"
refuse "an unknown unit" $ERR_USAGE 'bad\.xml:3:.*parsec'
edit "s,type='pty'><target port='0',type='pty'><target port='77',"
refuse "a serial port that a PC does not have" $ERR_USAGE 'bad\.xml:[0-9]+:.*77'
edit '1i <!DOCTYPE domain [<!ENTITY x SYSTEM "file:///etc/passwd">]>
s,<name>.*<,<name>\&x;<,'
refuse "an external entity" $ERR_USAGE 'bad\.xml'
check "it was not read" [ "$(grep -c 'root:' "$work/bad.err")" -eq 0 ]
edit '1i <!DOCTYPE domain [<!ENTITY a "aaaaaaaaaaaaaaaaaaaa"><!ENTITY b "\&a;\&a;\&a;\&a;\&a;\&a;\&a;\&a;\&a;\&a;"><!ENTITY c "\&b;\&b;\&b;\&b;\&b;\&b;\&b;\&b;\&b;\&b;"><!ENTITY d "\&c;\&c;\&c;\&c;\&c;\&c;\&c;\&c;\&c;\&c;"><!ENTITY e "\&d;\&d;\&d;\&d;\&d;\&d;\&d;\&d;\&d;\&d;"><!ENTITY f "\&e;\&e;\&e;\&e;\&e;\&e;\&e;\&e;\&e;\&e;">]>
s,<name>.*<,<name>\&f;<,'
refuse "entities that multiply" $ERR_USAGE 'bad\.xml'
{ yes '<a>' | head -c 100000000; } > "$work/bad.xml"
refuse "100 MB of nested elements" $ERR_USAGE 'bad\.xml'
rm "$work/bad.xml"

# --- what it points at
edit "s,<kernel>.*<,<kernel>/nonexistent<,"
refuse "no kernel" $ERR_SETUP '/nonexistent'
head -c 1000000 /dev/urandom > "$work/noise"
edit "s,<kernel>.*<,<kernel>$work/noise<,"
refuse "noise for a kernel" $ERR_SETUP 'noise'
head -c 700 "$kernel" > "$work/short"
edit "s,<kernel>.*<,<kernel>$work/short<,"
refuse "a kernel cut off in its header" $ERR_SETUP 'short'
head -c 20000 "$kernel" > "$work/short"
edit "s,<kernel>.*<,<kernel>$work/short<,"
refuse "a kernel cut off in its setup code" $ERR_SETUP 'short'
edit "s,<kernel>.*<,<kernel>/dev/zero<,"
refuse "a device for a kernel" $ERR_SETUP '/dev/zero'
mkfifo "$work/fifo"
edit "s,<initrd>.*<,<initrd>$work/fifo<,"
refuse "a pipe for an initrd" $ERR_SETUP 'fifo'
truncate -s 1G "$work/huge"
edit "s,<initrd>.*<,<initrd>$work/huge<,"
refuse "an initrd larger than the RAM" $ERR_SETUP 'huge'
edit "s,</devices>,<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nonexistent'/><target dev='vda' bus='virtio'/></disk>&,"
refuse "no disk image" $ERR_SETUP '/nonexistent'
edit "s,</devices>,<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work'/><target dev='vda' bus='virtio'/></disk>&,"
refuse "a directory for a disk" $ERR_SETUP "$work"

# A raw disk is raw, whatever a guest wrote to it: its size stays what it was.
truncate -s 1M "$work/raw"
printf 'QFI\373\0\0\0\3' | dd of="$work/raw" conv=notrunc 2> /dev/null
domain raw 256 1 'hvx.exit=debug hvx.run="echo HVX-SIZE $(cat /sys/block/vda/size)"' \
	"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work/raw'/><target dev='vda' bus='virtio'/></disk>"
boot raw 240
check "a qcow2 header on a raw disk stays data" shown raw '^HVX-SIZE 2048$'

# --- the command line
for arguments in '' 'run' 'run --no-such-option x' 'no-such-verb' 'run a b'; do
	# shellcheck disable=SC2086
	timeout 20 "$hvx" $arguments < /dev/null > "$work/usage.out" 2> "$work/usage.err"
	status=$?
	check "hvx $arguments: status $ERR_USAGE ($status)" [ $status -eq $ERR_USAGE ]
	check "hvx $arguments: says something" [ -s "$work/usage.err" ]
done
