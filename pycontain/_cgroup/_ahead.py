# SPDX-License-Identifier: Apache-2.0
"""Groups made ahead of time, while a command runs and its caller would only wait.

Never a used one: what a group was charged outlives its processes (page cache, kernel memory, what
each CPU holds back), and counts in the next one's peak and against its limit. To empty it takes
longer than to make another, and leaves some.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

READY_MAX = 8
"""Idle sets of groups that a process keeps."""
_KINDS_MAX = 64


class Removable(Protocol):
    """Directories that can be removed."""

    def remove(self) -> object:
        """Remove them, without waiting."""


Made = TypeVar("Made", bound=Removable)


class Ahead(Generic[Made]):
    """A few things of each kind that was asked for more than once. Any thread may use it.

    Args:
        most: How many are kept, of all kinds together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._ready: list[tuple[Hashable, Made]] = []
        self._making = 0
        self._asked: dict[Hashable, int] = {}

    def take(self, kind: Hashable) -> Made | None:
        """Return one that nobody else gets, if one is ready; take note of the kind."""
        with self._lock:
            self._asked[kind] = self._asked.pop(kind, 0) + 1  # now the last to be forgotten
            if len(self._asked) > _KINDS_MAX:
                del self._asked[next(iter(self._asked))]
            for index, (of_kind, made) in enumerate(self._ready):
                if of_kind == kind:
                    del self._ready[index]
                    return made
        return None

    def add(self, kind: Hashable, make: Callable[[], Made]) -> None:
        """Make one, if the kind comes again and again and there is room.

        The oldest of another kind gives way. What `make` raises is passed on.
        """
        outdated = None
        with self._lock:
            if self._asked.get(kind, 0) < 2:
                return
            if len(self._ready) + self._making >= self._most:
                index = next((i for i, pair in enumerate(self._ready) if pair[0] != kind), None)
                if index is None:
                    return
                outdated = self._ready.pop(index)
            self._making += 1
        made = None
        try:
            if outdated is not None:
                outdated[1].remove()
            made = make()
        finally:
            with self._lock:
                self._making -= 1
                if made is not None:
                    self._ready.append((kind, made))

    def clear(self) -> None:
        """Let go of all that is ready."""
        with self._lock:
            ready, self._ready = self._ready, []
        for _, made in ready:
            made.remove()
