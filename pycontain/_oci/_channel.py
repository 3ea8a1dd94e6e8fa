# SPDX-License-Identifier: Apache-2.0
"""The connection to a container's process while it waits.

Reports are left unread here: who only lets the process go does without `_native`, whose import
takes longer than all else that `start` does.
"""

from __future__ import annotations

import sys

from pycontain import _os as os
from pycontain import _wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_REQUEST_GO = 10
_HEADER_SIZE = 16
GO = b"".join(n.to_bytes(4, sys.byteorder) for n in (_REQUEST_GO, _HEADER_SIZE, 0, 0))
"""The end of a wait: a struct nsb_header, nothing else (api.h)."""


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
        _wire.send(self._control_fd, GO)

    def close(self) -> None:
        """Close our end."""
        fd, self._control_fd = self._control_fd, -1
        if fd >= 0:
            os.close(fd)
