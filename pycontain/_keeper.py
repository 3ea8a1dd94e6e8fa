# SPDX-License-Identifier: Apache-2.0
"""A keeper: a tiny process of ours that lives where this process may not go, and clones for it.

It is PID 1's program in no namespace of its own (`struct nsb_clone` in api.h), so it costs a few
pages of memory and no start of an interpreter. It ends with us: at the end of file of its socket.
"""

from __future__ import annotations

from . import _native
from . import _os as os


class Keeper:
    """A running keeper, in this process's control group until it is moved.

    Attributes:
        pid: Its process id.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self) -> None:
        self._pidfd = self._control_fd = -1
        try:
            pid1 = _native.spawn_keeper(_native.spawn_flags())
        except _native.NativeError as error:
            number = error.failure.errno
            raise OSError(number, f"{error.failure.step}: {os.strerror(number)}") from None
        self.pid = pid1.pid
        pid1.take(self)

    def fileno(self) -> int:
        """Return its control socket, for `_native.spawn`."""
        return self._control_fd

    def close(self) -> None:
        """End it and wait for its end; what it has cloned goes on."""
        if self._pidfd >= 0:
            _native.kill(self._pidfd, _native.SIGKILL)
            _native.reap(self._pidfd, None)
            self.forget()

    def forget(self) -> None:
        """Close our descriptors, nothing else: it belongs to the process that started it."""
        for fd in (self._control_fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._control_fd = self._pidfd = -1
