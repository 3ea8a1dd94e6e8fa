# SPDX-License-Identifier: Apache-2.0
"""Check runtimes here and in a machine with cgroup v2 alone, and write docs/conformance.md.

    PYTHONPATH=scripts python -m conformance [--machine here|v2]... [--kernel K] [--output FILE]

A machine that was not asked for keeps what its last run said (build/conformance/rows.json).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from conformance import report
from machine import boot, kernels
from machine.shell import UnavailableError

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "build/conformance"
ROWS = FOLDER / "rows.json"
MACHINES = ("here", "v2")
OURS = Path(sys.executable).with_name(report.OURS)
# Another hierarchy is what differs there, and programs start ten times as slowly.
AREAS_OF_V2 = ("cgroups", "exec")
# On a hybrid machine crun refuses to run beside a v2 hierarchy that has controllers.
HIDE_V2 = "umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "


def _command(runtimes: dict[str, str], areas: tuple[str, ...] = ()) -> list[str]:
    words = [f"{name}={command}" for name, command in runtimes.items()]
    return [sys.executable, "-B", "-m", "conformance.guest", *words, *areas]


def _parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    return known


def run_here() -> tuple[str, list[dict[str, Any]]]:
    """Return the kernel's version and what the checks said, in mount namespaces of their own."""
    private = ["unshare", "--mount", "--propagation", "private", "--"]
    crun = _command({"crun": f"{shutil.which('crun')} --cgroup-manager=cgroupfs"})
    rows = []
    for command in (
        _command({report.OURS: str(OURS)}),
        ["sh", "-c", HIDE_V2 + shlex.join(crun)],
        _command({"runc": str(shutil.which("runc"))}),
    ):
        done = subprocess.run(
            [*private, *command],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        rows += _parsed(done.stdout)
    return os.uname().release, rows


def run_v2(kernel: str) -> tuple[str, list[dict[str, Any]]]:
    """The same in a machine, for AREAS_OF_V2."""
    runtimes = {
        report.OURS: str(OURS),
        "crun": "/usr/bin/crun --cgroup-manager=cgroupfs",
        "runc": "/usr/sbin/runc",
    }
    command = _command(runtimes, AREAS_OF_V2)
    env = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY / "scripts")}
    with boot.equip(kernel) as equipment, boot.Machine(equipment, "bare", command, env) as machine:
        machine.wait()
        rows = _parsed(machine.said("output"))
        if not rows:
            print(machine.said("console")[-2000:], file=sys.stderr)
        return equipment.kernel.version, rows


def main() -> int:
    """Run the command line; 1 if ours does not pass everywhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--machine", action="append", choices=MACHINES)
    parser.add_argument("--kernel", default=kernels.DEFAULT, help=", ".join(kernels.SUITES))
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs/conformance.md")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("conformance: it needs root")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in options.machine or MACHINES:
        print(f"conformance: {name}", file=sys.stderr, flush=True)
        try:
            kernel, rows = run_here() if name == "here" else run_v2(options.kernel)
        except UnavailableError as error:
            print(f"conformance: {name}: {error}", file=sys.stderr)
            continue
        known = _known() | {name: {"kernel": kernel, "rows": rows}}
        ROWS.write_text(json.dumps(known, indent=1) + "\n")
    known = _known()
    ordered = {name: known[name] for name in MACHINES if name in known}
    options.output.write_text(report.page(ordered), encoding="utf-8")
    failed = [report.counts(said["rows"], report.OURS)[1] for said in ordered.values()]
    return 1 if any(failed) else 0


if __name__ == "__main__":
    sys.exit(main())
