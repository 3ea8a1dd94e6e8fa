# SPDX-License-Identifier: Apache-2.0
"""Layers of images: archives become directories for overlayfs, and the other way round.

Done by a program of its own in a sandbox (`_program`); archives come in through a pipe. All calls
block without the GIL.
"""

from __future__ import annotations

from ._limits import Limits
from ._program import Lowers
from ._records import LayerReport, LayerWarning
from ._verbs import Extraction, Indexing, Packing, UnindexableError, changes, empty

__all__ = [
    "Extraction",
    "Indexing",
    "LayerReport",
    "LayerWarning",
    "Limits",
    "Lowers",
    "Packing",
    "UnindexableError",
    "changes",
    "empty",
]
