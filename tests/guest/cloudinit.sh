#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What `hvx image build --user-data` makes: cloud-init finds its NoCloud seed, does what
# that says, and has no complaints; the key of --ssh-key is root's.
# image: cloud-image
# bench: named
# limit: 900

. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state TMPDIR=$work/tmp
mkdir -m 700 "$XDG_RUNTIME_DIR" "$TMPDIR"

ask='cloud-init status --wait > /dev/null; cloud-init status; hostname; cat /etc/seeded /etc/ran
	systemctl is-system-running --wait; ls /etc/ssh | grep -c "^ssh_host_.*key$"; cat /root/.ssh/authorized_keys'
"$hvx" run --rm --boot-timeout 800 "$HVX_GUEST_CLOUD_IMAGE/image.xml" -- sh -c "$ask" \
	> "$work/told.out" 2> "$work/told.err" < /dev/null
status=$?
mapfile -t told < "$work/told.out"
check "it runs ($status)" [ $status -eq 0 ]
i=0
for want in 'status: done' seeded 'by cloud-init' ran running; do
	check "it says: $want (${told[i]:-nothing})" [ "${told[i]:-}" = "$want" ]
	i=$((i + 1))
done
check "it has the two kinds of keys that hvx-identity makes (${told[i]:-})" [ "${told[i]:-0}" -eq 2 ]
check "and lets the one in" grep -qxF "$(cat "$HVX_GUEST_CLOUD_IMAGE/key.pub")" "$work/told.out"
