# SPDX-License-Identifier: Apache-2.0
"""An image goes from the store to a registry: what is referred to before what refers to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from ._image import _media
from ._image._descriptor import Descriptor
from ._image._digest import Digest
from ._image._find import find
from ._image._reference import Reference
from ._image._registry import connect
from ._image._store import Store
from ._image._whole import whole
from ._pull import OnProgress
from .errors import InvalidReferenceError, UnsupportedImageError

if TYPE_CHECKING:
    from ._image._registry._credentials import Credentials
    from ._image._registry._repository import Repository

WORKERS = 3
_DOCUMENTS = (*_media.MANIFESTS, *_media.INDEXES)


def push(
    store: Store,
    name: str,
    to: Reference,
    *,
    insecure: bool = False,
    credentials: Credentials | None = None,
    on_progress: OnProgress | None = None,
) -> Digest:
    """Upload an image of the store; return the digest that it has there.

    Args:
        store: The store.
        name: Of the image, or the beginning of its id.
        to: Registry, repository and tag.
        insecure: Take any certificate, and plain http.
        credentials: Instead of those that Docker and Podman have stored.
        on_progress: Called with what happens, by several threads.

    Raises:
        ImageNotFoundError: There is no such image.
        InvalidReferenceError: A digest cannot be chosen.
        UnsupportedImageError: A layer may not be given to others.
        RegistryError: The registry refuses it.
        StoreError: The store cannot be read.
    """
    if to.digest is not None:
        raise InvalidReferenceError(
            f"{to}: push to a tag; the digest comes from the content", reference=str(to)
        )
    tell = on_progress or (lambda _: None)
    with (
        store.lease() as lease,
        connect(to.registry, insecure=insecure, credentials=credentials, on_event=tell) as client,
    ):
        root = whole(store, find(store, name).target)
        lease.keep(root.target, *root.blobs)
        blobs = [blob for blob in root.blobs if blob.media_type not in _DOCUMENTS]
        _check(blobs)
        repository = client.repository(to.repository)
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="pycontain-push") as pool:
            list(pool.map(lambda blob: _blob(store, repository, blob), blobs))
        # An index comes before its manifests in `blobs`.
        for blob in reversed(root.blobs):
            if blob.media_type in _DOCUMENTS and blob.digest != root.target.digest:
                repository.push_manifest(store.read(blob), blob.media_type)
        raw = store.read(root.target) if root.made is None else root.made
        return repository.push_manifest(raw, root.target.media_type, tag=to.tag)


def _check(blobs: list[Descriptor]) -> None:
    for blob in blobs:
        if _media.is_layer(blob.media_type) and _media.layer_type(blob.media_type).foreign:
            raise UnsupportedImageError(
                f"layer {blob.digest} ({blob.media_type}) may not be distributed"
            )


def _blob(store: Store, repository: Repository, blob: Descriptor) -> None:
    def source() -> BinaryIO:
        return store.open(blob.digest)

    repository.push_blob(blob, source)
