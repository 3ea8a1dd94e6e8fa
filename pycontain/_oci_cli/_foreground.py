# SPDX-License-Identifier: Apache-2.0
"""Waiting for a container's process: signals are handed on, and a terminal is relayed."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal imports enum, which is slow

from pycontain import _os as os
from pycontain._terminal import caught_signals, raw_terminal, set_window_size, window_size
from pycontain._wire import POLLIN, POLLOUT, poll
from pycontain.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_CHUNK = 65536
_DRAIN_MAX = 64  # reads after the end: others may go on writing
# Not those that tell of an error of our own, nor what is no message to anybody.
_KEPT = frozenset(
    getattr(signal, f"SIG{name}")
    for name in (
        *("KILL", "STOP", "CHLD", "SEGV", "BUS", "FPE", "ILL", "ABRT", "TRAP", "SYS", "PIPE"),
        *("URG", "PROF", "VTALRM", "ALRM", "TTIN", "TTOU", "TSTP", "CONT"),
    )
)
_FORWARDED = frozenset(signal.valid_signals()) - _KEPT - {32, 33}  # libc's own


class Console:
    """The socket that a runtime sends a terminal to, when the receiver is this process."""

    def __init__(self) -> None:
        """Make it in a private directory."""
        import socket  # noqa: PLC0415 - slow to import
        import tempfile  # noqa: PLC0415

        self._directory = tempfile.mkdtemp(prefix="pycontain-console.")
        self.path = f"{self._directory}/socket"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def receive(self) -> int:
        """Return the terminal's descriptor. Raises ContainerError if none was sent."""
        import socket  # noqa: PLC0415 - slow to import

        self._listener.settimeout(10)
        with self._listener.accept()[0] as connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        if not fds:
            raise ContainerError("the container's terminal was not sent")
        os.set_inheritable(fds[0], False)
        _fit(fds[0])  # before the program can ask
        return fds[0]

    def close(self) -> None:
        """Remove it."""
        self._listener.close()
        os.unlink(self.path)
        os.rmdir(self._directory)


def wait(pid: int, send: Callable[[int], None], signals: int, terminal: int | None) -> int:
    """Wait for a child and return its exit status, 128 and the number for a signal.

    Args:
        pid: The child.
        send: Sends it a signal.
        signals: What `caught_signals` gave.
        terminal: The master of its terminal, which is closed here; None without.
    """
    pidfd = os.pidfd_open(pid)
    relay = _Relay(terminal)
    with raw_terminal(-1 if terminal is None else 0):
        relay.resize()
        ready: dict[int, int] = {}
        while pidfd not in ready:
            ready = poll({pidfd: POLLIN, signals: POLLIN, **relay.wanted})
            for fd in ready:
                if fd == signals:
                    _hand_on(os.read(signals, _CHUNK), send, relay)
                elif fd != pidfd:
                    relay.serve(fd)
        relay.drain()
    os.close(pidfd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - status if status < 0 else status


def forwarded() -> caught_signals:
    """Catch what is to be handed on. From before the child is there, so that nothing is lost."""
    return caught_signals(_FORWARDED)


def sender(pid: int) -> Callable[[int], None]:
    """Return what sends a signal to a child that has not been waited for."""
    return lambda number: os.kill(pid, number)


def _hand_on(numbers: bytes, send: Callable[[int], None], relay: _Relay) -> None:
    for number in numbers:
        if number == signal.SIGWINCH and relay.terminal is not None:
            relay.resize()
        else:
            try:
                send(number)
            except (ContainerError, ProcessLookupError):  # it has just ended
                pass


def _fit(terminal: int) -> None:
    if os.isatty(0):
        set_window_size(terminal, *window_size(0))


class _Relay:
    """Moves bytes between our standard streams and a terminal."""

    def __init__(self, terminal: int | None) -> None:
        self.terminal = terminal
        self.wanted: dict[int, int] = {}
        """What is waited for, by descriptor, as poll(2) is told."""
        self._pending = b""
        if terminal is not None:
            os.set_blocking(terminal, False)
            self.wanted = {terminal: POLLIN, 0: POLLIN}

    def resize(self) -> None:
        """Give the terminal the size of ours."""
        if self.terminal is not None:
            _fit(self.terminal)

    def serve(self, fd: int) -> None:
        if fd == 0:
            self._take()
            return
        if self._pending:
            self._give()
        if not self._show():
            del self.wanted[fd]

    def _take(self) -> None:
        """Read our input; no more of it until the terminal has it."""
        del self.wanted[0]
        try:
            self._pending = os.read(0, _CHUNK)
        except OSError:  # EIO: our own terminal is gone
            return
        if self._pending and self.terminal in self.wanted:
            self.wanted[self.terminal] = POLLIN | POLLOUT

    def _give(self) -> None:
        assert self.terminal is not None  # noqa: S101 - for type checkers
        try:
            self._pending = self._pending[os.write(self.terminal, self._pending) :]
        except BlockingIOError:
            pass
        if not self._pending:
            self.wanted |= {self.terminal: POLLIN, 0: POLLIN}

    def _show(self) -> bool:
        """Write what the terminal has. Returns False at its end."""
        assert self.terminal is not None  # noqa: S101 - for type checkers
        try:
            data = os.read(self.terminal, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody holds the other side
            return False
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        return bool(data)

    def drain(self) -> None:
        """Write what the terminal still has, and close it."""
        if self.terminal is None:
            return
        for _ in range(_DRAIN_MAX):
            if not poll({self.terminal: POLLIN}, 0) or not self._show():
                break
        os.close(self.terminal)
