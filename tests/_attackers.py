# SPDX-License-Identifier: Apache-2.0
"""What attacks share: names that are swapped on the host, snapshots, the probe's programs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

from pycontain import Bind
from pycontain.selftest._programs import PROBE as ATTACKER
from pycontain.selftest._programs import Call, Outcome, Program, encode, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pycontain import Sandbox

INSIDE = "/attacker"
MOUNT = Bind(ATTACKER, INSIDE)
SECRET = "what nobody inside may see"
SECONDS, ROUNDS = 2.0, 300

__all__ = ["ATTACKER", "INSIDE", "MOUNT", "SECRET", "Call", "encode"]


def rounds(done: Callable[[], bool] = lambda: False) -> Iterator[int]:
    """Count up to the budget of a race, or until something is done."""
    deadline = time.monotonic() + SECONDS
    for number in range(ROUNDS):
        if time.monotonic() > deadline or done():
            return
        yield number


@contextlib.contextmanager
def swapped(a: Path, b: Path) -> Iterator[None]:
    """Exchange two names on the host all the time."""
    process = subprocess.Popen([ATTACKER, "swap", a, b], stdout=subprocess.PIPE)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
        finally:
            process.kill()


def snapshot(folder: Path) -> list[tuple[object, ...]]:
    """Return everything about a tree but the times of reading."""
    found: list[tuple[object, ...]] = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        target = os.readlink(path) if path.is_symlink() else ""
        found.append(
            (str(path), status.st_mode, status.st_uid, status.st_mtime_ns, target, content)
        )
    return found


def run_inside(
    sandbox: Sandbox, *programs: Program, user: int | str | None = None
) -> list[Outcome]:
    """Run programs of system calls inside."""
    words = ["calls", *map(encode, programs)]
    done = sandbox.run([INSIDE, *words], user=user, text=True, cwd="/tmp", check=True)
    return list(outcomes(done.stdout))


def run_outside(*programs: Program, way: str = "calls") -> list[Outcome]:
    """Run them on the host, in this user's name."""
    command = [str(ATTACKER), way, *map(encode, programs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return list(outcomes(done.stdout))


def mount_points(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return the mount points inside, each with its file system."""
    text = sandbox.run(["cat", "/proc/self/mountinfo"], text=True, check=True).stdout
    rows = (line.split(" - ") for line in text.splitlines())
    return [(before.split()[4], after.split()[0]) for before, after in rows]
