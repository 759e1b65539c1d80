#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Snapshots of a running guest whose memory and disk count together: each revert
# brings both back to one moment. Commands are killed in between. In the end all
# is merged into the disk's own file.
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run HVX_CONFIG_DIR=$work/etc HVX_STATE_DIR=$work/lib XDG_STATE_HOME=$work/state
mkdir -m 700 "$work/run"

# Each round: the number goes to memory, then to the disk; what both have must agree
# with what the shell has counted, and 4 MiB of noise must stay as they are.
loop='dd if=/dev/urandom of=/dev/shm/a bs=1M count=4 2>/dev/null; a=$(md5sum < /dev/shm/a | cut -c1-32)'
loop+='; dd if=/dev/shm/a of=/dev/vda bs=1M 2>/dev/null; sync; n=0; while :; do n=$((n + 1))'
loop+='; echo $n > /dev/shm/n; echo $n | dd of=/dev/vda bs=4096 seek=3000 conv=sync 2>/dev/null; sync'
loop+='; echo 3 > /proc/sys/vm/drop_caches'
loop+='; d=$(dd if=/dev/vda bs=4096 skip=3000 count=1 2>/dev/null | head -n 1)'
loop+='; [ $d = $n ] || echo HVX-BAD disk has $d, not $n; [ $(cat /dev/shm/n) = $n ] || echo HVX-BAD memory'
loop+='; [ $(dd if=/dev/vda bs=1M count=4 2>/dev/null | md5sum | cut -c1-32) = $a ] || echo HVX-BAD noise on disk'
loop+='; [ $(md5sum < /dev/shm/a | cut -c1-32) = $a ] || echo HVX-BAD noise in memory'
loop+='; echo HVX-TICK $n $(cat /sys/class/rtc/rtc0/since_epoch); sleep 0.2; done'

truncate -s 32M "$work/disk.img"
domain snap 160 1 "loglevel=6 hvx.run=\"$loop\"" \
	"<disk type='file' device='disk'><source file='$work/disk.img'/><target dev='vda' bus='virtio'/></disk>
	<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"

follow() { # its console into snap.out, from here on
	: > "$work/snap.out"
	cat "$work/run/hvx/snap/serial0.pty" >> "$work/snap.out" 2>/dev/null &
	guest_pid[cat]=$!
	guest_pid[snap]=$(cat "$work/run/hvx/snap/pid")
}
tick() { tr -d '\r' < "$work/snap.out" | sed -n 's/^HVX-TICK \([0-9]*\).*/\1/p' | "$1" -n 1; }
good() {
	! shown snap '^HVX-BAD' || fail "the guest complains"
}
more() { # it goes on: two rounds beyond where it is
	wait_for snap 120 "^HVX-TICK $(($(tick tail) + 2)) "
}
names() { "$hvx" snapshot-list --names snap | tr '\n' ' '; }

"$hvx" define "$work/snap.xml" > /dev/null || fail "define"
"$hvx" start snap > /dev/null || fail "start"
follow
wait_for snap 300 '^HVX-TICK 2 '
# The guest goes on before this script looks: a snapshot's round lies between what was seen
# before it was asked for and what is seen after it.
one=$(tick tail)
"$hvx" snapshot-create-as snap one "the first" > /dev/null || fail "snapshot one"
one="$one $(tick tail)"
more
two=$(tick tail)
"$hvx" snapshot-create-as snap two > /dev/null || fail "snapshot two"
two="$two $(tick tail)"
more
good
check "two snapshots" [ "$(names)" = "one two " ]
layer=$("$hvx" qmp snap query-block | grep -c 'x-hvx-layer')
echo "# the guest writes to $([ "$layer" -gt 0 ] && echo a layer || echo its own file)"

# Killed while the guest stands still, before and after its VMM has the new layers.
HVX_TEST_KILL_AT=frozen "$hvx" snapshot-create-as snap three > /dev/null 2>&1
[ $? -eq 137 ] || fail "not killed"
check "killed early, it is dropped" [ "$(names 2> /dev/null)" = "one two " ]
more
HVX_TEST_KILL_AT=switched "$hvx" snapshot-create-as snap four > /dev/null 2>&1
[ $? -eq 137 ] || fail "not killed"
if [ "$layer" -gt 0 ]; then
	check "killed late, it is there" [ "$(names 2> /dev/null)" = "one two four " ]
else
	check "killed late, it is dropped" [ "$(names 2> /dev/null)" = "one two " ]
fi
more
good

back() { # SNAPSHOT TICK-BEFORE TICK-AFTER
	local now first rtc

	"$hvx" snapshot-revert snap "$1" || fail "revert to $1"
	kill "${guest_pid[cat]}" 2> /dev/null
	follow
	wait_for snap 120 '^HVX-TICK '
	first=$(tick head)
	[ "$first" -gt "$2" ] && [ "$first" -le $(($3 + 3)) ] || fail "it goes on with $first, and was at $2 to $3"
	more
	good
	check "back at $1, memory and disk agree" true
	rtc=$(tr -d '\r' < "$work/snap.out" | sed -n 's/^HVX-TICK [0-9]* //p' | tail -n 1)
	now=$(($(date +%s) - rtc))
	check "its clock is the host's ($now s)" [ "${now#-}" -le 10 ]
	check "it knows that it went back" shown snap 'crng reseeded due to virtual machine fork'
}

# shellcheck disable=SC2086 # two numbers each
back one $one
# shellcheck disable=SC2086
back two $two
check "the tree" [ "$("$hvx" snapshot-list --tree snap | head -n 1)" = one ]

# A disk's own file is not for others while snapshots are made of it.
if [ "$layer" -gt 0 ] && getfattr -n user.hvx.snapshot-base "$work/disk.img" > /dev/null 2>&1; then
	sed 's,<name>snap<,<name>other<,' "$work/snap.xml" > "$work/other.xml"
	"$hvx" run "$work/other.xml" < /dev/null > "$work/other.out" 2>&1
	check "the frozen file is refused" grep -q "the snapshots of guest snap are made on" "$work/other.out"
fi

# One goes while it runs; the VMM of the other is killed, and a power failure is survived.
"$hvx" snapshot-delete snap one > /dev/null || fail "delete one"
more
good
# Merged under it, and killed at that: it sees nothing of it.
for step in top-committed merge-copy ''; do
	HVX_TEST_KILL_AT=$step "$hvx" blockcommit snap 2> "$work/commit.err"
	said="$step: status $?, $(tr '\n' ' ' < "$work/commit.err")"
	[ "$layer" -eq 0 ] || [ -z "$step" ] || echo "# killed at $said"
	more
	good
done
check "blockcommit ($said)" [ "${said#: status 0}" != "$said" ]
files=$(grep -c "disk.img.*(deleted)" <(ls -l "/proc/${guest_pid[snap]}/fd"))
check "its VMM has no file open that was merged ($files)" [ "$files" -eq 0 ]
kill -9 "${guest_pid[snap]}"
unset "guest_pid[snap]"
"$hvx" snapshot-delete snap four > /dev/null 2>&1
check "only two is left" [ "$(names)" = "two " ]
"$hvx" snapshot-revert snap two || fail "revert of a guest that was killed"
follow
wait_for snap 120 '^HVX-TICK '
more
good
last=$(tick tail)
"$hvx" destroy snap > /dev/null || fail "destroy"
unset "guest_pid[snap]"

# All merged: the disk's own file has what the guest wrote last.
"$hvx" snapshot-delete snap --current > /dev/null 2>&1 || fail "delete two"
check "nothing is left of them" [ -z "$(ls "$work" | grep 'hvx-'; ls "$work/lib/snapshots/snap")" ]
disk=$(dd if="$work/disk.img" bs=4096 skip=3000 count=1 2> /dev/null | head -n 1)
check "the disk is at round $disk" [ "$disk" -ge "$last" ]
check "off, a snapshot is made" "$hvx" snapshot-create-as snap off
echo "<domainsnapshot><name>later</name><disks><disk name='vda'/></disks></domainsnapshot>" > "$work/later.xml"
check "and one as an XML says" "$hvx" snapshot-create snap "$work/later.xml"
check "it is the current one" [ "$("$hvx" snapshot-current --name snap)" = later ]
check "snapshot-info" grep -Eq '^Parent: *off$' <("$hvx" snapshot-info snap later)
check "snapshot-dumpxml" grep -q '<name>later</name>' <("$hvx" snapshot-dumpxml snap later)
check "its parent is off" [ "$("$hvx" snapshot-parent snap later)" = off ]
check "undefine is refused" [ "$("$hvx" undefine snap > /dev/null 2>&1; echo $?)" -eq "$ERR_SETUP" ]
check "undefine drops them" "$hvx" undefine --snapshots-metadata snap
check "the disk is as it was" [ "$(dd if="$work/disk.img" bs=4096 skip=3000 count=1 2> /dev/null | head -n 1)" = "$disk" ]
