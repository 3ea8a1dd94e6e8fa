# SPDX-License-Identifier: Apache-2.0
"""Images: fetched and sent, listed, removed, loaded and saved.

`Sandbox("python:3.12-slim")` uses them.

Each user has a store of their own, root has another: $PYCONTAIN_STORE, else /var/lib/pycontain or
~/.local/share/pycontain.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

from ._configure import let_go
from ._image import _exchange
from ._image._archive import Format
from ._image._config import ImageConfig
from ._image._find import Entry, find
from ._image._platform import Platform
from ._image._reference import Reference
from ._image._registry._credentials import Credentials
from ._image._store import Store, Swept, Usage
from ._pull import LayerProgress, OnProgress, Progress
from ._pull import pull as _pull
from ._stored import Image, described, loaded, present
from ._unpack import open_store
from .errors import ConfigError, InvalidReferenceError

__all__ = [
    "Image",
    "ImageConfig",
    "LayerProgress",
    "Progress",
    "Swept",
    "Usage",
    "df",
    "import_rootfs",
    "inspect",
    "list",
    "load",
    "prune",
    "pull",
    "push",
    "remove",
    "save",
]


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
    return described(store, reference, target, wanted)


def _credentials(username: str | None, password: str | None) -> Credentials | None:
    if (username is None) != (password is None):
        raise ConfigError("username and password: give both or neither")
    if username is None or password is None:
        return None
    return Credentials(username=username, password=password)


def push(
    name: str,
    to: str | None = None,
    *,
    insecure: bool = False,
    username: str | None = None,
    password: str | None = None,
    progress: OnProgress | None = None,
) -> str:
    """Upload an image; return the digest that it has in the registry.

    Args:
        name: Of the image in the store, or its id or the beginning of that.
        to: Registry, repository and tag; None: those of `name`.
        insecure, username, password, progress: As in `pull`.

    Raises:
        ImageNotFoundError: There is no such image.
        InvalidReferenceError: Not a reference, or one with a digest.
        UnsupportedImageError: A layer may not be distributed.
        RegistryError: The registry refuses it.
        StoreError: The store cannot be read.
    """
    from ._push import push as push_to  # noqa: PLC0415 - few need it

    digest = push_to(
        open_store(),
        name,
        Reference.parse(name if to is None else to),
        insecure=insecure,
        credentials=_credentials(username, password),
        on_progress=progress,
    )
    return str(digest)


def list() -> builtins.list[Image]:  # noqa: A001 - as in `docker image list`
    """Return the images in the store by name, each for each platform that it is there for.

    Raises:
        StoreError: The store cannot be read.
    """
    store = open_store()
    return [
        image for name in store.names() for image in present(store, name.reference, name.target)
    ]


def inspect(ref: str, platform: str | None = None) -> Image:
    """Return an image that is in the store.

    Args:
        ref: Its name, or its id or the beginning of that.
        platform: Such as "linux/arm64"; None: this machine's.

    Raises:
        ImageNotFoundError: It is not there.
        PlatformError: It is there, but not for this platform.
        StoreError: The store cannot be read.
    """
    store = open_store()
    wanted = None if platform is None else Platform.parse(platform)
    entry = find(store, ref)
    return described(store, _named(entry, ref) or entry.references[0], entry.target, wanted)


def remove(ref: str) -> Swept:
    """Take a name away, and what nothing else needs of the image.

    What a living sandbox stands on goes with a later `prune`.

    Args:
        ref: The name; or the image's id or the beginning of that, for all its names.

    Raises:
        ImageNotFoundError: There is no such image.
        StoreError: The store cannot be written.
    """
    store = open_store()
    entry = find(store, ref)
    named = _named(entry, ref)
    for reference in entry.references if named is None else [named]:
        store.untag(reference)
    return _swept(store)


def load(
    source: str | os.PathLike[str] | BinaryIO, name: str | None = None
) -> builtins.list[Image]:
    """Put the images of an archive into the store: Docker's, Podman's, or an OCI layout.

    Args:
        source: The path of an archive, perhaps compressed, or of a directory with a layout; with
            "docker-archive:", "oci-archive:" or "oci:" before it and :NAME behind it, that image
            of it; or a file that is open for reading.
        name: What to call the image; None: as it is called there.

    Raises:
        ConfigError, InvalidReferenceError: The source or the name is wrong.
        ImageError: No archive of images, or one that is broken or hostile.
        StoreError: The store is full or cannot be written.
        OSError: It cannot be read.
    """
    store = open_store()
    return [loaded(store, image) for image in _exchange.load(store, source, name=name)]


def save(
    refs: str | Sequence[str],
    destination: str | os.PathLike[str] | BinaryIO,
    *,
    form: Format | None = None,
    platform: str | None = None,
) -> None:
    """Write images to an archive. The same images give the same bytes.

    Args:
        refs: Names or ids.
        destination: A path, replaced all at once, or a file that is open for writing. Before a path
            there may be "oci-archive:", "docker-archive:", or "oci:" for a layout in a new
            directory; behind it :NAME, what to call the image there.
        form: Instead of such a word: "oci-archive", which is the default, "docker-archive" or
            "oci-layout".
        platform: Such as "linux/arm64"; None: all that are in the store.

    Raises:
        ConfigError, InvalidReferenceError: A name, the destination or the platform is wrong.
        ImageNotFoundError: An image, or a part of it, is not there.
        ImageError: An image is broken, or has nothing for the platform.
        OSError: It cannot be written.
    """
    names = [refs] if isinstance(refs, str) else refs
    _exchange.save(open_store(), names, destination, form=form, platform=platform)


def import_rootfs(
    source: str | os.PathLike[str] | BinaryIO,
    name: str,
    *,
    platform: str | None = None,
    **config: Any,
) -> Image:
    """Make an image of the archive of a root directory; the same archive gives the same image.

    Args:
        source: The path of a tar archive, perhaps compressed, or a file that is open for reading.
        name: What to call the image.
        platform: What it is for, such as "linux/arm64"; None: this machine's.
        config: What the image says of its commands, by the names of `ImageConfig`: cmd, entrypoint,
            env, user, working_dir, labels and others.

    Raises:
        ConfigError, InvalidReferenceError: The name, the platform or a value is wrong.
        LayerError: No tar archive, or cut off.
        StoreError: The store is full or cannot be written.
        OSError: It cannot be read.
    """
    store = open_store()
    made = _exchange.import_rootfs(store, source, name, platform=platform, **config)
    return loaded(store, made)


def prune(*, unused: bool = False) -> Swept:
    """Remove what neither a name nor a living sandbox needs, and interrupted downloads.

    Args:
        unused: Also the images, with their names, that no living sandbox stands on.

    Raises:
        StoreError: The store cannot be written.
    """
    let_go()
    return open_store().gc(partial_age_s=0, unused=unused)


def _swept(store: Store) -> Swept:
    let_go()
    return store.gc()


def df() -> Usage:
    """Return what the store has, and what it costs. Raises StoreError."""
    return open_store().usage()


def _named(entry: Entry, text: str) -> Reference | None:
    """Return the name of an image that a text is, None if it is an id."""
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        return None
    return reference if reference in entry.references else None
