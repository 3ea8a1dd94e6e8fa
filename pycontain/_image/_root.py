# SPDX-License-Identifier: Apache-2.0
"""What a sandbox needs to know of an image whose layers are unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ._config import ImageConfig
    from ._manifest import Manifest


class Shown(Protocol):
    """A layer that is no directory, as this process sees it as long as the object lives."""

    @property
    def path(self) -> str:
        """A directory, for this process alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRoot:
    """A root made of an image's layers.

    Attributes:
        name: What the caller calls the image.
        id: Digest of its configuration.
        directory: Holds the layers, on the host.
        layers: Directories below it, topmost first.
        shown: Those that hold an archive instead, as what shows it.
        config: What the image says of its commands.
        manifest: Its layers as they came.
    """

    name: str
    id: str
    directory: str
    layers: tuple[str, ...]
    shown: Mapping[str, Shown] = field(default_factory=dict, compare=False)
    config: ImageConfig = field(compare=False)
    manifest: Manifest = field(compare=False)

    @property
    def places(self) -> tuple[str, ...]:
        """Where the layers are on the host."""
        return tuple(f"{self.directory}/{layer}" for layer in self.layers)

    @property
    def paths(self) -> tuple[str, ...]:
        """The layers' trees, for this process."""
        return tuple(
            self.shown[layer].path if layer in self.shown else f"{self.directory}/{layer}"
            for layer in self.layers
        )
