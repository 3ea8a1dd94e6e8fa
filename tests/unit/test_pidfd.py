# SPDX-License-Identifier: Apache-2.0
"""Descriptors of processes, and of what is none any more."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pycontain._pidfd import open_pidfd

# Ends, and leaves a process in the session that it was the leader of.
LEADER = "import os, time; os.setsid(); os.fork() or time.sleep(60)"


def test_a_living_process() -> None:
    fd = open_pidfd(os.getpid())
    assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{fd}").read_text()
    os.close(fd)


def test_the_number_of_a_session_whose_leader_has_ended() -> None:
    leader = subprocess.Popen([sys.executable, "-c", LEADER])
    leader.wait()
    try:
        with pytest.raises(ProcessLookupError):
            open_pidfd(leader.pid)
    finally:
        os.killpg(leader.pid, 9)


def test_what_other_kernels_say_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(ProcessLookupError):
        open_pidfd(1000)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        open_pidfd(0)
