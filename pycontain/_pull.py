# SPDX-License-Identifier: Apache-2.0
"""An image comes from a registry into the store, every byte verified before anything uses it."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ._image import _media
from ._image._ahead import Ahead
from ._image._config import ImageConfig
from ._image._descriptor import Descriptor
from ._image._platform import Platform
from ._image._reference import Reference
from ._image._registry import connect
from ._image._registry._retry import Timing
from ._image._select import select
from ._image._store import Lease, Store
from ._unpack import Chunks, LayerSource, sources, unpack_all

if TYPE_CHECKING:
    from ._image._registry._credentials import Credentials
    from ._image._registry._events import Event
    from ._image._registry._repository import Repository


Action: TypeAlias = Literal["present", "downloading", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProgress:
    """How far a layer of a pull is.

    Attributes:
        number: The layer, from 1, the lowest.
        layers: How many there are.
        digest: Of its blob.
        action: "present": it was in the store; "downloading"; "done": it is unpacked.
        received: Bytes of the blob so far.
        size: Bytes of the blob.
    """

    number: int
    layers: int
    digest: str
    action: Action
    received: int
    size: int

    def __str__(self) -> str:
        """Say it in a sentence."""
        what = {"present": "is here", "done": "is unpacked"}.get(
            self.action, f"{self.received} of {self.size} bytes"
        )
        return f"layer {self.number} of {self.layers} ({self.digest[:19]}): {what}"


Progress: TypeAlias = "LayerProgress | Event"
OnProgress: TypeAlias = Callable[[Progress], None]


class StoppedError(Exception):
    """Another layer has failed; this one stops."""


class _Pull:
    """One image on its way."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        repository: Repository,
        on_progress: OnProgress,
        stopped: threading.Event,
    ) -> None:
        self._store = store
        self._lease = lease
        self._repository = repository
        self._on_progress = on_progress
        self._stopped = stopped

    def document(self, target: Descriptor) -> bytes:
        """Fetch a manifest, an index or a configuration, unless it is in the store."""
        if self._store.has(target):
            return self._store.read(target)
        if target.media_type not in (*_media.MANIFESTS, *_media.INDEXES):
            self.blob(target)
            return self._store.read(target)
        found = self._repository.manifest(target.digest)
        self._store.put(self._lease, found.raw, found.media_type)
        return found.raw

    def blob(self, target: Descriptor) -> None:
        """Fetch a blob, unless it is in the store."""
        if not self._store.has(target):
            collections.deque(self._arriving(target, lambda _: None), maxlen=0)

    def layers(self, layers: list[LayerSource]) -> None:
        """Fetch and unpack all layers, several at once."""
        for layer in layers:
            self._lease.keep(layer.blob)

        def chunks(layer: LayerSource) -> Chunks:
            def tell(received: int) -> None:
                self._tell(layer, len(layers), "downloading", received)

            here = self._store.has(layer.blob)
            self._tell(layer, len(layers), "present" if here else "downloading", 0)
            with Ahead(self._arriving(layer.blob, tell)) as arriving:
                yield from arriving
            self._tell(layer, len(layers), "done", layer.blob.size)

        unpack_all(self._store, self._lease, layers, chunks, stop=self._stopped.set)
        for layer in layers:  # one whose directory was there may have been without its archive
            self.blob(layer.blob)

    def _tell(self, layer: LayerSource, layers: int, action: Action, received: int) -> None:
        self._on_progress(
            LayerProgress(
                number=layer.number,
                layers=layers,
                digest=str(layer.blob.digest),
                action=action,
                received=received,
                size=layer.blob.size,
            )
        )

    def _arriving(self, target: Descriptor, tell: Callable[[int], None]) -> Iterator[bytes]:
        """Yield a blob while it comes and is stored; from the store, if it is there."""
        with self._store.ingest(self._lease, target) as ingest:
            fresh = not ingest.complete and ingest.offset == 0
            if not ingest.complete:
                for chunk in self._repository.blob(target, ingest.verifier):
                    if self._stopped.is_set():
                        raise StoppedError
                    ingest.append(chunk)
                    tell(ingest.offset)
                    if fresh:
                        yield chunk
                ingest.commit()
        if not fresh:
            yield from self._store.chunks(target)


def pull(
    store: Store,
    reference: Reference,
    *,
    platform: Platform | None = None,
    insecure: bool = False,
    credentials: Credentials | None = None,
    on_progress: OnProgress | None = None,
) -> Descriptor:
    """Fetch an image with its layers unpacked, and name it; return what the name stands for.

    Args:
        store: Where to.
        reference: Which image.
        platform: For which machine; None: this one.
        insecure: Take any certificate, and plain http.
        credentials: Instead of those that Docker and Podman have stored.
        on_progress: Called with what happens, by several threads.

    Raises:
        RegistryError: The registry does not have it, or does not give it.
        PlatformError: It is not there for this platform.
        ManifestError, LayerError, DigestMismatchError, SizeMismatchError, LimitExceededError,
            UnsupportedImageError: It is broken, hostile or of a kind that cannot run.
        StoreError: The store is full or cannot be written. What came so far is kept for the next.
    """
    tell = on_progress or (lambda _: None)
    stopped = threading.Event()

    def sleep(seconds: float) -> None:
        if stopped.wait(seconds):
            raise StoppedError

    with (
        connect(
            reference.registry,
            insecure=insecure,
            credentials=credentials,
            on_event=tell,
            timing=Timing(sleep=sleep),
        ) as client,
        store.lease() as lease,
    ):
        repository = client.repository(reference.repository)
        root = repository.manifest(reference.digest or reference.wanted)
        target = store.put(lease, root.raw, root.media_type)
        work = _Pull(store, lease, repository, tell, stopped)
        manifest = select(root, work.document, platform=platform, what=str(reference))
        config = ImageConfig.parse(work.document(manifest.config))
        manifest.check_image()
        work.layers(sources(manifest, config))
        store.tag(reference, target)
    return target
