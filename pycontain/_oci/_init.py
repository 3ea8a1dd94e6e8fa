# SPDX-License-Identifier: Apache-2.0
"""`_init` on its way to become a container's process, as its maker sees it."""

from __future__ import annotations

import _socket  # socket imports enum and selectors, which are slow
import errno
import os

from pycontain import _native
from pycontain._native import Event
from pycontain.errors import ProgramNotExecutableError, ProgramNotFoundError, SpawnError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pycontain._native import Report


class Channel:
    """A connection to `_init`; owns the descriptor."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock

    def receive(self) -> tuple[Report | None, int]:
        """Return the next report, None at the end, and a descriptor that came along, or -1.

        The listener of a filter comes without a report.
        """
        size = _socket.CMSG_SPACE(4)
        try:
            data, items, _, _ = self._socket.recvmsg(
                _native.REPORT_SIZE, size, _socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None, -1
        fds = [int.from_bytes(item[2][:4], "little") for item in items]
        report = _native.parse_report(data) if len(data) == _native.REPORT_SIZE else None
        return report, fds[0] if fds else -1

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a request. Raises OSError: nobody is there."""
        _native.send(self._socket.fileno(), message, fds)

    def go(self) -> None:
        """Let it go on. Raises OSError: nobody is there."""
        self.send(_native.pack_go())

    def close(self) -> None:
        """Close our end."""
        self._socket.close()


class Init(Channel):
    """`_init`, our child until we end. Killed with this object unless it was let go.

    Attributes:
        pid: Its process id.
        pidfd: Its pidfd.
    """

    def __init__(self, pid1: _native.Pid1, paths: Sequence[str], program: str) -> None:
        self.pid = pid1.pid
        self._pidfd = self._control_fd = -1
        pid1.take(self)
        super().__init__(_socket.socket(fileno=self._control_fd))
        self._paths = paths
        self._program = program

    @property
    def pidfd(self) -> int:
        """Its pidfd, owned by this object."""
        return self._pidfd

    def next(self) -> tuple[Report, int]:
        """Return the next report, READY or SYNC, and a descriptor that came along, or -1.

        Raises:
            ProgramNotFoundError, ProgramNotExecutableError: Of the program.
            SpawnError: A step failed. It is dead, or about to be.
        """
        report, fd = self.receive()
        if report is None:
            raise SpawnError("RECEIVE", errno.ECONNRESET, "the container's process died")
        if report.event == Event.FAILED:
            raise self.error(report)
        return report, fd

    def error(self, report: Report) -> Exception:
        """Return the exception for a failure."""
        return failure_error(report, self._paths, self._program)

    def kill(self) -> None:
        """Kill it, wait for its end, and let go of it. Idempotent."""
        if self._pidfd < 0:
            return
        _native.kill(self._pidfd, _native.SIGKILL)
        self.close()
        _native.reap(self._pidfd, None)
        self.forget()

    def forget(self) -> None:
        """Let go of it: it lives on."""
        self.close()
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            os.close(fd)

    def take_pidfd(self) -> int:
        """Let go of it and return its pidfd, which is the caller's from now on."""
        self.close()
        fd, self._pidfd = self._pidfd, -1
        return fd

    def __del__(self) -> None:
        """Kill what nobody has let go."""
        if getattr(self, "_pidfd", -1) >= 0:
            self.kill()


def failure_error(report: Report, paths: Sequence[str], program: str) -> Exception:
    """Return the exception for a failure of `_init`, in words that clients of runc know."""
    step, number, index = report.failure
    text = os.strerror(number)
    if step in ("PROGRAM", "EXEC"):
        if number in (errno.ENOENT, errno.ENOTDIR):
            if "/" in program:
                return ProgramNotFoundError(
                    number, f'exec: "{program}": stat {program}: {text.lower()}'
                )
            return ProgramNotFoundError(
                number, f'exec: "{program}": executable file not found in $PATH'
            )
        if number == errno.EACCES:
            return ProgramNotExecutableError(number, f'exec: "{program}": {text.lower()}')
        return SpawnError(step, number, f'exec: "{program}": {text.lower()}')
    of_an_op = "OPS" not in step and index < len(paths)
    path = paths[index] if of_an_op and step in _OP_STEPS else None
    from pycontain._hints import hint  # noqa: PLC0415 - only failures need it

    return SpawnError(step, number, text, path, hint(step, number))


_OP_STEPS = frozenset(
    (
        *("SOURCE", "ROOT", "SYMLINK", "BIND", "MASK", "READ_ONLY", "SYSCTL", "HOSTNAME"),
        *("LOOPBACK", "KEYRING", "PIVOT_ROOT", "MOUNT", "ATTRIBUTES", "COPY_UP", "NODE"),
        *("CONSOLE", "SYNC"),
    )
)
