# SPDX-License-Identifier: Apache-2.0
"""What a sweep tells. In a module of its own: the sweep at the first sandbox tells nobody."""

from __future__ import annotations

from dataclasses import dataclass


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
