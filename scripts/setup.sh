#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes everything a target needs: missing Debian packages, the virtual environment, the build in place.
#
#   scripts/setup.sh [test] [clients] [analysis] [vm] [lint] [dist] [bench]     more than what building and the demo need
#
# Without what machines need (vm), their lanes are skipped; all the rest is a must.
# Does nothing when nothing changed. PYTHON chooses the interpreter, VENV the directory.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
packages=scripts/debian-packages.txt

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

quietly() { # COMMAND...: its output matters only if it fails
	local output
	output=$("$@" 2>&1 </dev/null) && return 0
	printf '%s\n' "$output" >&2
	die "failed: $*"
}

python_version() { "$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

absent_packages() { # PURPOSE...: names in the list that dpkg does not know as installed
	local purpose name _
	while read -r purpose name _; do
		[[ " $* " == *" $purpose "* ]] || continue
		[[ $name != *X.Y* ]] || name=${name/X.Y/$(python_version)}
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
	done < <(grep -v '^#' "$packages") | sort -u
}

# The tests start what they need; a service of the machine's own is nothing that they should leave.
without_services() { # COMMAND...
	local policy=/usr/sbin/policy-rc.d made="" status=0 # invoke-rc.d(8)
	if [[ ! -e $policy ]]; then
		made=$policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	"$@" || status=$?
	if [[ -n $made ]]; then
		rm -f "$made"
		trap - EXIT
	fi
	return $status
}

install_packages() {
	command -v dpkg-query >/dev/null || {
		say "not a Debian machine: nothing installed, see $packages for what is needed"
		return 0
	}
	local missing
	mapfile -t missing < <(absent_packages "$@")
	((${#missing[@]})) || return 0
	((EUID == 0)) || die "ask root for: apt-get install ${missing[*]}"
	say "installing Debian packages: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	local install=(apt-get install -qq -y --no-install-recommends "${missing[@]}")
	# A machine that never updated its lists, or long ago, needs that first.
	if ! without_services "${install[@]}" </dev/null >/dev/null 2>&1; then
		quietly apt-get update -qq
		without_services quietly "${install[@]}"
	fi
	if [[ " ${missing[*]} " == *" docker-registry "* && -d /run/systemd/system ]]; then
		systemctl disable --quiet docker-registry.service
	fi
}

is_debian_python() { # absent counts: Debian's is what we would install
	[[ $("$PYTHON" -c 'import sys; print(sys.base_prefix)' 2>/dev/null || echo /usr) == /usr ]]
}

check_python() {
	command -v "$PYTHON" >/dev/null || die "no interpreter '$PYTHON': set PYTHON to a CPython >= 3.11"
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		die "$("$PYTHON" --version) is too old: set PYTHON to a CPython >= 3.11"
}

identity() { "$1" -c 'import sys, sysconfig; print(sys.version, sysconfig.get_config_var("SOABI"), sys.base_prefix)'; }

make_venv() {
	if [[ -x $VENV/bin/python && $(identity "$VENV/bin/python") == "$(identity "$PYTHON")" ]]; then
		return 0
	fi
	say "making $VENV with $("$PYTHON" --version)"
	"$PYTHON" -m venv --clear "$VENV"
	# --group needs pip 25.1.
	quietly "$VENV/bin/python" -m pip install -q --upgrade 'pip>=25.1'
}

# Runs the command unless the stamp says that it ran with the same inputs.
once() { # STAMP INPUTS COMMAND...
	local stamp=$VENV/.done-$1 inputs=$2
	shift 2
	[[ -f $stamp && $(<"$stamp") == "$inputs" ]] && return 0
	"$@"
	printf '%s\n' "$inputs" >"$stamp"
}

pip_group() { quietly "$VENV/bin/python" -m pip install -q --group "$1"; }

build_in_place() {
	say "building"
	quietly "$VENV/bin/python" -m pip install -q --no-build-isolation --no-deps --editable .
	quietly "$VENV/bin/python" -c 'import pycontain'
}

main() {
	local purposes=(base) groups=(build) purpose group inputs
	is_debian_python && purposes+=(python)
	for purpose in "$@"; do
		if [[ $purpose == vm ]]; then
			(install_packages vm) || say "no machines: their lanes will say so"
		else
			purposes+=("$purpose")
			[[ $purpose == analysis || $purpose == clients ]] || groups+=("$purpose")
		fi
	done
	install_packages "${purposes[@]}"
	check_python
	is_debian_python && install_packages "${@/#/python-}"
	make_venv
	for group in "${groups[@]}"; do
		once "group-$group" "$(sha256sum <pyproject.toml)" pip_group "$group"
	done
	inputs=$({
		sha256sum src/*/*.[ch] src/*/*.py setup.py pyproject.toml
		printf '%s\n' "${CC-}" "${PYCONTAIN_WERROR-}" "${PYCONTAIN_SANITIZE-}"
	} | sha256sum)
	if ! [[ -x pycontain/_init && -x pycontain/_layer && -x pycontain/selftest/_probe ]] || ! compgen -G 'pycontain/_nsbind*.so' >/dev/null; then
		rm -f "$VENV/.done-build"
	fi
	once build "$inputs" build_in_place
}

main "$@"
