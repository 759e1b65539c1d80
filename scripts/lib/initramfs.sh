# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Small initramfs archives of busybox, some modules and a script.

PATH=$PATH:/usr/sbin:/sbin

busybox=
for initramfs_file in /bin/busybox /usr/bin/busybox; do
	[ -x "$initramfs_file" ] && busybox=$initramfs_file && break
done
[ -n "$busybox" ] || { echo "busybox-static is missing: run scripts/setup" >&2; exit 1; }

initramfs_begin() {
	mkdir -p "$hvx_cache"
	initramfs_tmp=$(mktemp -d "${TMPDIR:-/tmp}/hvx-initramfs.XXXXXX")
	trap 'rm -rf "$initramfs_tmp"' EXIT
	initramfs_root=$initramfs_tmp/root
	mkdir -p "$initramfs_root"/{bin,dev,lib/modules,proc,sys,run,tmp,root}
	cp "$busybox" "$initramfs_root/bin/busybox"
	ln -s busybox "$initramfs_root/bin/sh"
}

# initramfs_modules RELEASE MODULE-DIR NAME...: the modules with what they
# need, uncompressed, and /lib/modules/load with the order to insert them in.
initramfs_modules() {
	local file base

	module_files "$@" |
	while read -r file; do
		base=${file##*/}
		case $base in
		*.ko.xz) base=${base%.xz}; xz -dc "$file" > "$initramfs_root/lib/modules/$base" ;;
		*.ko.zst) base=${base%.zst}; zstd -qdc "$file" > "$initramfs_root/lib/modules/$base" ;;
		*.ko.gz) base=${base%.gz}; gzip -dc "$file" > "$initramfs_root/lib/modules/$base" ;;
		*) cp "$file" "$initramfs_root/lib/modules/$base" ;;
		esac
		echo "$base" >> "$initramfs_root/lib/modules/load"
	done
}

initramfs_end() { # OUTPUT
	local tmp=$1.$$

	chmod 755 "$initramfs_root/init"
	(cd "$initramfs_root" && find . | LC_ALL=C sort |
		cpio --quiet -o -H newc -R 0:0) | gzip -1 > "$tmp"
	mv "$tmp" "$1"
}
