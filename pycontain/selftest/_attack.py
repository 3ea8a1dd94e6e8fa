# SPDX-License-Identifier: Apache-2.0
"""The form of the catalogue's entries."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ._facts import Facts
from ._programs import Call, Line, Program, Word

DENIED: Final = frozenset((errno.EPERM, errno.ENOSYS, errno.EACCES))
"""How a sandbox says no; that a signal ended the program counts as well."""


class Outside(StrEnum):
    """How an attack is tried outside, to see whether it works on this host at all."""

    AS_IT_IS = "as it is"
    APART = "in namespaces of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Something that must fail inside.

    Attributes:
        id: Of the catalogue.
        what: It, for a reader.
        programs: What the probe does; each must be denied.
        denied: Error numbers that are a denial.
        blank: Whether a last result of 0 is a denial too: nothing to read, nothing to find.
        granted: Where it is no attack: profiles (`nested`), or one user of them (`build:0`).
        outside: How it is tried outside, or why it is not.
    """

    id: str
    what: str
    programs: tuple[Program, ...]
    denied: frozenset[int] = DENIED
    blank: bool = False
    granted: frozenset[str] = frozenset()
    outside: Outside | str = Outside.AS_IT_IS


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Something that must not be seen inside.

    Attributes:
        id, what, granted: As those of an attack.
        command: What the probe does; `{victim}` stands for a process: PID 1 inside, one of the same
            user outside.
        complaints: What is wrong, given what the probe says and what the sandbox should be.
        outside: Whether the same must give reason to complain outside; or why that is not tried.
    """

    id: str
    what: str
    command: tuple[str, ...]
    complaints: Callable[[list[Line], Facts], list[str]]
    granted: frozenset[str] = frozenset()
    outside: bool | str = True


def attack(
    number: str,
    what: str,
    *calls: Call,
    also: Iterable[int] = (),
    granted: Iterable[str] = (),
    outside: Outside | str = Outside.AS_IT_IS,
    blank: bool = False,
) -> Attack:
    """Return an attack of one program."""
    return attacks(number, what, (calls,), also=also, granted=granted, outside=outside, blank=blank)


def attacks(
    number: str,
    what: str,
    programs: Iterable[Program],
    *,
    also: Iterable[int] = (),
    granted: Iterable[str] = (),
    outside: Outside | str = Outside.AS_IT_IS,
    blank: bool = False,
) -> Attack:
    """Return an attack of several programs, each of which must be denied."""
    return Attack(
        id=number,
        what=what,
        programs=tuple(programs),
        denied=DENIED | frozenset(also),
        blank=blank,
        granted=frozenset(granted),
        outside=outside,
    )


def call(name: str | int, *words: Word, optional: bool = False, i386: bool = False) -> Call:
    """Return a call."""
    return Call(name, words, optional=optional, i386=i386)


def opened(path: str, flags: int = 0) -> Call:
    """Return the call that opens a file."""
    return call("openat", HERE, path, flags, 0)


HERE: Final = -100
"""AT_FDCWD."""
KEEPS: Final = ("build:0", "compat:0")
"""Who keeps capabilities inside."""
