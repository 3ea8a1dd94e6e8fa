# SPDX-License-Identifier: Apache-2.0
"""What a sandbox refused to its programs, and by which rule."""

from __future__ import annotations

import errno as _errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self


class DeniedArgument(NamedTuple):
    """An argument of a refused call: its place from 0 on, what it is called, its value."""

    index: int  # type: ignore[assignment]  # a field, not the method of tuples
    name: str
    value: int
    text: str

    def __str__(self) -> str:
        """Show it as in a call."""
        return f"{self.name}={self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A system call that was refused, and how often.

    Calls count as one if they differ in nothing that the filter looked at.

    Attributes:
        layer: What refused it: `seccomp`.
        syscall: Its name; None for a number that is no known call.
        number: Its number, as the program gave it.
        machine: Whose numbers these are: `x86_64`, `i386`, `x32`, `aarch64` or `arm`.
        args: The arguments that the filter looked at and others worth showing, of the first call.
            What they point to is never looked at.
        errno: The error that the program saw; None: it was killed.
        rule: The rule that decided, in words.
        count: How many calls.
        pid: Process id inside of the first caller.
        comm: That process's name (comm in proc(5)), which it chooses itself; what is not printable
            ASCII is escaped.
    """

    layer: str
    syscall: str | None
    number: int
    machine: str
    args: tuple[DeniedArgument, ...]
    errno: int | None
    rule: str
    count: int
    pid: int
    comm: str

    @property
    def call(self) -> str:
        """The call as C writes it, with what is known of its arguments."""
        name = self.syscall or f"syscall {self.number:#x} of {self.machine}"
        return f"{name}({', '.join(map(str, self.args))})"

    @property
    def outcome(self) -> str:
        """The name of the error, or `killed`."""
        if self.errno is None:
            return "killed"
        return _errno.errorcode.get(self.errno, str(self.errno))

    def __str__(self) -> str:
        """Say it in a line."""
        often = f" x{self.count}" if self.count > 1 else ""
        return f"{self.call}: {self.outcome}{often}, by {self.comm}[{self.pid}]; {self.rule}"


class Denials(tuple[Denial, ...]):  # noqa: SLOT001 - tuples of any length have no slots
    """The denials of a command or of a sandbox, in the order of their first calls.

    Attributes:
        total: How many calls were refused; more than the counts tell if there were more kinds than
            are told apart.
    """

    total: int

    def __new__(cls, rows: Iterable[Denial] = (), total: int | None = None) -> Self:
        """Make one; `total` is by default what the rows have counted."""
        self = super().__new__(cls, rows)
        self.total = sum(row.count for row in self) if total is None else total
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """What copies are made from."""
        return tuple(self), self.total

    @property
    def untold(self) -> int:
        """How many calls no row counts."""
        return self.total - sum(row.count for row in self)
