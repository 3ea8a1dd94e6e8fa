# SPDX-License-Identifier: Apache-2.0
"""Files of a living sandbox, read and written by descriptor.

PID 1 opens each name inside the sandbox and hands the descriptor out, so that no name that the
sandbox chose is ever looked up on the host. Symbolic links are refused, as are FIFOs, devices and
sockets; sizes are bounded.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeAlias, TypeVar

from . import _native
from ._native import Event, Report
from ._runtime import Runtime
from .config import StrPath, check_inside_path
from .errors import FilesError

READ_LIMIT: Final = 64 << 20
_LIST_LIMIT: Final = 100_000
_DEPTH_LIMIT: Final = 256
_CHUNK: Final = 1 << 20
_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory of a sandbox.

    Attributes:
        name: As os.fsdecode gives it; may hold any byte but `/` and NUL, so escape it before
            showing it.
        kind: "file", "directory", "link", "fifo", "socket", "character device" or "block device".
        size: Bytes, as the file system says.
        mode: Permission bits.
    """

    name: str
    kind: str
    size: int
    mode: int


class Request(NamedTuple):
    """A message to PID 1, which answers with a report and perhaps a descriptor."""

    message: bytes


T = TypeVar("T")
Steps: TypeAlias = Generator[Request | None, tuple[Report, int | None] | None, T]


class FileSteps:
    """The operations, each a generator, so that one text serves callers that block and event loops.

    It yields a request and is sent the answer, or yields None where much has been done and others
    may have a turn.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._owner = (runtime.plan.identity.user_uid, runtime.plan.identity.user_gid)

    def _ask(self, path: StrPath, flags: int, open_flags: int, mode: int) -> Steps[int]:
        inside = check_inside_path(path, "path")
        answer = yield Request(
            _native.pack_open(os.fsencode(inside), flags, open_flags, mode, *self._owner)
        )
        assert answer is not None  # noqa: S101 - that of a request
        report, fd = answer
        if report.event == Event.FAILED:
            raise _error(report.errno, inside)
        return -1 if fd is None else fd

    def open(
        self, path: StrPath, mode: str, *, follow_symlinks: bool, parents: bool
    ) -> Steps[IO[bytes]]:
        """See `Files.open`."""
        flags = {
            "rb": os.O_RDONLY,
            "wb": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
            "xb": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
            "ab": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        }.get(mode)
        if flags is None:
            raise FilesError(
                errno.EINVAL,
                f"mode {mode!r} is unknown; known are rb, wb, xb and ab",
                os.fspath(path),
            )
        wanted = (_native.OPEN_FOLLOW if follow_symlinks else 0) | (
            _native.OPEN_PARENTS if parents else 0
        )
        fd = yield from self._ask(path, wanted, flags, 0o644)
        return os.fdopen(fd, mode.replace("x", "w"))

    def read_bytes(self, path: StrPath, *, limit: int, follow_symlinks: bool) -> Steps[bytes]:
        """See `Files.read_bytes`."""
        chunks, room = [], limit + 1
        with (
            yield from self.open(path, "rb", follow_symlinks=follow_symlinks, parents=False)
        ) as file:
            while room and (chunk := file.read(min(room, _CHUNK))):
                chunks.append(chunk)
                room -= len(chunk)
                if len(chunk) == _CHUNK:
                    yield None
        if not room:
            raise FilesError(
                errno.EFBIG, f"the file has more than {limit} bytes; raise limit=", os.fspath(path)
            )
        return b"".join(chunks)

    def write_bytes(
        self, path: StrPath, data: bytes, *, parents: bool, follow_symlinks: bool
    ) -> Steps[int]:
        """See `Files.write_bytes`."""
        view = memoryview(data).cast("B")
        with (
            yield from self.open(path, "wb", parents=parents, follow_symlinks=follow_symlinks)
        ) as file:
            for at in range(0, len(view), _CHUNK):
                if at:
                    yield None
                file.write(view[at : at + _CHUNK])
        return len(view)

    def mkdir(self, path: StrPath, mode: int) -> Steps[None]:
        """See `Files.mkdir`."""
        yield from self._ask(path, _native.OPEN_MKDIR, 0, mode)

    def remove(self, path: StrPath) -> Steps[None]:
        """See `Files.remove`."""
        yield from self._ask(path, _native.OPEN_UNLINK, 0, 0)

    def _open_directory(self, path: StrPath) -> Steps[int]:
        return (yield from self._ask(path, _native.OPEN_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY, 0))

    def list(self, path: StrPath) -> Steps[list[Entry]]:
        """See `Files.list`."""
        fd = yield from self._open_directory(path)
        try:
            return _entries(fd, os.fspath(path))
        finally:
            os.close(fd)

    def put(self, source: StrPath, target: StrPath) -> Steps[None]:
        """See `Files.put`."""
        source_path = Path(source)
        info = source_path.lstat()
        if stat.S_ISREG(info.st_mode):
            yield from self._put_file(source_path, os.fspath(target), info.st_mode)
        elif stat.S_ISDIR(info.st_mode):
            yield from self._put_tree(source_path, os.fspath(target), 0)
        else:
            raise FilesError(
                errno.EINVAL, "neither a regular file nor a directory", str(source_path)
            )

    def _put_file(self, source: Path, target: str, mode: int) -> Steps[None]:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as reader:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FilesError(errno.EINVAL, "not a regular file", str(source))
            with (
                yield from self.open(target, "wb", parents=True, follow_symlinks=False)
            ) as writer:
                while chunk := reader.read(_CHUNK):
                    writer.write(chunk)
                    yield None
                os.fchmod(writer.fileno(), mode & 0o777)

    def _put_tree(self, source: Path, target: str, depth: int) -> Steps[None]:
        if depth > _DEPTH_LIMIT:
            raise FilesError(
                errno.ELOOP, f"more than {_DEPTH_LIMIT} levels of directories", str(source)
            )
        yield from self.mkdir(target, 0o755)
        with os.scandir(source) as found:
            items = sorted(found, key=lambda entry: entry.name)
        for item in items:
            path, inside = source / item.name, f"{target.rstrip('/')}/{item.name}"
            if item.is_dir(follow_symlinks=False):
                yield from self._put_tree(path, inside, depth + 1)
            else:
                yield from self.put(path, inside)

    def get(self, source: StrPath, target: StrPath, *, limit: int) -> Steps[None]:
        """See `Files.get`."""
        try:
            fd = yield from self._open_directory(source)
        except FilesError as error:
            if error.errno != errno.ENOTDIR:
                raise
        else:
            try:
                yield from _copy_tree(fd, Path(target), os.fspath(source), [limit], 0)
            finally:
                os.close(fd)
            return
        with (yield from self.open(source, "rb", follow_symlinks=False, parents=False)) as reader:
            yield from _copy_out(reader.fileno(), Path(target), os.fspath(source), [limit])


class Files:
    """The files of a living sandbox. Paths are absolute; the default user owns what is made."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._steps = FileSteps(runtime)

    def _do(self, steps: Steps[T]) -> T:
        answer = None
        try:
            while True:
                request = steps.send(answer)
                answer = None if request is None else self._runtime.ask(request.message)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def open(
        self,
        path: StrPath,
        mode: str = "rb",
        *,
        follow_symlinks: bool = False,
        parents: bool = False,
    ) -> IO[bytes]:
        """Open a regular file, in binary.

        Args:
            path: Absolute path inside.
            mode: "rb", "wb" (made or emptied), "xb" (must be new) or "ab".
            follow_symlinks: Resolve links, always inside the sandbox's root; else any link on the
                way is an error.
            parents: Make missing directories on the way.

        Raises:
            FilesError: With the errno: ELOOP for a link, EISDIR, EINVAL for what is no regular
                file, ENOENT, ...
        """
        return self._do(
            self._steps.open(path, mode, follow_symlinks=follow_symlinks, parents=parents)
        )

    def read_bytes(
        self, path: StrPath, *, limit: int = READ_LIMIT, follow_symlinks: bool = False
    ) -> bytes:
        """Return a file's content.

        Raises:
            FilesError: Not a regular file, or EFBIG: more than `limit` bytes.
        """
        return self._do(self._steps.read_bytes(path, limit=limit, follow_symlinks=follow_symlinks))

    def read_text(
        self,
        path: StrPath,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        limit: int = READ_LIMIT,
        follow_symlinks: bool = False,
    ) -> str:
        """Return a file's content, decoded."""
        return self.read_bytes(path, limit=limit, follow_symlinks=follow_symlinks).decode(
            encoding, errors
        )

    def write_bytes(
        self, path: StrPath, data: bytes, *, parents: bool = True, follow_symlinks: bool = False
    ) -> int:
        """Write a file, replacing its content. Returns the number of bytes."""
        return self._do(
            self._steps.write_bytes(path, data, parents=parents, follow_symlinks=follow_symlinks)
        )

    def write_text(
        self,
        path: StrPath,
        text: str,
        *,
        encoding: str = "utf-8",
        parents: bool = True,
        follow_symlinks: bool = False,
    ) -> int:
        """Write a file as text. Returns the number of bytes."""
        return self.write_bytes(
            path, text.encode(encoding), parents=parents, follow_symlinks=follow_symlinks
        )

    def mkdir(self, path: StrPath, mode: int = 0o755) -> None:
        """Make a directory and its missing parents; an existing one is kept."""
        self._do(self._steps.mkdir(path, mode))

    def remove(self, path: StrPath) -> None:
        """Remove a file, a link (not what it names) or an empty directory."""
        self._do(self._steps.remove(path))

    def list(self, path: StrPath) -> list[Entry]:
        """Return the entries of a directory, sorted by name.

        Raises:
            FilesError: Not a directory, or EFBIG: too many entries.
        """
        return self._do(self._steps.list(path))

    def put(self, source: StrPath, target: StrPath) -> None:
        """Copy a file or a directory tree of the host to `target` inside.

        Symbolic links, FIFOs, sockets and devices of the source are an error (EINVAL): nothing is
        followed. Permission bits are kept, without set-id bits.
        """
        self._do(self._steps.put(source, target))

    def get(self, source: StrPath, target: StrPath, *, limit: int = READ_LIMIT) -> None:
        """Copy a file or a directory tree out of the sandbox to `target`, which must not exist.

        Only regular files and directories are copied: a link, FIFO, socket or device is an error.
            Owner is the caller,
        set-id bits are dropped.

        Args:
            source: Absolute path inside.
            target: Path on the host.
            limit: Bytes in all.

        Raises:
            FilesError: EFBIG: more than `limit` bytes; EINVAL or ELOOP: not a file or directory.
            FileExistsError: `target` exists.
        """
        self._do(self._steps.get(source, target, limit=limit))


def _error(number: int, path: str) -> FilesError:
    texts = {
        errno.ELOOP: "a symbolic link on the way; follow_symlinks=True resolves it inside",
        errno.EINVAL: "not a regular file",
    }
    return FilesError(number, texts.get(number, os.strerror(number)), path)


def _entries(fd: int, path: str) -> list[Entry]:
    names = os.listdir(fd)
    if len(names) > _LIST_LIMIT:
        raise FilesError(errno.EFBIG, f"the directory has more than {_LIST_LIMIT} entries", path)
    found = []
    for name in sorted(names):
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:  # removed meanwhile
            continue
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "unknown")
        found.append(Entry(name, kind, info.st_size, stat.S_IMODE(info.st_mode)))
    return found


def _copy_out(source_fd: int, target: Path, name: str, budget: list[int]) -> Steps[None]:
    """Copy at most what is left of the budget; a file that grows meanwhile does not get past it."""
    mode = os.fstat(source_fd).st_mode & 0o777
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as writer:
        while chunk := os.read(source_fd, _CHUNK):
            budget[0] -= len(chunk)
            if budget[0] < 0:
                raise FilesError(errno.EFBIG, "more bytes than limit= allows", name)
            writer.write(chunk)
            yield None
        os.fchmod(writer.fileno(), mode | 0o600)


def _copy_tree(
    source_fd: int, target: Path, name: str, budget: list[int], depth: int
) -> Steps[None]:
    """Each level is opened below the one above it, by name, with O_NOFOLLOW on every component."""
    if depth > _DEPTH_LIMIT:
        raise FilesError(errno.ELOOP, f"more than {_DEPTH_LIMIT} levels of directories", name)
    target.mkdir()
    for entry in _entries(source_fd, name):
        path = f"{name.rstrip('/')}/{entry.name}"
        if entry.kind not in ("file", "directory"):
            raise FilesError(errno.EINVAL, f"a {entry.kind} is not copied out", path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(
            entry.name,
            flags | (os.O_DIRECTORY if entry.kind == "directory" else 0),
            dir_fd=source_fd,
        )
        try:
            # The name may be another thing by now than it was when it was listed.
            if entry.kind == "directory":
                yield from _copy_tree(fd, target / entry.name, path, budget, depth + 1)
            elif stat.S_ISREG(os.fstat(fd).st_mode):
                yield from _copy_out(fd, target / entry.name, path, budget)
            else:
                raise FilesError(errno.EINVAL, "not a regular file", path)
        finally:
            os.close(fd)
