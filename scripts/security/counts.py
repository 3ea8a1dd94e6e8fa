# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - prose
"""The parts of the report that are numbers: injected faults and fuzzing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .markdown import table

FINDINGS = 3
LEAKS = ("leak", "left", "hang", "crash", "lost", "untyped", "weak", "silent")


def faults(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the fault sweeps came to."""
    yield "## Faults"
    yield ""
    if not records:
        yield "Not run (`make test-faults`)."
        yield ""
        return
    whole = all(record["every"] for record in records)
    errnos: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for record in records:
        errnos.update(record["errnos"])
        wrong.update({kind: count for kind, count in record["kinds"].items() if kind in LEAKS})
    sweeps: Counter[str] = Counter()
    for record in records:
        sweeps[record["sweep"]] += record["runs"]
    yield (
        "Each system call of the core fails once with each of six errors."
        if whole
        else "The short sweep: the first and the last system call of each place in the code fails with one of six errors in turn"
        " (`PYCONTAIN_FAULTS_WHOLE=1` fails each call with each)."
    )
    yield "After each run nothing may be left, nothing may hang, and what runs inside must be as confined as without the fault."
    yield ""
    total = sum(sweeps.values())
    yield (
        f"{total} runs: "
        + ", ".join(f"{count} of {_sweep(name)}" for name, count in sweeps.most_common())
        + "."
    )
    yield f"Injected: {', '.join(f'{name} {count}' for name, count in sorted(errnos.items()))}."
    bad = ", ".join(f"{count} {kind}" for kind, count in wrong.items())
    yield f"Leaks, hangs, crashes, untyped errors, silent weakenings: {bad or 'none'}."
    yield ""
    for record in records:
        for finding in record["findings"][:FINDINGS]:
            yield f"* {_sweep(record['sweep'])}, {record['scenario']}: `{finding[:200]!a}`"
    yield ""
    yield from table(
        ("sweep", "scenario", "caller", "clone", "calls", "runs", "what came of them"),
        (
            (
                _sweep(r["sweep"]),
                r["scenario"],
                r["caller"],
                r["clone"],
                _points(r),
                r["runs"],
                _kinds(r["kinds"]),
            )
            for r in sorted(
                records, key=lambda r: (r["sweep"], r["scenario"], r["caller"], r["clone"])
            )
        ),
    )


def _points(record: Mapping[str, Any]) -> object:
    """Return the number of the core's calls, where it is these that are swept."""
    return "" if record["sweep"] in ("python", "squeezes", "random_kills") else record["points"]


def _sweep(name: str) -> str:
    return {
        "errors": "calls that fail", "python": "Python's own calls that fail", "pairs": "two faults", "kills": "kills of the caller at a call",
        "random_kills": "kills of the caller at random", "deaths": "deaths of a process of ours inside", "squeezes": "shortages",
    }.get(name, name)  # fmt: skip


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def fuzzing(summary: Sequence[Mapping[str, Any]] | None) -> Iterator[str]:
    """Yield what the fuzzers came to."""
    yield "## Fuzzing"
    yield ""
    if summary is None:
        yield "Not run (`make fuzz`)."
        yield ""
        return
    rows = [
        (row["target"], row["executions"], round(row["seconds"]), row["crashes"]) for row in summary
    ]
    total = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
    yield from table(("target", "executions", "seconds", "crashes"), [*rows, ("all", *total)])
