# SPDX-License-Identifier: Apache-2.0
"""Layers of images: archives become directories for overlayfs, and the other way round.

Done by a program of its own in a sandbox (`_program`); archives come in through a pipe. All calls
block without the GIL.
"""

from __future__ import annotations

from ._limits import Limits
from ._records import LayerReport, LayerWarning
from ._verbs import Extraction, Packing, changes, empty

__all__ = ["Extraction", "LayerReport", "LayerWarning", "Limits", "Packing", "changes", "empty"]
