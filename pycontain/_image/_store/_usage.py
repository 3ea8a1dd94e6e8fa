# SPDX-License-Identifier: Apache-2.0
"""What a store has, and what it costs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from . import _names
from ._home import Home, explained
from ._sweep import all_blobs, all_layers, mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a store has, and what it costs.

    Attributes:
        names: How many names.
        blobs, blob_size: How many, and their bytes.
        layers, layer_size: Those that are ready to be shown, and their bytes.
        erofs_layers: How many of them are archives with an index.
        garbage_size: Bytes of blobs and layers that neither a name nor a living process needs.
        leftover_size: Bytes of interrupted downloads.
        trash: How many things wait to be removed.
    """

    names: int
    blobs: int
    blob_size: int
    layers: int
    layer_size: int
    erofs_layers: int
    garbage_size: int
    leftover_size: int
    trash: int


def usage(home: Home) -> Usage:
    """Return what is here, and what could go. Raises StoreError."""
    with home.locked(), explained(home.path):
        marked = mark(home)
        blobs, layers = list(all_blobs(home)), list(all_layers(home))
        garbage = [size for digest, _, size in blobs if digest not in marked.blobs]
        garbage += [size for digest, _, _, size in layers if digest not in marked.layers]
        return Usage(
            names=len(_names.read_all(home)),
            blobs=len(blobs),
            blob_size=sum(size for _, _, size in blobs),
            layers=len(layers),
            layer_size=sum(size for *_, size in layers),
            erofs_layers=sum(form == "erofs" for _, form, _, _ in layers),
            garbage_size=sum(garbage),
            leftover_size=_files_size(home.at("ingest")),
            trash=len(os.listdir(home.at("trash"))),
        )


def _files_size(folder: str) -> int:
    with os.scandir(folder) as entries:
        files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    return sum(entry.stat(follow_symlinks=False).st_size for entry in files)
