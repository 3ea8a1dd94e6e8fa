# SPDX-License-Identifier: Apache-2.0
"""Processes that own sandboxes, to be looked at and killed, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycontain import _statedir
from pycontain._cgroup._collected import Collected

if TYPE_CHECKING:
    from collections.abc import Iterator

# Under the name argv[1], makes sandboxes with the options of the others, each with a command
# inside; says their PID 1s, and stays.
OWNER = """
import contextlib, os, sys, pycontain
if os.environ.get("WITHOUT_V2"):
    from pycontain._cgroup import Host, _hierarchy, detect
    _hierarchy._detected = Host(v2=None, v1=detect().v1)
with open("/proc/self/comm", "wb") as name:
    name.write(os.fsencode(sys.argv[1]))
with contextlib.ExitStack() as stack:
    made = [stack.enter_context(pycontain.Sandbox(**eval(text))) for text in sys.argv[2:]]
    commands = [sandbox.popen(["sleep", "1000"]) for sandbox in made]
    print(*(sandbox.pid for sandbox in made), flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(
    *options: dict[str, object], name: bytes = b"owner"
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Run a process with a sandbox for each set of options; yield it and the PID 1s."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, name, *map(repr, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            pids = [int(word) for word in process.stdout.readline().split()]
            assert len(pids) == len(options)
            yield process, pids
        finally:
            process.send_signal(signal.SIGCONT)
            process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and wait for its end."""
    process.kill()
    process.wait()


def left_of(*pids: int) -> list[str]:
    """Return the groups of owners with these pids in all hierarchies, and their state files."""
    names = tuple(f"-{pid}-" for pid in pids)
    return [
        os.path.join(folder, name)
        for home in ("/sys/fs/cgroup", *_statedir.runtime_directories())
        for folder, folders, files in os.walk(home)  # others' groups come and go meanwhile
        for name in (*folders, *files)
        if name.startswith("pycontain-") and any(part in name for part in names)
    ]


def only(found: Collected, *names: str) -> Collected:
    """Return what was found with one of these names in its path."""

    def has_one(path: str) -> bool:
        return any(name in path for name in names)

    return Collected(
        directories=tuple(filter(has_one, found.directories)),
        processes=found.processes,
        files=tuple(filter(has_one, found.files)),
        remaining=tuple(left for left in found.remaining if has_one(left.path)),
        dry_run=found.dry_run,
    )
