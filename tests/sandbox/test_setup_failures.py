# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - tables and scripts
"""A set-up that cannot work: SpawnError says the step, the errno, the path and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pycontain
from pycontain import Bind, ConfigError, Overlay, Sandbox, SpawnError, Tmpfs

if TYPE_CHECKING:
    from collections.abc import Callable


class Row(NamedTuple):
    name: str
    prepare: Callable[[Path], dict[str, Any]]
    step: str
    errno: int
    path: str
    hint: str

    def errnos(self) -> set[str]:
        # mount(2) and move_mount(2) differ about a file on a directory.
        also = {"ENOTDIR"} if self.errno == errno.EINVAL else set()
        return {errno.errorcode[self.errno], *also}


def _link(name: str, text: str) -> Callable[[Path], dict[str, Any]]:
    def prepare(root: Path) -> dict[str, Any]:
        (root / name).symlink_to(text)
        return {}

    return prepare


def _file(name: str) -> Callable[[Path], dict[str, Any]]:
    def prepare(root: Path) -> dict[str, Any]:
        (root / name).write_text("")
        return {}

    return prepare


def _mounts(*mounts: Any) -> Callable[[Path], dict[str, Any]]:
    def prepare(root: Path) -> dict[str, Any]:
        (root / "file").write_text("")
        (root / "dangling").symlink_to("/nowhere")
        return {"mounts": mounts}

    return prepare


LINKS = {
    "absolute": "/tmp", "relative": "tmp", "above": "../../../tmp", "dangling": "/nowhere", "root": "/",
    "magic": "/proc/self/root", "itself": "dev",
}  # fmt: skip
TABLE = [
    *(Row(f"/dev is a link: {kind}", _link("dev", text), "TMPFS", errno.ELOOP, "/dev", "symbolic link")
      for kind, text in LINKS.items()),
    *(Row(f"/proc is a link: {kind}", _link("proc", text), "PROC", errno.ELOOP, "/proc", "symbolic link")
      for kind, text in LINKS.items()),
    Row("/dev is a file", _file("dev"), "TMPFS", errno.ENOTDIR, "/dev", "a file where"),
    Row("/proc is a file", _file("proc"), "PROC", errno.ENOTDIR, "/proc", "a file at /proc"),
    Row("/tmp is a file", _file("tmp"), "MKDIR", errno.ENOTDIR, "/tmp", "in the way"),
    Row("mount point missing in a Bind", _mounts(Bind("/usr", "/a"), Tmpfs("/a/nowhere")),
        "TMPFS", errno.EXDEV, "/a/nowhere", ""),
    Row("Bind point missing in a Bind", _mounts(Bind("/usr", "/a"), Bind("/usr", "/a/nowhere")),
        "BIND", errno.EXDEV, "/a/nowhere", "make it there first"),
    Row("directory on a file", _mounts(Bind("/usr", "/file")), "BIND", errno.ENOTDIR, "/file", "something else is there"),
    Row("file on a directory", _mounts(Bind("/etc/passwd", "/tmp")), "BIND", errno.EINVAL, "/tmp", "something else is there"),
    Row("below a file", _mounts(Bind("/usr", "/file/a")), "BIND", errno.ENOTDIR, "/file/a", ""),
    Row("tmpfs on a file", _mounts(Tmpfs("/file")), "TMPFS", errno.ENOTDIR, "/file", "a file where"),
    Row("tmpfs on a dangling link", _mounts(Tmpfs("/dangling")), "TMPFS", errno.ELOOP, "/dangling", ""),
    Row("overlay on a file", _mounts(Overlay(("/usr",), "/file")), "OVERLAY", errno.ENOTDIR, "/file", ""),
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def tree(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found.append((str(path), status.st_mode, status.st_ino))
    return found


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_the_step_and_the_path_and_a_remedy_are_told(row: Row, root: Path) -> None:
    options = row.prepare(root)
    before = tree(root)
    with pytest.raises(SpawnError) as caught:
        pycontain.run(["true"], rootfs=root, **options)
    error = caught.value
    assert error.step == row.step
    assert errno.errorcode[error.errno or 0] in row.errnos()
    assert row.path in (error.path or "")
    assert row.hint in (error.hint or "")
    assert row.path in str(error)
    assert tree(root) == before


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_a_living_sandbox_fails_in_the_same_way(row: Row, root: Path) -> None:
    sandbox = Sandbox(rootfs=root, **row.prepare(root))
    with pytest.raises(SpawnError) as caught:
        sandbox.start()
    assert caught.value.step == row.step
    assert errno.errorcode[caught.value.errno or 0] in row.errnos()
    with pytest.raises(pycontain.SandboxClosedError):
        sandbox.run(["true"])
    sandbox.close()


MISSING = {
    "rootfs": {"rootfs": "/nowhere"},
    "rootfs below a file": {"rootfs": "/etc/passwd/a"},
    "rootfs is a file": {"rootfs": "/etc/passwd"},
    "bind": {"mounts": [Bind("/nowhere", "/a")]},
    "lower": {"mounts": [Overlay(("/usr", "/nowhere"), "/a")]},
    "lower is a file": {"mounts": [Overlay(("/etc/passwd",), "/a")]},
}


@pytest.mark.parametrize("options", MISSING.values(), ids=MISSING)
def test_a_source_that_does_not_exist_is_refused_before_anything_starts(
    options: dict[str, Any], rootfs: Path
) -> None:
    with pytest.raises(ConfigError, match=r"nowhere|passwd"):
        Sandbox(**{"rootfs": rootfs, **options})


@pytest.mark.parametrize("kind", ["rootfs", "bind", "lower"])
def test_a_source_that_was_removed_meanwhile_is_an_error_with_its_path(
    kind: str, rootfs: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    mounts: Any = {"bind": (Bind(source, "/a"),), "lower": (Overlay((source,), "/a"),)}.get(
        kind, ()
    )
    sandbox = Sandbox(rootfs=source if kind == "rootfs" else rootfs, mounts=mounts)
    source.rmdir()
    with pytest.raises(SpawnError) as caught:
        sandbox.start()
    assert caught.value.errno == errno.ENOENT
    assert str(source) in (caught.value.path or "")
    assert caught.value.hint


def test_a_rootfs_that_came_back_is_taken(rootfs: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sandbox = Sandbox(rootfs=rootfs, mounts=[Bind(source, "/a")])
    source.rmdir()
    with pytest.raises(SpawnError):
        sandbox.start()
    source.mkdir()
    (source / "new").write_text("here")
    with sandbox:
        assert sandbox.run(["cat", "/a/new"]).stdout == b"here"


def test_a_program_that_the_kernel_refuses_as_a_filter_is_an_error_of_the_command(
    rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No profile gives such bytes; the compiler's result is what PID 1 must not trust blindly.
    monkeypatch.setattr("pycontain._seccomp.compile", lambda _profile: b"\xff" * 16)
    with Sandbox(rootfs=rootfs, hostname="refused") as sandbox:
        for _ in range(2):
            with pytest.raises(SpawnError) as caught:
                sandbox.run(["true"])
            assert (caught.value.step, caught.value.errno) == ("SECCOMP", errno.EINVAL)
            assert "seccomp" in (caught.value.hint or "")


def test_a_failed_start_can_be_tried_again(root: Path) -> None:
    (root / "dev").write_text("")
    sandbox = Sandbox(rootfs=root)
    for _ in range(3):
        with pytest.raises(SpawnError):
            sandbox.start()
    (root / "dev").unlink()
    with sandbox as living:
        assert living.pid > 0


def test_nothing_of_a_hostile_root_is_followed_on_the_host(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("dev", "proc", "etc", "tmp"):
        (root / name).symlink_to(outside)
    with pytest.raises(SpawnError):
        pycontain.run(["true"], rootfs=root)
    assert list(outside.iterdir()) == []


@pytest.mark.requires("openat2")  # else every link is refused
def test_a_link_on_the_way_to_a_mount_point_stays_inside(rootfs: Path, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    Path(f"{root}{outside}").mkdir(parents=True)
    shutil.copytree(rootfs / "bin", root / "bin", symlinks=True)
    (root / "way").symlink_to(outside)
    target = f"{outside}/made"
    with Sandbox(rootfs=root, mounts=[Tmpfs("/way/made")]) as sandbox:
        assert sandbox.run(["sh", "-c", f"test -d {target} && echo yes"]).stdout == b"yes\n"
    assert list(outside.iterdir()) == []


def test_no_mount_point_is_made_in_a_writable_bind(rootfs: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "way").symlink_to(tmp_path)
    for target in ("/v/new", "/v/way/new", "/v/deep/er"):
        with pytest.raises(SpawnError):
            pycontain.run(
                ["true"], rootfs=rootfs, mounts=[Bind(volume, "/v", read_only=False), Tmpfs(target)]
            )
    assert os.listdir(volume) == ["way"]
    assert sorted(os.listdir(tmp_path)) == ["volume"]


def test_an_error_escapes_hostile_names(root: Path, rootfs: Path) -> None:
    with pytest.raises(SpawnError) as caught:
        pycontain.run(["true"], rootfs=rootfs, mounts=[Bind("/usr", "/etc/passwd/\x1b[2J\n")])
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
