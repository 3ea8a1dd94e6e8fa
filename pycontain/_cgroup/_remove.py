# SPDX-License-Identifier: Apache-2.0
"""End all processes of a group, and remove directories of groups once they are empty."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal imports enum, which is slow
import errno
import os
import select
import time
from _thread import allocate_lock

from pycontain._pidfd import open_pidfd

from . import _files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Of listing and killing, where there is no cgroup.kill: forks may race each of them.
_ROUNDS = 64
_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02
# What cgroup.kill usually needs.
_GRACE = 0.02
# Descriptors open at once, whatever their limit is.
_BATCH = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE = (errno.ENOENT, errno.ENODEV, errno.ENAMETOOLONG)


def until(done: Callable[[], bool], deadline: float) -> bool:
    """Ask again and again, in growing intervals, for what v1 has no event for."""
    pause = _FIRST_PAUSE
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        select.select([], [], [], min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def is_v2(directory: str) -> bool:
    """Tell a v2 group from a v1 group: only v1 has `tasks`."""
    return not os.path.exists(f"{directory}/tasks")


def tree(directory: str, timeout_s: float) -> bool:
    """Remove a group and all below it, waiting for dying processes; tell whether it is gone.

    On v2 the wait is for the kernel's `populated 0`; on v1, which has no such event, rmdir is tried
    again in growing intervals.
    """
    deadline = time.monotonic() + timeout_s
    if _try_remove(directory):
        return True
    if timeout_s > 0 and is_v2(directory):
        _files.wait_event(directory, "populated", 0, deadline)
    return until(lambda: _try_remove(directory), deadline)


def all_of(directories: Iterable[str], timeout_s: float) -> list[str]:
    """Remove groups in order, within `timeout_s` together, and return those that remain.

    One that the kernel does not let go, for want of descriptors say, remains: it is tried again.
    """
    deadline = time.monotonic() + timeout_s
    remaining = []
    for directory in directories:
        gone = False
        try:
            gone = tree(directory, deadline - time.monotonic())
        except OSError:
            pass
        if not gone:
            remaining.append(directory)
    return remaining


def _try_remove(directory: str) -> bool:
    """Remove a group, its children first; False while a process is in one of them."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    else:
        return True
    try:
        return _remove_below(directory) and _try_remove(directory)
    except FileNotFoundError:  # somebody else removes it too
        return False


def _remove_below(directory: str) -> bool:
    """Remove the groups below a group, the deepest first; False if one is in use, or none is there.

    By descriptors and without recursion: who may make groups inside makes them as deep as he likes,
    with paths longer than the kernel takes.
    """
    names: list[str] = []
    removed_any = False
    fd = os.open(directory, _DIRECTORY)
    try:
        while True:
            if (child := _first_child(fd)) is not None:
                fd = _move(fd, child)
                names.append(child)
                continue
            if not names:
                return removed_any
            fd = _move(fd, "..")
            try:
                os.rmdir(names.pop(), dir_fd=fd)
            except OSError as error:
                if error.errno == errno.EBUSY:
                    return False
                raise
            removed_any = True
    finally:
        os.close(fd)


def _first_child(fd: int) -> str | None:
    with os.scandir(fd) as entries:
        return next((entry.name for entry in entries if entry.is_dir(follow_symlinks=False)), None)


def _move(fd: int, name: str) -> int:
    """Open a directory from another one, which is closed."""
    there = os.open(name, _DIRECTORY, dir_fd=fd)
    os.close(fd)
    return there


def children(directory: str) -> list[str]:
    """List the groups directly below a group; none when it is gone, or too deep for a path."""
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise


def descend(directory: str) -> list[str]:
    """List a group and all groups below it, parents first."""
    found = [directory]
    for path in found:
        found.extend(children(path))
    return found


def kill_tree(directory: str, deadline: float) -> bool:
    """Kill every process in and below a group and wait for their end, until `deadline`.

    Uses cgroup.kill (Linux 5.14), which also catches what is being forked meanwhile, but not a
    process whose first thread has ended: it signals that thread alone. Elsewhere the group is
    frozen, its processes are killed one by one, and it is thawed to let them die.

    Returns:
        True when the group was seen empty.
    """
    if is_v2(directory):
        try:
            _files.write(f"{directory}/cgroup.kill", "1")
        except FileNotFoundError:
            if not os.path.isdir(directory):
                return True
            _kill_frozen(directory, "cgroup.freeze", ("1", "0"), deadline)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return True
        if _files.wait_event(directory, "populated", 0, min(deadline, time.monotonic() + _GRACE)):
            return True
        _kill_members(directory)
        return _files.wait_event(directory, "populated", 0, deadline)
    return _kill_v1(directory, deadline)


def _kill_members(directory: str) -> None:
    """Kill every process by itself; whether all are gone the caller sees anyway."""
    try:
        for path in descend(directory):
            send(path, members(path), signal.SIGKILL)
    except OSError:
        pass


def send(directory: str, pids: Sequence[int], number: int) -> None:
    """Send a signal to processes of one group; those that end meanwhile are left out.

    Raises:
        OSError: There are not enough descriptors.
    """
    for at in range(0, len(pids), _BATCH):
        _signal_each(_open_pidfds(directory, pids[at : at + _BATCH]), number)


def _signal_each(pidfds: list[int], number: int) -> None:
    for pidfd in pidfds:
        try:
            signal.pidfd_send_signal(pidfd, number)
        except OSError:
            pass
        os.close(pidfd)


_frozen_parents = allocate_lock()


def _kill_v1(directory: str, deadline: float) -> bool:
    """Kill by v1's freezer. In a frozen sandbox one group runs to die; the others stand.

    The parent's own state is passed on to the other children meanwhile, so that none of them runs.
    """
    parent = os.path.dirname(directory)
    with _frozen_parents:
        own = _files.read_optional(f"{parent}/freezer.self_freezing")
        if _files.number(own) != 1:
            return _kill_frozen(directory, "freezer.state", ("FROZEN", "THAWED"), deadline)
        others = [path for path in children(parent) if path != directory]
        for path in others:
            _write_if_there(f"{path}/freezer.state", "FROZEN")
        _write_if_there(f"{parent}/freezer.state", "THAWED")
        try:
            return _kill_frozen(directory, "freezer.state", ("FROZEN", "THAWED"), deadline)
        finally:
            _write_if_there(f"{parent}/freezer.state", "FROZEN")
            for path in others:
                _write_if_there(f"{path}/freezer.state", "THAWED")


def _kill_frozen(directory: str, file: str, words: tuple[str, str], deadline: float) -> bool:
    """Kill by lists of pids, each list taken and used while the group is frozen."""
    for _ in range(_ROUNDS):
        victims: list[int] = []
        try:
            _write_if_there(f"{directory}/{file}", words[0])
            victims = _open_members(directory)
            for pidfd in victims:
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            _thaw(directory, file, words[1])  # a frozen v1 task does not die before that
            if not victims:
                return True
            _wait_all(victims, deadline)
        finally:
            _thaw(directory, file, words[1])
            for pidfd in victims:
                os.close(pidfd)
        if time.monotonic() >= deadline:
            break
    return not any(members(path) for path in descend(directory))


def _thaw(directory: str, file: str, word: str) -> None:
    """Let a group run and all below it, each of which may have been frozen by itself."""
    for path in descend(directory):
        _write_if_there(f"{path}/{file}", word)


def _write_if_there(path: str, text: str) -> None:
    try:
        _files.write(path, text)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise


def members(directory: str) -> list[int]:
    """List the processes of one group; none when it is gone, or too deep for a path."""
    try:
        return [int(pid) for pid in _files.read(f"{directory}/cgroup.procs").split()]
    except OSError as error:
        if error.errno in _NOT_THERE:
            return []
        raise


def _open_members(directory: str) -> list[int]:
    """Return pidfds of the processes in and below a group."""
    opened: list[int] = []
    for path in descend(directory):
        opened += _open_pidfds(path, members(path))
    return opened


def _open_pidfds(directory: str, pids: Sequence[int]) -> list[int]:
    """Return pidfds of a group's processes; one that ended meanwhile is left out.

    A pid could be reused between the listing and the opening: it counts only if the process behind
    the pidfd is still in the list afterwards.
    """
    fds: dict[int, int] = {}
    still: set[int] = set()
    try:
        for pid in pids:
            try:
                fds[pid] = open_pidfd(pid)
            except ProcessLookupError:
                pass
        still.update(members(directory) if fds else ())
    finally:
        for pid in fds.keys() - still:
            os.close(fds[pid])
    return [fds[pid] for pid in fds.keys() & still]


def _wait_all(pidfds: list[int], deadline: float) -> None:
    poller = select.poll()
    for pidfd in pidfds:
        poller.register(pidfd, select.POLLIN)
    waiting = set(pidfds)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for pidfd, _ in poller.poll(left * 1000):
            poller.unregister(pidfd)
            waiting.discard(pidfd)
