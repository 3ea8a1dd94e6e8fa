# SPDX-License-Identifier: Apache-2.0
"""What the probe does inside and outside: programs of system calls, and whatever else it says."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pycontain._calls import (
    I386,
    MACHINE,
    PROBE,
    Call,
    Outcome,
    Program,
    Result,
    Struct,
    Word,
    Zeros,
    encode,
    outcomes,
    possible,
)

__all__ = [
    "I386",
    "MACHINE",
    "PROBE",
    "Call",
    "Line",
    "Outcome",
    "Program",
    "Result",
    "Struct",
    "Word",
    "Zeros",
    "encode",
    "lines",
    "outcomes",
    "possible",
]


class Line(NamedTuple):
    """What the probe says about anything else.

    Attributes:
        what: The path or the attempt.
        result: What the kernel returned.
        text: Content of a file, or target of a link.
        identity: Device and inode of the object that a link in /proc stands for.
    """

    what: str
    result: int
    text: str = ""
    identity: tuple[int, int] = (0, 0)


def lines(output: str) -> list[Line]:
    """Return what the probe says."""
    told: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    return [
        Line(
            entry["what"],
            entry["result"],
            entry.get("text", ""),
            (entry.get("device", 0), entry.get("inode", 0)),
        )
        for entry in told
    ]
