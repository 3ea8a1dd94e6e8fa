# SPDX-License-Identifier: Apache-2.0
"""Images from archives into the store."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from pycontain._image._descriptor import Descriptor
from pycontain._image._reference import Reference
from pycontain._image._store import Lease, Store
from pycontain.errors import ImageNotFoundError, ManifestError

from ._docker import read_docker
from ._layout import read_layout
from ._names import Found
from ._source import Source, opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An image that is in the store now.

    Attributes:
        reference: Its name.
        target: Its manifest or index.
    """

    reference: Reference
    target: Descriptor


def load(
    store: Store,
    source: str | os.PathLike[str] | BinaryIO,
    *,
    select: str | None = None,
    reference: Reference | None = None,
) -> tuple[Loaded, ...]:
    """Put the images of a layout or an archive into the store and name them.

    Args:
        store: The store.
        source: The path of a directory or an archive, perhaps compressed, or an open file.
        select: Only the image of this name.
        reference: Its new name. Without, those that it has there; an image without a name is
            called localhost/loaded@DIGEST.

    Raises:
        ImageNotFoundError: No such image, or a part of it is missing.
        ManifestError: No archive of images, or one that breaks the rules; or the name stands for
            several images.
        LayerError, DigestMismatchError, SizeMismatchError: Content is not what it should be.
        LimitExceededError, UnsupportedImageError, StoreError: As they say.
        OSError: The source cannot be read.
    """
    with opened(source, f"{store.path}/ingest") as files, store.lease() as lease:
        found = _find(store, lease, files, select)
        if reference is not None and len({image.target.digest for image in found}) != 1:
            raise ManifestError(
                f"there are {len(found)} images for one name: {_names(found)}; select one"
            )
        loaded = {(reference or image.reference): image.target for image in found}
        for name, target in loaded.items():
            store.tag(name, target)
    return tuple(Loaded(reference=name, target=target) for name, target in loaded.items())


def _find(store: Store, lease: Lease, files: Source, select: str | None) -> list[Found]:
    """Put the images into the store and return them, with their names."""
    if files.has("oci-layout"):
        found = read_layout(store, lease, files, select)
    elif files.has("manifest.json"):
        found = read_docker(store, lease, files, select)
    else:
        raise ManifestError("neither an OCI layout nor a docker-archive")
    if not found:
        raise ImageNotFoundError("there is no image in it")
    return found


def _names(found: Iterable[Found]) -> str:
    return ", ".join(image.reference.familiar for image in found)
