# SPDX-License-Identifier: Apache-2.0
"""List the owners of groups and remove what dead ones left behind.

An owner holds a flock(2) on its state file for life. The kernel drops the lock however the process
ends, so whoever gets it knows that the owner is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from . import _files, _remove, _state
from ._hierarchy import Host, detect
from ._place import candidates

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

_SECONDS = 1.0


class OwnerRecord(NamedTuple):
    """An owner as its state file tells it.

    Attributes:
        identity: The name of its directories.
        pid: Its process, in the PID namespace with the inode number `pid_namespace`.
        alive: False only when it is provably gone.
        directories: Its directories, one per hierarchy in use.
    """

    identity: str
    pid: int
    pid_namespace: int
    alive: bool
    directories: tuple[str, ...]


def owners(state_directory: str | None = None) -> tuple[OwnerRecord, ...]:
    """List the owners of this user that have a state file, living and dead."""
    return tuple(record for record, _ in _records(state_directory or _state.runtime_directory()))


def sweep(state_directory: str | None = None, host: Host | None = None) -> tuple[str, ...]:
    """Kill and remove what dead owners left, and return the directories that were removed.

    A living owner's groups are never touched. Groups named after an owner that has no state file
    are removed only when that process is provably gone and they hold no process.

    Args:
        state_directory: Instead of the user's run-time directory.
        host: Where to look for groups without a state file; `detect()` by default.
    """
    removed: list[str] = []
    known: set[str] = set()
    deadline = time.monotonic() + _SECONDS
    for record, path in _records(state_directory or _state.runtime_directory()):
        known.add(record.identity)
        if record.alive:
            continue
        left = [d for d in record.directories if os.path.isdir(d)]
        gone = [d for d in left if _remove_killing(d, deadline)]
        removed += gone
        if gone == left:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    removed += _sweep_unlisted(known, host or detect())
    return tuple(removed)


def _remove_killing(directory: str, deadline: float) -> bool:
    _remove.kill_tree(directory, deadline)
    return _remove.tree(directory, deadline - time.monotonic())


def _sweep_unlisted(known: set[str], host: Host) -> Iterator[str]:
    here = (_state.boot(), _state.pid_namespace())
    for base in _bases(host):
        for name, match in _named(base):
            if name in known | _state.held or (match[1], int(match[2])) != here:
                continue
            if _state.start_time(match[3]) != int(match[4]) and _remove.tree(f"{base}/{name}", 0.0):
                yield f"{base}/{name}"


def _bases(host: Host) -> Iterator[str]:
    """Yield the directories in which owners like us make theirs, as far as we know them."""
    if host.v2 is not None:
        yield from candidates(host.v2)
    for hierarchy in host.v1:
        yield hierarchy.own or hierarchy.mount


def _named(directory: str) -> list[tuple[str, re.Match[str]]]:
    """List the entries of a directory that are named by an identity, drafts included."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    matches = ((name, _state.NAME.fullmatch(name.removesuffix(".new"))) for name in names)
    return [(name, match) for name, match in matches if match is not None]


def _records(directory: str) -> Iterator[tuple[OwnerRecord, str]]:
    """Yield each owner and its state file, holding a dead one's lock until the next."""
    for name, match in _named(directory):
        path = f"{directory}/{name}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # swept or closed meanwhile
            continue
        try:
            yield _record(match, fd), path
        finally:
            os.close(fd)


def _record(match: re.Match[str], fd: int) -> OwnerRecord:
    identity, pid, start, namespace = match[0], int(match[3]), int(match[4]), int(match[2])
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alive = _is_running(identity, pid, start, namespace)
    except BlockingIOError:
        alive = True
    lines = _files.read(f"/proc/self/fd/{fd}").splitlines()
    return OwnerRecord(
        identity=identity,
        pid=pid,
        pid_namespace=namespace,
        alive=alive,
        directories=tuple(d for d in lines if os.path.isabs(d) and os.path.basename(d) == identity),
    )


def _is_running(identity: str, pid: int, start: int, namespace: int) -> bool:
    """Tell whether an owner lives without its lock, as after closing all descriptors."""
    if namespace != _state.pid_namespace() or _state.start_time(pid) != start:
        return False
    # After an exec a process still has the pid and the start time of the owner that it was before.
    return pid != os.getpid() or identity in _state.held
