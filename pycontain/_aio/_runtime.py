# SPDX-License-Identifier: Apache-2.0
"""PID 1 as an event loop sees it: every wait is for a descriptor, none blocks, no thread helps."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Protocol

from pycontain import _groups
from pycontain._native import Report
from pycontain._patience import SETUP_TIMEOUT_S, set_up_hangs
from pycontain._runtime import (
    KILL_TIMEOUT_S,
    PAUSE_TIMEOUT_S,
    Runtime,
    does_not_pause,
    reply_pair,
)
from pycontain.errors import SandboxClosedError, SpawnError, UnsupportedError
from pycontain.result import Stats


def pauses(seconds: float) -> Iterator[float]:
    """Yield growing pauses between looks at what no descriptor tells, until `seconds` are over."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while time.monotonic() < deadline:
        yield pause
        pause = min(2 * pause, 0.05)


class Wait(Protocol):
    """A way to wait for a future of nobody else's making, which several tasks may wait for."""

    async def until(self, future: asyncio.Future[Any], seconds: float | None) -> bool:
        """Return whether `future` is done, after at most `seconds`."""


class _Cancellable:
    async def until(self, future: asyncio.Future[Any], seconds: float | None) -> bool:
        if not future.done():
            await asyncio.wait({future}, timeout=seconds)
        return future.done()


CANCELLABLE: Final = _Cancellable()


class Stubborn:
    """Waits that a cancellation does not cut short, so that what must be ended is ended.

    Plain futures only, no tasks: the end of a loop cancels those behind our back.
    """

    def __init__(self) -> None:
        self._cancelled: asyncio.CancelledError | None = None

    async def until(self, future: asyncio.Future[Any], seconds: float | None) -> bool:
        """Return whether `future` is done, after at most `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        while not future.done() and (deadline is None or loop.time() < deadline):
            try:
                await asyncio.wait(
                    {future}, timeout=None if deadline is None else deadline - loop.time()
                )
            except asyncio.CancelledError as error:
                self._cancelled = error
        return future.done()

    async def pause(self, seconds: float) -> None:
        """Wait that long."""
        await self.until(asyncio.get_running_loop().create_future(), seconds)

    def remember(self, error: asyncio.CancelledError) -> None:
        """Take note of a cancellation that came elsewhere."""
        self._cancelled = error

    def over(self) -> None:
        """Raise the cancellation that came meanwhile."""
        if self._cancelled is not None:
            raise self._cancelled


def wake(future: asyncio.Future[None]) -> None:
    """Set a future that only says that something has happened."""
    if not future.done():
        future.set_result(None)


async def readable(fd: int, seconds: float, wait: Wait) -> bool:
    """Return whether `fd`, which nobody else watches, can be read within `seconds`."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.add_reader(fd, wake, future)
    try:
        return await wait.until(future, seconds)
    finally:
        loop.remove_reader(fd)


class AsyncRuntime:
    """PID 1 of one sandbox, used from one event loop.

    Attributes:
        runtime: The blocking twin, which owns PID 1.
        loop: The event loop.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.loop = asyncio.get_running_loop()
        self._turns: deque[asyncio.Future[None]] = deque()
        self._poll = select.poll()
        self._poll.register(runtime.control_fd, select.POLLOUT)
        self._dead: asyncio.Future[None] | None = None
        self._refused: SpawnError | None = None

    @property
    def closed(self) -> bool:
        """Whether the sandbox has been closed, or is being closed."""
        return self._dead is not None or self.runtime.closed

    async def wait_ready(self) -> None:
        """Wait for the end of the set-up.

        Raises:
            SpawnError: A step failed. PID 1 is dead then, and the sandbox closed.
        """
        try:
            ready = await readable(self.runtime.control_fd, SETUP_TIMEOUT_S, CANCELLABLE)
            if ready:
                self.runtime.check_ready()
        except BaseException:
            await self.kill()
            raise
        if not ready:
            await self.kill()
            raise set_up_hangs()

    async def send(self, message: bytes, fds: tuple[int, ...], wait: Wait = CANCELLABLE) -> None:
        """Send a request; if this is cancelled, it has not been sent.

        Raises:
            SandboxClosedError: The sandbox was closed, or has ended.
            TimeoutError: PID 1 does not read.
        """
        if not self._has_room():
            turn = self._queue()
            try:
                if not await wait.until(turn, KILL_TIMEOUT_S):
                    raise TimeoutError(errno.ETIMEDOUT, "PID 1 does not answer")
            finally:
                turn.cancel()
        self._send(message, fds)

    def post(self, message: bytes) -> None:
        """Send a request whose answer nobody waits for, now or when there is room."""
        ours, theirs = reply_pair()
        ours.close()
        if self._has_room():
            self._deliver(message, theirs)
        else:
            self._queue().add_done_callback(lambda _: self._deliver(message, theirs))

    def _deliver(self, message: bytes, theirs: socket.socket) -> None:
        with theirs, contextlib.suppress(SandboxClosedError):
            self._send(message, (theirs.fileno(),))

    def _send(self, message: bytes, fds: tuple[int, ...]) -> None:
        if self._dead is not None:
            raise SandboxClosedError("the sandbox is closed")
        self.runtime.send(message, fds)

    def _has_room(self) -> bool:
        """A Unix socket polls writable while three quarters are free: a message always fits."""
        return self._dead is not None or (not self._turns and bool(self._poll.poll(0)))

    def _queue(self) -> asyncio.Future[None]:
        turn = self.loop.create_future()
        if not self._turns:
            self.loop.add_writer(self.runtime.control_fd, self._next_turn)
        self._turns.append(turn)
        return turn

    def _next_turn(self) -> None:
        """One at a time: who has the turn sends before the socket is looked at again."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if not self._turns:
            self.loop.remove_writer(self.runtime.control_fd)

    async def ask(self, message: bytes, wait: Wait = CANCELLABLE) -> tuple[Report, int | None]:
        """Send a request and wait for its reply; returns it with the descriptor that came along.

        Raises:
            SandboxClosedError: The sandbox was closed, or has ended.
            TimeoutError: No reply.
        """
        ours, theirs = reply_pair()
        try:
            with theirs:
                await self.send(message, (theirs.fileno(),), wait)
            if not await readable(ours.fileno(), KILL_TIMEOUT_S, wait):
                raise TimeoutError(errno.ETIMEDOUT, "PID 1 does not answer")
            report, fd, _ = ours.receive_with()
        finally:
            ours.close()
        if report is None:
            raise SandboxClosedError("the sandbox has ended: its PID 1 is gone")
        return report, fd

    async def pause(self) -> None:
        """Stop every process of the commands; if this is cancelled, they run.

        Raises:
            UnsupportedError: The sandbox has no group that can be frozen.
            TimeoutError: A process in an uninterruptible wait does not stop; all run again.
        """
        try:
            for pause in pauses(PAUSE_TIMEOUT_S):
                if self.runtime.pause(0.0):
                    return
                await asyncio.sleep(pause)
            raise does_not_pause()  # noqa: TRY301
        except BaseException:
            with contextlib.suppress(UnsupportedError):
                self.runtime.resume()
            raise

    async def stats(self) -> Stats:
        """Return what the commands use now."""
        return _groups.stats(self.runtime.tree)

    async def stats_every(self, interval: float) -> AsyncIterator[Stats]:
        """Yield what the commands use, every `interval` seconds, until the sandbox ends."""
        end = os.dup(self.runtime.pidfd)  # the runtime closes its own
        try:
            while not self.closed:
                yield _groups.stats(self.runtime.tree)
                if await readable(end, interval, CANCELLABLE):
                    break
        finally:
            os.close(end)

    async def kill(self) -> None:
        """Kill everything inside and wait for it, whatever cancels this. Idempotent.

        Raises:
            CancelledError: It came meanwhile; everything is dead all the same.
            SpawnError: The kernel refused to wait. The sandbox is still ours: call again.
        """
        if self._dead is None:
            self._dead = self.loop.create_future()
            for turn in self._turns:
                wake(turn)
            if self._turns:
                self._turns.clear()
                self.loop.remove_writer(self.runtime.control_fd)
            self._reap(self._dead)
        dead = self._dead
        stubborn = Stubborn()
        if dead is not None:
            await stubborn.until(dead, KILL_TIMEOUT_S)
        stubborn.over()
        if self._refused is not None:
            error, self._refused = self._refused, None
            raise error

    def _on_death(self, dead: asyncio.Future[None]) -> None:
        self.loop.remove_reader(self.runtime.pidfd)
        self._reap(dead)

    def _reap(self, dead: asyncio.Future[None]) -> None:
        """End the wait for PID 1 if it is dead."""
        try:
            if self.runtime.kill(0.0) is None and not self.runtime.closed:
                self.loop.add_reader(self.runtime.pidfd, self._on_death, dead)
                return
        except SpawnError as error:
            self._refused = error
            self._dead = None  # the next call tries again
        wake(dead)
