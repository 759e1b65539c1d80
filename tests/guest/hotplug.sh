#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Disks and network interfaces that come to a running guest, work, and go; what the
# guest began with goes, too; saved and restored in between.
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config
mkdir "$work/run"

truncate -s 16M "$work/a.img" "$work/b.img" "$work/c.img"
head -c 1M /dev/urandom | dd of="$work/b.img" conv=notrunc status=none
sum=$(head -c 1M "$work/b.img" | md5sum | cut -c1-32)
disk_xml() { # FILE TARGET
	echo "<disk type='file' device='disk'><source file='$1'/><target dev='$2' bus='virtio'/></disk>"
}

# 256 MiB, of which Linux keeps 64 for devices where there may be memory above 4 GiB; and up to 256 more.
memory_xml="<memory model='virtio-mem'><target><size unit='MiB'>256</size><block unit='MiB'>2</block>
	<requested unit='KiB'>0</requested></target></memory>"
domain plug 512 2 'memhp_default_state=online_movable' "$memory_xml$(disk_xml "$work/a.img" vda)$xml_user_net
	<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>" \
	"<maxMemory slots='4' unit='MiB'>768</maxMemory>"
sed -i "s,<vcpu>2</vcpu>,<vcpu current='2'>4</vcpu>," "$work/plug.xml"
start plug
wait_for plug 240 'guest of hvx'

mark=0
# The guest's shell does it, and its status shows: ask WHAT COMMANDS.
ask() {
	mark=$((mark + 1))
	send plug "$2 ; echo MARK-$mark-\$?-"
	wait_for plug 120 "^MARK-$mark-[0-9]"
	shown plug "^MARK-$mark-0-" || fail "in the guest: $1"
	echo "ok: in the guest: $1"
}
soon='n=0; until [ $n -eq 200 ] ||'	# ... COMMAND; do $pause; done; COMMAND
pause='sleep 0.2; n=$((n+1))'
until_guest() { ask "$1" "$soon $2; do $pause; done; $2"; }
names() { "$hvx" qmp plug x-hvx-query-nics | tr -d ' \n' | grep -o '"name":"[^"]*"' | tr '\n' ' '; }

check "attach-disk" "$hvx" attach-disk plug "$work/b.img" vdb --serial PLUGGED
until_guest "the disk appears" '[ -b /dev/vdb ]'
ask "it has what the image has" "[ \$(dd if=/dev/vdb bs=1M count=1 2>/dev/null | md5sum | cut -c1-32) = $sum ]"
ask "it has its serial number" '[ $(cat /sys/block/vdb/serial) = PLUGGED ]'
ask "it is written to" 'echo plugged | dd of=/dev/vdb bs=512 seek=4096 conv=sync,fsync 2>/dev/null'
check "the image has what was written" grep -q '^plugged' <(tail -c +2097153 "$work/b.img" | head -c 8)
check "it is in the live XML" grep -q "$work/b.img" <("$hvx" dumpxml plug)
! "$hvx" attach-disk plug "$work/b.img" vdc 2> "$work/twice.err" || fail "one image twice"
check "one image is not plugged in twice" grep -q 'in use' "$work/twice.err"
! "$hvx" attach-disk plug "$work/c.img" vdb 2> "$work/name.err" || fail "one name twice"
check "nor is one name taken twice" grep -q 'of this name' "$work/name.err"

echo "<interface type='user'><mac address='52:54:00:12:34:99'/><model type='virtio'/></interface>" > "$work/nic.xml"
check "attach-device of an interface" "$hvx" attach-device plug "$work/nic.xml" --live
until_guest "the interface appears" '[ -e /sys/class/net/eth1 ]'
ask "it has its address" '[ $(cat /sys/class/net/eth1/address) = 52:54:00:12:34:99 ]'
ask "it gets an address by DHCP" 'ip link set eth1 up; udhcpc -i eth1 -n -q -t 5 -s /bin/true'
check "it is told of" grep -q '"net1"' <(names)

ask "it began with two vCPUs" '[ $(nproc) -eq 2 ]'
check "setvcpus" "$hvx" setvcpus plug 4
until_guest "two more appear" '[ -e /sys/devices/system/cpu/cpu3/online ]'
ask "they run" 'echo 1 > /sys/devices/system/cpu/cpu2/online; echo 1 > /sys/devices/system/cpu/cpu3/online; [ $(nproc) -eq 4 ]'
check "one goes" "$hvx" setvcpus plug 3
ask "it is gone" '[ $(nproc) -eq 3 ] && [ ! -e /sys/devices/system/cpu/cpu3/online ]'
! "$hvx" setvcpus plug 5 2> "$work/five.err" || fail "more vCPUs than can be"
check "no more than can be" grep -q '4 vCPUs are the most' "$work/five.err"
check "the XML has three" grep -q "current=.3.>4</vcpu>" <("$hvx" dumpxml plug)

# Memory comes, is used, and is there after a restore; then it goes, in part and altogether.
total='$(sed -n "s/^MemTotal: *\([0-9]*\).*/\1/p" /proc/meminfo)'
memory_now() { "$hvx" qmp plug query-memory-devices | tr -d ' \n' | sed -n 's/.*"size":\([0-9]*\).*/\1/p'; }
ask "it has no more than it began with" "[ $total -lt 200000 ]"
check "update-memory-device" "$hvx" update-memory-device plug --requested-size 128M --wait --timeout 120
until_guest "it has that much more" "[ $total -gt 230000 ]"
ask "it uses it" 'dd if=/dev/zero of=/dev/shm/fill bs=1M count=59 2>/dev/null && dd if=/dev/vdb of=/dev/shm/fill bs=1M count=1 seek=59 2>/dev/null'
! "$hvx" update-memory-device plug --requested-size 257M 2> "$work/more.err" || fail "more memory than it can have"
check "no more than its size" grep -q 'no more than 268435456' "$work/more.err"
check "the XML has what is requested" grep -q '<requested unit="KiB">131072</requested>' <("$hvx" dumpxml plug)

# The first disk goes: those behind it keep their places, now and after a restore.
check "detach-disk of what it began with" "$hvx" detach-disk plug vda
ask "it is gone" '[ ! -e /dev/vda ]'
file=$work/saved
check "save" "$hvx" save plug "$file"
finish plug 60
rm -f "$work/plug.in"
mkfifo "$work/plug.in"
"$hvx" restore "$file" < "$work/plug.in" >> "$work/plug.out" 2>> "$work/plug.err" &
guest_pid[plug]=$!
exec {fd}> "$work/plug.in"
guest_in[plug]=$fd
ask "restored, its disk is there" "echo 3 > /proc/sys/vm/drop_caches; [ -b /dev/vdb ] && [ \$(dd if=/dev/vdb bs=1M count=1 2>/dev/null | md5sum | cut -c1-32) = $sum ]"
ask "it has its vCPUs" '[ $(nproc) -eq 3 ]'
ask "it has its memory, and what was in it" "[ \$(dd if=/dev/shm/fill bs=1M skip=59 2>/dev/null | md5sum | cut -c1-32) = $sum ] && [ $total -gt 230000 ]"
ask "which it gives up" 'rm /dev/shm/fill'
check "half of it goes ($(memory_now))" "$hvx" update-memory-device plug --requested-size 64M --wait --timeout 120
check "then all ($(memory_now))" "$hvx" update-memory-device plug --requested-size 0 --wait --timeout 120
ask "it has what it began with" "[ $total -lt 200000 ]"
sed "s,MiB'>256,MiB'>128,; s,</memory>,<alias name='ua-more'/></memory>," <<< "$memory_xml" > "$work/more.xml"
check "attach-device of memory" "$hvx" attach-device plug "$work/more.xml"
until_guest "the device appears" '[ $(ls -d /sys/bus/virtio/drivers/virtio_mem/virtio* | wc -l) -eq 2 ]'
check "it gives memory" "$hvx" update-memory-device plug --alias ua-more --requested-size 128M --wait --timeout 120
until_guest "which the guest has" "[ $total -gt 230000 ]"
! "$hvx" detach-device plug "$work/more.xml" 2> "$work/busy.err" || fail "memory that is in use goes"
check "it stays as long as memory is requested of it" grep -q 'ua-more: memory is requested of it' "$work/busy.err"
check "the guest gives it back" "$hvx" update-memory-device plug --alias ua-more --requested-size 0 --wait --timeout 120
check "detach-device of memory" "$hvx" detach-device plug "$work/more.xml"
check "it is not in the XML" [ "$("$hvx" dumpxml plug | grep -c 'ua-more')" -eq 0 ]
check "one goes" "$hvx" setvcpus plug 2
check "and comes again" "$hvx" setvcpus plug 3
until_guest "it appears" '[ -e /sys/devices/system/cpu/cpu2/online ]'
ask "it runs" 'echo 1 > /sys/devices/system/cpu/cpu2/online; [ $(nproc) -eq 3 ]'
ask "and the interface works" 'udhcpc -i eth1 -n -q -t 10 -s /bin/true'

# One that cannot answer keeps what it has, until it can.
check "suspend" "$hvx" suspend plug
"$hvx" detach-disk plug vdb --timeout 1 2> "$work/wait.err"
check "a guest that does not answer is told of ($?)" [ $? -eq 124 ]
check "and how" grep -q 'has not let go of vdb' "$work/wait.err"
check "the disk stays" grep -q vdb <("$hvx" qmp plug query-block)
check "resume" "$hvx" resume plug
until_guest "it lets go of it later" '[ ! -e /dev/vdb ]'
check "detach-device of the interface" "$hvx" detach-device plug "$work/nic.xml"
ask "it is gone" '[ ! -e /sys/class/net/eth1 ]'
check "a slot is used again" "$hvx" attach-disk plug "$work/c.img" vdb
# Names in the guest are its own: the first that is free.
until_guest "the disk appears" '[ -b /dev/vda ]'
check "detach-disk" "$hvx" detach-disk plug vdb
! "$hvx" detach-disk plug vdb 2> "$work/none.err" || fail "a disk that is not there"
check "what is not there cannot go" grep -q 'no disk vdb' "$work/none.err"
check "the kernel has no complaints" no_complaints plug
check "no helper is left" [ "$(pgrep -c hvx-net-slirp)" -eq 1 ]

# Definitions.
sed "s/<name>plug/<name>vcpudef/" "$work/plug.xml" > "$work/vcpudef.xml"
check "define" "$hvx" define "$work/vcpudef.xml"
check "setvcpus --config --maximum" "$hvx" setvcpus vcpudef 6 --config --maximum
check "setvcpus --config" "$hvx" setvcpus vcpudef 5 --config
check "the definition has them" grep -q "current=.5.>6</vcpu>" <("$hvx" dumpxml vcpudef)
sed "s/<name>plug/<name>plugdef/" "$work/plug.xml" > "$work/plugdef.xml"
check "define" "$hvx" define "$work/plugdef.xml"
check "attach-disk --config" "$hvx" attach-disk plugdef "$work/c.img" vdc --config
check "it is in the definition" grep -q "$work/c.img" <("$hvx" dumpxml plugdef)
! "$hvx" attach-disk plugdef "$work/b.img" vdc --config 2> /dev/null || fail "one target twice in a definition"
check "detach-disk --config" "$hvx" detach-disk plugdef vdc --config
! "$hvx" dumpxml plugdef | grep -q "$work/c.img" || fail "it is in the definition still"
! "$hvx" attach-disk plugdef "$work/c.img" vdc --live 2> /dev/null || fail "--live of one that is off"

send plug 'poweroff -f'
finish plug 60
check "power-off ends with 0 ($status)" [ "$status" -eq 0 ]
