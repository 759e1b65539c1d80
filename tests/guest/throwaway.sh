#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests for one command, with a folder as the root of a kernel: at once, and killed
# at any time: nothing is left. With THROWAWAY_ROW=100 THROWAWAY_ONCE=20 in the
# environment: one with an XML and an agent, too, and so many forks of such a guest in
# a row and at once.
# limit: 7200

. "$(dirname "$0")/lib.sh"

export XDG_RUNTIME_DIR=$work/run TMPDIR=$work/tmp
mkdir -m 700 "$XDG_RUNTIME_DIR" "$TMPDIR"
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

links() { ip -o link | cut -d: -f2; }
links=$(links)

# No process, file, or use of the module by what has ended; the folders of those
# that were killed go with the next command.
nothing_left() {
	local i

	for i in $(seq 100); do
		pgrep -x 'hvx(-.*)?' > "$work/left" || [ "$(cat /sys/module/hvx/refcnt)" -ne 0 ] || break
		sleep 0.1
	done
	"$hvx" exec nobody -- true 2> /dev/null
	find "$TMPDIR" "$XDG_RUNTIME_DIR/hvx" -mindepth 1 2> /dev/null >> "$work/left"
	links | grep -vxF "$links" >> "$work/left"
	cat "$work/left"
	[ ! -s "$work/left" ] && [ "$(cat /sys/module/hvx/refcnt)" -eq 0 ]
}

kernel_run --cpus 2 --memory 400 --env 'A=b  c' --workdir /data -- \
	sh -c 'seq 10000; echo to errors >&2; cat file; echo "$A $PWD"; nproc; kill -9 $$'
{ seq 10000; echo content; echo 'b  c /data'; echo 2; } > "$work/wanted"
check "a killed command has its status ($status)" [ "$status" -eq 137 ]
check "output is passed byte for byte, and is all there is" cmp "$work/k.out" "$work/wanted"
check "its errors, too" [ "$(cat "$work/k.err")" = 'to errors' ]
check "nothing is left" nothing_left
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
check "nothing is left of them" nothing_left

# Killed at any time, the first of its processes or all.
pauses='0.1 1'
[ "$row" -eq 0 ] || pauses='0.02 0.1 0.3 1 6'
for pause in $pauses; do
	"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
	pid=$!
	sleep $pause
	kill -9 $pid
	wait $pid 2> /dev/null
	check "killed after $pause s, nothing is left" nothing_left
done
"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
pid=$!
until [ -n "$("$hvx" list --name)" ]; do sleep 0.1; done
pkill -9 -x hvx-vmm
wait $pid
status=$?
check "a VMM that is killed is no status of the command ($status)" [ $status -eq 125 ]
check "nothing is left of it" nothing_left
"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
pid=$!
sleep 2
kill -TERM $pid
wait $pid
status=$?
check "SIGTERM ends it ($status)" [ $status -eq 143 ]
check "nothing is left of it" nothing_left

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
check "nothing is left of it" nothing_left

# Forks of a guest that has booted.
domain warm 512 2 'hvx.root=/dev/vda hvx.overlay' "$(xml_disk "$(realpath /dev/l1/debian)" '<readonly/>')$xml_user_net
	<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
start warm
"$hvx" wait --agent --timeout 900 warm || fail "warm"
# What it has still to do at its boot, each of its forks would have to do.
"$hvx" exec warm -n -- systemctl is-system-running --wait > /dev/null
"$hvx" suspend warm
memory() { # KiB that the nested host has given out, without what it could take back
	awk '/^(MemTotal|MemAvailable):/ { v[$1] = $2 } END { print v["MemTotal:"] - v["MemAvailable:"] }' /proc/meminfo
}
left_beside_warm() {
	local i

	for i in $(seq 100); do
		[ "$(pgrep -c -x 'hvx(-.*)?')" -gt 3 ] || break
		sleep 0.1
	done
	"$hvx" exec nobody -- true 2> /dev/null
	[ "$(ls "$XDG_RUNTIME_DIR/hvx")" = warm ] && [ "$(pgrep -x 'hvx(-.*)?' | wc -l)" -le 3 ] &&
		[ "$(links)" = "$links" ] && [ -z "$(find "$TMPDIR" -mindepth 1)" ] &&
		[ "$(find /sys/fs/cgroup -name '*hvx*' 2> /dev/null | wc -l)" -eq 0 ]
}
for i in $(seq "$row"); do
	"$hvx" run --from warm -- sh -c 'echo $$; exit 5' > "$work/k.out" 2> "$work/k.err" < /dev/null
	status=$?
	[ "$status" -eq 5 ] && [ -s "$work/k.out" ] || fail "fork $i in a row: status $status"
	[ $i -ne 5 ] || before=$(memory)
	[ $((i % 20)) -ne 0 ] || check "nothing is left of $i in a row" left_beside_warm
done
after=$(memory)
echo "# memory given out: $before KiB after the fifth, $after KiB after the last"
check "no memory is left with them" [ $((after - before)) -lt 32768 ]
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
check "nothing is left of $once at once" left_beside_warm
"$hvx" destroy warm
finish warm 60
check "nothing is left of all" nothing_left
