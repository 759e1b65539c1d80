#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A stock Debian kernel with an initramfs reaches init, and each way for a guest
# to end has its own exit status.
# limit: 900

. "$(dirname "$0")/lib.sh"

domain debug 256 1 'hvx.exit=debug hvx.run="uname -r; exit 20"'
boot debug 240
check "the guest reaches init" shown debug '^HVX-GUEST-INIT'
check "it is the kernel that was given" shown debug "^${kernel##*/vmlinuz-}\$"
check "its command ran" shown debug '^HVX-GUEST-DONE status=20'
check "the debug-exit value is the status ($status)" [ "$status" -eq 41 ]
check "the kernel has no complaints" no_complaints debug

# It has a CPU by name, and sees that one's flags; the second line is Linux's own.
flags=' fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2
	syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm x2apic hypervisor '
by_linux=' 3dnowprefetch constant_tsc nonstop_tsc rep_good nopl cpuid extd_apicid tsc_known_freq tsc_reliable vmmcall pti '
cpu_mode=custom cpu_model=x86-64-v2 domain off 256 1 'hvx.exit=poweroff hvx.run="grep -m 1 ^flags /proc/cpuinfo"'
boot off 240
check "power-off ends with 0 ($status)" [ "$status" -eq 0 ]
seen=" $(tr -d '\r' < "$work/off.out" | sed -n 's/^flags.*: //p') " missing='' more=''
for flag in $flags; do [[ $seen = *" $flag "* ]] || missing+=" $flag"; done
for flag in $seen; do
	[[ ${flags//[[:space:]]/ } = *" $flag "* || $by_linux = *" $flag "* ]] || more+=" $flag"
done
check "x86-64-v2 has all its flags; missing:$missing" [ -z "$missing" ]
check "and no others; more:$more" [ -z "$more" ]

on_reboot=destroy domain reboot 256 1 'hvx.exit=reboot hvx.run="true"'
boot reboot 240
check "a reboot that is to end the guest ends with 0 ($status)" [ "$status" -eq 0 ]

domain panic 256 1 'hvx.exit=panic hvx.run="true"' "<panic model='isa'/>"
boot panic 240
check "a guest's panic has its status ($status)" [ "$status" -eq $GUEST_PANIC ]

# An IDT without entries, then an exception: a triple fault (SDM vol. 3, 6.15).
# reboot=t makes Linux do just that.
on_reboot=destroy domain triple 256 1 'reboot=t hvx.exit=reboot hvx.run="true"'
boot triple 240
check "a triple fault is told apart ($status)" [ "$status" -eq $GUEST_SHUTDOWN ]
