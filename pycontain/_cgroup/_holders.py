# SPDX-License-Identifier: Apache-2.0
"""Which processes stand in the way of a removal, in words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from . import _files

_SHOWN = 5


def openers(path: str) -> list[int]:
    """List the processes that have a file open, as far as this user may look."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fds = os.listdir(f"/proc/{pid}/fd")
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == path for fd in fds):
                found.append(int(pid))
    return found


def listed(pids: Sequence[int]) -> str:
    """Name the first of some processes, with their states (proc_pid_stat(5))."""
    shown = [_name(pid) for pid in pids[:_SHOWN]]
    if len(pids) > len(shown):
        shown.append(f"{len(pids) - len(shown)} more")
    return ", ".join(shown) or "a process that cannot be seen, or has just ended"


def _name(pid: int) -> str:
    if not pid:
        return "a process of another PID namespace"
    with contextlib.suppress(OSError):
        head, _, tail = _files.read(f"/proc/{pid}/stat").rpartition(")")
        return f"{pid} ({head.partition('(')[2]}, state {tail.split()[0]})"
    return str(pid)
