# SPDX-License-Identifier: Apache-2.0
"""Images: from a registry to a root, and from the store to a running program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.committing import COMMITS
from benchmarks.pulling import PULLS, UNPACKS
from benchmarks.workloads import IMAGE_STARTS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("case", PULLS)
def test_pull(state: Callable[..., None], case: str) -> None:
    state("pull", case)


@pytest.mark.parametrize("case", UNPACKS)
def test_unpack(state: Callable[..., None], case: str) -> None:
    state("unpack", case)


@pytest.mark.parametrize("case", COMMITS)
def test_commit(state: Callable[..., None], case: str) -> None:
    state("commit", case)


@pytest.mark.parametrize("case", IMAGE_STARTS)
def test_start(state: Callable[..., None], case: str) -> None:
    state("oneshot_image", case)
