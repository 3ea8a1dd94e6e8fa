# SPDX-License-Identifier: Apache-2.0
r"""Sandboxes on Linux from Python: namespaces, seccomp and cgroups, without a daemon.

>>> import pycontain
>>> pycontain.run(["echo", "hello"], text=True).stdout
'hello\n'
"""

from __future__ import annotations

from .errors import (
    LATE as _LATE_ERRORS,
)
from .errors import (
    ConfigError,
    CpuLevelError,
    FilesError,
    InterpreterNotFoundError,
    KernelTooOldError,
    ProgramNotExecutableError,
    ProgramNotFoundError,
    PycontainError,
    SandboxClosedError,
    SandboxPausedError,
    SpawnError,
    UnsupportedError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import DEVNULL, PIPE, STDOUT
    from typing import Any

    from . import contract, host, images, profile
    from ._aio import AsyncPopen, AsyncSandbox, run_async
    from ._collect import Collected, Leftover, gc
    from ._living import LivingSandbox, sandboxes
    from ._writable import Change
    from .config import Bind, IoLimit, Overlay, Tmpfs
    from .denial import Denial, Denials
    from .enforcement import Control
    from .errors import (
        CalledProcessError,
        DigestMismatchError,
        ImageConfigError,
        ImageError,
        ImageNotFoundError,
        InvalidDigestError,
        InvalidReferenceError,
        LayerError,
        LimitExceededError,
        ManifestError,
        PlatformError,
        RateLimitedError,
        RegistryError,
        RegistryNotFoundError,
        SizeMismatchError,
        StoreError,
        TimeoutExpired,
        UnauthorizedError,
        UnsafeLayerError,
        UnsupportedImageError,
    )
    from .profile import Profile
    from .result import Reason, Result, Stats, Usage
    from .sandbox import Sandbox, run

__version__ = "0.1.0"

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AsyncPopen",
    "AsyncSandbox",
    "Bind",
    "CalledProcessError",
    "Change",
    "Collected",
    "ConfigError",
    "Control",
    "CpuLevelError",
    "Denial",
    "Denials",
    "DigestMismatchError",
    "FilesError",
    "ImageConfigError",
    "ImageError",
    "ImageNotFoundError",
    "InterpreterNotFoundError",
    "InvalidDigestError",
    "InvalidReferenceError",
    "IoLimit",
    "KernelTooOldError",
    "LayerError",
    "Leftover",
    "LimitExceededError",
    "LivingSandbox",
    "ManifestError",
    "Overlay",
    "PlatformError",
    "Profile",
    "ProgramNotExecutableError",
    "ProgramNotFoundError",
    "PycontainError",
    "RateLimitedError",
    "Reason",
    "RegistryError",
    "RegistryNotFoundError",
    "Result",
    "Sandbox",
    "SandboxClosedError",
    "SandboxPausedError",
    "SizeMismatchError",
    "SpawnError",
    "Stats",
    "StoreError",
    "TimeoutExpired",
    "Tmpfs",
    "UnauthorizedError",
    "UnsafeLayerError",
    "UnsupportedError",
    "UnsupportedImageError",
    "Usage",
    "contract",
    "gc",
    "host",
    "images",
    "profile",
    "run",
    "run_async",
    "sandboxes",
]

# Imported when they are asked for: a program that may need a sandbox should not pay for one at its
# start, nor one that blocks for asyncio.
_LATE = {
    **dict.fromkeys(("DEVNULL", "PIPE", "STDOUT"), "subprocess"),
    **dict.fromkeys(_LATE_ERRORS, ".errors"),
    **dict.fromkeys(("AsyncPopen", "AsyncSandbox", "run_async"), "._aio"),
    "Change": "._writable",
    **dict.fromkeys(("Collected", "Leftover", "gc"), "._collect"),
    **dict.fromkeys(("LivingSandbox", "sandboxes"), "._living"),
    **dict.fromkeys(("Bind", "IoLimit", "Overlay", "Tmpfs"), ".config"),
    "Control": ".enforcement",
    **dict.fromkeys(("Denial", "Denials"), ".denial"),
    "Profile": ".profile",
    **dict.fromkeys(("Reason", "Result", "Stats", "Usage"), ".result"),
    **dict.fromkeys(("Sandbox", "run"), ".sandbox"),
}

del TYPE_CHECKING

_MODULES = ("contract", "host", "images", "profile")


def __getattr__(name: str) -> Any:
    """Import a public module, or the module that has a public name (PEP 562)."""
    if name not in _LATE and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - slow to import

    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    value = globals()[name] = getattr(importlib.import_module(_LATE[name], __name__), name)
    return value


def __dir__() -> list[str]:
    """Return the names that are there, and those that will be."""
    return sorted({*globals(), *_LATE, *_MODULES})
