# SPDX-License-Identifier: Apache-2.0
"""The limits that end a running command: when one can next be reached, and whether one has been."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from .config import SandboxConfig
from .result import Reason

if TYPE_CHECKING:
    from ._cgroup import CommandGroup

_STEP_S: Final = 0.005


class Watch:
    """Wall clock and processor time of one command.

    Processor time cannot be used up faster than all processors give it, so the counter is read only
    when the limit can have been reached, and that is soon exact.
    """

    __slots__ = ("_cpu_at", "_cpu_limit", "_group", "_parallel", "_wall_at")

    def __init__(
        self, config: SandboxConfig, started_at: float, group: CommandGroup | None
    ) -> None:
        """Begin at `started_at` (time.monotonic); without `group` nothing counts the time."""
        self._wall_at = None if config.wall_limit is None else started_at + config.wall_limit
        self._group = group
        self._cpu_limit = config.cpu_limit
        self._cpu_at: float | None = None
        if group is not None and config.cpu_limit is not None:
            self._parallel = min(os.cpu_count() or 1, config.pids or 1 << 20)
            self._cpu_at = started_at + config.cpu_limit / self._parallel

    def pause(self) -> float | None:
        """Return the seconds until a limit can have been reached; None: no limit ever will be."""
        looks = [at for at in (self._wall_at, self._cpu_at) if at is not None]
        return max(0.0, min(looks) - time.monotonic()) if looks else None

    def reached(self) -> Reason | None:
        """Return the limit that has been reached."""
        now = time.monotonic()
        if self._cpu_at is not None and now >= self._cpu_at and self._cpu_reached(now):
            return Reason.CPU_LIMIT
        if self._wall_at is not None and now >= self._wall_at:
            return Reason.WALL_LIMIT
        return None

    def cpu_spent(self, user_and_system_s: float) -> bool:
        """Tell whether a command that ended had used up its processor time.

        Args:
            user_and_system_s: What wait4(2) says of it, where no group counts.
        """
        if self._cpu_limit is None:
            return False
        used = None if self._group is None else self._group.cpu_s()
        return (user_and_system_s if used is None else used) >= self._cpu_limit

    def _cpu_reached(self, now: float) -> bool:
        if self._group is None or self._cpu_limit is None:
            return False
        left = self._cpu_limit - (self._group.cpu_s() or 0.0)
        self._cpu_at = now + max(left / self._parallel, _STEP_S)
        return left <= 0


def shortest(first: float | None, second: float | None) -> float | None:
    """Return the shorter of two times, None being for ever."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
