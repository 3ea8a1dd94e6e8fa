# SPDX-License-Identifier: Apache-2.0
"""Authorized requests to one registry: where it is, who we are, what it answered."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from pycontain._image._reference import Reference
from pycontain.errors import RegistryError, UnauthorizedError

from . import _credentials
from ._auth import ROUNDS, Authenticator
from ._credentials import ANONYMOUS, Credentials
from ._errors import ConnectionFailedError
from ._events import EventHandler
from ._failures import refusal
from ._proxies import is_loopback
from ._reply import Reply
from ._retry import Patience, Timing
from ._tokens import union
from ._transport import Body, Transport, origin


def _version() -> str:
    try:
        return importlib.metadata.version("pycontain")
    except importlib.metadata.PackageNotFoundError:
        return "0"


class Session:
    """What all requests to one registry share. Threads may share it."""

    def __init__(
        self,
        registry: str,
        *,
        credentials: Credentials | None,
        insecure: bool,
        on_event: EventHandler,
        timing: Timing,
        environ: Mapping[str, str],
    ) -> None:
        """See `Client`."""
        self.registry = registry
        self.on_event = on_event
        self._host = Reference(registry=registry, repository="a/b").api_host
        self._loopback = is_loopback(origin(f"https://{self._host}")[1])
        self._insecure = insecure or self._loopback
        self._given = credentials
        self._environ = environ
        self._transport = Transport(
            registry,
            host=self._host,
            insecure=insecure,
            timing=timing,
            environ=self._environ,
            user_agent=f"pycontain/{_version()}",
            on_event=self.on_event,
        )
        self._auth = Authenticator(self._transport, self._find_credentials, timing.clock)
        self._lock = threading.RLock()  # an event's handler may make requests
        self._base = ""

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def patience(self) -> Patience:
        """Return a new allowance of attempts."""
        return self._transport.patience()

    def request(
        self,
        method: str,
        target: str,
        *,
        repository: str,
        actions: str = "pull",
        scopes: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        again: bool = True,
    ) -> Reply:
        """Make a request with what authorizes it.

        Args:
            method: The HTTP method.
            target: A path below "/v2/REPOSITORY/", or a URL that the registry gave; one of another
                origin gets no credentials.
            repository: What it is about.
            actions: What it needs to be allowed to do there.
            scopes: What else it needs, such as "repository:a/b:pull".
            headers, body, again: See `Transport.send`.

        Returns:
            The answer, whatever its status, but for 401. Close it.

        Raises:
            UnauthorizedError: Credentials are needed, or are not accepted.
            RegistryError: No answer, or see `Transport.send`.
        """
        base = self.base
        url = target if "://" in target else f"{base}/v2/{repository}/{target}"
        wanted = union([f"repository:{repository}:{actions}", *scopes])
        own = origin(url) == origin(base)
        subject = f"{repository}/{target}" if url != target else repository
        for attempt in range(ROUNDS):
            sent = self._auth.authorization(repository, wanted) if own else ""
            authorization = {"Authorization": sent} if sent else {}
            reply = self._transport.send(
                method, url, headers={**(headers or {}), **authorization}, body=body, again=again
            )
            if reply.status != HTTPStatus.UNAUTHORIZED or reply.foreign or not own:
                return reply
            with reply:
                refused = self._auth.challenged(reply, repository, wanted, sent, first=attempt == 0)
                if refused is not None:
                    raise refusal(reply, registry=self.registry, subject=subject, advice=refused)
        raise UnauthorizedError(
            f"{self.registry} asked {ROUNDS} times for other credentials",
            registry=self.registry,
            status=HTTPStatus.UNAUTHORIZED,
        )

    def request_elsewhere(self, url: str, headers: Mapping[str, str]) -> Reply:
        """Get a URL that is not the registry's, without credentials. Raises RegistryError."""
        return self._transport.send("GET", url, headers=headers)

    def refusal(self, reply: Reply, repository: str, subject: str) -> RegistryError:
        """Return what an unwanted answer means, and close it."""
        advice = self._auth.advice(repository)
        if reply.foreign:
            advice = "the registry's storage refused, to which credentials are never sent"
        return refusal(reply, registry=self.registry, subject=subject, advice=advice)

    def resolve(self, url: str, location: str) -> str:
        """Return where a header Location points to. Raises RegistryError."""
        return self._transport.resolve(url, location)

    @property
    def base(self) -> str:
        """Scheme and host of the API."""
        with self._lock:
            if not self._base:
                self._base = self._find_base() if self._insecure else f"https://{self._host}"
            return self._base

    def _find_base(self) -> str:
        """Ask with TLS first, and without where nothing speaks it: as Docker does."""
        base = f"https://{self._host}"
        try:
            self._transport.open("GET", f"{base}/v2/").close()
        except ConnectionFailedError as error:
            if not error.not_tls:
                raise
            base = f"http://{self._host}"
            self._transport.open("GET", f"{base}/v2/").close()
        return base

    def _find_credentials(self, repository: str) -> Credentials | None:
        if self._given is not None:
            return None if self._given == ANONYMOUS else self._given
        return _credentials.find(self.registry, repository, self._environ)
