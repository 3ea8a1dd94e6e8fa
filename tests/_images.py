# SPDX-License-Identifier: Apache-2.0
"""Images made of bytes, for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from pycontain._image import _media
from pycontain._image._config import ImageConfig
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index, Manifest
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._store import Lease, Store


def blob(data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))


def tar(files: Mapping[str, bytes]) -> bytes:
    """Return an archive; the same files give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def add_image(
    store: Store,
    lease: Lease,
    layers: Sequence[bytes],
    *,
    platform: str = "linux/amd64",
    cmd: tuple[str, ...] = ("sh",),
    **config: Any,
) -> Manifest:
    """Put an image of these archives into the store, compressed."""
    diff_ids = [Digest("sha256", hashlib.sha256(layer).hexdigest()) for layer in layers]
    made = ImageConfig.new(Platform.parse(platform), diff_ids, cmd=cmd, **config)
    manifest = Manifest.build(
        store.put(lease, made.raw, _media.OCI_CONFIG),
        [store.put(lease, gzip.compress(raw, mtime=0), _media.OCI_LAYER_GZIP) for raw in layers],
    )
    store.put(lease, manifest.raw, manifest.media_type)
    return manifest


def add_index(store: Store, lease: Lease, manifests: Mapping[str, Manifest]) -> Index:
    """Put an index of manifests by platform into the store."""
    entries = [
        Descriptor(
            media_type=manifest.media_type,
            digest=manifest.digest,
            size=len(manifest.raw),
            platform=Platform.parse(platform),
        )
        for platform, manifest in manifests.items()
    ]
    index = Index.build(entries)
    store.put(lease, index.raw, index.media_type)
    return index


def add_named(store: Store, text: str, layers: Sequence[bytes]) -> Manifest:
    """Put a named image into the store."""
    with store.lease() as lease:
        manifest = add_image(store, lease, layers)
        store.tag(Reference.parse(text), manifest.descriptor)
    return manifest


def docker_archive(layers: Sequence[bytes], **changes: object) -> dict[str, bytes]:
    """Return the members of a docker-archive of one image; `changes` are of its manifest's row."""
    diff_ids = [Digest.of(layer) for layer in layers]
    config = ImageConfig.new(Platform.parse("linux/amd64"), diff_ids, cmd=("sh",)).raw
    names = [f"{diff_id.hex}/layer.tar" for diff_id in diff_ids]
    row = {"Config": "config.json", "RepoTags": ["x:1"], "Layers": names, **changes}
    return {
        **dict(zip(names, layers, strict=True)),
        "config.json": config,
        "manifest.json": json.dumps([row]).encode(),
    }
