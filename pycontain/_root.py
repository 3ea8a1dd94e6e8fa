# SPDX-License-Identifier: Apache-2.0
"""The root that an image gives: what the store lacks is pulled, what is packed is unpacked."""

from __future__ import annotations

import functools
import os

from . import _erofs
from ._image._config import ImageConfig
from ._image._descriptor import Descriptor
from ._image._exchange import is_place, load
from ._image._manifest import Manifest
from ._image._platform import Platform
from ._image._reference import Reference
from ._image._root import ImageRoot
from ._image._store import Layer, Store, default_path
from ._image._use import uses
from ._pull import OnProgress, pull
from ._unpack import open_store, sources, unpack_all
from .errors import ConfigError, ImageNotFoundError


def image_root(
    image: str,
    platform: str | None = None,
    *,
    insecure: bool = False,
    on_progress: OnProgress | None = None,
) -> ImageRoot:
    """Return the root of an image, which is pulled if the store does not have it.

    Args:
        image: A reference, as Docker takes it; or `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`,
            `docker-archive:FILE[:NAME]`, which is loaded first.
        platform: Such as linux/arm64; None: this machine's.
        insecure: Pull with any certificate, or by plain http.
        on_progress: Called with what happens in a pull, by several threads.

    Raises:
        InvalidReferenceError: Not a reference.
        RegistryError, ImageError: It cannot be pulled, or cannot be used.
        StoreError: The store cannot be read or written.
    """
    store = _store(default_path())
    if is_place(image):
        loaded = load(store, image)
        if len(loaded) != 1:
            names = ", ".join(each.reference.familiar for each in loaded)
            raise ConfigError(f"image: {image!r} has several images ({names}): add :NAME")
        image = loaded[0].reference.familiar
    reference = _parsed(image)
    wanted = None if platform is None else Platform.parse(platform)
    name = store.name(reference)
    if name is not None:
        try:
            return _known(store, name.target, wanted, reference.familiar)
        except ImageNotFoundError:
            pass  # another platform was pulled, or a part has been lost
    target = pull(store, reference, platform=wanted, insecure=insecure, on_progress=on_progress)
    return _known(store, target, wanted, reference.familiar)


_parsed = functools.lru_cache(maxsize=256)(Reference.parse)
_store = functools.lru_cache(maxsize=8)(open_store)


def _known(store: Store, target: Descriptor, platform: Platform | None, name: str) -> ImageRoot:
    """Return the root that a manifest or index stands for, which never changes, once unpacked."""
    found = _unpacked(store, target, platform, name)
    if not all(map(os.path.isdir, found.places)):  # removed since
        _unpacked.cache_clear()
        found = _unpacked(store, target, platform, name)
    return found


def let_go() -> None:
    """Keep nothing of images that no sandbox uses: before something is removed from the store."""
    _unpacked.cache_clear()
    uses().let_go()


@functools.lru_cache(maxsize=32)
def _unpacked(store: Store, target: Descriptor, platform: Platform | None, name: str) -> ImageRoot:
    manifest = store.manifest(target, platform=platform, what=name)
    config = store.config(manifest)
    with store.lease() as lease:
        layers = unpack_all(
            store, lease, sources(manifest, config), lambda layer: store.chunks(layer.blob)
        )
    return _described(store, layers, config, manifest, name)


def _described(
    store: Store, layers: list[Layer], config: ImageConfig, manifest: Manifest, name: str
) -> ImageRoot:
    directory = os.path.join(store.path, "layers")
    # A layer may come twice; overlayfs takes a directory once, and its lower place shows nothing
    # that the upper one does not.
    paths = {os.path.relpath(layer.path, directory): layer for layer in reversed(layers)}
    shown = {path: layer for path, layer in paths.items() if layer.form == "erofs"}
    return ImageRoot(
        name=name,
        id=str(config.digest),
        directory=directory,
        layers=tuple(paths),
        shown={path: _erofs.mount(layer) for path, layer in shown.items()},
        config=config,
        manifest=manifest,
    )
