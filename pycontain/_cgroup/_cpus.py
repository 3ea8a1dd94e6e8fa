# SPDX-License-Identifier: Apache-2.0
"""Sets of CPUs in the kernel's list format (cpuset(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pycontain.errors import ConfigError

_CPUS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_LARGEST_SET = 1 << 16


def parse_cpuset(text: str) -> frozenset[int]:
    """Parse a list of CPUs such as `0-2,5` (cpuset(7), "List format"). Raises ConfigError."""
    found: set[int] = set()
    for part in text.strip().split(","):
        match = _CPUS.fullmatch(part.strip())
        if match is None:
            raise ConfigError(
                f"cpuset {text!r}: {part!r} is not a CPU number or a range such as 0-3"
            )
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high or high >= _LARGEST_SET:
            raise ConfigError(f"cpuset {text!r}: {part!r} is not an ascending range of CPUs")
        found.update(range(low, high + 1))
    return frozenset(found)


def format_cpuset(cpus: Iterable[int]) -> str:
    """Write a set of CPUs in the kernel's list format."""
    return ",".join(map(str, sorted(cpus)))
