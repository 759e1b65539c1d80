#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A Debian root file system on virtio-blk: systemd to the login prompt, address
# by DHCP, names by DNS, a file by HTTP from a server on the host's side, a
# login, a disk that loses what is discarded, a clean power-off by its power button.
# limit: 900

. "$(dirname "$0")/lib.sh"

# The host's side: a web server, and a name server that knows one name.
mkdir "$work/www"
head -c 3000000 /dev/urandom > "$work/www/file"
sum=$(sha256sum < "$work/www/file" | cut -d' ' -f1)
busybox httpd -f -p 127.0.0.1:8080 -h "$work/www" &
guest_pid[httpd]=$!
dnsmasq --no-daemon --no-resolv --no-hosts --conf-file=/dev/null --user=root --group=root \
	--listen-address=127.0.0.1 --bind-interfaces --address=/server.hvx.test/10.0.2.2 \
	> "$work/dnsmasq.err" 2>&1 &
guest_pid[dnsmasq]=$!

# A block device that has O_DIRECT, and gives back what is discarded.
detach() {
	cleanup
	[ -z "$loop" ] || losetup -d "$loop"
}
loop=''
trap detach EXIT
modprobe loop
truncate -s 64M "$work/loop.img"
loop=$(losetup -f --show "$work/loop.img") || fail "no loop device"
second="<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' discard='unmap'/>
	<source dev='$loop'/><target dev='vdb' bus='virtio'/></disk>"

disk=/dev/l1/debian
domain debian 512 2 \
	'hvx.root=/dev/vda net.ifnames=1 hvx.run="echo HVX-ADDRESS $(ip -4 -o address show scope global); echo HVX-NAME $(getent ahostsv4 server.hvx.test); echo HVX-SUM $(wget -qO- http://server.hvx.test:8080/file | sha256sum)"' \
	"$xml_user_net$(xml_disk "$(realpath $disk)" '<transient/>')$second<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
start debian
wait_for debian 900 'debian login:'
wait_for debian 600 'HVX-GUEST-DONE'
check "DHCP gave an address" shown debian 'HVX-ADDRESS .* 10\.0\.2\.[0-9]+/24'
check "DNS gave the server's address" shown debian 'HVX-NAME 10\.0\.2\.2 '
check "HTTP gave the file" shown debian "HVX-SUM $sum"

send debian root
wait_for debian 120 'root@debian'
send debian 'systemctl is-system-running --wait; systemctl --failed --no-legend | sed s/^/HVX-UNIT-FAILED:/; echo HVX-LOGIN $((6 * 7))'
wait_for debian 300 'HVX-LOGIN 42'
check "no unit failed" [ "$(grep -c '^HVX-UNIT-FAILED:' "$work/debian.out")" -eq 0 ]

vmm=$(pgrep -x hvx-vmm)
flags=$(for fd in /proc/"$vmm"/fd/*; do
	[ "$(readlink "$fd")" != "$loop" ] || sed -n 's/^flags:[[:space:]]*//p' "/proc/$vmm/fdinfo/${fd##*/}"
done | head -n 1)
check "cache='none' is O_DIRECT (flags $flags)" [ $((8#${flags:-0} & 8#40000)) -ne 0 ]
allocated() { echo $(($(stat -c %b "$work/loop.img") / 2048)); } # MiB
at_host() { # offset and length in MiB: its sum
	dd if="$loop" bs=1M skip="$1" count="$2" iflag=direct status=none | md5sum | cut -c1-32
}
of() { # character, MiB
	head -c "${2}M" /dev/zero | tr '\0' "$1" | md5sum | cut -c1-32
}
send debian 'tr "\0" x < /dev/zero | dd of=/dev/vdb bs=1M count=32 iflag=fullblock oflag=direct conv=fsync status=none; echo HVX-FILLED $?'
wait_for debian 300 'HVX-FILLED [0-9]'
check "the guest has written 32 MiB ($(allocated))" [ "$(allocated)" -eq 32 ]
send debian 'blkdiscard -o 4M -l 8M /dev/vdb; echo HVX-DISCARD $?; blkdiscard -z -o 16M -l 4M /dev/vdb; echo HVX-ZERO $?'
wait_for debian 300 'HVX-ZERO [0-9]'
check "discard and write zeroes" shown debian 'HVX-DISCARD 0'
check "both of them" shown debian 'HVX-ZERO 0'
check "the host has at least what was discarded back ($(allocated) MiB are left)" [ "$(allocated)" -le 24 ]
check "what was zeroed is zeroes" [ "$(at_host 16 4)" = "$(of '\0' 4)" ]
for range in '0 4' '12 4' '20 12'; do
	# shellcheck disable=SC2086
	check "what is beside it is as it was ($range)" [ "$(at_host $range)" = "$(of x ${range#* })" ]
done
check "its power button" "$hvx" shutdown debian
finish debian 300
check "it powered off ($status)" [ "$status" -eq 0 ]
check "the kernel has no complaints" no_complaints debian
