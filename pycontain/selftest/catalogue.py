# SPDX-License-Identifier: Apache-2.0
"""What is attempted from inside, and what must come of it: data, for the selftest and the suite.

The ids are those of docs/security.md: a letter for the group, and a number.
"""

from __future__ import annotations

from typing import Final

from . import _files, _inspections, _kernel, _others
from ._attack import Attack, Inspection, Outside

__all__ = ["ATTACKS", "INSPECTIONS", "Attack", "Inspection", "Outside"]


def _order(number: str) -> tuple[str, int]:
    return number[0], int(number[1:])


ATTACKS: Final[tuple[Attack, ...]] = tuple(
    sorted((*_files.ALL, *_kernel.ALL, *_others.ALL), key=lambda attack: _order(attack.id))
)
INSPECTIONS: Final[tuple[Inspection, ...]] = _inspections.ALL
