# SPDX-License-Identifier: Apache-2.0
"""Sockets of messages and poll(2) by the C core: less to import than the interpreter's own modules.

Or than `_native`, the door to the rest of the core.
"""

from __future__ import annotations

import errno
import time

from pycontain._nsbind import ffi, lib

from . import _os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POLLIN = 1  # <poll.h>
POLLOUT = 4
_LARGEST = 4096  # a report is shorter
_GO = {"kind": lib.NSB_REQUEST_GO, "size": ffi.sizeof("struct nsb_header")}
GO = bytes(ffi.buffer(ffi.new("struct nsb_header *", _GO)))
"""The message that ends a wait of `_init`."""


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


def poll(wanted: Mapping[int, int], timeout_s: float | None = None) -> dict[int, int]:
    """Wait until something has come for a descriptor.

    Args:
        wanted: What is waited for (POLLIN, POLLOUT) by descriptor.
        timeout_s: How long; None: without end.

    Returns:
        What has come, POLLHUP and POLLERR too, for each descriptor for which anything has.

    Raises:
        OSError: It cannot be waited.
    """
    waiting = ffi.new("struct nsb_waiting[]", [(fd, events, 0) for fd, events in wanted.items()])
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while (ready := lib.nsb_wait(waiting, len(waiting), _left_ms(end))) == -errno.EINTR:
        pass  # a handler has run by now, and may have raised
    if ready < 0:
        raise OSError(-ready, os.strerror(-ready))
    return {row.fd: row.revents for row in waiting if row.revents}


def _left_ms(end: float | None) -> int:
    return -1 if end is None else max(0, round((end - time.monotonic()) * 1000))
