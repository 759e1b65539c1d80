# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Packages of any release of Debian, without a trace in the system's own lists.
# Wants kernel.sh, for the cache.

mirror=${HVX_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_in SUITE COMMAND...: apt-get or apt-cache on that suite alone.
apt_in() {
	local dir=$hvx_cache/apt-$1 command=$2 base=${1%-*} url=$mirror

	shift 2
	[ "${dir##*-}" != security ] || url=$mirror-security
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	{
		echo "deb [signed-by=$keyring] $url ${dir##*/apt-} main"
		# The libraries of the build tools.
		[ "${dir##*-}" != backports ] || echo "deb [signed-by=$keyring] $mirror $base main"
	} > "$dir/sources.list"
	"$command" -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o "Dir::State::lists=$dir/lists" -o Dir::State::status=/dev/null -o "Dir::Cache=$dir/cache" \
		-o Acquire::Languages=none -o APT::Architecture=amd64 -o APT::Sandbox::User= "$@"
}
