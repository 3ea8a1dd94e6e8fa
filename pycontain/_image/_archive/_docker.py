# SPDX-License-Identifier: Apache-2.0
"""Reading docker-archives: manifest.json, a configuration and layers, wherever they are.

There is no specification but Docker's image/tarexport and github.com/moby/docker-image-spec. The
layers may be compressed, repeated, or links to each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from pycontain._image import _media
from pycontain._image._config import CONFIG_MAX, ImageConfig
from pycontain._image._decompress import decompress
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._json import Object, loads_list
from pycontain._image._manifest import LAYERS_MAX, MANIFEST_MAX, Manifest
from pycontain._image._media import MAGIC_MAX, Compression, sniff
from pycontain._image._reference import Reference
from pycontain._image._store import Lease, Store
from pycontain.errors import (
    DigestMismatchError,
    LayerError,
    LimitExceededError,
    ManifestError,
    UnsupportedImageError,
)

from ._layout import copy_file
from ._names import Found, check_unique, is_named, not_found, reference_of
from ._source import CHUNK, EXPANDED_MAX, Source, SourceFile, read_all

_MEDIA_TYPES: dict[Compression, str] = {
    "none": _media.OCI_LAYER,
    "gzip": _media.OCI_LAYER_GZIP,
    "zstd": _media.OCI_LAYER_ZSTD,
}


def read_docker(store: Store, lease: Lease, source: Source, select: str | None) -> list[Found]:
    """Put a docker-archive's images into the store.

    Raises:
        ImageNotFoundError: No image of that name, or a member is missing.
        ManifestError: It breaks the rules, or a name stands for several images.
        LayerError: A layer is not what the configuration says.
        LimitExceededError, UnsupportedImageError: As they say.
    """
    rows = loads_list(
        read_all(source, "manifest.json", MANIFEST_MAX), "manifest.json", limit=MANIFEST_MAX
    )
    wanted = [row for row in rows if select is None or is_named(_tags(row), select)]
    if select is not None and not wanted:
        raise not_found(select, (tag for row in rows for tag in _tags(row)))
    images = [(row, _read_image(store, lease, source, row)) for row in wanted]
    check_unique(((tag,), target.digest) for row, target in images for tag in _tags(row))
    return [
        Found(reference=reference, target=target)
        for row, target in images
        for reference in _references(row, target, select)
    ]


def _tags(row: Object) -> tuple[str, ...]:
    return row.texts("RepoTags") or ()


def _references(row: Object, target: Descriptor, select: str | None) -> list[Reference]:
    tags = [tag for tag in _tags(row) if select is None or is_named([tag], select)]
    return [reference_of([tag], target.digest) for tag in tags] or [reference_of([], target.digest)]


def _read_image(store: Store, lease: Lease, source: Source, row: Object) -> Descriptor:
    """Put one image into the store and return its manifest's descriptor."""
    raw = read_all(source, _member(row, row.text("Config"), "Config"), CONFIG_MAX)
    config = ImageConfig.parse(raw)
    names = row.texts("Layers") or ()
    if len(names) > LAYERS_MAX:
        raise LimitExceededError(
            f"{row.where}: more than {LAYERS_MAX} layers", limit="layers", allowed=LAYERS_MAX
        )
    if len(names) != len(config.diff_ids):
        raise ManifestError(
            f"{row.where}: {len(names)} layers, but the configuration has "
            f"{len(config.diff_ids)} diff_ids"
        )
    layers = [
        _read_layer(store, lease, source, _member(row, name, "Layers"), diff_id, number)
        for number, (name, diff_id) in enumerate(zip(names, config.diff_ids, strict=True))
    ]
    manifest = Manifest.build(store.put(lease, raw, _media.OCI_CONFIG), layers)
    manifest.check_image()
    return store.put(lease, manifest.raw, manifest.media_type)


def _member(row: Object, name: str, field: str) -> str:
    """Return the name of a member, which cannot lead anywhere else."""
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise row.wrong(field, f"{name[:200]!r} is not the name of a member")
    return name


def _read_layer(
    store: Store, lease: Lease, source: Source, name: str, diff_id: Digest, number: int
) -> Descriptor:
    """Put a layer into the store as it is in the archive, checked against its diff_id."""
    compression = sniff(source.open(name).read(MAGIC_MAX))
    if compression not in _MEDIA_TYPES:
        raise UnsupportedImageError(f"layer {number} ({name!r}): compressed with {compression}")
    media_type = _MEDIA_TYPES[compression]
    file = source.open(name)
    if compression == "none":
        target = Descriptor(media_type=media_type, digest=diff_id, size=file.size)
        try:
            copy_file(store, lease, target, file)
        except DigestMismatchError as error:
            raise _mismatch(number, diff_id) from error
        return target
    actual = hashlib.new(diff_id.algorithm, usedforsecurity=False)
    with store.spool(lease) as spool:
        for piece in decompress(
            _copied(file, spool.write), compression, total_max=EXPANDED_MAX, what=f"layer {number}"
        ):
            actual.update(piece)
        if actual.hexdigest() != diff_id.hex:
            raise _mismatch(number, diff_id)
        digest, size = spool.commit()
    return Descriptor(media_type=media_type, digest=digest, size=size)


def _copied(file: SourceFile, write: Callable[[bytes], None]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        write(chunk)
        yield chunk


def _mismatch(number: int, diff_id: Digest) -> LayerError:
    return LayerError(
        f"layer {number}: uncompressed content does not match config diff_id {diff_id}"
    )
