#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that counts and checks in memory, on each of its vCPUs, is paused, saved and
# restored, moved as it runs, and forked, and goes on each time where it was: state as the
# slower bench can run it.
# HVX_STATE_CPUS: numbers of vCPUs.
# bench: bochs
# limit: 3600

. "$(dirname "$0")/lib.sh"
mkdir -p "$work/a/state" "$work/b/state"

on() { # HOST VERB...: hvx there
	local host=$1

	shift
	XDG_RUNTIME_DIR=$work/$host XDG_STATE_HOME=$work/$host/state "$hvx" "$@"
}

end_all() {
	[ $? -eq 0 ] || tail -n 20 "$work"/*/state/hvx/*.log "$work"/*.err >&3
	on a destroy state
	on b destroy state
	on b destroy fork
	cleanup
} > /dev/null 2>&1
exec 3>&1
trap end_all EXIT

# Of each vCPU: A is written once, B in every round, and the count is in a file, too. The
# program is bound to its vCPU.
loop='sum() { md5sum < /dev/shm/$1 | cut -c1-32; }; count() { dd if=/dev/urandom of=/dev/shm/a$1 bs=64k count=4 2>/dev/null; a=$(sum a$1)'
loop+='; n=0; echo 0 > /dev/shm/n$1; while :; do read -r m < /dev/shm/n$1; [ $m = $n ] || echo HVX-BAD count $n $m'
loop+='; n=$((n + 1)); echo $n > /dev/shm/n$1; dd if=/dev/urandom of=/dev/shm/b$1 bs=64k count=1 2>/dev/null'
loop+='; b=$(sum b$1); [ $(taskset -p $p | sed s/.*mask:.//) = $1 ] || echo HVX-BAD CPU'
loop+='; [ $(sum a$1) = $a ] || echo HVX-BAD memory; [ $(sum b$1) = $b ] || echo HVX-BAD fresh memory'
loop+='; echo HVX-ROUND $1 $n; done; }'
loop+='; on() { read -r p x < /proc/self/stat; taskset -p $1 $p > /dev/null; count $1; }'
loop+='; [ $(nproc) = 1 ] || { (on 2) & }; (on 1)'

# follow HOST NAME: each VMM's console into the one file that all of them share, until it ends
follow() {
	cat "$work/$1/hvx/$2/serial0.pty" >> "$work/state.out" 2> /dev/null &
}

round() { # VCPU-MASK
	tr -d '\r' < "$work/state.out" | sed -n "s/^HVX-ROUND $1 \([0-9]*\)\$/\1/p" | tail -n 1
}

# goes_on HOST NAME WHAT: two more rounds of each vCPU, none of them twice, and no complaint
goes_on() {
	local end=$((SECONDS + 900)) mask at want seen

	for mask in 1 2; do
		[ $mask -le "$cpus" ] || continue
		at=$(round $mask)
		want=$((${at:-0} + 2))
		until at=$(round $mask) && [ "${at:-0}" -ge $want ]; do
			[ $SECONDS -lt $end ] ||
				fail "$3: vCPU $mask does not go on: round ${at:-0} of $want, $(on "$1" domstate "$2" 2>&1)"
			sleep 1
		done
	done
	! shown state '^HVX-BAD' || fail "$3: the guest complains"
	seen=$(tr -d '\r' < "$work/state.out" | grep '^HVX-ROUND' | sort | uniq -d | tr '\n' ' ')
	[ -z "$seen" ] || fail "$3: twice: $seen"
	no_complaints state || fail "$3: its kernel complains"
	echo "ok: $3, $cpus vCPU(s): round $(round 1), $SECONDS s"
}

# move FROM TO: as it runs and writes
move() {
	local sock=$work/sock end=$((SECONDS + 300)) receiver

	rm -f "$sock"
	on "$2" receive "unix:$sock" 2>> "$work/receive.err" &
	receiver=$!
	until [ -S "$sock" ]; do
		[ $SECONDS -lt $end ] || fail "receive does not wait"
		sleep 0.5
	done
	on "$1" migrate --live --auto-converge state "unix:$sock" > /dev/null 2>> "$work/migrate.err" || fail "migrate: status $?"
	wait $receiver || fail "receive: status $?"
	check "nothing of it is left there" [ ! -e "$work/$1/hvx/state/pid" ]
}

for cpus in ${HVX_STATE_CPUS:-2}; do
	domain state 96 $cpus "cryptomgr.notests hvx.modules=no hvx.run=\"$loop\""
	: > "$work/state.out"
	on a run --detach "$work/state.xml" > /dev/null 2>> "$work/run.err" || fail "run: status $?"
	follow a state
	goes_on a state "it runs"

	on a suspend state > /dev/null || fail "suspend: status $?"
	check "it is paused" [ "$(on a domstate state)" = paused ]
	on a resume state > /dev/null || fail "resume: status $?"
	goes_on a state "after a pause"

	on a save state "$work/saved" > /dev/null 2>> "$work/save.err" || fail "save: status $?"
	check "nothing of it is left" [ ! -e "$work/a/hvx/state/pid" ]
	on a restore --detach "$work/saved" > /dev/null 2>> "$work/restore.err" || fail "restore: status $?"
	follow a state
	rm "$work/saved"
	goes_on a state "restored"

	move a b
	follow b state
	goes_on b state "moved"

	# The template stands still: what is counted on is the fork's.
	on b suspend state > /dev/null || fail "suspend: status $?"
	on b fork --name fork state > /dev/null 2>> "$work/fork.err" || fail "fork: status $?"
	follow b fork
	goes_on b fork "forked"
	on b destroy fork > /dev/null || fail "destroy: status $?"
	on b destroy state > /dev/null || fail "destroy: status $?"
done
