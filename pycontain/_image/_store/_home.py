# SPDX-License-Identifier: Apache-2.0
"""The store's directory: where it is, what is in it, and the lock on it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from pycontain._statedir import is_private
from pycontain.errors import PycontainError, StoreError

VERSION: Final = "1\n"
FOLDERS: Final = (
    *("blobs", "blobs/sha256", "blobs/sha512", "ingest", "layers", "leases", "names", "trash"),
)
PATIENCE_S: Final = 30.0
_PAUSES_S = (0.001, 0.05)
_BEHIND: Final = 8 << 20
"""Bytes that the disk gets at a time, where it need not wait for the end."""
WriteBack: TypeAlias = Callable[[int], None]
"""Lets the disk begin to write what an open file has so far."""

_ADVICE = {
    errno.ENOSPC: "the file system is full: free some space, with `pycontain prune` for example",
    errno.EDQUOT: "the quota is used up: free some space, with `pycontain prune` for example",
    errno.EROFS: "the store is read-only: name another one in PYCONTAIN_STORE",
    errno.EACCES: "no permission: the store belongs to another user, or its modes were changed",
    errno.EPERM: "no permission: the store belongs to another user, or its modes were changed",
    errno.EIO: "the disk does not work",
}


def default_path() -> str:
    """Return where this user's store is.

    $PYCONTAIN_STORE, else /var/lib/pycontain for root and $XDG_DATA_HOME/pycontain for others.
    """
    if path := os.environ.get("PYCONTAIN_STORE"):
        return os.path.abspath(path)
    if os.geteuid() == 0:
        return "/var/lib/pycontain"
    base = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.local/share")
    return f"{base}/pycontain"


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn the system's errors into those of the store, with what to do about them."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PycontainError) or error.errno is None:
            raise
        reason = _ADVICE.get(error.errno, os.strerror(error.errno))
        raise StoreError(error.errno, f"image store: {reason}", path) from error


def try_lock(fd: int, *, exclusive: bool = True) -> bool:
    """Take the lock on an open file (flock(2)) unless somebody has it. It ends with the file."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def close_unlocked(fd: int) -> None:
    """Give the lock back and close: a copy in a forked child must not keep it."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def wait_lock(fd: int, patience_s: float, path: str, *, exclusive: bool = True) -> None:
    """Take the lock on an open file, waiting for whoever has it.

    Raises:
        StoreError: ETIMEDOUT, it took longer than `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    pause, longest = _PAUSES_S
    while not try_lock(fd, exclusive=exclusive):
        if time.monotonic() > deadline:
            raise StoreError(
                errno.ETIMEDOUT,
                f"image store: another process has held the lock for {patience_s:g} s",
                path,
            )
        time.sleep(pause)
        pause = min(pause * 2, longest)


class Growing:
    """A large file that is written; the disk begins meanwhile, and fsync(2) has little to wait for.

    Args:
        fd: The file, at its end.
        write_back: Lets the disk begin.
    """

    def __init__(self, fd: int, write_back: WriteBack) -> None:
        self._fd = fd
        self._write_back = write_back
        self._waiting = 0

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Write the next piece. Raises OSError."""
        write_all(self._fd, data)
        self._waiting += memoryview(data).nbytes
        if self._waiting >= _BEHIND:
            self._write_back(self._fd)
            self._waiting = 0


class Home:
    """The directory of a store.

    Attributes:
        path: Its absolute path.
    """

    def __init__(self, path: str, write_back: WriteBack) -> None:
        self.path = path
        self._write_back = write_back

    @classmethod
    def open(cls, path: str | None = None, write_back: WriteBack = lambda _: None) -> Home:
        """Return the store's directory, made if need be and possible.

        Raises:
            StoreError: It cannot be made, is another user's, or of a newer version.
        """
        home = cls(default_path() if path is None else os.path.abspath(path), write_back)
        if not os.path.exists(home.at("version")):
            home._make()
        elif not is_private(home.path):
            home._refuse("others may write to it, or it belongs to another user")
        home._check_version()
        return home

    def _make(self) -> None:
        with explained(self.path):
            os.makedirs(self.path, 0o700, exist_ok=True)
            if not is_private(self.path):
                self._refuse("others may write to it, or it belongs to another user")
            for name in FOLDERS:
                os.makedirs(self.at(name), 0o700, exist_ok=True)
            self._write_version()

    def _write_version(self) -> None:
        """Make the file of the version, never anew: the lock of the store is on it."""
        temporary = self.at(f"version-{secrets.token_hex(8)}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, VERSION.encode())
            os.fsync(fd)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, self.at("version"))
            sync_folder(self.path)
        finally:
            os.unlink(temporary)
            os.close(fd)

    def _check_version(self) -> None:
        with explained(self.path), open(self.at("version"), encoding="ascii") as file:
            version = file.read(100)
        if version != VERSION:
            self._refuse(f"it has version {version.strip()!r}, made by another pycontain")

    def _refuse(self, reason: str) -> None:
        raise StoreError(
            errno.EPERM, f"image store: {reason}; name another one in PYCONTAIN_STORE", self.path
        )

    def at(self, *names: str) -> str:
        """Return a path in the store."""
        return "/".join((self.path, *names))

    def temporary(self) -> str:
        """Return a path in ingest/ that nobody has. What is there and not locked is garbage."""
        return self.at("ingest", f"tmp-{secrets.token_hex(8)}")

    @contextlib.contextmanager
    def locked(self, *, exclusive: bool = False) -> Iterator[None]:
        """Hold the lock of the store for a moment.

        Shared by whoever says what is to stay; exclusive for whoever decides what is to go.

        Raises:
            StoreError: Somebody keeps it.
        """
        fd = self.open_lock()
        try:
            wait_lock(fd, PATIENCE_S, self.path, exclusive=exclusive)
            yield
        finally:
            close_unlocked(fd)

    def open_lock(self) -> int:
        """Return a new descriptor of the file that the store's lock is on."""
        path = self.at("version")
        with explained(path):
            try:  # NFS wants a file that is open for writing
                return os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in {errno.EROFS, errno.EACCES}:
                    raise
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def write_atomically(self, name: str, data: bytes) -> None:
        """Put a small file there, all at once and for good. The caller holds the store's lock."""
        temporary, path = self.temporary(), self.at(name)
        with explained(path):
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                try_lock(fd)
                write_all(fd, data)
                os.fsync(fd)
                os.rename(temporary, path)
                sync_folder(os.path.dirname(path))
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                raise
            finally:
                close_unlocked(fd)

    def growing(self, fd: int) -> Growing:
        """Return what writes a large file."""
        return Growing(fd, self._write_back)

    def discard(self, path: str) -> bool:
        """Rename something into the trash, where nothing finds it. False: it was gone."""
        try:
            with explained(path):
                os.rename(path, self.at("trash", secrets.token_hex(16)))
        except StoreError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it. Raises OSError."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_folder(path: str) -> None:
    """Make renames into a directory last (fsync(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
