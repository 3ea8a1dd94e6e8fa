# SPDX-License-Identifier: Apache-2.0
"""The connection to a container's process while it waits.

Reports are left unread here: who only lets the process go does without `_native`, whose import
takes longer than all else that `start` does.
"""

from __future__ import annotations

from pycontain import _os as os
from pycontain import _wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Channel:
    """A connection to `_init`; owns the descriptor."""

    def __init__(self, fd: int) -> None:
        self._control_fd = fd

    def receive(self) -> tuple[bytes, int]:
        """Return the next message, empty at the end, and a descriptor that came along, or -1."""
        try:
            return _wire.receive(self._control_fd)
        except ConnectionResetError:
            return b"", -1

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a request. Raises OSError: nobody is there."""
        _wire.send(self._control_fd, message, fds)

    def go(self) -> None:
        """Let it go on. Raises OSError: nobody is there."""
        _wire.send(self._control_fd, _wire.GO)

    def close(self) -> None:
        """Close our end."""
        fd, self._control_fd = self._control_fd, -1
        if fd >= 0:
            os.close(fd)
