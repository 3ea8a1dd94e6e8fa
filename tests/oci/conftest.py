# SPDX-License-Identifier: Apache-2.0
"""The runtime command with a state directory that is empty again at a test's end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _oci_command import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def runtime(tmp_path: Path, rootfs: Path) -> Iterator[Runtime]:
    found = Runtime(tmp_path, rootfs)
    try:
        yield found
    finally:
        found.clean()
