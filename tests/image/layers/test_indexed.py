# SPDX-License-Identifier: Apache-2.0
"""An archive with an index shows the tree that unpacking it makes, or has no index."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _archives import DIRECTORY, FILE, archive, directory, entry, hardlink, pax_sparse, symlink
from _authors import LIMITS, Author
from _stack import IndexedStack, Stack, index
from _trees import Node, differences, snapshot
from pycontain._layers import Indexing, UnindexableError
from pycontain.errors import ImageError, LayerError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.requires("erofs")

COUNT = int(os.environ.get("PYCONTAIN_ARCHIVES", "150"))
ACL = bytes.fromhex("0200000001000600ffffffff02000400010000000400040000000000")
ACL += bytes.fromhex("10000600ffffffff20000400ffffffff")
CAPABILITY = bytes.fromhex("0100000200" + "20" * 15)


@pytest.fixture
def stacks(tmp_path: Path) -> Iterator[tuple[Stack, IndexedStack]]:
    """Return stacks of both forms."""
    for name in ("unpacked", "indexed"):
        (tmp_path / name).mkdir()
    both = Stack(tmp_path / "unpacked"), IndexedStack(tmp_path / "indexed")
    yield both
    for stack in both:
        stack.close()


def attribute(name: str, value: bytes | str = "v") -> dict[str, bytes | str]:
    return {f"SCHILY.xattr.{name}": value}


LAYERS = {
    "nothing": archive(),
    "a root": archive(directory("./", mode=0o711, mtime=5)),
    "sizes": archive(
        *(
            entry(f"{size}", FILE, os.urandom(size))
            for size in (0, 1, 511, 512, 513, 4096, 5000, 70000)
        )
    ),
    "names": archive(
        *(entry(name) for name in (" ", "!", "-", ".a", "..b", "~", "x\ny")),
        entry("long", pax={"path": "d/" + "n" * 255}),
        entry("bytes", pax={"path": b"\xff\x80"}),
    ),
    "many names": archive(*(entry(f"d/{i * 7919 % 2003}-{'x' * (i % 200)}") for i in range(2003))),
    "depth": archive(entry("deep", pax={"path": "d/" * 200 + "x"})),
    "links": archive(
        *(symlink(f"{size}", "t" * size) for size in (1, 99)),
        entry("long", "2", pax={"linkpath": "t" * 4000}),
    ),
    "hard links": archive(
        entry("z", FILE, b"data"),
        symlink("s", "z"),
        *(hardlink(f"d/{name}", "z") for name in "abc"),
        hardlink("s2", "s"),
        entry("f", "6"),
        hardlink("f2", "f"),
    ),
    "owners and modes": archive(
        directory("d", uid=65535, gid=1, mode=0o2755), entry("d/x", uid=7, gid=65535, mode=0o6111)
    ),
    "times": archive(
        entry("a", mtime=-1), entry("b", pax={"mtime": "12345.678901234"}), entry("c", mtime=2**33)
    ),
    "attributes": archive(
        entry("x", FILE, b"data", pax=attribute("user.k", b"v\0\n") | attribute("user.l", "w" * 9)),
        entry("acl", pax=attribute("system.posix_acl_access", ACL)),
        entry("d", DIRECTORY, pax=attribute("system.posix_acl_default", ACL)),
        entry("capable", pax=attribute("security.capability", CAPABILITY)),
        entry("large", FILE, b"data", pax=attribute("user.large", "v" * 3000)),
        entry("other", pax=attribute("user.overlay.redirect") | attribute("trusted.x")),
    ),
    "deletions": archive(
        entry("a/.wh.gone"), entry("b/.wh..wh..opq"), entry("b/x"), directory("c"), entry(".wh.c")
    ),
    "data at a hard link": archive(entry("a", FILE, b"1"), entry("b", "1", b"1" * 600, link="a")),
    "without an end": entry("a", FILE, b"1" * 600),
}


def seen(stack: Stack) -> dict[str, Node]:
    return snapshot(stack.top)


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_tree(stacks: tuple[Stack, IndexedStack], name: str) -> None:
    for stack in stacks:
        stack(LAYERS[name])
    assert stacks[1].unindexable == 0
    assert differences(seen(stacks[0]), seen(stacks[1])) == []


@pytest.mark.parametrize("step", [700, 9000])
def test_an_archive_that_is_still_being_written(tmp_path: Path, step: int) -> None:
    data = LAYERS["sizes"] + b"trailing"
    (tmp_path / "whole.tar").write_bytes(data)
    report, _ = index(tmp_path / "whole.tar", tmp_path / "whole")
    with (
        (tmp_path / "grows").open("xb") as out,
        (tmp_path / "grows.tar").open("x+b", buffering=0) as file,
        Indexing(out.fileno(), file.fileno()) as indexing,
    ):
        for at in range(0, len(data), step):
            file.write(data[at : at + step])
            indexing.grown()
        assert indexing.finish() == report
    assert (tmp_path / "grows").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("cut", [1, 600, 70000 // 2])
def test_an_archive_that_ends_in_what_is_skipped(tmp_path: Path, cut: int) -> None:
    whole = entry("large", FILE, b"x" * 70000)
    (tmp_path / "layer.tar").write_bytes(whole[:-cut])
    with pytest.raises(LayerError, match="truncated"):
        index(tmp_path / "layer.tar", tmp_path / "index")


def test_the_same_number_of_names(stacks: tuple[Stack, IndexedStack]) -> None:
    for stack in stacks:
        stack(LAYERS["hard links"])
    for name in ("z", "s", "f"):
        counts = [(stack.top / name).lstat().st_nlink for stack in stacks]
        assert counts[0] == counts[1] > 1


def test_directories_that_no_archive_has_look_like_those_below(
    stacks: tuple[Stack, IndexedStack],
) -> None:
    below = directory("d", mode=0o700, uid=3) + entry("e", DIRECTORY, pax=attribute("user.k"))
    for stack in stacks:
        stack(archive(below))
        report = stack(archive(entry("d/x"), entry("e/new/x")))
        assert report.implicit == (b"/d", b"/e", b"/e/new")
    assert stacks[1].unindexable == 0
    assert differences(seen(stacks[0]), seen(stacks[1])) == []


UNINDEXABLE = {
    "a sparse file": archive(pax_sparse("x", 5000, [(1024, b"data")], "1.0")),
    "a link to a lower file": archive(hardlink("x", "lower")),
    "a large attribute": archive(entry("x", pax=attribute("user.k", "v" * 65536))),
    "many attributes": archive(
        entry("x", pax={f"SCHILY.xattr.user.{i}": "v" * 4000 for i in range(80)})
    ),
}


@pytest.mark.parametrize("name", UNINDEXABLE)
def test_what_has_no_index(tmp_path: Path, name: str) -> None:
    (tmp_path / "layer.tar").write_bytes(UNINDEXABLE[name])
    (tmp_path / "below").mkdir()
    (tmp_path / "below/lower").touch()
    with pytest.raises(UnindexableError):
        index(tmp_path / "layer.tar", tmp_path / "index", [tmp_path / "below"])


@pytest.mark.parametrize("first", range(0, COUNT, 50))
def test_generated(stacks: tuple[Stack, IndexedStack], first: int) -> None:
    taken = 0
    for seed in range(first, first + 50):
        for number in (-seed - 1, seed):
            data = Author(number, b"/outside").archive()
            outcomes = [attempt(stack, data) for stack in stacks]
            assert outcomes[0] == outcomes[1], number
            if outcomes[0] == "":
                assert differences(*map(comparable, stacks)) == [], number
                taken += 1
        for stack in stacks:
            stack.layers.clear()
    assert stacks[1].unindexable < taken


def attempt(stack: Stack, data: bytes) -> str:
    """Return what is wrong with an archive, "" if it became the next layer."""
    stack.root = stack.root / "next"
    stack.root.mkdir()
    before = len(stack.layers)
    try:
        stack(data, limits=LIMITS)
    except ImageError as error:
        del stack.layers[before:]
        return f"{type(error).__name__}: {error}"
    return ""


def comparable(stack: Stack) -> dict[str, Node]:
    """Return the top layer, without times that not every file system has."""
    return {
        name: replace(node, mtime_ns=max(-(1 << 31) * 10**9, min(node.mtime_ns, (1 << 34) * 10**9)))
        for name, node in seen(stack).items()
    }
