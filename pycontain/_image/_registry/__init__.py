# SPDX-License-Identifier: Apache-2.0
"""A client of registries (OCI distribution-spec), on urllib3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pycontain.errors import UnsupportedError

if TYPE_CHECKING:
    from ._client import Client


def connect(registry: str, **options: Any) -> Client:
    """Return a client of a registry; see `_client.Client` for the options. Close it after use.

    Raises:
        UnsupportedError: urllib3 is not installed.
    """
    try:
        from ._client import Client  # noqa: PLC0415 - urllib3 is optional, and slow to import
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "urllib3":
            raise
        raise UnsupportedError(
            "registries need the package urllib3: pip install 'pycontain[images]'"
        ) from None
    return Client(registry, **options)
