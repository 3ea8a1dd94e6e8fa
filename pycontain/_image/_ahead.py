# SPDX-License-Identifier: Apache-2.0
"""An iterator that is one step ahead, in a thread of its own.

Inflating, hashing and writing release the interpreter's lock, so that stages run side by side.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")

DEPTH: Final = 4
"""Items that may wait to be taken."""


class Ahead(Generic[T]):
    """Iterates over `source` in a thread; what that raises is raised here. Use it in a `with`.

    Leaving it early ends the thread after the item that it is at, and closes a generator there.
    """

    def __init__(self, source: Iterable[T], *, depth: int = DEPTH) -> None:
        self._source = source
        self._depth = depth
        self._items: collections.deque[T] = collections.deque()
        self._changed = threading.Condition()
        self._ended = self._left = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pycontain-ahead", daemon=True)

    def _run(self) -> None:
        iterator = iter(self._source)
        try:
            for item in iterator:
                with self._changed:
                    self._changed.wait_for(lambda: self._left or len(self._items) < self._depth)
                    if self._left:
                        break
                    self._items.append(item)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            self._error = error
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield the items, then raise what the source has raised."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended)
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread. After Ctrl-C nobody waits for what it may wait for."""
        with self._changed:
            self._left = True
            self._changed.notify_all()
        if error is None or isinstance(error, Exception):
            self._thread.join()
