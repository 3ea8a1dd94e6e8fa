# SPDX-License-Identifier: Apache-2.0
"""Remove what processes left behind that were killed while they had sandboxes."""

from __future__ import annotations

from . import _cgroup
from ._cgroup._collected import Collected, Leftover

__all__ = ["Collected", "Leftover", "gc"]


def gc(*, dry_run: bool = False) -> Collected:
    """Remove what dead owners of sandboxes left; what belongs to a living process is not touched.

    The kernel ends a sandbox with the process that made it, and its mounts and networks with the
    sandbox. What remains of one that was killed are the directories of its control groups and the
    file that lists them. The first sandbox with limits of a later process removes most of that by
    itself.

    Args:
        dry_run: Look only.

    Returns:
        What was removed, and what could not be, with the reason.
    """
    _cgroup.detect(refresh=True)
    return _cgroup.sweep(dry_run=dry_run)
