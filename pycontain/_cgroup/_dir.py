# SPDX-License-Identifier: Apache-2.0
"""A group as one hierarchy has it."""

from __future__ import annotations

from pycontain._record import NamedTuple


class Dir(NamedTuple):
    """A group's directory in the hierarchy that carries one controller."""

    version: int
    path: str

    @property
    def is_v2(self) -> bool:
        """Tell v2 from v1."""
        return self.version != 1
