# SPDX-License-Identifier: Apache-2.0
"""A running command: started by PID 1, watched through its reply socket, ended with all that it started."""

from __future__ import annotations

import errno
import os
import signal as signals
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self

from . import _native
from ._command import Argument, Options, Packer, encode_args
from ._native import Event, Report
from ._runtime import Reply, Runtime, reply_pair, spawn_error
from ._streams import Plumbing, Stream
from .errors import ProgramNotExecutableError, ProgramNotFoundError, PycontainError
from .result import Reason, Usage

START_TIMEOUT_S: Final = 30.0
_SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "wall_s": "CLOCK_MONOTONIC",
        "user_s": "wait4(2): the command and the descendants that it waited for",
        "system_s": "wait4(2): the command and the descendants that it waited for",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMode:
    """How streams are decoded; an `encoding` of None means bytes."""

    encoding: str | None
    errors: str

    @classmethod
    def of(cls, *, text: bool | None, encoding: str | None, errors: str | None) -> Self:
        """Decide as `subprocess` does, but replace what a hostile program sends that is not text."""
        wanted = text or encoding or errors
        return cls(encoding=(encoding or "utf-8") if wanted else None, errors=errors or "replace")

    def decode(self, data: bytes) -> Any:
        """Return `data` as the caller wants it."""
        if self.encoding is None:
            return data
        return data.decode(self.encoding, self.errors).replace("\r\n", "\n").replace("\r", "\n")

    def encode(self, data: str | bytes | None) -> bytes:
        """Return input as bytes."""
        if isinstance(data, str):
            return data.encode(self.encoding or "utf-8")
        return bytes(data or b"")


def start_error(report: Report, argv: Sequence[bytes], cwd: str) -> PycontainError:
    """Return the exception for a command that could not be started."""
    failure = report.failure
    program = os.fsdecode(argv[0])
    if failure.step.name == "EXEC" and failure.errno in (errno.ENOENT, errno.ENOTDIR):
        text = "no such program in the sandbox, or its interpreter or loader is missing there"
        return ProgramNotFoundError(errno.ENOENT, text, program)
    if failure.step.name == "EXEC" and failure.errno == errno.EACCES:
        text = "cannot be executed: no permission, a directory, or on a noexec mount"
        return ProgramNotExecutableError(errno.EACCES, text, program)
    return spawn_error(failure, cwd if failure.step.name == "CWD" else program)


class Command:
    """One command and what is known of it. Methods may be called from any thread.

    Attributes:
        args: The arguments as given.
        returncode: None while it runs; then the exit status, or minus the number of the signal that ended it.
        reason: Why it ended; None while it runs.
        usage: What it used; None while it runs.
        pid: Its process id as the caller sees it; -1 if that was not asked for.
        pty_fd: Master of its pty, the caller's to close; -1: none.
    """

    def __init__(self, args: Sequence[Argument], cwd: str) -> None:
        self.args = args
        self.returncode: int | None = None
        self.reason: Reason | None = None
        self.usage: Usage | None = None
        self.pid = -1
        self.pty_fd = -1
        self._argv = encode_args(args)
        self._cwd = cwd
        self._runtime: Runtime
        self._reply: Reply
        self._ident = 1
        self._only = False
        self._started_at = 0.0
        self._lock = threading.RLock()
        self._ended_by: Reason | None = None

    @classmethod
    def start(
        cls, runtime: Runtime, packer: Packer, args: Sequence[Argument], options: Options, plumbing: Plumbing, *,
        tell_start: bool, pass_fds: Sequence[int] = (),
    ) -> Self:  # fmt: skip
        """Ask a living sandbox's PID 1 for a command; whether it could be started is reported later.

        Raises:
            ConfigError: An argument or option that cannot be right.
            SandboxClosedError: The sandbox is gone.
        """
        command = cls(args, os.fspath(options.cwd or runtime.plan.cwd))
        command._runtime = runtime
        command._ident = runtime.next_id()
        flags = _native.EXEC_MARK | (_native.EXEC_TELL_START if tell_start else 0)
        numbers, fds = _descriptors(plumbing, options, pass_fds)
        message = packer.pack(command._argv, options, ident=command._ident, flags=flags, fds=numbers)
        command._reply, theirs = reply_pair(credentials=tell_start)
        command._started_at = time.monotonic()
        try:
            with theirs:
                runtime.send(message, (theirs.fileno(), *fds))
        except BaseException:
            command._reply.close()
            raise
        return command

    @classmethod
    def start_only(
        cls, packer: Packer, args: Sequence[Argument], options: Options, plumbing: Plumbing,
        pass_fds: Sequence[int] = (),
    ) -> Self:  # fmt: skip
        """Start a sandbox that consists of one command.

        Raises:
            ConfigError: An argument or option that cannot be right.
            SpawnError: A step before the execution of PID 1 failed.
        """
        command = cls(args, os.fspath(options.cwd or packer.plan.cwd))
        command._only = True
        numbers, fds = _descriptors(plumbing, options, pass_fds)
        message = packer.pack(command._argv, options, ident=1, flags=_native.EXEC_ONLY, fds=numbers)
        command._reply, theirs = reply_pair()
        command._started_at = time.monotonic()
        try:
            with theirs:
                command._runtime = Runtime.start(packer.plan, message, (theirs.fileno(), *fds))
        except BaseException:
            command._reply.close()
            raise
        return command

    def fileno(self) -> int:
        """Return a descriptor that is readable when `collect` has something to do."""
        return self._reply.fileno()

    def collect(self) -> bool:
        """Take in what PID 1 has reported, without waiting. Returns whether the command has ended.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        with self._lock:
            while self.returncode is None:
                try:
                    report, fd, pid = self._reply.receive_with()
                except BlockingIOError:
                    return False
                if report is None:
                    self._lost()
                elif report.event == Event.STARTED:
                    self.pid = pid or -1
                    self.pty_fd = -1 if fd is None else fd
                    return False
                elif report.event == Event.FAILED:
                    self._end(-signals.SIGKILL, Reason.KILLED, None, None)
                    raise start_error(report, self._argv, self._cwd)
                else:
                    self._exited(report)
            return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end at most `timeout` seconds. Returns whether it has come."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if not self._reply.wait(left) and deadline is not None and time.monotonic() >= deadline:
                return False
            self.collect()
        return True

    def wait_started(self) -> None:
        """Wait until the program has been executed.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.pid < 0 and self.returncode is None:
            if not self._reply.wait(deadline - time.monotonic()):
                self.kill(Reason.KILLED)
                raise TimeoutError(errno.ETIMEDOUT, "PID 1 does not answer")
            self.collect()

    def send_signal(self, number: int) -> None:
        """Send a signal to the command itself; nothing if it has ended.

        PID 1, which alone reaps inside, sends it, so it cannot reach another process that got the same pid.
        """
        with self._lock:
            if self.returncode is not None or self.collect():
                return
        report, _ = self._runtime.ask(_native.pack_kill(self._ident, number, 0))
        if report.event == Event.FAILED and report.errno != errno.ESRCH:
            raise OSError(report.errno, os.strerror(report.errno))

    def kill(self, reason: Reason) -> None:
        """Kill every process of the command, whatever it did to get away, and wait until it is reported dead."""
        with self._lock:
            if self.returncode is not None or self.collect():
                return
            self._ended_by = reason
            if self._only or not self._kill_processes():
                self._runtime.kill()
            self.wait()

    def _kill_processes(self) -> bool:
        """Return whether PID 1 found the command's processes and left none."""
        try:
            report, _ = self._runtime.ask(_native.pack_kill(self._ident, signals.SIGKILL, 1))
        except (TimeoutError, PycontainError):
            return False
        return report.event == Event.DONE or report.errno == errno.ESRCH

    def _exited(self, report: Report) -> None:
        returncode = os.waitstatus_to_exitcode(report.status)
        self._end(returncode, self._verdict(returncode), report.user_us / 1e6, report.system_us / 1e6)

    def _verdict(self, returncode: int) -> Reason:
        """The killer's own note comes first: its SIGKILL looks like anybody else's."""
        if self._ended_by is not None and returncode == -signals.SIGKILL:
            return self._ended_by
        if returncode == -signals.SIGSYS:
            return Reason.SECCOMP
        return Reason.EXITED if returncode >= 0 else Reason.SIGNALED

    def _lost(self) -> None:
        """PID 1 ended without a report: the sandbox was killed, or its set-up failed, which it said elsewhere."""
        if self._only and self._ended_by is None:
            try:
                self._runtime.wait_ready()
            except PycontainError:
                self._end(-signals.SIGKILL, Reason.KILLED, None, None)
                raise
        self._end(-signals.SIGKILL, self._ended_by or Reason.KILLED, None, None)

    def _end(self, returncode: int, reason: Reason, user_s: float | None, system_s: float | None) -> None:
        wall_s = time.monotonic() - self._started_at
        self.usage = Usage(wall_s=wall_s, user_s=user_s, system_s=system_s, sources=_SOURCES)
        self.reason = reason
        self.returncode = returncode
        self._reply.close()
        if self._only:
            self._runtime.kill()


def _descriptors(
    plumbing: Plumbing, options: Options, pass_fds: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the numbers inside and the descriptors outside; a pty brings its own standard streams."""
    numbers = () if options.pty else (0, 1, 2)
    fds = () if options.pty else plumbing.child
    return (*numbers, *pass_fds), (*fds, *pass_fds)


__all__ = ["Command", "Plumbing", "Stream", "TextMode"]
