# SPDX-License-Identifier: Apache-2.0
"""Images of the store by what people call them: a name, an id, or the beginning of an id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pycontain.errors import ImageNotFoundError, InvalidReferenceError

from . import _media
from ._descriptor import Descriptor
from ._digest import Digest
from ._reference import Reference
from ._store import Store

_DOCUMENTS: Final = _media.INDEXES | _media.MANIFESTS | _media.CONFIGS
_ID = re.compile(r"(sha256:)?([0-9a-f]{4,64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A named image.

    Attributes:
        references: All its names, sorted.
        target: The manifest or index that they stand for.
    """

    references: tuple[Reference, ...]
    target: Descriptor


def entries(store: Store) -> list[Entry]:
    """Return each image of the store once, by its first name. Raises StoreError."""
    found: dict[Digest, Entry] = {}
    for name in store.names():
        known = found.get(name.target.digest)
        references = (*(known.references if known else ()), name.reference)
        found[name.target.digest] = Entry(references=references, target=name.target)
    return list(found.values())


def find(store: Store, text: str) -> Entry:
    """Return the image that a text means, as Docker finds it.

    A name comes before the beginning of an id. Ids are those of an image's index, of its manifests
    and of its configurations.

    Raises:
        ImageNotFoundError: There is none, or several have an id that begins like this.
        StoreError: The store cannot be read.
    """
    known = entries(store)
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError as error:
        if not _ID.fullmatch(text):
            raise error from None
    else:
        for entry in known:
            if reference in entry.references and not text.startswith("sha256:"):
                return entry
    match = _ID.fullmatch(text)
    found = [entry for entry in known if match and _has_id(store, entry, match[2])]
    if len(found) > 1:
        names = ", ".join(entry.references[0].familiar for entry in found)
        raise ImageNotFoundError(
            f"several images have an id like {text!r}: {names}; say more of it"
        )
    if not found:
        raise ImageNotFoundError(f"no image {text[:200]!r} in the store: pull or load it first")
    return found[0]


def _has_id(store: Store, entry: Entry, beginning: str) -> bool:
    documents = (blob for blob in store.walk(entry.target) if blob.media_type in _DOCUMENTS)
    return any(blob.digest.hex.startswith(beginning) for blob in documents)
