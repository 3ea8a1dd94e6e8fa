# SPDX-License-Identifier: Apache-2.0
"""The exceptions.

PycontainError
├── ConfigError (ValueError)                    an option that cannot be right
├── SpawnError (OSError)                        a step of the set-up failed
├── UnsupportedError (OSError)                  this host cannot do what was asked
│   ├── CpuLevelError                           a program needs a newer processor
│   └── KernelTooOldError                       or a newer kernel
├── SandboxClosedError (RuntimeError)           the sandbox is gone
├── TimeoutExpired (subprocess.TimeoutExpired, TimeoutError)
├── CalledProcessError (subprocess.CalledProcessError)
├── ProgramNotFoundError (FileNotFoundError)    no such program inside
│   └── InterpreterNotFoundError                nor who runs it, though it is there
├── ProgramNotExecutableError (PermissionError)
├── FilesError (OSError)                        reading or writing files of a sandbox
├── ContainerError                              OCI containers
│   ├── ContainerNotFoundError (LookupError)    there is none with this id
│   ├── ContainerExistsError                    there is one already
│   └── ContainerStateError (RuntimeError)      its status does not allow it
└── ImageError                                  images, their store and their registries
    ├── InvalidReferenceError (ValueError)      a text that names no image
    ├── InvalidDigestError (ValueError)
    ├── DigestMismatchError (ValueError)        content that is not what its digest says
    ├── SizeMismatchError (ValueError)          nor what its size says
    ├── ManifestError (ValueError)              a manifest, index or archive against its rules
    ├── ImageConfigError (ConfigError)          an image's configuration against its rules
    ├── UnsupportedImageError                   no image, or of an unknown form
    ├── LimitExceededError (ValueError)         larger than a limit allows
    ├── LayerError (ValueError)                 a layer that cannot be read
    │   └── UnsafeLayerError                    or that reaches out of its root
    ├── ImageNotFoundError (LookupError)
    ├── PlatformError (LookupError)             nothing for this platform
    ├── StoreError (OSError)                    the store cannot be read or written
    └── RegistryError (OSError)                 a registry cannot be reached, or refused
        ├── UnauthorizedError (PermissionError)
        ├── RegistryNotFoundError (ImageNotFoundError)
        └── RateLimitedError
"""

from __future__ import annotations

# Under their own names again, which says to type checkers that they are public here.
from ._error_base import ConfigError as ConfigError  # noqa: PLC0414
from ._error_base import PycontainError as PycontainError  # noqa: PLC0414

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._cause import Cause
    from ._command_errors import CalledProcessError as CalledProcessError  # noqa: PLC0414
    from ._command_errors import TimeoutExpired as TimeoutExpired  # noqa: PLC0414
    from ._image_errors import DigestMismatchError as DigestMismatchError  # noqa: PLC0414
    from ._image_errors import ImageConfigError as ImageConfigError  # noqa: PLC0414
    from ._image_errors import ImageError as ImageError  # noqa: PLC0414
    from ._image_errors import ImageNotFoundError as ImageNotFoundError  # noqa: PLC0414
    from ._image_errors import InvalidDigestError as InvalidDigestError  # noqa: PLC0414
    from ._image_errors import InvalidReferenceError as InvalidReferenceError  # noqa: PLC0414
    from ._image_errors import LayerError as LayerError  # noqa: PLC0414
    from ._image_errors import LimitExceededError as LimitExceededError  # noqa: PLC0414
    from ._image_errors import ManifestError as ManifestError  # noqa: PLC0414
    from ._image_errors import PlatformError as PlatformError  # noqa: PLC0414
    from ._image_errors import RateLimitedError as RateLimitedError  # noqa: PLC0414
    from ._image_errors import RegistryError as RegistryError  # noqa: PLC0414
    from ._image_errors import RegistryNotFoundError as RegistryNotFoundError  # noqa: PLC0414
    from ._image_errors import SizeMismatchError as SizeMismatchError  # noqa: PLC0414
    from ._image_errors import StoreError as StoreError  # noqa: PLC0414
    from ._image_errors import UnauthorizedError as UnauthorizedError  # noqa: PLC0414
    from ._image_errors import UnsafeLayerError as UnsafeLayerError  # noqa: PLC0414
    from ._image_errors import UnsupportedImageError as UnsupportedImageError  # noqa: PLC0414


class SpawnError(PycontainError, OSError):
    """A step of setting up a sandbox or starting a command failed.

    Attributes:
        step: The step's name.
        errno: The system's error number.
        path: The path that the step was about, or None.
        hint: What to do about it, or None.
        cause: Who stands in the way, as `pycontain.host.probe` finds it, or None.
    """

    def __init__(
        self,
        step: str,
        errno: int,
        strerror: str,
        path: str | None = None,
        hint: str | None = None,
        cause: Cause | None = None,
    ) -> None:
        super().__init__(errno, strerror)
        self.step = step
        self.path = path
        self.hint = hint
        self.cause = cause

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.step, self.errno, self.strerror, self.path, self.hint, self.cause)
        return type(self), fields

    def __str__(self) -> str:
        """One sentence: the step, the errno, the path, the remedy. Hostile names are escaped."""
        where = f" ({self.path!r})" if self.path else ""
        advice = f". {self.hint}" if self.hint else ""
        return f"{self.step} failed{where}: {self.strerror}{advice}"


class UnsupportedError(PycontainError, OSError):
    """This host, or this user on it, cannot do what was asked.

    Attributes:
        cause: Who stands in the way, as `pycontain.host.probe` finds it, or None.
    """

    cause: Cause | None = None


class CpuLevelError(UnsupportedError):
    """A program, its loader or its C library needs instructions that this processor lacks."""


class KernelTooOldError(UnsupportedError):
    """A program, its loader or its C library needs a newer kernel than this one."""


class SandboxPausedError(PycontainError, RuntimeError):
    """The sandbox is paused, and a new command would only begin when it is resumed."""


class SandboxClosedError(PycontainError, RuntimeError):
    """The sandbox has been closed or has ended."""


class ProgramNotFoundError(PycontainError, FileNotFoundError):
    """The program does not exist inside the sandbox."""


class InterpreterNotFoundError(ProgramNotFoundError):
    """The program exists inside the sandbox; its loader, or a script's interpreter, does not."""


class ProgramNotExecutableError(PycontainError, PermissionError):
    """The program exists inside the sandbox but cannot be executed."""


class FilesError(PycontainError, OSError):
    """Reading or writing files of a sandbox failed."""


class ContainerError(PycontainError):
    """Something went wrong with an OCI container."""


class ContainerNotFoundError(ContainerError, LookupError):
    """There is no container with this id."""


class ContainerExistsError(ContainerError):
    """There is a container with this id already."""


class ContainerStateError(ContainerError, RuntimeError):
    """A container's status does not allow what was asked, such as a second start."""


LATE = {
    **dict.fromkeys(("CalledProcessError", "TimeoutExpired"), "._command_errors"),
    **dict.fromkeys(
        (
            *("DigestMismatchError", "ImageConfigError", "ImageError", "ImageNotFoundError"),
            *("InvalidDigestError", "InvalidReferenceError", "LayerError", "LimitExceededError"),
            *("ManifestError", "PlatformError", "RateLimitedError", "RegistryError"),
            *("RegistryNotFoundError", "SizeMismatchError", "StoreError", "UnauthorizedError"),
            *("UnsafeLayerError", "UnsupportedImageError"),
        ),
        "._image_errors",
    ),
}
"""Where the exceptions are that are imported when they are asked for."""


def __getattr__(name: str) -> Any:
    """Import when they are asked for what derives from `subprocess`, and what images raise."""
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__package__}{LATE[name]}", fromlist=[name])  # not importlib: slow
    value = globals()[name] = getattr(module, name)
    return value
