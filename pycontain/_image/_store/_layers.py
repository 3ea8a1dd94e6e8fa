# SPDX-License-Identifier: Apache-2.0
"""Layers ready to be shown: directories that are built aside and there all at once.

    layers/HEX/diff             the tree; its files may belong to other users
    layers/HEX/meta.json        what is known of it
    layers/HEX.erofs/layer.tar  the same layer in its other form: the archive, uncompressed,
    layers/HEX.erofs/index      what EROFS needs to show it (`_archives`),
    layers/HEX.erofs/meta.json  and what is known of it

HEX is the layer's diff_id, or its chain id if what it holds depends on the layers below.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self, TypeAlias, cast

from pycontain._image._digest import Buffer, Digest
from pycontain._image._json import dumps, loads

from ._home import Home, close_unlocked, explained, sync_folder, wait_lock, write_all
from ._ingest import CHUNK, is_at
from ._leases import Lease

Form: TypeAlias = Literal["directory", "erofs"]
"""A tree of files, or an archive with an index."""
FORMS: Final[tuple[Form, ...]] = ("directory", "erofs")
ARCHIVE: Final = "layer.tar"
INDEX: Final = "index"

_META_MAX: Final = 16 << 20
_SUFFIX: Final = ".erofs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that is ready to be shown.

    Attributes:
        layer_id: Its name in the store: a diff_id or a chain id.
        diff_id: The digest of the archive it was made of.
        form: What it is in the store.
        path: The directory of the tree; of the form "erofs", that of archive and index.
        size: Bytes of its files.
        warnings: What could not be extracted as it is in the archive.
        more: What else was noted about it.
    """

    layer_id: Digest
    diff_id: Digest
    form: Form = "directory"
    path: str
    size: int = 0
    warnings: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)


def layer_path(home: Home, layer_id: Digest, form: Form) -> str:
    """Return where a layer is, or would be."""
    name = (
        layer_id.hex if layer_id.algorithm == "sha256" else f"{layer_id.algorithm}-{layer_id.hex}"
    )
    return home.at("layers", name + (_SUFFIX if form == "erofs" else ""))


def layer_of(name: str) -> tuple[Digest, Form]:
    """Return id and form of the layer that a directory in layers/ is. Raises InvalidDigestError."""
    stem = name.removesuffix(_SUFFIX)
    algorithm, dash, hexadecimal = stem.partition("-")
    digest = Digest(algorithm, hexadecimal) if dash else Digest("sha256", stem)
    return digest, "directory" if stem == name else "erofs"


def read_layer(home: Home, layer_id: Digest, form: Form) -> Layer | None:
    """Return a layer; None if it is not there. Raises StoreError, ManifestError if damaged."""
    path = layer_path(home, layer_id, form)
    try:
        with open(f"{path}/meta.json", "rb") as file:
            raw = file.read(_META_MAX)
    except FileNotFoundError:
        return None
    row = loads(raw, f"layer {layer_id}", limit=_META_MAX)
    more = row.object("more")
    return Layer(
        layer_id=layer_id,
        diff_id=Digest.parse(row.text("diff_id")),
        form=form,
        path=_shown_path(path, form),
        size=row.integer("size") or 0,
        warnings=row.texts("warnings") or (),
        more={} if more is None else more.values,
    )


def _shown_path(path: str, form: Form) -> str:
    return f"{path}/diff" if form == "directory" else path


def find_layer(
    home: Home, layer_ids: Sequence[Digest], forms: Sequence[Form] = FORMS
) -> Layer | None:
    """Return the first of these layers that is there, in the first form that it has."""
    found = (read_layer(home, layer_id, form) for form in forms for layer_id in layer_ids)
    return next(filter(None, found), None)


class LayerBuild:
    """A layer on its way into the store; a context manager.

    Attributes:
        path: The directory to extract into, empty. None: the layer is there already.
        folder: The one around it, for archive and index.
        layer: The layer, once it is in the store.
    """

    def __init__(
        self,
        home: Home,
        lease: Lease,
        layer_ids: tuple[Digest, ...],
        *,
        forms: Sequence[Form],
        patience_s: float,
    ) -> None:
        """Begin to make a layer, or wait for another process that makes it.

        Args:
            home: The store.
            lease: Keeps the layer.
            layer_ids: The names that the layer may get: its diff_id first, then its chain id.
            forms: Those in which it will do.
            patience_s: How long to wait.
        """
        self._home = home
        self._diff_id = layer_ids[0]
        self.folder = home.at("ingest", f"layer-{layer_ids[-1].algorithm}-{layer_ids[-1].hex}")
        self._fd = self._archive_fd = -1
        self._archive = home.growing(-1)
        self.layer: Layer | None = None
        lease.keep_layers(*layer_ids)
        deadline = time.monotonic() + patience_s
        while self._fd < 0:
            self.layer = find_layer(home, layer_ids, forms)
            if self.layer is not None:
                break
            self._fd = self._begin(max(deadline - time.monotonic(), 0))

    @property
    def path(self) -> str | None:
        """The directory to extract into, empty. None: the layer is in the store."""
        return None if self.layer is not None else f"{self.folder}/diff"

    def _begin(self, patience_s: float) -> int:
        """Return the locked directory, newly made; -1: try again."""
        with explained(self.folder):
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.folder, 0o700)
            try:
                fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                return -1
            try:
                wait_lock(fd, patience_s, self.folder)
                if not is_at(fd, self.folder):
                    return -1
                if os.listdir(fd):  # from a process that has died
                    self._home.discard(self.folder)
                    return -1
                os.mkdir("diff", 0o755, dir_fd=fd)
                fd, kept = -1, fd
                return kept
            finally:
                if fd >= 0:
                    close_unlocked(fd)

    def commit(
        self,
        layer_id: Digest,
        *,
        form: Form = "directory",
        size: int = 0,
        warnings: tuple[str, ...] = (),
        more: Mapping[str, Any] | None = None,
    ) -> Layer:
        """Make the layer visible. A tree should have been written to the disk (syncfs(2)).

        Args:
            layer_id: Its name: one of those given at the beginning.
            form: What was made of it.
            size: Bytes of its files.
            warnings: What could not be extracted as it is in the archive.
            more: What else to note.

        Raises:
            StoreError: The store is full or cannot be written.
        """
        row = {
            "diff_id": str(self._diff_id),
            "size": size,
            "warnings": list(warnings),
            "more": dict(more or {}),
        }
        path = layer_path(self._home, layer_id, form)
        with explained(path):
            self._remove_other(form)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            meta = os.open("meta.json", flags, 0o600, dir_fd=self._fd)
            try:
                write_all(meta, dumps(row))
                os.fsync(meta)
            finally:
                os.close(meta)
            os.fsync(self._fd)
            try:
                os.rename(self.folder, path)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                # The same archive was elsewhere in an image that was unpacked meanwhile.
                self._home.discard(self.folder)
            sync_folder(os.path.dirname(path))
        self.layer = Layer(
            layer_id=layer_id,
            diff_id=self._diff_id,
            form=form,
            path=_shown_path(path, form),
            size=size,
            warnings=warnings,
            more=more or {},
        )
        return self.layer

    def archive(self) -> BinaryIO:
        """Begin the archive, which is to stay; return it for reading. Raises StoreError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with explained(self.folder):
            self._archive_fd = os.open(ARCHIVE, flags, 0o600, dir_fd=self._fd)
            self._archive = self._home.growing(self._archive_fd)
            return cast("BinaryIO", open(f"{self.folder}/{ARCHIVE}", "rb", buffering=0))

    def append(self, data: Buffer) -> None:
        """Write the next bytes of the archive. Raises StoreError."""
        with explained(self.folder):
            self._archive.append(data)

    def archived(self) -> Iterator[bytes]:
        """Yield what `append` has written. Raises StoreError."""
        with explained(self.folder), open(f"{self.folder}/{ARCHIVE}", "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def index(self) -> BinaryIO:
        """Return a new file for the archive's index. Raises StoreError."""
        with explained(self.folder):
            return cast("BinaryIO", open(f"{self.folder}/{INDEX}", "xb", buffering=0))

    def _sync(self) -> None:
        for name in (ARCHIVE, INDEX):
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _remove_other(self, form: Form) -> None:
        """Remove what the other form would have needed."""
        if form == "erofs":
            self._sync()
            os.rmdir("diff", dir_fd=self._fd)
            return
        for name in (ARCHIVE, INDEX):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._fd)

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
        if self._archive_fd >= 0:
            os.close(self._archive_fd)
        try:
            if self.layer is None:
                self._home.discard(self.folder)
        finally:
            close_unlocked(self._fd)
            self._fd = -1
