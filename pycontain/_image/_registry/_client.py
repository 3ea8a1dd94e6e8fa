# SPDX-License-Identifier: Apache-2.0
"""A client of one registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from pycontain._image._reference import Reference
from pycontain.errors import InvalidReferenceError

from ._credentials import Credentials
from ._events import Event, EventHandler
from ._repository import Repository
from ._retry import Timing
from ._session import Session


def _ignore(_: Event) -> None:
    pass


class Client:
    """A client of one registry, with one pool of connections. Threads may share it."""

    def __init__(
        self,
        registry: str,
        *,
        credentials: Credentials | None = None,
        insecure: bool = False,
        on_event: EventHandler | None = None,
        timing: Timing | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Make a client; nothing is connected yet.

        Args:
            registry: As in a reference: host, with the port if it is not the usual one.
            credentials: To use instead of those that Docker and Podman have stored; `ANONYMOUS`
                for none at all.
            insecure: Take any certificate, and plain http where there is no TLS. For hosts on
                this machine that is so anyway, as with Docker.
            on_event: Called with each event, by the thread that it happens in.
            timing: Timeouts, attempts and clocks.
            environ: The environment for proxies, certificates and stored credentials.

        Raises:
            InvalidReferenceError: No name of a registry.
        """
        if Reference.parse(f"{registry}/a/b").name != f"{registry}/a/b":
            raise InvalidReferenceError(
                f"{registry[:80]!r} is not a registry's name, such as docker.io or localhost:5000",
                reference=registry,
            )
        self.registry = registry
        self._session = Session(
            registry,
            credentials=credentials,
            insecure=insecure,
            on_event=on_event or _ignore,
            timing=timing or Timing(),
            environ=os.environ if environ is None else environ,
        )

    def __repr__(self) -> str:
        return f"Client({self.registry!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client can still be used."""
        self._session.close()

    def repository(self, name: str) -> Repository:
        """Return a repository of the registry; it need not exist.

        Raises:
            InvalidReferenceError: No name of a repository.
        """
        parsed = Reference.parse(f"{self.registry}/{name}")
        if ":" in name or "@" in name:
            raise InvalidReferenceError(
                f"{name[:80]!r} is not the name of a repository alone", reference=name
            )
        return Repository(self._session, parsed.repository)
