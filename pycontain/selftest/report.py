# SPDX-License-Identifier: Apache-2.0
"""The outcome of a selftest, for people and for programs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pycontain import __version__

from .runner import Examination, Row, Verdict

_COLOURS = {Verdict.HELD: "32", Verdict.BROKEN: "1;31", Verdict.GRANTED: "33"}


def summary(examinations: Sequence[Examination], *, colour: bool) -> Iterator[str]:
    """Yield the lines of a table with a row for each entry and a column for each sandbox."""
    marks = {Verdict.HELD: "held", Verdict.BROKEN: "BROKEN", Verdict.GRANTED: "-"}
    first = examinations[0]
    width = max(len(row.entry.what) for row in first.rows)
    names = [str(examination.cell) for examination in examinations]
    yield f"{'':4} {'':{width}} {' '.join(f'{name:>12}' for name in names)}  outside"
    for rows in zip(*(examination.rows for examination in examinations), strict=True):
        row = rows[0]
        cells = (
            _painted(f"{marks[one.verdict]:>12}", _COLOURS[one.verdict] if colour else "")
            for one in rows
        )
        outside = f"not known: {row.control}" if row.control else "works"
        yield f"{row.entry.id:4} {row.entry.what:{width}} {' '.join(cells)}  {outside}"


def _painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def closing(examinations: Sequence[Examination]) -> Iterator[str]:
    """Yield what is broken, and the sums."""
    total: Counter[Verdict] = Counter()
    for examination in examinations:
        total.update(row.verdict for row in examination.rows)
        for row in examination.broken:
            yield f"BROKEN in {examination.cell}: {row.entry.id} {row.entry.what}: {row.seen}"
    proved = sum(not row.control for row in examinations[0].rows)
    yield (
        f"{total[Verdict.HELD]} held, {total[Verdict.BROKEN]} broken, "
        f"{total[Verdict.GRANTED]} granted by the profile; "
        f"{proved} of {len(examinations[0].rows)} attacks are known to work outside"
    )


def as_json(examinations: Sequence[Examination]) -> dict[str, Any]:
    """Return everything as plain data."""
    kernel = os.uname()
    return {
        "pycontain": __version__,
        "kernel": f"{kernel.sysname} {kernel.release} {kernel.machine}",
        "uid": os.geteuid(),
        "sandboxes": [
            {
                "profile": examination.cell.profile,
                "user": examination.cell.uid,
                "enforcement": dict(examination.enforcement),
                "rows": [_row(row) for row in examination.rows],
            }
            for examination in examinations
        ],
    }


def _row(row: Row) -> dict[str, str | None]:
    return {
        "test": row.entry.id,
        "what": row.entry.what,
        "result": row.verdict.value,
        "seen": row.seen,
        "control": row.control or "works outside",
    }


def enforcement(examination: Examination) -> Iterator[str]:
    """Yield what a sandbox claims to be in force."""
    width = max(map(len, examination.enforcement))
    for name, text in examination.enforcement.items():
        yield f"  {name:{width}} {text}"
