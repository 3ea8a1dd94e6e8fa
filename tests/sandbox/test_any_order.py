# SPDX-License-Identifier: Apache-2.0
"""The calls of a sandbox in any order, from one thread and from several: what the model expects."""

from __future__ import annotations

import contextlib
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import pycontain
from pycontain.errors import FilesError, PycontainError, SandboxClosedError, SandboxPausedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pycontain._popen import Popen

pytestmark = [pytest.mark.requires("root", "cgroup_memory"), pytest.mark.slow]

PATIENCE_S = 30.0
names = st.sampled_from(["a", "b", "c d"]).map("/tmp/".__add__)
words = st.binary(max_size=100)


@dataclass
class Running:
    """A `cat`, with what was written to it and not read back."""

    popen: Popen
    pending: bytes = b""
    ended: int | None = None
    doomed: bool = False
    """It has got a SIGKILL, which a frozen process dies of later."""


class Machine(RuleBasedStateMachine):
    """A sandbox beside a model of it."""

    options: dict[str, Any]
    commands = Bundle("commands")

    def __init__(self) -> None:
        super().__init__()
        self.sandbox = pycontain.Sandbox(**self.options)
        self.living = self.paused = False
        self.files: dict[str, bytes] = {}
        self.started: list[Running] = []

    def teardown(self) -> None:
        """End it; nothing is left running."""
        self.sandbox.close()
        for command in self.started:
            assert command.popen.wait(PATIENCE_S) is not None
            for stream in (command.popen.stdin, command.popen.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    @contextlib.contextmanager
    def allowed(self, *, paused: bool = True) -> Iterator[bool]:
        """Expect the error that the state calls for; yield whether there is none."""
        if not self.living:
            with pytest.raises(SandboxClosedError):
                yield False
        elif self.paused and not paused:
            with pytest.raises(SandboxPausedError):
                yield False
        else:
            yield True

    @rule()
    def start(self) -> None:
        if self.living:
            with pytest.raises(SandboxClosedError, match="already"):
                self.sandbox.start()
            return
        assert self.sandbox.start() is self.sandbox
        self.living, self.paused, self.files = True, False, {}

    @rule()
    def close(self) -> None:
        self.sandbox.close()
        for command in self.started:
            if command.ended is None:
                command.ended = -signal.SIGKILL
        self.living = self.paused = False

    @rule(word=words)
    def run(self, word: bytes) -> None:
        with self.allowed(paused=False):
            assert self.sandbox.run(["cat"], input=word).stdout == word

    @rule(target=commands)
    def popen(self) -> Any:
        new = []
        with self.allowed(paused=False):
            popen = self.sandbox.popen(["cat"], stdin=pycontain.PIPE, stdout=pycontain.PIPE)
            new.append(Running(popen))
        self.started += new
        return multiple(*new)

    @rule(command=commands, word=words)
    def write(self, command: Running, word: bytes) -> None:
        stdin = command.popen.stdin
        assert stdin is not None
        if stdin.closed:
            return
        try:
            stdin.write(word)
            stdin.flush()
            command.pending += word
        except BrokenPipeError:
            assert command.ended is not None or command.doomed

    @rule(command=commands)
    def read(self, command: Running) -> None:
        stdout = command.popen.stdout
        assert stdout is not None
        if command.ended is None and not command.doomed and not self.paused:
            assert stdout.read(len(command.pending)) == command.pending
            command.pending = b""

    @rule(command=commands)
    def finish(self, command: Running) -> None:
        stdin = command.popen.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        if not self.paused and command.ended is None:
            command.ended = command.popen.wait(PATIENCE_S)
            assert command.ended == (-signal.SIGKILL if command.doomed else 0)

    @rule(command=commands)
    def kill(self, command: Running) -> None:
        command.popen.kill()
        command.doomed = True
        if not self.paused and command.ended is None:
            command.ended = command.popen.wait(PATIENCE_S)
            assert command.ended in (-signal.SIGKILL, 0)  # its input may have ended first

    @rule(command=commands)
    def kill_all(self, command: Running) -> None:
        command.popen.kill_all()
        if command.ended is None:
            command.ended = command.popen.wait(PATIENCE_S)
            assert command.ended in (-signal.SIGKILL, 0)

    @rule(command=commands)
    def wait_again(self, command: Running) -> None:
        if command.ended is not None:
            assert command.popen.wait(PATIENCE_S) == command.popen.poll() == command.ended

    @rule()
    def pause(self) -> None:
        with self.allowed():
            self.sandbox.pause()
            self.paused = True

    @rule()
    def resume(self) -> None:
        with self.allowed():
            self.sandbox.resume()
            self.paused = False

    @rule(name=names, content=words)
    def write_file(self, name: str, content: bytes) -> None:
        with self.allowed():
            self.sandbox.files.write_bytes(name, content)
            self.files[name] = content

    @rule(name=names)
    def read_file(self, name: str) -> None:
        with self.allowed() as allowed:
            if allowed and name not in self.files:
                with pytest.raises(FilesError, match="No such file"):
                    self.sandbox.files.read_bytes(name)
            else:
                assert self.sandbox.files.read_bytes(name) == self.files[name]

    @rule(name=names)
    def remove_file(self, name: str) -> None:
        with self.allowed() as allowed:
            if allowed and name not in self.files:
                with pytest.raises(FilesError, match="No such file"):
                    self.sandbox.files.remove(name)
            else:
                self.sandbox.files.remove(name)
                del self.files[name]

    @rule()
    def list_files(self) -> None:
        with self.allowed():
            found = {f"/tmp/{entry.name}" for entry in self.sandbox.files.list("/tmp")}
            assert found == set(self.files)

    @rule()
    def stats(self) -> None:
        with self.allowed():
            assert self.sandbox.stats().pids is not None

    @invariant()
    def no_living_command_has_an_end(self) -> None:
        for command in self.started:
            stdin = command.popen.stdin
            assert stdin is not None
            if command.ended is None and not command.doomed and not stdin.closed:
                assert command.popen.poll() is None


def test_any_order(rootfs: Path) -> None:
    Machine.options = {"rootfs": rootfs, "memory": "64M"}
    run_state_machine_as_test(
        Machine, settings=hypothesis.settings(max_examples=40, stateful_step_count=25)
    )


def _use(sandbox: pycontain.Sandbox) -> dict[str, Callable[[], Any]]:
    def popen() -> None:
        with sandbox.popen(["cat"], stdin=pycontain.PIPE, stdout=pycontain.PIPE) as process:
            process.kill_all()

    return {
        "start": sandbox.start,
        "close": sandbox.close,
        "run": lambda: sandbox.run(["true"]),
        "popen": popen,
        "pause": sandbox.pause,
        "resume": sandbox.resume,
        "write": lambda: sandbox.files.write_bytes("/tmp/a", b"x"),
        "list": lambda: sandbox.files.list("/tmp"),
        "stats": sandbox.stats,
    }


OPERATIONS = ("start", "close", "run", "popen", "pause", "resume", "write", "list", "stats")


@hypothesis.settings(max_examples=25, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    st.lists(st.lists(st.sampled_from(OPERATIONS), max_size=6), min_size=3, max_size=3)
)
def test_any_order_from_several_threads(rootfs: Path, plans: tuple[list[str], ...]) -> None:
    sandbox = pycontain.Sandbox(rootfs=rootfs, memory="64M").start()
    use = _use(sandbox)
    wrong: list[Exception] = []

    def go(plan: list[str]) -> None:
        for name in plan:
            try:
                # Closed or paused by another thread.
                with contextlib.suppress(PycontainError):
                    use[name]()
            except Exception as error:  # noqa: BLE001 - any is one too many
                wrong.append(error)

    threads = [threading.Thread(target=go, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    # Who waits for a command of a paused sandbox waits until somebody ends it.
    for thread in threads:
        thread.join(0.5)
    sandbox.close()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    sandbox.close()
    assert not wrong


@pytest.mark.parametrize("call", ["pause", "resume"])
def test_a_call_that_finds_the_groups_gone_says_that_it_is_closed(rootfs: Path, call: str) -> None:
    with pycontain.Sandbox(rootfs=rootfs, memory="64M") as sandbox:
        runtime = sandbox.runtime  # what another thread may have, too
    with pytest.raises(SandboxClosedError):
        getattr(runtime, call)()


def test_of_several_starts_at_once_one_is_the_first(rootfs: Path) -> None:
    sandbox = pycontain.Sandbox(rootfs=rootfs, memory="64M")
    gate = threading.Barrier(4)
    outcomes: list[str] = []

    def go() -> None:
        gate.wait()
        try:
            sandbox.start()
            outcomes.append("started")
        except SandboxClosedError:
            outcomes.append("too late")

    threads = [threading.Thread(target=go) for _ in range(gate.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sandbox.close()
    assert sorted(outcomes) == ["started", *["too late"] * 3]
