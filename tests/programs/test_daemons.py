# SPDX-License-Identifier: Apache-2.0
"""Programs that detach themselves live as long as the sandbox, and no longer."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator

import pytest

import pycontain
from _programs import output_of

# As daemon(7) says: fork, a session of its own, fork again; then it ignores what can be ignored.
DAEMON = """
import os, signal, sys
lifeline = int(sys.argv[1])
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    os.write(lifeline, b"up")
    while True:
        signal.pause()
os.wait()
print("detached")
"""


@pytest.fixture
def lifeline() -> Iterator[tuple[int, int]]:
    """Return a pipe: whoever has its writing end keeps its reader from seeing an end."""
    read, write = os.pipe()
    yield read, write
    os.close(read)


def ended(read: int) -> bool:
    return bool(select.select([read], [], [], 0)[0]) and os.read(read, 1) == b""


def test_a_daemon_outlives_its_command_and_dies_with_the_sandbox(
    lifeline: tuple[int, int],
) -> None:
    read, write = lifeline
    with pycontain.Sandbox() as sandbox:
        command = [sys.executable, "-c", DAEMON, str(write)]
        assert output_of(sandbox.run(command, pass_fds=[write], text=True)) == "detached\n"
        os.close(write)
        assert os.read(read, 2) == b"up"
        assert not ended(read)
        assert output_of(sandbox.run(["echo", "on"], text=True)) == "on\n"
        assert not ended(read)
    assert ended(read)


def test_a_daemon_does_not_outlive_a_sandbox_of_one_command(lifeline: tuple[int, int]) -> None:
    read, write = lifeline
    command = [sys.executable, "-c", DAEMON, str(write)]
    assert output_of(pycontain.run(command, pass_fds=[write], text=True)) == "detached\n"
    os.close(write)
    assert os.read(read, 2) in (b"up", b"")
    assert ended(read)


def test_a_timeout_takes_the_daemons_of_its_command_along(lifeline: tuple[int, int]) -> None:
    read, write = lifeline
    script = f"{DAEMON}\nsys.stdout.flush()\nsignal.pause()"
    with pycontain.Sandbox() as sandbox:
        command = [sys.executable, "-c", script, str(write)]
        with pytest.raises(pycontain.TimeoutExpired):
            sandbox.run(command, pass_fds=[write], timeout=3)
        os.close(write)
        assert os.read(read, 2) in (b"up", b"")
        assert ended(read)
        assert output_of(sandbox.run(["echo", "on"], text=True)) == "on\n"
