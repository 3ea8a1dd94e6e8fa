# SPDX-License-Identifier: Apache-2.0
"""Names of images in archives, where they are whatever the writer made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pycontain._image._descriptor import REF_NAME, Descriptor
from pycontain._image._digest import Digest
from pycontain._image._reference import Reference
from pycontain.errors import ImageNotFoundError, InvalidReferenceError, ManifestError

CONTAINERD_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image of an archive, in the store."""

    reference: Reference
    target: Descriptor


def of_entry(entry: Descriptor) -> tuple[str, ...]:
    """Return the names of an entry of a layout's index, the best first.

    containerd and Docker write the full name beside a tag, Podman the full name in its place,
    umoci and skopeo what the user said.
    """
    names = (entry.annotations.get(CONTAINERD_NAME), entry.annotations.get(REF_NAME))
    return tuple(name for name in names if name)


def reference_of(names: Iterable[str], digest: Digest) -> Reference:
    """Return the first of the names that is a reference, or a name made of the digest."""
    for name in names:
        try:
            return Reference.parse(name)
        except InvalidReferenceError:
            continue
    return Reference(registry="localhost", repository="loaded", digest=digest)


def is_named(names: Iterable[str], wanted: str) -> bool:
    """Tell whether one of the names is the wanted one, as a text or as a reference."""
    names = tuple(names)
    if wanted in names:
        return True
    try:
        return Reference.parse(wanted) in {Reference.parse(name) for name in names}
    except InvalidReferenceError:
        return False


def check_unique(rows: Iterable[tuple[tuple[str, ...], Digest]]) -> None:
    """Raise ManifestError if a name stands for several images."""
    seen: dict[str, Digest] = {}
    for names, digest in rows:
        if names and seen.setdefault(names[0], digest) != digest:
            raise ManifestError(
                f"ambiguous: {names[0][:200]!r} names both {seen[names[0]]} and {digest}"
            )


def not_found(wanted: str, names: Iterable[str]) -> ImageNotFoundError:
    """Return an error that says what there is."""
    there = ", ".join(name[:100] for name in names) or "images without names"
    return ImageNotFoundError(f"no image is named {wanted[:200]!r}; there are: {there}")
