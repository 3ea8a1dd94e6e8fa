# SPDX-License-Identifier: Apache-2.0
r"""Sandboxes on Linux from Python: namespaces, seccomp and cgroups, without a daemon.

>>> import pycontain
>>> pycontain.run(["echo", "hello"], text=True).stdout
'hello\n'
"""

from __future__ import annotations

import typing
from subprocess import DEVNULL, PIPE, STDOUT

from .config import Bind, Overlay, Tmpfs
from .errors import (
    CalledProcessError,
    ConfigError,
    FilesError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    PycontainError,
    SandboxClosedError,
    SpawnError,
    TimeoutExpired,
    UnsupportedError,
)
from .result import Reason, Result, Usage
from .sandbox import Sandbox, run

if typing.TYPE_CHECKING:
    from ._aio import AsyncPopen, AsyncSandbox, run_async

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AsyncPopen",
    "AsyncSandbox",
    "Bind",
    "CalledProcessError",
    "ConfigError",
    "FilesError",
    "Overlay",
    "ProgramNotExecutableError",
    "ProgramNotFoundError",
    "PycontainError",
    "Reason",
    "Result",
    "Sandbox",
    "SandboxClosedError",
    "SpawnError",
    "TimeoutExpired",
    "Tmpfs",
    "UnsupportedError",
    "Usage",
    "run",
    "run_async",
]

_LATE = ("AsyncPopen", "AsyncSandbox", "run_async")


def __getattr__(name: str) -> typing.Any:
    """Import what needs asyncio when it is asked for: that takes longer than all the rest."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _aio  # noqa: PLC0415

    value = globals()[name] = getattr(_aio, name)
    return value


def __dir__() -> list[str]:
    """Return the names that are there, and those that will be."""
    return sorted({*globals(), *_LATE})
