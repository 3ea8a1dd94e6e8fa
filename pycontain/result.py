# SPDX-License-Identifier: Apache-2.0
"""What a command left behind: its exit, its output, its verdict and its usage."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from .denial import Denials
from .errors import CalledProcessError


class Reason(StrEnum):
    """Why a command ended. One value, the first that applies in the order of the evidence."""

    EXITED = "exited"
    SIGNALED = "signaled"
    WALL_LIMIT = "wall_limit"
    CPU_LIMIT = "cpu_limit"
    OOM = "oom"
    PIDS_LIMIT = "pids_limit"
    OUTPUT_LIMIT = "output_limit"
    DISK_FULL = "disk_full"
    SECCOMP = "seccomp"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a command and its descendants used; None where nothing could measure it.

    Attributes:
        wall_s: Seconds of a monotonic clock, from the request to the report of the end.
        user_s, system_s: Seconds of processor time.
        memory_peak: Bytes.
        pids_peak: Processes and threads at once.
        io_read, io_write: Bytes.
        sources: For each of the names above, what measured it.
    """

    wall_s: float
    user_s: float | None = None
    system_s: float | None = None
    memory_peak: int | None = None
    pids_peak: int | None = None
    io_read: int | None = None
    io_write: int | None = None
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[Any, ...]:
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return _usage, ({**values, "sources": dict(self.sources)},)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What the commands of a living sandbox use at a moment; None where nothing can measure it.

    Attributes:
        time_s: When, by `time.monotonic`.
        memory, memory_peak: Bytes now, and at most so far.
        pids, pids_peak: Processes and threads now, and at most so far.
        user_s, system_s: Seconds of processor time so far.
        io_read, io_write: Bytes from and to block devices so far.
        pressure: Percent of the last ten seconds in which some, or all, waited: `cpu_some`,
            `memory_some`, `memory_full`, `io_some`, `io_full` (Documentation/accounting/psi.rst).
        sources: For each of these, what measured it.
    """

    time_s: float
    memory: int | None = None
    memory_peak: int | None = None
    pids: int | None = None
    pids_peak: int | None = None
    user_s: float | None = None
    system_s: float | None = None
    io_read: int | None = None
    io_write: int | None = None
    pressure: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    sources: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _usage(values: dict[str, Any]) -> Usage:
    return Usage(**values)


class Result(subprocess.CompletedProcess[Any]):
    """A `subprocess.CompletedProcess` with a verdict.

    Attributes:
        reason: Why the command ended.
        usage: What it used.
        truncated: Names of the streams of which only the first `output_limit` bytes were kept.
        denials: The system calls that were refused until the command ended; None without `audit`,
            and where its sandbox ended before it could tell.
        explanation: What of the program does not fit this host, where it ended as such programs do
            (SIGILL, SIGSEGV, SIGSYS, or the status 127 of a loader), such as a level of x86-64;
            else None.
    """

    def __init__(  # noqa: PLR0913 - what a command leaves behind
        self,
        args: Any,
        returncode: int,
        stdout: Any,
        stderr: Any,
        *,
        reason: Reason,
        usage: Usage,
        truncated: frozenset[str] = frozenset(),
        denials: Denials | None = None,
        explanation: str | None = None,
    ) -> None:
        super().__init__(args, returncode, stdout, stderr)
        self.reason = reason
        self.usage = usage
        self.truncated = truncated
        self.denials = denials
        self.explanation = explanation

    def check_returncode(self) -> None:
        """Raise CalledProcessError if the exit status is not zero."""
        if self.returncode:
            raise CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)

    def __repr__(self) -> str:
        """Show the verdict beside what subprocess shows; bytes and text are escaped by repr."""
        return f"{super().__repr__()[:-1]}, reason={self.reason.value!r})"
