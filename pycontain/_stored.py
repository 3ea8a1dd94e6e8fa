# SPDX-License-Identifier: Apache-2.0
"""Images that are in the store, described."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import profile as profiles
from ._contract._machine import Machine
from ._contract._report import Contract, check_image
from ._image._archive import Loaded
from ._image._config import ImageConfig
from ._image._descriptor import Descriptor
from ._image._manifest import Manifest
from ._image._platform import Platform
from ._image._reference import Reference
from ._image._store import Store
from ._root import image_root
from .errors import PlatformError, UnsupportedImageError
from .profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in the store.

    Attributes:
        name: What it is called, the short way.
        digest: Of the manifest or index that the name stands for.
        id: Of its configuration, for the chosen platform.
        config: What it is made for, and what was noted about it.
        size: Bytes of its layers, as they came.
    """

    name: str
    digest: str
    id: str
    config: ImageConfig
    size: int

    def check(
        self,
        machine: Machine | None = None,
        args: Sequence[str] | None = None,
        *,
        profile: str | Profile = profiles.default,
    ) -> Contract:
        """Return whether a command of the image fits a machine, before anything is executed.

        Args:
            machine: None: this one; others are made with `contract.Machine.of`.
            args: The command; None: what the image is made for.
            profile: Whose filter and privileges it would have.

        Raises:
            ImageNotFoundError: It is no longer in the store, and cannot be pulled.
            ImageError, StoreError: It cannot be used.
        """
        root = image_root(self.name, str(self.config.platform))
        return check_image(root, args, machine=machine, profile=profile)


def loaded(store: Store, image: Loaded) -> Image:
    """Return what was loaded, for this machine's platform or another one that is there."""
    try:
        return described(store, image.reference, image.target, None)
    except PlatformError:
        for there in present(store, image.reference, image.target):
            return there
        raise


def present(store: Store, reference: Reference, target: Descriptor) -> Iterator[Image]:
    """Yield the images of a name that are there; an index may have what is none beside them."""
    for descriptor in store.present(target):
        document = store.document(descriptor)
        with contextlib.suppress(UnsupportedImageError):
            if isinstance(document, Manifest):
                yield _described(store, reference, target, document)


def described(
    store: Store, reference: Reference, target: Descriptor, platform: Platform | None
) -> Image:
    """Return the image that a name of the store leads to, of one platform if it has several."""
    manifest = store.manifest(target, platform=platform, what=reference.familiar)
    return _described(store, reference, target, manifest)


def _described(store: Store, reference: Reference, target: Descriptor, manifest: Manifest) -> Image:
    config = store.config(manifest)
    return Image(
        name=reference.familiar,
        digest=str(target.digest),
        id=str(config.digest),
        config=config,
        size=sum(layer.size for layer in manifest.layers),
    )
