# SPDX-License-Identifier: Apache-2.0
"""What a filter costs a system call: the default profile, compiled by us and by libseccomp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.filters import CALLS
from benchmarks.workloads import FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("case", FILTERS)
@pytest.mark.parametrize("call", CALLS)
def test_filter(state: Callable[..., None], call: str, case: str) -> None:
    state(f"filter_{call}", case)
