# SPDX-License-Identifier: Apache-2.0
"""Perform primitives in throw-away children, and find out who refused."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pycontain import _native
from pycontain._calls import PROBE, Call, Outcome, Program, encode, outcomes, possible
from pycontain._cause import BlockedBy, Cause
from pycontain.errors import UnsupportedError

from ._blame import Failure, blame
from ._facts import Facts
from ._primitives import PRIMITIVES, Caller, Primitive, witness

_TIMEOUT_S: Final = 60
_PATHS: Final = {"openat": 1, "openat2": 1, "mkdirat": 1, "mount": 1, "move_mount": 3}


class Performed(NamedTuple):
    """What came of a primitive.

    Attributes:
        primitive: Which.
        results: Of its calls.
        errno: With which error number it failed; 0: it did not, or a signal ended it.
        call: What failed; empty: nothing.
        cause: Why; None: it works.
    """

    primitive: Primitive
    results: tuple[int, ...]
    errno: int = 0
    call: str = ""
    cause: Cause | None = None

    @property
    def ok(self) -> bool:
        """Whether it works."""
        return self.cause is None


def perform(primitives: Iterable[Primitive] = PRIMITIVES) -> tuple[Performed, ...]:
    """Do them, each in a child of its own.

    Raises:
        UnsupportedError: The program that does it cannot be started.
    """
    clone3 = _native.available(_native.Probe.CLONE3)
    caller = Caller(os.geteuid(), os.getegid(), clone3)
    chosen = tuple(primitives)
    programs = [primitive.program(caller) for primitive in chosen]
    found = list(zip(chosen, programs, _run(programs), strict=True))
    failed = [(program, came) for _, program, came in found if not _succeeded(program, came)]
    facts = Facts.gather() if failed else None
    answers = _answered([_failed_call(program, came) for program, came in failed], facts)
    return tuple(
        _performed(primitive, program, came, facts, answers)
        for primitive, program, came in found
    )


def _performed(
    primitive: Primitive,
    program: Program,
    came: Outcome,
    facts: Facts | None,
    answers: dict[Call, bool],
) -> Performed:
    if facts is None or _succeeded(program, came):
        return Performed(primitive, came.results)
    call = _failed_call(program, came)
    failure = Failure(
        primitive, call, _path(program, call), came.errno or errno.EINTR * bool(came.status),
        answers.get(call),
    )  # fmt: skip
    return Performed(primitive, came.results, came.errno, failure.said, _cause(failure, came, facts))


def _cause(failure: Failure, came: Outcome, facts: Facts) -> Cause:
    if came.signal and came.signal != _SIGSYS:
        name = failure.primitive.name
        why = f"{name} ended by signal {came.signal}: it did not come to its end in time"
        return Cause(BlockedBy.UNKNOWN, why, "try again; is a file system hanging?")
    return blame(failure, facts)


_SIGSYS: Final = 31


def _run(programs: Sequence[Program]) -> list[Outcome]:
    try:
        done = subprocess.run(
            [PROBE, "calls", *map(encode, programs)],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        number = getattr(error, "errno", None) or errno.EIO
        raise UnsupportedError(number, f"nothing can be probed: {error}", str(PROBE)) from None
    found = list(outcomes(done.stdout))
    # What is around us ended the prober itself: nothing after that could be tried.
    return found + [Outcome((), _SIGSYS, 0)] * (len(programs) - len(found))


def _succeeded(program: Program, came: Outcome) -> bool:
    """An execution that succeeds never returns to be counted."""
    least = len(program) - (program[-1].name == "execveat")
    return len(came.results) >= least and not (came.errno or came.signal or came.status)


def _failed_call(program: Program, came: Outcome) -> Call:
    """Return the call that failed, or that a signal came in."""
    at = len(came.results) - bool(came.errno)
    return program[min(at, len(program) - 1)]


def _path(program: Program, call: Call) -> str:
    """Return the file that a call is about; a write is to what was opened just before."""
    if call.name == "write":
        call = program[program.index(call) - 1]
    word = call.words[_PATHS[str(call.name)]] if call.name in _PATHS else ""
    return word if isinstance(word, str) else ""


def _answered(calls: Sequence[Call], facts: Facts | None) -> dict[Call, bool]:
    """Find out which calls the kernel itself answers, where a filter may be in between."""
    if facts is None or not facts.filtered:
        return {}
    asked = {call: pair for call in calls if (pair := witness(call)) and possible((pair[0],))}
    found = _run([(pair[0],) for pair in asked.values()])
    pairs = zip(asked.items(), found, strict=True)
    return {call: came.errno == expected for (call, (_, expected)), came in pairs}


def cause_of_step(step: str, number: int) -> Cause | None:
    """Return why a step of a start failed with an error number, if the same can be seen again.

    Args:
        step: Its name (enum nsb_step).
        number: The error number.
    """
    concerned = [primitive for primitive in PRIMITIVES if step in primitive.steps]
    if not concerned:
        return None
    with contextlib.suppress(UnsupportedError):
        for each in perform(concerned):
            if each.cause is not None and each.errno == number:
                return each.cause
    return None
