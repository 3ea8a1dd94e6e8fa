# SPDX-License-Identifier: Apache-2.0
"""`_init` on its way to become a container's process, as its maker sees it."""

from __future__ import annotations

import errno

from pycontain import _native
from pycontain import _os as os
from pycontain._native import Event, parse_report
from pycontain.errors import ProgramNotExecutableError, ProgramNotFoundError, SpawnError

from ._channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pycontain._native import Report


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
        super().__init__(self._control_fd)
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
        data, fd = self.receive()
        if not data:
            raise SpawnError("RECEIVE", errno.ECONNRESET, "the container's process died")
        report = parse_report(data)
        if report.event == Event.FAILED:
            raise self.failure(data)
        return report, fd

    def failure(self, data: bytes) -> Exception:
        """Return the exception for the report of a failure."""
        return failure_error(data, self._paths, self._program)

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


def failure_error(data: bytes, paths: Sequence[str], program: str) -> Exception:
    """Return the exception for a failure of `_init`, in words that clients of runc know."""
    step, number, index = parse_report(data).failure
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
        *("LABEL", "CONSOLE", "SYNC"),
    )
)
