# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - prose
"""The parts of the report about attacks, lane by lane."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping

import lanes as all_lanes
import pycontain
from _catalogue import ENTRIES, GROUPS
from outcomes import commit

from .evidence import Lane, State
from .markdown import Row, table


def opening() -> Iterator[str]:
    """Yield what this is."""
    today = dt.datetime.now(dt.UTC).date()
    yield "# Security report"
    yield ""
    yield f"Written by `make security-report` on {today}, pycontain {pycontain.__version__} at {commit() or 'no commit'}."
    yield "What has not been run is said so; what was run before has its commit (`+`: with changes). The threat model and the promise are in"
    yield "[security.md](security.md) and [SECURITY.md](../SECURITY.md)."
    yield ""


def lane_summary(found: Mapping[str, Lane]) -> Iterator[str]:
    """Yield the P0 attacks of each lane."""
    known = [entry for entry in ENTRIES if entry.p0]
    yield "## Attacks"
    yield ""
    yield (
        f"{len(ENTRIES)} attacks or groups of them are known, {len(known)} of them P0: no release without. Of a P0 attack"
    )
    yield "all tests that a lane has must pass to be *held* in it. What a lane does not run, others do: see the lists below."
    yield ""
    rows: list[Row] = []
    for name, lane in all_lanes.LANES.items():
        if name not in found:
            rows.append((f"`{name}`", lane.summary, *["not run"] * 5, "", ""))
            continue
        counts, tests = found[name].counts(p0=True), found[name].tests()
        numbers = [
            counts[state] for state in (State.HELD, State.FAILED, State.SKIPPED, State.NOT_RUN)
        ]
        sums = ", ".join(f"{tests[key]} {key}" for key in ("passed", "failed", "skipped"))
        rows.append(
            (
                f"`{name}`",
                lane.summary,
                *numbers,
                sums,
                found[name].outcome.system,
                found[name].outcome.commit,
            )
        )
    head = (
        "lane",
        "circumstances",
        "P0 held",
        "failed",
        "skipped",
        "not in it",
        "tests of attacks",
        "system",
        "commit",
    )
    yield from table(head, rows)
    yield from _nowhere(found)
    yield from _selections(found)


def _nowhere(found: Mapping[str, Lane]) -> Iterator[str]:
    """Yield the P0 attacks that held in no lane."""
    rows = []
    for entry in ENTRIES:
        states = {name: lane.state(entry) for name, lane in found.items()}
        bad = [name for name, state in states.items() if state is State.FAILED]
        if bad:
            rows.append((entry.id, entry.what, f"FAILED in {', '.join(bad)}"))
        elif entry.p0 and State.HELD not in states.values():
            rows.append(
                (entry.id, entry.what, entry.reason or "in none of the lanes that were run")
            )
    yield (
        "Failed, or P0 and tried in no lane:"
        if rows
        else "None failed, and each P0 attack was tried in some lane."
    )
    yield ""
    if rows:
        yield from table(("id", "attack", "why"), rows)


def _selections(found: Mapping[str, Lane]) -> Iterator[str]:
    for name, lane in found.items():
        reasons = Counter(
            reason
            for test, reason in lane.outcome.skipped.items()
            if any(entry.covers(test) for entry in ENTRIES)
        )
        for reason, count in reasons.most_common():
            yield f"* Skipped in `{name}`, {count} tests: {reason}"
        if lane.outcome.note:
            yield f"* `{name}`: {lane.outcome.note}"
        odd = [word for word in lane.outcome.arguments if not word.startswith("tests/")]
        if odd:
            yield f"* `{name}` was run with `{' '.join(odd)}`"
    yield ""


def attacks(found: Mapping[str, Lane]) -> Iterator[str]:
    """Yield every attack, where it is tried and what came of it."""
    names = [name for name in all_lanes.LANES if name in found]
    yield "## Each attack"
    yield ""
    yield "The ids are those in the tests' names and of the selftest's rows. A dash: the lane does not run it."
    yield ""
    for letter, group in GROUPS.items():
        yield f"### {letter}: {group}"
        yield ""
        rows = []
        for entry in ENTRIES:
            if entry.id[0] == letter:
                marks = [found[name].state(entry) for name in names]
                rows.append(
                    (entry.id, "P0" if entry.p0 else "", _about(entry.what, entry.reason), *marks)
                )
        yield from table(("id", "", "attack", *(f"`{name}`" for name in names)), rows)


def _about(what: str, reason: str) -> str:
    return f"{what} ({reason})" if reason else what
