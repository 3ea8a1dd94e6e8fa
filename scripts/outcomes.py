# SPDX-License-Identifier: Apache-2.0
"""What came of the lanes, and the closing line that adds them up."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MUST_WORK = os.environ.get("PYCONTAIN_MUST_WORK") == "1"
COLUMNS = ("passed", "failed", "skipped")


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of one lane.

    Attributes:
        counts: Tests by outcome.
        ran, failed: Ids of tests that came to their end, and of those that failed.
        dropped: Those that are left to other lanes.
        skipped: Why, by the test's id.
        faults: What the fault sweeps say of themselves.
        system: The kernel, the distribution and the interpreter.
        commit: Of the sources.
        arguments: What pytest was given beyond the lane's own.
        seconds: How long it took.
        note: What else went wrong.
    """

    counts: Counter[str] = field(default_factory=Counter)
    ran: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    system: str = ""
    commit: str = ""
    arguments: list[str] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    def fail(self, note: str) -> None:
        """Count a failure of the lane itself."""
        self.counts["failed"] += 1
        self.note = "; ".join(filter(None, (self.note, note)))

    def to_json(self) -> str:
        """Return the outcome as one line of JSON."""
        # Not dataclasses.asdict(), which makes another thing of a Counter.
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return json.dumps(fields, default=sorted)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """Return the outcome that `to_json`, or tests/conftest.py, wrote.

        Raises:
            ValueError, KeyError: It is none.
        """
        fields = json.loads(text)
        for name, kind in (("counts", Counter), ("ran", set), ("failed", set), ("dropped", set)):
            fields[name] = kind(fields[name])
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(str(error)) from None


def commit() -> str:
    """Return the sources' commit, with a plus sign if they are not as committed; "" without git."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def keep(outcomes: Mapping[str, Outcome], folder: Path) -> None:
    """Write each lane's outcome to a file of its name, for `make security-report`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, outcome in outcomes.items():
        if outcome.ran:
            outcome.commit = commit()
            (folder / f"{name}.json").write_text(outcome.to_json() + "\n")


def impossible(reason: str) -> Outcome:
    """Return the outcome of a lane that cannot run here: a skip, or a failure if all must work."""
    outcome = Outcome(counts=Counter(skipped=1), note=reason)
    if MUST_WORK:
        outcome.fail("and PYCONTAIN_MUST_WORK=1")
    return outcome


def conclude(outcomes: Mapping[str, Outcome], *, whole: bool) -> int:
    """Print the table and the closing line; return the exit code.

    With `whole`, a test that ran in no lane counts as skipped.
    """
    total: Counter[str] = Counter(dict.fromkeys(COLUMNS, 0))
    width = max(map(len, outcomes))
    print("\n=== lanes")
    for name, outcome in outcomes.items():
        total += Counter(outcome.counts)
        row = ", ".join(f"{outcome.counts[key]} {key}" for key in COLUMNS)
        left = f", {len(outcome.dropped)} for other lanes" if outcome.dropped else ""
        note = f"  [{outcome.note}]" if outcome.note else ""
        print(f"{name:{width}} {row}{left} in {outcome.seconds:.0f} s{note}")
    if whole:
        nowhere = _nowhere(outcomes.values())
        for test in sorted(nowhere):
            print(f"ran in no lane: {test}")
        total["failed" if MUST_WORK else "skipped"] += len(nowhere)
    print(", ".join(f"{total[key]} {key}" for key in COLUMNS), flush=True)
    return 1 if total["failed"] or not total["passed"] else 0


def _nowhere(outcomes: Iterable[Outcome]) -> set[str]:
    ran, dropped = set[str](), set[str]()
    for outcome in outcomes:
        ran |= outcome.ran
        dropped |= outcome.dropped
    return dropped - ran
