# SPDX-License-Identifier: Apache-2.0
"""The connection to a container's process while it waits.

Reports are left unread here: who only lets the process go does without the C core, whose import
takes longer than all else that `start` does.
"""

from __future__ import annotations

import _socket  # socket imports enum and selectors, which are slow
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_REQUEST_GO = 10
_HEADER_SIZE = 16
GO = b"".join(n.to_bytes(4, sys.byteorder) for n in (_REQUEST_GO, _HEADER_SIZE, 0, 0))
"""The end of a wait: a struct nsb_header, nothing else (api.h)."""
_LARGEST = 4096  # a report is shorter


class Channel:
    """A connection to `_init`; owns the descriptor."""

    def __init__(self, sock: _socket.socket) -> None:
        self._socket = sock

    def receive(self) -> tuple[bytes, int]:
        """Return the next message, empty at the end, and a descriptor that came along, or -1."""
        size = _socket.CMSG_SPACE(4)
        try:
            data, items, _, _ = self._socket.recvmsg(_LARGEST, size, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return b"", -1
        fds = [int.from_bytes(item[2][:4], sys.byteorder) for item in items]
        return data, fds[0] if fds else -1

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a request. Raises OSError: nobody is there."""
        from pycontain import _native  # noqa: PLC0415 - slow to import

        _native.send(self._socket.fileno(), message, fds)

    def go(self) -> None:
        """Let it go on. Raises OSError: nobody is there."""
        self._socket.send(GO)

    def close(self) -> None:
        """Close our end."""
        self._socket.close()
