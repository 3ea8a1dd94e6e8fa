# SPDX-License-Identifier: Apache-2.0
"""How to prove to a registry who we are, learned from what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeAlias

from pycontain.errors import UnauthorizedError

from . import _challenge
from ._credentials import Credentials
from ._reply import Reply
from ._text import printable
from ._tokens import Realm, Scopes, Token, TokenSource, realm_of, union
from ._transport import Transport

ROUNDS: Final = 5
_LOGIN: Final = "log in with `docker login` or `podman login`, or pass credentials"
FindCredentials: TypeAlias = Callable[[str], Credentials | None]


class Authenticator:
    """The authorization of requests to one registry. Threads may share it.

    It remembers the last kind of challenge, so that only the first request is made in vain, and
    fetches a token once for all threads that need it.
    """

    def __init__(
        self, transport: Transport, find: FindCredentials, clock: Callable[[], float]
    ) -> None:
        self._transport = transport
        self._registry = transport.registry
        self._find = find
        self._clock = clock
        self._lock = threading.RLock()  # an event's handler may make requests
        self._found: dict[str, Credentials | None] = {}
        self._basic = False
        self._realm: Realm | None = None
        self._sources: dict[tuple[Realm, str], TokenSource] = {}
        self._tokens: dict[tuple[Realm, str, Scopes], Token] = {}
        # What the registry wants beside what we would have asked for.
        self._more: dict[Scopes, Scopes] = {}

    def authorization(self, repository: str, scopes: Scopes) -> str:
        """Return the header Authorization for a request, "" for none.

        Raises:
            UnauthorizedError: No token is to be had.
            RegistryError: Nor is there an answer.
        """
        with self._lock:
            if self._realm is not None:
                credentials = self._credentials(repository)
                if credentials and credentials.registry_token:
                    return f"Bearer {credentials.registry_token}"
                return f"Bearer {self._token(self._realm, repository, scopes).value}"
            if self._basic:
                credentials = self._credentials(repository)
                return credentials.basic if credentials else ""
            return ""

    def challenged(
        self, reply: Reply, repository: str, scopes: Scopes, sent: str, *, first: bool
    ) -> str | None:
        """Learn from an answer 401.

        Args:
            reply: The answer.
            repository: What the request was about.
            scopes: What it needs.
            sent: Its header Authorization.
            first: It is the first answer to this request, so that what was sent may be outdated.

        Returns:
            None if it is worth another request, else the reason why it is not.

        Raises:
            UnauthorizedError: The challenge is not understood.
        """
        challenges = _challenge.parse(reply.header_values("WWW-Authenticate"))
        by_scheme: dict[str, _challenge.Challenge] = {}
        for challenge in challenges:
            by_scheme.setdefault(challenge.scheme, challenge)
        with self._lock:
            credentials = self._credentials(repository)
            if bearer := by_scheme.get("bearer"):
                realm = realm_of(bearer.parameters, asked=reply.url, registry=self._registry)
                return self._bearer(realm, bearer.parameters, credentials, scopes, sent, first)
            if "basic" in by_scheme:
                self._basic, self._realm = True, None
                if credentials is None or not (credentials.username or credentials.identity_token):
                    return f"no credentials are known for it; {_LOGIN}"
                if sent == credentials.basic:
                    return f"the credentials from {credentials.source} are not accepted"
                return None
        offered = printable(", ".join(by_scheme) or "nothing that could be read", 80)
        raise UnauthorizedError(
            f"{self._registry} asks for a way to authenticate that is not known here ({offered}); "
            "Basic and Bearer are",
            registry=self._registry,
            status=HTTPStatus.UNAUTHORIZED,
        )

    def _bearer(
        self,
        realm: Realm,
        parameters: dict[str, str],
        credentials: Credentials | None,
        scopes: Scopes,
        sent: str,
        first: bool,
    ) -> str | None:
        wanted = self._wanted(scopes)
        news = realm != self._realm or not sent
        self._basic, self._realm = False, realm
        self._more[scopes] = union([*wanted, *parameters.get("scope", "").split()])
        news = news or self._wanted(scopes) != wanted
        for key, token in list(self._tokens.items()):
            if sent == f"Bearer {token.value}":
                del self._tokens[key]
        if credentials and sent == f"Bearer {credentials.registry_token}":
            return f"the token from {credentials.source} is not accepted"
        if news or first:
            return None
        if credentials is None:
            return f"no credentials are known for it; {_LOGIN}"
        return f"the credentials from {credentials.source} do not allow it"

    def advice(self, repository: str) -> str:
        """Return what to do when a registry refuses."""
        with self._lock:
            credentials = self._found.get(repository)
        if credentials is None:
            return f"no credentials are known for it; {_LOGIN}"
        return f"the credentials from {credentials.source} do not allow it"

    def _wanted(self, scopes: Scopes) -> Scopes:
        return self._more.get(scopes, scopes)

    def _token(self, realm: Realm, repository: str, scopes: Scopes) -> Token:
        wanted = self._wanted(scopes)
        key = (realm, repository, wanted)
        token = self._tokens.get(key)
        if token is None or self._clock() >= token.until:
            source = self._sources.get((realm, repository))
            if source is None:
                source = TokenSource(
                    self._transport, realm, self._credentials(repository), self._clock
                )
                self._sources[realm, repository] = source
            token = self._tokens[key] = source.fetch(wanted)
        return token

    def _credentials(self, repository: str) -> Credentials | None:
        """Look for them once, and not before a registry asks for any."""
        if repository not in self._found:
            self._found[repository] = self._find(repository)
        return self._found[repository]
