# SPDX-License-Identifier: Apache-2.0
"""What a directory tree holds, to be compared: names, types, modes, owners, times, contents."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One file of any type."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...] = ()
    content: str = ""
    """Digest of a file, text of a link, number of a device."""
    links: tuple[str, ...] = ()
    """Names of the same file."""


KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def names(root: str | Path) -> Iterator[str]:
    """Yield every path below the root, and "." for itself."""
    yield "."
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            yield os.path.relpath(os.path.join(folder, name), root)


def _content(path: str, found: os.stat_result) -> str:
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if stat.S_ISLNK(found.st_mode):
        return os.readlink(path)
    if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
        return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    return ""


def snapshot(root: str | Path) -> dict[str, Node]:
    """Return all nodes by path."""
    found = {name: os.lstat(os.path.join(root, name)) for name in names(root)}
    same: dict[tuple[int, int], list[str]] = {}
    for name, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            same.setdefault((status.st_dev, status.st_ino), []).append(name)
    return {
        name: Node(
            kind=KINDS[stat.S_IFMT(status.st_mode)],
            mode=stat.S_IMODE(status.st_mode),
            owner=(status.st_uid, status.st_gid),
            mtime_ns=status.st_mtime_ns,
            xattrs=tuple(sorted(_xattrs(os.path.join(root, name)))),
            content=_content(os.path.join(root, name), status),
            links=tuple(sorted(same.get((status.st_dev, status.st_ino), [name]))),
        )
        for name, status in found.items()
    }


def _xattrs(path: str) -> Iterator[tuple[str, bytes]]:
    for name in os.listxattr(path, follow_symlinks=False):
        yield name, os.getxattr(path, name, follow_symlinks=False)


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Return a line for each path that is not the same in both."""
    return [
        f"{name}: {left.get(name)} != {right.get(name)}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
    ]
