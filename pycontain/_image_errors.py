# SPDX-License-Identifier: Apache-2.0
"""The exceptions of images, which `errors` imports late: a container needs none of them."""

from __future__ import annotations

from ._error_base import ConfigError, PycontainError


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


for _error in tuple(globals().values()):
    if isinstance(_error, type) and issubclass(_error, ImageError):
        _error.__module__ = "pycontain.errors"
