# SPDX-License-Identifier: Apache-2.0
"""Names of images: one small file each, replaced by rename(2)."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from dataclasses import dataclass
from typing import Final

from pycontain._image._descriptor import Descriptor
from pycontain._image._json import dumps, loads
from pycontain._image._reference import Reference
from pycontain.errors import ImageError, StoreError

from ._home import Home, explained, sync_folder

_NAME_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name and what it stands for.

    Attributes:
        reference: The name.
        target: A manifest, or an index of which only some manifests may be here.
        time: When it was given, in seconds since 1970.
    """

    reference: Reference
    target: Descriptor
    time: float


def _file(reference: Reference) -> str:
    return f"names/{hashlib.sha256(str(reference).encode(), usedforsecurity=False).hexdigest()}"


def write(home: Home, reference: Reference, target: Descriptor) -> None:
    """Give a name, which may have stood for something else. Raises StoreError."""
    row = {"reference": str(reference), "target": target.to_json(), "time": int(time.time())}
    home.write_atomically(_file(reference), dumps(row))


def read(home: Home, reference: Reference) -> Name | None:
    """Return what a name stands for. Raises StoreError."""
    return _read(home.at(_file(reference)))


def read_all(home: Home) -> list[Name]:
    """Return all names, sorted. Raises StoreError."""
    folder = home.at("names")
    with explained(folder):
        files = os.listdir(folder)
    found = (_read(f"{folder}/{file}") for file in files)
    return sorted((name for name in found if name), key=lambda name: name.reference.familiar)


def _read(path: str) -> Name | None:
    try:
        with explained(path), open(path, "rb") as file:
            raw = file.read(_NAME_MAX)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        return _parse(raw)
    except ImageError as error:
        raise StoreError(
            errno.EBADMSG,
            f"image store: damaged: {error}. Remove the file and pull the image again",
            path,
        ) from error


def _parse(raw: bytes) -> Name:
    row = loads(raw, "name", limit=_NAME_MAX)
    target = row.object("target")
    if target is None:
        raise row.wrong("target", "missing")
    return Name(
        reference=Reference.parse(row.text("reference")),
        target=Descriptor.parse(target),
        time=row.integer("time") or 0,
    )


def delete(home: Home, reference: Reference) -> bool:
    """Take a name back; False: it was not given. Raises StoreError."""
    path = home.at(_file(reference))
    try:
        with explained(path):
            os.unlink(path)
            sync_folder(home.at("names"))
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
        raise
    return True
