# SPDX-License-Identifier: Apache-2.0
"""A registry that does as told, and a client of it that never sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import _fake_registry
from _fake_registry import Watch
from pycontain._image._registry._client import Client


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def fake() -> Iterator[_fake_registry.Fake]:
    with _fake_registry.serve() as served:
        yield served


@pytest.fixture
def storage() -> Iterator[_fake_registry.Fake]:
    """Return another server: a registry's storage, or an attacker."""
    with _fake_registry.serve() as served:
        yield served


@pytest.fixture
def connect(tmp_path: Path, watch: Watch) -> Iterator[Callable[..., Client]]:
    """Return a function that makes a client with nothing of the real environment."""
    made: list[Client] = []

    def connect(registry: str, *, idle: float = 30.0, **options: Any) -> Client:
        environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        environ |= options.pop("environ", {})
        options.setdefault("timing", watch.timing(idle=idle))
        options.setdefault("on_event", watch.events.append)
        made.append(Client(registry, environ=environ, **options))
        return made[-1]

    yield connect
    for client in made:
        client.close()
