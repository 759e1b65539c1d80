# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What l1 (QEMU) and l1-bochs share: choosing the kernel, the job that goes in,
# the verdict that comes out. The control directory $ctl carries both: "job" and
# "init" (the second stage, lib/l1-init) go in; "status", "dmesg" and "console"
# come out.

die() { echo "$prog: $*" >&2; exit 125; }

# l1_choose_kernel: completes $kernel, $release and $moddir.
l1_choose_kernel() {
	if [ -z "$kernel" ]; then
		kernel=$(newest_kernel) ||
			die "no readable /boot/vmlinuz-* with modules: run scripts/setup"
	fi
	[ -r "$kernel" ] || die "cannot read kernel $kernel"
	release=$(kernel_release "$kernel") || die "$kernel is not a Linux kernel"
	[ -z "${print_release:-}" ] || { echo "$release"; exit 0; }
	[ -n "$moddir" ] || moddir=/lib/modules/$release
	[ -d "$moddir" ] || die "no modules of $release in $moddir (--modules DIR)"
	moddir=$(cd "$moddir" && pwd)
}

# l1_choose_link DRIVER: completes $l1_link, the number of this host, from $link.
l1_choose_link() {
	l1_link=''
	[ -n "$link" ] || return 0
	case $link in
	listen:?*) l1_link=1 ;;
	connect:?*) l1_link=2 ;;
	*) die "--link wants listen:SOCKET or connect:SOCKET, not $link" ;;
	esac
	l1_nic=$1
}

# l1_mac NUMBER: the address of that host of a link.
l1_mac() { echo "52:54:00:00:09:0$1"; }

# l1_write_job COMMAND...: the job, from $release, $moddir, $shell, ${rw[@]}.
l1_write_job() {
	local dir

	{
		printf 'l1_cwd=%q\n' "$PWD"
		printf 'l1_release=%q\n' "$release"
		printf 'l1_moddir=%q\n' "$moddir"
		printf 'l1_kernel=%q\nl1_initrd=%q\n' "$kernel" "${initramfs:-}"
		printf 'l1_shell=%q\n' "${shell:-}"
		printf 'l1_cpus=%q\n' "${l1_cpus:-}"
		printf 'l1_beat=%q\n' "${l1_beat:-}"
		printf 'l1_link=%q\nl1_nic=%q\nl1_mac=%q\n' "${l1_link:-}" "${l1_nic:-}" "$(l1_mac "${l1_link:-}")"
		printf 'l1_term=%q\n' "${TERM:-dumb}"
		[ -z "${shell:-}" ] || printf 'l1_size=%q\n' "$(stty size 2>/dev/null)"
		printf 'l1_rw=('
		for dir in "${rw[@]}"; do
			dir=$(cd "$dir" && pwd) || die "--rw: no such directory"
			printf '%q ' "$dir"
		done
		printf ')\n'
		printf 'l1_argv=('
		[ $# -eq 0 ] || printf '%q ' "$@"
		printf ')\n'
	} > "$ctl/job"
	cp "$here/lib/l1-init" "$ctl/init" || die "cannot write $ctl"
}

# l1_verdict EMULATOR STATUS: saves the kernel log, then exits with the
# command's status, or says why there is none.
l1_verdict() {
	local status=$2

	if [ -n "$dmesg" ]; then
		if [ -s "$ctl/dmesg" ]; then
			cat "$ctl/dmesg" > "$dmesg"
		else
			cat "$ctl/console" > "$dmesg"
		fi
	fi
	if [ -s "$ctl/status" ]; then
		read -r status < "$ctl/status"
		exit "$status"
	fi

	if [ -s "$ctl/stuck" ]; then
		echo "$prog: $(cat "$ctl/stuck")" >&2
		status=126
	elif [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		echo "$prog: the time limit of $timeout s ran out" >&2
		status=124
	elif [ "$status" -eq 139 ] || [ "$status" -eq 134 ]; then
		echo "$prog: $1 itself crashed (signal $((status - 128)))" >&2
		status=126
	elif grep -aq 'Kernel panic' "$ctl/console" 2>/dev/null; then
		echo "$prog: the nested kernel panicked" >&2
		status=125
	else
		echo "$prog: the nested host ended without a result ($1: status $status)" >&2
		status=125
	fi
	if [ -s "$ctl/console" ]; then
		echo "$prog: the end of its console:" >&2
		tail -n 100 "$ctl/console" >&2
	fi
	exit "$status"
}
