# SPDX-License-Identifier: Apache-2.0
"""Layers are directories or archives with an index; what is seen of them is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pycontain
from _archives import SYMLINK, archive, directory, entry, hardlink, pax_sparse
from _box import warm
from _boxes import Add, add, busybox, store_path
from pycontain import ConfigError, Sandbox, UnsupportedError, images
from pycontain._configure import let_go
from pycontain._erofs import MOUNTS_MAX, VARIABLE, mounted
from pycontain._unpack import open_store

__all__ = ["add", "busybox", "store_path", "warm"]

FIRST = archive(entry("d/kept", data=b"1"), entry("d/gone", data=b"1"), entry("e/x", data=b"1"))
SECOND = archive(
    *(entry("d/.wh.gone"), entry("d/new", data=b"2"), entry("e/.wh..wh..opq"), entry("e/y")),
    entry("l", kind=SYMLINK, link="d"),
    hardlink("l2", "d/new"),
)
SHOW = "cd /l; ls; cat kept new /l2; ls /e; echo x > kept; cat kept; stat -c %u:%g:%a /bin/busybox"
SHOWN = "kept\nnew\n122y\nx\n0:0:755\n"


def sh(script: str = SHOW) -> str:
    done = pycontain.run(["sh", "-c", script], image="box", text=True)
    assert done.returncode == 0, done
    return str(done.stdout)


def forms() -> tuple[int, int]:
    """Return how many layers there are in all, and how many of them are archives."""
    usage = images.df()
    return usage.layers, usage.erofs_layers


@pytest.mark.requires("erofs", "overlay")
class TestShown:
    @pytest.mark.parametrize("form", ["", "directory", "erofs"])
    def test_what_is_seen(self, add: Add, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
        monkeypatch.setenv(VARIABLE, form)
        add("box", FIRST, SECOND)
        assert sh() == SHOWN
        assert forms() == (3, 0 if form == "directory" else 3)
        assert images.list()[0].check().problems == ()

    def test_one_mount_for_all_sandboxes(self, add: Add) -> None:
        add("box", archive(entry("file", data=b"text")))
        with Sandbox("box") as one, Sandbox("box", hostname="other") as two:
            assert [box.run(["cat", "/file"]).stdout for box in (one, two)] == [b"text"] * 2
            assert len(mounted()) == 2  # a layer each

    def test_what_has_no_index_is_a_directory(self, add: Add) -> None:
        sparse = archive(pax_sparse("sparse", 5000, [(1024, b"data")], "1.0"))
        add("box", FIRST, sparse, SECOND)
        assert sh() == SHOWN
        assert sh("cat sparse").strip("\0") == "data"
        assert forms() == (4, 3)

    def test_directories_that_are_there_are_used(
        self, add: Add, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add("box", FIRST, SECOND)
        monkeypatch.setenv(VARIABLE, "directory")
        assert sh() == SHOWN
        let_go()
        monkeypatch.delenv(VARIABLE)
        assert sh() == SHOWN
        assert forms() == (3, 0)

    def test_both_at_once(self, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
        add("box", FIRST, SECOND)
        for form in ("erofs", "directory"):
            let_go()
            monkeypatch.setenv(VARIABLE, form)
            assert sh() == SHOWN
        assert forms() == (6, 3)
        images.remove("box")
        assert forms() == (0, 0)

    def test_too_many_to_mount_each(self, add: Add) -> None:
        add("box", *(archive(entry(f"f/{i}")) for i in range(MOUNTS_MAX)))
        assert sh("ls /f | wc -l") == f"{MOUNTS_MAX}\n"
        assert forms() == (MOUNTS_MAX + 1, 0)

    def test_a_layer_upon_others(self, add: Add) -> None:
        """What the archive does not say of a directory is as below, whatever form that has."""
        below = archive(directory("d", mode=0o751, uid=7))
        add("box", below, archive(entry("d/x")), archive(hardlink("sbin/busybox", "bin/busybox")))
        assert sh("stat -c %u:%a d; /sbin/busybox echo ok") == "7:751\nok\n"
        assert forms() == (4, 3)

    def test_what_is_removed_frees_its_bytes(self, add: Add, store_path: str) -> None:
        add("box", archive(entry("file", data=b"x" * (1 << 20))))
        with Sandbox("box") as sandbox:
            images.remove("box")
            assert sandbox.run(["stat", "-c", "%s", "/file"]).stdout == b"1048576\n"
            assert forms() == (2, 2)
            assert mounted()
        del sandbox
        images.prune()
        assert forms() == (0, 0)
        assert os.listdir(f"{store_path}/trash") == []
        assert mounted() == []

    def test_a_store_that_cannot_be_written(self, add: Add, store_path: str) -> None:
        add("box", FIRST, SECOND)
        assert sh() == SHOWN
        script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        program = (
            f"import pycontain; print(pycontain.run({['sh', '-c', SHOW]!r}, image='box').stdout)"
        )
        command = ["unshare", "--mount", "sh", "-ec", script, store_path]
        done = subprocess.run(
            [*command, sys.executable, "-c", program], capture_output=True, check=True
        )
        assert done.stdout == f"{SHOWN.encode()!r}\n".encode()

    @pytest.mark.parametrize("name", ["layer.tar", "index"])
    def test_damage_is_found(self, add: Add, store_path: str, name: str) -> None:
        add("box")
        sh("true")
        (layer,) = Path(store_path, "layers").iterdir()
        assert open_store().check() == []
        (layer / name).unlink()
        assert open_store().check() == [f"{layer}: not a complete layer"]

    def test_an_archive_is_what_its_digest_says(self, add: Add, store_path: str) -> None:
        add("box")
        sh("true")
        (layer,) = Path(store_path, "layers").iterdir()
        with (layer / "layer.tar").open("r+b") as file:
            file.write(b"other")
        (wrong,) = open_store().check()
        assert wrong.startswith(f"{layer}: ")
        assert "digest" in wrong


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the store where no file system can be mounted from a file."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        monkeypatch.setenv("PYCONTAIN_STORE", f"{folder}/store")
        yield
        let_go()
        for name in open_store().names():
            open_store().untag(name.reference)
        open_store().gc()


@pytest.mark.requires("root", "overlay")
def test_a_store_in_memory(in_memory: None, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add("box", FIRST, SECOND)
    monkeypatch.setenv(VARIABLE, "erofs")
    with pytest.raises(UnsupportedError, match=r"PYCONTAIN_LAYERS=erofs: .* not on tmpfs"):
        sh()
    monkeypatch.delenv(VARIABLE)
    assert sh() == SHOWN
    assert forms() == (3, 0)


@pytest.mark.requires("user", "overlay")
def test_an_ordinary_user_has_directories(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add("box")
    monkeypatch.setenv(VARIABLE, "erofs")
    with pytest.raises(UnsupportedError, match="needs root"):
        sh("true")
    monkeypatch.delenv(VARIABLE)
    sh("true")
    assert forms() == (1, 0)


def test_there_are_no_other_forms(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add("box")
    monkeypatch.setenv(VARIABLE, "squashfs")
    with pytest.raises(ConfigError, match="'squashfs' is neither"):
        sh("true")
