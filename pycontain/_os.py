# SPDX-License-Identifier: Apache-2.0
"""`os` where that is loaded; elsewhere, as in the runtime command, what most calls need of it.

`os` imports `collections.abc`, and the two take a twentieth of the time of `run`. What is not here
is the real one's, as soon as it is asked for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

if "os" in sys.modules:
    sys.modules[__name__] = sys.modules["os"]
else:
    import posix
    from posix import *  # noqa: F403 - as `os` does
    from posix import _exit as _exit  # noqa: PLC0414 - with this name, too

    from . import _os_path as path  # noqa: F401 - a name of this module

    del environ  # noqa: F821 - of bytes

_ENCODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def fsencode(filename: str | bytes | PathLike[str]) -> bytes:
    """Return a name in the encoding of the file system."""
    name = posix.fspath(filename)
    return name.encode(*_ENCODING) if isinstance(name, str) else name


def fsdecode(filename: str | bytes | PathLike[str]) -> str:
    """Return a name as text."""
    name = posix.fspath(filename)
    return name.decode(*_ENCODING) if isinstance(name, bytes) else name


def getenv(key: str, default: str | None = None) -> str | None:
    """Return a variable of the environment."""
    value = posix.environ.get(fsencode(key))
    return default if value is None else value.decode(*_ENCODING)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # which the import system asks of every module
        raise AttributeError(name)
    import os  # noqa: PLC0415

    return getattr(os, name)
