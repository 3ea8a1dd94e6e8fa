# SPDX-License-Identifier: Apache-2.0
"""What a layer changes of those below, whoever made it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from _archives import DIRECTORY, FIFO, archive, directory, entry, symlink
from _stack import Stack
from pycontain._layers import Limits, Lowers, changes
from pycontain.errors import LimitExceededError

if TYPE_CHECKING:
    from pathlib import Path


BELOW = [
    archive(directory("d"), entry("d/a"), entry("d/b"), entry("x"), symlink("l", "d")),
    archive(entry("d/.wh.a"), directory("e"), entry("e/a"), entry("f", FIFO)),
    archive(directory("o"), entry("o/.wh..wh..opq"), entry("d/c"), entry("e/b")),
]


def told(stack: Stack, *, exclude: tuple[str, ...] = (), limits: Limits | None = None) -> list[str]:
    paths = stack.layers[::-1]
    together = all(path.parent == stack.root for path in paths)
    opened = paths[:1] + ([stack.root] if together else paths[1:])
    top, *fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in opened]
    lowers = Lowers(fds, [path.name for path in paths[1:]] if together else None)
    try:
        found = changes(top, lowers, exclude=exclude, limits=limits)
    finally:
        for fd in (top, *fds):
            os.close(fd)
    return [f"{kind} {os.fsdecode(path)}" for kind, path in found]


LAYERS: dict[str, tuple[bytes, list[str]]] = {
    "nothing": (archive(), []),
    "of the lowest": (archive(entry("d/.wh.b"), entry("x")), ["D /d/b", "M /x"]),
    "gone below already": (archive(entry("d/.wh.a"), entry("d/.wh.z")), []),
    "back again": (archive(entry("d/a")), ["A /d/a"]),
    "all that is left below": (
        archive(entry("d/.wh..wh..opq"), entry("e/.wh..wh..opq"), entry("e/b")),
        ["D /d/b", "D /d/c", "D /e/a", "M /e/b"],
    ),
    "of other kinds": (
        archive(entry("f"), directory("x"), entry("l", DIRECTORY), entry("l/b")),
        ["M /f", "M /l", "A /l/b", "M /x"],
    ),
    "behind a link": (archive(directory("l"), entry("l/.wh.b")), ["M /l"]),
    "a mode": (archive(entry("d", DIRECTORY, mode=0o700)), ["M /d"]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_changes(stack: Stack, name: str) -> None:
    layer, expected = LAYERS[name]
    for data in (*BELOW, layer):
        stack(data)
    assert told(stack) == expected


def test_what_is_excluded(stack: Stack) -> None:
    for data in (*BELOW, archive(entry(".wh.x"), entry("d/b"), entry("y/z"), entry("d/.wh.c"))):
        stack(data)
    assert told(stack, exclude=("/x", "/d/c", "/y/z/")) == ["M /d/b", "A /y"]


@pytest.mark.parametrize("stack", [Stack], ids=["directory"], indirect=True)
def test_deletions_as_attributes(stack: Stack) -> None:
    """The other form of whiteouts, which overlayfs writes since Linux 6.7."""
    for data in (*BELOW, archive(directory("d"), entry("d/b"))):
        stack(data)
    path: Path = stack.top / "d"
    os.setxattr(path, "user.overlay.opaque", b"x")
    os.setxattr(path / "b", "user.overlay.whiteout", b"")
    assert told(stack) == ["D /d/b"]


def test_more_than_may_be(stack: Stack) -> None:
    for data in (*BELOW, archive(entry("a"), entry("b"))):
        stack(data)
    with pytest.raises(LimitExceededError):
        told(stack, limits=Limits(entries=1))
