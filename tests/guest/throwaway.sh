#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests for one command, with a folder as the root of a kernel: at once, and killed
# at any time: nothing is left. With THROWAWAY_ROW=100 THROWAWAY_ONCE=20 in the
# environment: one with an XML and an agent, too, and so many forks of such a guest in
# a row and at once.
# limit: 900

. "$(dirname "$0")/lib.sh"

export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state TMPDIR=$work/tmp
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/hvx" "$XDG_STATE_HOME" "$TMPDIR"
row=${THROWAWAY_ROW:-0} once=${THROWAWAY_ONCE:-20}
root=$work/root
mkdir -p "$root/bin" "$root/data"
busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
for name in sh cat echo sleep md5sum seq kill id uname nproc tr; do
	ln -s busybox "$root/bin/$name"
done
echo content > "$root/data/file"
mkdir "$root/secret"
chmod 700 "$root/secret"

kernel_run() { # options and command: output in $work/k.out, errors in $work/k.err, status in $status
	"$hvx" run --kernel "$kernel" --root "$root" --append 'cryptomgr.notests quiet' "$@" \
		> "$work/k.out" 2> "$work/k.err" < /dev/null
	status=$?
}

# All that a guest could leave on this host, a line each.
host_state() {
	# Kernel threads are not; nor is what this script has running, but for what it tests.
	ps -eo pid=,ppid=,stat=,comm= | awk -v self=$$ '
		{ parent[$1] = $2; what[$1] = $4 " (" $1 ($3 ~ /Z/ ? ", a zombie" : "") ")"; name[$1] = $4 }
		END {
			for (p in what) {
				for (a = p + 0; a > 2 && a != self; a = parent[a] + 0) ;
				if (a != 2 && (a != self || p != self && name[p] ~ /^(hvx|qemu)/))
					print "process", what[p]
			}
		}'
	ip -o link | awk '{ print "link", $2 }'
	find /sys/fs/cgroup -mindepth 1 -type d -printf 'cgroup %p\n'
	find /dev/shm /run -xdev -printf 'file %p\n'
	find "$TMPDIR" "$XDG_RUNTIME_DIR" "$XDG_STATE_HOME" -mindepth 1 -printf 'file %p\n'
	awk '{ print "mount", $2 }' /proc/mounts
	awk '$NF ~ /^[\/@]/ { print "socket", $NF }' /proc/net/unix
	awk '{ $1 = "lock"; print }' /proc/locks
	find /sys/kernel/debug/hvx -mindepth 1 -maxdepth 1 -printf 'vm %f\n' 2> /dev/null
	echo "uses of the module: $(cat /sys/module/hvx/refcnt)"
}
# KiB that the host has given out, less what it could take back, and of these shared memory.
memory() {
	sync
	echo 3 > /proc/sys/vm/drop_caches
	awk '{ sub(":", "", $1); v[$1] = $2 }
	     END { print v["MemTotal"] - v["MemFree"] - v["Buffers"] - v["Cached"] + v["Shmem"] - v["SReclaimable"], v["Shmem"] }' /proc/meminfo
}
begin() {
	host_state | sort > "$work/before"
	read -r given shared <<< "$(memory)"
}
# check_left WHAT [KIB]: that all is as at the beginning, and no more than so much memory gone. What ends may
# take a moment; the folders and groups of those that were killed go with the next command.
check_left() {
	local left='' kib=0 shm=0

	for _ in $(seq 100); do
		"$hvx" list > /dev/null
		left=$(host_state | sort | diff "$work/before" - | grep '^[<>]')
		[ -z "$left" ] || { sleep 0.1; continue; }
		[ $# -gt 1 ] || break
		read -r kib shm <<< "$(memory)"
		kib=$((kib - given)) shm=$((shm - shared))
		[ $kib -ge "$2" ] || [ $shm -ge 1024 ] || break
		left="$kib KiB of memory, $shm KiB of it shared"
		sleep 0.1
	done
	[ $# -eq 1 ] || echo "# $1: $kib KiB more are given out, $shm KiB of it shared"
	check "nothing is left $1${left:+: $(head -n 3 <<< "$left" | tr '\n' ' ')}" [ -z "$left" ]
}

mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup
modprobe tun
begin

kernel_run --cpus 2 --memory 400 --env 'A=b  c' --workdir /data -- \
	sh -c 'seq 10000; echo to errors >&2; cat file; echo "$A $PWD"; nproc; kill -9 $$'
{ seq 10000; echo content; echo 'b  c /data'; echo 2; } > "$work/wanted"
check "a killed command has its status ($status)" [ "$status" -eq 137 ]
check "output is passed byte for byte, and is all there is" cmp "$work/k.out" "$work/wanted"
check "its errors, too" [ "$(cat "$work/k.err")" = 'to errors' ]
check_left "of it"
begin
kernel_run --append panic_on_oops=1 --timeout 60 --memory 64 -- true
check "a kernel that does not get there is no status of the command ($status)" [ "$status" -ge 124 ]

pids=()
"$hvx" run --kernel "$kernel" --root "$root" --append 'cryptomgr.notests quiet' -- /bin/nothing \
	> /dev/null 2>> "$work/once.err" < /dev/null &
none=$!
for i in 1 2; do
	"$hvx" run --kernel "$kernel" --root "$root" --append 'cryptomgr.notests quiet' -- sh -c "exit $((30 + i))" \
		> /dev/null 2>> "$work/once.err" < /dev/null &
	pids+=($!)
done
i=0
for pid in "${pids[@]}"; do
	i=$((i + 1))
	wait "$pid"
	status=$?
	check "guest $i of several at once ($status)" [ $status -eq $((30 + i)) ]
done
wait "$none"
status=$?
check "no such command ($status)" [ "$status" -eq 127 ]
check_left "of them"

# Killed at any time, the first of its processes or all.
pauses='0.1 1'
[ "$row" -eq 0 ] || pauses='0.02 0.1 0.3 1 6'
for pause in $pauses; do
	"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
	pid=$!
	sleep $pause
	kill -9 $pid
	wait $pid 2> /dev/null
	check_left "when killed after $pause s"
done
"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
pid=$!
until [ -n "$("$hvx" list --name)" ]; do sleep 0.1; done
pkill -9 -x hvx-vmm
wait $pid
status=$?
check "a VMM that is killed is no status of the command ($status)" [ $status -eq 125 ]
check_left "of it"
"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
pid=$!
sleep 2
kill -TERM $pid
wait $pid
status=$?
check "SIGTERM ends it ($status)" [ $status -eq 143 ]
check_left "of it"

# One with a tap and a control group of its own, all of whose processes are killed.
begin
domain tuned 160 1 '' "<interface type='ethernet'><target dev='hvxtest0'/><model type='virtio'/></interface>" \
	'<cputune><shares>100</shares></cputune>'
"$hvx" run --rm "$work/tuned.xml" > /dev/null 2> "$work/tuned.err" < /dev/null &
pid=$!
until more=$(host_state | sort | diff "$work/before" - | grep '^>' | cut -d' ' -f2 | sort -u | tr '\n' ' ') &&
	[[ $more == *cgroup*link*process*socket*vm* ]]; do
	kill -0 $pid 2> /dev/null || fail "it ended before it had a control group, a tap, a process, a socket, a VM: it had $more"
	sleep 0.1
done
echo "ok: a guest with a tap and a control group is seen ($more)"
pkill -9 -x 'hvx(-.*)?'
wait $pid 2> /dev/null
check_left "of it" 16384

[ "$row" -gt 0 ] || exit 0
# With an XML: through the agent, writes dropped, files out.
domain junit 512 2 'hvx.root=/dev/vda' "$(xml_disk "$(realpath /dev/l1/debian)")"
mkdir "$work/out"
"$hvx" run --rm --boot-timeout 900 --workdir /root --artifact '/root/r*/*.xml' --artifact tree \
	--artifact-dir "$work/out" "$work/junit.xml" -- sh -c 'mkdir results tree; echo "<testsuite/>" > results/a.xml
	cp results/a.xml results/b.xml; echo deep > tree/file; printf "1..1\nok 1 - \303\251\r\n\0"; exit 3' \
	> "$work/k.out" 2> "$work/k.err" < /dev/null
status=$?
check "the command's status ($status)" [ $status -eq 3 ]
printf '1..1\nok 1 - \303\251\r\n\0' > "$work/wanted"
check "TAP passes byte for byte" cmp "$work/k.out" "$work/wanted"
check "files have come out" [ "$(cat "$work/out/a.xml" "$work/out/b.xml")" = $'<testsuite/>\n<testsuite/>' ]
check "a folder, too" [ "$(cat "$work/out/tree/file")" = deep ]
check_left "of it"

# Forks of a guest that has booted.
cp "$work/before" "$work/without"
domain warm 512 2 'hvx.root=/dev/vda hvx.overlay' "$(xml_disk "$(realpath /dev/l1/debian)" '<readonly/>')$xml_user_net
	<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
start warm
"$hvx" wait --agent --timeout 900 warm || fail "warm"
# What it has still to do at its boot, each of its forks would have to do.
"$hvx" exec warm -n -- systemctl is-system-running --wait > /dev/null
"$hvx" suspend warm
begin
spent=0
for i in $(seq "$row"); do
	start=$(date +%s%N)
	"$hvx" run --from warm -- sh -c 'echo $$; exit 5' > "$work/k.out" 2> "$work/k.err" < /dev/null
	status=$?
	spent=$((spent + $(date +%s%N) - start))
	[ "$status" -eq 5 ] && [ -s "$work/k.out" ] || fail "fork $i in a row: status $status"
	[ $i -ne 5 ] || begin	# the host's own caches are warm
	[ $((i % 20)) -ne 0 ] || check_left "of $i in a row"
done
echo "# $row in a row: $((spent / row / 1000000)) ms each"
check_left "of $row in a row" 8192
start=$(date +%s%N)
pids=()
for i in $(seq "$once"); do
	"$hvx" run --from warm -- sh -c "sleep 5; exit $((30 + i))" > /dev/null 2>> "$work/once.err" < /dev/null &
	pids+=($!)
done
i=0
for pid in "${pids[@]}"; do
	i=$((i + 1))
	wait "$pid"
	status=$?
	[ $status -eq $((30 + i)) ] || fail "fork $i of $once at once: status $status"
done
echo "# $once at once: $((($(date +%s%N) - start) / 1000000)) ms for all"
check_left "of $once at once" 8192
"$hvx" destroy warm
finish warm 60
mv "$work/without" "$work/before"
check_left "of all"
