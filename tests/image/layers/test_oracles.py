# SPDX-License-Identifier: Apache-2.0
"""The same trees as others make of the same archives: GNU tar, and umoci's unpacked images."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from _archives import DIRECTORY, FILE, archive, directory, entry, hardlink, symlink
from _stack import pack
from _trees import Node, differences, snapshot

if TYPE_CHECKING:
    from _stack import Stack

TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*")
pytestmark = pytest.mark.requires("root")

GIVEN = os.environ.get("PYCONTAIN_LAYER")
"""The path of another archive, a distribution's, say."""


@pytest.fixture(params=["gnu", "posix", *([GIVEN] if GIVEN else [])])
def tarball(request: pytest.FixtureRequest, rootfs: Path, tmp_path: Path) -> Path:
    """Return an archive made by GNU tar of all that it can store."""
    if request.param == GIVEN:
        return Path(request.param)
    source = tmp_path / "source"
    shutil.copytree(rootfs, source, symlinks=True)
    (source / "etc/hard").hardlink_to(source / "etc/passwd")
    os.mkfifo(source / "fifo", 0o640)
    os.chown(source / "fifo", 5, 6)
    (source / "long").mkdir()
    (source / "long" / ("n" * 200)).symlink_to("t" * 200)
    (source / "set").touch()
    os.chown(source / "set", 1000, 2000)
    (source / "set").chmod(0o6755)
    os.setxattr(source / "set", "user.k", b"v\0\n")
    os.setxattr(source / "set", "security.capability", bytes.fromhex("01000002" + "00" * 16))
    with (source / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(1 << 22)
        file.write(b"tail")
    for number, path in enumerate(sorted(source.rglob("*"))):
        os.utime(path, ns=(0, number * 10**9 + 5), follow_symlinks=False)
    data = tmp_path / "source.tar"
    style = [f"--format={request.param}", "-S"]
    xattrs = TAR[2:] if request.param == "posix" else ()
    subprocess.run(["tar", *style, *xattrs, "-cf", data, "-C", source, "."], check=True)
    return data


def without_devices(nodes: dict[str, Node]) -> dict[str, Node]:
    return {name: node for name, node in nodes.items() if node.kind not in {"character", "block"}}


def test_gnu_tar(stack: Stack, tarball: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    subprocess.run([*TAR, "-xpf", tarball, "-C", tmp_path / "theirs"], check=True)
    stack(tarball.read_bytes())
    assert differences(without_devices(snapshot(tmp_path / "theirs")), snapshot(stack.top)) == []


def test_gnu_tar_reads_ours(stack: Stack, tarball: Path, tmp_path: Path) -> None:
    stack(tarball.read_bytes())
    ours = tmp_path / "ours.tar"
    ours.write_bytes(pack(stack.top, root=True)[0])
    (tmp_path / "theirs").mkdir()
    subprocess.run([*TAR, "-xpf", ours, "-C", tmp_path / "theirs"], check=True)
    for path in [stack.top, *stack.top.rglob("*")]:  # the archive has whole seconds
        found = path.lstat()
        os.utime(path, ns=(0, found.st_mtime_ns // 10**9 * 10**9), follow_symlinks=False)
    assert differences(snapshot(stack.top), snapshot(tmp_path / "theirs")) == []


LAYERS = [
    archive(
        directory("./", mode=0o755),
        directory("etc"),
        entry("etc/a", FILE, b"1", uid=3),
        directory("gone"),
        entry("gone/x"),
        directory("opaque", mode=0o711),
        entry("opaque/old"),
        symlink("link", "etc"),
        entry("file", FILE, b"data", pax={"SCHILY.xattr.user.k": "v"}),
        directory("kind"),
        entry("kind/x"),
    ),
    archive(
        entry("etc/b", FILE, b"2"),
        entry(".wh.gone"),
        entry("opaque", DIRECTORY, mode=0o700),
        entry("opaque/.wh..wh..opq"),
        entry("opaque/new"),
        hardlink("hard", "file"),
        entry("kind", FILE, b"now a file"),
        entry("made/up/x"),
    ),
    archive(entry(".wh.link"), entry("etc/a", FILE, b"3", mode=0o4755), directory("link")),
]


def merged(layers: list[Path]) -> dict[str, Node]:
    """Return what overlayfs shows of layers, without mounting: deletions, then the topmost."""
    view: dict[str, Node] = {}
    for layer in layers:
        nodes = snapshot(layer)
        for name, node in nodes.items():
            hides = node.kind != "directory" or ("user.overlay.opaque", b"y") in node.xattrs
            if hides:
                view = {
                    other: kept
                    for other, kept in view.items()
                    if other != name and not other.startswith(f"{name}/")
                }
        view |= nodes
    return {
        name: Node(
            kind=node.kind,
            mode=node.mode,
            owner=node.owner,
            mtime_ns=node.mtime_ns,
            xattrs=tuple(x for x in node.xattrs if not x[0].startswith("user.overlay.")),
            content=node.content,
        )
        for name, node in view.items()
        if (node.kind, node.content) != ("character", "0:0")
    }


@pytest.mark.requires("umoci")
def test_umoci(stack: Stack, tmp_path: Path) -> None:
    def umoci(*arguments: str) -> None:
        subprocess.run(["umoci", *arguments], cwd=tmp_path, check=True, capture_output=True)

    umoci("init", "--layout", "oci")
    umoci("new", "--image", "oci:x")
    for number, data in enumerate(LAYERS):
        (tmp_path / f"{number}.tar").write_bytes(data)
        umoci("raw", "add-layer", "--image", "oci:x", f"{number}.tar")
        stack(data)
    umoci("unpack", "--image", "oci:x", "bundle")
    theirs = {
        name: Node(
            kind=node.kind,
            mode=node.mode,
            owner=node.owner,
            mtime_ns=node.mtime_ns,
            xattrs=node.xattrs,
            content=node.content,
        )
        for name, node in snapshot(tmp_path / "bundle/rootfs").items()
    }
    ours = merged(stack.layers)
    # What no archive says: times of directories without an entry, and of a parent that changes.
    for name in ("made", "made/up", ".", "etc", "kind"):
        ours.pop(name, None)
        theirs.pop(name, None)
    assert differences(theirs, ours) == []
