# SPDX-License-Identifier: Apache-2.0
"""Directories become archives: always the same bytes, and what they were made of comes back."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

import pycontain
from _archives import DIRECTORY, FIFO, FILE, SYMLINK, archive, directory, entry, hardlink, symlink
from _attackers import SECRET, swapped
from _stack import pack
from _trees import differences, snapshot
from pycontain._layers import Limits, Packing
from pycontain.errors import LayerError, LimitExceededError

if TYPE_CHECKING:
    from pathlib import Path

    from _stack import Stack


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


def names(data: bytes) -> list[str]:
    return [member.name + "/" * member.isdir() for member in members(data)]


LONG = "d" * 120
EVERYTHING = archive(
    directory("a", mode=0o1777, mtime=5),
    entry("a/file", FILE, b"content" * 1000, mode=0o4755, mtime=7),
    entry("a/empty", FILE, mode=0o400),
    hardlink("a/hard", "a/file"),
    hardlink("b", "a/file"),
    symlink("a/link", "../nowhere"),
    hardlink("a/zlink", "a/link"),
    entry("a/fifo", FIFO, mode=0o600),
    entry("x", FILE, b"long", pax={"path": f"{LONG}/{LONG}/{LONG}"}),
    entry("x", SYMLINK, pax={"path": "far", "linkpath": LONG * 2}),
    entry("x", FILE, pax={"path": b"\xff\xfe"}),
    entry(b"new\nline", FILE, b"1"),
    entry("old", FILE, mtime=-5 % (1 << 32)),
    entry("k", DIRECTORY, pax={"SCHILY.xattr.user.b": b"1\0\n", "SCHILY.xattr.user.a": "2"}),
    entry("k/v", FILE, pax={"SCHILY.xattr.user.overlay.opaque": "y"}),
    entry("gone/.wh.x"),
    entry("gone/.wh.y"),
    directory("hidden"),
    entry("hidden/.wh..wh..opq"),
    entry("hidden/new"),
)


def test_a_round_trip_changes_nothing(stack: Stack) -> None:
    stack(EVERYTHING)
    first, report = pack(stack.top)
    left = snapshot(stack.top)
    stack.layers.clear()
    stack.root = stack.root / "again"
    stack.root.mkdir()
    again = stack(first)
    assert (again.whiteouts, again.opaque) == (report.whiteouts, report.opaque) == (2, 1)
    assert again.independent
    second, _ = pack(stack.top)
    assert first == second
    right = snapshot(stack.top)
    del left["."], right["."]
    assert differences(left, right) == []


def test_order_and_names(stack: Stack) -> None:
    stack(
        archive(
            *(entry(name) for name in ("b/y", "b/x", "a", "B", "b.c", "b/.wh.z", "b/.wh.a")),
            directory("c"),
            entry("c/.wh..wh..opq"),
            entry("c/a"),
        )
    )
    assert names(pack(stack.top)[0]) == [
        *("B", "a", "b/", "b/.wh.a", "b/.wh.z", "b/x", "b/y", "b.c"),
        *("c/", "c/.wh..wh..opq", "c/a"),
    ]


def test_hard_links_point_to_the_first_name(stack: Stack) -> None:
    stack(archive(entry("z", FILE, b"data"), hardlink("m", "z"), hardlink("a", "z")))
    found = [(m.name, m.linkname, m.islnk()) for m in members(pack(stack.top)[0])]
    assert found == [("a", "", False), ("m", "a", True), ("z", "a", True)]


def test_markers_have_no_attributes(stack: Stack) -> None:
    stack(archive(entry("a/.wh.b", mtime=99, mode=0o777)))
    marker = members(pack(stack.top)[0])[1]
    assert (marker.name, marker.size, marker.mtime, marker.mode) == ("a/.wh.b", 0, 0, 0)
    assert marker.isreg()


def test_headers_are_plain(stack: Stack) -> None:
    fraction, attribute = {"mtime": "9.75"}, {"SCHILY.xattr.user.k": "v"}
    stack(archive(entry("a", mtime=9, pax=fraction), entry("k", pax=attribute)))
    data, _ = pack(stack.top)
    a, k = members(data)
    assert (a.mtime, a.uname, a.gname, a.pax_headers) == (9, "", "", {})
    assert k.pax_headers == {"SCHILY.xattr.user.k": "v"}
    assert data[257:265] == b"ustar\x0000"
    assert len(data) == 5 * 512 + 1024 - 512


def test_records_are_sorted(stack: Stack) -> None:
    name = "n" * 200
    stack(
        archive(
            entry(
                "x",
                pax={
                    "path": name,
                    "mtime": "-5",
                    "SCHILY.xattr.user.z": "1",
                    "SCHILY.xattr.user.overlay.m": "2",
                    "SCHILY.xattr.user.a": "3",
                },
            )
        )
    )
    data, _ = pack(stack.top)
    keys = [line.split(b"=")[0].split()[1] for line in data[512:1024].rstrip(b"\0").splitlines()]
    assert keys == sorted(keys)
    assert keys == [
        *(b"SCHILY.xattr.user.a", b"SCHILY.xattr.user.overlay.m", b"SCHILY.xattr.user.z"),
        *(b"mtime", b"path"),
    ]


def test_latest_time(stack: Stack) -> None:
    stack(archive(entry("a", mtime=100), entry("b", mtime=300)))
    data, _ = pack(stack.top, latest=200)
    assert [member.mtime for member in members(data)] == [100, 200]


def test_exclude(stack: Stack) -> None:
    stack(archive(entry("a/b/c"), entry("a/bb"), entry("d")))
    data, _ = pack(stack.top, exclude=["/a/b", "/d/", "/never"])
    assert names(data) == ["a/", "a/bb"]


def test_the_root(stack: Stack) -> None:
    stack(archive(directory("./", mode=0o711, mtime=5), entry("a")))
    data, report = pack(stack.top, root=True)
    root = members(data)[0]
    assert (root.name, root.mode, root.mtime, report.has_root) == (".", 0o711, 5, True)


def test_a_plain_tree_has_no_markers(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_text("x")
    os.setxattr(tmp_path / "a", "user.overlay.opaque", b"y")
    data, report = pack(tmp_path, overlay=False)
    assert (names(data), report.opaque) == (["a/", "a/b"], 0)
    assert members(data)[0].pax_headers == {"SCHILY.xattr.user.overlay.opaque": "y"}


def test_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path may be too long for an address
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
    (tmp_path / "t").touch()
    data, report = pack(tmp_path)
    assert names(data) == ["t"]
    assert [(w.code, w.name) for w in report.warnings] == [("socket", b"s")]


@pytest.mark.parametrize("name", [".wh.a", ".wh.", ".wh..wh..opq"])
@pytest.mark.parametrize("overlay", [False, True])
def test_names_of_markers_cannot_be_stored(tmp_path: Path, name: str, overlay: bool) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).touch()
    with pytest.raises(LayerError, match=r"begins with '\.wh\.'"):
        pack(tmp_path, overlay=overlay)


@pytest.mark.parametrize("flag", ["redirect", "metacopy"])
def test_parts_in_other_places_cannot_be_stored(tmp_path: Path, flag: str) -> None:
    target = tmp_path / "x"
    if flag == "redirect":
        target.mkdir()
    else:
        target.touch()
    os.setxattr(target, f"user.overlay.{flag}", b"/y")
    with pytest.raises(LayerError, match=f"part in another place .*{flag}"):
        pack(tmp_path)


def test_deletions_as_attributes(tmp_path: Path) -> None:
    """The other form of whiteouts, which overlayfs reads since Linux 6.7."""
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", "user.overlay.opaque", b"x")
    (tmp_path / "d/gone").touch()
    os.setxattr(tmp_path / "d/gone", "user.overlay.whiteout", b"")
    (tmp_path / "d/kept").touch()
    data, report = pack(tmp_path)
    assert names(data) == ["d/", "d/.wh.gone", "d/kept"]
    assert (report.opaque, report.whiteouts) == (0, 1)


def test_attributes_that_pax_has_no_form_for(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.setxattr(tmp_path / "a", "user.empty", b"")
    os.setxattr(tmp_path / "a", "user.k=v", b"1")
    os.setxattr(tmp_path / "a", "user.overlay.origin", b"2")
    os.setxattr(tmp_path / "a", "user.kept", b"3")
    data, report = pack(tmp_path)
    assert members(data)[0].pax_headers == {"SCHILY.xattr.user.kept": "3"}
    assert [(w.code, w.count) for w in report.warnings] == [("xattr-unstorable", 2)]


@pytest.mark.requires("root")
def test_capabilities_in_their_second_form(stack: Stack) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    stack(archive(entry("x", pax={"SCHILY.xattr.security.capability": value})))
    data, _ = pack(stack.top)
    assert value in data


def test_sparse_files_are_expanded(tmp_path: Path) -> None:
    with (tmp_path / "s").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    data, report = pack(tmp_path)
    assert report.size == (1 << 20) + 3
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = tar.extractfile("s")
        assert content is not None
        assert content.read() == bytes(1 << 20) + b"end"


@pytest.mark.parametrize(
    "limits, limit",
    [
        (Limits(total_bytes=1 << 20), "total_bytes"),
        (Limits(entries=0), "entries"),
        (Limits(path=10), "path"),
        (Limits(xattr_bytes=10), "xattr_bytes"),
        (Limits(xattrs=1), "xattrs"),
    ],
)
def test_limits(tmp_path: Path, limits: Limits, limit: str) -> None:
    with (tmp_path / "0123456789").open("wb") as file:
        file.truncate(2 << 30)
    for name in ("user.a", "user.b"):
        os.setxattr(tmp_path / "0123456789", name, b"v" * 20)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(LimitExceededError) as caught:
        pack(tmp_path, limits=limits)
    assert caught.value.limit == limit


def test_modes_that_keep_others_out(stack: Stack) -> None:
    stack(archive(directory("d", mode=0), entry("d/f", FILE, b"secret", mode=0)))
    assert b"secret" in pack(stack.top)[0]


def test_links_on_the_way_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/etc").symlink_to("/etc")
    (tmp_path / "tree/up").symlink_to("..")
    data, _ = pack(tmp_path / "tree")
    assert names(data) == ["etc", "up"]


def test_nothing_escapes_while_the_tree_changes(tmp_path: Path) -> None:
    """A directory and a link to the outside change places all the time."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for path in (tree / "a", outside):
        path.mkdir(parents=True)
    (tree / "a/file").write_text("inside")
    (outside / "file").write_text(SECRET)
    (tree / "b").symlink_to(outside)
    with swapped(tree / "a", tree / "b"):
        for _ in range(30):
            assert SECRET.encode() not in pack(tree)[0]


def test_closing_early_ends_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(8 << 20))
    fd = os.open(tmp_path, os.O_RDONLY)
    with Packing(fd) as packing:
        assert packing.read(512)
    with pytest.raises(OSError, match="Bad file descriptor"):
        packing.read(512)
    os.close(fd)


def test_a_directory_of_many_names(tmp_path: Path) -> None:
    for n in range(3000):
        (tmp_path / f"{n * 7919 % 3000}").touch()
    found = names(pack(tmp_path)[0])
    assert found == sorted(str(n) for n in range(3000))


def test_a_mode_is_what_it_was(stack: Stack) -> None:
    stack(archive(entry("x", mode=0o6755)))
    assert stat.S_IMODE(members(pack(stack.top)[0])[0].mode) == 0o6755


@pytest.mark.requires("root")
def test_the_files_of_a_living_sandbox(tmp_path: Path) -> None:
    """They have ids of the sandbox's own range, and may be where the caller's mounts are not."""
    with pycontain.Sandbox() as sandbox:
        owner = sandbox._runtime
        assert owner is not None
        assert owner.lease.base is not None
        (tmp_path / "x").touch()
        os.chown(tmp_path, owner.lease.base, owner.lease.base)
        os.chown(tmp_path / "x", owner.lease.base + 7, owner.lease.base + 8)
        data, _ = pack(tmp_path, owner=owner)
        assert sandbox.run(["true"]).returncode == 0
    assert [(m.uid, m.gid) for m in members(data)] == [(7, 8)]
