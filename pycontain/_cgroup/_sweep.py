# SPDX-License-Identifier: Apache-2.0
"""List the owners of groups and remove what dead ones left behind.

An owner holds a flock(2) on its state file for life. The kernel drops the lock however the process
ends, so whoever gets it knows that the owner is gone.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import _files, _remove, _state
from ._hierarchy import Host, detect
from ._place_v2 import candidates
from ._records import OwnerRecord, is_unlocked, named, records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

_OWNER_SECONDS = 1.0
_SHOWN_HOLDERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something of a dead owner that could not be removed.

    Attributes:
        path: The group's directory, the state file, or the directory of state files.
        why: What is in the way, with the processes that hold it.
        remedy: What to do.
    """

    path: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What `gc` found of dead owners.

    Attributes:
        directories: Control groups' directories that were removed; with `dry_run`, would be.
        processes: Processes in them that were killed, as this process knows their ids.
        files: State files that were removed.
        remaining: What could not be removed.
        dry_run: Nothing was touched.
    """

    directories: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    remaining: tuple[Leftover, ...] = ()
    dry_run: bool = False


def owners(state_directory: str | None = None) -> tuple[OwnerRecord, ...]:
    """List the owners of this user that have a state file, living and dead."""
    directories = _trusted(state_directory, [])
    return tuple(record for directory in directories for record in records(directory))


def sweep(
    state_directory: str | None = None,
    host: Host | None = None,
    *,
    dry_run: bool = False,
    seconds: float = math.inf,
) -> Collected:
    """Kill and remove what dead owners left.

    A living owner's groups are never touched. Groups named after an owner that has no state file
    are removed only when that process is provably gone and they hold no process.

    Args:
        state_directory: Instead of the user's run-time directories.
        host: Where to look for groups without a state file; `detect()` by default.
        dry_run: Look only.
        seconds: Stop in time, and leave the rest to another call.
    """
    work = _Sweep(dry_run=dry_run, deadline=time.monotonic() + seconds)
    directories = _trusted(state_directory, work.remaining)
    held = work.clear_listed(directories)
    if held and seconds == math.inf and not dry_run:
        _wait_for_others(held)
        work.remaining += map(_locked, work.clear_listed(directories, frozenset(held)))
    work.clear_unlisted(host or detect())
    return work.result()


def _trusted(state_directory: str | None, distrusted: list[Leftover]) -> list[str]:
    """Return the directories of state files; those that others can write to are told instead."""
    found = []
    for path in [state_directory] if state_directory else _state.runtime_directories():
        if _state.is_private(path):
            found.append(path)
        elif _state.is_own(path):
            remedy = f"look what is there; then chmod 700 {path}, or remove it"
            distrusted.append(Leftover(path=path, why="not a private directory", remedy=remedy))
    return found


@dataclass(slots=True)
class _Sweep:
    """One sweep's limits and findings."""

    dry_run: bool
    deadline: float
    directories: list[str] = field(default_factory=list)
    processes: dict[int, None] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    remaining: list[Leftover] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.deadline

    def result(self) -> Collected:
        return Collected(
            directories=tuple(self.directories),
            processes=tuple(self.processes),
            files=tuple(self.files),
            remaining=tuple(self.remaining),
            dry_run=self.dry_run,
        )

    def clear_listed(
        self, directories: Sequence[str], only: Collection[str] | None = None
    ) -> list[str]:
        """Remove what dead owners with a state file left.

        Args:
            directories: Those of the state files.
            only: The paths of the state files to go by; None: all.

        Returns:
            The state files of dead owners that other processes have locked.
        """
        held: list[str] = []
        for record in (record for path in directories for record in records(path)):
            if self.over:
                break
            self.known.add(record.identity)
            if only is not None and record.path not in only:
                continue
            if not record.alive:
                self._clear(record)
            elif record.is_lock_only:
                held.append(record.path)
        return held

    def _clear(self, record: OwnerRecord) -> None:
        """Remove all that a dead owner left: its state file last, so that nothing is forgotten."""
        present = sorted(filter(os.path.isdir, record.directories), key=_killing_order)
        # Behind a foreign PID namespace the lock alone tells, which a program that closes all its
        # descriptors gives up: then nobody is killed.
        removed = [self._remove(path, kill=record.is_here) for path in present]
        if not all(removed):
            return
        try:
            if not self.dry_run:
                os.unlink(record.path)
        except FileNotFoundError:  # another sweeper's
            return
        except OSError as error:
            self._keep(record.path, error)
            return
        self.files.append(record.path)

    def clear_unlisted(self, host: Host) -> None:
        """Remove the groups of dead owners of this PID namespace that no state file lists."""
        here = (_state.boot(), _state.pid_namespace())
        for base in () if self.over else _bases(host):
            for name, match in named(base):
                if name in self.known | _state.held or (match[1], int(match[2])) != here:
                    continue
                if _state.start_time(match[3]) != int(match[4]) and not self.over:
                    self._remove(f"{base}/{name}", kill=False)

    def _remove(self, path: str, *, kill: bool) -> bool:
        """Remove a group and all below it; tell whether it is gone."""
        try:
            holders = _holders(path) if self.dry_run else []
            gone = (kill or not holders) if self.dry_run else self._really_remove(path, kill=kill)
        except OSError as error:
            self._keep(path, error)
            return False
        if gone:
            self.processes.update(dict.fromkeys(filter(None, holders)))
            self.directories.append(path)
        else:
            self.remaining.append(_in_use(path))
        return gone

    def _really_remove(self, path: str, *, kill: bool) -> bool:
        if _remove.tree(path, 0.0) or not kill:
            return not os.path.isdir(path)
        deadline = min(self.deadline, time.monotonic() + _OWNER_SECONDS)
        self.processes.update(dict.fromkeys(filter(None, _holders(path))))
        _remove.kill_tree(path, deadline)
        return _remove.tree(path, deadline - time.monotonic())

    def _keep(self, path: str, error: OSError) -> None:
        remedy = f"mend the permissions of {os.path.dirname(path)}, or run this as root"
        self.remaining.append(Leftover(path=path, why=error.strerror or str(error), remedy=remedy))


def _killing_order(path: str) -> int:
    """Put first what ends processes best: v2, then v1's freezer, for a frozen one dies nowhere."""
    if _remove.is_v2(path):
        return 0
    return 1 if os.path.exists(f"{path}/freezer.state") else 2


def _holders(directory: str) -> list[int]:
    """List the processes in and below a group; 0 is one of a PID namespace that we cannot see."""
    return [pid for path in _remove.descend(directory) for pid in _remove.members(path)]


def _in_use(path: str) -> Leftover:
    remedy = (
        "end these processes, then run `pycontain gc` again; one in state D waits for the kernel"
    )
    return Leftover(path=path, why=f"in use by {_listed(_holders(path))}", remedy=remedy)


def _wait_for_others(paths: Iterable[str]) -> None:
    """Give other sweepers, which hold the locks of dead owners, the time to finish."""
    deadline = time.monotonic() + _OWNER_SECONDS
    for path in paths:
        _remove.until(functools.partial(is_unlocked, path), deadline)


def _locked(path: str) -> Leftover:
    why = f"its owner is gone, but its lock is held by {_listed(_openers(path))}"
    remedy = "end these processes: a copy of the owner may still use its sandboxes"
    return Leftover(path=path, why=why, remedy=remedy)


def _openers(path: str) -> list[int]:
    """List the processes that have a file open, as far as this user may look."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fds = os.listdir(f"/proc/{pid}/fd")
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") == path for fd in fds):
                found.append(int(pid))
    return found


def _listed(holders: Sequence[int]) -> str:
    shown = [_name(pid) for pid in holders[:_SHOWN_HOLDERS]]
    if len(holders) > len(shown):
        shown.append(f"{len(holders) - len(shown)} more")
    return ", ".join(shown) or "a process that cannot be seen, or has just ended"


def _name(pid: int) -> str:
    if not pid:
        return "a process of another PID namespace"
    with contextlib.suppress(OSError):
        head, _, tail = _files.read(f"/proc/{pid}/stat").rpartition(")")
        return f"{pid} ({head.partition('(')[2]}, state {tail.split()[0]})"
    return str(pid)


def _bases(host: Host) -> Iterator[str]:
    """Yield the directories in which owners like us make theirs, as far as we know them."""
    if host.v2 is not None:
        yield from itertools.chain(*candidates(host.v2))
    for hierarchy in host.v1:
        yield hierarchy.own or hierarchy.mount
