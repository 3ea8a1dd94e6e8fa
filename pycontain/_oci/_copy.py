# SPDX-License-Identifier: Apache-2.0
"""Layers of directories copied into one, as overlayfs would show them, for the root of a bundle."""

from __future__ import annotations

import os
import shutil
import stat

from pycontain._image._tree import is_opaque


class Copy:
    """A directory into which layers are copied, the lowest first.

    Nobody else may write to it meanwhile. What the layers hold is not trusted: no symbolic link in
    it is followed.

    Args:
        target: The directory.
        shift: Added to every owner, where this process may give files away; None: they are its own.
    """

    def __init__(self, target: str, shift: int | None) -> None:
        self._target = target
        self._shift = shift

    def add(self, layer: str) -> None:
        """Copy a layer over what is there. Raises OSError."""
        self._links: dict[tuple[int, int], str] = {}
        self._directory(layer, self._target)

    def _directory(self, source: str, target: str) -> None:
        fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if is_opaque(fd) and target != self._target:
                shutil.rmtree(target)
                os.mkdir(target)
            for name in os.listdir(fd):
                self._entry(f"{source}/{name}", f"{target}/{name}")
            self._attributes(os.fstat(fd), target)
        finally:
            os.close(fd)

    def _entry(self, source: str, target: str) -> None:
        found = os.lstat(source)
        is_directory = stat.S_ISDIR(found.st_mode)
        if os.path.lexists(target) and not (is_directory and _is_directory(target)):
            _remove(target)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:  # a whiteout
            return
        if is_directory:
            if not os.path.lexists(target):
                os.mkdir(target)
            self._directory(source, target)
            return
        first = self._links.setdefault((found.st_dev, found.st_ino), target)
        if first != target:
            os.link(first, target, follow_symlinks=False)
            return
        if stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(source), target)
        elif stat.S_ISREG(found.st_mode):
            shutil.copyfile(source, target, follow_symlinks=False)
        elif stat.S_ISFIFO(found.st_mode):
            os.mkfifo(target)
        else:  # a device or a socket means nothing in a copy
            return
        self._attributes(found, target)

    def _attributes(self, found: os.stat_result, target: str) -> None:
        if self._shift is not None:
            owner = found.st_uid + self._shift, found.st_gid + self._shift
            os.chown(target, *owner, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(target, stat.S_IMODE(found.st_mode))  # after chown, which takes set-id bits
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def _is_directory(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _remove(path: str) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
