# SPDX-License-Identifier: Apache-2.0
"""Read the state files of owners, and tell the living from the dead.

Nothing in a state file is believed that could lead to a directory which is not its owner's.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from . import _files, _state
from ._hierarchy import Host, detect

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

_SIZE_MAX = 1 << 20


class OwnerRecord(NamedTuple):
    """An owner as its state file tells it.

    Attributes:
        path: The state file.
        identity: The name of its directories.
        pid: Its process, in the PID namespace with the inode number `pid_namespace`.
        alive: False only when it is provably gone.
        is_lock_only: Its process is gone, but another one has its lock: a sweeper, or a fork of it.
        directories: Its directories, one per hierarchy in use.
    """

    path: str
    identity: str
    pid: int
    pid_namespace: int
    alive: bool
    is_lock_only: bool
    directories: tuple[str, ...]


def named(directory: str) -> list[tuple[str, re.Match[str]]]:
    """List the entries of a directory that are named by an identity, drafts included."""
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    matches = ((name, _state.NAME.fullmatch(name.removesuffix(".new"))) for name in names)
    return [(name, match) for name, match in matches if match is not None]


def records(directory: str) -> Iterator[OwnerRecord]:
    """Yield each owner that has a state file, holding a dead one's lock until the next."""
    names, others = named(directory), _state.OtherNamespaces()
    for name, match in names:
        path = f"{directory}/{name}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # swept or closed meanwhile, or a link
            continue
        try:
            if _is_own_file(fd):
                yield _record(path, match, fd, others)
        finally:
            os.close(fd)


def _is_own_file(fd: int) -> bool:
    found = os.fstat(fd)
    private = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return stat.S_ISREG(found.st_mode) and private and found.st_size <= _SIZE_MAX


def _record(
    path: str, match: re.Match[str], fd: int, others: _state.OtherNamespaces
) -> OwnerRecord:
    locked = not _lock(fd)
    dead = is_dead(match, others)
    host = detect()
    lines = _files.read(f"/proc/self/fd/{fd}").splitlines()
    return OwnerRecord(
        path=path,
        identity=match[0],
        pid=int(match[3]),
        pid_namespace=int(match[2]),
        alive=locked or not dead,
        is_lock_only=locked and dead,
        directories=tuple(line for line in lines if _is_group_of(match[0], line, host)),
    )


def is_unlocked(path: str) -> bool:
    """Tell whether no process has the lock of a state file, which may be gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        return _lock(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    """Take the lock of a state file, unless another open file has it; tell whether we have it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_dead(match: re.Match[str], others: _state.OtherNamespaces) -> bool:
    """Tell by its identity, whatever its lock says, whether an owner is provably gone."""
    boot, namespace, pid, start = match[1], int(match[2]), int(match[3]), int(match[4])
    if boot != _state.boot():
        return True
    if namespace != _state.pid_namespace():
        return others.is_gone(namespace)
    if _state.start_time(pid) != start:
        return True
    # After an exec a process still has the pid and the start time of the owner that it was before.
    return pid == os.getpid() and match[0] not in _state.held


def _is_group_of(identity: str, path: str, host: Host) -> bool:
    """Tell whether a path is a group's directory with an owner's name, and not by way of links."""
    if not os.path.isabs(path) or os.path.basename(path) != identity:
        return False
    try:
        device = os.lstat(path).st_dev
    except (OSError, ValueError):  # gone already, or no path at all
        return False
    return os.path.realpath(path) == path and any(
        path.startswith(f"{hierarchy.mount.rstrip('/')}/")
        and os.stat(hierarchy.mount).st_dev == device
        for hierarchy in (host.v2, *host.v1)
        if hierarchy is not None
    )
