# SPDX-License-Identifier: Apache-2.0
"""Run images on kernels, as root and as an ordinary user, and write docs/portability.md.

    PYTHONPATH=scripts python -m portability [--kernel KERNEL]... [--image IMAGE]... [--output FILE]

`here` is this machine's own kernel; the others are those of scripts/machine/kernels.py, each booted
once. Rows come from the machines as they are done, and a kernel that was not asked for keeps those
of its last run (build/portability/rows.json).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import boot, images, kernels
from machine.shell import UnavailableError
from portability import recipes, report
from portability.recipes import FOLDER, RECIPES

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = FOLDER / "rows.json"
KERNELS = (*kernels.SUITES, "here")
GUEST_FOLDER = Path("/srv")


def _command(folder: Path, names: Sequence[str]) -> list[str]:
    return [sys.executable, "-B", "-m", "portability.guest", str(folder), *names]


def _as_user(command: Sequence[str]) -> list[str]:
    ids = ("--reuid", str(images.UID), "--regid", str(images.UID), "--clear-groups")
    return ["setpriv", *ids, "--", "env", "HOME=/tmp", *command]


def _as_user_here(command: Sequence[str]) -> list[str]:
    """An ordinary user to whom this repository and its interpreter are shown, wherever they are."""
    needed = sorted({REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)})
    enter = [sys.executable, str(REPOSITORY / "scripts/enter_lane.py"), f"--uid={images.UID}"]
    enter += [f"--need={path}" for path in needed]
    return ["unshare", "--mount", "--propagation", "private", "--", *enter, "--", *command]


def _parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def run_here(names: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    """Return the kernel's version and a row for each image and user."""
    rows = []
    own = _command(FOLDER, names)
    for command in (own, _as_user_here(own)):
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        rows += _parsed(done.stdout)
    return os.uname().release, rows


def run_on(kernel: str, names: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    """The same in a machine with that kernel."""
    own = _command(GUEST_FOLDER, names)
    script = f"{shlex.join(own)}; {shlex.join(_as_user(own))}"
    with boot.equip(kernel) as equipment:
        disk = images.tree(FOLDER, equipment.folder / "portability", without=(r"\.partial", "rows"))
        equipped = replace(
            equipment,
            disks=(*equipment.disks, disk),
            trees=(*equipment.trees, GUEST_FOLDER),
        )
        env = {"PYTHONPATH": str(REPOSITORY / "scripts")}
        with boot.Machine(equipped, "bare", ["sh", "-c", script], env) as machine:
            machine.wait()
            said = machine.said("output")
        rows = _parsed(said)
        if not rows:
            raise UnavailableError(f"the machine ran nothing: {said.strip()[-300:]}")
        return equipment.kernel.version, rows


def main() -> int:
    """Run the command line; 1 if an image has another output somewhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", action="append", choices=KERNELS)
    parser.add_argument("--image", action="append", choices=RECIPES)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs/portability.md")
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("portability: it needs root, who becomes the ordinary user too")
    absent = recipes.make(options.image or list(RECIPES))
    names = [name for name in options.image or RECIPES if name not in absent]
    known: dict[str, Any] = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    for kernel in options.kernel or KERNELS:
        print(f"portability: {kernel}", file=sys.stderr, flush=True)
        try:
            version, rows = run_here(names) if kernel == "here" else run_on(kernel, names)
        except UnavailableError as error:
            print(f"portability: {kernel}: {error}", file=sys.stderr)
            absent[kernel] = str(error)
            continue
        fresh = {(row["image"], row["uid"]) for row in rows}
        old = known.get(kernel, {}).get("rows", [])
        kept = [row for row in old if (row["image"], row["uid"]) not in fresh]
        known[kernel] = {"version": version, "rows": kept + rows}
        ROWS.write_text(json.dumps(known, indent=1) + "\n")
    ordered = {kernel: known[kernel] for kernel in KERNELS if kernel in known}
    options.output.write_text(report.page(ordered, absent), encoding="utf-8")
    return 0 if report.agree(ordered) else 1


if __name__ == "__main__":
    sys.exit(main())
