# SPDX-License-Identifier: Apache-2.0
"""A root directory's archive as an image of one layer, as `docker import` makes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from pycontain._image import _media
from pycontain._image._config import History, ImageConfig
from pycontain._image._decompress import decompress
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Buffer
from pycontain._image._manifest import Manifest
from pycontain._image._media import sniff
from pycontain._image._platform import Platform, local_platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store
from pycontain.errors import LayerError

from ._read import Loaded
from ._source import EXPANDED_MAX, begin
from ._tar import BLOCK, check_header


def import_rootfs(
    store: Store,
    source: str | os.PathLike[str] | BinaryIO,
    reference: Reference,
    *,
    platform: Platform | None = None,
    **config: Any,
) -> Loaded:
    """Make an image of the archive of a root directory; the same archive gives the same image.

    Args:
        store: The store.
        source: The path of a tar archive, perhaps compressed, or an open file.
        reference: The image's name.
        platform: What it is for. None: this machine's, without a level.
        config: What `ImageConfig.derive` takes: cmd, env, user, working_dir, labels and others.

    Raises:
        LayerError: No tar archive, or cut off.
        ImageConfigError: A value of the configuration is wrong.
        LimitExceededError, StoreError: As they say.
        OSError: The source cannot be read.
    """
    if platform is None:
        here = local_platform()
        variant = "" if here.architecture == "amd64" else here.variant
        platform = Platform(os=here.os, architecture=here.architecture, variant=variant)
    if not isinstance(source, str | os.PathLike):
        return _import(store, source, reference, platform, config)
    with open(source, "rb") as file:
        return _import(store, file, reference, platform, config)


def _import(
    store: Store,
    file: BinaryIO,
    reference: Reference,
    platform: Platform,
    changes: dict[str, Any],
) -> Loaded:
    chunks, head = begin(file)
    with store.lease() as lease:
        with store.spool(lease) as spool:
            for piece in _checked(_expanded(chunks, head)):
                spool.write(piece)
            digest, size = spool.commit()
        history = [History(created_by="import of a root directory")]
        config = ImageConfig.new(platform, [digest], **{"history": history, **changes})
        layer = Descriptor(media_type=_media.OCI_LAYER, digest=digest, size=size)
        manifest = Manifest.build(store.put(lease, config.raw, _media.OCI_CONFIG), [layer])
        target = store.put(lease, manifest.raw, manifest.media_type)
        store.tag(reference, target)
    return Loaded(reference=reference, target=target)


def _expanded(chunks: Iterator[bytes], head: bytes) -> Iterator[Buffer]:
    return decompress(chunks, sniff(head), total_max=EXPANDED_MAX, what="root directory")


def _checked(pieces: Iterator[Buffer]) -> Iterator[Buffer]:
    """Pass an archive on, once its first block is seen to be a header."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= BLOCK:
            break
    if len(head) < BLOCK:
        raise LayerError("no tar archive: shorter than one block")
    if head[:BLOCK].strip(b"\0"):
        check_header(head[:BLOCK], 0, LayerError)
    yield head
    yield from pieces
