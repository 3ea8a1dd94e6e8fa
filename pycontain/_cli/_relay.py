# SPDX-License-Identifier: Apache-2.0
"""While the command line waits for a command: its streams and ours, the terminal, signals."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from typing import Final

from pycontain._popen import Popen
from pycontain._terminal import window_size

CHUNK: Final = 65536
# Reads after the end of a command: what its pipes held then, though others may go on writing.
_DRAIN_MAX: Final = 64
_END_OF_INPUT: Final = b"\x04"  # VEOF of a new terminal (termios(3))


class Relay:
    """Moves bytes between our standard streams and those of one command until it has ended.

    A second signal of a kind kills the command with all that it started; the first is handed on.
    """

    def __init__(self, process: Popen, *, forward_input: bool, pty: bool, signals: int) -> None:
        self._process = process
        self._pty = pty
        self._signals = signals
        self._seen: set[int] = set()
        self._poll = select.poll()
        self._routes: dict[int, int] = {}
        for stream, target in ((process.stdout, 1), (process.stderr, 2)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._routes[stream.fileno()] = target
                self._poll.register(stream.fileno(), select.POLLIN)
        self._pending = b""
        self._input_over = False
        self._input = -1
        if forward_input and process.stdin is not None:
            self._input = process.stdin.fileno()
            os.set_blocking(self._input, False)
            self._poll.register(0, select.POLLIN)
        self._poll.register(process.fileno(), select.POLLIN)
        self._poll.register(signals, select.POLLIN)

    def run(self, timeout: float | None) -> bool:
        """Return True at the end of the command; False after `timeout` s, when it still runs."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while self._process.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            due = self._process.limit_due()
            pause = left if due is None else min(left, due)
            for fd, _events in self._poll.poll(None if pause == math.inf else pause * 1000):
                self._serve(fd)
        return True

    def drain(self) -> None:
        """Hand on what the command's streams still hold."""
        for fd in list(self._routes):
            for _ in range(_DRAIN_MAX):
                if not self._copy(fd):
                    break

    def _serve(self, fd: int) -> None:
        if fd == self._signals:
            self._handle_signals()
        elif fd == 0 and self._input >= 0:
            self._take_input()
        elif fd == self._input and self._pending:
            self._give_input()
        if fd in self._routes:
            self._copy(fd)

    def _handle_signals(self) -> None:
        for number in os.read(self._signals, CHUNK):
            if number == signal.SIGWINCH:
                if self._pty:
                    self._process.resize(*window_size(0))
            elif number in self._seen:
                self._process.kill_all()
            else:
                self._seen.add(number)
                self._process.send_signal(number)

    def _copy(self, fd: int) -> bool:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody holds the other side of the pty
            data = b""
        if data and self._write(self._routes[fd], data):
            return True
        self._drop(fd)
        return False

    @staticmethod
    def _write(target: int, data: bytes) -> bool:
        """Return whether there was still somebody to read it."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(target, view) :]
        except BrokenPipeError:
            return False
        return True

    def _drop(self, fd: int) -> None:
        """Stop reading a stream; a command that goes on writing gets SIGPIPE, as without us."""
        del self._routes[fd]
        self._poll.unregister(fd)
        if not self._pty:
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None and not stream.closed and stream.fileno() == fd:
                    stream.close()

    def _take_input(self) -> None:
        try:
            data = os.read(0, CHUNK)
        except OSError:  # EIO: our terminal is gone
            data = b""
        self._poll.unregister(0)
        if data or self._pty:
            self._pending = data or _END_OF_INPUT
            self._input_over = not data
            self._poll.register(self._input, select.POLLOUT)
        else:
            self._close_input()

    def _give_input(self) -> None:
        try:
            self._pending = self._pending[os.write(self._input, self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE, or EIO of a pty: nobody reads
            self._pending = b""
            self._input_over = True
        if self._pending:
            return
        self._poll.unregister(self._input)
        if self._input_over:
            self._close_input()
        else:
            self._poll.register(0, select.POLLIN)

    def _close_input(self) -> None:
        self._input = -1
        if not self._pty and self._process.stdin is not None:
            self._process.stdin.close()
