# SPDX-License-Identifier: Apache-2.0
"""Where images are read from: a directory or a tar archive, compressed or not, files by name."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Final, Protocol

from pycontain._image._decompress import decompress
from pycontain._image._media import MAGIC_MAX, sniff
from pycontain.errors import ImageNotFoundError, LimitExceededError, ManifestError

from ._tar import TarSource

CHUNK: Final = 1 << 20
EXPANDED_MAX: Final = 1 << 40
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class SourceFile(Protocol):
    """A file of a source, from its beginning."""

    size: int

    def read(self, size: int) -> bytes:
        """Return at most that many bytes; none at the end."""


class Source(Protocol):
    """Files by name."""

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""

    def open(self, name: str) -> SourceFile:
        """Return a file for reading. Raises ImageNotFoundError, ManifestError."""


class _File:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def read(self, size: int) -> bytes:
        return self._file.read(size)


class DirectorySource:
    """The files below a directory, one at a time. Links are not followed, wherever they lead."""

    def __init__(self, path: str, stack: contextlib.ExitStack) -> None:
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, self._root)
        self._file = stack.enter_context(contextlib.ExitStack())

    def has(self, name: str) -> bool:
        """Tell whether there is something with such a name at the top."""
        return name in os.listdir(self._root)

    def open(self, name: str) -> SourceFile:
        """Return a file for reading; the one before is closed.

        Raises:
            ImageNotFoundError: There is none.
            ManifestError: It is no regular file, or there is a link on the way.
        """
        self._file.close()
        *folders, last = name.split("/")
        with contextlib.ExitStack() as passing:
            at = self._root
            try:
                for folder in folders:
                    at = os.open(folder, _FLAGS | os.O_DIRECTORY, dir_fd=at)
                    passing.callback(os.close, at)
                fd = os.open(last, _FLAGS | os.O_NONBLOCK, dir_fd=at)
            except FileNotFoundError:
                raise ImageNotFoundError(f"missing file {name!r}") from None
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                    raise
                raise ManifestError(f"{name!r} is a link or no regular file") from None
        file = self._file.enter_context(os.fdopen(fd, "rb", buffering=0))
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ManifestError(f"{name!r} is not a regular file")
        return _File(file, found.st_size)


@contextlib.contextmanager
def opened(source: str | os.PathLike[str] | BinaryIO, spool_folder: str) -> Iterator[Source]:
    """Yield what a directory, an archive or a stream of one holds.

    Args:
        source: Its path, or a file open for reading; one that cannot seek is copied.
        spool_folder: Where to copy, or decompress, to; nothing stays there.

    Raises:
        OSError: It cannot be read.
        ManifestError: It is no archive.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            if os.path.isdir(source):
                yield DirectorySource(os.fspath(source), stack)
                return
            source = stack.enter_context(open(source, "rb"))
        yield TarSource(_seekable(source, spool_folder, stack))


def _seekable(file: BinaryIO, spool_folder: str, stack: contextlib.ExitStack) -> BinaryIO:
    """Return an archive that is not compressed and can be sought in."""
    chunks, head = begin(file)
    compression = sniff(head)
    if compression == "none" and file.seekable():
        return file
    spool = tempfile.TemporaryFile(dir=spool_folder)  # noqa: SIM115 - the stack closes it
    stack.callback(spool.close)
    for piece in decompress(chunks, compression, total_max=EXPANDED_MAX, what="archive"):
        spool.write(piece)
    return spool


def begin(file: BinaryIO) -> tuple[Iterator[bytes], bytes]:
    """Return the pieces of a stream and its first bytes, which are in the pieces too."""
    head = b""
    while len(head) < MAGIC_MAX and (more := file.read(MAGIC_MAX - len(head))):
        head += more
    return _rest(head, file), head


def _rest(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    if head:
        yield head
    while chunk := file.read(CHUNK):
        yield chunk


def read_all(source: Source, name: str, limit: int) -> bytes:
    """Return a small file.

    Raises:
        LimitExceededError: It is larger than `limit` bytes.
        ImageNotFoundError, ManifestError: As `Source.open` does.
    """
    file = source.open(name)
    if file.size > limit:
        raise LimitExceededError(
            f"{name!r}: {file.size} bytes are more than the limit of {limit}",
            limit="size",
            allowed=limit,
        )
    data = b""
    while chunk := file.read(limit - len(data)):
        data += chunk
    return data
