# SPDX-License-Identifier: Apache-2.0
"""What `_os` has of `os.path`; what is not here is the real one's, as soon as it is asked for."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def exists(path: str) -> bool:
    """Tell whether there is a file, links followed."""
    return _answers(posix.stat, path)


def lexists(path: str) -> bool:
    """Tell whether there is a file or a link."""
    return _answers(posix.lstat, path)


def _answers(call: Any, path: str) -> bool:
    try:
        call(path)
    except (OSError, ValueError):
        return False
    return True


def isdir(path: str) -> bool:
    """Tell whether there is a directory, links followed."""
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except (OSError, ValueError):
        return False


def samestat(one: posix.stat_result, other: posix.stat_result) -> bool:
    """Tell whether both are of the same file."""
    return (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev)


def split(path: str) -> tuple[str, str]:
    """Return what comes before the last slash and what comes after it."""
    at = path.rfind("/") + 1
    head = path[:at]
    return head.rstrip("/") or head, path[at:]


def dirname(path: str) -> str:
    """Return what comes before the last slash."""
    return split(path)[0]


def join(path: str, *parts: str) -> str:
    """Return a path that continues with the parts; an absolute one begins anew."""
    for part in parts:
        if part.startswith("/") or not path:
            path = part
        else:
            path += part if path.endswith("/") else f"/{part}"
    return path


def normpath(path: str) -> str:
    """Return a path without empty and `.` parts and, links not looked at, without `..`."""
    slashes = len(path) - len(path.lstrip("/"))
    root = "" if not slashes else "//" if slashes == 2 else "/"  # POSIX leaves two alone
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and (parts[-1:] not in ([], [".."]) or (root and not parts)):
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return root + "/".join(parts) or "."


def commonpath(paths: Sequence[str]) -> str:
    """Return what the paths begin with, all of them absolute or none."""
    common = []
    for names in zip(*map(_names, paths), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return ("/" if paths[0].startswith("/") else "") + "/".join(common)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def abspath(path: str) -> str:
    """Return a normal path from the root."""
    return normpath(path if path.startswith("/") else join(posix.getcwd(), path))


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # which the import system asks of every module
        raise AttributeError(name)
    import os  # noqa: PLC0415

    return getattr(os.path, name)
