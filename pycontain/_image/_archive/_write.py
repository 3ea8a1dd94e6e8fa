# SPDX-License-Identifier: Apache-2.0
"""Images from the store into archives. The same images give the same bytes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal, TypeAlias

from pycontain._image import _media
from pycontain._image._decompress import decompress
from pycontain._image._descriptor import REF_NAME, Descriptor
from pycontain._image._digest import Buffer, Digest
from pycontain._image._json import dumps
from pycontain._image._manifest import Index, Manifest
from pycontain._image._media import MAGIC_MAX, sniff
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store
from pycontain._image._whole import whole
from pycontain.errors import ImageNotFoundError, LayerError

from ._layout import LAYOUT_VERSION
from ._names import CONTAINERD_NAME
from ._sink import DirectorySink, Sink, TarSink
from ._source import EXPANDED_MAX

Format: TypeAlias = Literal["oci-layout", "oci-archive", "docker-archive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What is to be written: names, and a manifest or index of the store."""

    references: tuple[Reference, ...]
    target: Descriptor


def save(
    store: Store,
    images: Iterable[tuple[Reference | None, Descriptor]],
    destination: str | os.PathLike[str] | BinaryIO,
    kind: Format,
    *,
    platform: Platform | None = None,
) -> None:
    """Write images, all at once: nothing is there if it fails.

    Args:
        store: The store.
        images: Names, None: without, and what they stand for; a lease should keep them.
        destination: A directory for "oci-layout", new or empty; else a file, replaced, or one that
            is open for writing.
        kind: The form.
        platform: Only this one of each image. None: all that are here; a docker-archive has one of
            each image, this machine's or the only one.

    Raises:
        ImageNotFoundError: Parts of an image are not here.
        PlatformError: Nothing for the platform, or several and none chosen.
        UnsupportedImageError: Not an image, in a docker-archive.
        LayerError, DigestMismatchError: The store's content is damaged.
        OSError: It cannot be written.
    """
    grouped = _group(images)
    write = _write_docker if kind == "docker-archive" else _write_layout
    with _sink(destination, kind) as sink:
        write(store, grouped, sink, platform)


def _group(images: Iterable[tuple[Reference | None, Descriptor]]) -> list[Image]:
    """Return each image once, with all its names."""
    found: dict[Digest, Image] = {}
    for reference, target in images:
        known = found.setdefault(target.digest, Image(references=(), target=target))
        if reference is not None and reference not in known.references:
            known = replace(known, references=(*known.references, reference))
        found[target.digest] = known
    return list(found.values())


@contextlib.contextmanager
def _sink(destination: str | os.PathLike[str] | BinaryIO, kind: Format) -> Iterator[Sink]:
    if not isinstance(destination, str | os.PathLike):
        sink = TarSink(destination)
        yield sink
        sink.close()
        return
    path = os.path.abspath(destination)
    staged = f"{path}.{secrets.token_hex(8)}"
    try:
        if kind == "oci-layout":
            yield DirectorySink(staged)
        else:
            with open(staged, "xb") as file:
                sink = TarSink(file)
                yield sink
                sink.close()
        os.rename(staged, path)
    except BaseException:
        if os.path.isdir(staged):
            shutil.rmtree(staged)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
        raise


def _write_layout(
    store: Store, images: Sequence[Image], sink: Sink, platform: Platform | None
) -> None:
    """Write an OCI layout."""
    entries: list[Descriptor] = []
    made: dict[Digest, bytes] = {}
    blobs: dict[Digest, Descriptor] = {}
    for image in images:
        root = whole(store, image.target, platform)
        entries += [_entry(root.target, name) for name in image.references] or [root.target]
        blobs.update({blob.digest: blob for blob in root.blobs})
        if root.made is not None:
            made[root.target.digest] = root.made
    sink.add("oci-layout", dumps({"imageLayoutVersion": LAYOUT_VERSION}))
    sink.add("index.json", Index.build(entries).raw)
    for digest in sorted(blobs.keys() | made.keys()):
        name = f"blobs/{digest.algorithm}/{digest.hex}"
        if digest in made:
            sink.add(name, made[digest])
        else:
            sink.add_stream(name, blobs[digest].size, store.chunks(blobs[digest]))


def _entry(root: Descriptor, reference: Reference) -> Descriptor:
    names = {REF_NAME: str(reference), CONTAINERD_NAME: str(reference)}
    return replace(root, annotations=names)


def _write_docker(
    store: Store, images: Sequence[Image], sink: Sink, platform: Platform | None
) -> None:
    """Write what `docker load` has always read: layers uncompressed, named after their diff_ids."""
    rows: list[dict[str, Any]] = []
    for image in images:
        manifest = _one_manifest(store, image.target, platform)
        config = store.config(manifest)
        config.check_layers(manifest)
        names = [f"{diff_id.hex}.tar" for diff_id in config.diff_ids]
        for name, blob, diff_id in zip(names, manifest.layers, config.diff_ids, strict=True):
            if not sink.has(name):
                size = _check_layer(store, blob, diff_id)
                sink.add_stream(name, size, _uncompressed(store, blob))
        sink.add(f"{config.digest.hex}.json", config.raw)
        tags = [name.familiar for name in image.references if name.tag and not name.digest]
        rows.append(
            {"Config": f"{config.digest.hex}.json", "RepoTags": tags or None, "Layers": names}
        )
    sink.add("manifest.json", dumps(rows))


def _one_manifest(store: Store, target: Descriptor, platform: Platform | None) -> Manifest:
    """Return the manifest of the platform, or of this machine's, or the only one there is."""
    if platform is None:
        present = store.present(target)
        if len(present) == 1:
            target = present[0]
            document = store.document(target)
            if isinstance(document, Manifest):
                return document
    manifest = store.manifest(target, platform=platform)
    if missing := store.missing(manifest.descriptor):
        raise ImageNotFoundError(f"missing blob {missing[0].digest}: pull the image again")
    return manifest


def _check_layer(store: Store, blob: Descriptor, diff_id: Digest) -> int:
    """Return the size of an uncompressed layer. Raises LayerError if it is another one."""
    if blob.digest == diff_id:  # not compressed, and verified as it is written
        return blob.size
    actual, size = hashlib.new(diff_id.algorithm, usedforsecurity=False), 0
    for piece in _uncompressed(store, blob):
        actual.update(piece)
        size += len(piece)
    if actual.hexdigest() != diff_id.hex:
        raise LayerError(
            f"layer {blob.digest}: uncompressed content does not match config diff_id {diff_id}"
        )
    return size


def _uncompressed(store: Store, blob: Descriptor) -> Iterator[Buffer]:
    compression = _media.layer_type(blob.media_type).compression
    if compression is None:
        with store.open(blob.digest) as file:
            compression = sniff(file.read(MAGIC_MAX))
    chunks = store.chunks(blob)
    return decompress(chunks, compression, total_max=EXPANDED_MAX, what=f"layer {blob.digest}")
