#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs inside the nested host of tests/suspend: the host suspends while a guest
# computes. The kernel's own test mode takes ever more down: tasks, devices, the
# firmware's preparation, the other CPUs, at last interrupts and what belongs to
# the boot CPU; then all of it in earnest, woken by the clock.

tap=/tmp/suspend.tap
stage=suspend
. "$(dirname "$0")/l1-host.sh"

modprobe rtc_cmos
if [ -z "$HVX_WITHOUT" ]; then
	sound
	run_guest
	check "with a guest, every CPU is in SVM operation" all_on
fi

# The test mode's own wait of 5 s is a busy one: on a slow host a soft lockup.
echo 0 > /sys/module/suspend/parameters/pm_test_delay
echo deep > /sys/power/mem_sleep || fail "no suspend to memory"
for level in freezer devices platform processors core none; do
	echo $level > /sys/power/pm_test
	read -r before _ < /proc/uptime
	if [ $level = none ]; then
		rtcwake -m mem -s 5 > /dev/null || fail "no suspend to memory"
	else
		echo mem > /sys/power/state || fail "no suspend up to $level"
	fi
	# This shell was moved to the first CPU, which is not for guests (scripts/l1).
	taskset -p -c 1-2 $$ > /dev/null
	read -r after _ < /proc/uptime
	verdict ok "up to $level and back, uptime $before to $after"
	[ -n "$HVX_WITHOUT" ] && continue
	check "$level: every CPU is in SVM operation" all_on
	check "$level: the guest goes on, no clock went back" going
done
check "the kernel has no complaints" no_klog
end 0
