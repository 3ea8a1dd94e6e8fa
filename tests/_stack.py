# SPDX-License-Identifier: Apache-2.0
"""Layers unpacked one upon the other, each into a directory of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _trees import Node, snapshot
from pycontain._layers import Extraction, LayerReport, Limits, Packing


def unpack(
    target: Path,
    data: bytes,
    parents: Sequence[Path] = (),
    limits: Limits | None = None,
    *,
    strict: bool = False,
) -> LayerReport:
    """Unpack an archive into an existing directory; parents are topmost first."""
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (target, *parents)]
    try:
        with Extraction(fds[0], parents=fds[1:], limits=limits, strict=strict) as extraction:
            extraction.write(data)
            return extraction.finish()
    finally:
        for fd in fds:
            os.close(fd)


class Stack:
    """Layers of one image, lowest first, each in a directory of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers: list[Path] = []

    def __call__(
        self, data: bytes, *, limits: Limits | None = None, strict: bool = False
    ) -> LayerReport:
        """Unpack the next layer, upon those that are there."""
        target = self.root / f"layer-{len(self.layers)}"
        target.mkdir(mode=0o700)
        self.layers.append(target)
        return unpack(target, data, self.layers[-2::-1], limits, strict=strict)

    @property
    def top(self) -> Path:
        """The directory of the last layer."""
        return self.layers[-1]

    def nodes(self) -> dict[str, Node]:
        """Return what the last layer holds, without its root."""
        found = snapshot(self.top)
        del found["."]
        return found

    def kinds(self) -> dict[str, str]:
        """Return the kinds of all that the last layer holds."""
        return {name: node.kind for name, node in self.nodes().items()}


def pack(source: Path, **options: Any) -> tuple[bytes, LayerReport]:
    """Return the archive of a directory."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Packing(fd, **options) as packing:
            return b"".join(iter(packing.read, b"")), packing.finish()
    finally:
        os.close(fd)
