# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the image tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontain._image._store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))
