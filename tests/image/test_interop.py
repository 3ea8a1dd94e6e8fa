# SPDX-License-Identifier: Apache-2.0
"""skopeo and umoci write what we read, and read what we write."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

import _features
from pycontain._image import _archive, _media
from pycontain._image._archive import Format
from pycontain._image._config import ImageConfig
from pycontain._image._reference import Reference
from pycontain._image._store import Store

pytestmark = pytest.mark.requires("busybox", "skopeo", "umoci")

BUSYBOX = Reference.parse("busybox:1")


def run(*command: str | Path) -> str:
    """Run a tool of others and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Made:
    """An image of busybox in two layers, made by umoci."""

    def __init__(self, folder: Path, rootfs: Path) -> None:
        self.folder = folder
        self.layout = folder / "layout"
        base, more = folder / "base.tar", folder / "more.tar"
        with tarfile.open(base, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(rootfs, ".", filter=self.plain)
        (folder / "motd").write_text("hello\n")
        with tarfile.open(more, "w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(folder / "motd", "etc/motd", filter=self.plain)
        image = f"{self.layout}:one"
        run("umoci", "init", "--layout", self.layout)
        run("umoci", "new", "--image", image)
        for layer in (base, more):
            run("umoci", "raw", "add-layer", "--image", image, "--tag", "one", layer)
        run(
            *("umoci", "config", "--image", image, "--config.cmd", "/bin/sh"),
            *("--config.env", "PATH=/bin", "--architecture", "amd64", "--os", "linux"),
        )
        self.image = image
        self.diff_ids = [
            f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in (base, more)
        ]

    @staticmethod
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    def copied(self, *arguments: str | Path) -> None:
        skopeo(self.folder, f"oci:{self.image}", *arguments)


def skopeo(folder: Path, *arguments: str | Path) -> None:
    run("skopeo", "--insecure-policy", "--tmpdir", folder, "copy", *arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, rootfs: Path) -> Made:
    for tool in ("skopeo", "umoci"):
        if reason := _features.missing(tool):
            pytest.skip(reason)
    return Made(tmp_path_factory.mktemp("made"), rootfs)


def check(store: Store, made: Made, loaded: tuple[_archive.Loaded, ...]) -> ImageConfig:
    (image,) = loaded
    assert store.check() == []
    config = store.config(store.manifest(image.target))
    assert list(map(str, config.diff_ids)) == made.diff_ids
    assert config.cmd == ("/bin/sh",)
    assert config.environment["PATH"] == "/bin"
    return config


def test_a_layout_of_umoci(store: Store, made: Made) -> None:
    check(store, made, _archive.load(store, made.layout, select="one", reference=BUSYBOX))


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_archives_of_skopeo(store: Store, made: Made, tmp_path: Path, form: str) -> None:
    path = tmp_path / "archive"
    made.copied(f"{form}:{path}:docker.io/library/busybox:1")
    loaded = _archive.load(store, path)
    assert loaded[0].reference == BUSYBOX
    check(store, made, loaded)


def test_zstd_of_skopeo(store: Store, made: Made, tmp_path: Path) -> None:
    made.copied("--dest-compress", "--dest-compress-format", "zstd", f"dir:{tmp_path / 'plain'}")
    skopeo(
        tmp_path,
        *("--dest-compress-format", "zstd", "--dest-oci-accept-uncompressed-layers"),
        *(f"dir:{tmp_path / 'plain'}", f"oci:{tmp_path / 'zstd'}:one"),
    )
    loaded = _archive.load(store, tmp_path / "zstd")
    manifest = store.manifest(loaded[0].target)
    assert {layer.media_type for layer in manifest.layers} == {_media.OCI_LAYER_ZSTD}
    check(store, made, loaded)
    _archive.save(store, [(BUSYBOX, loaded[0].target)], tmp_path / "again.tar", "docker-archive")
    other = Store(str(tmp_path / "other"))
    check(other, made, _archive.load(other, tmp_path / "again.tar"))


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return type, permissions and contents of all below a directory."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content = os.fsencode(path.readlink())
        else:
            content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path.relative_to(root))] = (mode, content)
    return found


def unpacked(image: str, bundle: Path) -> dict[str, tuple[int, bytes]]:
    rootless = ("--rootless",) if os.geteuid() else ()
    run("umoci", "unpack", *rootless, "--image", image, bundle)
    return tree(bundle / "rootfs")


FORMATS: list[Format] = ["oci-layout", "oci-archive", "docker-archive"]


@pytest.mark.parametrize("kind", FORMATS)
def test_ours_is_read_by_skopeo_and_umoci(
    store: Store, made: Made, tmp_path: Path, kind: Format
) -> None:
    (image,) = _archive.load(store, made.layout, reference=BUSYBOX)
    path = tmp_path / "saved"
    _archive.save(store, [(BUSYBOX, image.target)], path, kind)
    transport = {"oci-layout": "oci"}.get(kind, kind)
    name = "busybox:1" if kind == "docker-archive" else str(BUSYBOX)
    skopeo(tmp_path, f"{transport}:{path}:{name}", f"oci:{tmp_path / 'copy'}:one")
    assert unpacked(f"{tmp_path / 'copy'}:one", tmp_path / "bundle") == unpacked(
        made.image, tmp_path / "wanted"
    )
    assert (tmp_path / "bundle/rootfs/etc/motd").read_text() == "hello\n"
    copy = Store(str(tmp_path / "other"))
    check(copy, made, _archive.load(copy, tmp_path / "copy"))


def test_our_layout_is_unpacked_by_umoci(store: Store, made: Made, tmp_path: Path) -> None:
    (image,) = _archive.load(store, made.layout, reference=BUSYBOX)
    path = tmp_path / "saved"
    _archive.save(store, [(BUSYBOX, image.target)], path, "oci-layout")
    assert "busybox" in run("umoci", "ls", "--layout", path)
    found = unpacked(f"{path}:{BUSYBOX}", tmp_path / "bundle")
    assert found == unpacked(made.image, tmp_path / "wanted")
