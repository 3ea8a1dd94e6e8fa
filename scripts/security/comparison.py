# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - prose
"""The part of the report that compares with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .markdown import table


def blocking(measured: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield who blocks what."""
    yield "## Who blocks what"
    yield ""
    if measured is None:
        yield "Not run (`make security-report`)."
        yield ""
        return
    columns = measured["columns"]
    there = [column for column in columns if "rows" in column]
    yield "The selftest's probe in other sandboxes, with the options that their own documents begin with, and in ours. None is configured"
    yield "for this list, and most have options that block more (a seccomp filter for bubblewrap, runc and crun, for one). *Works* means"
    yield "that the attempt came as far as it does on the bare host, be it only to the kernel's check of its arguments: a part of the kernel"
    yield "that shows, not an escape."
    yield ""
    for column in columns:
        reason = f"; could not run: {column['reason']}" if "reason" in column else ""
        yield f"* **{column['name']}**{', started by ' + column['caller'] if 'caller' in column else ''}: {column.get('how', '')}{reason}"
    yield ""
    host = measured["host"]
    applying = [n for n, row in enumerate(host) if not row["reason"]]
    yield f"Of {len(host)} attacks {len(applying)} work on this host; the others cannot be judged here and are listed below."
    yield ""
    sums = [Counter(column["rows"][n]["cell"] for n in applying) for column in there]
    yield from table(
        ("", "host", *(column["name"] for column in columns)),
        [
            ("blocked", 0, *_per_column(columns, [one["blocked"] for one in sums])),
            ("works", len(applying), *_per_column(columns, [one["works"] for one in sums])),
        ],
    )
    rows = []
    for n in applying:
        cells = iter([_mark(column["rows"][n]["cell"]) for column in there])
        marks = [next(cells) if "rows" in column else "could not run" for column in columns]
        rows.append((host[n]["id"], host[n]["what"], "works", *marks))
    yield from table(("id", "attack", "host", *(column["name"] for column in columns)), rows)
    yield "Not applicable, since they fail on this host, too:"
    yield ""
    for row in host:
        if row["reason"]:
            yield f"* {row['id']} {row['what']}: {row['reason']}"
    yield ""


def _per_column(columns: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> Iterator[object]:
    remaining = iter(numbers)
    return (next(remaining) if "rows" in column else "could not run" for column in columns)


def _mark(cell: str) -> str:
    return "**works**" if cell == "works" else cell
