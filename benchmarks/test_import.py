# SPDX-License-Identifier: Apache-2.0
"""An interpreter that starts, imports and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.workloads import IMPORTS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("case", IMPORTS)
def test_import(state: Callable[..., None], case: str) -> None:
    state("import", case)
