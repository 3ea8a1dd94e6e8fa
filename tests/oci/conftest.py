# SPDX-License-Identifier: Apache-2.0
"""Containers that end with their test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from _box import warm
from _containers import Containers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["containers", "warm"]


@pytest.fixture
def containers(tmp_path: Path, rootfs: Path) -> Iterator[Containers]:
    """Return what makes bundles and containers."""
    made = Containers(tmp_path, rootfs)
    yield made
    made.close()
