# SPDX-License-Identifier: Apache-2.0
r"""Sandboxes on Linux from Python: namespaces, seccomp and cgroups, without a daemon.

>>> import pycontain
>>> pycontain.run(["echo", "hello"], text=True).stdout
'hello\n'
"""

from __future__ import annotations

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

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
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
]
