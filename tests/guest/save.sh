#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that checks its own memory, disk and clock, saved and restored again and
# again: HVX_SAVE_CYCLES times (default 2).
# limit: 1500

. "$(dirname "$0")/lib.sh"
cycles=${HVX_SAVE_CYCLES:-2}
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
mkdir "$work/run"

# Patterns in memory and on the disk are written once and compared all the time; the
# clock must never go back nor leap. Each line is one round of all checks.
check_loop='dd if=/dev/urandom of=/dev/shm/a bs=1M count=12 2>/dev/null'
check_loop+='; a=$(md5sum < /dev/shm/a | cut -c1-32); dd if=/dev/shm/a of=/dev/vda bs=1M 2>/dev/null; sync'
check_loop+='; up; n=0; last=0; while :; do n=$((n + 1))'
check_loop+='; [ $(md5sum < /dev/shm/a | cut -c1-32) = $a ] || echo HVX-BAD memory'
check_loop+='; echo 3 > /proc/sys/vm/drop_caches'
check_loop+='; [ $(dd if=/dev/vda bs=1M count=12 2>/dev/null | md5sum | cut -c1-32) = $a ] || echo HVX-BAD disk'
check_loop+='; echo $n | dd of=/dev/vda bs=512 seek=60000 conv=sync 2>/dev/null; sync'
check_loop+='; read -r now x < /proc/uptime; now=${now%%.*}'
check_loop+='; [ $last -eq 0 ] || { [ $now -ge $last ] && [ $((now - last)) -lt 40 ]; } || echo HVX-BAD clock $last $now'
check_loop+='; last=$now; echo HVX-ROUND $n $now $(date +%s) $(cat /sys/class/rtc/rtc0/since_epoch); done'

truncate -s 64M "$work/disk.img"
domain state 192 2 "hvx.run=\"$check_loop\"" \
	"<disk type='file' device='disk'><source file='$work/disk.img'/><target dev='vda' bus='virtio'/></disk>
	$xml_user_net<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
	<memballoon model='virtio'/>"

start state
wait_for state 300 '^HVX-ROUND 2'

round() { tr -d '\r' < "$work/$1.out" | sed -n 's/^HVX-ROUND \([0-9]*\).*/\1/p' | tail -n 1; }

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
	before=$(round state)
	file=$work/state.$((cycle % 2))
	"$hvx" save state "$file" || fail "save $cycle"
	finish state 60
	[ "$status" -eq 70 ] || fail "the VMM ended with status $status"
	restore state "$file"
	wait_for state 120 "^HVX-ROUND $((before + 3)) "
	! shown state '^HVX-BAD' || fail "cycle $cycle: the guest complains"
	rm "$file"
	[ $((cycle % 50)) -ne 0 ] || echo "$cycle of $cycles"
done
echo "ok: saved and restored $cycles times"
