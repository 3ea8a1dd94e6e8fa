# SPDX-License-Identifier: Apache-2.0
"""Whoever dies, and whenever: nothing survives, and the next sweep removes what is left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _faults import Drive

pytestmark = [pytest.mark.requires("root", "faults"), pytest.mark.slow]

WHOLE = os.environ.get("PYCONTAIN_FAULTS_WHOLE") == "1"
# At random instants, of each of six scenarios.
KILLS = int(os.environ.get("PYCONTAIN_FAULTS_KILLS") or (250 if WHOLE else 20))
EACH_CALL = {
    "one-shot": 100,
    "start": 100,
    "command": 25,
    "pty": 30,
    "kill": 25,
    "close": 3,
    "files": 20,
    "limited-command": 100,
    "async": 100,
}


@pytest.mark.parametrize("scenario", EACH_CALL)
def test_nothing_survives_a_caller_that_is_killed_at_any_call(scenario: str, drive: Drive) -> None:
    report = drive("kills", scenario)
    assert report["kinds"] == {"gone": report["runs"]}
    assert report["runs"] >= EACH_CALL[scenario]


@pytest.mark.parametrize("caller", ["root", "user"])
@pytest.mark.parametrize("scenario", ["one-shot", "command", "limited-command"])
def test_nothing_survives_a_caller_that_is_killed_at_a_random_instant(
    scenario: str, caller: str, drive: Drive
) -> None:
    if caller == "user" and scenario == "limited-command":
        scenario = "pty"
    report = drive("random_kills", scenario, caller=caller, times=KILLS)
    assert report["kinds"] == {"gone": KILLS}


@pytest.mark.parametrize("scenario", ["one-shot", "start", "command", "limited-command"])
def test_the_death_of_a_process_inside_is_told(scenario: str, drive: Drive) -> None:
    report = drive("deaths", scenario)
    assert report["kinds"]["error"] >= report["runs"] / 2


@pytest.mark.parametrize("scenario", ["one-shot", "command", "kill", "limited-command"])
def test_a_second_error_while_the_first_is_cleaned_up_leaves_nothing(
    scenario: str, drive: Drive
) -> None:
    report = drive("pairs", scenario)
    assert report["kinds"]["error"] >= report["runs"] / 4
