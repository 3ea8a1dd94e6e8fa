# SPDX-License-Identifier: Apache-2.0
"""Attributes of a process that are set from outside, with the privileges of the host."""

from __future__ import annotations

from pycontain import _native
from pycontain import _os as os
from pycontain.errors import SpawnError

from ._command import rlimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._spec import IOPriority, Process, Scheduler

# <linux/sched.h>, <linux/ioprio.h>
POLICIES = {
    f"SCHED_{name}": number
    for number, name in enumerate(("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE"))
}
SCHEDULER_FLAGS = {
    f"SCHED_FLAG_{name}": 1 << bit
    for bit, name in enumerate(
        (
            *("RESET_ON_FORK", "RECLAIM", "DL_OVERRUN", "KEEP_POLICY", "KEEP_PARAMS"),
            *("UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX"),
        )
    )
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_IO_CLASS_SHIFT = 13


def set_attributes(pid: int, process: Process) -> None:
    """Set what a process cannot give itself: higher limits, a lower OOM score and the like.

    Raises:
        SpawnError: The kernel refused one.
    """
    _raise_limits(pid, process)
    if process.oom_score_adj is not None:
        path = f"/proc/{pid}/oom_score_adj"
        _set("process.oomScoreAdj", _write, path, str(process.oom_score_adj))
    if process.scheduler is not None:
        _set("process.scheduler", _schedule, pid, process.scheduler)
    if process.io_priority is not None:
        _set("process.ioPriority", _prioritise, pid, process.io_priority)


def set_affinity(pid: int, process: Process) -> None:
    """Put a process of `exec` on the processors that it is to run on. Raises SpawnError."""
    if process.exec_cpu_affinity is None:
        return
    for text in process.exec_cpu_affinity:
        if text:
            _set("process.execCPUAffinity", os.sched_setaffinity, pid, _cpus(text))


def _set(field: str, change: Callable[..., object], *args: Any) -> None:
    try:
        change(*args)
    except OSError as error:
        number = error.errno or 0
        raise SpawnError("ATTRIBUTES", number, os.strerror(number), field) from None


def _raise_limits(pid: int, process: Process) -> None:
    """Raise hard limits; it takes on the exact values itself, once it needs no more of them."""
    if not process.rlimits:
        return
    import resource  # noqa: PLC0415 - slow to import

    for row, (number, _, hard) in zip(process.rlimits, rlimits(process), strict=True):
        soft, current = resource.getrlimit(number)  # inherited; to ask it may take privileges
        wanted = -1 if hard >= 2**64 - 1 else hard
        if current == resource.RLIM_INFINITY or 0 <= wanted <= current:
            continue
        what = f"process.rlimits: {row.type}"
        _set(what, resource.prlimit, pid, number, (soft, wanted))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _schedule(pid: int, scheduler: Scheduler) -> None:
    _native.set_scheduler(
        pid,
        policy=POLICIES[scheduler.policy],
        nice=scheduler.nice,
        priority=scheduler.priority,
        flags=sum(SCHEDULER_FLAGS[flag] for flag in scheduler.flags),
        runtime=scheduler.runtime,
        deadline=scheduler.deadline,
        period=scheduler.period,
    )


def _prioritise(pid: int, priority: IOPriority) -> None:
    number = IO_CLASSES[priority.class_] << _IO_CLASS_SHIFT | priority.priority
    _native.set_io_priority(pid, number)


def _cpus(text: str) -> set[int]:
    """Return the processors of a list such as 0-3,7 (cpuset(7))."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
