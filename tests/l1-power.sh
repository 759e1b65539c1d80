#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs inside the nested host, once in each of its boots; the stage is in a file:
#
#	first	a guest runs through CPU hotplug; kexec under it
#	kexec	the kernel that kexec started: the same checks; reboot under a guest
#	reboot	a guest runs; the kernel crashes under it
#	crash	the crash kernel: the last checks
#
# Each later boot proves that the CPUs came out of the one before in order: off,
# as far as the extension goes, and fit to run guests again. See tests/power.

results=$HVX_RESULTS
tap=$results/power.tap
stage=$(cat "$results/power.stage" 2>/dev/null || echo first)
. "$(dirname "$0")/l1-host.sh"

next() { # stage
	echo "$1" > "$results/power.stage"
	# What the console has shown so far was looked at.
	stat -c %s /run/l1/ctl/console > "$results/power.console"
	sync
}
# The console since then: the end of the kernel before, and this one.
no_complaint_since() {
	tail -c +"$(($(cat "$results/power.console") + 1))" /run/l1/ctl/console > "$work/console"
	no_klog "$work/console"
}

# The emulator is slow to write, byte by byte, where the kernel before had its code.
load_kernel() { # -l|-p, command line
	check "a kernel is loaded" kexec "$1" --reuse-cmdline --append="$2 clearcpuid=erms watchdog_thresh=60" \
		--initrd "$HVX_L1_INITRD" "$HVX_L1_KERNEL"
}

case $stage in
first)
	sound
	run_guest
	check "with a guest, every CPU is in SVM operation" all_on

	for cpu in 1 2; do
		echo 0 > /sys/devices/system/cpu/cpu$cpu/online || fail "CPU $cpu does not go"
		going || fail "the guest stands without CPU $cpu"
		echo 1 > /sys/devices/system/cpu/cpu$cpu/online || fail "CPU $cpu does not come"
	done
	check "CPUs went and came under it" going
	check "and are in SVM operation again" all_on

	check "the kernel has no complaints" no_klog
	load_kernel -l hvx.power=kexec
	next kexec
	kexec -e
	fail "kexec did not go" ;;
kexec)
	check "kexec started this kernel" grep -q hvx.power=kexec /proc/cmdline
	check "neither kernel has complaints" no_complaint_since
	sound
	run_guest
	next reboot
	busybox reboot -f
	sleep 60
	fail "no reboot" ;;
reboot)
	check "this is another boot" sh -c '! grep -q hvx.power /proc/cmdline'
	check "neither kernel has complaints" no_complaint_since
	sound
	load_kernel -p 'hvx.power=crash nr_cpus=1'
	run_guest
	next crash
	echo c > /proc/sysrq-trigger
	sleep 60
	fail "no crash" ;;
crash)
	check "this is the crash kernel" grep -q hvx.power=crash /proc/cmdline
	check "it has the memory of the one that crashed" [ -s /proc/vmcore ]
	check "the kernel has no complaints" no_klog
	sound
	end 0 ;;
esac
