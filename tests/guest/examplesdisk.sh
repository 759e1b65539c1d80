#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The examples with a disk, debian-disk.xml and port-forward.xml, as they are, beside a Debian
# of hvx image build: disks, networks, ports.
# image: image
# bench: named
# limit: 900

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../../examples" && pwd)

# Debian on a disk, and many ports of it: the files are beside the examples. One example writes to
# its disk, the other leaves the image, which nobody can write to, as it is.
hvx=$HVX_BUILD/hvx
export XDG_RUNTIME_DIR=$work/rundir XDG_STATE_HOME=$work/state TMPDIR=$work/tmp
mkdir -m 700 "$XDG_RUNTIME_DIR" "$TMPDIR"
trap '"$hvx" destroy port-forward > /dev/null 2>&1; cleanup' EXIT
for name in debian-disk port-forward; do
	mkdir "$work/$name"
	cp "$here/$name.xml" "$work/$name/"
	ln -s "$HVX_GUEST_IMAGE/image.vmlinuz" "$work/$name/vmlinuz"
	ln -s "$HVX_GUEST_IMAGE/image.initrd" "$work/$name/initrd.img"
done
ln -s "$HVX_GUEST_IMAGE/image.img" "$work/port-forward/debian.img"
dd if=/dev/l1/image of="$work/debian-disk/debian.img" bs=1M conv=sparse status=none || fail "no image"
ip address add 192.0.2.1/32 dev lo
cp "$HVX_GUEST_IMAGE/key" "$work/key"
chmod 600 "$work/key"
forwarded() { # command: output in $out
	out=$(timeout 120 ssh -n -p 2222 -i "$work/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
		-o LogLevel=ERROR root@127.0.0.1 "$@" 2>&1)
}
connect() { # ADDRESS PORT: what it says in $out
	out=$(timeout 60 bash -c "exec 3<> /dev/tcp/$1/$2 && cat <&3" 2> /dev/null)
}

"$hvx" run -d "$work/port-forward/port-forward.xml" > /dev/null || fail "port-forward.xml does not start"
mkfifo "$work/debian-disk.in"
"$hvx" run "$work/debian-disk/debian-disk.xml" < "$work/debian-disk.in" > "$work/debian-disk.out" 2> "$work/debian-disk.err" &
guest_pid[debian-disk]=$!
exec {fd}> "$work/debian-disk.in"
guest_in[debian-disk]=$fd
wait_for debian-disk 600 'login:'
send debian-disk root
wait_for debian-disk 240 'root@image'
# Else readline writes an escape sequence before what a command says.
send debian-disk "bind 'set enable-bracketed-paste off'"
send debian-disk 'echo HVX-DISK $(readlink -f /dev/disk/by-id/virtio-debian-root) $(findmnt -no SOURCE,OPTIONS / | cut -d, -f1)'
wait_for debian-disk 120 '^HVX-DISK .*'
check "debian-disk.xml: its root is the disk of that serial number" shown debian-disk '^HVX-DISK /dev/vda /dev/vda rw'
send debian-disk 'until ip -4 -o address show scope global | grep -o "10\.0\.2\.15/24"; do sleep 1; done; echo kept > /root/kept; echo HVX-KEPT $?'
wait_for debian-disk 240 '^HVX-KEPT 0'
check "its power button" "$hvx" shutdown debian-disk
finish debian-disk 300
check "it powered off ($status)" [ "$status" -eq 0 ]
check "its disk is whole" e2fsck -fn "$work/debian-disk/debian.img"
check "and has what it wrote" [ "$(debugfs -R 'cat /root/kept' "$work/debian-disk/debian.img" 2> /dev/null)" = kept ]

end=$((SECONDS + 600))
until forwarded 'id -u'; do
	[ $SECONDS -lt $end ] || fail "port-forward.xml: no ssh: $out"
	sleep 1
done
check "port-forward.xml: the ssh of its comment ($out)" [ "$out" = 0 ]
forwarded 'systemd-run --quiet systemd-socket-activate -l 80 -l 9003 -l 9005 --inetd -a echo hello; touch /root/x
	until ss -ltn | grep -q :9005; do sleep 0.2; done'
for at in '127.0.0.1 8080' '192.0.2.1 8080' '127.0.0.1 9003'; do
	# shellcheck disable=SC2086
	connect $at
	check "port-forward.xml: $at ($out)" [ "$out" = hello ]
done
for at in '192.0.2.1 2222' '127.0.0.1 9005' '127.0.0.1 9011'; do
	# shellcheck disable=SC2086
	! connect $at || fail "port-forward.xml: $at is taken"
	echo "ok: port-forward.xml: not $at"
done
forwarded poweroff
check "it powers off" "$hvx" wait --off --timeout 300 port-forward
