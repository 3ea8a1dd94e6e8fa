# SPDX-License-Identifier: Apache-2.0
"""Attempts everything outside and inside, and compares with what must come of it."""

from __future__ import annotations

import functools
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from pycontain import Bind, PycontainError, Sandbox
from pycontain import profile as profiles

from ._facts import Facts, facts_of
from ._programs import PROBE, Outcome, encode, lines, outcomes, possible
from .catalogue import ATTACKS, INSPECTIONS, Attack, Inspection, Outside

INSIDE: Final = "/selftest/probe"
TIMEOUT_S: Final = 120
Run = Callable[[Sequence[str]], str]
"""Runs the probe with some words and returns what it says."""


class Verdict(StrEnum):
    """What became of an entry inside."""

    HELD = "held"
    BROKEN = "BROKEN"
    GRANTED = "granted"


class Cell(NamedTuple):
    """A kind of sandbox: a profile and the user of its programs."""

    profile: str
    uid: int

    def __str__(self) -> str:
        return f"{self.profile}:{self.uid}"


Entry = Attack | Inspection
Controls = Mapping[tuple[str, str], str]
"""By id and name of an entry: "" if it works outside, on this very host, else why it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry in one kind of sandbox.

    Attributes:
        entry: Of the catalogue.
        verdict: What became of it.
        seen: Error numbers by name, or what there is to complain about.
        control: "" if it works outside; else why that is not known.
    """

    entry: Entry
    verdict: Verdict
    seen: str
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What came of one kind of sandbox.

    Attributes:
        cell: Which.
        rows: Of all entries that this machine has.
        enforcement: What the sandbox claims, in words.
    """

    cell: Cell
    rows: tuple[Row, ...]
    enforcement: Mapping[str, str]

    @property
    def broken(self) -> tuple[Row, ...]:
        """The rows that must not be."""
        return tuple(row for row in self.rows if row.verdict is Verdict.BROKEN)


def refused(attack: Attack, outcome: Outcome) -> bool:
    """Tell whether a program of an attack came to nothing."""
    if outcome.signal or outcome.status:
        return outcome.signal == signal.SIGSYS
    return outcome.errno in attack.denied or (attack.blank and outcome.last == 0)


def cells(names: Sequence[str] = profiles.names()) -> list[Cell]:
    """Return the kinds of sandboxes that this user can have: each profile, as root and not."""
    found = []
    for name in names:
        own = profiles.get(name).user
        users = (own,) if _has_one_id(name) else (own, 1000 if own == 0 else 0)
        found += [Cell(name, uid) for uid in users]
    return found


def _has_one_id(name: str) -> bool:
    profile = profiles.get(name)
    return facts_of(Sandbox(profile=name), profile, profile.user).ids == 1


def control() -> Controls:
    """Try everything outside that harms nobody there."""
    reasons = {(entry.id, entry.what): entry.outside for entry in ATTACKS}
    with tempfile.TemporaryDirectory(prefix="pycontain-selftest-") as folder:
        for way, command in ((Outside.AS_IT_IS, "calls"), (Outside.APART, "apart")):
            chosen = [attack for attack in ATTACKS if attack.outside is way]
            run = functools.partial(_outside, folder, command)
            reasons |= {(entry.id, entry.what): why for entry, why in _controlled(chosen, run)}
        run = functools.partial(_outside, folder)
        reasons |= {(entry.id, entry.what): why for entry, why in _looked_at(run)}
    return reasons


def _controlled(attacks: list[Attack], run: Run) -> Iterator[tuple[Attack, str]]:
    for attack, found in attempt(attacks, run):
        works = any(
            not (refused(attack, outcome) or outcome.signal or outcome.status) for outcome in found
        )
        yield attack, "" if works else f"outside it is {_summary(found)} too"


def _looked_at(run: Run) -> Iterator[tuple[Inspection, str]]:
    profile = profiles.default
    facts = facts_of(Sandbox(), profile, profile.user)
    with _victim() as victim:
        for entry in INSPECTIONS:
            if isinstance(entry.outside, str):
                yield entry, entry.outside
                continue
            told = lines(run([word.format(victim=victim) for word in entry.command]))
            yield entry, "" if entry.complaints(told, facts) else "outside it is the same"


def _outside(folder: str, *words: str | Sequence[str]) -> str:
    *first, last = words
    done = subprocess.run(
        [PROBE, *map(str, first), *last],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    return done.stdout


@contextmanager
def _victim() -> Iterator[int]:
    """Yield the id of a process of the same user."""
    process = subprocess.Popen([PROBE, "pause"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with process:
        try:
            if process.stdout is not None:
                process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def attempt(attacks: Sequence[Attack], run: Run) -> Iterator[tuple[Attack, list[Outcome]]]:
    """Run the programs of all attacks in one go, but for those that this machine does not have."""
    chosen = [(attack, list(filter(possible, attack.programs))) for attack in attacks]
    found = outcomes(run([encode(program) for _, programs in chosen for program in programs]))
    for attack, programs in chosen:
        if programs:
            yield attack, [next(found) for _ in programs]


def _summary(found: Sequence[Outcome]) -> str:
    counts = Counter(map(str, found))
    return ", ".join(
        name if count == 1 or len(counts) == 1 else f"{name} {count} times"
        for name, count in counts.items()
    )


def examine(cell: Cell, controls: Controls) -> Examination:
    """Try everything inside one kind of sandbox.

    Raises:
        PycontainError: It cannot be had on this host, or the probe did not come to its end.
    """
    with Sandbox(profile=cell.profile, mounts=(Bind(PROBE, INSIDE),)) as sandbox:
        facts = facts_of(sandbox, profiles.get(cell.profile), cell.uid)

        def run(words: Sequence[str]) -> str:
            command = [INSIDE, *words]
            done = sandbox.run(
                command,
                user=cell.uid,
                cwd="/tmp",
                text=True,
            )
            # A profile that kills ends the probe where an inspection makes a forbidden call.
            if done.returncode not in (0, -signal.SIGSYS):
                raise PycontainError(f"the probe: {done}")
            return str(done.stdout)

        rows = [
            _attack_row(cell, attack, found, controls)
            for attack, found in attempt(ATTACKS, lambda words: run(["calls", *words]))
        ]
        rows += [_inspection_row(cell, entry, run, facts, controls) for entry in INSPECTIONS]
        claims = {name: str(held) for name, held in sandbox.enforcement.items()}
    return Examination(cell=cell, rows=tuple(rows), enforcement=claims)


def _verdict(cell: Cell, entry: Entry, *, held: bool) -> Verdict:
    if held:
        return Verdict.HELD
    granted = entry.granted & {cell.profile, str(cell)}
    return Verdict.GRANTED if granted else Verdict.BROKEN


def _attack_row(cell: Cell, attack: Attack, found: list[Outcome], controls: Controls) -> Row:
    wrong = [
        f"{encode(program)}: {outcome}"
        for program, outcome in zip(filter(possible, attack.programs), found, strict=True)
        if not refused(attack, outcome)
    ]
    return Row(
        entry=attack,
        verdict=_verdict(cell, attack, held=not wrong),
        seen="; ".join(wrong) if wrong and len(found) > 1 else _summary(found),
        control=controls[attack.id, attack.what],
    )


def _inspection_row(
    cell: Cell, entry: Inspection, run: Run, facts: Facts, controls: Controls
) -> Row:
    words = [word.format(victim=1) for word in entry.command]
    wrong = entry.complaints(lines(run(words)), facts)
    return Row(
        entry=entry,
        verdict=_verdict(cell, entry, held=not wrong),
        seen="; ".join(wrong) or "as it should be",
        control=controls[entry.id, entry.what],
    )
