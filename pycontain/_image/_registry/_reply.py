# SPDX-License-Identifier: Apache-2.0
"""An answer of a server: a head, and a body that is read within bounds."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeAlias

import urllib3
from urllib3.exceptions import HTTPError

from pycontain.errors import LimitExceededError, RegistryError

from ._text import shown_url

Explain: TypeAlias = Callable[[Exception], RegistryError]
_LITTLE: Final = 4096


class Reply:
    """A response. Read to its end or closed, it returns the connection to the pool.

    Attributes:
        status: The HTTP status.
        url: Where it came from, after redirects.
        foreign: It came from another origin than the one asked, so it got no credentials.
    """

    def __init__(
        self, response: urllib3.BaseHTTPResponse, *, url: str, foreign: bool, explain: Explain
    ) -> None:
        self.status = response.status
        self.url = url
        self.foreign = foreign
        self._response = response
        self._explain = explain

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def header(self, name: str) -> str:
        """Return a header's value, "" if it is absent; several are joined with ", "."""
        return self._response.headers.get(name, "")

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header."""
        return self._response.headers.getlist(name)

    @property
    def length(self) -> int | None:
        """The announced length of the body in bytes, None if there is none that makes sense."""
        value = self.header("Content-Length")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None

    def chunk(self, size: int) -> bytes:
        """Return the next bytes of the body: `size`, fewer at its end, none after it.

        Raises:
            RegistryError: The connection broke.
        """
        try:
            return self._response.read(size, decode_content=False)
        except (HTTPError, OSError) as error:
            self.abort()
            raise self._explain(error) from None

    def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            LimitExceededError: It is longer than `limit`; no more than that has been read.
            RegistryError: The connection broke.
        """
        parts, left = [], limit + 1
        while left and (part := self.chunk(min(left, 1 << 18))):
            parts.append(part)
            left -= len(part)
        if not left:
            self.abort()
            raise LimitExceededError(
                f"an answer of more than {limit} bytes from {shown_url(self.url)}",
                limit="answer",
                allowed=limit,
            )
        return b"".join(parts)

    def close(self) -> None:
        """Get rid of the body, and keep the connection if little is left of it."""
        try:
            self.read(_LITTLE)
        except (LimitExceededError, RegistryError):
            self.abort()

    def abort(self) -> None:
        """Close the connection now."""
        self._response.close()
