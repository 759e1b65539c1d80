#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Eight vCPUs on two CPUs under a parallel load for a minute of guest time: no
# lost wake-up, no soft lockup, no clock that jumps.
# limit: 900

. "$(dirname "$0")/lib.sh"

# Each worker computes, passes bytes through pipes (wake-ups between vCPUs) and
# sleeps (timers) until the minute is over, then says how often it went round. A
# lost wake-up would keep it from saying so. A watcher reads the monotonic clock
# from one CPU after the other: it must never go back.
cat > "$work/load" <<'END'
now() { read -r t _ < /proc/uptime; echo ${t%.*}${t#*.}; }
echo HVX-CPUS $(nproc)
echo HVX-BEGIN $(now) $(date +%s)
end=$(($(now) + 6000))
for i in 0 1 2 3 4 5 6 7; do
	(n=0; while [ $(now) -lt $end ]; do
		x=$(dd if=/dev/zero bs=4k count=64 2>/dev/null | cat | cat | wc -c)
		[ $x = 262144 ] || echo HVX-BAD pipe $x
		usleep 1000
		n=$((n + 1))
	done; echo HVX-WORKER $i $n) &
done
(last=0; n=0; while [ $(now) -lt $end ]; do
	for i in 0 1 2 3 4 5 6 7; do
		t=$(taskset -c $i cat /proc/uptime); t=${t%% *}; t=${t%.*}${t#*.}
		[ $t -ge $last ] || echo HVX-BAD clock went back from $last to $t on CPU $i
		last=$t; n=$((n + 1))
	done
done; echo HVX-WATCHER $n) &
wait
echo HVX-END $(now) $(date +%s)
grep -E 'LOC|RES|CAL' /proc/interrupts
cat /sys/devices/system/clocksource/clocksource0/current_clocksource
END
# The script reaches the guest as a disk.
truncate -s 64K "$work/load"
domain smp 512 8 'hvx.exit=debug hvx.run="tr -d \\000 < /dev/vda > /tmp/load; sh /tmp/load"' \
	"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='$work/load'/><target dev='vda' bus='virtio'/><readonly/></disk>"

# Host times (hundredths of a second since boot, seconds since the epoch) between
# which the console showed a line: the last look that did not see it, and the
# first that did.
host_now() { local t; read -r t _ < /proc/uptime; echo "${t%.*}${t#*.} $(date +%s)"; }
see() { # SECONDS REGEX
	local stop=$((SECONDS + $1))

	after=$(host_now)
	until before=$after; after=$(host_now); shown smp "$2"; do
		kill -0 "${guest_pid[smp]}" 2> /dev/null || fail "it ended before it showed: $2"
		[ $SECONDS -lt $stop ] || fail "it did not show in $1 s: $2"
		sleep 0.1
	done
	after=$(host_now)
}

start smp
see 600 '^HVX-BEGIN .*[0-9]$'
begin_before=$before begin_after=$after
see 900 '^HVX-END .*[0-9]$'
end_before=$before end_after=$after
finish smp 120

field() { tr -d '\r' < "$work/smp.out" | sed -n "s/^$1 \([0-9]*\) \([0-9]*\).*/\\$2/p"; }
guest_took=$(($(field HVX-END 1) - $(field HVX-BEGIN 1)))
least=$((${end_before% *} - ${begin_after% *}))
most=$((${end_after% *} - ${begin_before% *}))
date=$(field HVX-END 2)
echo "guest: $guest_took hundredths of a second, host: $least to $most;" \
	"time of day $date, host: ${end_before#* } to ${end_after#* }"

check "the guest has eight CPUs" shown smp '^HVX-CPUS 8'
check "all eight workers finished" [ "$(grep -c '^HVX-WORKER [0-7] [1-9]' "$work/smp.out")" -eq 8 ]
check "the watcher finished" shown smp '^HVX-WATCHER [1-9]'
check "no clock went back, no byte was lost" [ "$(grep -c '^HVX-BAD' "$work/smp.out")" -eq 0 ]
# A line takes a while from the guest's clock to its console: 2 s is far above
# that and far below what a lost clock would show.
check "guest and host clocks ran alike" \
	[ $guest_took -ge $((least - 200)) ]
check "and not faster" [ $guest_took -le $((most + 200)) ]
check "the time of day is the host's" [ "$date" -ge $((${end_before#* } - 2)) ]
check "and not ahead" [ "$date" -le $((${end_after#* } + 2)) ]
check "the kernel has no complaints" no_complaints smp
check "the guest ended well ($status)" [ "$status" -eq 1 ]
