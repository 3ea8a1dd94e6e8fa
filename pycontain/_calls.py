# SPDX-License-Identifier: Apache-2.0
"""Programs of system calls for the probe (src/_selftest), and what came of them.

The probe is a static program without libc, so nothing but the kernel stands between a call and its
answer; it runs each program in a child of its own, for at most five seconds.
"""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from . import _syscalls

PROBE: Final = Path(__file__).with_name("selftest") / "_probe"
"""The program that makes the calls."""

MACHINE: Final = os.uname().machine
I386: Final = {"getpid": 20, "socketcall": 102, "clone": 120, "mount": 21, "socket": 359}


class Zeros(NamedTuple):
    """A pointer to so many zero bytes."""

    size: int


class Result(NamedTuple):
    """The result of an earlier call of the same program."""

    of: int


class Struct(NamedTuple):
    """A pointer to bytes with pointers to other bytes in them, by offset."""

    data: bytes
    pointers: Mapping[int, bytes]


Word = int | str | bytes | Zeros | Result | Struct


@dataclass(frozen=True, slots=True)
class Call:
    """One system call.

    Attributes:
        name: Its name, or its number.
        words: Its arguments; text and bytes go as a pointer to them, with a NUL.
        optional: Whether the program goes on although it failed.
        i386: Whether it is made as a 32-bit call.
        fork: Whether the program goes on in the child that it makes.
    """

    name: str | int
    words: tuple[Word, ...]
    optional: bool = field(default=False, kw_only=True)
    i386: bool = field(default=False, kw_only=True)
    fork: bool = field(default=False, kw_only=True)

    @property
    def number(self) -> int | None:
        """Its number on this machine; None if there is no such call."""
        if isinstance(self.name, int):
            return self.name
        if self.i386:
            return I386[self.name] if MACHINE == "x86_64" else None
        return _syscalls.table(MACHINE).numbers.get(self.name)

    def __str__(self) -> str:
        """Return it as the probe reads it."""
        chosen = zip("?+i", (self.optional, self.fork, self.i386), strict=True)
        flags = "".join(letter for letter, on in chosen if on)
        return " ".join([f"{flags}{self.number}", *map(_encode, self.words)])


Program = tuple[Call, ...]


def _encode(word: Word) -> str:
    match word:
        case int():
            return str(word)
        case str():
            return "=" + os.fsencode(word).hex()
        case bytes():
            return "=" + word.hex()
        case Zeros(size):
            return f"@{size}"
        case Result(earlier):
            return f"${earlier}"
        case Struct(data, pointers):
            return f"={data.hex()}" + "".join(f">{at}={to.hex()}" for at, to in pointers.items())


def possible(program: Program) -> bool:
    """Tell whether this machine has all calls of a program."""
    return all(call.number is not None for call in program)


def encode(program: Program) -> str:
    """Return a program as one argument of the probe."""
    return ";".join(map(str, program))


class Outcome(NamedTuple):
    """What came of a program.

    Attributes:
        results: Of each call, up to the first that failed.
        signal: The one that ended it, or 0.
        status: Its exit status; 0 unless it could not be tried.
    """

    results: tuple[int, ...]
    signal: int
    status: int

    @property
    def last(self) -> int:
        """The result of the last call."""
        return self.results[-1] if self.results else 0

    @property
    def errno(self) -> int:
        """The error number with which it ended, or 0."""
        return -self.last if -4096 < self.last < 0 else 0

    def __str__(self) -> str:
        if self.signal:
            return signal.Signals(self.signal).name
        if self.status:
            return "not tried: no namespaces of its own"
        return errno.errorcode.get(self.errno, str(self.errno)) if self.errno else "done"


def outcomes(output: str) -> Iterator[Outcome]:
    """Yield what the probe says about programs, in their order."""
    for line in output.splitlines():
        told = json.loads(line)
        yield Outcome(tuple(told["results"]), told["signal"], told["status"])
