# SPDX-License-Identifier: Apache-2.0
"""The identity of a process as an owner of groups, and the private directory for state files."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator

from pycontain.errors import UnsupportedError

from . import _files

# kernel boot, PID namespace, pid, start time, nonce
NAME = re.compile(r"pycontain-([0-9a-f]{8})-([0-9]+)-([0-9]+)-([0-9]+)-[0-9a-f]{8}")

_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO (linux/proc_ns.h)

held: set[str] = set()
"""The identities under which this very process image owns groups (none survives an exec)."""


def runtime_directory() -> str:
    """Return the private directory for state files, made on first use.

    /run/pycontain for root, $XDG_RUNTIME_DIR/pycontain for others, else a directory of this user's
    in the temporary directory.

    Raises:
        UnsupportedError: The directory belongs to somebody else, or others may write to it.
    """
    directory = next(_places())
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    if not is_private(directory):
        raise UnsupportedError(
            errno.EPERM,
            "not a private directory of this user: remove it or mend its mode",
            directory,
        )
    return directory


def runtime_directories() -> list[str]:
    """Return where state files of this user may be, as the environment differs between sessions."""
    return list(_places())


def _places() -> Iterator[str]:
    user = os.geteuid()
    base = "/run" if user == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    if base and _files.writable(base):
        yield f"{base}/pycontain"
    import tempfile  # noqa: PLC0415 - slow to import, and rarely needed

    yield f"{tempfile.gettempdir()}/pycontain-{user}"


def is_own(directory: str) -> bool:
    """Tell whether a directory, or whatever is there instead, belongs to this user."""
    try:
        return os.lstat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def is_private(directory: str) -> bool:
    """Tell whether only this user can have put something into a directory."""
    try:
        found = os.lstat(directory)
    except OSError:
        return False
    mine = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return stat.S_ISDIR(found.st_mode) and mine


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
