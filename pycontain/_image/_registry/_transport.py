# SPDX-License-Identifier: Apache-2.0
"""Requests to one registry and to where it redirects: pools, proxies, TLS, redirects, retries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers

from pycontain.errors import RegistryError

from . import _tls, _wire
from ._errors import ConnectionFailedError
from ._events import EventHandler, RegistryWarning
from ._failures import connection_failure, refusal
from ._proxies import is_loopback, proxy_for
from ._reply import Reply
from ._retry import PASSING, Patience, Timing
from ._text import printable, shown_url

REDIRECTS: Final = 10
CONNECTIONS: Final = 16  # kept open for each host
_REDIRECT: Final = frozenset((301, 302, 303, 307, 308))
# A host on this machine that does not answer a handshake is not waited for long.
_LOOPBACK_S: Final = 3.0
Body: TypeAlias = bytes | Callable[[], Iterable[bytes | memoryview]]


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port, which credentials are bound to (RFC 6454)."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
    )


class Transport:
    """Connections for one registry. Threads may share it."""

    def __init__(
        self,
        registry: str,
        *,
        host: str,
        insecure: bool,
        timing: Timing,
        environ: Mapping[str, str],
        user_agent: str,
        on_event: EventHandler,
    ) -> None:
        self.registry = registry
        self._host = host
        self._insecure = insecure
        self._timing = timing
        self._environ = environ
        self._user_agent = user_agent
        self._on_event = on_event
        self._lock = threading.Lock()
        self._managers: dict[tuple[str | None, str | None, bool], urllib3.PoolManager] = {}
        self._reached = False
        self._warned: set[str] = set()

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for made in managers:
            # `clear` would leave it to the garbage collector.
            for key in made.pools.keys():  # noqa: SIM118 - it is no dict, and not iterable
                if pool := made.pools.get(key):
                    pool.close()

    def patience(self) -> Patience:
        """Return a new allowance of attempts."""
        return Patience(self._timing, self.registry, self._on_event)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        again: bool = True,
    ) -> Reply:
        """Make a request, again where that may help, and follow redirects.

        Args:
            method: The HTTP method.
            url: Absolute.
            headers: `Authorization` goes to the origin of `url` alone.
            body: Bytes, or what returns an iterable of bytes, anew for each attempt; such a body
                needs a header Content-Length.
            again: Make it again after failures that may pass.

        Raises:
            ConnectionFailedError: No answer.
            RateLimitedError: Too many requests, and no more patience.
            RegistryError: Redirected too often or to where we must not go, or failures of the
                registry that did not pass.
        """
        patience = self.patience()
        while True:
            try:
                reply = self._follow(method, url, dict(headers or {}), body)
            except ConnectionFailedError as error:
                # Nobody waits for what was not there in the first place.
                if not (again and error.passing and self._reached):
                    raise
                patience.wait(error)
                continue
            self._reached = True
            if reply.status not in PASSING or not again:
                return reply
            failure = refusal(reply, registry=self.registry, subject=shown_url(url))
            patience.wait(failure, reply.header("Retry-After"))

    def _follow(self, method: str, url: str, headers: dict[str, str], body: Body | None) -> Reply:
        foreign = False
        for _ in range(REDIRECTS + 1):
            reply = self.open(method, url, headers=headers, body=body, foreign=foreign)
            location = reply.header("Location")
            if reply.status not in _REDIRECT or not location:
                return reply
            reply.close()
            target = self.resolve(url, location)
            if origin(target) != origin(url):
                foreign = True
                headers.pop("Authorization", None)
            if reply.status == 303 and method not in {"GET", "HEAD"}:
                method, body = "GET", None
            url = target
        raise RegistryError(
            f"{self.registry} redirects more than {REDIRECTS} times, last to {shown_url(url)}",
            registry=self.registry,
        )

    def resolve(self, url: str, location: str) -> str:
        """Return where a header Location points to.

        Raises:
            RegistryError: To something else than http and https, or from https to http.
        """
        try:
            target = urljoin(url, location)
            scheme, host, _ = origin(target)
        except ValueError:
            scheme, host, target = "", "", ""
        downgrade = (urlsplit(url).scheme, scheme) == ("https", "http")
        if scheme not in {"http", "https"} or not host or downgrade or not target.isascii():
            reason = (
                "that is not encrypted; if it is behind a proxy, the proxy must send it "
                "X-Forwarded-Proto"
                if downgrade
                else "that is no address to go to"
            )
            raise RegistryError(
                f"{self.registry} points from {shown_url(url)} to "
                f"{shown_url(target) if target else printable(location, 80)}: {reason}",
                registry=self.registry,
            )
        parts = urlsplit(target)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        foreign: bool = False,
    ) -> Reply:
        """Make one request and return whatever the answer is.

        Raises:
            ConnectionFailedError: There is none.
            RegistryError: The proxy or the certificates are not usable.
        """
        proxy = proxy_for(url, self._environ)
        # Without the identity, a proxy on the way may compress what must keep its digest.
        sent = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **(headers or {})}

        def explain(error: Exception) -> RegistryError:
            return connection_failure(error, registry=self.registry, url=url, proxy=proxy)

        loopback = is_loopback(urlsplit(url).hostname or "")
        connect = min(self._timing.connect, _LOOPBACK_S) if loopback else self._timing.connect
        manager = self._manager(url, proxy)
        try:
            response = manager.urlopen(
                method,
                url,
                headers=sent,
                body=body() if callable(body) else body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=connect, read=self._timing.idle),
            )
        except (HTTPError, OSError, ValueError) as error:
            raise explain(error) from None
        reply = Reply(response, url=url, foreign=foreign, explain=explain)
        self._report_warnings(reply)
        return reply

    def _report_warnings(self, reply: Reply) -> None:
        for value in reply.header_values("Warning"):
            code, _, rest = value.strip().partition(" ")
            text = printable(rest.partition(" ")[2].strip().strip('"').replace('\\"', '"'))
            if code == "299" and text and text not in self._warned and len(self._warned) < 100:
                self._warned.add(text)
                self._on_event(RegistryWarning(registry=self.registry, text=text))

    def _manager(self, url: str, proxy: str | None) -> urllib3.PoolManager:
        """Return the pools for a URL. Hosts to speak TLS with in the same way share them."""
        host = urlsplit(url).netloc
        same = _name(host) == _name(self._host)
        directory = _tls.certs_directory(self.registry if same else host, self._environ)
        verify = not (same and (self._insecure or is_loopback(_name(host))))
        key = (proxy, directory, verify)
        with self._lock:
            if (made := self._managers.get(key)) is None:
                made = self._managers[key] = self._new_manager(*key)
            return made

    def _new_manager(
        self, proxy: str | None, directory: str | None, verify: bool
    ) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": CONNECTIONS,
            "ssl_context": _tls.context(directory, self._environ, verify=verify),
        }
        if proxy:
            parts = urlsplit(proxy)
            if parts.username is not None:
                login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                options["proxy_headers"] = make_headers(proxy_basic_auth=login)
            proxy = parts._replace(netloc=parts.netloc.rpartition("@")[2], path="").geturl()
            if parts.scheme == "https":
                options["proxy_ssl_context"] = _tls.context(None, self._environ, verify=True)
        return _wire.manager(self._timing.clock, proxy, verify=verify, **options)


def _name(host: str) -> str:
    """Return a host without its port and brackets."""
    return urlsplit(f"//{host}").hostname or ""
