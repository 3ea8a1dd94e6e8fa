# SPDX-License-Identifier: Apache-2.0
"""The systemd scope of this process: asked for when first needed, once, with a keeper in it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from . import _systemd
from ._systemd import Refusal, Scope


class Keeper(Protocol):
    """A child of ours that does nothing but live, and clone for us: see `pycontain._keeper`."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def fileno(self) -> int:
        """Return its control socket."""

    def close(self) -> None:
        """End it and wait for its end."""

    def forget(self) -> None:
        """Close our descriptors of it."""


StartKeeper = Callable[[], Keeper]


class OwnScope:
    """The scope of one owner.

    Args:
        name: Of its unit, without `.scope`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._answer: Scope | Refusal | None = None
        self._keepers: list[Keeper] = []

    def get(self, start: StartKeeper) -> Scope | Refusal | None:
        """Return the scope, or why there is none; None where systemd does not run the machine."""
        if not _systemd.booted():
            return None
        with self._lock:
            if self._answer is None:
                self._answer = self._ask(start)
            return self._answer

    def _ask(self, start: StartKeeper) -> Scope | Refusal:
        nth = f"-{len(self._keepers) + 1}" if self._keepers else ""
        try:
            keeper = start()
        except OSError as error:
            return Refusal(
                why=f"the process that is to hold a systemd scope cannot be started: {error}",
                file="/proc/self/limits",
                remedy="raise the limits of processes and open files",
            )
        answer = _systemd.request(f"{self._name}{nth}.scope", keeper.pid)
        if isinstance(answer, Refusal):
            keeper.close()
        else:
            self._keepers.append(keeper)
        return answer

    @property
    def keeper_fd(self) -> int:
        """The control socket of the keeper in the scope; -1 without one."""
        return self._keepers[-1].fileno() if self._keepers else -1

    def refresh(self) -> None:
        """Ask again next time, unless the scope is still there.

        The keeper of one that was stopped stays with us: another thread may hold its descriptor.
        """
        with self._lock:
            if isinstance(self._answer, Scope) and not os.path.isdir(self._answer.directory):
                self._answer = None

    def close(self) -> None:
        """End the keeper; systemd removes the scope when nothing else lives in it."""
        for keeper in self._keepers:
            keeper.close()
        self._keepers.clear()
        self._answer = None

    def forget(self) -> None:
        """Let go of it, in a forked child."""
        for keeper in self._keepers:
            keeper.forget()
        self._keepers.clear()
        self._answer = None
