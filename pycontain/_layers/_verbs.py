# SPDX-License-Identifier: Apache-2.0
"""What can be done with layers."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from pycontain._runtime import Runtime
from pycontain.errors import StoreError

from ._limits import Limits
from ._program import Lowers, Program, Streams, pipe
from ._records import LayerReport


class _Reading:
    """An archive on its way into the program. Use it in a `with`: leaving it early kills it."""

    def __init__(self, program: Program, pipe_fd: int) -> None:
        self._program = program
        self._pipe = pipe_fd

    def _send(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            pass  # it ended, and says why
        else:
            return
        self._program.result()
        raise StoreError(errno.EPIPE, "the archive was not read to its end")

    def finish(self) -> LayerReport:
        """End the archive and wait until all is done.

        Raises:
            LayerError, UnsafeLayerError, LimitExceededError, StoreError: What is wrong with the
                archive or with the file system.
        """
        self._close_pipe()
        return self._program.result()

    def close(self) -> None:
        """Stop, and let go of everything; what was unpacked remains. Idempotent."""
        self._close_pipe()
        self._program.close()

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


class Extraction(_Reading):
    """An archive on its way into a directory.

    Deletions become what overlayfs takes for them with the option `userxattr`: devices 0:0 and the
    attribute `user.overlay.opaque`.

    Args:
        target_fd: An empty directory, of nobody else's concern until this is done.
        parents: Directories of the layers below, topmost first: for directories that the archive
            does not have, and hard links to files of theirs.
        limits: What the archive may cost.
        strict: A path that comes twice is an error; else the last one counts.
        sync: The file system has written it all when `finish` returns.

    Raises:
        SpawnError, UnsupportedError: There can be no sandbox for it.
    """

    def __init__(
        self,
        target_fd: int,
        *,
        parents: Sequence[int] = (),
        limits: Limits | None = None,
        strict: bool = False,
        sync: bool = False,
    ) -> None:
        options = (f"strict={int(strict)}", f"sync={int(sync)}")
        with _pipe(into=True) as (ours, theirs):
            program = Program(
                "extract",
                target_fd,
                Lowers(parents),
                limits or Limits(),
                options,
                streams=Streams(theirs),
            )
            super().__init__(program, ours)

    def fileno(self) -> int:
        """Return the pipe's end that the archive is written to."""
        return self._pipe

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece of the uncompressed archive, all of it. Raises as `finish`."""
        self._send(data)


class UnindexableError(StoreError):
    """There is no index of an archive: EROFS cannot say something, or room was wanting."""


class Indexing(_Reading):
    """An archive that an index is made of: with both, EROFS shows what an extraction would make.

    It cannot show sparse files, hard links to files of the parents, very large attributes, and more
    than some 260,000 files. Of the archive, little more than the headers is read.

    Args:
        index_fd: An empty file.
        archive_fd: The file with the uncompressed archive, which may still grow.
        parents, limits, strict: As of an extraction.

    Raises:
        SpawnError, UnsupportedError: There can be no sandbox for it.
    """

    def __init__(
        self,
        index_fd: int,
        archive_fd: int,
        *,
        parents: Sequence[int] = (),
        limits: Limits | None = None,
        strict: bool = False,
    ) -> None:
        with _pipe(into=True) as (ours, theirs):
            program = Program(
                "index",
                None,
                Lowers(parents),
                limits or Limits(),
                (f"strict={int(strict)}",),
                streams=Streams(archive_fd, index_fd, theirs),
            )
            super().__init__(program, ours)

    def grown(self) -> None:
        """Say that there is more of the archive. Raises as `finish`."""
        with _unindexable():
            self._send(b"+")

    def finish(self) -> LayerReport:
        """Say that the archive is whole, and wait for the index.

        Raises:
            LayerError, UnsafeLayerError, LimitExceededError: What is wrong with the archive.
            UnindexableError: It can have no index.
        """
        with _unindexable():
            return super().finish()


@contextlib.contextmanager
def _pipe(*, into: bool) -> Iterator[tuple[int, int]]:
    """Yield our end of a pipe, which stays open unless this fails, and that of a program.

    Args:
        into: We write and the program reads; else the other way round.
    """
    read, write = pipe()
    ours, theirs = (write, read) if into else (read, write)
    try:
        yield ours, theirs
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)


@contextlib.contextmanager
def _unindexable() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise UnindexableError(error.errno or 0, error.strerror or str(error)) from error


class Packing:
    """A directory on its way into an archive: the same content gives the same bytes. Use a `with`.

    Args:
        source_fd: The directory; it is only read, and may be changed by others meanwhile.
        overlay: It is a layer of overlayfs, whose deletions become whiteouts.
        root: With an entry for the directory itself.
        exclude: Absolute paths in the directory that are left out, with all that is below them.
        latest: Seconds since 1970; no time in the archive is later. None: as they are.
        limits: What it may cost.
        owner: The living sandbox whose writable layer it is, by its PID 1; None: it is the
            caller's, in a directory that the caller can see.

    Raises:
        SpawnError, UnsupportedError: There can be no sandbox for it.
    """

    def __init__(
        self,
        source_fd: int,
        *,
        overlay: bool = True,
        root: bool = False,
        exclude: Sequence[str] = (),
        latest: int | None = None,
        limits: Limits | None = None,
        owner: Runtime | None = None,
    ) -> None:
        clamp = (1 << 63) if latest is None else latest
        options = (f"overlay={int(overlay)}", f"root={int(root)}", f"clamp={clamp}")
        self._program, self._stdout = _start_reader(
            "pack", source_fd, Lowers(), options, exclude=exclude, limits=limits, owner=owner
        )

    def fileno(self) -> int:
        """Return the pipe's end that the archive is read from."""
        return self._stdout

    def read(self, size: int = 1 << 20) -> bytes:
        """Return the next piece, b"" at the end; `finish` says whether the archive is whole."""
        return os.read(self._stdout, size)

    def finish(self) -> LayerReport:
        """Return what was packed, after the last piece.

        Raises:
            LayerError, LimitExceededError, StoreError: It could not be packed.
        """
        return self._program.result()

    def close(self) -> None:
        """Stop, and let go of everything. Idempotent."""
        if self._stdout >= 0:
            os.close(self._stdout)
        self._stdout = -1
        self._program.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def _start_reader(
    verb: str,
    source_fd: int,
    lowers: Lowers,
    options: Sequence[str],
    *,
    exclude: Sequence[str],
    limits: Limits | None,
    owner: Runtime | None,
) -> tuple[Program, int]:
    """Start a program that only reads a directory; return it and the pipe that it writes to."""
    with _pipe(into=False) as (ours, theirs), _pipe(into=True) as (excluded, left_out):
        program = Program(
            verb,
            source_fd,
            lowers,
            limits or Limits(),
            options,
            streams=Streams(left_out, theirs),
            read_only=True,
            owner=owner,
        )
    try:
        _give_excluded(excluded, exclude)
    except BaseException:
        program.close()
        os.close(ours)
        raise
    finally:
        os.close(excluded)
    return program, ours


def _give_excluded(fd: int, paths: Sequence[str]) -> None:
    """Write the paths that the program is to leave out."""
    normal = (posixpath.normpath("/" + path.lstrip("/")) for path in paths)
    with contextlib.suppress(BrokenPipeError), open(fd, "wb", closefd=False) as file:
        file.write(b"".join(os.fsencode(path) + b"\0" for path in normal))


def changes(
    source_fd: int,
    lowers: Lowers,
    *,
    exclude: Sequence[str] = (),
    limits: Limits | None = None,
    owner: Runtime | None = None,
) -> tuple[tuple[str, bytes], ...]:
    """Return what a layer of overlayfs changes of those below: "A", "M" or "D", and the path.

    Added, modified (another kind, mode or owner, or a file that was opened for writing), deleted.
    Parents come before what is in them; of a directory that is deleted nothing else is said.

    Args:
        source_fd: The layer, as in `Packing`.
        lowers: The layers below.
        exclude, limits, owner: As in `Packing`.

    Raises:
        LimitExceededError, StoreError: It is too much, or cannot be read.
        SpawnError, UnsupportedError: There can be no sandbox for it.
    """
    program, stdout = _start_reader(
        "changes",
        source_fd,
        lowers,
        ("overlay=1",),
        exclude=exclude,
        limits=limits,
        owner=owner,
    )
    try:
        found = b"".join(iter(lambda: os.read(stdout, 1 << 20), b""))
        program.result()
    finally:
        program.close()
        os.close(stdout)
    return tuple((row[:1].decode(), row[1:]) for row in found.split(b"\0")[:-1])


def empty(directory_fd: int, *, limits: Limits | None = None) -> None:
    """Remove all that is in a directory, of any depth, mode and owner of the caller's ids.

    Raises:
        StoreError: The file system refused.
        SpawnError, UnsupportedError: There can be no sandbox for it.
    """
    program = Program("remove", directory_fd, Lowers(), limits or Limits())
    try:
        program.result()
    finally:
        program.close()
