# SPDX-License-Identifier: Apache-2.0
"""Faults in the system calls that the package makes from Python."""

from __future__ import annotations

import fcntl
import functools
import os
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from .victim import Faults

PACKAGE = "pycontain."
# close(2) is left out: the kernel closes whatever it returns.
CALLS: tuple[tuple[Any, str], ...] = (
    *((os, name) for name in ("open", "read", "write", "pipe2", "dup", "mkdir", "rmdir")),
    *((os, name) for name in ("rename", "unlink", "listdir", "scandir", "chmod", "chown")),
    *((os, name) for name in ("stat", "lstat", "access", "set_blocking", "pidfd_open")),
    *((os, name) for name in ("memfd_create", "sendfile")),
    (fcntl, "flock"),
    (fcntl, "fcntl"),
    (socket, "socketpair"),
)


def _path(frame: FrameType | None) -> str:
    """Return the package's functions that led to a call, outermost first."""
    names: list[str] = []
    while frame and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return ">".join(reversed(names))


class PythonFaults(Faults):
    """The n-th of these calls from a module of the package fails; -1: none.

    Attributes:
        sites: Each call since `arm`: the functions that led to it, and its name.
    """

    def __init__(self, n: int = -1, err: int = 0) -> None:
        self._n = n
        self._err = err
        self._originals: list[tuple[Any, str, Any]] = []
        self.sites: list[str] = []

    def arm(self) -> None:
        """Put ourselves in front of each call."""
        for module, name in CALLS:
            original = getattr(module, name)
            self._originals.append((module, name, original))
            setattr(module, name, self._wrapped(name, original))

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*arguments: Any, **keywords: Any) -> Any:
            frame = sys._getframe(1)
            caller = frame.f_globals.get("__name__", "")
            if caller.startswith(PACKAGE):
                self.sites.append(f"{_path(frame)} {name}")
                if len(self.sites) - 1 == self._n:
                    raise OSError(self._err, os.strerror(self._err))
            return original(*arguments, **keywords)

        return call

    def disarm(self) -> None:
        """Take us away again."""
        while self._originals:
            module, name, original = self._originals.pop()
            setattr(module, name, original)
