#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The suite with AddressSanitizer and UndefinedBehaviorSanitizer in the extension, UBSan also in PID 1.
#
#   scripts/test_asan.sh [PYTEST ARGUMENT...]     without any: what runs C, tests/core and tests/sandbox
#
# PID 1 itself, which has no libc, is under ASan where it is fuzzed (make fuzz).
# Clones without shared memory: ASan takes the child's exit for an unfinished function.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${VENV:-.venv}/bin/python
(($#)) || set -- tests/core tests/sandbox
site=build/sanitize/site

rm -rf build/sanitize
PYCONTAIN_SANITIZE=address,undefined "$python" -m pip install -q --no-build-isolation --no-deps \
	--target "$site" . </dev/null

preload=$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)
options=detect_leaks=0:quarantine_size_mb=8:allocator_may_return_null=1:abort_on_error=1:handle_segv=0
# -P: the module in the work tree is the one without sanitizers. --capture=sys: a report goes to the
# descriptor, and the abort that follows would take what pytest holds back with it.
exec env PYTHONPATH="$site" PYTHONMALLOC=malloc LD_PRELOAD="$preload" ASAN_OPTIONS="$options" \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYCONTAIN_CLONE=fork \
	"$python" -P -m pytest -p no:cacheprovider --capture=sys "$@"
