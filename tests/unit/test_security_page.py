# SPDX-License-Identifier: Apache-2.0
"""SECURITY.md's table of layers is of the profiles as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import _bpf
from pycontain import _seccomp, _syscalls, profile
from pycontain._landlock import SCOPE_SIGNAL, ruleset
from pycontain.config import SandboxConfig

PAGE = Path(__file__).parents[2] / "SECURITY.md"
YES = {True: "yes", False: "no"}
VERDICTS = {
    _bpf.ERRNO | 1: "EPERM",
    _bpf.ERRNO | 38: "ENOSYS",
    _bpf.KILL_PROCESS: "ends the program",
}


def said(name: str) -> list[str]:
    """Return the column of a profile."""
    rows = [
        re.split(r" *\| *", row)[1:-1] for row in PAGE.read_text().splitlines() if row[:1] == "|"
    ]
    start = next(at for at, row in enumerate(rows) if row[0] == "layer")
    column = rows[start].index(f"`{name}`")
    width = len(rows[start])
    table = rows[start + 2 :]
    end = next(at for at, row in enumerate(table) if len(row) != width)
    return [row[column] for row in table[:end]]


def bound(number: int | None) -> str:
    if number is None:
        return "no bound"
    for power, unit in ((30, " GiB"), (20, " MiB")):
        if number >> power:
            return f"{number >> power}{unit}"
    return f"{number}"


@pytest.mark.parametrize("name", profile.names())
def test_each_layer_of_a_profile_is_as_the_page_says(name: str) -> None:
    mine = profile.get(name)
    program = _bpf.parse(_seccomp.compile(mine.seccomp, "x86_64"))
    numbers = _syscalls.table("x86_64").numbers
    rules = ruleset(SandboxConfig(), mine, 7)
    allowed = {call for rule in mine.seccomp.rules if rule.action.permits for call in rule.names}

    assert len(numbers) == 385
    assert said(name) == [
        "new",
        "yes",
        str(len(allowed & numbers.keys())),
        VERDICTS[mine.seccomp.default.code],
        VERDICTS[_bpf.run(program, _bpf.X86_64, max(numbers.values()) + 1)],
        VERDICTS[_bpf.run(program, _bpf.I386, 20)],
        str(len(mine.capabilities)),
        YES[mine.no_new_privileges],
        YES[not mine.nested],
        YES[rules is not None],
        YES[rules is not None and bool(rules.net and rules.scoped & SCOPE_SIGNAL)],
        str(len(mine.masked_paths)),
        YES[mine.proc_subset],
        bound(mine.memory),
        bound(mine.pids),
    ]
