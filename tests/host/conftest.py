# SPDX-License-Identifier: Apache-2.0
"""The fixture of tests/_box.py, and what hides system calls from a program."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from _box import warm

__all__ = ["warm", "without"]

NOSYS = Path(__file__).parents[1] / "tools/nosys.c"


@pytest.fixture(scope="session")
def without(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Return what gives the command that hides system calls from another: they answer ENOSYS."""
    program = tmp_path_factory.mktemp("nosys") / "nosys"
    subprocess.run(["cc", "-O2", "-o", program, NOSYS], check=True)
    return lambda names: [str(program), names]
