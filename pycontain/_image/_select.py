# SPDX-License-Identifier: Apache-2.0
"""Which manifest of an index is for a platform (containerd's core/images, `Manifest`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from pycontain.errors import LimitExceededError, ManifestError, PlatformError

from . import _media
from ._config import ImageConfig
from ._descriptor import Descriptor
from ._digest import Digest
from ._manifest import INDEX_DEPTH, Index, Manifest, parse
from ._platform import Platform, local_platform, place, runnable

# How many documents below one index may be looked at.
READS_MAX = 100

Read: TypeAlias = Callable[[Descriptor], bytes]


def select(
    root: Manifest | Index, read: Read, *, platform: Platform | None = None, what: str = "the image"
) -> Manifest:
    """Return the manifest that is for a platform.

    Args:
        root: A manifest, or an index, which may hold indexes.
        read: Returns the verified bytes of a manifest, an index or a configuration.
        platform: None: this machine's.
        what: What it is, for errors.

    Raises:
        PlatformError: There is none; says which there are.
        LimitExceededError: Indexes that are too deep or too many.
        ManifestError, UnsupportedImageError: What was read breaks the specification.
    """
    machine = platform or local_platform()
    search = _Search(runnable(machine), read)
    found = next(search.walk(root, None, 0), None)
    if found is not None:
        return found
    offered = tuple(dict.fromkeys(map(str, search.offered)))
    offers = "it is for no platform at all"
    if offered:
        offers = (
            f"it is for {', '.join(offered)}; name one by platform=, with emulate=True to run what "
            "this machine cannot"
        )
    raise PlatformError(
        f"{what} has nothing for {machine}: {offers}", wanted=str(machine), offered=offered
    )


class _Search:
    """Depth first, the best entries first, as few documents read as possible."""

    def __init__(self, wanted: tuple[Platform, ...], read: Read) -> None:
        self.wanted = wanted
        self.read = read
        self.offered: list[Platform] = []
        self.seen: set[Digest] = set()

    def walk(
        self, node: Manifest | Index, platform: Platform | None, depth: int
    ) -> Iterator[Manifest]:
        if isinstance(node, Manifest):
            if platform is not None or self.is_wanted(node):
                yield node
            return
        if depth == INDEX_DEPTH:
            raise LimitExceededError(
                f"index {node.digest}: more than {INDEX_DEPTH} indexes in one another",
                limit="index depth",
                allowed=INDEX_DEPTH,
            )
        for entry in self.ranked(node):
            yield from self.walk(self.load(entry), entry.platform, depth + 1)

    def ranked(self, index: Index) -> list[Descriptor]:
        """Return the entries that may do, the best first; those that do not say, last."""
        known = _media.MANIFESTS | _media.INDEXES
        rows: list[tuple[tuple[int, int], Descriptor]] = []
        for entry in index.manifests:
            if entry.is_attestation or entry.media_type not in known:
                continue
            if entry.platform is None:
                rows.append(((len(self.wanted), 0), entry))
            elif (rank := place(entry.platform, self.wanted)) is not None:
                rows.append((rank, entry))
            else:
                self.offered.append(entry.platform)
        entries = [entry for _, entry in sorted(rows, key=lambda row: row[0])]
        return [entry for entry in entries if entry.digest not in self.seen]

    def load(self, entry: Descriptor) -> Manifest | Index:
        if len(self.seen) == READS_MAX:
            raise LimitExceededError(
                f"more than {READS_MAX} manifests to look at", limit="reads", allowed=READS_MAX
            )
        self.seen.add(entry.digest)
        return parse(self.read(entry), media_type=entry.media_type, expected=entry.digest)

    def is_wanted(self, manifest: Manifest) -> bool:
        """Ask the configuration what a manifest is for. What is no image says nothing of it."""
        if manifest.config.media_type not in _media.CONFIGS:
            return True
        try:
            config = ImageConfig.parse(self.read(manifest.config))
        except ManifestError:
            return True
        if not config.platform.architecture or place(config.platform, self.wanted) is not None:
            return True
        self.offered.append(config.platform)
        return False
