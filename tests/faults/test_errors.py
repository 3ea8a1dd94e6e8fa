# SPDX-License-Identifier: Apache-2.0
"""Each system call of the core fails once: an exception of ours, and nothing is left or weaker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from _faults import Drive

pytestmark = [pytest.mark.requires("root", "faults"), pytest.mark.slow]

# Least number of runs that the calls of each scenario are worth.
ROOT = {
    "one-shot": 100,
    "start": 100,
    "command": 25,
    "audited": 25,
    "big-command": 25,
    "pty": 30,
    "kill": 15,
    "close": 2,
    "files": 20,
    "limited": 100,
    "limited-command": 100,
    "async": 80,
}
USER = {name: ROOT[name] for name in ROOT if not name.startswith("limited")}
CASES = [
    *(("root", "vm", name) for name in ROOT),
    *(("user", "vm", name) for name in USER),
    *(("root", "fork", name) for name in ("start", "command")),
]


@pytest.mark.parametrize("caller, clone, scenario", CASES)
def test_an_error_of_any_call_is_told_and_leaves_nothing(
    caller: str, clone: str, scenario: str, drive: Drive
) -> None:
    report = drive("errors", scenario, caller=caller, clone=clone)
    assert report["runs"] >= ROOT[scenario]
    # The order of some calls depends on which process is faster.
    assert report["kinds"].get("missed", 0) <= report["runs"] / 2


def test_both_parts_of_the_fault_build_are_instrumented(fault_site: Path) -> None:
    for name in ("_init", "_nsbind*.so"):
        (binary,) = (fault_site / "pycontain").glob(name)
        assert b"pycontain faults" in binary.read_bytes()
