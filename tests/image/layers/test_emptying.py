# SPDX-License-Identifier: Apache-2.0
"""Removing what is in a directory: any depth, mode and owner, and nothing outside of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _archives import DIRECTORY, FIFO, FILE, archive, directory, entry, symlink
from _attackers import swapped
from pycontain._layers import empty

if TYPE_CHECKING:
    from _stack import Stack


def emptied(path: Path) -> list[str]:
    """Empty a directory and return what is left."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        empty(fd)
    finally:
        os.close(fd)
    return os.listdir(path)


def make_chain(path: Path, depth: int, width: int = 0) -> None:
    """Make directories within each other, deeper than a path can say."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        for number in range(width):
            os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        deeper = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)


@pytest.mark.parametrize(
    "depth, width",
    [pytest.param(20_000, 0, marks=pytest.mark.requires("root")), (2000, 0), (200, 5)],
)
def test_depth(depth: int, width: int) -> None:
    """In memory: there are disks on which so many directories take a minute."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        make_chain(Path(folder), depth, width)
        assert emptied(Path(folder)) == []


def test_breadth(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}/a/b").mkdir(parents=True)
        for name in range(20):
            (tmp_path / f"{number}/a/{name}").touch()
    assert emptied(tmp_path) == []


def test_modes_and_kinds(stack: Stack) -> None:
    stack(
        archive(
            directory("d", mode=0),
            directory("d/e", mode=0o1000),
            entry("d/e/f", mode=0),
            entry("d/p", FIFO),
            symlink("d/l", "/"),
            entry("d/.wh.gone"),
            entry("k", DIRECTORY, mode=0o500),
            entry("k/f", FILE, b"data"),
        )
    )
    assert emptied(stack.root) == []


@pytest.mark.requires("rootrange")
def test_owners(stack: Stack) -> None:
    stack(archive(directory("d", uid=1000, mode=0o700), entry("d/f", uid=65534, gid=5)))
    assert emptied(stack.root) == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    outside.mkdir()
    (outside / "file").touch()
    (tree / "link").symlink_to(outside)
    (tree / "d").mkdir()
    (tree / "d/link").symlink_to("../../outside")
    assert emptied(tree) == []
    assert os.listdir(outside) == ["file"]


def test_nothing_outside_is_removed_while_the_tree_changes(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "d/file").touch()
    for _ in range(10):
        (tree / "a/d").mkdir(parents=True)
        (tree / "a/d/file").touch()
        (tree / "b").symlink_to(outside)
        with swapped(tree / "a", tree / "b"):
            assert emptied(tree) == []
        tree.rmdir()
        assert (outside / "d/file").exists()


def test_the_names_that_it_uses_itself(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f".removed-{number}/x/y").mkdir(parents=True)
        (tmp_path / f"z/.removed-{number}").mkdir(parents=True)
    assert emptied(tmp_path) == []
