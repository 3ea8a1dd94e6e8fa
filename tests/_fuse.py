# SPDX-License-Identifier: Apache-2.0
"""A file server that can be hung: a directory with a file in it, spoken over /dev/fuse.

The messages are those of include/uapi/linux/fuse.h, version 7.31. The mount is the caller's, so the
caller needs a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOKUP, GETATTR, OPEN, READ, STATFS, INIT, OPENDIR = 1, 3, 14, 15, 17, 26, 27
ROOT, DIRECTORY, FILE = 1, 2, 3
MODES = {ROOT: 0o40755, DIRECTORY: 0o40755, FILE: 0o100644}
NAMES = {b"directory": DIRECTORY, b"file": FILE}
REQUEST = struct.Struct("=IIQQIIII")
ENOENT, ENOSYS = 2, 38
_OPENED = struct.pack("=QII", 0, 0, 0)
# Every real server has STATFS.
_STATFS = struct.pack("=5Q4I6I", 0, 0, 0, 0, 0, 4096, 255, 4096, 0, *[0] * 6)
CONSTANT = {STATFS: _STATFS, OPEN: _OPENED, OPENDIR: _OPENED, READ: b""}


class Server:
    """The server's process: `hang` makes it take requests and answer none."""

    def __init__(self, device: int) -> None:
        self._asked, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(device, tell)
            finally:
                os._exit(0)
        os.close(device)
        os.close(tell)
        self.wait_asked()  # the kernel has, as the first thing

    def hang(self) -> None:
        """Answer no more; in the meantime others wait, beyond the reach of signals."""
        os.kill(self.pid, signal.SIGUSR1)

    def wait_asked(self) -> None:
        """Wait until somebody asks, and waits for ever."""
        os.read(self._asked, 1)

    def end(self) -> None:
        """Whoever waits gets ECONNABORTED."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._asked)


@contextmanager
def mounted(folder: Path | str) -> Iterator[Server]:
    """Mount the file system, with `directory` and `file` in it, while the context lasts."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    ids = f"user_id={os.getuid()},group_id={os.getgid()}"
    options = f"fd={device},rootmode=40000,{ids},allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tests", os.fsencode(folder), b"fuse.tests", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    server = Server(device)
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.end()
        libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH


def _serve(device: int, tell: int) -> None:
    hung: list[bool] = []
    signal.signal(signal.SIGUSR1, lambda *_: hung.append(True))
    while True:
        request = os.read(device, 1 << 18)
        _, op, unique, node, *_ = REQUEST.unpack_from(request)
        if hung or op == INIT:
            os.write(tell, b"!")
        if hung:
            continue
        answer = _answer(op, node, request[REQUEST.size :])
        error, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
        os.write(device, struct.pack("=IiQ", 16 + len(body), error, unique) + body)


def _answer(op: int, node: int, body: bytes) -> bytes | int:
    if op == INIT:
        read_ahead = struct.unpack_from("=3I", body)[2]
        return struct.pack("=4IHHIIHH8I", 7, 31, read_ahead, 0, 12, 10, 65536, 1, 0, 0, *[0] * 8)
    if op == LOOKUP:
        found = NAMES.get(body.rstrip(b"\0"))
        if found is None:
            return ENOENT
        return struct.pack("=4QII", found, 0, 0, 0, 0, 0) + _attr(found)
    if op == GETATTR:
        return struct.pack("=QII", 0, 0, 0) + _attr(node)
    return CONSTANT.get(op, ENOSYS)


def _attr(node: int) -> bytes:
    """Return struct fuse_attr; nothing of it may be cached."""
    ids = (os.getuid(), os.getgid())
    return struct.pack("=6Q3I7I", node, 0, 0, 0, 0, 0, 0, 0, 0, MODES[node], 2, *ids, 0, 4096, 0)
