#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Guests for one command: a folder as the root of a kernel, an XML with an agent;
# in a row, at once, and killed at any time: nothing is left.
# THROWAWAY_ROW and THROWAWAY_ONCE say how many (default 2 and 3).
# bench: named
# limit: 1800

. "$(dirname "$0")/lib.sh"

export XDG_RUNTIME_DIR=$work/run TMPDIR=$work/tmp
mkdir -m 700 "$XDG_RUNTIME_DIR" "$TMPDIR"
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
		pgrep -x 'hvx|hvx-vmm|hvx-net-slirp' > "$work/left" || [ "$(cat /sys/module/hvx/refcnt)" -ne 0 ] || break
		sleep 0.1
	done
	"$hvx" exec nobody -- true 2> /dev/null
	find "$TMPDIR" "$XDG_RUNTIME_DIR/hvx" -mindepth 1 2> /dev/null >> "$work/left"
	links | grep -vxF "$links" >> "$work/left"
	cat "$work/left"
	[ ! -s "$work/left" ] && [ "$(cat /sys/module/hvx/refcnt)" -eq 0 ]
}

kernel_run -- sh -c 'echo to output; echo to errors >&2; cat /data/file; echo "$PWD"; exit 201'
check "a kernel's command has its status ($status)" [ "$status" -eq 201 ]
check "its output is all there is" [ "$(cat "$work/k.out")" = $'to output\ncontent\n/' ]
check "its errors, too" [ "$(cat "$work/k.err")" = 'to errors' ]
check "nothing is left" nothing_left

kernel_run --cpus 2 --memory 400 --env 'A=b  c' --workdir /data -- sh -c 'seq 30000; echo "$A $PWD"; nproc; kill -9 $$'
{ seq 30000; echo 'b  c /data'; echo 2; } > "$work/wanted"
check "a killed command has its status ($status)" [ "$status" -eq 137 ]
check "output is passed byte for byte" cmp "$work/k.out" "$work/wanted"
kernel_run -- /bin/nothing
check "no such command ($status)" [ "$status" -eq 127 ]
kernel_run --append panic_on_oops=1 --timeout 60 --memory 64 -- true
check "a kernel that does not get there is no status of the command ($status)" [ "$status" -ge 124 ]

pids=()
for i in $(seq "${THROWAWAY_ONCE:-3}"); do
	"$hvx" run --kernel "$kernel" --root "$root" --append 'cryptomgr.notests quiet' -- sh -c "exit 3$i" \
		> /dev/null 2>> "$work/once.err" < /dev/null &
	pids+=($!)
done
i=0
for pid in "${pids[@]}"; do
	i=$((i + 1))
	wait "$pid"
	status=$?
	check "guest $i of several at once ($status)" [ $status -eq "3$i" ]
done
check "nothing is left of them" nothing_left
for i in $(seq "${THROWAWAY_ROW:-2}"); do
	kernel_run -- sh -c 'exit 5'
	[ "$status" -eq 5 ] || fail "guest $i in a row: status $status"
done
check "nothing is left of those in a row" nothing_left

# Killed at any time, the first of its processes or all.
for pause in 0.02 0.1 0.3 1 6; do
	"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
	pid=$!
	sleep $pause
	kill -9 $pid
	wait $pid 2> /dev/null
	check "killed after $pause s, nothing is left" nothing_left
done
"$hvx" run --kernel "$kernel" --root "$root" -- sleep 1000 > /dev/null 2>&1 < /dev/null &
pid=$!
sleep 3
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
