# SPDX-License-Identifier: Apache-2.0
"""Reading OCI layouts (image-spec, image-layout.md)."""

from __future__ import annotations

from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._json import loads
from pycontain._image._manifest import INDEX_DEPTH, MANIFEST_MAX, Index, parse
from pycontain._image._store import Lease, Store
from pycontain.errors import (
    ImageNotFoundError,
    LimitExceededError,
    ManifestError,
    UnsupportedImageError,
)

from ._names import Found, check_unique, is_named, not_found, of_entry, reference_of
from ._source import CHUNK, Source, SourceFile, read_all

LAYOUT_VERSION = "1.0.0"
# Manifests and indexes below one index.json.
DOCUMENTS_MAX = 1000


def read_layout(store: Store, lease: Lease, source: Source, select: str | None) -> list[Found]:
    """Put a layout's images into the store.

    Raises:
        ImageNotFoundError: No image of that name, or a blob is missing.
        ManifestError: It breaks the specification, or a name stands for several images.
        UnsupportedImageError: Of another version.
        LimitExceededError: Too large, too many or too deep.
    """
    _check_version(source)
    index = parse(read_all(source, "index.json", MANIFEST_MAX), what="index.json")
    if not isinstance(index, Index):
        raise ManifestError("index.json: a manifest, not an index")
    entries = [
        entry for entry in index.manifests if select is None or is_named(of_entry(entry), select)
    ]
    if select is not None and not entries:
        raise not_found(select, (name for entry in index.manifests for name in of_entry(entry)))
    check_unique((of_entry(entry), entry.digest) for entry in entries)
    copier = _Copier(store, lease, source)
    found = []
    for entry in entries:
        target = copier.copy_root(entry)
        found.append(Found(reference=reference_of(of_entry(entry), entry.digest), target=target))
    return found


def _check_version(source: Source) -> None:
    layout = loads(read_all(source, "oci-layout", 1 << 16), "oci-layout", limit=1 << 16)
    version = layout.text("imageLayoutVersion")
    if version != LAYOUT_VERSION:
        raise UnsupportedImageError(f"an OCI layout of version {version[:40]!r}, not 1.0.0")


class _Copier:
    """Copies what descriptors lead to, each blob once."""

    def __init__(self, store: Store, lease: Lease, source: Source) -> None:
        self._store = store
        self._lease = lease
        self._source = source
        self._done: set[Digest] = set()
        self._documents = 0

    def copy_root(self, entry: Descriptor) -> Descriptor:
        """Copy an image and return what refers to it."""
        if entry.media_type not in _media.MANIFESTS | _media.INDEXES:
            raise _media.unsupported(entry.media_type, "entry of the layout's index")
        self._copy(entry, 0)
        target = Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size)
        if not self._store.present(target):
            missing = self._store.missing(target)
            raise ImageNotFoundError(f"missing blob {missing[0].digest}" if missing else "no image")
        return target

    def _copy(self, blob: Descriptor, depth: int) -> None:
        """Copy a blob and what it leads to; an index may lack some of its manifests."""
        if blob.digest in self._done:
            return
        self._done.add(blob.digest)
        copy_file(self._store, self._lease, blob, self._open(blob))
        if blob.media_type not in _media.MANIFESTS | _media.INDEXES:
            return
        self._check_bounds(blob, depth)
        node = self._store.document(blob)
        for child in node.children:
            try:
                self._copy(child, depth + 1)
            except ImageNotFoundError:
                if not isinstance(node, Index):
                    raise

    def _check_bounds(self, blob: Descriptor, depth: int) -> None:
        self._documents += 1
        if self._documents > DOCUMENTS_MAX or depth > INDEX_DEPTH:
            raise LimitExceededError(
                f"blob {blob.digest}: more than {DOCUMENTS_MAX} manifests, or more than "
                f"{INDEX_DEPTH} indexes in one another",
                limit="manifests",
                allowed=DOCUMENTS_MAX,
            )

    def _open(self, blob: Descriptor) -> SourceFile:
        try:
            return self._source.open(f"blobs/{blob.digest.algorithm}/{blob.digest.hex}")
        except ImageNotFoundError:
            raise ImageNotFoundError(f"missing blob {blob.digest}") from None


def copy_file(store: Store, lease: Lease, blob: Descriptor, file: SourceFile) -> None:
    """Copy a blob of a known digest.

    Raises:
        DigestMismatchError, SizeMismatchError: It is something else.
        StoreError: The store cannot be written.
    """
    with store.ingest(lease, blob) as ingest:
        if ingest.complete:
            return
        ingest.restart()
        while chunk := file.read(CHUNK):
            ingest.write(chunk)
        ingest.commit()
