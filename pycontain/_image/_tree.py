# SPDX-License-Identifier: Apache-2.0
"""Files of a root that is not mounted: looked up in its layers as overlayfs would show them.

Links lead nowhere but inside, whatever they say, and nothing is followed by the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from typing import Final, TypeAlias

LINKS_MAX: Final = 40
"""As many as the kernel follows (path_resolution(7))."""
DEPTH_MAX: Final = 64
"""Directories on the way; each costs a descriptor for every layer that has it."""

_OPAQUE: Final = ("user.overlay.opaque", "trusted.overlay.opaque")
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# A directory as the layers together show it: those that have it, topmost first.
_Merged: TypeAlias = list[int]


class Tree:
    """A root that consists of directories of the host.

    Args:
        layers: Topmost first. One alone is a plain directory.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = layers

    def open(self, path: str) -> int:
        """Open a file or directory for reading, links followed inside; the caller closes it.

        A FIFO or a device does not make it wait.

        Raises:
            FileNotFoundError, NotADirectoryError: No such file.
            OSError: ELOOP for too many links; what open(2) says.
        """
        with contextlib.ExitStack() as stack:
            walk = _Walk(self._layers, stack)
            fd = walk.to(path)
            # By the descriptor, since a name could be another file by now.
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


class _Walk:
    """One look-up; all descriptors belong to `stack`."""

    def __init__(self, layers: Sequence[str], stack: contextlib.ExitStack) -> None:
        self._stack = stack
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self._parents: list[_Merged] = [[self._keep(os.open(layer, flags)) for layer in layers]]

    def _keep(self, fd: int) -> int:
        self._stack.callback(os.close, fd)
        return fd

    def to(self, path: str) -> int:
        """Return an O_PATH descriptor of what a path of the root leads to."""
        rest = _parts(path)
        links = 0
        while rest:
            name = rest.pop()
            if name == "..":
                if len(self._parents) > 1:
                    self._parents.pop()
                continue
            found, target = self._step(name)
            if target is not None:
                links += 1
                if links > LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    del self._parents[1:]
                rest += _parts(target)
            elif rest and not isinstance(found, list):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            elif isinstance(found, list):
                if len(self._parents) > DEPTH_MAX:
                    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
                self._parents.append(found)
            else:
                return found
        return self._parents[-1][0]

    def _step(self, name: str) -> tuple[_Merged | int, str | None]:
        """Return what a name in the current directory is: a file, a directory, a link's target."""
        merged: _Merged = []
        for parent in self._parents[-1]:
            try:
                fd = self._keep(os.open(name, _LOOK, dir_fd=parent))
            except FileNotFoundError:
                continue
            found = os.fstat(fd)
            if stat.S_ISDIR(found.st_mode):
                merged.append(fd)
                if _is_opaque(fd):
                    break
                continue
            if merged or (stat.S_ISCHR(found.st_mode) and found.st_rdev == 0):  # a whiteout
                break
            return fd, os.readlink("", dir_fd=fd) if stat.S_ISLNK(found.st_mode) else None
        if not merged:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return merged, None


def _parts(path: str) -> list[str]:
    """Return the names of a path, the first last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _is_opaque(fd: int) -> bool:
    for name in _OPAQUE:
        with contextlib.suppress(OSError):
            if os.getxattr(f"/proc/self/fd/{fd}", name) == b"y":
                return True
    return False
