#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that reboots starts again in the same process, with the same devices.
# limit: 600

. "$(dirname "$0")/lib.sh"

# The first run marks the disk, the second sees the mark.
truncate -s 1M "$work/mark"
domain again 256 2 \
	'hvx.run="if dd if=/dev/vda bs=1 count=4 2>/dev/null | grep -q mark; then echo HVX-SECOND; poweroff -f; else echo -n mark | dd of=/dev/vda conv=notrunc 2>/dev/null; sync; echo HVX-FIRST; reboot -f; fi; sleep 100"' \
	"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work/mark'/><target dev='vda' bus='virtio'/></disk>"
boot again 400
check "the first run wrote to the disk" shown again '^HVX-FIRST'
check "the second run read it back" shown again '^HVX-SECOND'
check "there were two boots" [ "$(grep -c '^HVX-GUEST-INIT' "$work/again.out")" -eq 2 ]
check "then it powered off ($status)" [ "$status" -eq 0 ]
check "the mark is in the file" [ "$(head -c 4 "$work/mark")" = mark ]
