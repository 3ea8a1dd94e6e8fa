# SPDX-License-Identifier: Apache-2.0
"""What /proc tells everybody about every process (proc_pid_stat(5), proc_pid_status(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One living process.

    Attributes:
        pid, parent: Ids in this process's PID namespace; a parent outside of it is 0.
        command: Its name (15 bytes), which it chooses itself: any bytes.
        threads: How many.
        start: Clock ticks since boot.
        ticks: Its processor time in clock ticks.
        waited_ticks: That of its children that it has waited for.
    """

    pid: int
    parent: int
    command: str
    threads: int
    start: int
    ticks: int
    waited_ticks: int


def processes() -> dict[int, Process]:
    """Return all living processes by their ids; what ends meanwhile may be missing."""
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdecimal())
    return {each.pid: each for each in found if each is not None}


def process(pid: int) -> Process | None:
    """Return one process; None if it is gone, or dead and not waited for."""
    head, _, tail = _read(pid, "stat").rpartition(")")
    fields = tail.split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    numbers = [int(field) for field in fields[1:20]]
    return Process(
        pid=pid,
        parent=numbers[0],
        command=head.partition("(")[2],
        threads=numbers[16],
        start=numbers[18],
        ticks=numbers[10] + numbers[11],
        waited_ticks=numbers[12] + numbers[13],
    )


def user_of(pid: int) -> int | None:
    """Return a process's effective user id; None if it is gone."""
    words = _status(pid, "Uid")
    return int(words[1]) if words else None


def namespace_pids(pid: int) -> list[int]:
    """Return a process's id in each PID namespace that it is in, ours first; [] if it is gone."""
    return [int(word) for word in _status(pid, "NSpid")]


def descendants(pid: int, everybody: dict[int, Process]) -> Iterator[Process]:
    """Yield the processes below one, children before grandchildren."""
    children: dict[int, list[Process]] = {}
    for each in everybody.values():
        children.setdefault(each.parent, []).append(each)
    ahead = list(children.get(pid, ()))
    for each in ahead:
        yield each
        ahead += children.get(each.pid, ())


def _status(pid: int, key: str) -> list[str]:
    lines = _read(pid, "status").split("\n")  # a name may have other ends of lines
    return next((line.split()[1:] for line in lines if line.startswith(f"{key}:")), [])


def _read(pid: int, name: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return (file.readall() or b"").decode(errors="surrogateescape")
    return ""
