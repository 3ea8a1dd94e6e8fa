# SPDX-License-Identifier: Apache-2.0
"""A process of a container that is our child, and the file with its id."""

from __future__ import annotations

from pycontain import _atomic, _native
from pycontain import _os as os


class ExecProcess:
    """A process that `Container.exec` has started, our child.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._status: int | None = None

    def fileno(self) -> int:
        """Return its pidfd, which this object owns."""
        return self._pidfd

    def signal(self, number: int) -> None:
        """Send a signal; a process that is gone is fine."""
        _native.kill(self._pidfd, number)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return its exit status, 128 and the signal if one ended it; None when time is over."""
        if self._status is None:
            status = _native.reap(self._pidfd, timeout_s)
            if status is None:
                return None
            self._status = _exit_status(status)
        return self._status

    def __del__(self) -> None:
        """Close the descriptor; the process goes on."""
        fd, self._pidfd = getattr(self, "_pidfd", -1), -1
        if fd >= 0:
            os.close(fd)


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def write_pid_file(path: str, pid: int) -> None:
    """Write a process id whole or not at all. Raises OSError."""
    _atomic.replace(path, str(pid).encode(), mode=0o644)
