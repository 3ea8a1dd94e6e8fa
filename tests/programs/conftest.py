# SPDX-License-Identifier: Apache-2.0
"""Sandboxes with the host's own user land, as a program gets them by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pycontain
from _box import warm

__all__ = ["warm"]


@pytest.fixture
def sandbox() -> Iterator[pycontain.Sandbox]:
    """Return a living sandbox."""
    with pycontain.Sandbox() as living:
        yield living
