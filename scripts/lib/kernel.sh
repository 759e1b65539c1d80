# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Finding kernels: which one the nested host boots, and what it is called.

hvx_cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/hvx

# The release of a bzImage, from its setup header: the 16-bit offset at 0x20e,
# plus 0x200, points at the version string (Linux boot protocol 2.00).
kernel_release() {
	local offset

	[ "$(dd if="$1" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ] || return 1
	offset=$(od -An -tu2 -j 526 -N 2 "$1") || return 1
	dd if="$1" bs=1 skip=$((offset + 512)) count=100 2>/dev/null |
		tr '\0' '\n' | sed -n '1s/ .*//p'
}

# The newest installed kernel with modules, preferring one that a module can be
# built for.
newest_kernel() {
	local file release fallback=''

	while read -r file; do
		release=${file#/boot/vmlinuz-}
		[ -r "$file" ] && [ -d "/lib/modules/$release/kernel" ] || continue
		if [ -e "/lib/modules/$release/build/Makefile" ]; then
			echo "$file"
			return
		fi
		[ -n "$fallback" ] || fallback=$file
	done < <(printf '%s\n' /boot/vmlinuz-* | sort -rV)
	[ -n "$fallback" ] && echo "$fallback"
}

# module_files RELEASE MODULE-DIR NAME...: the files of these modules and of
# what they need, in the order to insert them in. A module that the kernel does
# not have is built in, or missed at boot.
module_files() {
	local release=$1 moddir=$2 tree name

	shift 2
	# modprobe looks below DIR/lib/modules/RELEASE only.
	tree=$(mktemp -d "${TMPDIR:-/tmp}/hvx-modules.XXXXXX") || return
	mkdir -p "$tree/lib/modules"
	ln -s "$moddir" "$tree/lib/modules/$release"
	for name; do
		PATH=$PATH:/usr/sbin:/sbin modprobe -d "$tree" -S "$release" --show-depends "$name" 2>/dev/null
	done | sed -n "s,^insmod $tree/lib/modules/$release/\\([^ ]*\\).*,$moddir/\\1,p" | awk '!seen[$0]++'
	rm -rf "$tree"
}
