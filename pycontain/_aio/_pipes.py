# SPDX-License-Identifier: Apache-2.0
"""The streams of `AsyncPopen`: a StreamReader or StreamWriter over each of our ends of pipes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from pycontain._streams import read_some


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


async def open_writer(fd: int) -> asyncio.StreamWriter:
    """Return a StreamWriter over a pipe or pty master, which it owns."""
    loop = asyncio.get_running_loop()
    # Only for its flow control and its word of the end; nothing is read.
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), loop=loop)
    pipe = os.fdopen(fd, "wb", buffering=0)
    try:
        transport, _ = await loop.connect_write_pipe(lambda: protocol, pipe)
    except BaseException:
        pipe.close()
        raise
    return asyncio.StreamWriter(transport, protocol, None, loop)
