# SPDX-License-Identifier: Apache-2.0
"""A file of a root that is not mounted is the one that overlayfs would show."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from pycontain._image._tree import DEPTH_MAX, LINKS_MAX, Tree


def layer(directory: Path, files: Mapping[str, str | None]) -> str:
    """Make a layer: texts of files, `-> target` for a link, None for a whiteout, a name with `/`
    at its end for an opaque directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
            os.setxattr(path, "user.overlay.opaque", b"y")
        elif content is None:
            os.mknod(path, stat.S_IFCHR | 0o600, 0)
        elif content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_text(content)
    return str(directory)


def read(tree: Tree, path: str) -> str:
    fd = tree.open(path)
    with open(fd, encoding="utf-8") as file:
        return file.read()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "secret").write_text("secret")
    base = layer(
        tmp_path / "base",
        {
            "etc/passwd": "low",
            "etc/group": "low",
            "etc/gone": "low",
            "hidden/file": "low",
            "covered/file": "low",
            "file": "low",
            "usr/lib/os": "low",
            "lib": "-> usr/lib",
            "absolute": "-> /etc/passwd",
            "up": "-> ../../../../etc/passwd",
            "out": f"-> {tmp_path}/secret",
            "far": "-> ../../../../../../../.." + str(tmp_path / "secret"),
            "loop": "-> loop",
            "a/b/link": "-> ../../etc/group",
            "magic": "-> /proc/self/root/etc/passwd",
        },
    )
    top = layer(
        tmp_path / "top",
        {
            "etc/passwd": "top",
            "hidden/": None,
            "hidden/new": "top",
            "covered": "top",
            "file/inside": "top",
            "etc/os": "-> ../lib/os",
        },
    )
    return Tree([top, base])


SHOWN = {
    "/etc/passwd": "top",
    "etc/passwd": "top",
    "//etc/./passwd": "top",
    "/etc/../etc/passwd": "top",
    "/../../etc/passwd": "top",
    "/etc/group": "low",
    "/hidden/new": "top",
    "/covered": "top",
    "/file/inside": "top",
    "/lib/os": "low",
    "/etc/os": "low",
    "/absolute": "top",
    "/up": "top",
    "/a/b/link": "low",
}


@pytest.mark.parametrize("path", SHOWN)
def test_the_topmost_file_is_found_whatever_leads_there(tree: Tree, path: str) -> None:
    assert read(tree, path) == SHOWN[path]


ABSENT = {
    "/hidden/file": errno.ENOENT,
    "/covered/file": errno.ENOTDIR,
    "/file/other": errno.ENOENT,
    "/out": errno.ENOENT,
    "/far": errno.ENOENT,
    "/magic": errno.ENOENT,
    "/loop": errno.ELOOP,
    "/none/file": errno.ENOENT,
    "/etc/passwd/x": errno.ENOTDIR,
    "/".join("a" * DEPTH_MAX): errno.ENOENT,
}


@pytest.mark.parametrize("path", ABSENT)
def test_what_is_covered_or_outside_is_not_found(tree: Tree, path: str) -> None:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        tree.open(path)
    assert caught.value.errno == ABSENT[path]


@pytest.mark.requires("root")
def test_a_whiteout_hides_what_is_below(tmp_path: Path) -> None:
    tree = Tree(
        [
            layer(tmp_path / "top", {"etc/gone": None, "dir": None}),
            layer(tmp_path / "base", {"etc/gone": "low", "etc/kept": "low", "dir/file": "low"}),
        ]
    )
    assert read(tree, "/etc/kept") == "low"
    for path in ("/etc/gone", "/dir/file", "/dir"):
        with pytest.raises(FileNotFoundError):
            tree.open(path)


def test_neither_links_nor_directories_are_without_bounds(tmp_path: Path) -> None:
    chain = {f"l{i}": f"-> l{i + 1}" for i in range(LINKS_MAX + 1)} | {f"l{LINKS_MAX + 1}": "end"}
    tree = Tree([layer(tmp_path, chain)])
    assert read(tree, "/l1") == "end"
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        tree.open("/l0")
    deep = tmp_path.joinpath(*"d" * (DEPTH_MAX + 1))
    deep.mkdir(parents=True)
    os.close(tree.open("/".join("d" * DEPTH_MAX)))
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        tree.open("/".join("d" * (DEPTH_MAX + 1)))


def test_nothing_makes_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fd = Tree([str(tmp_path)]).open("/fifo")
    assert stat.S_ISFIFO(os.fstat(fd).st_mode)
    os.close(fd)


@pytest.fixture
def mounted(tmp_path: Path) -> Tree:
    """The same over a directory, an overlay, an empty one and a file."""
    base = layer(
        tmp_path / "base", {"etc/passwd": "low", "a/file": "low", "a/in": "-> /volume/file"}
    )
    (tmp_path / "one").write_text("one")
    return Tree(
        [base],
        {
            "/volume": [layer(tmp_path / "volume", {"file": "volume", "out": "-> /etc/passwd"})],
            "/made/for/it": [layer(tmp_path / "deep", {"file": "deep"})],
            "/a/over": [
                layer(tmp_path / "upper", {"file": "upper"}),
                layer(tmp_path / "lower", {"file": "lower", "other": "lower"}),
            ],
            "/empty": [],
            "/etc/one": [str(tmp_path / "one")],
        },
    )


MOUNTED = {
    "/volume/file": "volume",
    "/volume/../etc/passwd": "low",
    "/volume/out": "low",
    "/a/in": "volume",
    "/a/file": "low",
    "/a/over/file": "upper",
    "/a/over/other": "lower",
    "/made/for/it/file": "deep",
    "/made/../made/for/../for/it/file": "deep",
    "/etc/one": "one",
}


@pytest.mark.parametrize("path", MOUNTED)
def test_what_is_mounted_covers_what_is_there(mounted: Tree, path: str) -> None:
    assert read(mounted, path) == MOUNTED[path]


UNMOUNTED = {
    "/empty/file": errno.ENOENT,
    "/empty": errno.EISDIR,
    "/made": errno.EISDIR,
    "/made/for/file": errno.ENOENT,
    "/etc/one/x": errno.ENOTDIR,
    "/volume/none": errno.ENOENT,
}


@pytest.mark.parametrize("path", UNMOUNTED)
def test_what_is_not_there_is_told_of_mounts_too(mounted: Tree, path: str) -> None:
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        mounted.open_file(path)
    assert caught.value.errno == UNMOUNTED[path]


def test_only_regular_files_are_opened_as_such(tmp_path: Path) -> None:
    layer(tmp_path, {"file": "text", "link": "-> file", "dir/file": "text"})
    os.mkfifo(tmp_path / "fifo")
    tree = Tree([str(tmp_path)])
    for path in ("file", "link"):
        os.close(tree.open_file(path))
    for path, number in {"dir": errno.EISDIR, "fifo": errno.EINVAL, "/": errno.EISDIR}.items():
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            tree.open_file(path)
        assert caught.value.errno == number
