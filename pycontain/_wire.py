# SPDX-License-Identifier: Apache-2.0
"""Sockets of messages, by the C core: less to import than the interpreter's own, or `_native`."""

from __future__ import annotations

import errno
import os

from pycontain._nsbind import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 4096  # a report is shorter


def listen(path: str) -> int:
    """Return the descriptor of a socket that listens at a path. Raises OSError."""
    return _descriptor(lib.nsb_listen(os.fsencode(path)), path)


def connect(path: str) -> int:
    """Return the descriptor of a socket that is connected to the one at a path. Raises OSError."""
    return _descriptor(lib.nsb_connect(os.fsencode(path)), path)


def _descriptor(fd: int, path: str) -> int:
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), path)
    return fd


def send(fd: int, message: bytes, fds: Sequence[int] = ()) -> None:
    """Send a message with its descriptors.

    Raises:
        OSError: EPIPE or ECONNRESET where nobody is there, ETIMEDOUT where nobody reads.
    """
    error = lib.nsb_send(fd, ffi.from_buffer(message), len(message), list(fds), len(fds))
    if error:
        raise OSError(-error, os.strerror(-error))


def receive(fd: int) -> tuple[bytes, int]:
    """Return the next message, empty at the end, and a descriptor that came along, or -1.

    Raises:
        OSError: Nobody is there any more (ECONNRESET), or the socket is none.
    """
    buffer = ffi.new("char[]", _LARGEST)
    came = ffi.new("int32_t *")
    while (size := lib.nsb_receive(fd, buffer, _LARGEST, came)) == -errno.EINTR:
        pass  # a handler has run by now, and may have raised
    if size < 0:
        raise OSError(-size, os.strerror(-size))
    return bytes(ffi.buffer(buffer, size)), came[0]
