# SPDX-License-Identifier: Apache-2.0
"""Layers unpacked one upon the other, each into a directory of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from _trees import Node, snapshot
from pycontain._erofs import Mount
from pycontain._layers import (
    Extraction,
    Indexing,
    LayerReport,
    Limits,
    Packing,
    UnindexableError,
)


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

    def close(self) -> None:
        """Let go of all layers."""
        self.layers.clear()

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


def index(
    archive: Path,
    target: Path,
    parents: Sequence[Path] = (),
    limits: Limits | None = None,
    *,
    strict: bool = False,
) -> tuple[LayerReport, Mount]:
    """Make an index of an archive, and mount it; parents are topmost first."""
    with ExitStack() as stack:
        out = stack.enter_context(target.open("xb"))
        data = stack.enter_context(archive.open("rb"))
        fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in parents]
        for fd in fds:
            stack.callback(os.close, fd)
        with Indexing(
            out.fileno(), data.fileno(), parents=fds, limits=limits, strict=strict
        ) as indexing:
            report = indexing.finish()
        with target.open("rb") as done:
            return report, Mount(done.fileno(), data.fileno())


class IndexedStack(Stack):
    """The same of archives that an index is made of; `unindexable` counts those that have none."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.mounts: list[Mount] = []
        self.unindexable = 0

    def __call__(
        self, data: bytes, *, limits: Limits | None = None, strict: bool = False
    ) -> LayerReport:
        """Take the next layer, upon those that are there."""
        archive = self.root / f"{len(self.layers)}.tar"
        archive.write_bytes(data)
        target = archive.with_suffix(".index")
        try:
            report, mount = index(archive, target, self.layers[::-1], limits, strict=strict)
        except UnindexableError:
            self.unindexable += 1
            return super().__call__(data, limits=limits, strict=strict)
        self.mounts.append(mount)
        self.layers.append(Path(mount.path))
        return report

    def close(self) -> None:
        """Unmount them, too."""
        super().close()
        self.mounts.clear()


def pack(source: Path, **options: Any) -> tuple[bytes, LayerReport]:
    """Return the archive of a directory."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Packing(fd, **options) as packing:
            return b"".join(iter(packing.read, b"")), packing.finish()
    finally:
        os.close(fd)
