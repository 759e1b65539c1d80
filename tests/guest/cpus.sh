#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# More vCPUs than fit into one word of a logical destination of xAPIC mode: all of
# them come up, in x2APIC mode, get their timers, and answer each other's IPIs. HVX_CPUS: so many (16).
# limit: 900

. "$(dirname "$0")/lib.sh"

cpus=${HVX_CPUS:-16}
# A program put on each CPU in turn; then all of them at once, with pipes between them.
run="n=0; i=0; while taskset -c \$i true; do set -- \$(taskset -c \$i cat /proc/self/stat); [ \${39} = \$i ] && n=\$((n + 1)); i=\$((i + 1)); done 2> /dev/null"
run+='; echo HVX-CPUS $(nproc) each $n'
run+='; for i in $(seq $(nproc)); do (head -c 100000 /dev/zero | cat | cat | wc -c) & done > /tmp/sums; wait; echo HVX-SUMS $(grep -c ^100000$ /tmp/sums)'
run+='; set -- $(grep LOC: /proc/interrupts); shift; n=0; while [ $1 -gt 0 ]; do n=$((n + 1)); shift; done 2> /dev/null; echo HVX-TIMERS $n'
run+="; echo HVX-APIC \$(dmesg | grep -o 'Switched APIC routing to.*')"
domain cpus 512 "$cpus" "hvx.run=\"$run\""
start cpus
wait_for cpus 1500 '^HVX-GUEST-DONE'
finish cpus 200
line() { tr -d '\r' < "$work/cpus.out" | sed -n "s/^$1 //p"; }
check "each of $cpus CPUs runs what is put on it ($(line HVX-CPUS))" [ "$(line HVX-CPUS)" = "$cpus each $cpus" ]
check "all at once ($(line HVX-SUMS))" [ "$(line HVX-SUMS)" = "$cpus" ]
check "each has had its timer ($(line HVX-TIMERS))" [ "$(line HVX-TIMERS)" = "$cpus" ]
check "in x2APIC mode ($(line HVX-APIC))" grep -q x2apic <<< "$(line HVX-APIC)"
check "its kernel has no complaints" no_complaints cpus
check "it powered off ($status)" [ "$status" -eq 0 ]
echo "# to init: $(line HVX-GUEST-INIT) s, to the end: $(tr -d '\r' < "$work/cpus.out" | sed -n 's/.*uptime=//p') s of guest time"
