#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The module and the VMM at a guest's rough ends: no unloading under a guest, a
# VMM killed at any time leaves nothing behind.
# limit: 900

. "$(dirname "$0")/lib.sh"

references() { cat /sys/module/hvx/refcnt; }

wait_unused() {
	local i

	for i in $(seq 100); do
		[ "$(references)" -eq 0 ] && return 0
		sleep 0.1
	done
	return 1
}

domain spin 256 2 'hvx.run="echo HVX-SPIN; (while :; do :; done) & while :; do :; done"'
start spin
wait_for spin 240 '^HVX-SPIN'
check "a guest holds the module" [ "$(references)" -gt 0 ]
rmmod hvx 2> /dev/null
check "the module cannot be unloaded under it" [ -d /sys/module/hvx ]
kill -9 "$(pgrep -x hvx-vmm)"
finish spin 60
check "a VMM that is killed has its status ($status)" [ "$status" -eq 70 ]
check "after kill -9 nothing holds the module" wait_unused
rm "$work/spin.in"

# Killed ever later: before the first vCPU runs, in the loader, in the guest.
for pause in 0 0.02 0.05 0.1 0.2 0.5 1 2 4; do
	"$hvx" run "$work/spin.xml" < /dev/null > /dev/null 2>&1 &
	pid=$!
	sleep $pause
	pkill -9 -P $pid
	kill -9 $pid 2> /dev/null
	wait $pid 2> /dev/null
	check "killed after $pause s, nothing holds the module" wait_unused
done

# Without its device there is no guest.
mv /dev/hvx /dev/hvx-away
timeout 60 "$hvx" run "$work/spin.xml" < /dev/null > /dev/null 2> "$work/none.err"
status=$?
mv /dev/hvx-away /dev/hvx
check "no /dev/hvx has its status ($status)" [ "$status" -eq 66 ]
check "and a message that names it ($(head -n 1 "$work/none.err"))" grep -q '/dev/hvx' "$work/none.err"

# A polite signal ends it too, and says so.
start spin
wait_for spin 240 '^HVX-SPIN'
kill -TERM "${guest_pid[spin]}"
finish spin 60
check "SIGTERM ends the guest with its status ($status)" [ "$status" -eq 70 ]
check "and nothing holds the module" wait_unused
