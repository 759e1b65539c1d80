#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that checks itself on a qcow2 image over another one, through all that is done
# with a guest's state: another size, snapshots while it runs and when it is off, save and restore, a
# move to another host that sees the same image, forks, daemons that stand still. In the end the
# image is sound.
# limit: 900

. "$(dirname "$0")/lib.sh"
for tool in qemu-storage-daemon qemu-img; do
	command -v $tool > /dev/null || { echo "SKIP: $tool is missing: run scripts/setup"; exit 77; }
done
for host in a b; do mkdir -p "$work/$host/state"; done
sock=$work/sock

on() { # HOST VERB...: hvx there
	local host=$1

	shift
	HVX_CONFIG_DIR=$work/$host/config HVX_STATE_DIR=$work/$host/lib XDG_RUNTIME_DIR=$work/$host XDG_STATE_HOME=$work/$host/state "$hvx" "$@"
}
end_all() {
	[ $? -eq 0 ] || tail -n 20 "$work"/*/state/hvx/*.log "$work"/*.said >&3
	on a destroy disk
	on a destroy disk-1
	on b destroy disk
	cleanup
} > /dev/null 2>&1
exec 3>&1
trap end_all EXIT

mib=1
truncate -s 64M "$work/base.raw"
qemu-img create -q -f qcow2 -b "$work/base.raw" -F raw "$work/disk.qcow2" || fail "qemu-img create"
domain disk 128 1 "hvx.run=\"$(checking_loop $((1024 * mib)))\"" \
	"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='$work/disk.qcow2'/>
	<backingStore type='file'><format type='raw'/><source file='$work/base.raw'/></backingStore>
	<target dev='vda' bus='virtio'/></disk>"
# The console is a file that all append to.
sed -i "/<console /d; s,<serial type='pty'>,<serial type='file'><source path='$work/disk.out' append='on'/>," "$work/disk.xml"

daemons() { pgrep -c qemu-storage-d; }
round() { tr -d '\r' < "$work/disk.out" | sed -n 's/^HVX-ROUND \([0-9]*\)$/\1/p' | tail -n 1; }
lines() { tr -d '\r' < "$work/disk.out" | grep -c '^HVX-ROUND '; }
goes_on() { # HOST WHAT: two more rounds, no complaint
	local want=$(($(lines) + 2)) end=$((SECONDS + 600))

	until [ "$(lines)" -ge "$want" ]; do
		[ $SECONDS -lt $end ] || fail "$2: it does not go on: $(lines) of $want rounds, $(on "$1" domstate disk 2>&1), $(daemons) daemons, it said: $(tail -c 300 "$work/disk.out" | tr -d "\r" | tr "\n" "|")"
		sleep 0.3
	done
	! shown disk '^HVX-BAD' || fail "$2: the guest complains: $(tr -d '\r' < "$work/disk.out" | grep -m 1 '^HVX-BAD')"
	echo "ok: $2"
}
does() { # WHAT HOST VERB...: or what it said
	local what=$1

	shift
	on "$@" > "$work/does.said" 2>&1 || fail "$what: status $?: $(tr '\n' ' ' < "$work/does.said" | head -c 300)"
	echo "ok: $what"
}

does define a define "$work/disk.xml"
does start a start disk
goes_on a "it runs on a qcow2 image"
does "it gets another size" a blockresize disk vda 96M
size=$(qemu-img info -U "$work/disk.qcow2" | sed -n 's/^virtual size: .*(\([0-9]*\) bytes)$/\1/p')
check "it has $size bytes" [ "$size" = 100663296 ]
goes_on a "it goes on with that"

# Snapshots: the image becomes what a layer lies on; back to it; off, it is merged in.
does "a snapshot while it runs" a snapshot-create-as disk one
goes_on a "it goes on, on a layer"
check "its daemon goes on with it ($(daemons))" [ "$(daemons)" -eq 1 ]
! qemu-img info "$work/disk.qcow2" 2> /dev/null | grep -q 'Snapshot list' || fail "the image has a snapshot of its own"
at=$(round)
does "a second one, without memory" a snapshot-create-as disk two --disk-only
goes_on a "it goes on, on two layers"
does "back to the first" a snapshot-revert disk one
goes_on a "it goes on from there"
again=$(round)
check "from round $again, and was at $at" [ "$again" -lt $((at + 6)) ]
does "the second goes" a snapshot-delete disk two
goes_on a "while it runs"

# Save and restore with its layers, and without them.
does save a save disk "$work/saved"
check "no daemon is left ($(daemons))" [ "$(daemons)" -eq 0 ]
does restore a restore --detach "$work/saved"
goes_on a "restored on layers"
does "destroy" a destroy disk
does "a snapshot of a guest that is off" a snapshot-create-as disk off
does "it goes" a snapshot-delete disk off
does "the first goes" a snapshot-delete disk one
check "one file is left ($(cd "$work" && echo disk.qcow2*))" [ "$(cd "$work" && echo disk.qcow2*)" = disk.qcow2 ]
check "the image is sound" qemu-img check -q "$work/disk.qcow2"
check "nothing was written to what it lies on" [ -z "$(tr -d '\0' < "$work/base.raw" | head -c 1)" ]
qemu-img convert -O raw "$work/disk.qcow2" "$work/plain.raw" || fail "qemu-img convert"
at=$(dd if="$work/plain.raw" bs=512 skip=60000 count=1 status=none | tr -d '\0' | head -n 1)
check "and has what was written last ($at, $(round))" [ "$(($(round) - at))" -le 1 ]
does "start it" a start disk
goes_on a "after the merge"

# What lies on the image is merged into it while the guest runs, but for what it writes to.
does "a snapshot for a while" a snapshot-create-as disk while --disk-only
goes_on a "it goes on, on a layer again"
before=$(round)
does "it is not needed" a snapshot-delete disk while
does "blockcommit" a blockcommit disk
goes_on a "it goes on over what was merged"
check "two files are left ($(cd "$work" && echo disk.qcow2*))" [ "$(cd "$work" && set -- disk.qcow2* && echo $#)" -eq 2 ]
qemu-img convert -U -O raw "$work/disk.qcow2" "$work/plain.raw" || fail "qemu-img convert, live"
at=$(dd if="$work/plain.raw" bs=512 skip=60000 count=1 status=none | tr -d '\0' | head -n 1)
check "the image has what was written on the layer (round $at, at least $((before - 1)))" [ "$at" -ge $((before - 1)) ]
check "one daemon has it ($(daemons))" [ "$(daemons)" -eq 1 ]
does "destroy it" a destroy disk
does "start it again" a start disk
goes_on a "all of it is in the image"
check "which is one file ($(cd "$work" && echo disk.qcow2*))" [ "$(cd "$work" && echo disk.qcow2*)" = disk.qcow2 ]
does save a save disk "$work/saved"
does restore a restore --detach "$work/saved"
goes_on a "restored"

# To another host that has the image as well, and back.
move() { # FROM TO
	local end=$((SECONDS + 60)) receiver status

	rm -f "$sock"
	on "$2" receive "unix:$sock" 2> "$work/receive.said" &
	receiver=$!
	until [ -S "$sock" ]; do [ $SECONDS -lt $end ] || fail "receive does not wait"; sleep 0.1; done
	does "migrate from $1 to $2" "$1" migrate --live disk "unix:$sock"
	wait $receiver
	status=$?
	check "receive on $2: status $status" [ $status -eq 0 ]
	goes_on "$2" "it goes on on $2"
	check "one daemon has the image ($(daemons))" [ "$(daemons)" -eq 1 ]
}
move a b
move b a

# Forks read what the template has, which stands still.
does "fork" a fork --count 1 disk
goes_on a "the fork goes on"
check "it and the template read the image ($(daemons))" [ "$(daemons)" -eq 2 ]
! on a resume disk > /dev/null 2>&1 || fail "the template goes on"

# Somebody has stopped the daemons: what waits for them ends all the same, and by itself.
pkill -STOP qemu-storage-d
does "the fork ends" a destroy disk-1
! grep 'was killed' "$work/does.said" || fail "the fork: $(cat "$work/does.said")"
does "the template ends" a destroy disk
! grep 'was killed' "$work/does.said" || fail "the template: $(cat "$work/does.said")"
check "no daemon is left at the end ($(daemons))" [ "$(daemons)" -eq 0 ]
check "the image is sound at the end" qemu-img check -q "$work/disk.qcow2"
