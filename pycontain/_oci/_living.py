# SPDX-License-Identifier: Apache-2.0
"""A container's living process, which its number alone does not tell."""

from __future__ import annotations

import errno
from _signal import pidfd_send_signal  # type: ignore[import-not-found]  # not signal: enum

from pycontain import _os as os
from pycontain._pidfd import open_pidfd

from ._status import is_alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ._state import Record


class Handle:
    """A pidfd of a living process; owns it."""

    def __init__(self, record: Record) -> None:
        """Open that of a container's first one. Raises ProcessLookupError: it has ended."""
        if record.pid <= 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self.fd = open_pidfd(record.pid)
        if not is_alive(record):  # asked only now, as the number may have been another's
            self.close()
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def signal(self, number: int) -> None:
        """Send a signal; a process that is gone is fine."""
        try:
            pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            pass

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        from pycontain import _wire  # noqa: PLC0415 - most have ended

        return bool(_wire.poll({self.fd: _wire.POLLIN}, timeout_s))

    def close(self) -> None:
        """Close the descriptor."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
