# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: fetched from the server that a challenge names, and kept until they expire.

Sources: distribution/docs/content/spec/auth/token.md and oauth.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

from pycontain._image import _json
from pycontain.errors import (
    LimitExceededError,
    ManifestError,
    RegistryError,
    UnauthorizedError,
)

from ._credentials import Credentials
from ._failures import refusal
from ._reply import Reply
from ._text import shown_url
from ._transport import Transport, origin

TOKEN_LIMIT: Final = 64 << 10
# The least that a token lives, whatever is said; the most that we believe; renewed so long before.
_LEAST_S: Final = 60.0
_MOST_S: Final = 86400.0
_MARGIN_S: Final = 5.0
_CLIENT: Final = "pycontain"
_VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_NO_OAUTH: Final = frozenset((401, 404, 405))
Scopes: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token with the time on the monotonic clock until which to use it."""

    value: str = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True)
class Realm:
    """Where tokens for a registry come from."""

    url: str
    service: str


def realm_of(parameters: dict[str, str], *, asked: str, registry: str) -> Realm:
    """Return the realm that a challenge names.

    Args:
        parameters: Of the challenge.
        asked: URL of the request that was challenged.
        registry: For errors.

    Raises:
        UnauthorizedError: No URL, or one that a password must not be sent to.
    """
    url = parameters.get("realm", "")
    try:
        scheme, host, _ = origin(url)
        usable = scheme in {"http", "https"} and host and _VISIBLE.fullmatch(url)
    except ValueError:
        scheme, usable = "", None
    if not usable or "@" in urlsplit(url).netloc or "#" in url:
        raise UnauthorizedError(
            f"{registry} wants a token but does not say from where: its challenge has no usable "
            "realm",
            registry=registry,
            status=HTTPStatus.UNAUTHORIZED,
        )
    if scheme == "http" and urlsplit(asked).scheme == "https":
        raise UnauthorizedError(
            f"{registry} wants a token from {shown_url(url)}, which is not encrypted: refused",
            registry=registry,
            status=HTTPStatus.UNAUTHORIZED,
        )
    return Realm(url, parameters.get("service", ""))


def union(scopes: Iterable[str]) -> Scopes:
    """Return scopes with the actions on each thing in one: "repository:a/b:pull,push"."""
    actions: dict[str, set[str]] = {}
    others = set()
    for scope in scopes:
        thing, _, names = scope.rpartition(":")
        if thing:
            actions.setdefault(thing, set()).update(filter(None, names.split(",")))
        else:
            others.add(scope)
    joined = (f"{thing}:{','.join(sorted(names))}" for thing, names in actions.items())
    return frozenset([*others, *joined])


class TokenSource:
    """Fetches tokens for one realm and one set of credentials."""

    def __init__(
        self,
        transport: Transport,
        realm: Realm,
        credentials: Credentials | None,
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._registry = transport.registry
        self._realm = realm
        self._credentials = credentials
        self._clock = clock

    def fetch(self, scopes: Scopes) -> Token:
        """Return a new token.

        Raises:
            UnauthorizedError: Refused, or what came is no token.
            RegistryError: The server cannot be reached, or failed.
        """
        started = self._clock()
        with self._ask(scopes) as reply:
            if reply.status != HTTPStatus.OK:
                raise self._refused(reply)
            return self._parse(reply, started)

    def _ask(self, scopes: Scopes) -> Reply:
        if self._credentials and self._credentials.identity_token:
            reply = self._post(self._credentials.identity_token, scopes)
            if reply.status not in _NO_OAUTH:
                return reply
            reply.close()
        return self._get(scopes)

    def _get(self, scopes: Scopes) -> Reply:
        query = [("service", self._realm.service)] if self._realm.service else []
        query += [("scope", scope) for scope in sorted(scopes)]
        headers = {}
        if self._credentials:
            headers["Authorization"] = self._credentials.basic
        parts = urlsplit(self._realm.url)
        query = [*parse_qsl(parts.query, keep_blank_values=True), *query]
        url = parts._replace(query=urlencode(query)).geturl()
        return self._transport.send("GET", url, headers=headers)

    def _post(self, identity_token: str, scopes: Scopes) -> Reply:
        form = {
            "grant_type": "refresh_token",
            "service": self._realm.service,
            "client_id": _CLIENT,
            "scope": " ".join(sorted(scopes)),
            "refresh_token": identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        return self._transport.send("POST", self._realm.url, headers=headers, body=body)

    def _refused(self, reply: Reply) -> RegistryError:
        where = shown_url(self._realm.url)
        if self._credentials is None:
            advice = "log in with `docker login` or `podman login`, or pass credentials"
        else:
            advice = f"the credentials from {self._credentials.source} are not accepted"
        return refusal(
            reply, registry=self._registry, subject=f"a token from {where}", advice=advice
        )

    def _parse(self, reply: Reply, started: float) -> Token:
        try:
            value = _json.loads(reply.read(TOKEN_LIMIT), "token", limit=TOKEN_LIMIT)
            token = value.text("token") or value.text("access_token")
            seconds = value.integer("expires_in")
            renewed = value.text("refresh_token")
        except (ManifestError, LimitExceededError):  # whose text could show the token
            token, seconds, renewed = "", None, ""
        if not _VISIBLE.fullmatch(token):
            raise UnauthorizedError(
                f"{self._registry}: what {shown_url(self._realm.url)} sent holds no token",
                registry=self._registry,
            )
        if self._credentials and self._credentials.identity_token and _VISIBLE.fullmatch(renewed):
            self._credentials = replace(self._credentials, identity_token=renewed)
        life = min(max(float(seconds or 0), _LEAST_S), _MOST_S)
        return Token(value=token, until=started + life - _MARGIN_S)
