# SPDX-License-Identifier: Apache-2.0
"""Ranges of 64 Ki ids for sandboxes of root: each living sandbox of the machine has its own.

The kernel counts processes, locked memory, inotify watches and keys by user id, so sandboxes that
shared ids could use up what the others need. A range is taken by a lock on one byte of a file, an
open file description lock (fcntl(2)), which the kernel drops with the process. It is kept for the
process's next sandbox, together with the user namespaces that map it.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import struct
import threading
from typing import Final

from . import _native, _usermap
from ._statedir import runtime_directory
from .errors import UnsupportedError

SIZE: Final = 65536
# What nobody else hands out: above containers' and below the "foreign" ids
# (https://systemd.io/UIDS-GIDS).
FIRST: Final = 0x70000000
COUNT: Final = (0x7FFE0000 - FIRST) // SIZE
KEPT: Final = 16
"""At most so many stay taken when no sandbox uses them; each has descriptors."""

_FLOCK: Final = struct.Struct("hhqqi4x")  # struct flock of 64-bit architectures


class Range:
    """Ids `base` to `base + SIZE - 1` of the host, and the user namespaces that map them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.base = FIRST + number * SIZE
        self._fds: dict[tuple[str, str, bool, str], int] = {}

    def _namespace(
        self, uid_map: str, gid_map: str, *, nested: bool = False, emulated: str = ""
    ) -> int:
        key = (uid_map, gid_map, nested, emulated)
        if key not in self._fds:
            self._fds[key] = _native.make_user_namespace(_usermap.write_maps, uid_map, gid_map)
        return self._fds[key]

    def root_userns(self, *, nested: bool, emulated: str = "") -> int:
        """Return the user namespace in which the range is 0 to SIZE - 1.

        Args:
            nested: Whether others may be made below it, which is a property of the namespace.
            emulated: The architecture whose programs it has an interpreter for, the same.
        """
        whole = f"0 {self.base} {SIZE}"
        return self._namespace(whole, whole, nested=nested, emulated=emulated)

    def bind_userns(self, uid: int, gid: int) -> int:
        """Return a user namespace that shows the caller's files as `uid`:`gid` of the range.

        Written as "id on the file system, id that the mount shows, count" (mount_setattr(2)).
        """
        return self._namespace(
            f"{os.geteuid()} {self.base + uid} 1", f"{os.getegid()} {self.base + gid} 1"
        )

    def close(self) -> None:
        """Close the namespaces; those who joined them keep them."""
        fds, self._fds = self._fds, {}
        for fd in fds.values():
            os.close(fd)


class Ranges:
    """The ranges that this process has taken, lent to its living sandboxes. For any thread."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = -1
        self._numbers: set[int] = set()
        self._free: list[Range] = []

    def take(self) -> Range:
        """Return a range that no other sandbox has until `give_back`.

        Raises:
            UnsupportedError: All are in use, or no private run-time directory can be had.
        """
        with self._lock:
            return self._free.pop() if self._free else self._take_new()

    def _take_new(self) -> Range:
        if self._file < 0:
            path = self._path or f"{runtime_directory()}/ids"
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o600)
        # From a place of this process's own: others that start at once look elsewhere.
        start = os.getpid() * 61
        for i in range(COUNT):
            number = (start + i) % COUNT
            if number not in self._numbers and self._lock_byte(number):
                self._numbers.add(number)
                return Range(number)
        raise UnsupportedError(
            errno.EAGAIN, f"all {COUNT} ranges of ids are in use: close sandboxes", self._path
        )

    def _lock_byte(self, number: int, kind: int = fcntl.F_WRLCK) -> bool:
        request = _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, request)
        except BlockingIOError:
            return False
        return True

    def give_back(self, lent: Range) -> None:
        """Take a range back whose sandbox is dead; the next one may have it."""
        with self._lock:
            if len(self._free) < KEPT:
                self._free.append(lent)
                return
            self._numbers.discard(lent.number)
            lent.close()
            self._lock_byte(lent.number, fcntl.F_UNLCK)

    def forget(self) -> None:
        """Close everything, in a forked child: the ranges are its parent's."""
        self._lock = threading.Lock()
        free, self._free, file, self._file = self._free, [], self._file, -1
        self._numbers.clear()
        for one in free:
            one.close()
        if file >= 0:
            os.close(file)


@functools.cache
def ranges() -> Ranges:
    """Return those of this process."""
    own = Ranges()
    os.register_at_fork(after_in_child=own.forget)
    return own
