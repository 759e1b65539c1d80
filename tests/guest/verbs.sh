#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Definitions, and a guest that is started by its name: verbs that look at it.
# limit: 600

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run HVX_CONFIG_DIR=$work/config
mkdir -m 700 "$XDG_RUNTIME_DIR"

end_guests() {
	local name

	for name in $("$hvx" list --name); do
		"$hvx" destroy "$name" > /dev/null
	done
	cleanup
}
trap end_guests EXIT

state_is() { [ "$("$hvx" domstate "$1")" = "$2" ]; }
counter() { # NAME COUNTER: of the module
	"$hvx" domstats "$1" | sed -n "s/^  vm\.$2=//p"
}
fails() { ! "$@" 2> "$work/refused.err"; }

# --- a definition ---
truncate -s 64M "$work/disk.img"
domain tick 256 2 'hvx.run="i=0; while :; do i=$((i + 1)); echo HVX-TICK $i; sleep 1; done"' \
	"<memballoon model='virtio'/><disk type='file' device='disk'><driver name='qemu' type='raw'/>
	<source file='disk.img'/><target dev='vda' bus='virtio'/></disk>$xml_user_net"
check "define" "$hvx" define "$work/tick.xml"
check "its disk's path is in full" grep -q "file=\"$work/disk.img\"" "$HVX_CONFIG_DIR/tick.xml"
check "it has a UUID" grep -q '<uuid>' "$HVX_CONFIG_DIR/tick.xml"
check "another of the name is refused where that is asked for" fails "$hvx" define --new "$work/tick.xml"
check "it is off" state_is tick 'shut off'
check "list does not show it" [ -z "$("$hvx" list --name)" ]
check "list --all does" [ "$("$hvx" list --all --name)" = tick ]
sed 's,<memory.*,<memory>nonsense</memory>,' "$work/tick.xml" > "$work/bad.xml"
check "nor XML that is none" fails "$hvx" create "$work/bad.xml"
check "what cannot be run is not kept" fails env EDITOR="cp $work/bad.xml" "$hvx" edit tick < /dev/null
check "the definition is as before" "$hvx" validate -q "$HVX_CONFIG_DIR/tick.xml"
sed 's,<memory.*,<memory unit="MiB">192</memory>,' "$HVX_CONFIG_DIR/tick.xml" > "$work/good.xml"
check "what can is" env EDITOR="cp $work/good.xml" "$hvx" edit tick
check "it was changed" grep -q '>192<' "$HVX_CONFIG_DIR/tick.xml"
check "clone" "$hvx" clone tick tock
check "with a disk of its own" [ -f "$work/disk-tock.img" ]
check "and another UUID" [ "$("$hvx" domuuid tick)" != "$("$hvx" domuuid tock)" ]
check "rename" "$hvx" rename tock tuck
check "undefine with its storage" "$hvx" undefine --remove-all-storage tuck
check "which is gone" [ ! -e "$work/disk-tock.img" ]
check "the other's is there" [ -e "$work/disk.img" ]

# Ten at once: one of them starts it.
for i in $(seq 10); do
	"$hvx" start tick > "$work/start$i.out" 2>&1 &
	starts[i]=$!
done
started=0
for i in $(seq 10); do
	wait "${starts[i]}" && started=$((started + 1))
done
check "of ten starts at once one wins" [ $started -eq 1 ]
vmm=$("$hvx" domid tick)
check "there is one VMM" [ "$(pgrep -c -x hvx-vmm)" -eq 1 ]
check "wait for a text" "$hvx" wait --text 'HVX-TICK 3' --timeout 240 tick
check "it runs" state_is tick running
check "list shows it" grep -Eq "^ $vmm +tick +running" <("$hvx" list)
check "as JSON, too" grep -q '"state":"running"' <("$hvx" list --json | tr -d ' ')
check "dominfo" grep -q '^CPU(s): *2$' <("$hvx" dominfo tick)
check "its image is locked" fails "$hvx" run "$work/tick.xml" --name second < /dev/null
check "by whom is said" grep -q 'in use by another' "$work/refused.err"
check "domblklist" grep -q "vda.*$work/disk.img" <("$hvx" domblklist tick)
check "domblkstat counts reads" [ "$("$hvx" domblkstat tick vda | sed -n 's/vda rd_req //p')" -gt 0 ]
check "domifaddr" grep -q '10\.0\.2\.15/24' <("$hvx" domifaddr tick)
check "the module counted exits" [ "$(counter tick exits)" -gt 1000 ]
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
before=$(counter tick exits)
seen=$(awk '$1 == "exits" { print $2, NF - 2 }' /sys/kernel/debug/hvx/"$vmm"-*)
after=$(counter tick exits)
check "debugfs has them, of each vCPU, too ($before, $seen, $after)" \
	[ "${seen% *}" -ge "$before" -a "${seen% *}" -le "$after" -a "${seen#* }" -eq 2 ]
check "metrics for Prometheus" grep -q '^hvx_vm_exits{guest="tick"} [0-9]' <("$hvx" stat --prometheus)
check "rates" grep -q 'exits .*/s' <("$hvx" stat --count 1 tick)
check "as JSON, too" grep -Eq '^\{"name":"tick",.*"exits":[0-9.]+' <("$hvx" stat --json --count 1 tick)
check "top as JSON" grep -Eq '^\[\{"name":"tick","state":"running","vcpus":2,"cpu-percent":' <("$hvx" top --json --count 1 --interval 0.2)
lines=$("$hvx" trace --count 3 tick 2>&1)
check "trace ($(head -n 1 <<< "$lines"))" [ "$(grep -Ec '^[0-9.]+ exit: vm [0-9]+ vcpu [01] rip 0x' <<< "$lines")" -eq 3 ]
check "its summary" grep -q '^HW REASON' <("$hvx" trace --summary --time 1 tick)
check "reboot by ACPI is refused" fails "$hvx" reboot --mode acpi tick
check "and what to do is said" grep -q 'hvx reset tick' "$work/refused.err"
for thread in /proc/"$vmm"/task/*; do
	name=$(cat "$thread/comm" 2> /dev/null)
	rights=$(sed -n 's/^\(CapEff\|CapPrm\|NoNewPrivs\|Seccomp\):[[:space:]]*/\1 /p' "$thread/status" 2> /dev/null | tr '\n' ' ')
	[ -n "$rights" ] || [ -d "$thread" ] || continue	# a worker of io_uring's that has ended
	check "no rights are left to $name ($rights)" \
		[ "$rights" = 'CapPrm 0000000000000000 CapEff 0000000000000000 NoNewPrivs 1 Seccomp 2 ' ]
done
for tid in $("$hvx" qmp tick query-cpus-fast | sed -n 's/.*"thread-id": *\([0-9]*\).*/\1/p'); do
	check "thread $tid is a vCPU's" grep -q '^vcpu' "/proc/$vmm/task/$tid/comm"
done

# --- the host ---
"$hvx" capabilities > "$work/caps.xml"
check "capabilities" grep -q '<signature family' "$work/caps.xml"
check "domcapabilities" grep -Eq "<mode name=.host-model. supported=.yes." <("$hvx" domcapabilities)
check "cpu-models" grep -qx x86-64-v2 <("$hvx" cpu-models)
check "cpu-baseline of one host" grep -q '<model' <("$hvx" cpu-baseline "$work/caps.xml")
check "cpu-compare with itself" grep -q 'identical' <("$hvx" cpu-compare "$work/caps.xml")
check "host" grep -q 'hvx-vmm' <("$hvx" host)
check "version" grep -q '^hvx [0-9]' <("$hvx" version)

# --- what it has is changed while it runs ---
actual() { "$hvx" dommemstat tick | sed -n 's/^actual //p'; }
eventually() { # command...
	local end=$((SECONDS + 60))

	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}
has_actual() { [ "$(actual)" -eq "$1" ]; }
check "dommemstat ($(actual) KiB)" has_actual $((192 << 10))
check "setmem" "$hvx" setmem tick 150M
check "the balloon gets there ($(actual) KiB)" eventually has_actual $((150 << 10))
check "blockresize" "$hvx" blockresize tick vda 96M
check "its file has the size" [ "$(stat -c %s "$work/disk.img")" -eq $((96 << 20)) ]
check "blkdeviotune" "$hvx" blkdeviotune tick vda --total-iops-sec 500
check "is shown" grep -Eq 'total_iops_sec *: 500$' <("$hvx" blkdeviotune tick vda)
said=$("$hvx" domifstat tick 2>&1)
check "domifstat ($(head -n 1 <<< "$said"))" grep -Eq '^52:54:.* rx_bytes [0-9]+$' <<< "$said"
check "domiftune" "$hvx" domiftune tick net0 --inbound 1000 --live
check "emulatorpin" "$hvx" emulatorpin tick 0
check "its main thread is pinned" grep -Eq '^Cpus_allowed_list:\s*0$' "/proc/$vmm/status"
mac=52:54:00:aa:bb:cc
check "attach-interface" "$hvx" attach-interface tick user --mac $mac
check "domiflist shows it" grep -q $mac <("$hvx" domiflist tick)
check "detach-interface" "$hvx" detach-interface tick --mac $mac
check "it is gone" fails grep -q $mac <("$hvx" domiflist tick)

# --- saved, and started from there ---
ticks() { "$hvx" logs tick > "$work/logs.out"; }
check "logs" ticks
check "managedsave" "$hvx" managedsave tick
check "it is off" state_is tick 'shut off'
check "list says that it is saved" grep -Eq 'tick +shut off' <("$hvx" list --all)
check "start" "$hvx" start tick
check "it goes on" "$hvx" wait --text 'HVX-TICK' --timeout 120 tick
check "with the memory that it had ($(actual) KiB)" has_actual $((150 << 10))
check "managedsave again" "$hvx" managedsave tick
check "managedsave-remove" "$hvx" managedsave-remove tick
check "create" "$hvx" create "$HVX_CONFIG_DIR/tick.xml"
check "it begins anew" "$hvx" wait --text 'HVX-TICK 1' --timeout 240 tick

check "destroy" "$hvx" destroy tick
check "its folder is gone" [ ! -e "$XDG_RUNTIME_DIR/hvx/tick" ]
check "undefine" "$hvx" undefine tick
