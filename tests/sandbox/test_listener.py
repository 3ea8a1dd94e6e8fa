# SPDX-License-Identifier: Apache-2.0
"""A profile may ask its caller about system calls (seccomp_unotify(2))."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import select
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pycontain
from pycontain import AsyncSandbox, ConfigError, Profile, Reason, Sandbox, profile
from pycontain._seccomp import Action, Rule

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
GO_ON = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_CALL = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")

asking = profile.default.replace(
    name="asking",
    seccomp=profile.default.seccomp.first(Rule(("mkdir", "mkdirat"), Action("notify"))),
)


class Answers:
    """Answers every listener that it gets, in a thread each."""

    def __init__(self, error: int = 0, flags: int = 0) -> None:
        self._error, self._flags = error, flags
        self._threads: list[threading.Thread] = []
        self.calls: list[int] = []

    def __call__(self, fd: int) -> None:
        thread = threading.Thread(target=self._serve, args=(fd,))
        thread.start()
        self._threads.append(thread)

    def _serve(self, fd: int) -> None:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        try:
            while not poll.poll()[0][1] & select.POLLHUP:
                room = bytearray(_CALL.size)
                fcntl.ioctl(fd, RECEIVE, room)
                ident, _pid, _flags, number, *_ = _CALL.unpack(room)
                self.calls.append(number)
                fcntl.ioctl(fd, SEND, _ANSWER.pack(ident, 0, -self._error, self._flags))
        finally:
            os.close(fd)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def answers() -> Iterator[Callable[..., Answers]]:
    made: list[Answers] = []

    def make(*arguments: int) -> Answers:
        made.append(Answers(*arguments))
        return made[-1]

    yield make
    for each in made:
        each.join()


def options(rootfs: Path, listener: Any, **more: Any) -> dict[str, Any]:
    return {"rootfs": rootfs, "profile": asking, "seccomp_listener": listener, **more}


def test_the_caller_decides(rootfs: Path, answers: Callable[..., Answers]) -> None:
    for error, flags, status in ((0, GO_ON, 0), (errno.EXDEV, 0, 1)):
        asked = answers(error, flags)
        done = pycontain.run(["mkdir", "/tmp/d"], text=True, **options(rootfs, asked))
        assert (done.returncode, done.reason) == (status, Reason.EXITED)
        assert len(asked.calls) == 1
        assert (os.strerror(errno.EXDEV) in done.stderr) == (status == 1)


def test_each_command_has_its_own(rootfs: Path, answers: Callable[..., Answers]) -> None:
    asked = answers(errno.EDOM)
    with Sandbox(**options(rootfs, asked)) as sandbox:
        for count in (1, 2):
            assert sandbox.run(["mkdir", "/tmp/d"]).returncode == 1
            assert len(asked.calls) == count
        with sandbox.popen(["mkdir", "/tmp/d"]) as process:
            assert process.wait(20) == 1
        assert sandbox.run(["true"]).returncode == 0
    assert len(asked.calls) == 3


def test_it_comes_to_an_event_loop_too(rootfs: Path, answers: Callable[..., Answers]) -> None:
    asked = answers(errno.EDOM)

    async def main() -> int:
        async with AsyncSandbox(**options(rootfs, asked)) as sandbox:
            return (await sandbox.run(["mkdir", "/tmp/d"])).returncode

    assert asyncio.run(main()) == 1
    assert len(asked.calls) == 1


def test_a_listener_that_is_closed_refuses(rootfs: Path) -> None:
    done = pycontain.run(["mkdir", "/tmp/d"], text=True, **options(rootfs, os.close))
    assert done.returncode == 1
    assert os.strerror(errno.ENOSYS) in done.stderr


def test_who_waits_for_an_answer_can_be_killed(rootfs: Path) -> None:
    kept: list[int] = []
    with Sandbox(**options(rootfs, kept.append)) as sandbox:
        with pytest.raises(pycontain.TimeoutExpired):
            sandbox.run(["mkdir", "/tmp/d"], timeout=0.3)
        assert sandbox.run(["true"]).returncode == 0
    for fd in kept:
        os.close(fd)
    assert len(kept) == 2


@pytest.mark.parametrize(
    "wrong, text",
    [
        ({"profile": asking}, "give seccomp_listener="),
        ({"seccomp_listener": os.close}, "no rule of the profile asks it"),
        ({"profile": asking, "seccomp_listener": os.close, "audit": True}, "has one listener"),
    ],
)
def test_a_listener_and_its_rules_come_together(
    wrong: dict[str, Profile], text: str, rootfs: Path
) -> None:
    with pytest.raises(ConfigError, match=text):
        pycontain.run(["true"], rootfs=rootfs, **wrong)  # type: ignore[arg-type]
