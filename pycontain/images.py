# SPDX-License-Identifier: Apache-2.0
"""Images: fetched, listed, removed. `Sandbox("python:3.12-slim")` uses them.

Each user has a store of their own, root has another: $PYCONTAIN_STORE, else /var/lib/pycontain or
~/.local/share/pycontain.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass

from ._image._config import ImageConfig
from ._image._descriptor import Descriptor
from ._image._platform import Platform
from ._image._reference import Reference
from ._image._registry._credentials import Credentials
from ._image._store import Store, Swept, Usage
from ._image._use import uses
from ._pull import LayerProgress, OnProgress, Progress
from ._pull import pull as _pull
from ._unpack import open_store
from .errors import ConfigError, ImageNotFoundError

__all__ = [
    "Image",
    "ImageConfig",
    "LayerProgress",
    "Progress",
    "Swept",
    "Usage",
    "df",
    "inspect",
    "list",
    "prune",
    "pull",
    "remove",
]


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


def pull(
    ref: str,
    platform: str | None = None,
    *,
    insecure: bool = False,
    username: str | None = None,
    password: str | None = None,
    progress: OnProgress | None = None,
) -> Image:
    """Fetch an image from its registry, unpacked and ready.

    Args:
        ref: Such as "python:3.12-slim", as Docker takes it.
        platform: Such as "linux/arm64"; None: this machine's.
        insecure: Take any certificate, and plain http. A registry on this machine may have plain
            http anyway.
        username, password: Instead of those that Docker and Podman have stored.
        progress: Called with what happens (`LayerProgress`, and what the registry makes us wait
            for), by several threads. `str` of each that is no `LayerProgress` is a sentence.

    Raises:
        InvalidReferenceError: Not a reference.
        RegistryError: The registry does not have it, or does not give it.
        PlatformError: It is not there for this platform; says which are.
        ImageError: It is broken, hostile, or of a kind that cannot run.
        StoreError: The store is full or cannot be written. What came so far helps the next try.
    """
    reference = Reference.parse(ref)
    wanted = None if platform is None else Platform.parse(platform)
    store = open_store()
    target = _pull(
        store,
        reference,
        platform=wanted,
        insecure=insecure,
        credentials=_credentials(username, password),
        on_progress=progress,
    )
    return _image(store, reference, target, wanted)


def _credentials(username: str | None, password: str | None) -> Credentials | None:
    if (username is None) != (password is None):
        raise ConfigError("username and password: give both or neither")
    if username is None or password is None:
        return None
    return Credentials(username=username, password=password)


def list() -> builtins.list[Image]:  # noqa: A001 - as in `docker image list`
    """Return the images in the store for this machine's platform, by name.

    One that is there for other platforms only is left out; `inspect` tells them apart.

    Raises:
        StoreError: The store cannot be read.
    """
    store = open_store()
    found = []
    for name in store.names():
        try:
            found.append(_image(store, name.reference, name.target, None))
        except LookupError:
            continue
    return found


def inspect(ref: str, platform: str | None = None) -> Image:
    """Return an image that is in the store.

    Raises:
        ImageNotFoundError: It is not there.
        PlatformError: It is there, but not for this platform.
        StoreError: The store cannot be read.
    """
    reference = Reference.parse(ref)
    store = open_store()
    wanted = None if platform is None else Platform.parse(platform)
    return _image(store, reference, _target(store, reference), wanted)


def remove(ref: str) -> Swept:
    """Take a name away, and what nothing else needs of the image.

    What a living sandbox stands on goes with a later `prune`.

    Raises:
        ImageNotFoundError: There is no such name.
        StoreError: The store cannot be written.
    """
    reference = Reference.parse(ref)
    store = open_store()
    if not store.untag(reference):
        raise ImageNotFoundError(f"no image {reference.familiar!r} in the store")
    return _swept(store)


def prune() -> Swept:
    """Remove what neither a name nor a living sandbox needs. Raises StoreError."""
    return _swept(open_store())


def _swept(store: Store) -> Swept:
    uses().let_go()
    return store.gc()


def df() -> Usage:
    """Return what the store has, and what it costs. Raises StoreError."""
    return open_store().usage()


def _target(store: Store, reference: Reference) -> Descriptor:
    name = store.name(reference)
    if name is None:
        raise ImageNotFoundError(
            f"no image {reference.familiar!r} in the store: pull or load it first"
        )
    return name.target


def _image(
    store: Store, reference: Reference, target: Descriptor, platform: Platform | None
) -> Image:
    manifest = store.manifest(target, platform=platform, what=reference.familiar)
    config = store.config(manifest)
    return Image(
        name=reference.familiar,
        digest=str(target.digest),
        id=str(config.digest),
        config=config,
        size=sum(layer.size for layer in manifest.layers),
    )
