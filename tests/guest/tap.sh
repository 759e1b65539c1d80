#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A guest on a bridge of the host: several queues, served by the VMM and by the
# host's vhost-net; a file goes in, and comes back, as it was.
# limit: 600

. "$(dirname "$0")/lib.sh"

end_all() {
	kill $server $sink 2> /dev/null
	cleanup
	ip link del hvxbr0 2> /dev/null
}
server='' sink=''
trap end_all EXIT

for module in tun bridge vhost_net; do
	modprobe $module || { echo "the nested host has no module $module"; exit 77; }
done
ip link add hvxbr0 type bridge && ip addr add 10.77.0.1/24 dev hvxbr0 && ip link set hvxbr0 up || fail "no bridge"
head -c 4M /dev/urandom > "$work/file"
sum=$(md5sum < "$work/file" | cut -c1-32)
(cd "$work" && exec python3 -m http.server --bind 10.77.0.1 8077) > "$work/http.log" 2>&1 &
server=$!

taps() { ip -o link show master hvxbr0 | wc -l; }
for driver in qemu vhost; do
	command='ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up'
	command+='; n=0; until ping -c 1 -W 1 10.77.0.1 > /dev/null || [ $n -eq 60 ]; do n=$((n + 1)); done'
	command+='; wget -q -O /tmp/file http://10.77.0.1:8077/file; echo HVX-SUM $(md5sum < /tmp/file)'
	command+='; echo HVX-QUEUES $(ls -d /sys/class/net/eth0/queues/tx-* | wc -l)'
	command+='; nc 10.77.0.1 8078 < /tmp/file; until wget -q -O /dev/null http://10.77.0.1:8077/go; do sleep 1; done; exit 11'
	domain $driver 192 2 "hvx.exit=debug hvx.run=\"$command\"" \
		"<interface type='bridge'><source bridge='hvxbr0'/><model type='virtio'/><driver name='$driver' queues='2'/></interface>"
	python3 -c 'import socket, shutil, sys
s = socket.create_server(("10.77.0.1", 8078))
print("ready", flush=True)
shutil.copyfileobj(s.accept()[0].makefile("rb"), open(sys.argv[1], "wb"))' "$work/back" > "$work/sink.log" 2>&1 &
	sink=$!
	until grep -q ready "$work/sink.log"; do
		kill -0 $sink || fail "$driver: nobody listens: $(tail -n 1 "$work/sink.log")"
		sleep 0.1
	done
	start $driver
	wait_for $driver 240 '^HVX-SUM'
	check "$driver: it has a tap on the bridge ($(taps))" [ "$(taps)" -eq 1 ]
	vhost=$(find /proc/"$(pgrep -x hvx-vmm)"/fd -lname /dev/vhost-net | wc -l)
	check "$driver: the host's vhost-net, where that was asked for ($vhost)" \
		[ $((vhost > 0)) -eq $((${#driver} == 5)) ]
	touch "$work/go"
	finish $driver 240
	rm "$work/go"
	check "$driver: its command ran to its end ($status)" [ $status -eq 23 ]
	check "$driver: the file came in ($(tr -d '\r' < "$work/$driver.out" | grep HVX-SUM))" shown $driver "^HVX-SUM $sum"
	check "$driver: with two queues" shown $driver '^HVX-QUEUES 2$'
	wait $sink
	check "$driver: and went back" cmp "$work/file" "$work/back"
	check "$driver: its kernel has no complaints" no_complaints $driver
	check "$driver: its tap is gone ($(taps))" [ "$(taps)" -eq 0 ]
done
