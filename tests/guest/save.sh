#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that checks its own memory, disk and clock, saved and restored again and
# again: HVX_SAVE_CYCLES times (default 2).
# limit: 900

. "$(dirname "$0")/lib.sh"
cycles=${HVX_SAVE_CYCLES:-2}
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
mkdir "$work/run"

# Many cycles are of a guest with less to compare: they would take hours. In the second
# round after a restore everything was written and compared since then, in the first a part.
kib=12288 rounds=3
[ "$cycles" -le 10 ] || kib=1024 rounds=2
check_loop="up; $(checking_loop $kib)"

truncate -s 64M "$work/disk.img"
domain state 192 2 "hvx.run=\"$check_loop\"" \
	"<disk type='file' device='disk'><source file='$work/disk.img'/><target dev='vda' bus='virtio'/></disk>
	$xml_user_net<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
	<memballoon model='virtio'/>"

start state
wait_for state 300 '^HVX-ROUND 2'

round() { tr -d '\r' < "$work/$1.out" | sed -n 's/^HVX-ROUND \([0-9]*\)$/\1/p' | tail -n 1; }

restore() { # NAME FILE: goes on with its console where start() had it
	local fd

	rm -f "$work/$1.in"
	mkfifo "$work/$1.in"
	"$hvx" restore "$2" < "$work/$1.in" >> "$work/$1.out" 2>> "$work/$1.err" &
	guest_pid[$1]=$!
	exec {fd}> "$work/$1.in"
	guest_in[$1]=$fd
}

for cycle in $(seq "$cycles"); do
	file=$work/state.$((cycle % 2))
	"$hvx" save state "$file" || fail "save $cycle"
	finish state 60
	[ "$status" -eq 70 ] || fail "the VMM ended with status $status"
	before=$(round state)	# it ran on until it was saved
	restore state "$file"
	wait_for state 120 "^HVX-ROUND $((before + rounds))\$"
	! shown state '^HVX-BAD' || fail "cycle $cycle: the guest complains"
	rm "$file"
	[ $((cycle % 10)) -ne 0 ] || echo "$cycle of $cycles"
done
echo "ok: saved and restored $cycles times"
