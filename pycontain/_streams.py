# SPDX-License-Identifier: Apache-2.0
"""Standard streams of a command: what was asked for as descriptors, captures that stay bounded."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable, Mapping
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Any, Final, Protocol, TypeAlias

from ._hints import refused
from ._watch import shortest
from .errors import ConfigError

Stream: TypeAlias = int | IO[Any] | None
CHUNK: Final = 65536


class Capture:
    """The first `limit` bytes of a stream; the rest is read and dropped: no writer stalls."""

    __slots__ = ("_chunks", "_room", "truncated")

    def __init__(self, limit: int) -> None:
        self._chunks: list[bytes] = []
        self._room = limit
        self.truncated = False

    def add(self, data: bytes) -> None:
        """Keep as much of `data` as there is room for."""
        if len(data) > self._room:
            self.truncated = True
            data = data[: self._room]
        if data:
            self._room -= len(data)
            self._chunks.append(data)

    def value(self) -> bytes:
        """Return what was kept."""
        return b"".join(self._chunks)


class Plumbing:
    """The descriptors of one command: the child's ends, closed after the start, and ours.

    Attributes:
        child: Descriptors for 0, 1 and 2 inside.
        ours: Our ends of pipes, None where there is no pipe.
    """

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self._owned: list[int] = []
        self._pipes: list[int] = []
        self.ours: list[int | None] = [None, None, None]
        try:
            child = [self._open(stdin, 0), self._open(stdout, 1)]
            child.append(child[1] if stderr == STDOUT else self._open(stderr, 2))
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise refused("STDIO", error) from None
            raise
        self.child: tuple[int, ...] = tuple(child)

    def _open(self, stream: Stream, number: int) -> int:
        if stream is None or stream == DEVNULL:
            fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        elif stream == PIPE:
            read, write = os.pipe2(os.O_CLOEXEC)
            fd, self.ours[number] = (read, write) if number == 0 else (write, read)
            self._pipes.append(fd)
        elif isinstance(stream, int):
            if stream < 0:
                raise ConfigError(
                    f"{('stdin', 'stdout', 'stderr')[number]}: {stream} is not a descriptor"
                )
            return stream
        elif hasattr(stream, "fileno"):
            return int(stream.fileno())
        else:
            raise ConfigError(
                f"{('stdin', 'stdout', 'stderr')[number]}: {stream!r} has no descriptor"
            )
        self._owned.append(fd)
        return fd

    def give_to(self, uid: int, gid: int) -> None:
        """Let a user of the host open our pipes again, as /dev/stdin and the like."""
        for fd in self._pipes:
            os.fchown(fd, uid, gid)

    def close_child(self) -> None:
        """Close the child's ends that were made here."""
        for fd in self._owned:
            os.close(fd)
        self._owned.clear()
        self._pipes.clear()

    def close(self) -> None:
        """Close everything that was made here."""
        self.close_child()
        for number, fd in enumerate(self.ours):
            if fd is not None:
                os.close(fd)
                self.ours[number] = None


class Watched(Protocol):
    """What a pump waits for: a descriptor, and when it is readable, whether the command ended."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def collect(self) -> bool:
        """Return whether the command has ended."""

    def pause(self) -> float | None:
        """Return the seconds after which `enforce` is to be called; None: never."""

    def enforce(self) -> bool:
        """End the command if it has reached a limit. Returns whether it has ended."""


class Flow:
    """Moves input and output of one command; a subclass waits for its descriptors.

    The command's end decides, not the end of its streams: a process that it left behind may hold
    them for ever. What the pipes hold at that moment is still read.
    """

    def __init__(self, feed: tuple[int, bytes] | None, captures: Mapping[int, Capture]) -> None:
        self._captures = captures
        self._open = set(captures)
        self._feed_fd, self._rest = (
            (feed[0], memoryview(feed[1])) if feed else (-1, memoryview(b""))
        )
        for fd in captures:
            os.set_blocking(fd, False)
            self._watch(fd, writing=False)
        if feed:
            os.set_blocking(self._feed_fd, False)
            self._watch(self._feed_fd, writing=True)
            if not self._rest:
                self._stop_feeding()

    def _watch(self, fd: int, *, writing: bool) -> None:
        raise NotImplementedError

    def _unwatch(self, fd: int, *, writing: bool) -> None:
        raise NotImplementedError

    def drain(self) -> None:
        """Read what is in the pipes now, at most what they hold: others may go on writing."""
        if self._feed_fd >= 0:
            self._stop_feeding()
        for fd in list(self._open):
            for _ in range(32):
                if not self._read(fd):
                    break

    def close(self) -> None:
        """Let go of the descriptors; those of outputs stay open, they are the caller's."""
        if self._feed_fd >= 0:
            self._stop_feeding()
        for fd in self._open:
            self._unwatch(fd, writing=False)
        self._open.clear()

    def _feed(self) -> None:
        try:
            self._rest = self._rest[os.write(self._feed_fd, self._rest[:CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest = memoryview(b"")
        if not self._rest:
            self._stop_feeding()

    def _stop_feeding(self) -> None:
        self._unwatch(self._feed_fd, writing=True)
        os.close(self._feed_fd)
        self._feed_fd = -1

    def _read(self, fd: int) -> bool:
        data = read_some(fd)
        if data is None:
            return False
        if not data:
            self._open.discard(fd)
            self._unwatch(fd, writing=False)
            return False
        self._captures[fd].add(data)
        return True


def read_some(fd: int) -> bytes | None:
    """Return what a non-blocking pipe or pty holds, b"" at its end, None if there is nothing."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EIO:  # the last process on the other side of a pty is gone
            raise
        return b""


class Pump(Flow):
    """A flow whose caller blocks until the command has ended or the time is over."""

    def __init__(
        self,
        feed: tuple[int, bytes] | None,
        captures: Mapping[int, Capture],
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._stop = stop
        self._poll = select.poll()
        super().__init__(feed, captures)

    def _watch(self, fd: int, *, writing: bool) -> None:
        self._poll.register(fd, select.POLLOUT if writing else select.POLLIN)

    def _unwatch(self, fd: int, *, writing: bool) -> None:  # noqa: ARG002
        self._poll.unregister(fd)

    def run(self, command: Watched, seconds: float | None) -> bool:
        """Return True at the end of the command, False when time is over or `stop` says so.

        A limit of the command's own ends it meanwhile.

        Args:
            command: What to wait for.
            seconds: How long; None: for ever.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        if command.collect():
            self.drain()
            return True
        watched = command.fileno()
        self._poll.register(watched, select.POLLIN)
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                pause = shortest(left, command.pause())
                ready = self._poll.poll(None if pause is None else pause * 1000)
                if not ready and deadline is not None and time.monotonic() >= deadline:
                    return False
                finished = command.enforce()
                for fd, _events in ready:
                    if fd == watched:
                        finished = finished or command.collect()
                    elif fd == self._feed_fd:
                        self._feed()
                    else:
                        self._read(fd)
                if finished:
                    break
                if self._stop is not None and self._stop():
                    return False
        finally:
            self._poll.unregister(watched)
        self.drain()
        return True
