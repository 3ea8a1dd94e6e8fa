# SPDX-License-Identifier: Apache-2.0
"""Run the checks with a runtime, here, and print what came of each as JSON.

python -m conformance.guest NAME=COMMAND... [AREA...]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.box import Runtime, box, build_probe
from conformance.check import Check, perform
from conformance.checks import CHECKS
from conformance.host import lacks


def outcome(check: Check, runtime: Runtime, probe: Path) -> str:
    """Return "" if a check passes, "-" and why if it cannot be made here, else why it failed."""
    if reason := next(filter(None, map(lacks, check.needs)), ""):
        return f"-{reason}"
    try:
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            Path(folder).chmod(0o755)
            with box(runtime, Path(folder), probe) as made:
                return perform(check, made)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def main(*words: str) -> int:
    """Print a line for each check and runtime as soon as it is known."""
    runtimes = [word for word in words if "=" in word]
    areas = [word for word in words if "=" not in word]
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        probe = build_probe(Path(folder))
        for word in runtimes:
            name, _, command = word.partition("=")
            runtime = Runtime(name=name, command=tuple(command.split()))
            print(json.dumps({"runtime": name, "version": runtime.version}), flush=True)
            for check in CHECKS:
                if not areas or check.area in areas:
                    row = {"runtime": name, "area": check.area, "check": check.name}
                    row["outcome"] = outcome(check, runtime, probe)
                    print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
