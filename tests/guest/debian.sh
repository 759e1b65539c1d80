#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A Debian root file system on virtio-blk: systemd to the login prompt, address
# by DHCP, names by DNS, a file by HTTP from a server on the host's side, a
# login, a clean power-off.
# limit: 1200

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

disk=/dev/l1/debian
domain debian 512 2 \
	'hvx.root=/dev/vda net.ifnames=1 hvx.run="echo HVX-ADDRESS $(ip -4 -o address show scope global); echo HVX-NAME $(getent ahostsv4 server.hvx.test); echo HVX-SUM $(wget -qO- http://server.hvx.test:8080/file | sha256sum)"' \
	"$xml_user_net$(xml_disk "$(realpath $disk)" '<transient/>')<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
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
send debian poweroff
finish debian 300
check "it powered off ($status)" [ "$status" -eq 0 ]
check "the kernel has no complaints" no_complaints debian
