#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Memory pressure on the host: a guest in a control group smaller than its RAM
# is swapped out and in again, and what is in its memory stays right.
# limit: 900

. "$(dirname "$0")/lib.sh"

[ -b /dev/l1/swap ] || fail "no /dev/l1/swap"
mkswap /dev/l1/swap > /dev/null && swapon /dev/l1/swap || fail "no swap"
trap 'cleanup; swapoff /dev/l1/swap 2>/dev/null' EXIT

# Twice 52 MB of distinct lines in the guest's tmpfs, compared three times.
domain swap 224 2 'hvx.exit=debug hvx.run="mount -o remount,size=150m /tmp; seq 1000000 7500000 > /tmp/a; cat /tmp/a > /tmp/b; for i in 1 2 3; do cmp /tmp/a /tmp/b || exit 9; md5sum < /tmp/a; done; echo HVX-COMPARED"'

group=/sys/fs/cgroup/hvx-swap
mkdir $group && echo 96M > $group/memory.max || fail "no memory control group"
out_before=$(awk '/^pswpout/ { print $2 }' /proc/vmstat)
in_before=$(awk '/^pswpin/ { print $2 }' /proc/vmstat)
(
	echo "$BASHPID" > $group/cgroup.procs
	exec "$hvx" run "$work/swap.xml" < /dev/null > "$work/swap.out" 2> "$work/swap.err"
) &
guest_pid[swap]=$!
guest_in[swap]=$(exec {fd}> /dev/null && echo $fd)
while kill -0 "${guest_pid[swap]}" 2>/dev/null; do sleep 0.5; done
wait "${guest_pid[swap]}"
status=$?
unset "guest_pid[swap]"
swapped_out=$(($(awk '/^pswpout/ { print $2 }' /proc/vmstat) - out_before))
swapped_in=$(($(awk '/^pswpin/ { print $2 }' /proc/vmstat) - in_before))
echo "pages swapped out: $swapped_out, in: $swapped_in"
cat $group/memory.events
check "the guest's RAM was swapped out" [ $swapped_out -gt 10000 ]
check "and in again" [ $swapped_in -gt 10000 ]
check "its memory stayed right" shown swap '^HVX-COMPARED'
check "all sums are the same" [ "$(grep -E '^[0-9a-f]{32} ' "$work/swap.out" | sort | uniq -c | awk '{ print $1 }')" = 3 ]
check "the kernel has no complaints" no_complaints swap
check "the guest ended well ($status)" [ "$status" -eq 1 ]
rmdir $group
