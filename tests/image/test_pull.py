# SPDX-License-Identifier: Apache-2.0
"""Images come from registries whole or not at all, ready to run."""

from __future__ import annotations

import collections
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import _docker_registry
import pycontain
from _archives import DIRECTORY, HARDLINK, archive, entry
from _box import warm
from _boxes import Add, add, busybox, store_path
from _fake_registry import Answer, Fake, Request, serve
from pycontain import (
    DigestMismatchError,
    ImageNotFoundError,
    PlatformError,
    RegistryError,
    RegistryNotFoundError,
    SizeMismatchError,
    UnsafeLayerError,
    images,
)
from pycontain._image import _media
from pycontain._image._config import ImageConfig
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index, Manifest
from pycontain._image._platform import Platform
from pycontain._unpack import open_store
from pycontain.images import LayerProgress, Progress

__all__ = ["add", "busybox", "store_path", "warm"]

pytestmark = pytest.mark.requires("overlay")

real = pytest.mark.requires("docker_registry")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _docker_registry.run(tmp_path_factory.mktemp("registry")) as address:
        yield address


def cat(path: str, image: str) -> bytes:
    return bytes(pycontain.run(["cat", path], image=image, check=True).stdout)


@real
def test_what_is_pushed_can_be_pulled_and_run(registry: str, add: Add) -> None:
    name = f"{registry}/round/trip:1"
    add(name, archive(entry("file", data=b"text")))
    pushed = images.push(name)
    made = images.inspect(name)
    images.remove(name)
    assert cat("/file", name) == b"text"  # pulled on the way
    assert images.inspect(name) == made
    assert made.digest == pushed
    assert images.pull(f"{registry}/round/trip@{pushed}").id == made.id


@real
def test_progress_tells_of_each_layer(registry: str, add: Add) -> None:
    name = f"{registry}/round/progress:1"
    add(name, archive(entry("file", data=os.urandom(3 << 20))))
    images.push(name)
    images.remove(name)
    told: list[Progress] = []
    size = images.pull(name, progress=told.append).size
    layers = [each for each in told if isinstance(each, LayerProgress)]
    assert {each.number for each in layers} == {1, 2}
    assert sum(each.size for each in layers if each.action == "done") == size
    for number in (1, 2):
        received = [each.received for each in layers if each.number == number]
        assert received == sorted(received)
    images.pull(name, progress=(again := collections.deque[Progress]()).append)
    assert [each for each in again if getattr(each, "action", "") == "downloading"] == []


@real
@pytest.mark.requires("skopeo")
@pytest.mark.parametrize("form", [["--format", "v2s2"], ["--format", "oci"]])
def test_what_skopeo_pushes(registry: str, add: Add, tmp_path: Path, form: list[str]) -> None:
    add("box", archive(entry("file", data=b"by skopeo")))
    images.save("box", f"oci:{tmp_path}/layout:box")
    name = f"{registry}/skopeo/{form[1]}:1"
    command = ["skopeo", "copy", "--dest-tls-verify=false", *form]
    done = subprocess.run(
        [*command, f"oci:{tmp_path}/layout", f"docker://{name}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert cat("/file", name) == b"by skopeo"


@real
def test_several_processes_pull_the_same(registry: str, add: Add, store_path: str) -> None:
    name = f"{registry}/round/many:1"
    add(name, archive(entry("file", data=b"x" * 100_000)))
    images.push(name)
    images.remove(name)
    code = f"import pycontain; print(pycontain.images.pull({name!r}).id)"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)
    ]
    ids = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0] * 4
    assert ids == {images.inspect(name).id.encode() + b"\n"}
    assert open_store().check() == []


class Shop:
    """A registry with one image, whose blobs can be changed behind its back."""

    def __init__(self, fake: Fake) -> None:
        self.name = f"{fake.address}/shop/image:1"
        self.blobs: dict[str, bytes] = {}
        self.documents: dict[str, tuple[str, bytes]] = {}
        fake.behave = self
        self.asked: list[str] = []

    def add(self, data: bytes, media_type: str) -> Descriptor:
        target = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
        self.blobs[str(target.digest)] = data
        return target

    def image(self, *layers: bytes, wrong_diff_id: bool = False) -> Manifest:
        """Offer an image of these archives."""
        diff_ids = [Digest.of(layer) for layer in layers]
        if wrong_diff_id:
            diff_ids[-1] = Digest.of(b"another")
        config = ImageConfig.new(Platform.parse("linux/amd64"), diff_ids, cmd=("sh",))
        manifest = Manifest.build(
            self.add(config.raw, _media.OCI_CONFIG),
            [self.add(gzip.compress(layer, mtime=0), _media.OCI_LAYER_GZIP) for layer in layers],
        )
        self.offer(manifest)
        return manifest

    def offer(self, document: Manifest | Index) -> None:
        for key in ("1", str(document.digest)):
            self.documents[key] = (document.media_type, document.raw)

    def __call__(self, request: Request) -> Answer:
        kind, _, key = request.path.removeprefix("/v2/shop/image/").partition("/")
        self.asked.append(key)
        if kind == "manifests" and key in self.documents:
            media_type, raw = self.documents[key]
            return Answer(headers=(("Content-Type", media_type),), body=raw)
        if kind == "blobs" and key in self.blobs:
            return Answer(body=self.blobs[key])
        return Answer(200 if request.path == "/v2/" else 404)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with serve() as fake:
        yield Shop(fake)


def spoil(change: Callable[[bytes], bytes], shop: Shop, manifest: Manifest) -> None:
    key = str(manifest.layers[-1].digest)
    shop.blobs[key] = change(shop.blobs[key])


SPOILT: dict[str, tuple[Callable[[bytes], bytes], type[Exception]]] = {
    "changed": (lambda data: data[:-1] + bytes([data[-1] ^ 1]), DigestMismatchError),
    "too long": (lambda data: data + b"more", SizeMismatchError),
    "too short": (lambda data: data[:-3], SizeMismatchError),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_blob_that_is_not_what_was_announced_is_never_seen(
    how: str, shop: Shop, busybox: bytes
) -> None:
    change, kind = SPOILT[how]
    manifest = shop.image(busybox, archive(entry("file", data=os.urandom(9999))))
    good = dict(shop.blobs)
    spoil(change, shop, manifest)
    with pytest.raises(kind):
        images.pull(shop.name)
    assert images.list() == []
    store = open_store()
    assert not store.has(manifest.layers[-1])
    assert store.check() == []
    shop.blobs = good
    assert images.pull(shop.name).id == str(manifest.config.digest)
    assert len(cat("/file", shop.name)) == 9999


def test_a_layer_that_expands_to_something_else(shop: Shop, busybox: bytes) -> None:
    shop.image(busybox, archive(entry("file", data=b"x")), wrong_diff_id=True)
    with pytest.raises(DigestMismatchError, match="layer 2: uncompressed content does not match"):
        images.pull(shop.name)
    assert images.list() == []
    assert open_store().usage().layers <= 1


def test_a_layer_that_reaches_out(shop: Shop, busybox: bytes, tmp_path: Path) -> None:
    shop.image(busybox, archive(entry("../../../../escaped", data=b"x")))
    with pytest.raises(UnsafeLayerError, match="path escapes root"):
        images.pull(shop.name)
    assert images.list() == []
    assert not list(tmp_path.rglob("escaped"))


def test_layers_that_need_those_below(shop: Shop, busybox: bytes) -> None:
    below = archive(entry("d", DIRECTORY, mode=0o750), entry("d/low", data=b"low"))
    above = archive(entry("d/new", data=b"new"), entry("d/link", HARDLINK, link="d/low"))
    shop.image(busybox, below, above)
    images.pull(shop.name)
    script = "stat -c %a /d; cat /d/low /d/new /d/link"
    done = pycontain.run(["sh", "-c", script], image=shop.name, text=True)
    assert done.stdout == "750\nlownewlow"


def test_one_platform_of_an_index(shop: Shop, busybox: bytes) -> None:
    manifest = shop.image(busybox)
    entries = [
        Descriptor(
            media_type=manifest.media_type,
            digest=manifest.digest if name == "linux/amd64" else Digest.of(name.encode()),
            size=len(manifest.raw),
            platform=Platform.parse(name),
        )
        for name in ("linux/arm64", "linux/amd64")
    ]
    shop.offer(Index.build(entries))
    assert images.pull(shop.name, "linux/amd64").id == str(manifest.config.digest)
    assert str(entries[0].digest) not in shop.asked
    with pytest.raises(PlatformError, match="linux/arm64, linux/amd64") as caught:
        images.pull(shop.name, "linux/s390x")
    assert caught.value.offered == ("linux/arm64", "linux/amd64")


def test_what_is_there_already_is_not_asked_for(shop: Shop, busybox: bytes) -> None:
    shop.image(busybox, archive(entry("one")))
    images.pull(shop.name)
    before = {str(layer) for layer in shop.blobs}
    shop.asked.clear()
    shop.image(busybox, archive(entry("two")))
    images.pull(shop.name)
    assert before & set(shop.asked) == set()


def test_a_pull_that_fails_says_where(shop: Shop) -> None:
    with pytest.raises(RegistryNotFoundError, match=shop.name.partition("/")[0]):
        images.pull(shop.name)
    with pytest.raises(RegistryError):
        images.pull("127.0.0.1:1/none:1")
    with pytest.raises(ImageNotFoundError):
        images.inspect(shop.name)


def test_a_manifest_that_is_not_one(shop: Shop) -> None:
    shop.documents["1"] = ("application/json", json.dumps({"schemaVersion": 1}).encode())
    with pytest.raises(pycontain.ImageError):
        images.pull(shop.name)
    assert images.list() == []


# Run with a small file system for the store, in namespaces of its own.
FULL = """
import errno, os, subprocess, sys
from pycontain import StoreError, images
from pycontain._unpack import open_store

name, folder, room = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=True)
with open(f"{folder}/ballast", "wb") as ballast:
    ballast.write(bytes(64 - int(room) << 20))
os.environ["PYCONTAIN_STORE"] = f"{folder}/store"
try:
    images.pull(name)
except StoreError as error:
    print(errno.errorcode[error.errno])
store = open_store()
assert images.list() == [], images.list()
assert store.check() == [], store.check()
images.prune()  # only what is whole was there to stay
assert (store.usage().blobs, store.usage().layers) == (0, 0), store.usage()
os.unlink(f"{folder}/ballast")
print(images.pull(name).name == images.list()[0].name)
assert store.check() == [], store.check()
"""


@real
@pytest.mark.requires("userns")
@pytest.mark.parametrize("room", [3, 8], ids=["downloading", "unpacking"])
def test_a_full_disk_leaves_nothing_and_the_next_pull_heals(
    registry: str, add: Add, tmp_path: Path, room: int
) -> None:
    name = f"{registry}/full/{room}:1"
    add(name, archive(entry("file", data=os.urandom(4 << 20))))
    images.push(name)
    (tmp_path / "small").mkdir()
    done = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", sys.executable, "-c", FULL),
            *(name, str(tmp_path / "small"), str(room)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["ENOSPC", "True"], "")
