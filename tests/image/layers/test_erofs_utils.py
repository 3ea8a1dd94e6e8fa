# SPDX-License-Identifier: Apache-2.0
"""EROFS's own tools find nothing wrong with an index, and read in it what is unpacked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import _erofs_utils
from _archives import DIRECTORY, FILE, archive, directory, entry, hardlink, symlink
from _authors import LIMITS, Author
from _stack import Stack, index
from _trees import Node, differences, snapshot
from pycontain._layers import UnindexableError
from pycontain.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("erofs", "erofs_utils")

GENERATED = 60
TREE = archive(
    directory("./", mode=0o711, uid=3, mtime=5),
    *(entry(f"d/{size}", FILE, b"x" * size) for size in (0, 1, 511, 512, 513, 70000)),
    *(entry(f"many/{number}-{'n' * (number % 200)}", uid=number) for number in range(700)),
    entry("deep", FILE, b"deep", pax={"path": "p/" * 100 + "x", "SCHILY.xattr.user.k": "v" * 900}),
    entry("with", DIRECTORY, pax={"SCHILY.xattr.user.k": "v"}),
    symlink("link", "t" * 99),
    hardlink("d/again", "d/513"),
    hardlink("link-again", "link"),
    entry("pipe", "6", mode=0o640),
    entry("set", FILE, b"s", mode=0o6755, mtime=-1),
    entry("d/.wh.gone"),
    entry("opaque/.wh..wh..opq"),
)


@pytest.fixture
def unpacked(tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "unpacked").mkdir()
    stack = Stack(tmp_path / "unpacked")
    yield stack
    stack.close()


@pytest.fixture
def image(tmp_path: Path) -> tuple[Path, Path]:
    """Return an index and its archive, of all kinds of files."""
    (tmp_path / "layer.tar").write_bytes(TREE)
    index(tmp_path / "layer.tar", tmp_path / "index")
    return tmp_path / "index", tmp_path / "layer.tar"


def bare(tree: Path) -> dict[str, Node]:
    """Return what fsck.erofs extracts: no attributes, and each name as a file of its own."""
    found = snapshot(tree)
    return {name: replace(node, xattrs=(), links=()) for name, node in found.items()}


def test_what_they_extract_is_what_is_unpacked(
    image: tuple[Path, Path], unpacked: Stack, tmp_path: Path
) -> None:
    unpacked(TREE)
    out = tmp_path / "out"
    done = _erofs_utils.run("fsck.erofs", *image, f"--extract={out}", "--preserve")
    assert done.returncode == 0, done.stderr
    assert differences(bare(unpacked.top), bare(out)) == []


def test_generated_archives(tmp_path: Path) -> None:
    checked = 0
    for seed in range(GENERATED):
        data, target = tmp_path / f"{seed}.tar", tmp_path / f"{seed}.index"
        data.write_bytes(Author(seed, b"/outside").archive())
        try:
            index(data, target, limits=LIMITS)
        except (ImageError, UnindexableError):
            continue
        done = _erofs_utils.run("fsck.erofs", target, data, "--extract")
        assert done.returncode == 0, f"{seed}: {done.stdout}{done.stderr}"
        checked += 1
    assert checked > GENERATED / 10


def test_what_they_say_of_the_image(image: tuple[Path, Path], unpacked: Stack) -> None:
    unpacked(TREE)
    said = _erofs_utils.run("dump.erofs", *image, "-s", "--path=/set").stdout
    inodes = {node.links for node in snapshot(unpacked.top).values()}
    fields = dict(re.findall(r"^(.*?): +(.*?)$", said, re.MULTILINE))
    assert fields["Filesystem blocksize"] == "512"
    assert fields["Filesystem inode count"] == str(len(inodes))
    assert "Access: 0755/rwxr-xr-x" in said


@pytest.mark.parametrize("what", ["magic", "root", "inode"])
def test_they_find_what_is_wrong(image: tuple[Path, Path], what: str) -> None:
    data = bytearray(image[0].read_bytes())
    inodes = 512 * int.from_bytes(data[1024 + 40 : 1024 + 44], "little")
    data[{"magic": 1024, "root": 1024 + 14, "inode": inodes + 32}[what]] ^= 0xFF
    image[0].write_bytes(data)
    assert _erofs_utils.run("fsck.erofs", *image, "--extract").returncode
