#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Memory that a guest no longer uses comes back to the host without anybody's asking
# (free page reporting), and is there when the guest wants it again.

. "$(dirname "$0")/lib.sh"

rss() { sed -n 's/^RssShmem:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$vmm/status" | awk '{ print int($1 / 1024) }'; } # MiB

# What is kept beside what is let go of must stay as it is.
run='fill() { dd if=/dev/zero of=/dev/shm/a bs=1M count=200 2> /dev/null; echo HVX-FULL $1 $(md5sum < /dev/shm/keep); }'
run+='; dd if=/dev/urandom of=/dev/shm/keep bs=1M count=4 2> /dev/null; fill 1; read x < /dev/ttyS0; rm /dev/shm/a; read x < /dev/ttyS0; fill 2; read x < /dev/ttyS0'
domain reports 512 2 "hvx.run=\"$run\"" "<memballoon model='virtio' freePageReporting='on'/>"
start reports
wait_for reports 240 '^HVX-FULL 1'
vmm=$(pgrep -x hvx-vmm)
full=$(rss)
check "the guest has touched 200 MiB ($full MiB are there)" [ "$full" -ge 200 ]
send reports go
end=$((SECONDS + 120)) least=$full
until [ "$least" -le $((full - 160)) ]; do
	[ $SECONDS -lt $end ] || fail "of $full MiB, $least MiB are still there after the guest has let go of 200"
	sleep 0.5
	least=$(rss)
done
echo "ok: it let go of them, and the host has them back ($least MiB are left)"
send reports go
wait_for reports 240 '^HVX-FULL 2'
again=$(rss)
check "they came again when it wanted them ($again MiB)" [ "$again" -ge 200 ]
send reports go
finish reports 120
check "it powered off ($status)" [ "$status" -eq 0 ]
check "what it kept is as it was" [ "$(tr -d '\r' < "$work/reports.out" |
	sed -n 's/^HVX-FULL [12] //p' | sort | uniq -c | awk '{ print $1 }')" = 2 ]
check "its kernel has no complaints" no_complaints reports
