# SPDX-License-Identifier: Apache-2.0
"""What a limit of memory and processes adds to a sandbox, and to a command in one that lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.workloads import LIMIT_THREADS, LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("case", LIMITS)
@pytest.mark.parametrize("number", LIMIT_THREADS)
@pytest.mark.parametrize("runner", ["pycontain"])
def test_limits_of_a_sandbox(
    state: Callable[..., None], runner: str, number: int, case: str
) -> None:
    state(f"limits_oneshot_{number}", runner, case)


@pytest.mark.parametrize("case", LIMITS)
@pytest.mark.parametrize("number", LIMIT_THREADS)
@pytest.mark.parametrize("runner", ["pycontain"])
def test_limits_of_a_command(
    state: Callable[..., None], runner: str, number: int, case: str
) -> None:
    state(f"limits_living_{number}", runner, case)
