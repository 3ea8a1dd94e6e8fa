# SPDX-License-Identifier: Apache-2.0
"""What an archive may cost, with the names that `LimitExceededError.limit` has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one layer.

    Attributes:
        entries: Entries, with the directories that they imply.
        total_bytes: Bytes of all files, the holes of sparse ones included.
        header_bytes: Bytes of one extended header, or of a sparse file's map.
        path: Bytes of a path or of a link's text, with its NUL; the kernel's is 4096.
        xattrs: Extended attributes of one entry.
        xattr_bytes: Bytes of the value of one; the kernel's is 65536.
        memory: Bytes of the lists that grow with an archive: of its directories, for one.
    """

    entries: int = 5_000_000
    total_bytes: int = 1 << 38
    header_bytes: int = 1 << 20
    path: int = 4096
    xattrs: int = 128
    xattr_bytes: int = 65536
    memory: int = 1 << 29


# The program's names, which are shorter.
OPTIONS: Final = {
    "entries": "entries",
    "bytes": "total_bytes",
    "header": "header_bytes",
    "path": "path",
    "xattrs": "xattrs",
    "xattr": "xattr_bytes",
    "memory": "memory",
}


def arguments(limits: Limits) -> list[str]:
    """Return the limits as the program takes them."""
    return [f"{option}={getattr(limits, name)}" for option, name in OPTIONS.items()]
