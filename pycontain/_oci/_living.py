# SPDX-License-Identifier: Apache-2.0
"""Whether a container's process lives, which its number alone does not tell."""

from __future__ import annotations

import errno
import os
import select

from pycontain import _native


def start_time(pid: int) -> tuple[int, str]:
    """Return when a process began, in clock ticks since boot, and its state (proc_pid_stat(5)).

    Raises:
        ProcessLookupError: There is none.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from None
    return int(fields[19]), fields[0].decode()


def is_alive(pid: int, start: int) -> bool:
    """Tell whether a process is the one that began then, and has not ended."""
    if pid <= 0:
        return False
    try:
        began, state = start_time(pid)
    except ProcessLookupError:
        return False
    return began == start and state not in "ZXx"


class Handle:
    """A pidfd of a living process; owns it."""

    def __init__(self, pid: int, start: int) -> None:
        """Open it. Raises ProcessLookupError: it has ended."""
        self.fd = os.pidfd_open(pid)
        if not is_alive(pid, start):  # asked only now, as the number may have been another's
            self.close()
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def signal(self, number: int) -> None:
        """Send a signal; a process that is gone is fine."""
        _native.kill(self.fd, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Close the descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
