# SPDX-License-Identifier: Apache-2.0
"""Where a new root is attached on the host until it is entered."""

from __future__ import annotations

from . import _os as os
from .errors import ConfigError

_CANDIDATES = ("/mnt", "/media", "/srv", "/opt", "/sys", "/var")


def attach_at() -> str:
    """Return a directory of the host to attach the new root on, in PID 1's own mount namespace.

    One with nothing mounted below: mount(2) fallbacks find the mounts of a tree by their paths.

    Raises:
        ConfigError: None of the candidates is there.
    """
    found = [path for path in _CANDIDATES if os.path.isdir(path)]
    if not found:
        raise ConfigError(
            f"no directory to attach the root at: one of {', '.join(_CANDIDATES)} must exist"
        )
    with open("/proc/self/mountinfo", "rb") as file:
        rows = file.read().split(b"\n")  # names may have other ends
    mounted = [os.fsdecode(row.split(b" ")[4]) for row in rows if row]
    free = (path for path in found if not any(point.startswith(f"{path}/") for point in mounted))
    return next(free, found[0])
