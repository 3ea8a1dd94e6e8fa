# SPDX-License-Identifier: Apache-2.0
"""Perform primitives in throw-away children, and find out who refused."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pycontain import _native, _remedies
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
    tried = [_Tried(*row) for row in zip(chosen, programs, _run(programs), strict=True)]
    failed = [each for each in tried if not each.succeeded]
    causes = dict(zip(map(id, failed), _causes(failed), strict=True))
    return tuple(each.performed(causes.get(id(each))) for each in tried)


class _Tried(NamedTuple):
    primitive: Primitive
    program: Program
    came: Outcome

    @property
    def succeeded(self) -> bool:
        """An execution that succeeds never returns to be counted."""
        least = len(self.program) - (self.program[-1].name == "execveat")
        bad = self.came.errno or self.came.signal or self.came.status
        return len(self.came.results) >= least and not bad

    @property
    def call(self) -> Call:
        """The call that failed, or that a signal came in."""
        at = len(self.came.results) - bool(self.came.errno)
        return self.program[min(at, len(self.program) - 1)]

    @property
    def path(self) -> str:
        """The file that the call was about; a write is to what was opened just before."""
        call = self.call
        if call.name == "write":
            call = self.program[self.program.index(call) - 1]
        word = call.words[_PATHS[str(call.name)]] if call.name in _PATHS else ""
        return word if isinstance(word, str) else ""

    def failure(self, *, answered: bool | None) -> Failure:
        return Failure(self.primitive, self.call, self.path, self.came.errno, answered)

    def performed(self, cause: Cause | None) -> Performed:
        if cause is None:
            return Performed(self.primitive, self.came.results)
        said = self.failure(answered=None).said
        return Performed(self.primitive, self.came.results, self.came.errno, said, cause)


def _causes(failed: Sequence[_Tried]) -> list[Cause]:
    """Return why each failed; evidence is gathered only if one has."""
    if not failed:
        return []
    facts = Facts.gather()
    answers = _answers([each.call for each in failed]) if facts.filtered else [None] * len(failed)
    return [
        blame(each.failure(answered=answered), facts)
        if each.came.errno or each.came.signal == _SIGSYS
        else _no_end(each)
        for each, answered in zip(failed, answers, strict=True)
    ]


def _no_end(tried: _Tried) -> Cause:
    """Neither an error nor a filter: a signal, such as that of the timer."""
    return Cause(
        BlockedBy.UNKNOWN,
        f"{tried.call.name} did not come back in time ({tried.came})",
        "try again; if it stays so, look for hung tasks in the kernel's log",
    )


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
        advice = f". {_remedies.PROCESSES}" if number == errno.EAGAIN else ""
        raise UnsupportedError(number, f"nothing can be probed: {error}{advice}") from None
    found = list(outcomes(done.stdout))
    if done.returncode == -_SIGSYS:  # what is around us ends who clones, the prober itself
        found += [Outcome((), _SIGSYS, 0)] * (len(programs) - len(found))
    if len(found) < len(programs):
        raise UnsupportedError(
            errno.EAGAIN, f"nothing can be probed: no child can be made. {_remedies.PROCESSES}"
        )
    return found


def _answers(calls: Sequence[Call]) -> list[bool | None]:
    """Tell for each call whether the kernel itself answers such calls, where that can be told."""
    asked = [witness(call) for call in calls]
    chosen = [pair for pair in asked if pair is not None and possible((pair[0],))]
    found = zip(chosen, _run([(call,) for call, _ in chosen]), strict=True)
    answers = [came.errno == expected for (_, expected), came in found]
    return [answers[chosen.index(pair)] if pair in chosen else None for pair in asked]


def cause_of_step(step: str, number: int) -> Cause | None:
    """Return why a step of a start failed, if what it needs fails again.

    Args:
        step: Its name (enum nsb_step).
        number: Its error number; what fails with the same is blamed first.
    """
    concerned = [primitive for primitive in PRIMITIVES if step in primitive.steps]
    if not concerned:
        return None
    with contextlib.suppress(UnsupportedError):
        failed = [each for each in perform(concerned) if not each.ok]
        return min(failed, key=lambda each: each.errno != number).cause if failed else None
    return None
