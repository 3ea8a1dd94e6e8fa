# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the adversarial suite."""

from __future__ import annotations

from _box import box, box_options, probe, sb, warm

__all__ = ["box", "box_options", "probe", "sb", "warm"]
