# SPDX-License-Identifier: Apache-2.0
"""Leases: what living processes use or are about to name is not garbage.

A lease is a file that its holder keeps locked, with a line for each thing to keep. A file that is
not locked belonged to a process that has died.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._json import dumps, loads
from pycontain.errors import ImageError, StoreError

from ._home import PATIENCE_S, Home, close_unlocked, explained, try_lock, wait_lock, write_all

_LINE_MAX = 1 << 20


class Lease:
    """Keeps things in the store until it is closed or all its holders have died.

    On a store that cannot be written, the whole store is kept.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path: str | None = home.at("leases", f"{os.getpid()}-{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        with home.locked():
            try:
                with explained(self._path):
                    self._fd = os.open(self._path, flags, 0o600)
            except StoreError as error:
                if error.errno not in {errno.EROFS, errno.EACCES}:
                    raise
                self._path = None
                self._fd = home.open_lock()
                wait_lock(self._fd, PATIENCE_S, home.path, exclusive=False)
            else:  # who looks whether it is dead has it for a moment
                wait_lock(self._fd, PATIENCE_S, self._path)

    def fileno(self) -> int:
        """Return the descriptor that holds the lock; a process with a copy of it is a holder."""
        return self._fd

    def keep(self, *targets: Descriptor) -> None:
        """Keep blobs, and all that a manifest, index or configuration among them leads to.

        After this, what is there stays.

        Raises:
            StoreError: The store is full.
        """
        self._append(
            {"mediaType": target.media_type, "digest": str(target.digest), "size": target.size}
            for target in targets
        )

    def keep_layers(self, *layer_ids: Digest) -> None:
        """Keep extracted layers. Raises StoreError: the store is full."""
        self._append({"layer": str(layer_id)} for layer_id in layer_ids)

    def _append(self, rows: Iterator[dict[str, object]]) -> None:
        # An empty line first: a full disk may have left half a line.
        data = b"\n" + b"".join(dumps(row) + b"\n" for row in rows)
        if self._path is None:
            return
        with self._home.locked(), explained(self._path):
            write_all(self._fd, data)

    def close(self) -> None:
        """Stop keeping, unless another process has a copy of the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        os.close(fd)
        if self._path is not None:
            _remove_dead(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _remove_dead(path: str) -> bool:
    """Remove a lease that nobody holds; False if somebody does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not try_lock(fd):
            return False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return True
    finally:
        close_unlocked(fd)


def remove_dead(home: Home) -> None:
    """Remove the leases of processes that have died. The caller holds the store's lock alone."""
    for path in _files(home):
        with explained(path):
            _remove_dead(path)


def living(home: Home) -> tuple[list[Descriptor], list[Digest]]:
    """Return what leases keep: blobs and layers. The caller holds the store's lock."""
    blobs: list[Descriptor] = []
    layers: list[Digest] = []
    for line in (line for path in _files(home) for line in _living_lines(path)):
        with contextlib.suppress(ImageError):
            row = loads(line, "lease", limit=_LINE_MAX)
            if row.has("layer"):
                layers.append(Digest.parse(row.text("layer")))
            else:
                blobs.append(Descriptor.parse(row))
    return blobs, layers


def _files(home: Home) -> list[str]:
    with explained(home.at("leases")):
        return [home.at("leases", name) for name in os.listdir(home.at("leases"))]


def _living_lines(path: str) -> list[bytes]:
    """Return the lines of a lease; none if nobody holds it."""
    try:
        with explained(path), open(path, "rb") as file:
            if not try_lock(file.fileno(), exclusive=False):
                return list(filter(None, file.read().split(b"\n")[:-1]))
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)
            return []
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
