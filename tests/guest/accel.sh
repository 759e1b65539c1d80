#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The same guests on the same machine, run by KVM: hvx run --accel kvm.
# bench: named
# limit: 900

here=$(dirname "$0")
vendor=kvm_amd
grep -qw svm /proc/cpuinfo || vendor=kvm_intel
if ! modprobe "$vendor" 2> /dev/null; then
	echo "no module $vendor here"
	exit 77
fi
export HVX_ACCEL=kvm
status=0
for test in initramfs debian; do
	"$here/$test.sh" || { echo "FAILED: $test.sh with --accel kvm"; status=1; }
done
rmmod "$vendor"
exit $status
