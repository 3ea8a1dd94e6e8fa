# SPDX-License-Identifier: Apache-2.0
"""An image with all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pycontain.errors import ImageNotFoundError

from ._descriptor import Descriptor
from ._manifest import Index
from ._platform import Platform
from ._store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What leaves the store of an image: a manifest or index, and all that it leads to.

    Attributes:
        target: The root.
        made: Its bytes, if it was made here for want of some platforms.
        blobs: The blobs of the store.
    """

    target: Descriptor
    made: bytes | None = None
    blobs: tuple[Descriptor, ...]


def whole(store: Store, target: Descriptor, platform: Platform | None = None) -> Whole:
    """Return an image as it can leave the store: an index of what is here, if not all is.

    Raises:
        ImageNotFoundError: Not one manifest is here with all its blobs.
        PlatformError: It is not there for the platform.
    """
    if platform is not None:
        target = store.manifest(target, platform=platform).descriptor
    missing = store.missing(target)
    if not missing:
        return Whole(target=target, blobs=tuple(store.walk(target)))
    present = store.present(target)
    if not present:
        raise ImageNotFoundError(f"missing blob {missing[0].digest}: pull the image again")
    blobs = tuple({blob.digest: blob for top in present for blob in store.walk(top)}.values())
    if len(present) == 1:
        return Whole(target=replace(present[0], annotations={}, platform=None), blobs=blobs)
    index = Index.build(present)
    return Whole(target=index.descriptor, made=index.raw, blobs=blobs)
