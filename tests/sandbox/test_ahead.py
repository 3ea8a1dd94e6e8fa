# SPDX-License-Identifier: Apache-2.0
"""What one command used and was refused is no other's, whenever its groups were made."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pycontain
from pycontain import Reason
from pycontain._cgroup import current_owner
from pycontain._cgroup._ahead import READY_MAX

MB = 1 << 20
groups = pytest.mark.requires("cgroup_memory", "cgroup_pids")


@groups
def test_a_verdict_is_not_that_of_the_command_before() -> None:
    bomb = [sys.executable, "-c", "x = bytearray(b'x') * (200 << 20)"]
    forks = ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 30 & done; exit 1"]
    options: dict[str, Any] = {"memory": "48M", "pids": 6}
    expected = [(bomb, Reason.OOM), (forks, Reason.PIDS_LIMIT), (["false"], Reason.EXITED)] * 2
    assert [pycontain.run(args, **options).reason for args, _ in expected] == [
        reason for _, reason in expected
    ]
    with pycontain.Sandbox(**options) as sb:
        assert [sb.run(["false"]).reason for _ in range(3)] == [Reason.EXITED] * 3
        peaks = [sb.run(args).usage.memory_peak for args in (bomb, ["true"], ["true"])]
    assert [peak is not None and peak > 4 * MB for peak in peaks] == [True, False, False]


@groups
def test_many_threads_leave_no_more_than_a_few() -> None:
    most = 0
    lock = threading.Lock()

    def work(_: int) -> Reason:
        nonlocal most
        reason = pycontain.run(["true"], memory="64M", pids=16).reason
        with lock:
            most = max(most, len(current_owner().ahead._ready))
        return reason

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(work, range(96))) == {Reason.EXITED}
    assert 0 < most <= READY_MAX
