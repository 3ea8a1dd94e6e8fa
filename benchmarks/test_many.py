# SPDX-License-Identifier: Apache-2.0
"""Many at once: threads that start sandboxes, and sandboxes that live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.workloads import HOLD_RUNNERS, THREAD_RUNNERS, THREADS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("runner", THREAD_RUNNERS)
@pytest.mark.parametrize("number", THREADS)
def test_threads(state: Callable[..., None], runner: str, number: int) -> None:
    state(f"threads_{number}", runner)


@pytest.mark.parametrize("runner", HOLD_RUNNERS)
def test_living_sandboxes(state: Callable[..., None], runner: str) -> None:
    state("footprint", runner)
