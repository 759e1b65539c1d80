# SPDX-License-Identifier: GPL-2.0-only
# bash completion for hvx(1), which knows its own verbs, options and guests

_hvx() {
	local cur=${COMP_WORDS[COMP_CWORD]} line

	COMPREPLY=()
	while IFS= read -r line; do
		if [[ $line == :files ]]; then
			compopt -o filenames 2> /dev/null
			while IFS= read -r line; do
				[[ -d $line || $line != *.* || $line == *.xml ]] && COMPREPLY+=("$line")
			done < <(compgen -f -- "$cur")
		else
			COMPREPLY+=("${line%%$'\t'*}")
		fi
	done < <("${COMP_WORDS[0]}" complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null)
}

complete -F _hvx hvx
