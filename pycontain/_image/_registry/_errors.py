# SPDX-License-Identifier: Apache-2.0
"""What this client tells of connections, also to who has no urllib3."""

from __future__ import annotations

from pycontain.errors import RegistryError


class ConnectionFailedError(RegistryError):
    """There was no answer, or it broke off.

    Attributes:
        passing: It may go better another time.
        not_tls: The host speaks something else than TLS, or nothing, on the port for it.
    """

    def __init__(
        self, message: str, *, registry: str, passing: bool = True, not_tls: bool = False
    ) -> None:
        super().__init__(message, registry=registry)
        self.passing = passing
        self.not_tls = not_tls
