# SPDX-License-Identifier: Apache-2.0
"""Which controls are really in force: nothing is weaker than it seems without saying so."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from .errors import ConfigError, UnsupportedError

GROUP_CONTROLS: Final = (
    *("memory", "pids", "cpus", "cpuset", "swap", "io", "cpu_limit"),
    *("tracking", "kill", "freeze", "oom_group"),
)
"""Names of the controls that need control groups, which are made when a sandbox starts."""


class Control(NamedTuple):
    """One control, and whether it is in force.

    Attributes:
        in_force: The kernel applies it to the sandbox.
        by: What applies it, such as `cgroup v2 memory.max`; empty when nothing does.
        why: Why it is not in force.
        remedy: What would bring it into force.
    """

    in_force: bool
    by: str = ""
    why: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        """Say it in a line."""
        if self.in_force:
            return self.by or "in force"
        return f"NOT in force: {self.why}" + (f"; {self.remedy}" if self.remedy else "")


def check_required(
    enforcement: Mapping[str, Control],
    require: Collection[str],
    accept_missing: Collection[str],
    asked: Collection[str],
) -> None:
    """Fail closed.

    Args:
        enforcement: What is in force.
        require: Names that must be, whether they were asked for by another option or not.
        accept_missing: Names that may be missing although they were asked for.
        asked: Names that another option asked for.

    Raises:
        ConfigError: An unknown name.
        UnsupportedError: A control is not in force; the message has the reason and the remedy.
    """
    unknown = sorted({*require, *accept_missing} - enforcement.keys())
    if unknown:
        known = ", ".join(sorted(enforcement))
        raise ConfigError(
            f"require, accept_missing: unknown {', '.join(unknown)}; known are {known}"
        )
    for name in (*require, *(name for name in asked if name not in accept_missing)):
        control = enforcement[name]
        if not control.in_force:
            raise UnsupportedError(errno.EOPNOTSUPP, f"{name} is {control}")
