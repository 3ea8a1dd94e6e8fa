# SPDX-License-Identifier: Apache-2.0
"""Examples as programs."""

from __future__ import annotations

from _box import warm

__all__ = ["warm"]
