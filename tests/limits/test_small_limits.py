# SPDX-License-Identifier: Apache-2.0
"""A small limit is all the command's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from _bombs import MIB, bomb
from pycontain import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain import Sandbox

pytestmark = pytest.mark.requires("cgroup_memory")


def test_hundreds_of_commands_fit_a_small_limit(box: Callable[..., Sandbox]) -> None:
    with box(memory=2 * MIB) as sb:
        ends = [sb.run(bomb("end", 0), timeout=60) for _ in range(300)]
    assert {(done.reason, done.returncode) for done in ends} == {(Reason.EXITED, 0)}
