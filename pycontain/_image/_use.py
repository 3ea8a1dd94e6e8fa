# SPDX-License-Identifier: Apache-2.0
"""Layers that living sandboxes of this process stand on: nobody collects them meanwhile."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Final

from pycontain.errors import ImageNotFoundError

if TYPE_CHECKING:
    from ._root import ImageRoot
    from ._store import Lease

IDLE: Final = 4
"""Images that are kept when no sandbox uses them: the next one often does."""


class Use:
    """Keeps the layers of an image until it is released."""

    def __init__(self, uses: Uses, image: ImageRoot) -> None:
        self._uses: Uses | None = uses
        self._image = image

    def release(self) -> None:
        """Say that the sandbox is gone. Idempotent."""
        own, self._uses = self._uses, None
        if own is not None:
            own.give_back(self._image)


class Uses:
    """Leases by image, counted. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[ImageRoot, int] = {}
        self._leases: dict[ImageRoot, Lease] = {}

    def take(self, image: ImageRoot) -> Use:
        """Keep the layers of an image.

        Raises:
            ImageNotFoundError: A layer has been removed.
            StoreError: The store cannot be read or written.
        """
        with self._lock:
            if image not in self._leases:
                self._leases[image] = _lease(image)
            # The latest last: the first is the one to go.
            self._leases[image] = self._leases.pop(image)
            self._counts[image] = self._counts.get(image, 0) + 1
        return Use(self, image)

    def give_back(self, image: ImageRoot) -> None:
        """Say that a sandbox of the image is gone."""
        with self._lock:
            left = self._counts.pop(image, 1) - 1
            if left:
                self._counts[image] = left
            idle = [each for each in self._leases if each not in self._counts]
            for each in idle[: max(0, len(idle) - IDLE)]:
                self._leases.pop(each).close()

    def let_go(self) -> None:
        """Close what no sandbox uses: before something is removed."""
        with self._lock:
            for each in [each for each in self._leases if each not in self._counts]:
                self._leases.pop(each).close()

    def forget(self) -> None:
        """Close everything, in a forked child: the sandboxes are its parent's."""
        self._lock = threading.Lock()
        leases, self._leases, self._counts = self._leases, {}, {}
        for lease in leases.values():
            os.close(lease.fileno())


def _lease(image: ImageRoot) -> Lease:
    from ._store import Store, layer_of  # noqa: PLC0415 - only sandboxes of images need it

    store = Store(os.path.dirname(image.directory))
    lease = store.lease()
    try:
        lease.keep_layers(*(layer_of(layer.partition("/")[0])[0] for layer in image.layers))
        _check(image)
    except BaseException:
        lease.close()
        raise
    return lease


def _check(image: ImageRoot) -> None:
    for path in image.places:
        if not os.path.isdir(path):
            raise ImageNotFoundError(
                f"image {image.name}: the layer {path} is gone: pull or load the image again"
            )


@functools.cache
def uses() -> Uses:
    """Return those of this process."""
    own = Uses()
    os.register_at_fork(after_in_child=own.forget)
    return own
