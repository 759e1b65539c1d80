# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# A part of this machine's root as a disk image, for a nested host that shares
# no folders: programs with their libraries, at the paths that they have here.

# What scripts take for granted. Whatever else busybox has joins in.
tree_programs=(bash awk basename cat chmod cmp cp cut date dd dirname dmesg env find grep
	head kill ln ls mkdir mkfifo mktemp modprobe insmod rmmod lsmod mount mv nproc od
	printf ps pwd readlink realpath rm sed seq setsid sh sleep sort stat stty sync tail
	tar tee timeout touch tr true false truncate uname uniq wc xargs taskset)

tree_begin() { # DIRECTORY
	local dir name path

	tree=$1
	mkdir -p "$tree"/{dev,proc,sys,run,tmp,root,etc,var/tmp,usr}
	# The links of a merged /usr, where this machine has them.
	for dir in bin sbin lib lib64 lib32; do
		if [ -L "/$dir" ]; then
			mkdir -p "$tree/usr/$dir"
			ln -s "usr/$dir" "$tree/$dir"
		else
			mkdir -p "$tree/$dir"
		fi
	done
	cp /etc/passwd /etc/group /etc/nsswitch.conf "$tree/etc/" 2>/dev/null
	for name in "${tree_programs[@]}"; do
		path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name") || continue
		case $path in
		/*) tree_file "$path" ;;
		*) path=$(type -P "$name") && tree_file "$path" ;;
		esac
	done
	tree_file "$(type -P busybox)"
	for name in $(busybox --list); do
		[ -e "$tree/usr/bin/$name" ] || [ -e "$tree/usr/sbin/$name" ] ||
			[ -e "$tree/bin/$name" ] || [ -e "$tree/sbin/$name" ] ||
			ln -s "$(type -P busybox)" "$tree/usr/bin/$name"
	done
	tree_libraries
}

tree_file() { # PATH
	[ -r "$1" ] || return 1
	[ ! -e "$tree$1" ] || return 0
	mkdir -p "$tree$(dirname "$1")" && cp -Lp "$1" "$tree$1"
	tree_new+=("$1")
}

# The libraries of all programs added since the last call.
tree_libraries() {
	local lib

	while read -r lib; do
		tree_file "$lib"
	done < <(for lib in "${tree_new[@]}"; do
		# Neither scripts nor kernel modules are for the dynamic linker.
		case $lib in *.ko | *.sh | *.c | *.h) continue ;; esac
		[ -x "$lib" ] && ldd "$lib" 2>/dev/null
	done | grep -o '/[^ ]*' | sort -u)
	tree_new=()
}

# tree_add PATH: a file or a directory with everything below.
tree_add() {
	local path

	path=$(realpath -s "$1")
	if [ -d "$path" ]; then
		while read -r path; do
			tree_file "$path"
		done < <(find "$path" -type f)
	else
		tree_file "$path" || return 1
	fi
	tree_libraries
}

# What the command and its arguments name, words within them too: sh -c '...'.
tree_arguments() {
	local word path words

	IFS=$' \t\n;&|()<>' read -rd '' -a words <<< "$*"
	for word in "${words[@]}"; do
		if path=$(type -P -- "$word" || { [ -f "$word" ] && echo "$word"; }); then
			tree_file "$(realpath -s "$path")"
		fi
	done
	tree_libraries
}

# tree_modules NAME...: kernel modules with what they need, of $release.
tree_modules() {
	local dest=$tree/lib/modules/$release file

	mkdir -p "$dest"
	cp "$moddir"/modules.{order,builtin,builtin.modinfo} "$dest/"
	module_files "$release" "$moddir" "$@" | while read -r file; do
		mkdir -p "$(dirname "$dest/${file#"$moddir"/}")"
		cp "$file" "$dest/${file#"$moddir"/}"
	done
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$tree" "$release"
}

tree_image() { # FILE: a little larger than its content, in whole cylinders
	local size

	size=$(du -sk --apparent-size "$tree" | cut -f1)
	size=$(((size * 5 / 4 + 131072) * 1024 / 516096 * 516096))
	truncate -s "$size" "$1"
	PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -O ^has_journal -m 0 -E lazy_itable_init=1,root_owner=0:0 -d "$tree" "$1" ||
		die "mke2fs failed"
	rm -rf "$tree"
}
