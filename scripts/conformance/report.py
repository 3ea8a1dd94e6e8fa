# SPDX-License-Identifier: Apache-2.0
"""docs/conformance.md: a table of the checks, and the reasons where one did not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.checks import CHECKS

Row = Mapping[str, str]
OURS = "pycontain-runtime"
_INTRODUCTION = """\
# Conformance of pycontain-runtime

Made by `make conformance` (scripts/conformance). Each line is a small check of a runtime's command:
a change of a configuration and what must be seen of it, in the container or around it, or a piece
of a container's life. The same is asked of Debian's crun and runc: a check that these pass is
right, and a feature that they do not know is newer than they are. `here` is the machine that made
this page; `v2` is Debian's kernel in an emulated machine with cgroup v2 alone, where control groups
and `exec` are checked.

`+` passes, `-` cannot be tried on that machine, and a number stands for what was seen instead.
"""


class Notes:
    """What is said below the tables, once each."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a sentence."""
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def lines(self) -> list[str]:
        """Return the sentences in their order."""
        return [f"{number}. {text}" for text, number in self._numbers.items()]


def _cell(outcome: str | None, notes: Notes) -> str:
    if outcome is None:
        return ""
    if not outcome:
        return "+"
    if outcome.startswith("-"):
        return "-"
    text = " ".join(outcome.replace("|", "\\|").replace("<", "&lt;").split())
    return str(notes.number(text[:240]))


def counts(rows: Sequence[Row], runtime: str) -> tuple[int, int]:
    """Return how many checks passed and failed."""
    own = [row["outcome"] for row in rows if row["runtime"] == runtime and "outcome" in row]
    passed = own.count("")
    return passed, len([text for text in own if text and not text.startswith("-")])


def page(machines: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        machines: By their names: `kernel`, and `rows` as the guest prints them.
    """
    columns = [
        (machine, row["runtime"])
        for machine, said in machines.items()
        for row in said["rows"]
        if "version" in row
    ]
    found = {
        (machine, row["runtime"], row["area"], row["check"]): row["outcome"]
        for machine, said in machines.items()
        for row in said["rows"]
        if "outcome" in row
    }
    notes = Notes()
    body = []
    for area in dict.fromkeys(check.area for check in CHECKS):
        own = [c for c in columns if any(key[:3] == (*c, area) for key in found)]
        heads = [f"{runtime}, {machine}" for machine, runtime in own]
        body += [f"## {area.capitalize()}", "", f"| | {' | '.join(heads)} |"]
        body.append(f"|---|{':-:|' * len(heads)}")
        for check in CHECKS:
            if check.area == area:
                outcomes = [found.get((*column, area, check.name)) for column in own]
                cells = [_cell(outcome, notes) for outcome in outcomes]
                body.append(f"| {check.name.replace('|', '/')} | {' | '.join(cells)} |")
        body.append("")
    lines = [_INTRODUCTION, *_summary(machines, columns), *body]
    if told := notes.lines():
        lines += ["## What was seen instead", "", *told, ""]
    return "\n".join(lines).rstrip() + "\n"


def _summary(
    machines: Mapping[str, Mapping[str, Any]], columns: Sequence[tuple[str, str]]
) -> list[str]:
    lines = ["| machine | kernel | runtime | passed | not passed |", "|---|---|---|--:|--:|"]
    for machine, runtime in columns:
        rows = machines[machine]["rows"]
        version = next(row["version"] for row in rows if row.get("runtime") == runtime)
        passed, failed = counts(rows, runtime)
        kernel = machines[machine]["kernel"]
        lines.append(f"| {machine} | {kernel} | {version} | {passed} | {failed} |")
    return [*lines, ""]
