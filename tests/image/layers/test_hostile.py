# SPDX-License-Identifier: Apache-2.0
"""Archives that are wrong, by accident or on purpose: what is said, and that nothing escapes.

Numbers are those of the list of hostile inputs. Around each target is a canary that stays as it is.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from _archives import (
    CHARACTER,
    DIRECTORY,
    END,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    archive,
    directory,
    entry,
    extended,
    hardlink,
    header,
    octal,
    old_sparse,
    pax_sparse,
    record,
    records,
    symlink,
)
from _stack import pack
from _trees import snapshot
from pycontain._layers import Limits
from pycontain.errors import (
    ImageError,
    LayerError,
    LimitExceededError,
    UnsafeLayerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _stack import Stack


@pytest.fixture(autouse=True)
def canary(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory beside the target, which must not change."""
    probe = tmp_path / "probe"
    probe.mkdir()
    (probe / "victim").write_text("intact")
    (probe / "d").mkdir()
    before = snapshot(probe)
    yield probe
    assert snapshot(probe) == before
    assert sorted(os.listdir(tmp_path)) == ["layers", "probe"]


# 1, 8, 9, 11, 12, 15, 18, 19, 24, 26, 27, 31, 32: the archive, the exception and what it says.
REFUSED = {
    "1 dots": (
        entry("a") + entry("b") + entry("../../etc/x"),
        UnsafeLayerError,
        "path escapes root: '../../etc/x' (entry 3)",
    ),
    "1 dots inside": (entry("a/../../x"), UnsafeLayerError, "path escapes root: 'a/../../x'"),
    "8 absolute": (
        hardlink("a", "/etc/shadow"),
        UnsafeLayerError,
        "hardlink target not found in image: '/etc/shadow' (entry 1 'a')",
    ),
    "9 dots": (
        hardlink("a", "../../../etc/shadow"),
        UnsafeLayerError,
        "hardlink target not found in image: '/etc/shadow'",
    ),
    "9 in the working directory": (
        hardlink("a", "setup.py"),
        UnsafeLayerError,
        "hardlink target not found in image",
    ),
    "11 directory": (
        directory("d") + hardlink("a", "d"),
        UnsafeLayerError,
        "hardlink target '/d' is a directory",
    ),
    "11 root": (hardlink("a", "/"), UnsafeLayerError, "hardlink target '/' is a directory"),
    "11 itself": (hardlink("a", "a"), UnsafeLayerError, "hardlink target not found"),
    "11 later": (hardlink("a", "b") + entry("b"), UnsafeLayerError, "is missing or comes later"),
    "11 below a file": (entry("b") + hardlink("a", "b/c"), UnsafeLayerError, "not found in image"),
    "11 to a whiteout": (entry(".wh.b") + hardlink("a", "b"), UnsafeLayerError, "not found"),
    "18 whiteout": (
        entry("a", CHARACTER),
        UnsafeLayerError,
        "reserved overlay whiteout device 0:0 (entry 1 'a')",
    ),
    "19 number": (
        entry("a", CHARACTER, major=octal(1 << 33, 8)),
        UnsafeLayerError,
        "device number out of range",
    ),
    "24 not decimal": (extended(b"xx a=b\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 zero": (extended(b"0 a=b\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 too long": (extended(b"99 a=b\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 too short": (extended(b"5 a=b\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 huge": (extended(b"9" * 40 + b" a=b\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 no equals": (extended(b"5 ab\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 no key": (extended(b"5 =b\n") + entry("a"), LayerError, "malformed PAX record"),
    "24 no end": (extended(b"6 a=bc") + entry("a"), LayerError, "malformed PAX record"),
    "24 NUL in a key": (extended(b"8 a\0b=c\n") + entry("a"), LayerError, "malformed PAX record"),
    "26 negative size": (header("a", size=octal(-1, 12)), LayerError, "invalid size (entry 1 'a')"),
    "26 size": (header("a", size=b"\x80" + b"\xff" * 11), LayerError, "invalid size"),
    "26 size in pax": (
        entry("a", pax={"size": "99999999999999999999999"}),
        LayerError,
        "invalid size",
    ),
    "26 signed size in pax": (entry("a", pax={"size": "-1"}), LayerError, "invalid size"),
    "26 no number": (header("a", size=b"12x45678901\0"), LayerError, "invalid size"),
    "26 owner": (entry("a", uid=octal(-1, 8)), LayerError, "invalid owner"),
    "26 owner in pax": (entry("a", pax={"uid": str(1 << 32)}), LayerError, "invalid owner"),
    "27 checksum": (
        entry("a") + header("b", checksum=b"000000\0 "),
        LayerError,
        "bad header checksum after entry 1 'a'",
    ),
    "27 header cut": (entry("a") + header("b")[:300], LayerError, "truncated layer at entry 1 'a'"),
    "27 data cut": (
        header("some", size=5000) + b"x" * 1000,
        LayerError,
        "truncated layer at entry 1 'some'",
    ),
    "27 padding cut": (header("a", size=5) + b"12345", LayerError, "truncated layer at entry 1"),
    "27 extended cut": (extended(record("path", "b")), LayerError, "truncated layer"),
    "27 extended then end": (extended(record("path", "b")) + END, LayerError, "truncated layer"),
    "27 one zero block": (bytes(512) + entry("a"), LayerError, "a zero block followed by data"),
    "31 NUL in pax": (entry("a", pax={"path": b"a\0b"}), UnsafeLayerError, "NUL byte in a name"),
    "31 NUL in a link": (
        entry("a", SYMLINK, pax={"linkpath": b"a\0b"}),
        UnsafeLayerError,
        "NUL byte in a name",
    ),
    "32 whiteout": (entry("d/.wh."), UnsafeLayerError, "invalid whiteout (entry 1 'd/.wh.')"),
    "no name": (entry(""), LayerError, "entry 1 has no name"),
    "no target": (symlink("a", ""), LayerError, "symbolic link without a target"),
    "sparse: overlap": (
        pax_sparse("a", 100, [(0, b"x" * 10), (5, b"y" * 10)]),
        LayerError,
        "malformed map of sparse file",
    ),
    "sparse: past the end": (
        old_sparse("a", 10, [(8, b"x" * 10)]),
        LayerError,
        "malformed map of sparse file",
    ),
    "sparse: less data than mapped": (
        extended(records({"GNU.sparse.size": "100", "GNU.sparse.map": "0,50"})) + entry("a"),
        LayerError,
        "malformed map of sparse file",
    ),
    "sparse: overflow": (
        extended(records({"GNU.sparse.size": "9", "GNU.sparse.map": f"{2**64 - 1},{2**64 - 1}"}))
        + entry("a"),
        LayerError,
        "malformed map of sparse file",
    ),
    "sparse: odd": (
        extended(records({"GNU.sparse.size": "9", "GNU.sparse.map": "1,2,3"})) + entry("a"),
        LayerError,
        "malformed map of sparse file",
    ),
    "sparse: lines without end": (
        extended(records({"GNU.sparse.major": "1", "GNU.sparse.realsize": "9"}))
        + entry("a", FILE, b"9" * 512),
        LayerError,
        "malformed map of sparse file",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(stack: Stack, name: str) -> None:
    data, kind, text = REFUSED[name]
    with pytest.raises(ImageError, match=re.escape(text)) as caught:
        stack(data if name.startswith("27") else archive(data))
    assert type(caught.value) is kind


# 2 to 7, 10, 13, 14: what lands where, with {probe} for the canary's path on the host.
CONFINED = {
    "2 absolute": (entry("/etc/x"), "etc/x"),
    "3 link to the canary": (symlink("a", "{probe}") + entry("a/x"), "{probe}/x"),
    "4 link with dots": (symlink("a", "../../..") + entry("a/etc/x"), "etc/x"),
    "5 nested dots": (
        directory("d") + symlink("d/p", "..") + symlink("d/q", "p/p/..") + entry("d/q/x"),
        "x",
    ),
    "6 whiteout through a link": (
        symlink("a", "{probe}") + entry("a/.wh.victim"),
        "{probe}/victim",
    ),
    "7 opaque through a link": (symlink("a", "{probe}") + entry("a/.wh..wh..opq"), "{probe}"),
    "10 hard link to a link": (
        symlink("a", "{probe}/victim") + hardlink("b", "a") + entry("b", FILE, b"new"),
        "b",
    ),
    "13 file over a link": (symlink("a", "{probe}/victim") + entry("a", mode=0o4777), "a"),
    "13 fifo over a link": (symlink("a", "{probe}/victim") + entry("a", FIFO, mode=0o777), "a"),
    "14 directory over a link": (symlink("a", "{probe}/d") + directory("a") + entry("a/x"), "a/x"),
    "below a hard link to a link": (
        symlink("a", "{probe}") + hardlink("b", "a") + entry("b/x"),
        "{probe}/x",
    ),
}


@pytest.mark.parametrize("name", CONFINED)
def test_confined(stack: Stack, canary: Path, name: str) -> None:
    data, expected = CONFINED[name]
    probe = os.fsencode(canary)
    assert len(probe) < 90
    parts = [data[at : at + 512] for at in range(0, len(data), 512)]
    blocks = b"".join(_with_probe(block, probe) for block in parts)
    stack(archive(blocks))
    found = stack.top / expected.format(probe=str(canary).lstrip("/"))
    assert os.path.lexists(found)


def _with_probe(block: bytes, probe: bytes) -> bytes:
    """Put the canary's path into a link's text."""
    if b"{probe}" not in block:
        return block
    link = block[157:257].rstrip(b"\0").replace(b"{probe}", probe).ljust(100, b"\0")
    block = block[:157] + link + block[257:]
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


class TestOverLowerLayers:
    def test_15_a_file_over_a_directory(self, stack: Stack) -> None:
        stack(archive(directory("d"), entry("d/a")))
        stack(archive(entry("d")))
        assert stack.kinds() == {"d": "file"}

    def test_16_a_file_over_a_link(self, stack: Stack) -> None:
        stack(archive(entry("busybox"), symlink("ls", "busybox")))
        report = stack(archive(entry("ls", FILE, b"coreutils")))
        assert stack.kinds() == {"ls": "file"}
        assert report.independent


LIMITED = {
    "25 pax header": (header("x", "x", size=8 << 30), Limits(), "header_bytes"),
    "25 long name": (header("x", "L", size=8 << 30), Limits(), "header_bytes"),
    "25 global header": (header("x", "g", size=8 << 30), Limits(), "header_bytes"),
    "29 sparse": (pax_sparse("x", 1 << 62, [(0, b"x")]), Limits(), "total_bytes"),
    "29 old sparse": (old_sparse("x", 1 << 62, [(0, b"x")]), Limits(), "total_bytes"),
    "29 sparse map": (
        extended(records({"GNU.sparse.major": "1", "GNU.sparse.realsize": "9"}))
        + entry("x", FILE, b"99999\n" + b"9\n" * 5000),
        Limits(header_bytes=4096),
        "header_bytes",
    ),
    "29 file": (header("x", size=1 << 40), Limits(total_bytes=1 << 30), "total_bytes"),
    "29 files": (entry("x", FILE, b"x" * 600) * 3, Limits(total_bytes=1500), "total_bytes"),
    "30 entries": (entry("x") * 11, Limits(entries=10), "entries"),
    "30 implied": (entry("a/" * 11 + "x"), Limits(entries=10), "entries"),
    "30 path": (entry("x", pax={"path": "d/" * 5000 + "x"}), Limits(), "path"),
    "30 link": (entry("x", SYMLINK, pax={"linkpath": "d/" * 5000 + "x"}), Limits(), "path"),
    "30 a shorter path": (entry("0123456789"), Limits(path=11), "path"),
    "21 attribute": (
        entry("x", pax={"SCHILY.xattr.user.k": b"v" * 65537}),
        Limits(),
        "xattr_bytes",
    ),
    "21 attributes": (
        entry("x", pax={f"SCHILY.xattr.user.{n}": b"v" for n in range(1000)}),
        Limits(),
        "xattrs",
    ),
    "memory": (
        b"".join(directory(f"{n:0>90}") for n in range(3000)),
        Limits(memory=1 << 17),
        "memory",
    ),
}


@pytest.mark.parametrize("name", LIMITED)
def test_limits(stack: Stack, name: str) -> None:
    data, limits, limit = LIMITED[name]
    with pytest.raises(LimitExceededError, match=f"limit {limit}=") as caught:
        stack(archive(data), limits=limits)
    assert caught.value.limit == limit
    assert caught.value.allowed == getattr(limits, limit)


def test_30_a_long_name(stack: Stack) -> None:
    with pytest.raises(LayerError, match=r"entry 1 'n+'.*: File name too long"):
        stack(archive(entry("x", pax={"path": "n" * 300})))


STEP = "d" * 100 + "/"


def test_30_as_deep_as_a_path_goes(stack: Stack) -> None:
    stack(archive(entry("x", DIRECTORY, pax={"path": STEP * 40})))
    _, report = pack(stack.top)
    assert report.directories == 40


def test_30_deeper_through_links(stack: Stack) -> None:
    """The tree may be deeper than any path: a link leads to where the last path ended."""
    parts = [entry("x", DIRECTORY, pax={"path": STEP * 20})]
    before = ""
    for n in range(3):
        target = f"{before}{STEP * 20}"
        before = f"l{n}/"
        parts.append(entry(f"l{n}", SYMLINK, pax={"linkpath": target}))
        parts += [
            entry("x", DIRECTORY, pax={"path": before + STEP * depth}) for depth in range(1, 21)
        ]
    parts += [entry(".wh..wh..opq"), entry("a/.wh.b")]
    report = stack(archive(*parts))
    assert report.directories == 61
    with pytest.raises(LimitExceededError, match="limit path"):
        pack(stack.top)


def test_26_times_are_clamped(stack: Stack) -> None:
    stack(archive(entry("a", mtime=b"\x80" + b"\x7f" * 11), entry("b", pax={"mtime": "9" * 30})))
    assert stack.nodes()["a"].mtime_ns > 0


def test_20_attributes_of_overlayfs_do_not_reach_it(stack: Stack) -> None:
    pax = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.metacopy": "",
    }
    report = stack(archive(entry("d", DIRECTORY, pax=pax)))
    names = [name for name, _ in stack.nodes()["d"].xattrs]
    assert [name for name in names if not name.startswith("user.overlay.overlay.")] == []
    assert {warning.code for warning in report.warnings} == {"xattr-escaped", "xattr-ignored"}


@pytest.mark.parametrize("kind", [FILE, HARDLINK, SYMLINK])
def test_names_in_messages_are_quoted(stack: Stack, kind: str) -> None:
    with pytest.raises(UnsafeLayerError) as caught:
        stack(archive(entry("../\x1b[31m\nred", kind)))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
