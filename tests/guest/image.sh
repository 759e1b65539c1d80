#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What `hvx image build` makes, and a clone of it, each of which is a guest of its own:
# commands, files, addresses. Snapshots with its file systems frozen by qemu-guest-agent,
# with hooks, and with a guest that dies meanwhile.
# image: image
# bench: named
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run HVX_CONFIG_DIR=$work/etc HVX_STATE_DIR=$work/lib XDG_STATE_HOME=$work/state TMPDIR=$work/tmp
mkdir -m 700 "$work/run" "$work/tmp"
dying=''
trap '{ kill -9 $dying; for name in $("$hvx" list --name); do "$hvx" destroy "$name"; done; } > /dev/null 2>&1; cleanup' EXIT

run() { # command in the guest: output in $out, status in $status
	out=$("$hvx" exec image -n --timeout 120 -- "$@" 2>&1)
	status=$?
}

dd if=/dev/l1/image of="$work/image.img" bs=1M conv=sparse status=none || fail "no image"
sed "s,$HVX_GUEST_IMAGE/image.img,$work/image.img," "$HVX_GUEST_IMAGE/image.xml" > "$work/image.xml"
check "its XML is one" "$hvx" define "$work/image.xml"
check "it can be cloned" "$hvx" clone image other
"$hvx" dumpxml other > "$work/other.xml"

identity='hostname; cat /etc/machine-id; sha256sum < /etc/ssh/ssh_host_ed25519_key.pub'
"$hvx" start image > /dev/null || fail "start"
"$hvx" run --rm --boot-timeout 600 "$work/other.xml" -- sh -c "$identity; ls -l /proc/sys/kernel/hostname; exit 9" \
	> "$work/other.id" 2> "$work/other.err" < /dev/null &
other=$!
"$hvx" wait --agent --timeout 600 image || fail "its agent does not answer"
echo "# agent after $SECONDS s"
wait $other
status=$?
check "a clone runs one command ($status)" [ $status -eq 9 ]
echo "# the clone's end after $SECONDS s"

run sh -c 'exit 7'
check "a command's status ($status)" [ $status -eq 7 ]
run sh -c "$identity"
mapfile -t own <<< "$out"
mapfile -t its < "$work/other.id"
check "its name ($out)" [ "${own[0]}" = image ]
check "a clone has another name (${its[0]})" grep -Eqx 'image-[0-9a-f]{8}' <<< "${its[0]}"
check "another machine-id (${its[1]})" [ "${#own[1]}" -eq 32 -a "${#its[1]}" -eq 32 -a "${own[1]}" != "${its[1]}" ]
check "and other keys" [ "${#own[2]}" -gt 60 -a "${#its[2]}" -gt 60 -a "${own[2]}" != "${its[2]}" ]
run systemctl is-system-running --wait
check "all units are well ($out)" [ "$out" = running ]
head -c 100000 /dev/urandom > "$work/file"
check "a file goes in" "$hvx" cp "$work/file" image:/root/file
check "and comes out" "$hvx" cp image:/root/file "$work/back"
check "as it was" cmp "$work/file" "$work/back"
check "its address" grep -q '10\.0\.2\.15/24' <("$hvx" domifaddr image)
echo "# $SECONDS s"

# The hook of Debian's package runs those in fsfreeze-hook.d.
cat > "$work/hook" <<-'HOOK'
	#!/bin/sh
	echo "$1" >> /run/hooks
	[ "$1" != freeze ] || [ ! -e /run/refuse ]
HOOK
chmod 755 "$work/hook"
check "a hook goes in" "$hvx" cp "$work/hook" image:/etc/qemu/fsfreeze-hook.d/test
names() { "$hvx" snapshot-list --names image 2> /dev/null | tr '\n' ' '; }
snap() { "$hvx" snapshot-create-as --disk-only --quiesce image "$1" > /dev/null 2> "$work/snap.err"; }
writes() { # what the guest writes gets to its disk
	run sh -c 'echo more > /root/more && sync /root/more'
	[ $status -eq 0 ]
}
run sh -c 'echo not synced > /root/unsynced'
snap quiet || fail "no snapshot: $(cat "$work/snap.err")"
run cat /run/hooks
check "hooks ran ($out)" [ "$out" = $'freeze\nthaw' ]
check "it writes again" writes
check "its file system was clean" [ "$(dumpe2fs -h "$work/image.img" 2> /dev/null | grep -c needs_recovery)" -eq 0 ]
check "and whole" e2fsck -fn "$work/image.img"
out=$(debugfs -R 'cat /root/unsynced' "$work/image.img" 2> /dev/null)
check "what it had not synced is in it ($out)" [ "$out" = 'not synced' ]

# It passes over how they end; the agent does not, of its own hook.
check "a hook of the agent's own" "$hvx" cp "$work/hook" image:/etc/qemu/fsfreeze-hook
run touch /run/refuse
snap refused
check "where a hook fails there is none ($?, $(cat "$work/snap.err"))" grep -q 'cannot be frozen' "$work/snap.err"
check "none at all" [ "$(names)" = 'quiet ' ]
check "it writes" writes
run sh -c 'rm /run/refuse /run/hooks'

HVX_TEST_KILL_AT=quiesced "$hvx" snapshot-create-as --disk-only --quiesce image killed > /dev/null 2>&1
check "a command is killed while they are frozen ($?)" [ "$(names)" = 'quiet ' ]
check "it writes again" writes
run cat /run/hooks
check "thawed by the one that is left" grep -q thaw <<< "$out"

# It powers off as soon as a process of its own waits for the frozen file system; they stay frozen until then.
"$hvx" snapshot-create-as image before > /dev/null || fail "no snapshot with its memory"
cat > "$work/die" <<-'DIE'
	#!/bin/sh
	while :; do
		echo x > /root/probe &
		sleep 0.1
		case $(cat /proc/$!/wchan 2> /dev/null) in
		percpu_rwsem_wait) echo o > /proc/sysrq-trigger ;;
		esac
	done
DIE
"$hvx" cp "$work/die" image:/run/die || fail "cp"
run systemd-run --quiet sh /run/die
check "it runs what ends it ($out)" [ $status -eq 0 ]
HVX_TEST_STOP_AT=quiesced "$hvx" snapshot-create-as --disk-only --quiesce image dying > /dev/null 2> "$work/snap.err" &
dying=$!
end=$((SECONDS + 120))
until grep -q '^State:.T' /proc/$dying/status; do
	[ $SECONDS -lt $end ] || fail "no snapshot gets as far as frozen file systems"
	sleep 0.1
done
check "it dies while they are frozen" "$hvx" wait --off --timeout 120 image
kill -CONT $dying
wait $dying
status=$? dying=
check "the snapshot fails ($status)" [ $status -eq 65 ]
check "and says why ($(cat "$work/snap.err"))" [ -s "$work/snap.err" ]
check "there is none of it ($(names))" [ "$(names)" = 'quiet before ' ]
for _ in $(seq 300); do
	pgrep -x hvx > /dev/null || break
	sleep 0.1
done
check "nobody waits for it" [ -z "$(pgrep -x hvx)" ]

check "it goes back to before" "$hvx" snapshot-revert image before
check "and writes" writes
check "its agent is asked to shut down" "$hvx" shutdown --mode agent image
check "it does" "$hvx" wait --off --timeout 300 image
echo "# $SECONDS s"
