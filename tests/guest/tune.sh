#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest's share of the host: CPU time by weight, pinned threads, limits of memory; no
# control group is left, however the guest ends.
# limit: 600

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
mkdir "$work/run"
cg=/sys/fs/cgroup
slice=$cg/hvx.slice

# Without control groups of version 2: said, with what to do.
domain none 64 1 '' '' '<cputune><shares>100</shares></cputune>'
sed -i 's,<kernel>.*</kernel>,<kernel>/dev/null</kernel>,' "$work/none.xml"
if [ ! -e $cg/cgroup.controllers ]; then
	! "$hvx" run "$work/none.xml" < /dev/null > "$work/none.out" 2> "$work/none.err" || fail "a guest without a kernel"
	check "without control groups it is said" grep -q 'no control groups of version 2.*left out' "$work/none.err"
	mount -t cgroup2 none $cg || { echo "ok: skipped: no cgroup2 # SKIP"; exit 0; }
fi
grep -qw cpu $cg/cgroup.controllers || { echo "ok: skipped: no cpu controller of cgroup2 # SKIP"; exit 0; }

# Two guests that want all of one CPU.
tune() { # SHARES
	echo "<cputune><shares>$1</shares><vcpupin vcpu='0' cpuset='1'/></cputune>
	<memtune><hard_limit unit='MiB'>400</hard_limit></memtune>"
}
truncate -s 16M "$work/disk.img"
domain one 96 1 '' '' "$(tune 100)"
domain three 96 1 '' '' "$(tune 300)"
start one
wait_for one 240 'guest of hvx'
start three
wait_for three 240 'guest of hvx'
send one 'while :; do :; done'
send three 'while :; do :; done'
group() { # NAME
	echo "$slice"/hvx-"$1"-*
}
check "a control group for each" [ -d "$(group one)" ] && [ -d "$(group three)" ]
usage() { sed -n 's/^usage_usec //p' "$(group "$1")/cpu.stat"; }
a=$(usage one) b=$(usage three)
# Both have begun.
until [ $(($(usage one) - a)) -ge 500000 ] && [ $(($(usage three) - b)) -ge 500000 ]; do sleep 0.1; done
a=$(usage one) b=$(usage three)
until [ $(($(usage one) - a + $(usage three) - b)) -ge 8000000 ]; do sleep 0.5; done
a=$(($(usage one) - a)) b=$(($(usage three) - b))
check "CPU time of weights 1:3 is about 1:3 ($a us, $b us)" [ $((b * 10)) -ge $((a * 20)) ] && [ $((b * 10)) -le $((a * 45)) ]
check "schedinfo" grep -q 'cpu_shares *: 300' <("$hvx" schedinfo three)
check "schedinfo --set" "$hvx" schedinfo three --set cpu_shares=50
check "it is what was set" [ "$(cat "$(group three)/cpu.weight")" = 50 ]
check "a quota" "$hvx" schedinfo three --set global_quota=20000
check "it is set" [ "$(cat "$(group three)/cpu.max")" = '20000 100000' ]
! "$hvx" schedinfo three --set cpu_shares=0 2> /dev/null || fail "a weight of 0"
check "vcpupin shows it" grep -q '^ 0 *1$' <("$hvx" vcpupin one)
check "vcpupin" "$hvx" vcpupin one 0 0-1
check "it is pinned anew" grep -q '^ 0 *0-1$' <("$hvx" vcpupin one)
if grep -qw memory $cg/cgroup.controllers; then
	check "memory.max" [ "$(cat "$(group one)/memory.max")" = $((400 << 20)) ]
	check "memtune" "$hvx" memtune one --hard-limit $((500 << 10))
	check "it is set" [ "$(cat "$(group one)/memory.max")" = $((500 << 20)) ]
	check "and shown" grep -q "hard_limit *: $((500 << 10))" <("$hvx" memtune one)
else
	echo "ok: skipped: no memory controller of cgroup2 # SKIP"
fi
# In the definition, and both at once.
sed 's/<name>one/<name>kept/' "$work/one.xml" > "$work/kept.xml"
check "define" "$hvx" define "$work/kept.xml"
check "memtune of a definition" "$hvx" memtune kept --hard-limit $((600 << 10))
check "it has it" grep -q "hard_limit *: $((600 << 10))" <("$hvx" memtune kept)
check "vcpupin of a definition" "$hvx" vcpupin kept 0 0
! "$hvx" vcpupin kept 1 0 2> /dev/null || fail "a vCPU that it does not have"
check "start" "$hvx" start kept
check "as it was defined" grep -q '^ 0 *0$' <("$hvx" vcpupin kept)
check "both" "$hvx" schedinfo kept --persistent cpu_shares=77
check "the guest that runs" [ "$(cat "$(group kept)/cpu.weight")" = 77 ]
check "its definition" grep -q 'cpu_shares *: 77' <("$hvx" schedinfo kept --config)
! "$hvx" schedinfo kept --config cpu_shares=0 2> "$work/zero.err" || fail "a weight of 0 in a definition"
check "what a definition cannot have" grep -q '<shares>0</shares>' "$work/zero.err"
check "destroy and undefine" "$hvx" destroy kept && "$hvx" undefine kept
gone=$(group one)
check "destroy" "$hvx" destroy one
finish one 60
check "its group is gone" [ ! -e "$gone" ]
gone=$(group three)
kill -9 "$(cat "$work/run/hvx/three/pid")"
finish three 60
"$hvx" list > /dev/null
check "that of a killed one is gone with the next command" [ ! -e "$gone" ] && [ ! -e $slice ]
