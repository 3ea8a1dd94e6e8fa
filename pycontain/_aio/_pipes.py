# SPDX-License-Identifier: Apache-2.0
"""The streams of `AsyncPopen`: a StreamReader or StreamWriter over each of our ends of pipes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from pycontain._streams import read_some

HIGH_WATER: Final = 64 << 10


class PipeReader(asyncio.ReadTransport):
    """Feeds a StreamReader from a pipe or pty master, which it owns.

    The loop's own transport would tell the end of a pty as an error, and could not be asked for
    what a pipe holds when the command has ended and another process keeps the pipe open.

    Attributes:
        stream: The StreamReader.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._reading = False
        self.stream = asyncio.StreamReader(loop=self._loop)
        self.stream.set_transport(self)
        self._sink: Callable[[bytes], None] = self.stream.feed_data
        os.set_blocking(fd, False)
        self.resume_reading()

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._fd

    def is_closing(self) -> bool:
        """Whether the end has been seen, or `close` called."""
        return self._fd < 0

    def is_reading(self) -> bool:
        """Whether the loop reads."""
        return self._reading

    def pause_reading(self) -> None:
        """Leave what comes in the pipe: the StreamReader is full."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Go on reading."""
        if not self._reading and self._fd >= 0:
            self._reading = True
            self._loop.add_reader(self._fd, self._read)

    def _read(self) -> bool:
        data = read_some(self._fd)
        if data:
            self._sink(data)
        elif data is not None:
            self.close()
        return bool(data)

    async def divert(self, sink: Callable[[bytes], None]) -> None:
        """From now on give everything to `sink`, first what the StreamReader still holds."""
        self._sink = sink
        self.stream.feed_eof()
        sink(await self.stream.read())
        self.resume_reading()

    def drain(self) -> None:
        """Read what is in the pipe now, at most what it holds: others may go on writing."""
        for _ in range(32):
            if self._fd < 0 or not self._read():
                break

    def close(self) -> None:
        """Close the descriptor; the StreamReader is at its end."""
        if self._fd >= 0:
            self.pause_reading()
            fd, self._fd = self._fd, -1
            os.close(fd)
            self.stream.feed_eof()

    def abort(self) -> None:
        """Close."""
        self.close()

    def __del__(self) -> None:
        """Close what was read up to a full buffer and then forgotten."""
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


class PipeWriter(asyncio.WriteTransport):
    """Writes what a StreamWriter is given to a pipe or pty master, which it owns.

    A loop's own transport may read to notice the end of the other side (uvloop's does), and from a
    pty that would take the output away.

    Attributes:
        stream: The StreamWriter.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._rest = bytearray()
        self._closing = self._paused = False
        # Only for its flow control and its word of the end; nothing is read.
        self._protocol = asyncio.StreamReaderProtocol(
            asyncio.StreamReader(loop=self._loop), loop=self._loop
        )
        os.set_blocking(fd, False)
        self._protocol.connection_made(self)
        self.stream = asyncio.StreamWriter(self, self._protocol, None, self._loop)

    def is_closing(self) -> bool:
        """Whether the other side is gone, or `close` or `abort` was called."""
        return self._closing

    def can_write_eof(self) -> bool:
        """Return True: it is what `close` does."""
        return True

    def write_eof(self) -> None:
        """Close when all is written."""
        self.close()

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that wait to be written."""
        return len(self._rest)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Write, now or when the other side has read."""
        if self._closing or not data:
            return
        waiting = bool(self._rest)
        self._rest += data
        if not waiting:
            self._write()
            if self._rest:
                self._loop.add_writer(self._fd, self._ready)
        if len(self._rest) > HIGH_WATER and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _write(self) -> None:
        try:
            del self._rest[: os.write(self._fd, self._rest)]
        except BlockingIOError:
            pass
        except OSError as error:  # EPIPE; EIO of a pty
            self._end(error)

    def _ready(self) -> None:
        self._write()
        if self._rest or self._fd < 0:
            return
        self._loop.remove_writer(self._fd)
        if self._paused:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._end(None)

    def close(self) -> None:
        """Close when all is written."""
        if not self._closing:
            self._closing = True
            if not self._rest:
                self._end(None)

    def abort(self) -> None:
        """Close, whatever is not written yet."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        self._closing = True
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            fd, self._fd = self._fd, -1
            os.close(fd)
            self._rest.clear()
            self._loop.call_soon(self._protocol.connection_lost, error)

    def __del__(self) -> None:
        """Close what was forgotten."""
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
