# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the whole-guest tests share: domain XML, starting a guest with its
# console on pipes, waiting for its output. Sourced inside the nested host.

set -u
hvx=$HVX_BUILD/hvx
kernel=$HVX_GUEST_KERNEL
initramfs=$HVX_GUEST_INITRAMFS
work=$(mktemp -d /tmp/hvx-guest.XXXXXX)
declare -A guest_pid guest_in

# Exit statuses of hvx run (hvx(1)).
readonly ERR_USAGE=64 ERR_SETUP=65 GUEST_PANIC=67 GUEST_SHUTDOWN=68

cleanup() {
	local pid

	for pid in "${guest_pid[@]}"; do
		kill -9 "$pid" && wait "$pid"
	done 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	local file

	echo "FAILED: $*"
	for file in "$work"/*.out "$work"/*.err; do
		[ -s "$file" ] && echo "--- ${file##*/}:" && tail -n 80 "$file" | tr -d '\r'
	done
	exit 1
}

check() { # what, command...
	local what=$1

	shift
	"$@" || fail "$what"
	echo "ok: $what"
}

# QEMU's emulated AMD-V does not stop at XSETBV, of which KVM has to know.
cpu_xml=''
[ "${HVX_ACCEL:-hvx}" = hvx ] || cpu_xml="<feature policy='disable' name='xsave'/>"

# domain NAME MEMORY-MIB VCPUS COMMAND-LINE [DEVICE-XML] [ELEMENT-XML]: writes
# $work/NAME.xml, a guest with its serial console on the terminal.
domain() {
	cat > "$work/$1.xml" <<-END
	<domain type='kvm' xmlns:hvx='urn:hvx:domain:1'>
	  <name>$1</name>
	  <memory unit='MiB'>$2</memory>
	  <vcpu>$3</vcpu>
	  <os>
	    <type arch='x86_64' machine='q35'>hvm</type>
	    <kernel>$kernel</kernel>
	    <initrd>$initramfs</initrd>
	    <cmdline>$(xml_text "console=ttyS0 panic=-1 loglevel=5 no_timer_check $4")</cmdline>
	  </os>
	  <features><acpi/><apic/></features>
	  <cpu mode='${cpu_mode:-host-passthrough}'>${cpu_model:+<model>$cpu_model</model>}$cpu_xml</cpu>
	  <clock offset='utc'/>
	  <on_poweroff>destroy</on_poweroff>
	  <on_reboot>${on_reboot:-restart}</on_reboot>
	  <on_crash>destroy</on_crash>
	  <devices>
	    <serial type='pty'><target port='0'/></serial>
	    <console type='pty'><target type='serial' port='0'/></console>
	    ${5:-}
	  </devices>
	  ${6:-}
	  <hvx:debug-exit/>
	</domain>
	END
}

xml_text() {
	sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' <<< "$1"
}

xml_user_net="<interface type='user'><model type='virtio'/></interface>"
xml_disk() { # device file, more elements
	echo "<disk type='block' device='disk'><driver name='qemu' type='raw'/>
	<source dev='$1'/><target dev='vda' bus='virtio'/>${2:-}</disk>"
}

# start NAME: hvx run $work/NAME.xml, on what HVX_ACCEL names (default hvx); output in NAME.out, complaints in NAME.err.
start() {
	local fd

	mkfifo "$work/$1.in"
	"$hvx" run --accel "${HVX_ACCEL:-hvx}" "$work/$1.xml" < "$work/$1.in" > "$work/$1.out" 2> "$work/$1.err" &
	guest_pid[$1]=$!
	exec {fd}> "$work/$1.in"
	guest_in[$1]=$fd
}

send() { # NAME, line
	printf '%s\n' "$2" >&"${guest_in[$1]}"
}

# wait_for NAME SECONDS EXTENDED-REGEX: until the console shows it. The time is
# a guard against hangs.
wait_for() {
	local end=$((SECONDS + $2))

	until tr -d '\r' < "$work/$1.out" | grep -Eq "$3"; do
		kill -0 "${guest_pid[$1]}" 2>/dev/null || {
			tr -d '\r' < "$work/$1.out" | grep -Eq "$3" && break
			fail "$1 ended before it showed: $3"
		}
		[ $SECONDS -lt $end ] || fail "$1 did not show in $2 s: $3"
		sleep 0.2
	done
}

# finish NAME SECONDS: waits for the end; the exit status in $status.
finish() {
	local end=$((SECONDS + $2)) fd=${guest_in[$1]}

	while kill -0 "${guest_pid[$1]}" 2>/dev/null; do
		[ $SECONDS -lt $end ] || fail "$1 did not end in $2 s"
		sleep 0.1
	done
	wait "${guest_pid[$1]}"
	status=$?
	exec {fd}>&-
	unset "guest_pid[$1]"
}

# boot NAME SECONDS: start and finish.
boot() {
	start "$1"
	finish "$1" "$2"
}

shown() { # NAME REGEX
	tr -d '\r' < "$work/$1.out" | grep -Eq "$2"
}

# What a kernel says when it lost time, an interrupt or a CPU. Its opinion of the
# CPU model's mitigations is no complaint.
no_complaints() {
	! tr -d '\r' < "$work/$1.out" | grep -Ev 'RETBleed: WARNING: Spectre v2 mitigation|Speculative Return Stack Overflow: WARNING: See' |
		grep -E 'soft lockup|hard LOCKUP|rcu.*(stall|starved)|hung_task|blocked for more than|Clocksource .* unstable|clocksource: .*unstable|WARNING:|BUG:|Oops|Call Trace|irq .*: nobody cared|NETDEV WATCHDOG'
}

# checking_loop KIB [SECONDS]: what a guest runs that checks itself for ever. So much of its memory
# and of /dev/vda is written once and compared in each round, the same with what is fresh
# in each, 1 MiB at most; its clock must not go back, nor leap by SECONDS (60). "HVX-ROUND N" ends round N;
# "HVX-BAD WHAT" is a complaint.
checking_loop() {
	local loop fresh=$(($1 < 4096 ? $1 / 4 : 1024))

	loop="dd if=/dev/urandom of=/dev/shm/a bs=1k count=$1 2>/dev/null"
	loop+='; a=$(md5sum < /dev/shm/a | cut -c1-32); dd if=/dev/shm/a of=/dev/vda bs=1M 2>/dev/null; sync'
	loop+='; n=0; last=0; while :; do n=$((n + 1))'
	loop+='; dd if=/dev/urandom of=/dev/shm/b bs=1k count='$fresh' 2>/dev/null; b=$(md5sum < /dev/shm/b | cut -c1-32)'
	loop+='; [ $(md5sum < /dev/shm/a | cut -c1-32) = $a ] || echo HVX-BAD memory'
	loop+='; echo 3 > /proc/sys/vm/drop_caches'
	loop+="; [ \$(dd if=/dev/vda bs=64k count=$(($1 / 64)) 2>/dev/null | md5sum | cut -c1-32) = \$a ] || echo HVX-BAD disk"
	loop+='; [ $(md5sum < /dev/shm/b | cut -c1-32) = $b ] || echo HVX-BAD fresh memory'
	loop+='; echo $n | dd of=/dev/vda bs=512 seek=60000 conv=sync 2>/dev/null; sync'
	loop+='; read -r now x < /proc/uptime; now=${now%%.*}'
	loop+='; [ $last -eq 0 ] || { [ $now -ge $last ] && [ $((now - last)) -lt '${2:-60}' ]; } || echo HVX-BAD clock $last $now'
	echo "$loop; last=\$now; echo HVX-ROUND \$n; done"
}
