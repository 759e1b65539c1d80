# SPDX-License-Identifier: GPL-2.0-only
# bash completion for hvx(1)

_hvx_files() { # glob of names, all if empty
	local f
	compopt -o filenames 2> /dev/null
	while IFS= read -r f; do
		# shellcheck disable=SC2053 # a glob is meant
		[[ -d $f || -z $1 || $f == $1 ]] && COMPREPLY+=("$f")
	done < <(compgen -f -- "$cur")
}

_hvx() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verbs='run validate host qmp help version' opts=''

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$verbs --help --version" -- "$cur")
		return
	fi
	case ${COMP_WORDS[1]} in
	run) opts='--detach --escape --name --verbose --help' ;;
	validate) opts='--quiet --help' ;;
	host) opts='--json --help' ;;
	qmp) opts='--events --help' ;;
	help) opts=$verbs ;;
	esac
	case ${COMP_WORDS[1]}/$prev in
	run/--escape | run/-e)
		mapfile -t COMPREPLY < <(compgen -W '^] ^a ^b none' -- "$cur")
		return
		;;
	run/--name | run/-n) return ;;
	esac
	case ${COMP_WORDS[1]}/$cur in
	run/-* | validate/-* | qmp/-* | host/* | help/*)
		mapfile -t COMPREPLY < <(compgen -W "$opts" -- "$cur")
		;;
	run/* | validate/*) _hvx_files '*.xml' ;;
	esac
}

complete -F _hvx hvx
