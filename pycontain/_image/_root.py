# SPDX-License-Identifier: Apache-2.0
"""What a sandbox needs to know of an image whose layers are unpacked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._config import ImageConfig
    from ._manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRoot:
    """A root made of an image's layers.

    Attributes:
        name: What the caller calls the image.
        id: Digest of its configuration.
        directory: Holds the layers, on the host.
        layers: Directories below it, topmost first.
        config: What the image says of its commands.
        manifest: Its layers as they came.
    """

    name: str
    id: str
    directory: str
    layers: tuple[str, ...]
    config: ImageConfig = field(compare=False)
    manifest: Manifest = field(compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """The layers' paths on the host."""
        return tuple(f"{self.directory}/{layer}" for layer in self.layers)
