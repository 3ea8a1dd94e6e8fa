# SPDX-License-Identifier: Apache-2.0
"""What to say when a registry cannot be reached or refuses: one sentence, and what to do."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import ssl
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from urllib3 import exceptions as urllib3_errors

from pycontain.errors import (
    RateLimitedError,
    RegistryError,
    RegistryNotFoundError,
    UnauthorizedError,
)

from ._errors import ConnectionFailedError
from ._reply import Reply
from ._text import printable

ERROR_LIMIT: Final = 64 << 10
_RATE_HEADERS: Final = ("ratelimit-limit", "ratelimit-remaining")


def connection_failure(
    error: Exception, *, registry: str, url: str, proxy: str | None
) -> ConnectionFailedError:
    """Return what an exception of urllib3's means."""
    host = printable(urlsplit(url).netloc.rpartition("@")[2])
    whose = registry if host == registry else f"{registry} ({host})"
    if isinstance(error, urllib3_errors.SSLError):
        return _tls_failure(error, registry, whose)
    reason = error.__cause__ or error.__context__ or error
    passing, not_tls = True, False
    match error:
        case urllib3_errors.ProxyError():
            problem = (
                f"{registry} cannot be reached through the proxy {_proxy_host(proxy)}: "
                f"{_system_text(error.original_error)}; see HTTPS_PROXY, HTTP_PROXY, NO_PROXY"
            )
        case urllib3_errors.NameResolutionError():
            problem = f"{whose}: unknown host; is the name right, and is there a network?"
            passing = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_AGAIN
        case urllib3_errors.NewConnectionError():
            problem = f"{whose} cannot be reached: {_system_text(reason)}"
            not_tls = getattr(reason, "errno", None) == errno.ECONNREFUSED
        case urllib3_errors.ConnectTimeoutError():
            problem = f"{whose}: no connection in time; is there a firewall, or a proxy to use?"
            not_tls = True
        case urllib3_errors.ReadTimeoutError() | TimeoutError():
            problem = f"{whose}: it stopped answering"
        case urllib3_errors.LocationParseError() | UnicodeError() | http.client.InvalidURL():
            problem = f"{whose} is not a host that can be reached"
            passing = False
        case ValueError():  # without its text, which may hold a header's value
            problem = f"{whose}: the request has characters that cannot be sent"
            passing = False
        case _:
            inner = error.args[-1] if error.args else error
            problem = f"{whose}: the connection broke: {_system_text(inner)}"
    return ConnectionFailedError(problem, registry=registry, passing=passing, not_tls=not_tls)


def _system_text(error: object) -> str:
    if isinstance(error, OSError) and error.errno:
        return error.strerror or str(error)
    if isinstance(error, OSError | http.client.HTTPException):
        return printable(str(error)) or type(error).__name__
    return "it broke off"


def _proxy_host(proxy: str | None) -> str:
    return printable(urlsplit(proxy or "").netloc.rpartition("@")[2])


def _tls_failure(error: Exception, registry: str, whose: str) -> ConnectionFailedError:
    inner: BaseException = error
    while not isinstance(inner, ssl.SSLError) and inner.args:
        if not isinstance(inner.args[0], BaseException):
            break
        inner = inner.args[0]
    if isinstance(inner, ssl.SSLCertVerificationError):
        return ConnectionFailedError(
            f"{whose}: its certificate is not trusted: {printable(inner.verify_message)}; "
            f"put the authority's certificate into /etc/docker/certs.d/{registry}/ca.crt "
            "or name it in SSL_CERT_FILE",
            registry=registry,
            passing=False,
        )
    reason = getattr(inner, "reason", None) or ""
    if "CERTIFICATE_REQUIRED" in reason or "ALERT_BAD_CERTIFICATE" in reason:
        return ConnectionFailedError(
            f"{whose} wants a client certificate: put it into "
            f"/etc/docker/certs.d/{registry}/client.cert and client.key",
            registry=registry,
            passing=False,
        )
    if isinstance(inner, ssl.SSLEOFError) or "EOF" in reason:
        return ConnectionFailedError(
            f"{whose}: the connection broke within TLS; does it want a client certificate "
            f"(/etc/docker/certs.d/{registry}/client.cert and client.key), or no TLS at all "
            "(insecure=True)?",
            registry=registry,
            not_tls=True,
        )
    return ConnectionFailedError(
        f"{whose} does not speak TLS ({printable(reason) or 'the handshake failed'}); "
        "for a registry with plain http, say insecure=True",
        registry=registry,
        passing=False,
        not_tls=True,
    )


def refusal(reply: Reply, *, registry: str, subject: str, advice: str = "") -> RegistryError:
    """Return what an answer means that is not the one wanted, and close it.

    Args:
        reply: The answer; its body is read, within a limit.
        registry: Whose it is.
        subject: What was asked for, such as "library/python:3".
        advice: What to do if it is a matter of credentials.
    """
    code, text = _registry_errors(reply)
    said = f" ({': '.join(filter(None, (code, text)))})" if code or text else ""
    status = reply.status
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return UnauthorizedError(
            f"{registry} has no {subject}, or does not let us at it{said}: {advice}".removesuffix(
                ": "
            ),
            registry=registry,
            status=status,
            code=code,
        )
    if status == HTTPStatus.NOT_FOUND:
        return RegistryNotFoundError(
            f"{registry} has no {subject}{said}", registry=registry, status=status, code=code
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(
            f"rate limited by {registry}{said}{_rate(reply)}; wait, or log in for a higher limit",
            registry=registry,
            status=status,
            code=code,
            retry_after=None,
        )
    return RegistryError(
        f"{registry} answered {status} {_phrase(status)} for {subject}{said}".replace("  ", " "),
        registry=registry,
        status=status,
        code=code,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _rate(reply: Reply) -> str:
    """Return what Docker Hub says about its limits, such as "100;w=21600"."""
    shown = [
        f"{name}: {printable(value, 40)}" for name in _RATE_HEADERS if (value := reply.header(name))
    ]
    return f" [{', '.join(shown)}]" if shown else ""


def _registry_errors(reply: Reply) -> tuple[str, str]:
    """Return code and message of the first error in the body (distribution-spec, "Error Codes")."""
    try:
        # Only shown: what it says twice or nests too deep does no harm.
        first = json.loads(reply.read(ERROR_LIMIT))["errors"][0]
        code, text = first.get("code"), first.get("message")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, RegistryError):
        return "", ""
    finally:
        reply.close()
    return (
        printable(code, 60) if isinstance(code, str) else "",
        printable(text) if isinstance(text, str) else "",
    )
