# SPDX-License-Identifier: Apache-2.0
"""Files of a root that is not mounted: looked up in its layers as overlayfs would show them.

Links lead nowhere but inside, whatever they say, and nothing is followed by the kernel.
"""

from __future__ import annotations

import _stat as stat  # stat defines all of it in Python first
import errno

from pycontain import _os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final, Self, TypeAlias

_NOTHING: Mapping[str, Sequence[str]] = {}
LINKS_MAX: Final = 40
"""As many as the kernel follows (path_resolution(7))."""
DEPTH_MAX: Final = 64
"""Directories on the way; each costs a descriptor for every layer that has it."""

_OPAQUE: Final = ("user.overlay.opaque", "trusted.overlay.opaque")
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# A directory as the layers together show it: those that have it, topmost first.
_Merged: TypeAlias = list[int]
_Place: TypeAlias = tuple[str, ...]
_MADE: Final[Sequence[str]] = ("",)
"""Of a mount: the directory that is made for what is mounted below it, if there is none."""


class Tree:
    """A root that consists of directories of the host.

    Args:
        layers: Topmost first. One alone is a plain directory.
        mounts: What is shown over them, by its path inside: files or directories of the host,
            topmost first; none is an empty directory. Their parents are made.
    """

    def __init__(
        self, layers: Sequence[str], mounts: Mapping[str, Sequence[str]] = _NOTHING
    ) -> None:
        self._layers = layers
        self._mounts: dict[_Place, Sequence[str]] = {}
        for path, sources in mounts.items():
            place = tuple(reversed(_parts(path)))
            self._mounts[place] = sources
            for length in range(1, len(place)):
                self._mounts.setdefault(place[:length], _MADE)

    def open_file(self, path: str) -> int:
        """Open a regular file as `open` does. Nothing else is opened, not even to look at it.

        Raises:
            IsADirectoryError, FileNotFoundError, NotADirectoryError: What there is instead.
            OSError: EINVAL for a FIFO, a socket or a device; as `open`.
        """
        with _Walk(self._layers, self._mounts) as walk:
            fd = walk.to(path)
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
                raise _error(number, path)
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self, path: str) -> int:
        """Open a file or directory for reading, links followed inside; the caller closes it.

        A FIFO or a device does not make it wait.

        Raises:
            FileNotFoundError, NotADirectoryError: No such file.
            OSError: ELOOP for too many links; what open(2) says.
        """
        with _Walk(self._layers, self._mounts) as walk:
            fd = walk.to(path)
            # By the descriptor, since a name could be another file by now.
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


class _Walk:
    """One look-up; all its descriptors are closed at the end of a `with`."""

    def __init__(self, layers: Sequence[str], mounts: Mapping[_Place, Sequence[str]]) -> None:
        self._fds: list[int] = []
        self._mounts = mounts
        self._names: list[str] = []
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._parents: list[_Merged] = [[self._keep(os.open(layer, flags)) for layer in layers]]
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def to(self, path: str) -> int:
        """Return an O_PATH descriptor of what a path of the root leads to."""
        rest = _parts(path)
        links = 0
        while rest:
            name = rest.pop()
            if name == "..":
                self._up()
                continue
            found, target = self._step(name)
            if target is not None:
                links += 1
                if links > LINKS_MAX:
                    raise _error(errno.ELOOP, path)
                if target.startswith("/"):
                    del self._parents[1:], self._names[:]
                rest += _parts(target)
            elif isinstance(found, list):
                self._down(found, name, path)
            elif rest:
                raise _error(errno.ENOTDIR, path)
            else:
                return found
        if not self._parents[-1]:  # one that was made, with nothing in it
            raise _error(errno.EISDIR, path)
        return self._parents[-1][0]

    def _up(self) -> None:
        if self._names:
            self._parents.pop()
            self._names.pop()

    def _down(self, found: _Merged, name: str, path: str) -> None:
        if len(self._parents) > DEPTH_MAX:
            raise _error(errno.ENAMETOOLONG, path)
        self._parents.append(found)
        self._names.append(name)

    def _step(self, name: str) -> tuple[_Merged | int, str | None]:
        """Return what a name in the current directory is: a file, a directory, a link's target."""
        merged: _Merged = []
        sources = self._mounts.get((*self._names, name))
        if sources is not None and sources is not _MADE:
            return self._mounted(sources), None
        for parent in self._parents[-1]:
            try:
                fd = self._keep(os.open(name, _LOOK, dir_fd=parent))
            except FileNotFoundError:
                continue
            found = os.fstat(fd)
            if stat.S_ISDIR(found.st_mode):
                merged.append(fd)
                if is_opaque(fd):
                    break
                continue
            if merged or (stat.S_ISCHR(found.st_mode) and found.st_rdev == 0):  # a whiteout
                break
            return fd, os.readlink("", dir_fd=fd) if stat.S_ISLNK(found.st_mode) else None
        if not merged and sources is None:
            raise _error(errno.ENOENT, name)
        return merged, None

    def _mounted(self, sources: Sequence[str]) -> _Merged | int:
        fds = [self._keep(os.open(source, os.O_PATH | os.O_CLOEXEC)) for source in sources]
        if fds and not stat.S_ISDIR(os.fstat(fds[0]).st_mode):
            return fds[0]
        return fds


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _parts(path: str) -> list[str]:
    """Return the names of a path, the first last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def is_opaque(fd: int) -> bool:
    """Tell whether a directory of a layer hides those of the same name below it."""
    for name in _OPAQUE:
        try:
            if os.getxattr(f"/proc/self/fd/{fd}", name) == b"y":
                return True
        except OSError:
            pass
    return False
