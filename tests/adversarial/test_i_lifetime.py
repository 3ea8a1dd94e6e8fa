# SPDX-License-Identifier: Apache-2.0
"""I: what ends ends, whatever is done to PID 1, to the caller and to the names on the host."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from pycontain import SandboxClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain import Sandbox


@pytest.mark.requires("root")
def test_i2_a_pid_1_that_cannot_wait_any_more_ends(box: Callable[..., Sandbox]) -> None:
    with box() as sandbox:
        # poll(2) fails with EINVAL where it is asked about more descriptors than the limit.
        resource.prlimit(sandbox.pid, resource.RLIMIT_NOFILE, (1, 1))
        with pytest.raises(SandboxClosedError):  # noqa: PT012 - the first may come too early
            for _ in range(3):
                sandbox.run(["true"], timeout=20)
