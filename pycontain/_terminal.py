# SPDX-License-Identifier: Apache-2.0
"""The terminal of a command line, and the signals that it gets while it waits."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal imports enum, which is slow
import fcntl
import struct

from . import _os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

TERMINATING: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
"""What a user ends a program with."""


def window_size(fd: int) -> tuple[int, int]:
    """Return rows and columns of a terminal, 24 and 80 where it is none or does not know."""
    import termios  # noqa: PLC0415 - only needed with a terminal

    try:
        packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return 24, 80
    rows, columns, _, _ = struct.unpack("HHHH", packed)
    return rows or 24, columns or 80


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Give a terminal its size. Raises OSError where it is none."""
    import termios  # noqa: PLC0415 - only needed with a terminal

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class raw_terminal:  # noqa: N801 - used as a function
    """Hands every key on as it is during a `with`; does nothing where `fd` is no terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> None:
        if not os.isatty(self._fd):
            return
        import termios  # noqa: PLC0415 - only needed with a terminal
        import tty  # noqa: PLC0415

        self._before = termios.tcgetattr(self._fd)
        tty.setraw(self._fd, termios.TCSANOW)  # what was typed before is for the command

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            import termios  # noqa: PLC0415 - only needed with a terminal

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


class caught_signals:  # noqa: N801 - used as a function
    """Gives a descriptor from which the numbers of the caught signals can be read."""

    def __init__(self, forwarded: Iterable[int] = TERMINATING) -> None:
        self._wanted = {*forwarded, signal.SIGWINCH}

    def __enter__(self) -> int:
        read, write = self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        # A handler of Python's own is needed for the number to be written.
        self._before = {
            number: signal.signal(number, lambda _number, _frame: None) for number in self._wanted
        }
        self._old_fd = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        return read

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for fd in self._pipe:
            os.close(fd)
