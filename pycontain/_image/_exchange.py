# SPDX-License-Identifier: Apache-2.0
"""Images to and from archives, by the names that people give: of images, of places, of platforms.

A place is a path or FORM:PATH[:NAME], as skopeo and podman write it. FORM is "oci" for a layout in
a directory, "oci-archive" for one in an archive, or "docker-archive"; NAME is an image in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

from pycontain.errors import ConfigError

from . import _archive
from ._archive import Format, Loaded
from ._descriptor import Descriptor
from ._find import find
from ._platform import Platform
from ._reference import Reference
from ._store import Store

FORMS: Final[dict[str, Format]] = {
    "oci": "oci-layout",
    "oci-archive": "oci-archive",
    "docker-archive": "docker-archive",
}
# Forms of others, which a path would hardly begin with.
_ELSEWHERE: Final = frozenset(
    ("docker", "docker-daemon", "containers-storage", "dir", "ostree", "sif", "tarball")
)

Source: TypeAlias = str | os.PathLike[str] | BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where images are, outside of the store.

    Attributes:
        form: None: not said; to be seen when it is read.
        path: Of the directory or archive.
        name: Of one image in it.
    """

    form: Format | None
    path: str
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return what a text such as "x.tar" or "docker-archive:x.tar:python:3.12" means.

        Raises:
            ConfigError: A form that is not known, or no path.
        """
        form, colon, rest = text.partition(":")
        if colon and form in _ELSEWHERE:
            raise ConfigError(f"{text[:200]!r}: {form!r} is not one of {', '.join(FORMS)}")
        if not colon or form not in FORMS:
            path, name = text, ""
        elif os.path.exists(rest):
            path, name = rest, ""
        else:
            path, _, name = rest.partition(":")
        if not path or "\0" in path:
            raise ConfigError(f"{text[:200]!r}: the path is missing")
        return cls(form=FORMS.get(form) if colon else None, path=path, name=name or None)


def is_place(text: str) -> bool:
    """Tell whether a text names a place, and not an image: it begins with a form."""
    form, colon, _ = text.partition(":")
    return bool(colon) and form in FORMS


def load(store: Store, source: Source, *, name: str | None = None) -> tuple[Loaded, ...]:
    """Put the images of a place into the store and name them.

    Args:
        store: The store.
        source: A place, or an open file.
        name: What to call the image; None: as it is called there.

    Raises:
        ConfigError, InvalidReferenceError: The place or the name is wrong.
        ImageError: See `_archive.load`.
        OSError: It cannot be read.
    """
    reference = None if name is None else Reference.parse(name)
    if not isinstance(source, str):
        return _archive.load(store, source, reference=reference)
    place = Place.parse(source)
    return _archive.load(store, place.path, select=place.name, reference=reference)


def save(
    store: Store,
    names: Sequence[str],
    destination: Source,
    *,
    form: Format | None = None,
    platform: str | None = None,
) -> None:
    """Write images to a place.

    Args:
        store: The store.
        names: Names or ids of images.
        destination: A place, or a file that is open for writing. The place's NAME is what the
            image is called there, if it is one.
        form: None: the place's, else "oci-archive".
        platform: None: all that are here.

    Raises:
        ConfigError, InvalidReferenceError: A name, the place or the platform is wrong.
        ImageNotFoundError: No such image.
        ImageError: See `_archive.save`.
        OSError: It cannot be written.
    """
    if not names:
        raise ConfigError("save: no image is named")
    place = Place.parse(destination) if isinstance(destination, str) else None
    wanted = None if platform is None else Platform.parse(platform)
    with store.lease() as lease:
        images = [image for name in names for image in _images(store, name)]
        lease.keep(*(target for _, target in images))
        if place is not None and place.name is not None:
            images = [(_new_name(place.name, images), images[0][1])]
        known = form or (place.form if place is not None else None) or "oci-archive"
        to = destination if place is None else place.path
        _archive.save(store, images, to, known, platform=wanted)


def _images(store: Store, name: str) -> list[tuple[Reference | None, Descriptor]]:
    """Return an image under the name that was given, or under all of its own."""
    entry = find(store, name)
    given = [reference for reference in entry.references if _is_called(reference, name)]
    return [(reference, entry.target) for reference in given or entry.references]


def _is_called(reference: Reference, name: str) -> bool:
    try:
        return Reference.parse(name) == reference
    except ValueError:
        return False


def _new_name(name: str, images: Sequence[tuple[Reference | None, Descriptor]]) -> Reference:
    if len({target.digest for _, target in images}) != 1:
        raise ConfigError(f"save: {name[:200]!r} can be the name of one image only")
    return Reference.parse(name)


def import_rootfs(
    store: Store, source: Source, name: str, *, platform: str | None = None, **config: Any
) -> Loaded:
    """Make an image of the archive of a root directory.

    Args:
        store: The store.
        source: The path of a tar archive, perhaps compressed, or an open file.
        name: What to call the image.
        platform: What it is for; None: this machine's.
        config: cmd, entrypoint, env, user, working_dir, labels and others of `ImageConfig.derive`.

    Raises:
        ConfigError, InvalidReferenceError: The name, the platform or a value is wrong.
        LayerError: No tar archive, or cut off.
        ImageError: See `_archive.import_rootfs`.
        OSError: It cannot be read.
    """
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise ConfigError(f"{name!r}: the digest of a new image cannot be chosen")
    wanted = None if platform is None else Platform.parse(platform)
    return _archive.import_rootfs(store, source, reference, platform=wanted, **config)
