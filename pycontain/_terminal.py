# SPDX-License-Identifier: Apache-2.0
"""The terminal of a command line, and the signals that it gets while it waits."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal imports enum, which is slow
import contextlib
import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

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


@contextlib.contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Hand every key on as it is while the block runs; does nothing where `fd` is no terminal."""
    if not os.isatty(fd):
        yield
        return
    import termios  # noqa: PLC0415 - only needed with a terminal
    import tty  # noqa: PLC0415

    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)  # what was typed before is for the command
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def caught_signals(forwarded: Iterable[int] = TERMINATING) -> Iterator[int]:
    """Give a descriptor from which the numbers of the caught signals can be read."""
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    wanted = {*forwarded, signal.SIGWINCH}
    # A handler of Python's own is needed for the number to be written.
    before = {number: signal.signal(number, lambda _number, _frame: None) for number in wanted}
    old_fd = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(old_fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read)
        os.close(write)
