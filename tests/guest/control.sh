#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The control socket with a real guest: state, stop and go on, reset, events,
# power button, statistics, an end by `quit`; a VMM killed leaves a folder that
# the next command removes.
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run
mkdir -m 700 "$XDG_RUNTIME_DIR"

qmp() { "$hvx" qmp "$@"; }
field() { # NAME COMMAND FIELD: of what it returns
	qmp "$1" "$2" "${4:-{\}}" | sed -n "s/^ *\"$3\": *\"\{0,1\}\([^\",]*\).*/\1/p" | head -n 1
}
status_is() { [ "$(field "$1" query-status status)" = "$2" ]; }

check "the page on commands is up to date" diff <(sed '1,/^<!-- hvx-vmm/d' "$(dirname "$0")/../../docs/control.md" | sed 1d) \
	<("$(dirname "$hvx")/hvx-vmm" --commands)

counter='i=0; while :; do i=$((i + 1)); echo HVX-TICK $i; sleep 0.2; done'
domain tick 256 2 "hvx.run=\"$counter\"" "<memballoon model='virtio'/>"
start tick
wait_for tick 240 '^HVX-TICK 3'
check "it runs" status_is tick running
"$hvx" exec --over ssh tick -- true 2> "$work/exec.err"
check "a guest without a vsock is told apart ($?)" grep -q 'tick has no vsock' "$work/exec.err"
check "it has a name" [ "$(field tick query-name name)" = tick ]
check "two vCPUs" [ "$(qmp tick query-cpus-fast | grep -c '"thread-id"')" -eq 2 ]
threads=$(qmp tick query-cpus-fast | sed -n 's/.*"thread-id": *\([0-9]*\).*/\1/p')
for tid in $threads; do
	check "thread $tid is a vCPU's" grep -q '^vcpu' "/proc/$tid/comm"
done
exits=$(qmp tick query-stats '{"target":"vm"}' | grep -A1 '"exits"' | sed -n 's/.*"value": *\([0-9]*\).*/\1/p')
check "the module counted exits ($exits)" [ "$exits" -gt 1000 ]

qmp tick --events query-status > "$work/events.out" 2> "$work/events.err" &
guest_pid[events]=$!
until [ -s "$work/events.out" ]; do sleep 0.1; done

# While it is stopped, no vCPU runs and nothing is said.
check "stop" qmp tick stop
check "it is paused" status_is tick paused
before=$(wc -c < "$work/tick.out")
exits=$(qmp tick query-stats '{"target":"vm"}' | grep -A1 '"exits"' | sed -n 's/.*"value": *\([0-9]*\).*/\1/p')
sleep 3
check "no exit while it is" [ "$(qmp tick query-stats '{"target":"vm"}' | grep -A1 '"exits"' |
	sed -n 's/.*"value": *\([0-9]*\).*/\1/p')" -eq "$exits" ]
check "no output while it is" [ "$(wc -c < "$work/tick.out")" -eq "$before" ]
check "stop again" qmp tick stop
check "cont" qmp tick cont
last=$(tr -d '\r' < "$work/tick.out" | sed -n 's/^HVX-TICK //p' | tail -n 1)
wait_for tick 60 "^HVX-TICK $((last + 5))\$"
for _ in $(seq 20); do
	qmp tick stop > /dev/null && qmp tick cont > /dev/null || fail "stop and cont in a row"
done
last=$(tr -d '\r' < "$work/tick.out" | sed -n 's/^HVX-TICK //p' | tail -n 1)
wait_for tick 60 "^HVX-TICK $((last + 5))\$"
echo "ok: twenty times in a row"

check "the balloon takes a target" qmp tick balloon '{"value": 201326592}'
for _ in $(seq 100); do
	[ "$(field tick query-balloon actual)" = 201326592 ] && break
	sleep 0.2
done
check "the guest follows it" [ "$(field tick query-balloon actual)" = 201326592 ]
! qmp tick balloon '{"value": 2013265920}' 2> "$work/refused.err"
check "more than it was made with is refused" grep -q 'cannot have more' "$work/refused.err"

# Stopped and reset: it stays so, and boots when it goes on.
check "stop for a reset" qmp tick stop
check "system_reset" qmp tick system_reset
sleep 1
check "it is paused still" status_is tick paused
: > "$work/tick.out"
check "cont after it" qmp tick cont
wait_for tick 240 '^HVX-TICK 2$'

check "quit" qmp tick quit
finish tick 60
check "its status is that of a guest that was stopped ($status)" [ "$status" -eq 70 ]
wait "${guest_pid[events]}"
unset 'guest_pid[events]'
for event in STOP RESUME RESET SHUTDOWN; do
	check "event $event" grep -q "\"$event\"" "$work/events.out"
done
check "and why" grep -q 'host-qmp-quit' "$work/events.out"
check "its folder is gone" [ ! -e "$XDG_RUNTIME_DIR/hvx/tick" ]

# kill -9 leaves the folder; the next command says that there is none, and removes it.
domain killed 128 1 'hvx.run="echo HVX-UP; sleep 1000"'
start killed
wait_for killed 240 '^HVX-UP'
vmm=$(cat "$XDG_RUNTIME_DIR/hvx/killed/pid")
kill -9 "${guest_pid[killed]}" "$vmm"
wait "${guest_pid[killed]}" 2> /dev/null
unset 'guest_pid[killed]'
check "a folder is left" [ -S "$XDG_RUNTIME_DIR/hvx/killed/control.sock" ]
for _ in $(seq 100); do
	[ -d "/proc/$vmm" ] || break
	sleep 0.1
done
qmp killed query-status 2> "$work/none.err"
check "no such guest" grep -q 'no running guest' "$work/none.err"
check "the folder is gone" [ ! -e "$XDG_RUNTIME_DIR/hvx/killed" ]

# Preserved after its power-off: it answers, does not go on, and can start anew.
domain off 128 1 'hvx.exit=poweroff hvx.run="sleep 1"'
sed -i 's,<on_poweroff>destroy,<on_poweroff>preserve,' "$work/off.xml"
start off
wait_for off 240 '^HVX-GUEST-DONE'
for _ in $(seq 300); do
	status_is off shutdown && break
	sleep 0.1
done
check "it is preserved" status_is off shutdown
qmp off cont 2> "$work/cont.err"
check "it cannot go on" grep -q 'system_reset starts it anew' "$work/cont.err"
: > "$work/off.out"
check "system_reset" qmp off system_reset
wait_for off 240 '^HVX-GUEST-DONE'
check "quit" qmp off quit
finish off 60
