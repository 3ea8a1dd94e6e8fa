# SPDX-License-Identifier: Apache-2.0
"""The fixtures of tests/_box.py."""

from _box import box, box_options, probe, sb, warm

__all__ = ["box", "box_options", "probe", "sb", "warm"]
