#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Commands in a Debian guest through its agent: output, input, exit codes,
# signals, a time limit; files and folders in and out.
# limit: 1200

. "$(dirname "$0")/lib.sh"

export XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"
agent="<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"

run() { # command in the guest: output in $out, errors in $err, status in $status
	"$hvx" exec debian -n -- "$@" > "$work/exec.out" 2> "$work/exec.err"
	status=$?
	out=$(cat "$work/exec.out") err=$(cat "$work/exec.err")
}

same() { # a, b: files or folders
	diff -r "$1" "$2" > /dev/null
}

domain debian 512 2 'hvx.root=/dev/vda' "$(xml_disk "$(realpath /dev/l1/debian)" '<transient/>')$agent"
"$hvx" exec debian -- true 2> "$work/exec.err"
check "no guest is told apart (status $?)" grep -q 'no guest called debian is running' "$work/exec.err"
start debian
"$hvx" wait --agent --timeout 1 debian 2> /dev/null
check "an agent that does not answer yet" [ $? -eq 124 ]
"$hvx" wait --agent --timeout 900 debian
check "the agent answers" [ $? -eq 0 ]

run sh -c 'echo output; echo errors >&2; exit 42'
check "output, errors and exit code ($status: $out, $err)" [ "$status $out $err" = '42 output errors' ]
run nothing-of-this-name
check "127 for a command that is not there ($status)" [ "$status" -eq 127 ]
run /etc/passwd
check "126 for one that cannot be run ($status)" [ "$status" -eq 126 ]
run sh -c 'kill -TERM $$'
check "128 and the signal's number ($status)" [ "$status" -eq 143 ]
"$hvx" exec debian --no-stdin --timeout 2 -- sleep 1000
check "time is up" [ $? -eq 124 ]
run pgrep -x sleep
check "and the command is gone" [ "$status" -eq 1 ]
out=$("$hvx" exec debian -n -e 'A=x  y' -e B= -w /usr/lib -- sh -c 'echo "$A,$B,$PWD"')
check "variables and folder ($out)" [ "$out" = 'x  y,,/usr/lib' ]

seq 20000 > "$work/numbers"
"$hvx" exec debian -- cat < "$work/numbers" > "$work/numbers.back"
check "input comes back" same "$work/numbers" "$work/numbers.back"

# Output is here while the command runs: it ends only when told so.
mkfifo "$work/tell"
"$hvx" exec debian -- sh -c 'echo before; read -r line; echo "$line"; exit 5' < "$work/tell" > "$work/talk" &
pid=$!
exec 7> "$work/tell"
for _ in $(seq 300); do
	grep -q before "$work/talk" && break
	sleep 0.1
done
check "output before the command's end" grep -q before "$work/talk"
echo answer >&7
exec 7>&-
wait $pid
check "its exit code" [ $? -eq 5 ]
check "what it read" grep -q answer "$work/talk"

"$hvx" exec debian -n -- sh -c 'trap "echo interrupted; exit 9" INT; echo ready; while :; do sleep 0.1; done' \
	> "$work/talk" &
pid=$!
for _ in $(seq 300); do
	grep -q ready "$work/talk" && break
	sleep 0.1
done
kill -INT $pid
wait $pid
check "SIGINT is passed on" [ $? -eq 9 ]
check "and can be handled" grep -q interrupted "$work/talk"

mkdir -p "$work/tree/deep/er"
head -c 300000 /dev/urandom > "$work/tree/random"
ln -s random "$work/tree/link"
echo script > "$work/tree/deep/er/x"
chmod 750 "$work/tree/deep/er/x"
check "a file goes in" "$hvx" cp "$work/tree/random" debian:/root/file
check "a folder goes in" "$hvx" cp "$work/tree" debian:/root
run sha256sum /root/file /root/tree/random /root/tree/link
sum=$(sha256sum < "$work/tree/random" | cut -d' ' -f1)
check "they are the same there" [ "$(grep -c "^$sum" "$work/exec.out")" -eq 3 ]
check "the folder comes back" "$hvx" cp debian:/root/tree "$work/back"
check "it is the same" same "$work/tree" "$work/back"
check "with its modes" [ "$(stat -c %a "$work/back/deep/er/x")" = 750 ]
check "a file comes back" "$hvx" cp debian:/root/file "$work/file"
check "it is the same, too" same "$work/tree/random" "$work/file"

# Several at once take turns.
pids=()
for i in 1 2 3; do
	"$hvx" exec debian -n -- sh -c "sleep 1; exit 2$i" &
	pids+=($!)
done
for i in 1 2 3; do
	wait "${pids[i - 1]}"
	check "command $i of three at once" [ $? -eq 2$i ]
done

run sh -c 'ls -d /tmp/.hvx-* /run/.hvx-* 2>/dev/null | wc -l'
check "nothing is left in the guest but what runs now ($out)" [ "$out" -eq 1 ]
"$hvx" exec debian -n -- systemctl poweroff > /dev/null 2>&1
finish debian 300
check "it powered off ($status)" [ "$status" -eq 0 ]
check "the kernel has no complaints" no_complaints debian
