# SPDX-License-Identifier: Apache-2.0
"""/proc is read as the kernel writes it, whatever names others have put there."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pycontain._processes import namespace_pids, process, user_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [b"\rUid:\t7\t7", b"\rUid:\tx x", b"\x0bNSpid:\t1", b"\x85) R 1 (", b"\x1cUid:"]


@pytest.fixture(params=NAMES, ids=repr)
def named(request: pytest.FixtureRequest) -> Iterator[int]:
    """Yield a process that has chosen its name."""
    code = """import ctypes, sys
ctypes.CDLL(None).prctl(15, eval(sys.argv[1]), 0, 0, 0)  # PR_SET_NAME
print(flush=True)
input()"""
    command = [sys.executable, "-c", code, repr(request.param)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield program.pid
        program.communicate(b"\n")


def test_a_name_says_nothing_of_its_process(named: int) -> None:
    assert user_of(named) == os.geteuid()
    assert namespace_pids(named)[0] == named
    found = process(named)
    assert found is not None
    assert (found.pid, found.parent, found.threads) == (named, os.getpid(), 1)
