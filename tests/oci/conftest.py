# SPDX-License-Identifier: Apache-2.0
"""Containers that end with their test, by the library and by the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from _box import warm
from _containers import Containers
from _oci_command import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["containers", "runtime", "warm"]


@pytest.fixture
def containers(tmp_path: Path, rootfs: Path) -> Iterator[Containers]:
    """Return what makes bundles and containers."""
    made = Containers(tmp_path, rootfs)
    yield made
    made.close()


@pytest.fixture
def runtime(tmp_path: Path, rootfs: Path) -> Iterator[Runtime]:
    """Return the command, with a state directory that is empty again at the end."""
    found = Runtime(tmp_path, rootfs)
    try:
        yield found
    finally:
        found.clean()
