#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Examples, with the small guest's kernel and initramfs in the place of /vmlinuz and
# /initrd.img: a shell, in which a command of the example's comment ends the guest.
# limit: 600

. "$(dirname "$0")/lib.sh"
here=$(cd "$(dirname "$0")/../../examples" && pwd)

example() { # NAME
	sed "s,>/vmlinuz<,>$kernel<,; s,>/initrd.img<,>$initramfs<," "$here/$1.xml" > "$work/$1.xml"
	start "$1"
	wait_for "$1" 240 'guest of hvx'
}

example minimal-linux
send minimal-linux 'poweroff -f'
finish minimal-linux 120
check "minimal-linux.xml: power-off ends with 0 ($status)" [ "$status" -eq 0 ]

example ci-debug-exit
command=$(sed -n "s/^ *\(printf '.*conv=notrunc\).*/\1/p" "$here/ci-debug-exit.xml")
send ci-debug-exit "$command"
finish ci-debug-exit 120
check "ci-debug-exit.xml: $command: status 7 ($status)" [ "$status" -eq 7 ]

example smp
count() { echo "\$(cat /sys/devices/system/cpu/cpu*/topology/$1 | sort -u | wc -l)"; }
send smp "echo HVX-CPUS \$(grep -c ^processor /proc/cpuinfo) $(count physical_package_id) $(count core_cpus_list) \$(grep -owE -m1 'topoext|GenuineIntel' /proc/cpuinfo); poweroff -f"
finish smp 120
seen=$(tr -d '\r' < "$work/smp.out" | sed -n 's/^HVX-CPUS //p')
# AMD's CPUs tell threads apart only where they have leaf 0x8000001e; TCG's has not.
case $seen in
*l | *t) want="8 2 4 ${seen##* }" ;;
*) want='8 2 8' ;;
esac
check "smp.xml: eight CPUs, two sockets, four cores ($seen)" [ "$seen" = "$want" ]

# A user who is in the group of /dev/hvx, and nothing else, has a disk and a network.
user=4243 group=4242
mkdir "$work/bin" "$work/run"
cp "$HVX_BUILD"/hvx* "$work/bin/"
cp "$initramfs" "$work/initramfs"
truncate -s 4M "$work/disk"
chown $user "$work/run" "$work/disk"
chmod 700 "$work/run"
chmod 755 "$work"
chgrp $group /dev/hvx && chmod 660 /dev/hvx || fail "no access to /dev/hvx"
cat > "$work/as-user" <<END
#!/bin/sh
XDG_RUNTIME_DIR=$work/run exec setpriv --reuid $user --regid $user --groups $group --inh-caps=-all "$work/bin/hvx" "\$@"
END
chmod 755 "$work/as-user"
initramfs=$work/initramfs domain user 256 2 \
	'hvx.run="up > /dev/null 2>&1; echo HVX-ADDRESS $(ip -4 -o addr show eth0); echo user data | dd of=/dev/vda conv=fsync 2> /dev/null; echo HVX-READY; read x < /dev/ttyS0"' \
	"$xml_user_net<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work/disk'/><target dev='vda' bus='virtio'/></disk>"
hvx=$work/as-user start user
wait_for user 240 '^HVX-READY'
ids=$(sed -n 's/^\(Uid\|Gid\|Groups\):[[:space:]]*/\1 /p' "/proc/$(pgrep -x hvx-vmm)/status" | tr '\n\t' '  ')
case $ids in
"Uid $user $user $user $user Gid $user $user $user $user Groups $group"*) echo "ok: its VMM is the user's" ;;
*) fail "its VMM is not the user's: $ids" ;;
esac
send user go
finish user 120
check "it has an address ($(grep HVX-ADDRESS "$work/user.out" | tr -d '\r'))" shown user '^HVX-ADDRESS .*10\.0\.2\.15/24'
check "what it wrote is on its disk" [ "$(head -c 9 "$work/disk")" = 'user data' ]
check "it powered off ($status)" [ "$status" -eq 0 ]
