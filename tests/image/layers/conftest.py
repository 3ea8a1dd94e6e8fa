# SPDX-License-Identifier: Apache-2.0
"""Directories to unpack layers into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from _box import warm
from _stack import IndexedStack, Stack
from pycontain._layers import empty

__all__ = ["stack", "warm"]


@pytest.fixture(
    params=[Stack, pytest.param(IndexedStack, marks=pytest.mark.requires("erofs"))],
    ids=["directory", "erofs"],
)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """Return an empty stack of layers. Removed as only the program can where ids are mapped."""
    root = tmp_path / "layers"
    root.mkdir()
    made: Stack = request.param(root)
    yield made
    made.close()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        empty(fd)
    finally:
        os.close(fd)
    assert not list(root.iterdir())
