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
from ._error_base import PycontainError as PycontainError  # noqa: PLC0414

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._cause import Cause
    from ._command_errors import CalledProcessError as CalledProcessError  # noqa: PLC0414
    from ._command_errors import TimeoutExpired as TimeoutExpired  # noqa: PLC0414


class ConfigError(PycontainError, ValueError):
    """An option, or a combination of options, that cannot be right on this machine."""


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


class ImageError(PycontainError):
    """Base of what goes wrong with images, their store and their registries."""


class InvalidReferenceError(ImageError, ValueError):
    """A text that names no image.

    Attributes:
        reference: The text.
        position: Index of the first character that is wrong.
    """

    def __init__(self, message: str, *, reference: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.reference = reference
        self.position = position


class InvalidDigestError(ImageError, ValueError):
    """A text that is no digest."""


class DigestMismatchError(ImageError, ValueError):
    """Content that is not what its digest says.

    Attributes:
        expected, actual: The digests, as text.
    """

    def __init__(self, message: str, *, expected: str = "", actual: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class SizeMismatchError(ImageError, ValueError):
    """Content that is shorter or longer than announced.

    Attributes:
        expected: The announced size in bytes.
        actual: The size in bytes; of content that is too long, what had been read of it.
    """

    def __init__(self, message: str, *, expected: int = 0, actual: int = 0) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class ManifestError(ImageError, ValueError):
    """A manifest, an index or an archive of images that breaks its specification."""


class ImageConfigError(ImageError, ConfigError):
    """An image's configuration that breaks the specification, or asks for what is not there."""


class UnsupportedImageError(ImageError):
    """A valid object that is no image, or an image in a form that is not supported."""


class LimitExceededError(ImageError, ValueError):
    """Content that is larger than a limit.

    Attributes:
        limit: The limit's name.
        allowed: Its value.
    """

    def __init__(self, message: str, *, limit: str = "", allowed: int = 0) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed


class LayerError(ImageError, ValueError):
    """A layer that cannot be read, or that is not what the image's configuration says."""


class UnsafeLayerError(LayerError):
    """A layer that reaches for what is outside of its root."""


class ImageNotFoundError(ImageError, LookupError):
    """No such image, or no such part of one."""


class PlatformError(ImageError, LookupError):
    """An image has nothing for the platform, or a program is not for it.

    Attributes:
        wanted: The platform, such as "linux/amd64/v2".
        offered: What there is.
    """

    def __init__(self, message: str, *, wanted: str = "", offered: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.wanted = wanted
        self.offered = offered


class StoreError(ImageError, OSError):
    """The content store cannot be read or written."""


class RegistryError(ImageError, OSError):
    """A registry cannot be reached, refused, or did not keep to the protocol.

    Attributes:
        registry: Its host, with the port if one was given.
        status: The HTTP status, or None.
        code: The registry's own name of the error, such as "MANIFEST_UNKNOWN", or "".
    """

    def __init__(
        self, message: str, *, registry: str = "", status: int | None = None, code: str = ""
    ) -> None:
        super().__init__(message)
        self.registry = registry
        self.status = status
        self.code = code


class UnauthorizedError(RegistryError, PermissionError):
    """The registry wants other credentials, or none would do."""


class RegistryNotFoundError(RegistryError, ImageNotFoundError):
    """The registry has no such repository, tag or content."""


class RateLimitedError(RegistryError):
    """The registry serves nothing more for now.

    Attributes:
        retry_after: Seconds after which it would, or None if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        registry: str = "",
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, registry=registry, status=status, code=code)
        self.retry_after = retry_after


def __getattr__(name: str) -> Any:
    """Import what derives from `subprocess` when it is asked for: that is slow to import."""
    if name not in {"CalledProcessError", "TimeoutExpired"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - the reason is above

    return getattr(importlib.import_module("._command_errors", __package__), name)
