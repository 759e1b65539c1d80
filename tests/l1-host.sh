# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the tests of the host's own life share (l1-suspend.sh): TAP
# lines, who is in SVM operation, a guest that always has something to do.
# Wants $tap, the file for the lines, and $stage, what they begin with.

. "$(dirname "${BASH_SOURCE[0]}")/guest/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
complaints='WARNING: |BUG: |Oops|general protection|kernel BUG at|hung task|hard LOCKUP|rcu.*stalls? on|rcu.*self-detected stall|circular locking|Call Trace'

verdict() { # ok|not ok, text
	echo "$1 $(($(grep -Ec '^(not )?ok' "$tap" 2>/dev/null) + 1)) - $stage: $2" | tee -a "$tap"
}
end() { # status
	echo "1..$(grep -Ec '^(not )?ok' "$tap")" | tee -a "$tap"
	exit "$1"
}
fail() {
	local file

	verdict "not ok" "$*"
	! declare -F tell_all > /dev/null || tell_all
	for file in "$work"/*.out "$work"/*.err; do
		[ -s "$file" ] && echo "--- ${file##*/}:" && tail -n 40 "$file" | tr -d '\r'
	done
	dmesg | tail -n 60
	end 1
}
check() { # what, command...
	local what=$1

	shift
	"$@" || fail "$what"
	verdict ok "$what"
}

# no_klog [FILE]: neither this kernel nor the one whose console is given complained.
no_klog() {
	! { if [ $# -gt 0 ]; then cat "$1"; else dmesg; fi; } |
		grep -avE 'rcu_cpu_stall_suppress|RETBleed: WARNING: Spectre|Return Stack Overflow: WARNING: See' | grep -aE "$complaints"
}

# How many CPUs are in SVM operation? EFER.SVME, bit 12 (APM 15.4).
svm_cpus() {
	local cpu n=0 efer

	for cpu in /dev/cpu/[0-9]*; do
		efer=$(dd if="$cpu/msr" bs=8 count=1 skip=$((0xc0000080 / 8)) 2>/dev/null | od -An -tu8)
		[ -n "$efer" ] || { echo unreadable; return; }
		[ $((efer >> 12 & 1)) -eq 0 ] || n=$((n + 1))
	done
	echo $n
}
none_on() { [ "$(svm_cpus)" = 0 ]; }
all_on() { [ "$(svm_cpus)" = "$(grep -c ^processor /proc/cpuinfo)" ]; }

# The guest g: two vCPUs, one that never rests and one with timers.
run_guest() {
	domain g 192 2 'hvx.run="(while :; do :; done) & l=0; while :; do read t x < /proc/uptime; t=${t%.*}${t#*.}; test $t -ge $l || echo HVX-BAD clock $l to $t; l=$t; echo HVX-TICK; usleep 100000; done"'
	start g
	wait_for g 400 '^HVX-TICK'
}
ticks() { tr -d '\r' < "$work/g.out" | grep -c '^HVX-TICK'; }
# Its clock goes on, and never went back.
going() {
	local from end=$((SECONDS + 240))

	from=$(ticks)
	until [ "$(ticks)" -gt $((from + 3)) ]; do
		kill -0 "${guest_pid[g]}" 2>/dev/null && [ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
	no_complaints g && ! shown g '^HVX-BAD'
}

# All CPUs off, then fit to run a guest.
sound() {
	check "no CPU is in SVM operation" none_on
	check "the module loads" insmod "$HVX_MODULE"
	"$HVX_BUILD/tests/uapi/exits_test" > "$work/exits.out" 2>&1
	check "tiny guests run" [ $? -eq 0 ]
}

modprobe msr || fail "no msr driver"
