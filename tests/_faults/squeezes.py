# SPDX-License-Identifier: Apache-2.0
"""Shortages: limits of the caller, and a run-time directory that is full or read-only."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator

from .victim import RUN_DIRECTORY, Faults

MS_RDONLY, MNT_DETACH = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)


class Limit(Faults):
    """A soft limit of the caller is lowered."""

    def __init__(self, number: int, room: int) -> None:
        self._number = number
        self._room = room
        self._before = resource.getrlimit(number)

    def arm(self) -> None:
        """Lower it."""
        limit = self._room
        if self._number == resource.RLIMIT_NOFILE:
            limit = _with_free_numbers(self._room)
        resource.setrlimit(self._number, (limit, self._before[1]))

    def disarm(self) -> None:
        """Restore it."""
        resource.setrlimit(self._number, self._before)

    def __str__(self) -> str:
        return f"limit {self._number} with room for {self._room}"


def _with_free_numbers(count: int) -> int:
    """Return the limit below which so many descriptor numbers are free."""
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    limit = free = 0
    while free < count or limit <= 2:
        free += limit not in used
        limit += 1
    return limit


class RunDirectory(Faults):
    """The run-time directory has room for so many files, or is read-only."""

    def __init__(self, files: int) -> None:
        self._files = files

    def arm(self) -> None:
        """Cover it."""
        os.makedirs(RUN_DIRECTORY, mode=0o700, exist_ok=True)
        options = f"mode=700,size=4k,nr_inodes={self._files + 1}".encode()
        flags = 0 if self._files else MS_RDONLY
        if LIBC.mount(b"tmpfs", RUN_DIRECTORY.encode(), b"tmpfs", flags, options):
            raise OSError(ctypes.get_errno(), "mount")

    def disarm(self) -> None:
        """Uncover it."""
        LIBC.umount2(RUN_DIRECTORY.encode(), MNT_DETACH)

    def __str__(self) -> str:
        return f"room for {self._files} files" if self._files else "a read-only directory"


def squeezes() -> Iterator[Faults]:
    """Yield each shortage that this caller can make."""
    for room in range(13):
        yield Limit(resource.RLIMIT_NOFILE, room)
    if os.geteuid() == 0:
        for files in range(4):
            yield RunDirectory(files)
    else:  # root is not bound by it
        for room in range(3):
            yield Limit(resource.RLIMIT_NPROC, room)
