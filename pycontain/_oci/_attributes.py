# SPDX-License-Identifier: Apache-2.0
"""Attributes of a process that are set from outside, with the privileges of the host."""

from __future__ import annotations

import os
import resource

from pycontain.errors import SpawnError

from ._command import rlimits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Config, Process


def set_attributes(pid: int, process: Process, config: Config) -> None:
    """Set what a process cannot give itself: higher limits, a lower OOM score and the like.

    Raises:
        SpawnError: The kernel refused one.
    """
    _raise_limits(pid, process)
    if process.oom_score_adj is not None:
        _write(pid, "oom_score_adj", str(process.oom_score_adj))


def _raise_limits(pid: int, process: Process) -> None:
    """Raise hard limits; it takes on the exact values itself, when it needs no more of them."""
    for number, _soft, hard in rlimits(process):
        soft, current = resource.prlimit(pid, number)
        wanted = _signed(hard)
        if current == resource.RLIM_INFINITY or 0 <= wanted <= current:
            continue
        try:
            resource.prlimit(pid, number, (soft, wanted))
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None) or 1
            raise SpawnError("RLIMIT", number, str(error)) from None


def _signed(value: int) -> int:
    """Return a limit as Python's module has it: -1 is RLIM_INFINITY."""
    return -1 if value >= 2**64 - 1 else value


def _write(pid: int, name: str, text: str) -> None:
    try:
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise SpawnError(
            "ATTRIBUTES", error.errno or 0, os.strerror(error.errno or 0), f"process.{name}"
        ) from None
