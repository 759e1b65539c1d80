#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A stock Debian kernel with an initramfs reaches init, with one and with two
# vCPUs: what the slower bench runs of the whole guests.
# bench: bochs
# limit: 1800

. "$(dirname "$0")/lib.sh"

# apic: those of one by memory, which is its own way where VT-x virtualises it; HVX_BOOT_APIC: of both.
for cpus in 1 2; do
	apic=${HVX_BOOT_APIC-}
	[ "$cpus" -ne 1 ] || apic=nox2apic
	# The kernel's tests of its own ciphers would be the larger part of the boot.
	domain cpu$cpus 256 $cpus "cryptomgr.notests $apic hvx.exit=debug hvx.run=\"nproc; uname -r; dmesg | grep -i x2apic; exit 20\""
	boot cpu$cpus 900
	check "the guest reaches init, $cpus vCPU(s)" shown cpu$cpus '^HVX-GUEST-INIT'
	check "it has its CPUs" shown cpu$cpus "^$cpus\$"
	check "it is the kernel that was given" shown cpu$cpus "^${kernel##*/vmlinuz-}\$"
	check "its command ran" shown cpu$cpus '^HVX-GUEST-DONE status=20'
	check "the debug-exit value is the status ($status)" [ "$status" -eq 41 ]
	check "the kernel has no complaints" no_complaints cpu$cpus
done
