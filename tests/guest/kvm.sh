#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests of hvx and of KVM (under QEMU) at the same time on the same CPUs, each
# with two vCPUs that fork, page, send IPIs and sleep, while a CPU goes offline
# and comes back. HVX_KVM_SECONDS: how long each KVM guest works (default 5); the
# long run: make check-nested TESTS=kvm HVX_KVM_SECONDS=300 HVX_LIMIT=2000
# limit: 900
# bench: bochs-named
#
# KVM's module is loaded after hvx.ko, removed and loaded again under a running
# hvx guest, and loaded before hvx.ko. Every guest computes what it should to the
# end; tests/run looks at the kernel log.

. "$(dirname "$0")/lib.sh"

skip() {
	echo "$*"
	exit 77
}

seconds=${HVX_KVM_SECONDS:-5}
vendor=kvm_amd
grep -qw svm /proc/cpuinfo || vendor=kvm_intel
command -v qemu-system-x86_64 > /dev/null || skip "no qemu-system-x86_64 here"
modprobe -n "$vendor" 2> /dev/null || skip "no module $vendor here"
# The CPU that goes offline: the last of those that we may use.
cpu=$(taskset -cp $$ | sed 's/.*[-, ]//')

# Two workers until /tmp/go is there: processes come and go (page faults, TLB
# shootdowns), pipes between the CPUs (IPIs), sleeps (timers). A byte that is not
# as it should be ends them with 1.
sum=$(head -c 300000 /dev/zero | md5sum | head -c 8)
# shellcheck disable=SC2016 # for the guest's shell
load='w() { n=0; while [ ! -e /tmp/go ]; do [ $(head -c 300000 /dev/zero | md5sum | head -c 8) = '$sum' ] || return 1; usleep 2000; n=$((n+1)); done; echo HVX-TURNS $n; }; echo HVX-READY; w & w; a=$?; wait $! && [ $a -eq 0 ]'

hvx_guest() { # NAME: works until it is told to stop
	domain "$1" 256 2 "hvx.exit=debug hvx.run=\"(read -r x < /dev/ttyS0; touch /tmp/go) & $load\""
	start "$1"
}

kvm_guest() { # NAME: works for $seconds
	local fd

	qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
		-accel kvm -cpu host,-xsave -smp 2 -m 256 -serial stdio -kernel "$kernel" -initrd "$initramfs" \
		-device isa-debug-exit,iobase=0x501,iosize=4 \
		-append "console=ttyS0 panic=-1 loglevel=5 no_timer_check hvx.exit=debug hvx.run=\"(sleep $seconds; touch /tmp/go) & $load\"" \
		< /dev/null > "$work/$1.out" 2> "$work/$1.err" &
	guest_pid[$1]=$!
	exec {fd}> /dev/null
	guest_in[$1]=$fd
}

ends_well() { # NAME SECONDS
	finish "$1" "$2"
	# The debug-exit port makes of a status s: (s << 1) | 1.
	check "$1 computed what it should to the end ($status)" [ "$status" -eq 1 ]
	check "$1: both of its workers worked" [ "$(tr -d '\r' < "$work/$1.out" | grep -c '^HVX-TURNS [1-9]')" -eq 2 ]
	check "$1: its kernel has no complaints" no_complaints "$1"
}

cpu_off_and_on() {
	echo 0 > "/sys/devices/system/cpu/cpu$cpu/online" && sleep 1 &&
		echo 1 > "/sys/devices/system/cpu/cpu$cpu/online"
}

reload() { # MODULE FILE-OR-NAME
	local _

	# The last reference may still be on its way out.
	for _ in $(seq 50); do
		! grep -q "^$1 " /proc/modules || rmmod "$1" && break
		sleep 0.2
	done
	case $2 in
	/*) insmod "$2" ;;
	*) modprobe "$2" ;;
	esac
}

rmmod "$vendor" 2> /dev/null
check "KVM is not loaded" [ ! -d "/sys/module/$vendor" ]
hvx_guest alone
wait_for alone 300 '^HVX-READY'

modprobe "$vendor"
kvm_guest late
wait_for late 300 '^HVX-READY'
check "a CPU went offline and came back under both" cpu_off_and_on
ends_well late $((300 + seconds))
check "KVM's module was removed and loaded again under a running guest" reload "$vendor" "$vendor"
kvm_guest again
wait_for again 300 '^HVX-READY'
send alone go
ends_well alone 300
ends_well again $((300 + seconds))

check "hvx.ko was loaded again, after KVM" reload hvx "$HVX_MODULE"
kvm_guest first
wait_for first 300 '^HVX-READY'
hvx_guest second
wait_for second 300 '^HVX-READY'
check "a CPU went offline and came back under both" cpu_off_and_on
send second go
ends_well second 300
ends_well first $((300 + seconds))
rmmod "$vendor"
check "KVM's module can be removed" [ ! -d "/sys/module/$vendor" ]
