# SPDX-License-Identifier: Apache-2.0
"""What the lanes, the sweeps and the fuzzers left in build/, by attack."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from _catalogue import ENTRIES, Entry
from outcomes import Outcome

REPOSITORY = Path(__file__).parents[2]
BUILD = REPOSITORY / "build"


class State(StrEnum):
    """What came of an attack in a lane."""

    HELD = "held"
    FAILED = "FAILED"
    SKIPPED = "skipped"
    NOT_RUN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """What came of the last run of a lane."""

    name: str
    outcome: Outcome

    def state(self, entry: Entry) -> State:
        """Tell what came of an attack: of all its tests that the lane has."""
        if any(map(entry.covers, self.outcome.failed)):
            return State.FAILED
        if any(map(entry.covers, self.outcome.ran)):
            return State.HELD
        return State.SKIPPED if any(map(entry.covers, self.outcome.skipped)) else State.NOT_RUN

    def counts(self, *, p0: bool) -> Counter[State]:
        """Count the attacks by what came of them."""
        return Counter(self.state(entry) for entry in ENTRIES if entry.p0 or not p0)

    def tests(self) -> Counter[str]:
        """Count the tests that belong to an attack."""
        failed, skipped = self.outcome.failed, self.outcome.skipped
        passed = self.outcome.ran - failed
        return Counter(
            {
                name: sum(any(entry.covers(test) for entry in ENTRIES) for test in tests)
                for name, tests in (("passed", passed), ("failed", failed), ("skipped", skipped))
            }
        )


def lanes() -> dict[str, Lane]:
    """Return those that have been run."""
    found = {}
    for path in (BUILD / "lanes").glob("*.json"):
        found[path.stem] = Lane(name=path.stem, outcome=Outcome.from_json(path.read_text()))
    return found


def loaded(name: str) -> Any:
    """Return a file of build/; None if there is none."""
    path = BUILD / name
    return json.loads(path.read_text()) if path.exists() else None


def test_files() -> list[str]:
    """Return the files and directories whose tests belong to an attack."""
    places = {place.partition("::")[0] for entry in ENTRIES for place in entry.places}
    paths = {Path("tests", place) for place in {*places, "adversarial"}}
    return sorted(str(path) for path in paths if paths.isdisjoint(path.parents))
