# SPDX-License-Identifier: Apache-2.0
"""When to try again, and how long to wait before (RFC 9110, 10.2.3: Retry-After)."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pycontain.errors import RateLimitedError, RegistryError

from ._errors import ConnectionFailedError
from ._events import EventHandler, Waiting

PASSING: Final = frozenset((408, 429, 500, 502, 503, 504))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Bounds of waiting, and the clocks that measure it. All in seconds.

    Attributes:
        connect: The most to wait for a connection.
        idle: The most to wait for the next bytes.
        longest_wait: The most to wait before another attempt. A registry that asks for more is
            given up at once.
        attempts: How often a request is made at most.
        clock: Monotonic time.
        now: Time since 1970, for dates.
        sleep: Waits.
        chance: Returns a number from 0 to 1, so that clients do not come back all at once.
    """

    connect: float = 10.0
    idle: float = 60.0
    longest_wait: float = 120.0
    attempts: int = 5
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    now: Callable[[], float] = field(default=time.time, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    chance: Callable[[], float] = field(default=random.random, repr=False)


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a header Retry-After asks for, None if it asks for nothing."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:18])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError, TypeError):
        return None


class Patience:
    """The attempts of one piece of work."""

    def __init__(self, timing: Timing, registry: str, on_event: EventHandler) -> None:
        self._timing = timing
        self._registry = registry
        self._on_event = on_event
        self._attempt = 0

    def progressed(self) -> None:
        """Forget past failures: something has been got done."""
        self._attempt = 0

    def wait(self, error: RegistryError, header: str = "") -> None:
        """Wait before another attempt, or give up.

        Args:
            error: What went wrong; raised when it is given up.
            header: Retry-After: how long the registry wants us to wait.
        """
        asked = retry_after(header, self._timing.now())
        self._attempt += 1
        if isinstance(error, RateLimitedError):
            error.retry_after = asked
        if self._attempt >= self._timing.attempts:
            raise error
        if asked is not None and asked > self._timing.longest_wait:
            raise self._too_long(error, asked)
        seconds = self._backoff() if asked is None else asked
        self._on_event(
            Waiting(
                registry=self._registry,
                problem=self._problem(error),
                seconds=seconds,
                attempt=self._attempt,
                attempts=self._timing.attempts,
            )
        )
        self._timing.sleep(seconds)

    def _backoff(self) -> float:
        """Return half a second, doubled each time, less up to a half of it."""
        full = min(0.5 * 2.0 ** (self._attempt - 1), self._timing.longest_wait)
        return full * (1 - self._timing.chance() / 2)

    def _problem(self, error: RegistryError) -> str:
        if isinstance(error, RateLimitedError):
            return f"rate limited by {self._registry}"
        if isinstance(error, ConnectionFailedError):
            return str(error)
        return f"{self._registry} answered {error.status}"

    def _too_long(self, error: RegistryError, asked: float) -> RegistryError:
        problem = (
            f"{error}; it asks to wait {asked:.0f} s, which is more than the "
            f"{self._timing.longest_wait:.0f} s that we would"
        )
        if isinstance(error, RateLimitedError):
            return RateLimitedError(
                problem,
                registry=error.registry,
                status=error.status,
                code=error.code,
                retry_after=asked,
            )
        return RegistryError(problem, registry=error.registry, status=error.status, code=error.code)
