# SPDX-License-Identifier: Apache-2.0
"""A running command: started by PID 1, watched through a socket, ended with all its processes."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import errno
import os
import signal as signals
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from . import _groups, _native
from ._command import Argument, Options, Packer, encode_args
from ._hints import refused
from ._identity import Lease
from ._native import Event, Report
from ._runtime import KILL_TIMEOUT_S, Reply, Runtime, prepare, reply_pair, spawn_error
from ._streams import Plumbing, Stream
from ._vet import Vet
from ._watch import Watch, shortest
from .denial import Denials
from .errors import (
    ConfigError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    PycontainError,
    SandboxClosedError,
    SandboxPausedError,
    SpawnError,
    UnsupportedError,
)
from .result import Reason, Usage

if TYPE_CHECKING:
    from ._cgroup import CommandGroup, SandboxTree

START_TIMEOUT_S: Final = 30.0
ASK_TIMEOUT_S: Final = 1.0
_BLOCK: Final = 512  # getrusage(2) counts in these
# How a program ends that cannot write: by its own decision, or on a mapped page.
_DISK_SIGNALS: Final = frozenset({signals.SIGABRT, signals.SIGBUS})
# An instruction that the processor lacks; a loader that gives up, of the processor or the kernel; a
# 32-bit program, whose calls the filter does not know: not even the one that would end it.
_MISFITS: Final = frozenset({-signals.SIGILL, 127, -signals.SIGSEGV, -signals.SIGSYS})
_CLOCK_ONLY: Final[Mapping[str, str]] = MappingProxyType({"wall_s": "CLOCK_MONOTONIC"})
_SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_CLOCK_ONLY,
        **dict.fromkeys(
            ("user_s", "system_s", "io_read", "io_write"),
            "wait4(2): the command and the descendants that it waited for",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMode:
    """How streams are decoded; an `encoding` of None means bytes."""

    encoding: str | None
    errors: str

    @classmethod
    def of(cls, *, text: bool | None, encoding: str | None, errors: str | None) -> Self:
        """Decide as `subprocess` does, but replace what is not text."""
        try:
            codecs.lookup(encoding or "utf-8")
            codecs.lookup_error(errors or "replace")
        except LookupError as error:
            raise ConfigError(str(error)) from None
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
        try:
            return bytes(memoryview(b"" if data is None else data))
        except TypeError:
            raise ConfigError(f"input: {type(data).__name__} is neither bytes nor str") from None


def killed(report: Report, group: CommandGroup | None) -> bool:
    """Whether PID 1 found the command's processes and left none.

    It knows them by the mark of the first. One that is gone has ended by itself, unless the group
    that should have killed all has killed it and not the others.
    """
    if report.event == Event.FAILED and report.errno == errno.ESRCH:
        return group is None or not group.kills
    return report.event == Event.DONE


def start_error(
    report: Report, argv: Sequence[bytes], cwd: str, vet: Vet, runtime: Runtime | None
) -> PycontainError:
    """Return the exception for a command that could not be started.

    Args:
        report: What PID 1 said.
        argv: The command.
        cwd: Its working directory.
        vet: Knows where its program is looked up.
        runtime: The living sandbox; None: it is gone.
    """
    failure = report.failure
    program = os.fsdecode(argv[0])
    if failure.step == "EXEC" and (said := vet.failed(failure.errno, runtime)) is not None:
        return said
    if failure.step == "EXEC" and failure.errno in (errno.ENOENT, errno.ENOTDIR):
        text = "no such program in the sandbox, or its interpreter or loader is missing there"
        return ProgramNotFoundError(errno.ENOENT, text, program)
    if failure.step == "EXEC" and failure.errno == errno.EACCES:
        text = "cannot be executed: no permission, a directory, or on a noexec mount"
        return ProgramNotExecutableError(errno.EACCES, text, program)
    return spawn_error(failure, cwd if failure.step == "CWD" else program)


def never_started() -> SpawnError:
    """Return the exception for a command of which nothing was heard before its sandbox ended."""
    text = "the sandbox ended before the program was started"
    return SpawnError("START", errno.ECONNRESET, text)


def _group_in(tree: SandboxTree) -> CommandGroup:
    try:
        return tree.command_group()
    except PycontainError:
        raise
    except OSError as error:
        raise refused("CGROUP", error) from None


class Request(NamedTuple):
    """A packed request to start a command; `reply` is the end of its reply socket that travels."""

    message: bytes
    reply: socket.socket
    fds: tuple[int, ...]

    @property
    def all_fds(self) -> tuple[int, ...]:
        """The descriptors that travel."""
        return (self.reply.fileno(), *self.fds)


class BaseCommand:
    """One command and what is known of it, without any waiting.

    Attributes:
        args: The arguments as given.
        returncode: None while it runs; then the exit status, or minus the number of the signal that
            ended it.
        reason: Why it ended; None while it runs.
        usage: What it used; None while it runs.
        denials: What was refused to it; None while it runs, without an audit, and where its sandbox
            ended before it could tell.
        explanation: What of its program does not fit this host, if it ended as such programs do.
        pid: Its process id as the caller sees it; -1 if that was not asked for.
        executed: PID 1 has said that the program was executed; it says so only if asked.
        pty_fd: Master of its pty, the caller's to close; -1: none.
    """

    def __init__(self, args: Sequence[Argument], cwd: str) -> None:
        self.args = args
        self.returncode: int | None = None
        self.reason: Reason | None = None
        self.usage: Usage | None = None
        self.denials: Denials | None = None
        self.explanation: str | None = None
        self.pid = -1
        self.executed = False
        self.pty_fd = -1
        self._argv = encode_args(args)
        self._cwd = cwd
        self._vet: Vet
        self._runtime: Runtime
        self._reply: Reply | None = None
        self._ident = 1
        self._only = False
        self._started_at = 0.0
        self._watch: Watch
        self._lock = threading.RLock()
        self._ended_by: Reason | None = None
        self._group: CommandGroup | None = None
        self._tree: SandboxTree | None = None
        self._refused: Report | None = None

    @classmethod
    def _request(
        cls,
        runtime: Runtime,
        packer: Packer,
        args: Sequence[Argument],
        options: Options,
        plumbing: Plumbing,
        *,
        tell_start: bool,
        pass_fds: Sequence[int],
    ) -> tuple[Self, Request]:
        """Return a command for a living sandbox, and what to send to its PID 1."""
        if runtime.paused:
            raise SandboxPausedError("the sandbox is paused: call resume() first")
        command = cls(args, str(options.cwd or runtime.plan.cwd))
        command._vet = Vet(packer, command._argv[0], options)
        command._vet.ahead(runtime)
        command._runtime = runtime
        command._ident = runtime.next_id()
        if runtime.tree is not None:
            try:
                command._group = _group_in(runtime.tree)
            except UnsupportedError:
                if runtime.closed:  # by another thread, which has removed the groups
                    raise SandboxClosedError("the sandbox is closed") from None
                raise
        flags = packer.plan.command_flags | (_native.EXEC_TELL_START if tell_start else 0)
        try:
            return command, command._pack(packer, runtime.lease, options, plumbing, pass_fds, flags)
        except BaseException:
            command.abandon()
            raise

    @classmethod
    def _start_only(
        cls,
        packer: Packer,
        args: Sequence[Argument],
        options: Options,
        plumbing: Plumbing,
        pass_fds: Sequence[int],
    ) -> Self:
        """Start a sandbox that consists of one command."""
        command = cls(args, str(options.cwd or packer.plan.cwd))
        command._vet = Vet(packer, command._argv[0], options)
        command._vet.ahead(None)
        command._only = True
        footing = prepare(packer.plan, packer.config, single=True)
        tree = footing.tree
        try:
            if tree is not None:
                command._group = _group_in(tree)
            flags = packer.plan.command_flags | _native.EXEC_ONLY
            request = command._pack(packer, footing.lease, options, plumbing, pass_fds, flags)
            with request.reply:
                command._runtime = Runtime.start(
                    packer.plan, footing, request.message, request.all_fds
                )
                # Ours, since what it counted is read when PID 1 is dead.
                command._tree, command._runtime.tree = tree, None
        except BaseException:
            command.abandon()
            footing.release()
            raise
        command.sent()
        return command

    def _pack(
        self,
        packer: Packer,
        lease: Lease,
        options: Options,
        plumbing: Plumbing,
        pass_fds: Sequence[int],
        flags: int,
    ) -> Request:
        """Pack the request and open the reply socket; the clock starts here."""
        if (base := lease.base) is not None:
            user = packer.account(options.user)
            plumbing.give_to(base + user.uid, base + user.gid)
        numbers, fds = _descriptors(plumbing, options, pass_fds)
        tasks: tuple[int, ...] = ()
        if self._group is not None:
            tasks = self._group.tasks_fds
            if self._group.v2_dir_fd >= 0:
                flags |= _native.EXEC_CGROUP
                fds = (self._group.v2_dir_fd, *tasks, *fds)
            else:
                fds = (*tasks, *fds)
        message = packer.pack(
            self._argv, options, ident=self._ident, flags=flags, fds=numbers, n_tasks=len(tasks)
        )
        self._reply, theirs = reply_pair(credentials=bool(flags & _native.EXEC_TELL_START))
        self._started_at = time.monotonic()
        self._watch = Watch(packer.config, self._started_at, self._group)
        return Request(message, theirs, fds)

    def sent(self) -> None:
        """Let go of what travelled with the request, and make use of the time until the end."""
        if self._group is not None:
            self._group.started()
        if not self._only and self._runtime.tree is not None:
            self._runtime.tree.between()

    def abandon(self) -> None:
        """Let go of a command whose request could not be sent."""
        if self._reply is not None:
            self._reply.close()
        if self._group is not None:
            self._group.remove()

    def fileno(self) -> int:
        """Return a descriptor that is readable when `collect` has something to do."""
        return self._connection.fileno()

    @property
    def _connection(self) -> Reply:
        assert self._reply is not None  # noqa: S101 - packed
        return self._reply

    def collect(self) -> bool:
        """Take in what PID 1 has reported, without waiting. Returns whether the command has ended.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        try:
            return self._collect()
        except PycontainError:
            raise
        except OSError as error:  # what its groups counted cannot be read
            raise refused("CGROUP", error) from None

    def _collect(self) -> bool:
        with self._lock:
            while self.returncode is None:
                try:
                    report, fd, pid = self._connection.receive_with()
                except BlockingIOError:
                    return False
                if report is None:
                    self._lost()
                elif report.event == Event.STARTED:
                    self.executed = True
                    self.pid = pid or -1
                    self.pty_fd = -1 if fd is None else fd
                    return False
                elif report.event == Event.LISTENER and fd is not None:
                    self._hand_listener(fd)
                elif report.event == Event.DENIALS:
                    self._refused = report
                elif report.event == Event.FAILED:
                    self._end(-signals.SIGKILL, Reason.KILLED)
                    raise start_error(report, self._argv, self._cwd, self._vet, self._living)
                else:
                    self._exited(report)
            return True

    def _hand_listener(self, fd: int) -> None:
        listener = self._runtime.plan.config.seccomp_listener
        if listener is None:
            os.close(fd)
        else:
            listener(fd)

    def _signal_request(self, number: int, *, everything: bool = False) -> bytes:
        return _native.pack_kill(self._ident, number, int(everything))

    @property
    def _denials_would_be_lost(self) -> bool:
        """Whether an end from outside ends PID 1 too, before it can tell what it recorded."""
        return self._only and self._runtime.plan.audited is not None

    @property
    def _denials_request(self) -> bytes:
        return _native.pack_denials(self._ident)

    def _take_denials(self, report: Report) -> None:
        if report.event == Event.DENIALS:
            self._refused = report

    def pause(self) -> float | None:
        """Return the seconds until a limit can have been reached; None: none ever will be."""
        return self._watch.pause()

    def _exited(self, report: Report) -> None:
        if self._runtime.plan.audited is not None:
            self._refused = (self._refused or report)._replace(denied=report.denied)
        returncode = os.waitstatus_to_exitcode(report.status)
        if returncode in _MISFITS:
            self.explanation = self._vet.crashed(self._living)
        self._end(returncode, self._verdict(returncode, report), report)

    @property
    def _living(self) -> Runtime | None:
        return None if self._only else self._runtime

    def _verdict(self, returncode: int, report: Report) -> Reason:
        """The killer's note first: its SIGKILL looks like anybody's. Then the kernel's counters."""
        if self._ended_by is not None and returncode == -signals.SIGKILL:
            return self._ended_by
        if returncode and (limit := self._limit_reached(returncode, report)) is not None:
            return limit
        if returncode == -signals.SIGSYS and self._runtime.plan.profile.seccomp.kills:
            return Reason.SECCOMP
        return Reason.EXITED if returncode >= 0 else Reason.SIGNALED

    def _limit_reached(self, returncode: int, report: Report) -> Reason | None:
        """Return the limit that a command which failed had reached.

        A program that was refused something and went on to succeed was not ended by that.
        """
        counted = None if self._group is None else _groups.verdict(self._group)
        if counted is not None:
            return counted
        if returncode in (-signals.SIGXCPU, -signals.SIGKILL) and self._watch.cpu_spent(
            (report.user_us + report.system_us) / 1e6
        ):
            return Reason.CPU_LIMIT
        full = report.index and (returncode > 0 or -returncode in _DISK_SIGNALS)
        return Reason.DISK_FULL if full else None

    def _lost(self) -> None:
        """PID 1 ended without a report: it was killed, or the set-up failed."""
        if self._only and self._ended_by is None:
            try:
                self._runtime.check_ready()
            except PycontainError:
                self._end(-signals.SIGKILL, Reason.KILLED)
                raise
        self._end(-signals.SIGKILL, self._ended_by or Reason.KILLED)

    def _end(self, returncode: int, reason: Reason, report: Report | None = None) -> None:
        wall_s = time.monotonic() - self._started_at
        over = self._tree is not None and self._tree.empty
        if self._only and not over:
            self._runtime.kill()
        self.usage = self._measure(
            Usage(
                wall_s=wall_s,
                user_s=report and report.user_us / 1e6,
                system_s=report and report.system_us / 1e6,
                io_read=report and report.read_blocks * _BLOCK,
                io_write=report and report.written_blocks * _BLOCK,
                sources=_SOURCES if report else _CLOCK_ONLY,
            )
        )
        if self._refused is not None:
            self.denials = self._runtime.denials_of(self._refused)
        self.reason = reason
        self.returncode = returncode
        if self._tree is not None and over:
            self._tree.remove_payload()  # while the kernel takes PID 1's namespaces down
        self._release()

    def _measure(self, usage: Usage) -> Usage:
        """What the group counted is true of all its processes, whoever waited for them."""
        if self._group is None:
            return usage
        readings = self._group.usage()
        whole = {"memory_peak", "pids_peak", "io_read", "io_write"}
        values: dict[str, Any] = {
            name: int(reading.value) if name in whole else reading.value
            for name, reading in readings.items()
        }
        sources = {**usage.sources, **{name: reading.source for name, reading in readings.items()}}
        return dataclasses.replace(usage, **values, sources=MappingProxyType(sources))

    def _release(self) -> None:
        """Let go of the reply socket, of a sandbox only for this command, and of its group."""
        if self._reply is not None:
            self._reply.close()
        if self._only:
            self._runtime.kill()
        if self._group is not None:
            self._group.started()
            if self._runtime.tree is not None:
                self._runtime.tree.retire(self._group)
        if self._tree is not None:
            self._tree.remove()


class Command(BaseCommand):
    """A command whose caller blocks while it waits. Methods may be called from any thread."""

    @classmethod
    def start(
        cls,
        runtime: Runtime,
        packer: Packer,
        args: Sequence[Argument],
        options: Options,
        plumbing: Plumbing,
        *,
        tell_start: bool,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Ask a living sandbox's PID 1 for a command; whether it starts is reported later.

        Raises:
            ConfigError: An argument or option that cannot be right.
            SandboxClosedError: The sandbox is gone.
        """
        command, request = cls._request(
            runtime, packer, args, options, plumbing, tell_start=tell_start, pass_fds=pass_fds
        )
        try:
            with request.reply:
                runtime.send(request.message, request.all_fds)
        except BaseException:
            command.abandon()
            raise
        command.sent()
        return command

    @classmethod
    def start_only(
        cls,
        packer: Packer,
        args: Sequence[Argument],
        options: Options,
        plumbing: Plumbing,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start a sandbox that consists of one command.

        Raises:
            ConfigError: An argument or option that cannot be right.
            SpawnError: A step before the execution of PID 1 failed.
        """
        return cls._start_only(packer, args, options, plumbing, pass_fds)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end at most `timeout` seconds. Returns whether it has come."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else deadline - time.monotonic()
            if (
                not self._connection.wait(shortest(left, self.pause()))
                and deadline is not None
                and time.monotonic() >= deadline
            ):
                return False
            if not self.collect():
                self.enforce()
        return True

    def enforce(self) -> bool:
        """End the command if it has reached a limit. Returns whether it has ended."""
        reason = self._watch.reached()
        if reason is not None and not self.collect():
            self.kill(reason)
        return self.returncode is not None

    def wait_started(self) -> None:
        """Wait until the program has been executed.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.executed and self.returncode is None:
            if not self._connection.wait(deadline - time.monotonic()):
                self.kill(Reason.KILLED)
                raise TimeoutError(errno.ETIMEDOUT, "PID 1 does not answer")
            self.collect()
        if not self.executed:
            raise never_started()

    def send_signal(self, number: int) -> None:
        """Send a signal to the command itself; nothing if it has ended.

        PID 1, which alone reaps inside, sends it, so it cannot reach another process that got the
        same pid.
        """
        with self._lock:
            if self.returncode is not None or self.collect():
                return
        report, _ = self._runtime.ask(self._signal_request(number))
        if report.event == Event.FAILED and report.errno != errno.ESRCH:
            raise OSError(report.errno, os.strerror(report.errno))

    def kill(self, reason: Reason) -> None:
        """Kill every process of the command, whatever it did to get away, and wait for its end.

        Raises:
            TimeoutError: One is in an uninterruptible wait, such as for a dead file server. It
                ends when that is over.
        """
        with self._lock:
            if self.returncode is not None or self.collect():
                return
            self._ended_by = reason
            if self._denials_would_be_lost:
                with contextlib.suppress(TimeoutError, PycontainError):
                    self._take_denials(self._runtime.ask(self._denials_request, ASK_TIMEOUT_S)[0])
            if self._tree is not None:
                self._tree.kill(0.0)
            if self._only or not self._kill_processes():
                self._runtime.kill()
            self._wait_for_report()

    def _wait_for_report(self) -> None:
        while not self.collect():
            if not self._connection.wait(KILL_TIMEOUT_S):
                raise TimeoutError(errno.ETIMEDOUT, "the command cannot be killed")

    def _kill_processes(self) -> bool:
        """Return whether all processes of the command were found and none is left."""
        with contextlib.suppress(OSError):  # without descriptors, say; PID 1 has its own
            if self._group is not None and self._group.kill():
                return True
        try:
            request = self._signal_request(signals.SIGKILL, everything=True)
            return killed(self._runtime.ask(request)[0], self._group)
        except (TimeoutError, PycontainError):
            return False


def _descriptors(
    plumbing: Plumbing, options: Options, pass_fds: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return numbers inside and descriptors outside; a pty brings its own standard streams."""
    numbers = () if options.pty else (0, 1, 2)
    fds = () if options.pty else plumbing.child
    return (*numbers, *pass_fds), (*fds, *pass_fds)


__all__ = ["BaseCommand", "Command", "Plumbing", "Request", "Stream", "TextMode", "killed"]
