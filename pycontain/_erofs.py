# SPDX-License-Identifier: Apache-2.0
"""Layers that stay archives: the kernel shows them by an index, as a file system (EROFS).

Unpacking creates no file then, and removing is that of two. It takes a real root, file-backed
mounts of EROFS (Linux 6.12) that can be copied while they are in no namespace (6.15), and a store
on a file system that is more than memory. Whether all that is there is tried.
"""

from __future__ import annotations

import errno
import os
import struct
import weakref
from contextlib import ExitStack
from typing import Final

from . import _native
from ._identity import can_map_range
from ._image._store import ARCHIVE, INDEX, Form, Layer
from ._plan import PASSING
from .errors import ConfigError, UnsupportedError

VARIABLE: Final = "PYCONTAIN_LAYERS"
MOUNTS_MAX: Final = 64
"""Layers of an image that are mounts of their own; each costs a start some 50 us, and a
descriptor."""


class Mount:
    """A mount in no namespace: who has the object sees it, and sandboxes get copies.

    Attributes:
        fd: Of its root.
    """

    __slots__ = ("__weakref__", "fd")

    def __init__(self, index_fd: int, archive_fd: int) -> None:
        self.fd = _native.mount_index(index_fd, archive_fd)

    @property
    def path(self) -> str:
        """Where this process finds its root."""
        return f"/proc/self/fd/{self.fd}"

    def __del__(self) -> None:
        """Unmount it, once no sandbox has a copy."""
        if hasattr(self, "fd"):
            os.close(self.fd)


# By device and inode of the index: one page cache for all images and sandboxes.
_mounts: weakref.WeakValueDictionary[tuple[int, int], Mount] = weakref.WeakValueDictionary()


def mounted() -> list[Mount]:
    """Return all that are in use: by an image that was used lately, a sandbox or a plan."""
    return list(_mounts.values())


def mount(layer: Layer) -> Mount:
    """Return what shows a layer of the form "erofs".

    Raises:
        FileNotFoundError: It was removed.
        UnsupportedError: The kernel refused.
    """
    with ExitStack() as stack:
        index, archive = (_opened(stack, f"{layer.path}/{name}") for name in (INDEX, ARCHIVE))
        found = os.fstat(index)
        known = _mounts.get((found.st_dev, found.st_ino))
        if known is not None:
            return known
        try:
            made = Mount(index, archive)
        except OSError as error:
            raise UnsupportedError(
                error.errno or 0,
                f"{layer.path} cannot be mounted: {error.strerror}. {VARIABLE}=directory unpacks "
                "layers instead",
            ) from error
        return _mounts.setdefault((found.st_dev, found.st_ino), made)


def _opened(stack: ExitStack, path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def forms(store: str, layers: int) -> tuple[Form, ...]:
    """Return in which forms layers will do that this process is to show, the best first.

    $PYCONTAIN_LAYERS chooses: "directory"; "erofs", and an error where that cannot be had; without
    it, archives where they can be shown.

    Args:
        store: The path of the store.
        layers: How many an image has.

    Raises:
        UnsupportedError: EROFS was asked for and cannot be had.
        ConfigError: The variable has another value.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "directory", "erofs"):
        raise ConfigError(f"{VARIABLE}: {wanted!r} is neither 'directory' nor 'erofs'")
    if wanted == "directory" or layers > MOUNTS_MAX:
        return ("directory",)
    number = _problem(store)
    if not number:
        return ("erofs", "directory")
    if wanted:
        raise UnsupportedError(
            number,
            f"{VARIABLE}=erofs: {os.strerror(number)}. It needs root, Linux 6.15, and a store "
            "that is not on tmpfs",
        )
    return ("directory",)


_problems: dict[tuple[str, int], int] = {}
"""By path and device of a store."""


def _problem(store: str) -> int:
    key = store, os.stat(store).st_dev
    known = _problems.get(key)
    if known is not None:
        return known
    number = problem(f"{store}/ingest")
    if number == errno.EROFS:  # nothing can be tried, and nothing is made: what is there will do
        number = 0
    if number not in PASSING:
        _problems[key] = number
    return number


def problem(folder: str) -> int:
    """Return the errno that says why archives in a folder cannot be shown; 0: they can."""
    if not can_map_range():
        return errno.EPERM
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error.errno or errno.EIO
    try:
        os.write(fd, _smallest())
        Mount(fd, fd)
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        os.close(fd)
    return 0


def _smallest() -> bytes:
    """Return an index of nothing but a root (src/_layer/index.c)."""
    superblock = struct.pack(
        "=3I2BH2Q4I16s16sI3H2BIQ24s",
        *(0xE0F5E1E2, 0, 2, 9, 0, 1, 1, 0, 0, 5, 4, 0, b"", b"", 12, 0, 1, 9, 0, 0, 0, 0, b""),
    )
    names = struct.pack("=QHBxQHBx3s", 1, 24, 2, 1, 25, 2, b"...")
    root = struct.pack("=32x4HQ4IqII16s", 1, 0, 0o40755, 0, len(names), 3, 1, 0, 0, 0, 0, 2, b"")
    return b"".join(
        (bytes(1024), superblock.ljust(512, b"\0"), names.ljust(512, b"\0"), root.ljust(512, b"\0"))
    )
