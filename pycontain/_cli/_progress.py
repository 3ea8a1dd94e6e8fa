# SPDX-License-Identifier: Apache-2.0
"""How far a pull is: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ._common import complain, printable

if TYPE_CHECKING:
    from pycontain._image._root import ImageRoot
    from pycontain.images import Progress


def ready(image: str, *, platform: str | None, insecure: bool) -> ImageRoot:
    """Return the root of an image, and show the pull if there is one."""
    from pycontain._root import image_root  # noqa: PLC0415 - most commands have no image

    with shown() as shower:
        return image_root(image, platform, insecure=insecure, on_progress=shower.tell)


class Shower(Protocol):
    """Shows what it is told."""

    def tell(self, progress: Progress) -> None:
        """Show it; from any thread."""


@contextlib.contextmanager
def shown() -> Iterator[Shower]:
    """Show what is told, on standard error."""
    bars = _Bars() if sys.stderr.isatty() else None
    if bars is None or not bars.can_be_had:
        yield _Lines()
        return
    try:
        yield bars
    finally:
        bars.stop()


class _Lines:
    """One line for each layer that is done, and for whatever else there is to say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, progress: Progress) -> None:
        if getattr(progress, "action", "") != "downloading":
            with self._lock:
                complain(printable(str(progress)))


class _Bars:
    """A bar for each layer that comes, by the library rich."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bars: Any = None
        self._tasks: dict[int, Any] = {}

    @property
    def can_be_had(self) -> bool:
        """Whether the library is installed."""
        try:
            import rich.progress  # noqa: F401, PLC0415 - an extra, and slow to import
        except ImportError:
            return False
        return True

    def tell(self, progress: Progress) -> None:
        with self._lock:
            self._start()
            number = getattr(progress, "number", None)
            if number is None:
                self._bars.console.print(printable(str(progress)), markup=False, highlight=False)
            else:
                self._move(number, progress)

    def _start(self) -> None:
        """Begin with the first thing to show: most images need no pull."""
        if self._bars is not None:
            return
        from rich import console, progress  # noqa: PLC0415 - see above

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            console=console.Console(stderr=True),
            transient=True,
        )
        self._bars.start()

    def _move(self, number: int, layer: Any) -> None:
        if number not in self._tasks:
            self._tasks[number] = self._bars.add_task(
                f"layer {number}/{layer.layers}", total=layer.size
            )
        done = layer.received if layer.action == "downloading" else layer.size
        self._bars.update(self._tasks[number], completed=done)

    def stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
