# SPDX-License-Identifier: Apache-2.0
"""Starting a sandbox for one command, and a command in a sandbox that lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.runners import NAMES
from benchmarks.workloads import HEAP_RUNNERS, HEAPS_MB, LIVING_RUNNERS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("runner", NAMES)
def test_oneshot(state: Callable[..., None], runner: str) -> None:
    state("oneshot", runner)


@pytest.mark.parametrize("runner", NAMES)
def test_oneshot_after_idleness(state: Callable[..., None], runner: str) -> None:
    state("oneshot_idle", runner)


@pytest.mark.parametrize("runner", LIVING_RUNNERS)
def test_command_in_a_living_sandbox(state: Callable[..., None], runner: str) -> None:
    state("living", runner)


@pytest.mark.parametrize("runner", NAMES)
def test_oneshot_of_the_least_program(state: Callable[..., None], runner: str) -> None:
    state("oneshot_bare", runner)


@pytest.mark.parametrize("runner", LIVING_RUNNERS)
def test_least_program_in_a_living_sandbox(state: Callable[..., None], runner: str) -> None:
    state("living_bare", runner)


@pytest.mark.parametrize("megabytes", HEAPS_MB)
@pytest.mark.parametrize("runner", HEAP_RUNNERS)
def test_parent_heap(state: Callable[..., None], runner: str, megabytes: int) -> None:
    state("heap", runner, f"{runner}-{megabytes}MB")
