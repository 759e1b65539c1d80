#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Forks of a running guest and of a saved one: they go on from where it stands,
# share its memory, keep what they write to themselves, and end without a trace.
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
mkdir -m 700 "$work/run"

loop='dd if=/dev/urandom of=/dev/shm/a bs=1M count=8 2>/dev/null; a=$(md5sum < /dev/shm/a | cut -c1-32)'
loop+='; dd if=/dev/shm/a of=/dev/vda bs=1M 2>/dev/null; sync; n=0; while :; do n=$((n + 1))'
loop+='; echo 3 > /proc/sys/vm/drop_caches'
loop+='; [ $(dd if=/dev/vda bs=1M count=8 2>/dev/null | md5sum | cut -c1-32) = $a ] || echo HVX-BAD disk'
loop+='; [ $(md5sum < /dev/shm/a | cut -c1-32) = $a ] || echo HVX-BAD memory'
loop+='; dd if=/dev/urandom of=/dev/vda bs=4k count=4 seek=4000 2>/dev/null; sync'
loop+='; echo HVX-TICK $n; sleep 0.2; done'

truncate -s 64M "$work/disk.img"
domain tmpl 256 2 "loglevel=6 hvx.run=\"$loop\"" \
	"<disk type='file' device='disk'><source file='$work/disk.img'/><target dev='vda' bus='virtio'/></disk>
	$xml_user_net<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
start tmpl
wait_for tmpl 300 '^HVX-TICK 3$'
begin=$(date +%s%N)
names=$("$hvx" fork --count 3 tmpl 2> "$work/fork.err") || fail "fork"
echo "# three forks in $((($(date +%s%N) - begin) / 1000000)) ms"
check "three forks have names" [ "$(echo $names)" = "tmpl-1 tmpl-2 tmpl-3" ]
at=$(tr -d '\r' < "$work/tmpl.out" | sed -n 's/^HVX-TICK //p' | tail -n 1)
sum=$(md5sum < "$work/disk.img")

follow() { # NAME: its console into NAME.out
	cat "$work/run/hvx/$1/serial0.pty" > "$work/$1.out" 2>/dev/null &
	guest_pid[$1]=$(cat "$work/run/hvx/$1/pid")
}
end() { # NAME
	"$hvx" qmp "$1" quit > /dev/null || fail "quit $1"
	for _ in $(seq 100); do
		[ -e "/proc/${guest_pid[$1]}" ] || break
		sleep 0.1
	done
	unset "guest_pid[$1]"
}

for name in $names; do
	follow "$name"
	private=$(awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/${guest_pid[$name]}/smaps_rollup")
	echo "# $name: $private KiB private"
done
for name in $names; do
	wait_for "$name" 120 "^HVX-TICK $((at + 4))\$"
	check "$name heard that it was copied" shown "$name" 'crng reseeded due to virtual machine fork'
	check "$name has its memory and its disk" [ "$(grep -c '^HVX-BAD' "$work/$name.out")" -eq 0 ]
done
check "it is said that the template stands still" grep -q 'stands still from now on: its forks read its disk vda' "$work/fork.err"
"$hvx" resume tmpl > /dev/null 2>&1 && fail "the template goes on"
echo "ok: the template stands still"
check "the template's disk is as it was" [ "$(md5sum < "$work/disk.img")" = "$sum" ]
for name in $names; do end "$name"; done
again=$("$hvx" fork -n again tmpl) || fail "fork once more"
follow again
wait_for again 120 "^HVX-TICK $((at + 4))\$"
check "a later fork begins where the others did" [ "$(grep -c '^HVX-BAD' "$work/again.out")" -eq 0 ]
end again

check "the template can be saved" "$hvx" save --plain --running tmpl "$work/template"
"$hvx" qmp tmpl quit > /dev/null
finish tmpl 60
"$hvx" run --from "$work/template" --name file < /dev/null > "$work/file.out" 2> "$work/file.err" &
guest_pid[file]=$!
wait_for file 120 "^HVX-TICK $((at + 4))"
check "a fork of a file goes on" [ "$(grep -c '^HVX-BAD' "$work/file.out")" -eq 0 ]
"$hvx" qmp file quit > /dev/null
wait "${guest_pid[file]}" 2> /dev/null
unset "guest_pid[file]"

# Without a disk that it writes to, a guest goes on; then it, and its forks, can be forked again.
# Each of them changes memory of its own all the time, and compares what it has not changed.
loop='sum() { md5sum < /dev/shm/$1 | cut -c1-32; }; new() { dd if=/dev/urandom of=/dev/shm/$1 bs=1M count=$2 2>/dev/null; }'
loop+='; new a 8; a=$(sum a); n=0; while :; do n=$((n + 1)); new b 4; b=$(sum b)'
loop+='; [ $(sum a) = $a ] || echo HVX-BAD old memory; [ $(sum b) = $b ] || echo HVX-BAD new memory'
loop+='; echo HVX-TICK $n; sleep 0.2; done'
domain free 192 2 "loglevel=6 hvx.run=\"$loop\""
ticks() { tr -d '\r' < "$work/$1.out" | sed -n 's/^HVX-TICK //p' | tail -n 1; }
more() { # NAME: it goes on, and has nothing to complain about
	local at

	wait_for "$1" 120 '^HVX-TICK'
	at=$(ticks "$1")
	wait_for "$1" 120 "^HVX-TICK $((at + 3))\$"
	check "$1 goes on" [ "$(grep -c '^HVX-BAD' "$work/$1.out")" -eq 0 ]
}
start free
wait_for free 300 '^HVX-TICK 3$'
for of in free free free-1; do
	name=$("$hvx" fork "$of" 2> "$work/fork.err") || fail "fork of $of"
	wait_for free 60 "^HVX-TICK $(($(ticks free) + 2))\$"
	follow "$name"
	wait_for "$name" 120 '^HVX-TICK'
done
check "the forks have names ($name)" [ "$name" = free-1-1 ]
check "no complaints" [ ! -s "$work/fork.err" ]
for name in free free-1 free-2 free-1-1; do more "$name"; done
for name in free-1 free-1-1 free; do end "$name"; done
check "a guest that stands still can be forked" "$hvx" suspend free-2
name=$("$hvx" fork free-2) || fail "fork of free-2"
check "and stands still" [ "$("$hvx" domstate free-2)" = paused ]
"$hvx" resume free-2 > /dev/null || fail "resume free-2"
follow "$name"
more "$name"
more free-2
for name in free-2 "$name"; do end "$name"; done

# Fifty of one that sleeps, at once: each answers, and has hardly any memory of its own before.
loop='echo HVX-READY; while read -r line; do echo HVX-HEARD $line; done < /dev/ttyS0'
domain many 160 1 "hvx.run=\"$loop\""
private() { # PID: KiB of the VMM and its helpers
	{ echo "$1"; pgrep -P "$1"; } | sed 's,.*,/proc/&/smaps_rollup,' | xargs awk '/^Private_/ { n += $2 } END { print n }'
}
start many
wait_for many 300 '^HVX-READY'
check "it stands still" "$hvx" suspend many
check "a fork that does not run yet" "$hvx" run --from many --paused --detach --name still
private=$(private "$(cat "$work/run/hvx/still/pid")")
check "has no more than 5 MiB of its own ($private KiB)" [ "$private" -le 5120 ]
check "and ends" "$hvx" destroy still
names=$("$hvx" fork --count 50 many 2> "$work/fork.err") || fail "50 forks: $(cat "$work/fork.err")"
# shellcheck disable=SC2086 # a list
set -- $names
check "there are 50 forks ($#)" [ $# -eq 50 ]
check "all of them run" [ "$("$hvx" list --name --state-running | grep -c '^many-')" -eq 50 ]
for name; do
	exec {fd}<> "$work/run/hvx/$name/serial0.pty"
	echo "$name" >&$fd
	until IFS= read -r -t 300 line <&$fd || fail "$name does not answer"; [[ $line == *"HVX-HEARD $name"* ]]; do :; done
	exec {fd}>&-
done
echo "ok: each of them answers by its own console"
cat "$work"/run/hvx/many-*/pid | xargs kill
timeout 300 sh -c 'while pgrep -f "^[^ ]*hvx-vmm .*many-[0-9]"; do sleep 0.2; done' > /dev/null ||
	fail "they do not end: $(pgrep -a hvx-vmm)"
"$hvx" destroy many > /dev/null
finish many 60
left=$(find "$work/run/hvx" -mindepth 1 -name "many*" -printf "%f ")
check "nothing of them is left ($left)" [ -z "$left" ]
check "no VMM is left" [ "$(pgrep -c -x hvx-vmm)" -eq 0 ]
