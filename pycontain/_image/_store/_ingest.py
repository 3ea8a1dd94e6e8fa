# SPDX-License-Identifier: Apache-2.0
"""How content comes into the store: written aside, verified, and there all at once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from types import TracebackType
from typing import Final, Self

from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Buffer, Digest, Verifier
from pycontain.errors import DigestMismatchError, SizeMismatchError

from ._home import (
    Home,
    close_unlocked,
    explained,
    sync_folder,
    try_lock,
    wait_lock,
)
from ._leases import Lease

CHUNK: Final = 1 << 20
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def blob_path(home: Home, digest: Digest) -> str:
    """Return where a blob is, or would be."""
    return home.at("blobs", digest.algorithm, digest.hex)


def blob_size(home: Home, digest: Digest) -> int | None:
    """Return how many bytes a blob has; None if it is not there."""
    try:
        return os.lstat(blob_path(home, digest)).st_size
    except FileNotFoundError:
        return None


def _commit(home: Home, fd: int, temporary: str, digest: Digest) -> None:
    """Make a written file the blob, for good."""
    path = blob_path(home, digest)
    with explained(path):
        os.fsync(fd)
        os.rename(temporary, path)
        os.fchmod(fd, 0o444)
        sync_folder(os.path.dirname(path))


class Ingest:
    """A blob of a known digest on its way into the store; a context manager.

    What was written and not committed stays for the next one, unless it was wrong.

    Attributes:
        complete: Whether the blob is in the store: nothing is to be done, or all is done.
    """

    def __init__(self, home: Home, digest: Digest, size: int, *, patience_s: float) -> None:
        self._home = home
        self._digest = digest
        self._size = size
        self._path = home.at("ingest", f"{digest.algorithm}-{digest.hex}.partial")
        self._fd = -1
        self._verifier = Verifier(digest, size)
        self.complete = False
        self._open(patience_s)
        self._file = home.growing(self._fd)

    def _open(self, patience_s: float) -> None:
        """Lock the partial file; whoever had it before may have renamed or removed it."""
        deadline = time.monotonic() + patience_s
        while not self._is_there():
            with explained(self._path):
                fd = os.open(self._path, _FLAGS, 0o600)
            try:
                wait_lock(fd, max(deadline - time.monotonic(), 0), self._path)
                if not is_at(fd, self._path):
                    continue
                if self._is_there():
                    os.unlink(self._path)
                    continue
                self._fd, fd = fd, -1
                self._adopt()
                return
            finally:
                if fd >= 0:
                    close_unlocked(fd)
        self.complete = True

    def _is_there(self) -> bool:
        return blob_size(self._home, self._digest) == self._size

    def _adopt(self) -> None:
        """Go on where another one stopped, after reading what it wrote."""
        with explained(self._path):
            if os.fstat(self._fd).st_size > self._size:
                os.ftruncate(self._fd, 0)
            while chunk := os.read(self._fd, CHUNK):
                self._verifier.update(chunk)

    @property
    def offset(self) -> int:
        """How many bytes are there already; the next one to write is this one."""
        return self._verifier.received

    @property
    def verifier(self) -> Verifier:
        """Has seen what was written. Who lets it see the next bytes first writes by `append`."""
        return self._verifier

    def restart(self) -> None:
        """Forget all that was written. Raises StoreError."""
        self._verifier = Verifier(self._digest, self._size)
        with explained(self._path):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)

    def write(self, data: Buffer) -> None:
        """Write the next bytes.

        Raises:
            SizeMismatchError: They are more than announced.
            StoreError: The store is full or cannot be written.
        """
        self._verifier.update(data)
        self.append(data)

    def append(self, data: Buffer) -> None:
        """Write the next bytes, which `verifier` has seen. Raises StoreError."""
        with explained(self._path):
            self._file.append(data)

    def commit(self) -> None:
        """Make the blob visible.

        Raises:
            SizeMismatchError, DigestMismatchError: It is not what was announced.
            StoreError: The store cannot be written.
        """
        self._verifier.finish()
        _commit(self._home, self._fd, self._path, self._digest)
        self.complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd < 0:
            return
        too_long = isinstance(error, SizeMismatchError) and error.actual > error.expected
        wrong = too_long or isinstance(error, DigestMismatchError)
        if not self.complete and (wrong or not self._verifier.received):
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        close_unlocked(self._fd)
        self._fd = -1


def is_at(fd: int, path: str) -> bool:
    """Tell whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


class Spool:
    """A blob whose digest is not known before it has been written; a context manager."""

    def __init__(self, home: Home, lease: Lease) -> None:
        self._home = home
        self._lease = lease
        self._path = home.temporary()
        self._hash = hashlib.sha256(usedforsecurity=False)
        self._size = 0
        with home.locked(), explained(self._path):
            self._fd = os.open(self._path, _FLAGS | os.O_EXCL, 0o600)
            try_lock(self._fd)
        self._file = home.growing(self._fd)

    def write(self, data: Buffer) -> None:
        """Write the next bytes. Raises StoreError."""
        self._hash.update(data)
        self._size += memoryview(data).nbytes
        with explained(self._path):
            self._file.append(data)

    def commit(self) -> tuple[Digest, int]:
        """Make the blob visible and return its digest and size. Raises StoreError."""
        digest = Digest("sha256", self._hash.hexdigest())
        self._lease.keep(Descriptor(media_type="", digest=digest, size=self._size))
        if blob_size(self._home, digest) != self._size:
            _commit(self._home, self._fd, self._path, digest)
        return digest, self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        close_unlocked(self._fd)
