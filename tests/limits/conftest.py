# SPDX-License-Identifier: Apache-2.0
"""The fixtures of tests/_box.py and tests/_bombs.py."""

from _bombs import bombs, box_options, once
from _box import box, probe, sb, warm

__all__ = ["bombs", "box", "box_options", "once", "probe", "sb", "warm"]
