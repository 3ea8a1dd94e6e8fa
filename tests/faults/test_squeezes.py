# SPDX-License-Identifier: Apache-2.0
"""A caller that is short of descriptors, processes or room: an error of ours, and recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _faults import Drive

pytestmark = [pytest.mark.requires("root", "faults"), pytest.mark.slow]

CASES = [
    *(("root", name) for name in ("one-shot", "start", "command", "pty", "kill", "files")),
    ("root", "limited-command"),
    *(("user", name) for name in ("one-shot", "command")),
]


@pytest.mark.parametrize("caller, scenario", CASES)
def test_a_shortage_is_told_and_leaves_nothing(caller: str, scenario: str, drive: Drive) -> None:
    report = drive("squeezes", scenario, caller=caller)
    assert report["kinds"]["error"] >= 1
    assert report["runs"] >= 16
