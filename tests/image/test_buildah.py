# SPDX-License-Identifier: Apache-2.0
"""buildah, which has podman's libraries, writes what we read, and reads what we write."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import _features
from _box import warm
from _boxes import busybox, store_path
from _docker_registry import run as docker_registry
from _trees import Node, differences
from _views import merged, plain
from pycontain import Sandbox, images
from pycontain._image import _media
from pycontain._image._manifest import Manifest
from pycontain._image._reference import Reference
from pycontain._unpack import open_store

__all__ = ["busybox", "store_path", "warm"]

pytestmark = pytest.mark.requires("root", "rootrange", "overlay", "buildah", "docker_registry")

CHANGE = """
rm "$1"/d/old
echo new > "$1"/d/new
ln "$1"/d/new "$1"/d/hard
ln -s new "$1"/d/link
mkfifo "$1"/d/fifo
chown 7:8 "$1"/d/new
chmod 2750 "$1"/d
chmod 4711 "$1"/bin/busybox
rm -r "$1"/home
"""


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> str:
        storage = ("--root", self.folder / "root", "--runroot", self.folder / "run")
        done = subprocess.run(
            ["buildah", *storage, "--storage-driver", "vfs", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": str(self.folder)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextlib.contextmanager
    def opened(self, image: str) -> Iterator[Path]:
        """Let the files of a container of the image be seen."""
        container = self("from", "--pull-never", image)
        try:
            root = self("mount", container)
            assert root
            yield Path(root)
        finally:
            self("rm", container)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A new one each time: what a registry has in one form is not sent in another."""
    with docker_registry(tmp_path / "registry") as address:
        yield address


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory, busybox: bytes) -> Buildah:
    """It has the images "base" and "two", the second with a layer on the first."""
    for feature in ("root", "buildah"):
        if reason := _features.missing(feature):
            pytest.skip(reason)
    folder = tmp_path_factory.mktemp("buildah")
    (folder / "busybox.tar").write_bytes(busybox)
    tool = Buildah(folder)
    container = tool("from", "scratch")
    tool("add", "-q", container, folder / "busybox.tar", "/")
    (folder / "old").write_text("old\n")
    tool("copy", "-q", container, folder / "old", "/d/old")
    tool("copy", "-q", container, folder / "old", "/tmp/old")
    tool("config", "--cmd", "cat /d/new", "--env", "A=1", container)
    tool("commit", "-q", "--format", "oci", container, "localhost/base")
    container = tool("from", "--pull-never", "localhost/base")
    root = tool("mount", container)
    assert root
    subprocess.run(["sh", "-ec", CHANGE, "sh", root], check=True)
    tool("commit", "-q", "--format", "oci", container, "localhost/two")
    return tool


def check(buildah: Buildah, name: str, image: str = "localhost/two") -> None:
    """See that an image in our store shows what one of theirs does, and runs."""
    with Sandbox(name, output_limit="64M", profile="build") as sandbox:
        assert sandbox.run(["cat", "/d/new"], text=True).stdout == "new\n"
        ours = merged(sandbox)
    with buildah.opened(image) as root:
        theirs = plain(root)
    assert differences(without_own(theirs), without_own(ours)) == []


def without_own(tree: dict[str, Node]) -> dict[str, Node]:
    """Leave out what is the sandbox's own, or the container's."""
    own = (".", "etc", "etc/hosts", "etc/hostname", "dev", "proc", "sys", "run")
    return {name: node for name, node in tree.items() if name not in own}


PUSHED: dict[str, tuple[list[str], set[str]]] = {
    "oci": (["--format", "oci"], {_media.OCI_LAYER_GZIP}),
    "docker": (["--format", "v2s2"], {_media.DOCKER_LAYER_GZIP}),
    "zstd": (["--format", "oci", "--compression-format", "zstd"], {_media.OCI_LAYER_ZSTD}),
    "zstd-chunked": (
        ["--format", "oci", "--compression-format", "zstd:chunked"],
        {_media.OCI_LAYER_ZSTD},
    ),
}


@pytest.mark.parametrize("form", PUSHED)
def test_theirs_from_a_registry(buildah: Buildah, registry: str, form: str) -> None:
    options, types = PUSHED[form]
    name = f"{registry}/from/{form}:1"
    buildah("push", "-q", "--tls-verify=false", *options, "localhost/two", f"docker://{name}")
    pulled = images.pull(name)
    assert pulled.config.arguments() == ("cat", "/d/new")
    store = open_store()
    named = store.name(Reference.parse(name))
    assert named is not None
    manifest = store.document(named.target)
    assert isinstance(manifest, Manifest)
    assert {layer.media_type for layer in manifest.layers} == types
    raw = manifest.raw.decode()
    assert ("zstd-chunked.manifest" in raw) == (form == "zstd-chunked")
    check(buildah, name)


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "oci"])
def test_their_archives(buildah: Buildah, tmp_path: Path, form: str) -> None:
    place = f"{form}:{tmp_path / 'saved'}:example.org/two:1"
    buildah("push", "-q", "localhost/two", place)
    (loaded,) = images.load(place, name="two")
    check(buildah, loaded.name)


def test_their_index(buildah: Buildah, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/from/index:1"
    buildah("manifest", "create", "localhost/index")
    buildah("manifest", "add", "localhost/index", "localhost/two")
    buildah("manifest", "add", "--arch", "arm64", "localhost/index", "localhost/base")
    for to in (f"docker://{name}", f"oci-archive:{tmp_path / 'index'}:example.org/index:1"):
        buildah("manifest", "push", "-q", "--all", "--tls-verify=false", "localhost/index", to)
    images.pull(name)
    check(buildah, name)
    (loaded,) = images.load(f"oci-archive:{tmp_path / 'index'}", name="index")
    assert {image.config.platform.architecture for image in images.list()} == {"amd64"}
    check(buildah, loaded.name)
    # All of it goes on to another place, and they find both in it.
    images.push("index", f"{registry}/to/index:1")
    pull = ("pull", "-q", "--tls-verify=false")
    found = [
        buildah(*pull, "--arch", arch, f"{registry}/to/index:1") for arch in ("amd64", "arm64")
    ]
    ids = [buildah("images", "-q", "--no-trunc", f"localhost/{name}") for name in ("two", "base")]
    assert [f"sha256:{each}" for each in found] == ids


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive", "oci", "docker"])
def test_ours(buildah: Buildah, registry: str, tmp_path: Path, form: str) -> None:
    """An image of theirs with a layer of ours."""
    images.load(_saved(buildah, tmp_path), name="two")
    with Sandbox("two", profile="build") as sandbox:
        script = "rm /d/fifo; rm -r /tmp; mkdir -p /tmp/a; echo > /tmp/a/b; busybox chown 5 /tmp/a"
        assert sandbox.run(["sh", "-c", script]).returncode == 0
        sandbox.commit("ours", cmd=["true"])
    if form == "docker":
        place = f"docker://{registry}/to/ours:1"
        images.push("ours", f"{registry}/to/ours:1")
    else:
        place = f"{form}:{tmp_path / 'ours'}"
        images.save("ours", place)
    image = buildah("pull", "-q", "--tls-verify=false", place)
    assert '"true"' in buildah("inspect", "--type", "image", image)
    check(buildah, "ours", image)
    buildah("rmi", image)


def _saved(buildah: Buildah, folder: Path) -> str:
    place = f"oci-archive:{folder / 'two'}"
    buildah("push", "-q", "localhost/two", f"{place}:two")
    return place
