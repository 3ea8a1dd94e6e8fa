# SPDX-License-Identifier: Apache-2.0
"""Each system call that the package makes from Python fails once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _faults import Drive

pytestmark = [pytest.mark.requires("root", "faults"), pytest.mark.slow]

# Least number of calls of each scenario.
SCENARIOS = {
    "one-shot": 30,
    "start": 10,
    "command": 3,
    "pty": 3,
    "limited-command": 80,
    "async": 10,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_error_of_any_call_is_told_and_leaves_nothing(scenario: str, drive: Drive) -> None:
    report = drive("python", scenario)
    assert report["runs"] >= SCENARIOS[scenario]
