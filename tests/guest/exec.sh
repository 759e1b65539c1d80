#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Commands in a Debian guest through its agent: output, input, exit codes,
# signals, a time limit; files and folders in and out.
# limit: 900

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

# A disk that it does not write to: it can be forked and go on.
on_reboot=destroy domain debian 512 2 'hvx.root=/dev/vda hvx.overlay' \
	"$(xml_disk "$(realpath /dev/l1/debian)" '<readonly/>')$agent$xml_user_net<vsock model='virtio'><cid auto='yes'/></vsock>"
modprobe vhost_vsock || fail "the nested host has no vhost_vsock"
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
# Without the agent: by the shell on the console.
"$hvx" exec --over console debian -- true 2> "$work/exec.err"
check "a console that asks for a login is told apart ($?)" grep -q 'asks for a login' "$work/exec.err"
send debian root
wait_for debian 600 'root@debian'
out=$("$hvx" exec --over console -w /usr/lib -e "A=it's  b" debian -- sh -c 'echo "$A $PWD"; echo errors >&2; printf "%s" end; exit 42')
status=$?
check "a command by the console ($status: $out)" [ "$status $out" = $'42 it\'s  b /usr/lib\nerrors\nend' ]
"$hvx" exec --over console debian -- seq 2000 > "$work/numbers.back"
seq 2000 > "$work/numbers"
check "its output" same "$work/numbers" "$work/numbers.back"
"$hvx" exec --over console --timeout 2 debian -- sleep 1000
check "time is up there, too" [ $? -eq 124 ]
"$hvx" exec --over console debian -- sh -c 'echo ready; sleep 1000' > "$work/talk" &
pid=$!
for _ in $(seq 300); do
	grep -q ready "$work/talk" && break
	sleep 0.1
done
kill -INT $pid
wait $pid
check "SIGINT is Ctrl-C there" [ $? -eq 130 ]
"$hvx" exec --over console debian -- nothing-of-this-name > /dev/null
check "127 for a command that is not there, too" [ $? -eq 127 ]

# Through its vsock, which is the host's vhost_vsock.
cid_of() { "$hvx" qmp "$1" x-hvx-query-vsock | tr -dc '0-9'; }
over_ssh() { # guest, input, command...: $out, $err, $status; until somebody listens there
	local guest=$1 input=$2 end=$((SECONDS + 240))

	shift 2
	while :; do
		out=$("$hvx" exec --over ssh -e "A=it's  b" -w /usr/lib "$guest" -- "$@" < "$input" 2> "$work/exec.err")
		status=$? err=$(cat "$work/exec.err")
		[ $status -eq 255 ] && [ $SECONDS -lt $end ] || break
		sleep 1
	done
}
cid=$(cid_of debian)
check "its address is one that was free ($cid)" [ "$cid" -ge 3 ]
run systemd-run socat -t 200 VSOCK-LISTEN:5001,fork EXEC:cat
check "it listens ($err)" [ $status -eq 0 ]
run mkdir -p /etc/dropbear
run systemd-run socat -t 200 VSOCK-LISTEN:22,fork EXEC:'dropbear -i -R -B'
check "so does its SSH server ($err)" [ $status -eq 0 ]
# A connection that does not come about within the 2 s that the kernel waits is tried again.
cat > "$work/vsock.py" <<'END'
import os, socket, sys, threading, time
data = os.urandom(1 << 20)
def pump(s):			# what comes back of what went out
	threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)), daemon=True).start()
	return b"".join(iter(lambda: s.recv(65536), b""))
def connect():
	while True:
		s = socket.socket(socket.AF_VSOCK)
		try:
			s.connect((int(sys.argv[2]), 5001))
			return s
		except (ConnectionResetError, TimeoutError):	# nobody listens yet
			time.sleep(0.2)
if sys.argv[1] == "connect":
	accept = lambda: (connect(), None)
else:
	l = socket.socket(socket.AF_VSOCK)
	l.bind((socket.VMADDR_CID_ANY, 5002))
	l.listen()
	print("ready", flush=True)
	accept = l.accept
back = b""
while not back:
	s, who = accept()
	back = pump(s)
print("from", who[0] if who else "", "same" if back == data else f"{len(back)} bytes of {len(data)}")
END
out=$(timeout 240 python3 "$work/vsock.py" connect "$cid" 2>&1 | tail -n 1)
check "from the host to the guest, and back ($out)" [ "$out" = 'from  same' ]
timeout 240 python3 "$work/vsock.py" listen > "$work/vsock.out" 2>&1 &
pid=$!
until grep -q ready "$work/vsock.out"; do
	kill -0 $pid 2> /dev/null || fail "nobody listens on the host: $(tail -n 1 "$work/vsock.out")"
	sleep 0.1
done
run sh -c 'n=0; until socat -t 200 VSOCK-CONNECT:2:5002 EXEC:cat || [ $n -eq 20 ]; do n=$((n + 1)); sleep 1; done'
wait $pid
out=$(tail -n 1 "$work/vsock.out")
check "from the guest to the host, and back ($out, $status: $err)" [ "$out" = "from $cid same" ]
over_ssh debian "$work/tree/deep/er/x" sh -c $'echo "$A $PWD"\ncat; echo errors >&2; exit 42'
check "a command by ssh ($status: $out, $err)" [ "$status $out $err" = $'42 it\'s  b /usr/lib\nscript errors' ]
"$hvx" exec --over ssh --timeout 2 -n debian -- sleep 1000
check "time is up there, too" [ $? -eq 124 ]

# Forks of it: for a command, and with a name and addresses of their own.
begin=$(date +%s%N)
"$hvx" run --from debian --env A=b -- sh -c 'echo "$A"; cat; echo here > /root/only; exit 33' < "$work/tree/deep/er/x" \
	> "$work/exec.out" 2> "$work/exec.err"
status=$?
echo "# a command in a fork: $((($(date +%s%N) - begin) / 1000000)) ms"
check "a fork runs a command ($status)" [ "$status $(cat "$work/exec.out")" = $'33 b\nscript' ]
name=$("$hvx" fork --hostname --json debian | tr -d ' \n[]"') || fail "fork --hostname"
check "a fork's name ($name)" [ "$name" = debian-1 ]
identity='hostname; cat /etc/hostname; for i in /sys/class/net/*; do [ ! -e $i/device ] || cat $i/address; done; ls /root/only 2>&1'
run sh -c "$identity"
theirs=$out
"$hvx" exec debian-1 -n -- sh -c "$identity" > "$work/fork.id"
check "it knows it" [ "$(sed -n 1,2p "$work/fork.id")" = $'debian-1\ndebian-1' ]
mac=$("$hvx" domiflist debian-1 | grep -o '52:54:00:[0-9a-f:]*')
check "and its address ($mac)" [ "$(sed -n 3p "$work/fork.id")" = "$mac" ]
check "which its template does not have, nor its name" [ "$(grep -cE "$mac|debian-1" <<< "$theirs")" -eq 0 ]
over_ssh debian-1 /dev/null hostname
check "its vsock has an address of its own ($(cid_of debian-1), $cid), and listens there ($status: $out, $err)" \
	[ "$(cid_of debian-1)" != "$cid" -a "$out" = debian-1 ]
check "nor what another fork wrote" grep -q 'cannot access' <<< "$theirs"
"$hvx" destroy debian-1 > /dev/null || fail "destroy"
check "no fork is left" [ "$(pgrep -c -x hvx-vmm)" -eq 1 ]

check "its agent is asked to reboot" "$hvx" reboot --mode agent debian
finish debian 300
check "it did, which ends it here ($status)" [ "$status" -eq 0 ]
check "the kernel has no complaints" no_complaints debian
