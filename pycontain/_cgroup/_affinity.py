# SPDX-License-Identifier: Apache-2.0
"""The processors that sched_setaffinity(2) can give: those of this process's cpuset."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pycontain.errors import ConfigError

from . import _files
from ._cpus import format_cpuset, parse_cpuset
from ._hierarchy import detect

if TYPE_CHECKING:
    from ._hierarchy import Host

_ONLINE = "/sys/devices/system/cpu/online"


def allowed_cpus(host: Host | None = None) -> tuple[str, str] | None:
    """Return the CPUs in the kernel's list format and the file that says so; None if none does."""
    host = host or detect()
    found = host.v1_of("cpuset") or host.v2
    if found is not None and found.own is not None:
        name = "cpuset.effective_cpus" if found.version == 1 else "cpuset.cpus.effective"
        directory = found.own
        while True:  # on v2 only groups with the controller have the file
            if text := _files.read_optional(f"{directory}/{name}"):
                return text.strip(), f"{directory}/{name}"
            if directory == found.mount:
                break
            directory = os.path.dirname(directory)
    text = _files.read_optional(_ONLINE)
    return (text.strip(), _ONLINE) if text else None


def check_affinity(cpuset: str) -> frozenset[int]:
    """Return the CPUs of a cpuset, all of which this process can give.

    Raises:
        ConfigError: Not a list of CPUs, or one that is absent or of another cpuset.
    """
    wanted = parse_cpuset(cpuset)
    allowed = allowed_cpus()
    if allowed is not None and (absent := wanted - parse_cpuset(allowed[0])):
        raise ConfigError(
            f"cpuset={cpuset!r}: this process cannot give the CPUs {format_cpuset(absent)} "
            f"({allowed[1]}: {allowed[0]}): choose among those"
        )
    return wanted
