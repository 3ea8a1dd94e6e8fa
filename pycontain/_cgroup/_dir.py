# SPDX-License-Identifier: Apache-2.0
"""A group as one hierarchy has it."""

from __future__ import annotations

import errno

from pycontain import _os as os
from pycontain._record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Dir(NamedTuple):
    """A group's directory in the hierarchy that carries one controller."""

    version: int
    path: str

    @property
    def is_v2(self) -> bool:
        """Tell v2 from v1."""
        return self.version != 1


def is_removed(path: str) -> bool:
    """Remove a group that is empty, and tell whether it is gone."""
    try:
        os.rmdir(path)
    except OSError as error:
        return error.errno == errno.ENOENT
    return True


def remove_empty(paths: Iterable[str]) -> None:
    """Remove the groups, lowest first, that nobody else uses."""
    for path in paths:
        is_removed(path)
