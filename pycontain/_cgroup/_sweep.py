# SPDX-License-Identifier: Apache-2.0
"""List the owners of groups and remove what dead ones left behind.

An owner holds a flock(2) on its state file for life. The kernel drops the lock however the process
ends, so whoever gets it knows that the owner is gone.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import time
from typing import TYPE_CHECKING

from pycontain import _statedir

from . import _remove, _state
from ._hierarchy import Host, detect
from ._place_v2 import candidates
from ._records import OwnerRecord, is_dead, is_unlocked, named, records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from ._collected import Collected

_OWNER_SECONDS = 1.0


def owners(state_directory: str | None = None) -> tuple[OwnerRecord, ...]:
    """List the owners of this user that have a state file, living and dead."""
    directories = [state_directory] if state_directory else _statedir.runtime_directories()
    private = filter(_statedir.is_private, directories)
    return tuple(record for directory in private for record in records(directory))


def sweep(
    state_directory: str | None = None, host: Host | None = None, *, dry_run: bool = False
) -> Collected:
    """Kill and remove what dead owners left, and tell it.

    A living owner's groups are never touched. Groups named after an owner that has no state file
    are removed only when that process is provably gone and they hold no process.

    Args:
        state_directory: Instead of the user's run-time directories.
        host: Where to look for groups without a state file; `detect()` by default.
        dry_run: Look only.
    """
    work = Sweep(dry_run=dry_run)
    work.run([state_directory] if state_directory else _statedir.runtime_directories(), host)
    return work.result()


class Sweep:
    """One sweep: its limits, and what it finds."""

    def __init__(self, *, dry_run: bool = False, seconds: float = math.inf) -> None:
        """Begin.

        Args:
            dry_run: Look only.
            seconds: Stop in time, and leave the rest to another sweep.
        """
        self._dry_run = dry_run
        self._deadline = time.monotonic() + seconds
        self._directories: list[str] = []
        self._processes: dict[int, None] = {}  # in order, each once
        self._files: list[str] = []
        self._remaining: list[tuple[str, str, str]] = []
        self._known: set[str] = set()

    def run(self, state_directories: Iterable[str], host: Host | None = None) -> None:
        """Remove what dead owners left: those with state files here, and those without."""
        directories = [path for path in state_directories if self._is_trusted(path)]
        held = self._clear_listed(directories)
        if held and self._deadline == math.inf and not self._dry_run:
            _wait_for_others(held)
            for path in self._clear_listed(directories, frozenset(held)):
                self._leave_locked(path)
        if not self._over:
            self._clear_unlisted(host or detect())

    def result(self) -> Collected:
        """Return what was found."""
        from ._collected import Collected, Leftover  # noqa: PLC0415 - see there

        return Collected(
            directories=tuple(self._directories),
            processes=tuple(self._processes),
            files=tuple(self._files),
            remaining=tuple(
                Leftover(path=path, why=why, remedy=remedy) for path, why, remedy in self._remaining
            ),
            dry_run=self._dry_run,
        )

    @property
    def _over(self) -> bool:
        return time.monotonic() >= self._deadline

    def _is_trusted(self, directory: str) -> bool:
        if _statedir.is_private(directory):
            return True
        if _statedir.is_own(directory):  # what others made holds nothing of ours
            remedy = f"look what is there; then chmod 700 {directory}, or remove it"
            self._remaining.append((directory, "not a private directory", remedy))
        return False

    def _clear_listed(
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
            if self._over:
                break
            self._known.add(record.identity)
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
        removed = [self._remove(path, kill=True) for path in present]
        if not all(removed):
            return
        try:
            if not self._dry_run:
                os.unlink(record.path)
        except FileNotFoundError:  # another sweeper's
            return
        except OSError as error:
            self._leave_refused(record.path, error)
            return
        self._files.append(record.path)

    def _clear_unlisted(self, host: Host) -> None:
        """Remove the empty groups of dead owners that no state file lists."""
        for base in _bases(host):
            names, others = named(base), _state.OtherNamespaces()
            for name, match in names:
                if self._over:
                    return
                if name in self._known or match[1] != _state.boot() or not is_dead(match, others):
                    continue
                self._remove(f"{base}/{name}", kill=False)

    def _remove(self, path: str, *, kill: bool) -> bool:
        """Remove a group and all below it; tell whether it is gone."""
        try:
            gone = (self._look if self._dry_run else self._end)(path, kill=kill)
        except OSError as error:
            self._leave_refused(path, error)
            return False
        if gone:
            self._directories.append(path)
        else:
            self._leave_in_use(path)
        return gone

    def _look(self, path: str, *, kill: bool) -> bool:
        holders = _holders(path)
        self._processes |= dict.fromkeys(filter(None, holders if kill else ()))
        return kill or not holders

    def _end(self, path: str, *, kill: bool) -> bool:
        if _remove.tree(path, 0.0):
            return True
        if not kill:
            return False
        self._processes |= dict.fromkeys(filter(None, _holders(path)))
        deadline = min(self._deadline, time.monotonic() + _OWNER_SECONDS)
        _remove.kill_tree(path, deadline)
        return _remove.tree(path, deadline - time.monotonic())

    def _leave_refused(self, path: str, error: OSError) -> None:
        remedy = f"mend the permissions of {os.path.dirname(path)}, or run this as root"
        self._remaining.append((path, error.strerror or str(error), remedy))

    def _leave_in_use(self, path: str) -> None:
        if not self._over:  # else nobody waits for an explanation
            from ._holders import listed  # noqa: PLC0415 - rarely needed

            why = f"in use by {listed(_holders(path))}"
            remedy = (
                "end these processes, then run `pycontain gc` again; state D waits for the kernel"
            )
            self._remaining.append((path, why, remedy))

    def _leave_locked(self, path: str) -> None:
        from ._holders import listed, openers  # noqa: PLC0415 - rarely needed

        why = f"its owner is gone, but its lock is held by {listed(openers(path))}"
        remedy = "end these processes: a copy of the owner may still use its sandboxes"
        self._remaining.append((path, why, remedy))


def _killing_order(path: str) -> int:
    """Put first what ends processes best: v2, then v1's freezer, for a frozen one dies nowhere."""
    if _remove.is_v2(path):
        return 0
    return 1 if os.path.exists(f"{path}/freezer.state") else 2


def _holders(directory: str) -> list[int]:
    """List the processes in and below a group; 0 is one of a PID namespace that we cannot see."""
    return [pid for path in _remove.descend(directory) for pid in _remove.members(path)]


def _wait_for_others(paths: Iterable[str]) -> None:
    """Give other sweepers, which hold the locks of dead owners, the time to finish."""
    deadline = time.monotonic() + _OWNER_SECONDS
    for path in paths:
        _remove.until(functools.partial(is_unlocked, path), deadline)


def _bases(host: Host) -> Iterator[str]:
    """Yield the directories in which owners like us make theirs, as far as we know them."""
    if host.v2 is not None:
        yield from itertools.chain(*candidates(host.v2))
    for hierarchy in host.v1:
        yield hierarchy.own or hierarchy.mount
