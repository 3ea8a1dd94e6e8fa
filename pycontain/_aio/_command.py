# SPDX-License-Identifier: Apache-2.0
"""A running command and its streams, watched by an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from pycontain._command import Argument, Options, Packer
from pycontain._job import Job
from pycontain._process import START_TIMEOUT_S, BaseCommand, killed, never_started
from pycontain._runtime import KILL_TIMEOUT_S
from pycontain._streams import Capture, Flow, Plumbing
from pycontain._watch import shortest
from pycontain.errors import PycontainError
from pycontain.result import Reason, Result

from ._runtime import CANCELLABLE, AsyncRuntime, Stubborn, pauses, wake


class AsyncCommand(BaseCommand):
    """A command whose reply socket an event loop reads.

    Attributes:
        started: Done when the program has been executed, or could not be.
        ended: Done at the end.
        failure: Why it could not be started.
    """

    def __init__(self, args: Sequence[Argument], cwd: str) -> None:
        super().__init__(args, cwd)
        self._loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.failure: Exception | None = None
        self._pid1: AsyncRuntime

    @classmethod
    async def start(
        cls,
        pid1: AsyncRuntime,
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
            pid1.runtime, packer, args, options, plumbing, tell_start=tell_start, pass_fds=pass_fds
        )
        try:
            with request.reply:
                await pid1.send(request.message, request.all_fds)
        except BaseException:
            command.abandon()
            raise
        command.sent()
        command.watch(pid1)
        return command

    def watch(self, pid1: AsyncRuntime) -> None:
        """Have the loop read what PID 1 reports."""
        self._pid1 = pid1
        self._loop.add_reader(self.fileno(), self._on_report)

    def _on_report(self) -> None:
        try:
            self.collect()
        except Exception as error:  # noqa: BLE001 - raised where the command is waited for
            self.failure = error
        if self.failure is not None and self.returncode is None:
            self._release()
        if self.executed or self._over:
            wake(self.started)
        if self._over:
            wake(self.ended)

    @property
    def _over(self) -> bool:
        return self.returncode is not None or self.failure is not None

    def _release(self) -> None:
        self._loop.remove_reader(self.fileno())
        super()._release()

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end at most `seconds`. Returns whether it has come.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        deadline = None if seconds is None else self._loop.time() + seconds
        while not self.ended.done():
            left = None if deadline is None else deadline - self._loop.time()
            if left is not None and left <= 0:
                break
            await CANCELLABLE.until(self.ended, shortest(left, self.pause()))
            await self.enforce()
        if self.failure is not None:
            raise self.failure
        return self.ended.done()

    async def enforce(self) -> None:
        """End the command if it has reached a limit."""
        reason = None if self._over else self._watch.reached()
        if reason is not None:
            await self.kill(reason)

    async def wait_started(self) -> None:
        """Wait until the program has been executed.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        if not await CANCELLABLE.until(self.started, START_TIMEOUT_S):
            raise TimeoutError(errno.ETIMEDOUT, "PID 1 does not answer")
        if self.failure is not None:
            raise self.failure
        if not self.executed:
            raise never_started()

    def close_pty(self) -> None:
        """Close the master of the pty, when streams have copies of it."""
        if self.pty_fd >= 0:
            os.close(self.pty_fd)
            self.pty_fd = -1

    def send_signal(self, number: int) -> None:
        """Have PID 1 send a signal to the command itself; nothing if it has ended.

        Raises:
            OSError: EINVAL: not a signal.
        """
        if not 0 <= number < signal.NSIG:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if self.returncode is None:
            self._pid1.post(self._signal_request(number))

    async def kill(self, reason: Reason) -> None:
        """Kill every process of the command and wait for its end, whatever cancels this.

        Raises:
            CancelledError: It came meanwhile; everything is dead all the same.
            TimeoutError: Not even the end of the sandbox ended it (an uninterruptible wait).
        """
        if not self._over:
            self._on_report()
        if self._over:
            return
        self._ended_by = reason
        stubborn = Stubborn()
        if self._denials_would_be_lost:
            with contextlib.suppress(TimeoutError, PycontainError):
                self._take_denials((await self._pid1.ask(self._denials_request, stubborn))[0])
        if not await self._kill_group(stubborn) and not await self._kill_processes(stubborn):
            await self._kill_sandbox(stubborn)
        if not await stubborn.until(self.ended, KILL_TIMEOUT_S):
            raise TimeoutError(errno.ETIMEDOUT, "the command cannot be killed")
        stubborn.over()

    async def _kill_group(self, stubborn: Stubborn) -> bool:
        """Control groups have no descriptor that an event loop can watch, so this looks again."""
        if self._group is None or not self._group.dirs:
            return False
        with contextlib.suppress(OSError):  # without descriptors, say; PID 1 has its own
            for pause in pauses(KILL_TIMEOUT_S):
                if self._group.kill(0.0):
                    return True
                await stubborn.pause(pause)
        return False

    async def _kill_processes(self, stubborn: Stubborn) -> bool:
        """Return whether PID 1 found all processes of the command and left none."""
        request = self._signal_request(signal.SIGKILL, everything=True)
        try:
            return killed((await self._pid1.ask(request, stubborn))[0], self._group)
        except (TimeoutError, PycontainError):
            return False

    async def _kill_sandbox(self, stubborn: Stubborn) -> None:
        try:
            await self._pid1.kill()
        except asyncio.CancelledError as error:
            stubborn.remember(error)


class AsyncPump(Flow):
    """A flow whose descriptors an event loop watches."""

    def __init__(
        self,
        feed: tuple[int, bytes] | None,
        captures: Mapping[int, Capture],
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        super().__init__(feed, captures)

    def _watch(self, fd: int, *, writing: bool) -> None:
        if writing:
            self._loop.add_writer(fd, self._feed)
        else:
            self._loop.add_reader(fd, self._arrived, fd)

    def _unwatch(self, fd: int, *, writing: bool) -> None:
        if writing:
            self._loop.remove_writer(fd)
        else:
            self._loop.remove_reader(fd)

    def _arrived(self, fd: int) -> None:
        self._read(fd)
        if self._stop is not None and self._stop():
            wake(self._stopped)

    async def run(self, command: AsyncCommand, seconds: float | None) -> bool:
        """Return True at the end of the command, False when time is over or `stop` says so.

        A limit of the command's own ends it meanwhile.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError, SpawnError: It could not be started.
        """
        deadline = None if seconds is None else self._loop.time() + seconds
        while not command.ended.done():
            left = None if deadline is None else deadline - self._loop.time()
            if self._stopped.done() or (left is not None and left <= 0):
                return False
            await asyncio.wait(
                {command.ended, self._stopped},
                timeout=shortest(left, command.pause()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            await command.enforce()
        if command.failure is not None:
            raise command.failure
        self.drain()
        return True


async def finish(job: Job[AsyncPump], command: AsyncCommand) -> Result:
    """Wait for the end, or bring it about.

    Raises:
        TimeoutExpired: The time is over; nothing of the command is left.
        CancelledError: As if nothing were left to do, because nothing is.
    """
    try:
        if not await job.flow.run(command, job.timeout):
            await command.kill(job.end())
            job.flow.drain()
    except BaseException:
        await command.kill(Reason.KILLED)
        raise
    return job.result(command)
