# SPDX-License-Identifier: Apache-2.0
"""Garbage: what neither a name nor a living lease leads to. First into the trash, then removed."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pycontain._image import _media
from pycontain._image._config import CONFIG_MAX, ImageConfig
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import MANIFEST_MAX, parse
from pycontain._image._reference import Reference
from pycontain.errors import ImageError

from . import _names
from ._home import Home, close_unlocked, explained, try_lock
from ._ingest import blob_path
from ._layers import Form, layer_of, read_layer
from ._leases import living, remove_dead

PARTIAL_AGE_S: Final = 24 * 60 * 60.0
RemoveTree = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What went into the trash.

    Attributes:
        blobs, layers, leftovers: How many; leftovers are of interrupted work.
        size: Their bytes.
    """

    blobs: int = 0
    layers: int = 0
    leftovers: int = 0
    size: int = 0


@dataclass(slots=True)
class Marked:
    """What is not garbage."""

    blobs: set[Digest]
    layers: set[Digest]


def mark(home: Home) -> Marked:
    """Return what names and leases lead to. The caller holds the store's lock."""
    blobs, layers = living(home)
    marked = Marked(set(), set(layers))
    _follow(home, [*blobs, *(name.target for name in _names.read_all(home))], marked)
    return marked


def _follow(home: Home, targets: Iterable[Descriptor], marked: Marked) -> None:
    """Mark what the targets lead to.

    What a blob is depends on who refers to it: that somebody calls another's manifest a layer must
    not hide where it leads.
    """
    ahead, seen = list(targets), set[tuple[Digest, str]]()
    while ahead:
        target = ahead.pop()
        key = target.digest, target.media_type
        if key not in seen:
            seen.add(key)
            marked.blobs.add(target.digest)
            ahead += children(home, target, marked.layers)


def untag_unused(home: Home) -> list[Reference]:
    """Take the names of images back that no lease is about; return them.

    A lease is about an image if it keeps its manifest, or all layers of one of its manifests. The
    caller holds the store's lock alone.
    """
    blobs, layers = living(home)
    kept = Marked(set(), set(layers))
    _follow(home, blobs, kept)
    gone = [name for name in _names.read_all(home) if not _is_used(home, name.target, kept)]
    for name in gone:
        _names.delete(home, name.reference)
    return [name.reference for name in gone]


def _is_used(home: Home, target: Descriptor, kept: Marked) -> bool:
    if target.digest in kept.blobs:
        return True
    if target.media_type not in _media.CONFIGS:
        return any(_is_used(home, child, kept) for child in children(home, target))
    with contextlib.suppress(ImageError, FileNotFoundError):
        with open(blob_path(home, target.digest), "rb") as file:
            config = ImageConfig.parse(file.read(CONFIG_MAX))
        ids = list(zip(config.diff_ids, config.chain_ids, strict=True))
        return bool(ids) and all(kept.layers.intersection(each) for each in ids)
    return False


def children(home: Home, target: Descriptor, layers: set[Digest] | None = None) -> list[Descriptor]:
    """Return the blobs that a blob refers to; adds the layers that a configuration is about.

    What is not here or damaged leads nowhere.
    """
    kind = target.media_type
    limit = CONFIG_MAX if kind in _media.CONFIGS else MANIFEST_MAX
    if kind not in _media.CONFIGS | _media.MANIFESTS | _media.INDEXES or target.size > limit:
        return []
    try:
        with open(blob_path(home, target.digest), "rb") as file:
            raw = file.read(limit)
    except FileNotFoundError:
        return []
    with contextlib.suppress(ImageError):
        if kind not in _media.CONFIGS:
            return list(parse(raw, media_type=kind).children)
        if layers is not None:
            config = ImageConfig.parse(raw)
            layers.update(config.diff_ids, config.chain_ids)
    return []


def sweep(home: Home, *, partial_age_s: float = PARTIAL_AGE_S) -> Swept:
    """Rename all garbage into the trash. The caller holds the store's lock alone."""
    remove_dead(home)
    marked = mark(home)
    blobs = [(path, size) for digest, path, size in all_blobs(home) if digest not in marked.blobs]
    layers = [
        (path, size) for digest, _, path, size in all_layers(home) if digest not in marked.layers
    ]
    leftovers = _discard_leftovers(home, time.time() - partial_age_s)
    for path, _ in (*blobs, *layers):
        home.discard(path)
    sizes = [*leftovers, *(size for _, size in (*blobs, *layers))]
    return Swept(blobs=len(blobs), layers=len(layers), leftovers=len(leftovers), size=sum(sizes))


def all_blobs(home: Home) -> Iterator[tuple[Digest | None, str, int]]:
    """Yield digest, path and size of each blob; None for a file that is none."""
    for algorithm in ("sha256", "sha512"):
        with os.scandir(home.at("blobs", algorithm)) as entries:
            for entry in entries:
                digest = None
                with contextlib.suppress(ImageError):
                    digest = Digest(algorithm, entry.name)
                with contextlib.suppress(FileNotFoundError):
                    yield digest, entry.path, entry.stat(follow_symlinks=False).st_size


def all_layers(home: Home) -> Iterator[tuple[Digest | None, Form, str, int]]:
    """Yield id, form, path and size of each layer; None for what is none."""
    with os.scandir(home.at("layers")) as entries:
        for entry in entries:
            digest, size = None, 0
            form: Form = "directory"
            with contextlib.suppress(ImageError):
                digest, form = layer_of(entry.name)
                layer = read_layer(home, digest, form)
                size = 0 if layer is None else layer.size
            yield digest, form, entry.path, size


def _discard_leftovers(home: Home, before: float) -> list[int]:
    """Rename what nobody works on into the trash; return the sizes.

    At once, but for partial blobs since `before`, which wait for an heir. Locked meanwhile: who
    gets the lock afterwards sees that the file is gone.
    """
    sizes = []
    with os.scandir(home.at("ingest")) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # it has been finished
                found = entry.stat(follow_symlinks=False)
                waits = entry.name.endswith(".partial") and found.st_mtime > before
                if not waits and _discard_unlocked(home, entry.path, found.st_mode):
                    sizes.append(found.st_size if stat.S_ISREG(found.st_mode) else 0)
    return sizes


def _discard_unlocked(home: Home, path: str, mode: int) -> bool:
    flags = os.O_RDWR if stat.S_ISREG(mode) else os.O_RDONLY | os.O_DIRECTORY
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return try_lock(fd) and home.discard(path)
    finally:
        close_unlocked(fd)


def remove_own_tree(path: str) -> None:
    """Remove a file or a tree whose directories are this user's, whatever their modes and depth.

    Directories are renamed to beside the tree before they are removed, so that no path is long.
    """
    folder = os.path.dirname(path)
    ahead = [path]
    while ahead:
        current = ahead.pop()
        try:
            os.unlink(current)
            continue
        except IsADirectoryError:
            os.chmod(current, 0o700)
        with os.scandir(current) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                ahead.append(f"{folder}/{secrets.token_hex(16)}")
                os.rename(entry.path, ahead[-1])
        os.rmdir(current)


def empty_trash(home: Home, remove_tree: RemoveTree) -> list[str]:
    """Remove what is in the trash; return what could not be removed, with the reasons."""
    stuck = []
    for path in _paths(home.at("trash")):
        try:
            remove_tree(path)
        except FileNotFoundError:
            continue  # by another process
        except OSError as error:
            stuck.append(f"{path}: {error.strerror or error}")
    return stuck


def _paths(folder: str) -> Iterable[str]:
    with explained(folder):
        return [f"{folder}/{name}" for name in os.listdir(folder)]
