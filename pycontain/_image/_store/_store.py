# SPDX-License-Identifier: Apache-2.0
"""The store as the rest sees it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final

from pycontain._image import _media
from pycontain._image._config import CONFIG_MAX, ImageConfig
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Buffer, Digest, Verifier, verify
from pycontain._image._manifest import MANIFEST_MAX, Index, Manifest, parse
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._select import select
from pycontain.errors import (
    DigestMismatchError,
    ImageError,
    ImageNotFoundError,
    LimitExceededError,
    SizeMismatchError,
    StoreError,
)

from . import _names, _sweep
from ._home import Home, WriteBack, explained
from ._ingest import CHUNK, Ingest, Spool, blob_path, blob_size
from ._layers import ARCHIVE, FORMS, INDEX, Form, Layer, LayerBuild, find_layer, read_layer
from ._leases import Lease
from ._names import Name
from ._sweep import PARTIAL_AGE_S, RemoveTree, Swept
from ._usage import Usage, usage

DOCUMENT_MAX: Final = max(MANIFEST_MAX, CONFIG_MAX)
# Another process may take its time to fetch the same.
FETCH_PATIENCE_S: Final = 3600.0


class Store:
    """A content store. Safe to use from any thread and any number of processes.

    Attributes:
        path: Its directory.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        remove_tree: RemoveTree = _sweep.remove_own_tree,
        write_back: WriteBack = lambda _: None,
    ) -> None:
        """Open the store, made on first use.

        Args:
            path: None: this user's (`default_path`).
            remove_tree: Removes a file or a tree from the trash, whoever owns its files.
            write_back: Lets the disk begin to write what an open file has so far.

        Raises:
            StoreError: It cannot be made or read, or is not private.
        """
        self._home = Home.open(path, write_back)
        self._remove_tree = remove_tree
        self.path = self._home.path

    # Reading.

    def size(self, digest: Digest) -> int | None:
        """Return how many bytes a blob has; None if it is not there."""
        return blob_size(self._home, digest)

    def has(self, target: Descriptor) -> bool:
        """Tell whether a blob is there, with the right size. To rely on it, keep it first."""
        return self.size(target.digest) == target.size

    def blob_path(self, digest: Digest) -> str:
        """Return where a blob is, or would be."""
        return blob_path(self._home, digest)

    def open(self, digest: Digest) -> BinaryIO:
        """Return a blob for reading, unverified.

        Raises:
            ImageNotFoundError: It is not there.
            StoreError: It cannot be read.
        """
        path = self.blob_path(digest)
        try:
            with explained(path):
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ImageNotFoundError(
                    f"missing blob {digest}: pull or load the image again"
                ) from None
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageNotFoundError(f"blob {digest} is not a regular file")
        return os.fdopen(fd, "rb", buffering=0)

    def read(self, target: Descriptor) -> bytes:
        """Return a manifest, an index or a configuration, verified.

        Raises:
            ImageNotFoundError: It is not there.
            DigestMismatchError, SizeMismatchError: It is damaged, and now in the trash.
            LimitExceededError: It is too large for what it should be.
        """
        if target.size > DOCUMENT_MAX:
            raise LimitExceededError(
                f"blob {target.digest}: {target.size} bytes are more than the limit of "
                f"{DOCUMENT_MAX}",
                limit="size",
                allowed=DOCUMENT_MAX,
            )
        with self._healed(target.digest), self.open(target.digest) as file:
            data = bytearray()
            while chunk := file.read(target.size + 1 - len(data)):
                data += chunk
            verify(data, target.digest, target.size)
        return bytes(data)

    def chunks(self, target: Descriptor, size: int = CHUNK) -> Iterator[bytes]:
        """Yield a blob piece by piece; the error, if it is damaged, comes after the last one.

        Raises:
            ImageNotFoundError: It is not there.
            DigestMismatchError, SizeMismatchError: It is damaged, and now in the trash.
        """
        verifier = Verifier(target.digest, target.size)
        with self._healed(target.digest), self.open(target.digest) as file:
            while chunk := file.read(size):
                verifier.update(chunk)
                yield chunk
            verifier.finish()

    @contextlib.contextmanager
    def _healed(self, digest: Digest) -> Iterator[None]:
        """Put a blob that turns out to be damaged into the trash: the next pull brings it again."""
        try:
            yield
        except (DigestMismatchError, SizeMismatchError):
            with contextlib.suppress(StoreError):
                self._home.discard(self.blob_path(digest))
            raise

    # Writing.

    def lease(self) -> Lease:
        """Return a new lease, which keeps nothing yet. Raises StoreError."""
        return Lease(self._home)

    def ingest(
        self, lease: Lease, target: Descriptor, *, patience_s: float = FETCH_PATIENCE_S
    ) -> Ingest:
        """Begin, go on or wait with writing a blob whose digest is known.

        If another process is writing it, this waits until it has ended.

        Raises:
            StoreError: The store cannot be written, or the other process takes too long.
        """
        lease.keep(target)
        return Ingest(self._home, target.digest, target.size, patience_s=patience_s)

    def spool(self, lease: Lease) -> Spool:
        """Begin to write a blob whose digest is not known. Raises StoreError."""
        return Spool(self._home, lease)

    def put(self, lease: Lease, data: Buffer, media_type: str) -> Descriptor:
        """Store some bytes and return what refers to them. Raises StoreError."""
        target = Descriptor(
            media_type=media_type, digest=Digest.of(data), size=memoryview(data).nbytes
        )
        with self.ingest(lease, target) as ingest:
            if not ingest.complete:
                ingest.restart()
                ingest.write(data)
                ingest.commit()
        return target

    # Layers.

    def layer(self, *layer_ids: Digest) -> Layer | None:
        """Return the first of these layers that is ready. To rely on it, keep it first."""
        return find_layer(self._home, layer_ids)

    def build_layer(
        self,
        lease: Lease,
        *layer_ids: Digest,
        forms: Sequence[Form] = FORMS,
        patience_s: float = FETCH_PATIENCE_S,
    ) -> LayerBuild:
        """Begin to make a layer, or wait for another process that does.

        Args:
            lease: Keeps the layer.
            layer_ids: The names that the layer may get: its diff_id first, then its chain id.
            forms: Those in which it will do if it is there, the best first.
            patience_s: How long to wait.

        Raises:
            StoreError: The store cannot be written, or the other process takes too long.
        """
        return LayerBuild(self._home, lease, layer_ids, forms=forms, patience_s=patience_s)

    # Names.

    def tag(self, reference: Reference, target: Descriptor) -> None:
        """Give a name to a manifest or index, which a lease keeps.

        Raises:
            ImageNotFoundError: It is not there.
            StoreError: The store cannot be written.
        """
        if not self.has(target):
            raise ImageNotFoundError(f"missing blob {target.digest}: there is nothing to name")
        with self._home.locked():
            _names.write(self._home, reference, target)

    def untag(self, reference: Reference) -> bool:
        """Take a name back; False: it was not given. Raises StoreError."""
        with self._home.locked():
            return _names.delete(self._home, reference)

    def names(self) -> list[Name]:
        """Return all names, sorted. Raises StoreError."""
        return _names.read_all(self._home)

    def name(self, reference: Reference) -> Name | None:
        """Return what a name stands for. Raises StoreError."""
        return _names.read(self._home, reference)

    # Images.

    def manifest(
        self, target: Descriptor, *, platform: Platform | None = None, what: str = "the image"
    ) -> Manifest:
        """Return the manifest for a platform, None: this machine's, that a manifest or index has.

        Raises:
            PlatformError: There is none.
            ImageNotFoundError: It was not pulled.
            ManifestError, UnsupportedImageError: It breaks the specification.
        """
        return select(self.document(target), self.read, platform=platform, what=what)

    def document(self, target: Descriptor) -> Manifest | Index:
        """Return a manifest or an index, parsed. Raises as `read` and `parse` do."""
        return parse(self.read(target), media_type=target.media_type, expected=target.digest)

    def config(self, manifest: Manifest) -> ImageConfig:
        """Return a manifest's configuration. Raises as `read` and `ImageConfig.parse` do."""
        manifest.check_image()
        return ImageConfig.parse(self.read(manifest.config))

    def missing(self, target: Descriptor) -> list[Descriptor]:
        """Return the blobs that an image lacks, with those of all platforms of an index."""
        return [blob for blob in self.walk(target) if not self.has(blob)]

    def walk(self, target: Descriptor) -> Iterator[Descriptor]:
        """Yield an image's blobs, each once, what refers before what is referred to.

        One that is called by different types comes with each.
        """
        ahead, seen = [target], set[tuple[Digest, str]]()
        while ahead:
            blob = ahead.pop()
            key = blob.digest, blob.media_type
            if key not in seen:
                seen.add(key)
                yield blob
                ahead += reversed(_sweep.children(self._home, blob))

    def present(self, target: Descriptor) -> list[Descriptor]:
        """Return the manifests below a target that are here with all their blobs."""
        manifests = [blob for blob in self.walk(target) if blob.media_type in _media.MANIFESTS]
        return [blob for blob in manifests if not self.missing(blob)]

    # Keeping house.

    def gc(self, *, partial_age_s: float = PARTIAL_AGE_S, unused: bool = False) -> Swept:
        """Put into the trash what neither a name nor a living lease needs, and empty it.

        Args:
            partial_age_s: Interrupted downloads stay that long.
            unused: Also the images, with their names, that no living lease is about.

        Raises:
            StoreError: The store cannot be written, or somebody keeps it locked.
        """
        with self._home.locked(exclusive=True), explained(self.path):
            if unused:
                _sweep.untag_unused(self._home)
            swept = _sweep.sweep(self._home, partial_age_s=partial_age_s)
        self.empty_trash()
        return swept

    def empty_trash(self) -> list[str]:
        """Remove what is in the trash; return what could not be removed, with the reasons."""
        return _sweep.empty_trash(self._home, self._remove_tree)

    def usage(self) -> Usage:
        """Return what is here, and what could go. Raises StoreError."""
        return usage(self._home)

    def check(self) -> list[str]:
        """Read everything and return what is wrong, a sentence each. Raises StoreError.

        Damaged blobs go to the trash, so that they can be pulled again.
        """
        return [*self._check_blobs(), *self._check_layers(), *self._check_names()]

    def _check_blobs(self) -> Iterator[str]:
        for digest, path, size in _sweep.all_blobs(self._home):
            if digest is None:
                yield f"{path}: not named after a digest"
                continue
            try:
                for _ in self.chunks(Descriptor(media_type="", digest=digest, size=size)):
                    pass
            except ImageNotFoundError:
                continue  # collected by another process
            except ImageError as error:
                yield f"blob {digest}: {error}"

    def _check_layers(self) -> Iterator[str]:
        for digest, form, path, _ in _sweep.all_layers(self._home):
            try:
                layer = None if digest is None else read_layer(self._home, digest, form)
                whole = layer is not None and _is_whole(layer)
            except ImageError as error:
                yield f"{path}: {error}"
                continue
            if not whole and os.path.exists(path):
                yield f"{path}: not a complete layer"

    def _check_names(self) -> Iterator[str]:
        for name in self.names():
            if not self.present(name.target) and self.name(name.reference) == name:
                yield f"{name.reference}: no manifest is here with all its blobs"


def _is_whole(layer: Layer) -> bool:
    """Tell whether all parts are there. Raises DigestMismatchError: an archive is damaged."""
    if layer.form == "directory":
        return os.path.isdir(layer.path)
    if not os.path.isfile(f"{layer.path}/{INDEX}"):
        return False
    verifier = Verifier(layer.diff_id)
    try:
        with open(f"{layer.path}/{ARCHIVE}", "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                verifier.update(chunk)
    except FileNotFoundError:
        return False
    verifier.finish()
    return True
