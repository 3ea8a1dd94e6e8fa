# SPDX-License-Identifier: Apache-2.0
"""Connections that neither trickle nor talk without end: urllib3's, with bounds on what arrives.

A timeout of a socket bounds each wait, not their sum, and http.client bounds each line of a
response's head, but not how many heads with status 100 come before it.
"""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Callable
from typing import Any, Final, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

HEAD_LIMIT: Final = 1 << 20
# Less than this in so many seconds of waiting is no transfer any more: 270 bytes per second.
PACE_BYTES: Final = 16 << 10
PACE_S: Final = 60.0
_BUFFER: Final = 64 << 10


class _Paced(io.RawIOBase):
    """The bytes of one response as they come from the socket. Only waiting counts as time."""

    def __init__(self, raw: io.RawIOBase, clock: Callable[[], float]) -> None:
        super().__init__()
        self._raw = raw
        self._clock = clock
        self._begun = False
        self._waited = 0.0
        self._received = 0
        self.head_left: int | None = HEAD_LIMIT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        started = self._clock()
        # A socket with a timeout raises TimeoutError; it never returns None.
        count = cast("int", self._raw.readinto(buffer))
        self._count(count, self._clock() - started)
        return count

    def _count(self, count: int, waited: float) -> None:
        if self.head_left is not None:
            self.head_left -= count
            if self.head_left < 0:
                raise http.client.HTTPException(f"a head of more than {HEAD_LIMIT} bytes")
        if not self._begun:  # the time to think is bounded by the socket's own timeout
            self._begun = True
            return
        self._waited += waited
        self._received += count
        if self._waited >= PACE_S:
            if self._received < PACE_BYTES:
                raise TimeoutError(
                    f"only {self._received} bytes came in {self._waited:.0f} s of waiting"
                )
            self._waited = self._received = 0

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    clock: Callable[[], float] = time.monotonic

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._paced = _Paced(self.fp.detach(), self.clock)
        self.fp = io.BufferedReader(self._paced, _BUFFER)

    def begin(self, *args: Any, **options: Any) -> None:
        super().begin(*args, **options)
        self._paced.head_left = None


class _UnverifiedConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.is_verified = True  # the caller asked for it: urllib3 need not warn


def manager(
    clock: Callable[[], float], proxy: str | None, *, verify: bool, **options: Any
) -> urllib3.PoolManager:
    """Return a pool manager of urllib3 whose connections are bounded.

    Args:
        clock: Returns monotonic seconds.
        proxy: URL of the proxy to go through, or None.
        verify: Whether the TLS context in `options` verifies certificates.
        options: Of `urllib3.PoolManager` or `ProxyManager`.
    """
    response = type("Response", (_Response,), {"clock": staticmethod(clock)})
    encrypted = HTTPSConnection if verify else _UnverifiedConnection
    made: urllib3.PoolManager = (
        urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    )
    made.pool_classes_by_scheme = {
        "http": _pool(urllib3.HTTPConnectionPool, HTTPConnection, response),
        "https": _pool(urllib3.HTTPSConnectionPool, encrypted, response),
    }
    return made


def _pool(pool: type, connection: type, response: type) -> Any:
    bounded = type(connection.__name__, (connection,), {"response_class": response})
    return type(pool.__name__, (pool,), {"ConnectionCls": bounded})
