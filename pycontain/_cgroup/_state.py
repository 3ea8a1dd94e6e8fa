# SPDX-License-Identifier: Apache-2.0
"""The identity of a process as an owner of groups."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from . import _files

# kernel boot, PID namespace, pid, start time, nonce
NAME = re.compile(r"pycontain-([0-9a-f]{8})-([0-9]+)-([0-9]+)-([0-9]+)-[0-9a-f]{8}")

_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO (linux/proc_ns.h)

held: set[str] = set()
"""The identities under which this very process image owns groups (none survives an exec)."""


def start_time(pid: int | str) -> int | None:
    """Return a process's start time in clock ticks, None if it is dead (proc_pid_stat(5))."""
    try:
        text = _files.read_optional(f"/proc/{pid}/stat")
    except ProcessLookupError:  # it ended between the open and the read
        return None
    fields = (text or "").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def boot() -> str:
    """Return the part of the kernel's boot id that identities carry."""
    return _files.read("/proc/sys/kernel/random/boot_id")[:8]


def pid_namespace() -> int:
    """Return the inode number of this process's PID namespace."""
    return os.stat("/proc/self/ns/pid").st_ino


class OtherNamespaces:
    """The PID namespaces below this one, as they are when first asked for.

    Make it after what is asked about was seen, or a new namespace looks like one that is gone.
    """

    def __init__(self) -> None:
        self._there: set[int] | None = None
        self._asked = False

    def is_gone(self, namespace: int) -> bool:
        """Tell whether a namespace is provably gone.

        It is there as long as its first process, which is visible from the first PID namespace.
        """
        if not self._asked:
            self._asked = True
            if pid_namespace() == _FIRST_PID_NAMESPACE:
                with contextlib.suppress(OSError):  # this user may not look at all of them
                    _files.read("/proc/1/status")  # else /proc hides what is others' (proc(5))
                    self._there = set(_inner_namespaces())
        return self._there is not None and namespace not in self._there


def _inner_namespaces() -> Iterator[int]:
    """Yield the PID namespace of each process that is not in ours. Raises OSError."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            ids = _files.read(f"/proc/{pid}/status").partition("\nNSpid:")[2].partition("\n")[0]
            if len(ids.split()) > 1:
                yield os.stat(f"/proc/{pid}/ns/pid").st_ino


def new_identity() -> str:
    """Return a name for this process's groups that no other process has or had."""
    start = start_time("self") or 0
    return f"pycontain-{boot()}-{pid_namespace()}-{os.getpid()}-{start}-{os.urandom(4).hex()}"
