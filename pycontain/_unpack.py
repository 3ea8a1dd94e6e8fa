# SPDX-License-Identifier: Apache-2.0
"""Layers of an image become something to show in the store (OCI image-spec, layer.md).

That is a directory, or the archive itself with an index (`_erofs`); of both an overlay shows the
same.
"""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeAlias

from . import _erofs, _native
from ._image import _media
from ._image._ahead import Ahead
from ._image._config import ImageConfig
from ._image._decompress import decompress
from ._image._descriptor import Descriptor
from ._image._digest import Buffer, Digest, Verifier
from ._image._manifest import Manifest
from ._image._store import Form, Layer, LayerBuild, Lease, Store
from ._layers import Extraction, Indexing, LayerReport, Limits, UnindexableError, empty
from .errors import DigestMismatchError, LayerError

WORKERS: Final = 3
"""Layers that are unpacked at once."""
EXPANDED_MAX: Final = 64 << 30
"""Bytes that a layer may expand to."""

_MAGIC: Final = 8
"""Bytes that tell how a layer is compressed."""

Chunks: TypeAlias = Iterator[Buffer]


def open_store(path: str | None = None) -> Store:
    """Return a store, None: this user's, whose garbage may be of any of the user's ids.

    Raises:
        StoreError: It cannot be made or read, or is not private.
    """
    return Store(path, remove_tree=_remove, write_back=_native.write_back)


def _remove(path: str) -> None:
    """Remove a file, or a tree whoever of the ids that images have owns its files."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:
        os.unlink(path)
        return
    try:
        empty(fd)
    finally:
        os.close(fd)
    os.rmdir(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """A layer of an image, before it is a directory.

    Attributes:
        number: From 1, the lowest.
        blob: The archive.
        diff_id: Digest of what it expands to.
        chain_id: Stands for this layer and all below.
    """

    number: int
    blob: Descriptor
    diff_id: Digest
    chain_id: Digest

    def __str__(self) -> str:
        return f"layer {self.number}"


def sources(manifest: Manifest, config: ImageConfig) -> list[LayerSource]:
    """Return the layers of an image, lowest first.

    Raises:
        ManifestError: Manifest and configuration do not have the same number.
        UnsupportedImageError: One is encrypted or no archive.
    """
    config.check_layers(manifest)
    rows = zip(manifest.layers, config.diff_ids, config.chain_ids, strict=True)
    return [
        LayerSource(number=number, blob=blob, diff_id=diff_id, chain_id=chain_id)
        for number, (blob, diff_id, chain_id) in enumerate(rows, 1)
    ]


def unpack_all(
    store: Store,
    lease: Lease,
    layers: Sequence[LayerSource],
    chunks: Callable[[LayerSource], Chunks],
    *,
    stop: Callable[[], None] = lambda: None,
) -> list[Layer]:
    """Make all layers of an image ready, several at once, lowest first.

    Args:
        store: Where.
        lease: Keeps them.
        layers: Lowest first.
        chunks: Begins to read a layer's archive.
        stop: Makes what `chunks` has begun end early, when another layer has failed.

    Raises:
        As `unpack`, and what `chunks` raises.
    """
    forms = _erofs.forms(store.path, len(layers))
    found: dict[int, Layer | None] = {}
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="pycontain-layer") as pool:
        futures = {
            pool.submit(
                unpack, store, lease, layer, chunks, () if layer.number == 1 else None, forms
            ): layer
            for layer in layers
        }
        try:
            for future in as_completed(futures):
                found[futures[future].number] = future.result()
        except BaseException:
            stop()
            pool.shutdown(cancel_futures=True)
            raise
    done: list[Layer] = []
    for layer in layers:
        known = found[layer.number] or unpack(store, lease, layer, chunks, done[::-1], forms)
        assert known is not None  # noqa: S101 - its parents are there
        done.append(known)
    return done


def unpack(
    store: Store,
    lease: Lease,
    source: LayerSource,
    chunks: Callable[[LayerSource], Chunks],
    parents: Sequence[Layer] | None,
    forms: Sequence[Form] = ("directory",),
) -> Layer | None:
    """Make a layer ready, unless the store has it so.

    Args:
        store: Where.
        lease: Keeps it.
        source: The layer.
        chunks: Begins to read the archive.
        parents: The layers below, topmost first. None: they are not there yet; this is worth
            trying since most layers do not depend on them.
        forms: Those in which it will do, the best first. What has no index becomes a directory.

    Returns:
        The layer; None if it needs its parents.

    Raises:
        LayerError, UnsafeLayerError, LimitExceededError: The archive is broken or hostile.
        DigestMismatchError: It is not what the configuration says.
        StoreError: The store is full or cannot be written.
    """
    with store.build_layer(lease, source.diff_id, source.chain_id, forms=forms) as build:
        if build.layer is not None:
            return build.layer
        try:
            form, report = _make(build, source, chunks(source), parents or (), forms[0])
        except LayerError:
            if parents is None:  # what a hard link leads to, say
                return None
            raise
        if parents is None and not report.independent:
            return None
        return build.commit(
            source.diff_id if report.independent else source.chain_id,
            form=form,
            size=report.size,
            warnings=tuple(_sentences(report)),
        )


def _make(
    build: LayerBuild, source: LayerSource, chunks: Chunks, parents: Sequence[Layer], form: Form
) -> tuple[Form, LayerReport]:
    """Make what a layer is in the store; what cannot have an index becomes a directory."""
    verifier = Verifier(source.diff_id)
    report = None
    with ExitStack() as stack:
        # The mounts live until the end.
        trees = [_erofs.mount(layer) if layer.form == "erofs" else layer for layer in parents]
        fds = [_opened(stack, tree.path) for tree in trees]
        pieces = _seen(stack.enter_context(Ahead(_expanded(chunks, source))), verifier)
        if form == "erofs":
            report = _index(build, pieces, fds)
            if report is None:
                form, pieces = "directory", build.archived()
        if report is None:
            report = _extract(build, pieces, fds)
    try:
        verifier.finish()
    except DigestMismatchError as error:
        raise DigestMismatchError(
            f"{source}: uncompressed content does not match the config's diff_id {source.diff_id}",
            expected=error.expected,
            actual=error.actual,
        ) from None
    return form, report


def _opened(stack: ExitStack, path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _seen(pieces: Iterable[Buffer], verifier: Verifier) -> Chunks:
    for piece in pieces:
        verifier.update(piece)
        yield piece


def _extract(build: LayerBuild, pieces: Chunks, parents: Sequence[int]) -> LayerReport:
    with (
        ExitStack() as stack,
        Extraction(
            _opened(stack, f"{build.path}"), parents=parents, limits=Limits(), sync=True
        ) as extraction,
        _blamed_on(pieces),
    ):
        for piece in pieces:
            extraction.write(piece)
        return extraction.finish()


def _index(build: LayerBuild, pieces: Chunks, parents: Sequence[int]) -> LayerReport | None:
    """Keep the archive, and make an index of it; None: that cannot be."""
    with (
        build.index() as index,
        build.archive() as archive,
        Indexing(index.fileno(), archive.fileno(), parents=parents, limits=Limits()) as indexing,
        _blamed_on(pieces),
    ):
        try:
            for piece in pieces:
                build.append(piece)
                indexing.grown()
            return indexing.finish()
        except UnindexableError:
            for piece in pieces:
                build.append(piece)
            return None


def _expanded(chunks: Chunks, source: LayerSource) -> Iterable[Buffer]:
    """Inflate what is compressed. Its type may lie about that, the diff_id does not."""
    _media.layer_type(source.blob.media_type)
    head = b""
    while len(head) < _MAGIC and (chunk := next(chunks, None)) is not None:
        head += bytes(chunk)

    def all_chunks() -> Chunks:
        yield head
        yield from chunks

    compression = _media.sniff(head)
    with _blamed_on(chunks):
        yield from decompress(all_chunks(), compression, total_max=EXPANDED_MAX, what=str(source))


@contextlib.contextmanager
def _blamed_on(rest: Iterable[Buffer]) -> Iterator[None]:
    """Read to the end what cannot be made sense of: that it is not what it should be says more."""
    try:
        yield
    except LayerError as error:
        if type(error) is LayerError:
            collections.deque(rest, maxlen=0)
        raise


def _sentences(report: LayerReport) -> Iterator[str]:
    for warning in report.warnings:
        name = os.fsdecode(warning.name)
        yield f"{warning.code}: {warning.count} entries, the first is {warning.entry} {name!r}"
