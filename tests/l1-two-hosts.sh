#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs inside both nested hosts of tests/two-hosts, which a network links:
#
#	1	moves a guest to the other host and back, and looks at both
#	2	does what the first one says
#	serve	one thing that it said
#
# The guest writes to its memory all the time, and checks it, its disk and its clock.
# Each host has a disk image and the guest's console of its own, at the same paths.

here=/run/two
port=1000
tap=$HVX_TAP
stage=two-hosts
console=$here/console image=$here/disk.img
. "$(dirname "$0")/l1-host.sh"
trap - EXIT
rmdir "$work"
work=$here

# ------------------------------------------------- what either host does for itself

begin() {
	mkdir -p $here
	insmod "$HVX_MODULE" && : > $console
}

# How many VMMs there are, and what holds the module.
vmms() { echo "$(pgrep -cx hvx-vmm) $(cat /sys/module/hvx/refcnt)"; }

# Nothing of the guest is left: no VMM, nobody in the module, no answer.
gone() { [ "$(vmms)" = "0 0" ] && ! "$hvx" domstate state > /dev/null 2>&1; }

runs() { [ "$("$hvx" domstate state)" = running ] && [ "$(pgrep -cx hvx-vmm)" = 1 ]; }

# begin_receive [OPTION...]: until it waits; end_receive: how it ended.
begin_receive() {
	local end=$((SECONDS + patience))

	rm -f $here/received
	{ "$hvx" receive "${security[@]}" "$@" $scheme://; echo $? > $here/received; } < /dev/null > $here/receive.err 2>&1 &
	until grep -q ':C000 .* 0A ' /proc/net/tcp /proc/net/tcp6; do
		[ $SECONDS -lt $end ] && [ ! -e $here/received ] || { cat $here/receive.err; return 1; }
		sleep 0.1
	done
}
end_receive() {
	local end=$((SECONDS + patience))

	until [ -s $here/received ]; do
		[ $SECONDS -lt $end ] || { echo "receive does not end"; return 1; }
		sleep 0.2
	done
	[ "$(cat $here/received)" = 0 ] || { cat $here/receive.err; return 1; }
}

# Its VMM's messages and the console's end, among what fail() shows of a host.
tell_all() {
	"$hvx" logs state > $here/vmm.err 2>&1
	tail -n 20 $console > $here/console.out
	[ "${where:-2}" != 1 ] || return 0
	at 2 "$hvx" logs state > $here/vmm2.err 2>&1
}

# What the guest has said here since this was asked the last time.
take_console() { cat $console && : > $console; }

migrate() { # HOST [OPTION...]
	local to=$1

	shift
	"$hvx" migrate --live "${security[@]}" "$@" state "$scheme://l1-$to" 2>&1 | tr '\r' '\n' | tail -n 3
	return "${PIPESTATUS[0]}"
}

# After the answer the lights go out: no connection is closed.
die_now() { { sleep 1; echo b > /proc/sysrq-trigger; } < /dev/null > /dev/null 2>&1 & }

# ------------------------------------------------- between the two

serve() {
	local line

	read -r line
	eval "$line" 2>&1
	printf '\n%s\n' $?
}

# at HOST COMMAND...: its output and status
at() {
	local to=$1 fd answer

	shift
	[ "$to" != 1 ] || { "$@"; return; }
	exec {fd}<> "/dev/tcp/l1-2/$port" || return 125
	{ printf '%q ' "$@"; echo; } >&"$fd"
	answer=$(timeout $((2 * patience)) cat <&"$fd")
	exec {fd}>&-
	printf '%s' "${answer%$'\n'*}"
	answer=${answer##*$'\n'}
	return "${answer:-125}"
}

# Everything the guest has said, wherever it was, in order.
said() { { cat $here/said; at "$where" cat $console; } | tr -d '\r'; }
round() { said | sed -n 's/^HVX-ROUND \([0-9]*\)$/\1/p' | tail -n 1 | grep . || echo 0; }

# goes_on WHAT: some more rounds, none left out and none twice, without a complaint; and it
# runs at $where alone.
goes_on() {
	local want=$(($(round) + ${rounds:-2})) end=$((SECONDS + patience)) other=$((3 - where)) bad

	until [ "$(round)" -ge "$want" ]; do
		[ $SECONDS -lt $end ] ||
			fail "$1: it does not go on: round $(round) of $want, $(at "$where" "$hvx" domstate state)"
		sleep 0.5
	done
	said > $here/state.out
	bad=$(grep '^HVX-BAD' $here/state.out | head -n 1)
	[ -z "$bad" ] || fail "$1: the guest complains: $bad"
	bad=$(sed -n 's/^HVX-ROUND \([0-9]*\)$/\1/p' $here/state.out | awk '$1 != ++n { print n; exit }')
	[ -z "$bad" ] || fail "$1: round $bad came twice, or not at all"
	no_complaints state || fail "$1: its kernel complains"
	at "$where" runs || fail "$1: it does not run on l1-$where: $(at "$where" vmms)"
	[ -n "${other_dead:-}" ] || at $other gone || fail "$1: something of it is left on l1-$other: $(at $other vmms)"
	verdict ok "$1: round $(round), $SECONDS s"
}

# move WHAT [OPTION...]: to the other host, with its disk; and it goes on there
move() {
	local what=$1 from=$where to=$((3 - where)) out

	shift
	out=$(at $to begin_receive) || fail "$what: receive on l1-$to: $out"
	out=$(at "$from" migrate $to --copy-storage-all --downtime 2000 "$@") || fail "$what: migrate: status $?: $out"
	out=$(at $to end_receive) || fail "$what: receive on l1-$to: $out"
	at "$from" take_console >> $here/said
	# What is left there is of no use to the guest; a new one may come.
	at "$from" rm $image || fail "$what: no image on l1-$from"
	where=$to
	goes_on "$what"
}

# broken WHAT COMMAND...: the destination does COMMAND when the disk is on its way
broken() {
	local what=$1 end=$((SECONDS + patience)) out mover status

	shift
	out=$(at 2 begin_receive) || fail "$what: receive: $out"
	migrate 2 --copy-storage-all --bandwidth 1 > $here/migrate.err &
	mover=$!
	until "$hvx" domjobinfo state 2> /dev/null | tr -d ' \n' | grep -q '"disk":.*"transferred":[1-9]'; do
		[ $SECONDS -lt $end ] && kill -0 $mover 2> /dev/null || fail "$what: the copying does not begin"
		sleep 0.2
	done
	runs || fail "$what: it does not run while it moves"
	at 2 "$@"
	wait $mover
	status=$?
	[ $status -eq 65 ] || fail "$what: migrate: status $status: $(cat $here/migrate.err)"
	[ -n "${other_dead:-}" ] || at 2 test ! -e $image || fail "$what: an image is left"
	goes_on "$what"
}

begin_guest() {
	local loop

	# What waits for its memory, or for two emulators that share a busy machine, stands still for long.
	loop=$(checking_loop "$kib" 600)
	truncate -s "$disk" $image
	: > $here/said
	cpu_mode=host-model domain state "$memory" "$cpus" "cryptomgr.notests hvx.run=\"$loop\"" \
		"<disk type='file' device='disk'><source file='$image'/><target dev='vda' bus='virtio'/></disk>
		<memballoon model='virtio'/>"
	# The console is a file, which a VMM goes on with where there is one.
	sed -i -e '/<console /d' -e "s|<serial type='pty'>|<serial type='file'><source path='$console' append='on'/>|" $here/state.xml
	"$hvx" run --detach $here/state.xml > $here/run.err 2>&1 || fail "run: status $?: $(tail -n 1 $here/run.err)"
	where=1
	goes_on "a guest of $cpus vCPUs runs on l1-1"
}

all_moves() {
	local end=$((SECONDS + patience)) cycle

	begin || fail "the module does not load"
	until at 2 true 2> /dev/null; do
		[ $SECONDS -lt $end ] || fail "the other host is not there"
		sleep 1
	done
	verdict ok "both hosts are there, $SECONDS s"
	begin_guest
	for cycle in $(seq "${HVX_MIGRATE_CYCLES:-1}"); do
		# Each kind in both directions, in turn.
		if [ $((cycle % 2)) -eq 1 ]; then
			move "$cycle: to l1-2, by three connections with zstd" --parallel 3 --compressed --auto-converge
			move "$cycle: back, by post-copy" --postcopy --postcopy-after-precopy
		else
			move "$cycle: to l1-2, by post-copy" --postcopy --postcopy-after-precopy
			move "$cycle: back, by one connection"
		fi
	done
	rounds=1
	broken "the destination's VMM is killed: it goes on here" pkill -KILL -x hvx-vmm
	check "the other kernel has no complaints" at 2 no_klog
	other_dead=1
	broken "the destination's host dies: it goes on here" die_now
	"$hvx" destroy state > /dev/null || fail "destroy: status $?"
	check "nothing of it is left" gone
	check "the kernel has no complaints" no_klog
	end 0
}

kib=2048 disk=32M memory=128 cpus=2 patience=300
scheme=tls security=(--pki "$HVX_PKI")
if [ "$HVX_BENCH" != nested ]; then
	kib=256 memory=96 patience=1800
	scheme=tcp security=(--unencrypted)
fi
case $1 in
1) all_moves ;;
2) begin && exec busybox nc -ll -p $port -e "$0" serve ;;
serve) serve ;;
esac
