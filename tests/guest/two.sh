#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Two guests at once, each with two vCPUs, disk and network; then one is killed
# while the other goes on.
# limit: 900

. "$(dirname "$0")/lib.sh"

for name in one two; do
	yes "$name" | head -c 2M > "$work/$name.disk"
	domain $name 256 2 \
		"net.ifnames=0 hvx.exit=debug hvx.run=\"up > /dev/null; ip -4 -o addr show eth0; head -c 4 /dev/vda; sha256sum < /dev/vda; echo HVX-READY; while [ ! -e /tmp/go ]; do read -r x < /dev/ttyS0 && touch /tmp/go; done; sha256sum < /dev/vda; exit 3\"" \
		"$xml_user_net<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work/$name.disk'/><target dev='vda' bus='virtio'/></disk>"
done
start one
start two
wait_for one 400 '^HVX-READY'
wait_for two 400 '^HVX-READY'
for name in one two; do
	sum=$(sha256sum < "$work/$name.disk" | cut -d' ' -f1)
	check "$name reads its own disk" shown $name "^$sum"
	check "$name has a network" shown $name '10\.0\.2\.15/24'
done

kill -9 "${guest_pid[one]}"
wait "${guest_pid[one]}" 2>/dev/null
unset "guest_pid[one]"
send two go
finish two 200
sum=$(sha256sum < "$work/two.disk" | cut -d' ' -f1)
check "two went on after one was killed" [ "$(grep -c "^$sum" "$work/two.out")" -eq 2 ]
check "two ended well ($status)" [ "$status" -eq 7 ]
