#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest that writes to its memory all the time and checks it, its disk and its clock,
# moved between two folders that stand for two hosts: to and fro, by one connection and
# by several with zstd; then with its disk, to a host that has it not. It writes a line a
# round to one file, wherever it runs: a number that comes twice would mean that it ran twice.
# limit: 900

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/../pki.sh"
for host in a b; do mkdir -p "$work/$host/state"; done
sock=$work/sock

show_logs() { tail -n 20 "$work"/*/state/hvx/*.log 2> /dev/null; }

on() { # HOST VERB...: hvx there
	local host=$1

	shift
	HVX_CONFIG_DIR=$work/$host/config XDG_RUNTIME_DIR=$work/$host XDG_STATE_HOME=$work/$host/state "$hvx" "$@"
}

end_all() {
	[ $? -eq 0 ] || show_logs >&3
	on a destroy state
	on b destroy state
	cleanup
} > /dev/null 2>&1
exec 3>&1
trap end_all EXIT

# Many moves are of a guest with less to compare: they would take hours.
cycles=${HVX_MIGRATE_CYCLES:-1} kib=8192 rounds=3
[ "$cycles" -le 10 ] || kib=1024 rounds=2
loop=$(checking_loop $kib)
truncate -s 64M "$work/disk.img"
cpu_mode=host-model domain state 160 2 "hvx.run=\"$loop\"" \
	"<disk type='file' device='disk'><source file='$work/disk.img'/><target dev='vda' bus='virtio'/></disk>
	$xml_user_net<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
	<memballoon model='virtio'/>"
# The console is a file that both sides append to.
python3 - "$work/state.xml" "$work/state.out" <<'END'
import re, sys
xml = open(sys.argv[1]).read()
xml = re.sub(r"<console .*</console>", "", xml)
xml = re.sub(r"<serial type='pty'>", "<serial type='file'><source path='%s' append='on'/>" % sys.argv[2], xml)
open(sys.argv[1], 'w').write(xml)
END

round() { tr -d '\r' < "$work/state.out" | sed -n 's/^HVX-ROUND \([0-9]*\).*/\1/p' | tail -n 1; }

# What a guest that stands still does: registers, statistics, where its VMM's threads wait.
tell_state() { # WHERE
	local pid n

	pid=$(cat "$work/$1/hvx/state/pid")
	for n in 1 2; do
		kill -USR2 "$pid"
		sleep 2
		on "$1" domstats state
	done
	on "$1" logs state | tail -n 120
	for n in /proc/"$pid"/task/*; do
		echo "$(cat "$n/comm") $(cat "$n/wchan") $(cut -d' ' -f 14,15 "$n/stat")"
	done
}

# goes_on WHERE: some more rounds, none of them twice, no complaint, and running there alone.
goes_on() {
	local want=$(($(round) + rounds)) end=$((SECONDS + 240)) other=b

	[ "$1" = a ] || other=a
	until [ "$(round)" -ge "$want" ]; do
		[ $SECONDS -lt $end ] && ! shown state '^HVX-GUEST-DONE' || tell_state "$1" >> "$work/state.err" 2>&1
		[ $SECONDS -lt $end ] && ! shown state '^HVX-GUEST-DONE' ||
			fail "on $1 the guest does not go on: round $(round) of $want, $(on "$1" domstate state 2>&1), $(on "$1" domjobinfo state 2>&1 | tr -d ' \n')"
		sleep 0.3
	done
	! shown state '^HVX-BAD' || fail "on $1: the guest complains"
	tr -d '\r' < "$work/state.out" | sed -n 's/^HVX-ROUND //p' | sort -n | uniq -d | grep -q . &&
		fail "a round came twice: the guest ran twice"
	[ "$(on "$1" domstate state 2> /dev/null)" = running ] || fail "it does not run on $1"
	! on $other domstate state 2> /dev/null | grep -q running || fail "it runs on $other, too"
}


# begin_receive HOST URI [OPTION...]
begin_receive() {
	local host=$1 uri=$2 end=$((SECONDS + 60))

	shift 2
	rm -f "$sock"
	on "$host" receive "$@" "$uri" 2>> "$work/receive.err" &
	receiver=$!
	case $uri in
	unix:*) until [ -S "$sock" ]; do [ $SECONDS -lt $end ] || fail "receive does not wait"; sleep 0.1; done ;;
	*) until grep -q ':C000 .* 0A ' /proc/net/tcp /proc/net/tcp6; do [ $SECONDS -lt $end ] || fail "receive does not wait"; sleep 0.1; done ;;
	esac
}

# move FROM TO URI [OPTION...]: and it goes on there
move() {
	local from=$1 to=$2 uri=$3 status

	shift 3
	begin_receive "$to" "$uri" "${receive_options[@]}"
	on "$from" migrate --live "$@" state "${uri/:\/\/:/://localhost:}" 2>> "$work/migrate.err" > "$work/migrate.out" ||
		fail "migrate from $from to $to by $uri $*: status $?"
	wait "$receiver"
	status=$?
	[ $status -eq 0 ] || fail "receive on $to: status $status"
	goes_on "$to"
	! on "$from" domstate state > /dev/null 2>&1 || fail "something is left on $from"
	echo "ok: from $from to $to by $uri $*"
}

# waits_for HOST STATUS PID: a migration gets there while its command runs
waits_for() {
	local end=$((SECONDS + 240)) seen

	until seen=$(on "$1" domjobinfo state 2>&1) && [[ $seen == *"$2"* ]]; do
		[ $SECONDS -lt $end ] && kill -0 "$3" 2> /dev/null || fail "on $1 it does not become $2: $seen"
		sleep 0.2
	done
}

# Nearly all memory is missing when the guest goes over, and comes slowly but for what it
# waits for: whatever breaks then breaks with most of it on its way.
begin_postcopy() { # FROM TO URI [OPTION...]
	local from=$1 to=$2 uri=$3

	shift 3
	begin_receive "$to" "$uri" "$@"
	on "$from" migrate --postcopy --bandwidth 1 --postcopy-bandwidth 1 "$@" state "${uri/:\/\/:/://localhost:}" 2>> "$work/migrate.err" &
	mover=$!
	waits_for "$from" '"active"' $mover
}

go_over() { # FROM
	on "$1" migrate-postcopy state || fail "migrate-postcopy: status $?"
	waits_for "$1" postcopy-active $mover
}

# The source stands still, keeps what it has, and gives the guest to nobody here.
stands_still() { # FROM
	local status seen

	wait $mover
	status=$?
	[ $status -eq 69 ] || fail "migrate with a lost connection: status $status"
	seen=$(on "$1" domjobinfo state)
	[[ $seen == *postcopy-paused* && $seen != *unconfirmed* ]] || fail "after the cut: $seen"
	! on "$1" resume state 2> /dev/null || fail "the guest can be resumed where it has left"
	! on "$1" reset state 2> /dev/null || fail "the guest can be reset where it has left"
	! on "$1" migrate --recover state 2> /dev/null || fail "--recover lets the guest run twice"
	! on "$1" domstate state | grep -q running || fail "it runs on $1"
}

went_on() { # FROM TO HOW
	local seen

	goes_on "$2"
	! on "$1" domstate state > /dev/null 2>&1 || fail "something is left on $1"
	seen=$(on "$2" domjobinfo state)
	[[ $seen == *completed* ]] || fail "on $2 afterwards: $seen"
	echo "ok: from $1 to $2 by post-copy, $3: $(sed -n 's/.*"postcopy-requests": *\([0-9]*\).*/\1/p' <<< "$seen") pages waited for"
}

break_postcopy() { # FROM TO
	begin_postcopy "$1" "$2" "unix:$sock"
	go_over "$1"
	wait "$receiver" || fail "receive on $2, post-copy: status $?"
	on "$1" domjobabort --postcopy state || fail "domjobabort --postcopy: status $?"
	stands_still "$1"
	begin_receive "$2" "unix:$sock"
	on "$1" migrate --postcopy-resume state "unix:$sock" 2>> "$work/migrate.err" || fail "--postcopy-resume: status $?"
	wait "$receiver" || fail "receive on $2, resumed: status $?"
	went_on "$1" "$2" "with a lost connection"
}

# fake_ssh [OPTION...]: what looks like ssh to host b, whose `hvx receive` gets these.
fake_ssh() {
	mkdir -p "$work/bin"
	cat > "$work/bin/ssh" <<- END
	#!/bin/sh
	while [ "\$1" != -- ]; do shift; done
	shift 4
	HVX_CONFIG_DIR=$work/b/config XDG_RUNTIME_DIR=$work/b XDG_STATE_HOME=$work/b/state exec "$hvx" receive $* "\$@"
	END
	chmod +x "$work/bin/ssh"
}

# What its vCPUs have done so far; one that runs leaves the guest all the time.
progress() { # HOST
	on "$1" domstats state | grep 'vcpu\.[0-9]*\.' | grep -v '\.time='
}

# The relay of TLS is killed, and ssh goes on; then the destination, before the change and after it.
kill_postcopy() {
	local pid status seen

	(make_pki "$work/pki" localhost) 2> "$work/pki.err" || fail "no certificates"
	begin_postcopy a b tls://:49152 --pki "$work/pki"
	go_over a
	pid=$(pgrep -P "$receiver") || pid=$receiver
	kill -9 "$pid"
	wait "$receiver"
	stands_still a
	fake_ssh
	PATH=$work/bin:$PATH on a migrate --postcopy-resume state ssh://host 2>> "$work/migrate.err" || fail "--postcopy-resume by ssh: status $?"
	went_on a b "by TLS whose relay was killed, then by ssh"

	begin_postcopy b a "unix:$sock"
	kill -9 "$(cat "$work/a/hvx/state/pid")"
	wait $mover
	status=$?
	[ $status -eq 65 ] || fail "migrate whose destination was killed: status $status"
	! wait "$receiver" || fail "receive says that the guest has come"
	rounds=1 goes_on b
	echo "ok: kill -9 of the destination before the change: it goes on at the source"

	begin_postcopy b a "unix:$sock"
	go_over b
	wait "$receiver" || fail "receive on a: status $?"
	kill -9 "$(cat "$work/a/hvx/state/pid")"
	stands_still b
	! on a domstate state 2> /dev/null | grep -q running || fail "it runs on a"
	seen=$(progress b)
	[ "$(progress b)" = "$seen" ] || fail "the guest runs on b"
	echo "ok: kill -9 of the destination after the change: it stands still at the source"
}

# Its definition goes along, but not over another guest's of the same name.
with_definition() {
	local uuid=5d5c8d0e-4a6c-4c29-8d25-2b9d2ee7a000

	sed -i "s,</name>,</name><uuid>$uuid</uuid>," "$work/state.xml"
	on a define "$work/state.xml" > /dev/null || fail "define: status $?"
	sed 's,</name>.*,</name><uuid>5d5c8d0e-4a6c-4c29-8d25-2b9d2ee7a001</uuid>,' "$work/state.xml" > "$work/other.xml"
	on b define "$work/other.xml" > /dev/null || fail "define another on b: status $?"
	begin_receive b "unix:$sock"
	! on a migrate --persistent --undefinesource state "unix:$sock" 2> "$work/conflict.err" || fail "another guest's definition was replaced"
	grep -q 'another guest called state is defined there' "$work/conflict.err" || fail "a conflict: $(head -n 1 "$work/conflict.err")"
	kill $receiver 2> /dev/null
	wait $receiver
	grep -q 2b9d2ee7a001 "$work/b/config/state.xml" || fail "the definition on b has changed"
	[ "$(on a domstate state)" = running ] && [ -e "$work/a/config/state.xml" ] || fail "after a conflict: $(on a domstate state 2>&1) on a"
	on b undefine state > /dev/null || fail "undefine on b: status $?"
	move a b "unix:$sock" --persistent --undefinesource
	grep -q "<uuid>$uuid<" "$work/b/config/state.xml" ||
		fail "the definition on b: $(grep '<uuid>' "$work/b/config/state.xml" 2>&1), not $uuid"
	[ -z "$(on a list --all --name)" ] || fail "a still knows $(on a list --all --name | tr '\n' ' ')"
	move b a "unix:$sock" --undefinesource
	[ ! -e "$work/a/config/state.xml" ] && [ ! -e "$work/b/config/state.xml" ] ||
		fail "a definition is left: $(ls "$work"/[ab]/config/*.xml)"
}

start_guest() {
	: > "$work/state.out"
	on a run --accel "${HVX_ACCEL:-hvx}" --detach "$work/state.xml" > /dev/null 2>> "$work/run.err" || fail "run: status $?: $(tail -n 1 "$work/run.err")"
	local end=$((SECONDS + 300))
	until shown state '^HVX-ROUND 2'; do
		[ $SECONDS -lt $end ] && ! shown state '^HVX-GUEST-DONE' || fail "the guest does not begin"
		sleep 0.5
	done
}
receive_options=()

start_guest
check "host-model is a model by now" grep -q "<cpu mode=.custom. match=.exact. check=.full." <(on a dumpxml state)
if [ "${HVX_MIGRATE_ONLY:-}" = definition ]; then
	with_definition
	exit
fi
if [ "${HVX_MIGRATE_ONLY:-}" = postcopy ]; then
	move a b "unix:$sock" --postcopy --postcopy-after-precopy
	break_postcopy b a
	kill_postcopy
	exit
fi
for cycle in $(seq "$cycles"); do
	move a b "unix:$sock"
	move b a "unix:$sock" --parallel 3 --compressed --auto-converge
	[ $((cycle % 25)) -ne 0 ] || echo "$((2 * cycle)) moves"
done

# ------------------------------------------------------------ with its disk, by NBD
sed "s,$work/disk.img,$work/disk-b.img," "$work/state.xml" > "$work/b.xml"

no_image() { # WHEN: nothing is left of an image that did not come
	local left

	left=$(ls -A "$work" | grep -E '^(disk-b.img|\.hvx-incoming)' | tr '\n' ' ')
	[ -z "$left" ] || fail "$1: there is $left"
}

# broken WHO SIGNAL WHEN...: the copying is under way when WHO, a pid, is hit
broken_copy() { # WHOM
	local whom=$1 end=$((SECONDS + 120)) pid

	begin_receive b "unix:$sock" --xml "$work/b.xml"
	on a migrate --copy-storage-all --bandwidth 1 state "unix:$sock" 2>> "$work/migrate.err" > /dev/null &
	mover=$!
	until on a domjobinfo state 2> /dev/null | tr -d ' \n' | grep -q '"disk":.*"transferred":[1-9]'; do
		[ $SECONDS -lt $end ] && kill -0 $mover 2> /dev/null || fail "kill -9 $whom: the copying does not begin"
		sleep 0.1
	done
	case $whom in
	there) pid=$(cat "$work/b/hvx/state/pid") ;;
	receive) pid=$receiver ;;
	here) pid=$(cat "$work/a/hvx/state/pid") ;;
	esac
	kill -9 "$pid"
	! wait $mover || fail "kill -9 $whom: migrate says that it has moved"
	! wait "$receiver" || fail "kill -9 $whom: receive says that it has come"
	end=$((SECONDS + 60))
	while on b domstate state > /dev/null 2>&1; do
		[ $SECONDS -lt $end ] || fail "kill -9 $whom: something is left on b"
		sleep 0.1
	done
	no_image "kill -9 $whom"
	echo "ok: kill -9 $whom in the middle of it"
}

broken_copy there
goes_on a

# By ssh, or what looks like it, with several connections; each starts a receive of its own.
# On a slow host the guest may write faster than it is copied: it is stopped in the end.
fake_ssh --xml "$work/b.xml"
PATH=$work/bin:$PATH on a migrate --copy-storage-all --parallel 2 --downtime 3000 --timeout 60 state ssh://host 2>> "$work/migrate.err" > /dev/null ||
	fail "migrate with its disk by ssh: status $?"
goes_on b
echo "ok: by ssh, with its disk"
[ "$(stat -c %a,%s "$work/disk-b.img")" = 600,67108864 ] || fail "the new image is $(stat -c %a,%s "$work/disk-b.img")"

# One that stands still: both images are the same.
receive_options=(--xml "$work/state.xml")
on b suspend state > /dev/null || fail "suspend: status $?"
begin_receive a "unix:$sock" "${receive_options[@]}"
! on b migrate --copy-storage-all state "unix:$sock" 2> "$work/exists.err" || fail "an image that exists was overwritten"
grep -q -- '--overwrite' "$work/exists.err" || fail "an image that exists: $(head -n 1 "$work/exists.err")"
on b migrate --copy-storage-all --overwrite state "unix:$sock" 2>> "$work/migrate.err" || fail "back with --overwrite: status $?"
wait "$receiver" || fail "receive on a: status $?"
cmp "$work/disk.img" "$work/disk-b.img" > "$work/cmp" 2>&1 || fail "the images differ: $(head -n 1 "$work/cmp")"
on a resume state > /dev/null || fail "resume: status $?"
goes_on a
echo "ok: with --overwrite, and the images are the same"

rm "$work/disk-b.img"
broken_copy here
