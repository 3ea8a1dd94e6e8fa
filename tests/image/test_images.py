# SPDX-License-Identifier: Apache-2.0
"""`pycontain.images` without a registry: archives in and out, lists, removal."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from _images import add_image, add_index, add_named, tar
from pycontain import ConfigError, ImageNotFoundError, images
from pycontain._image._platform import local_platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store

ROOT = tar({"etc/motd": b"hello"})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store that is the user's."""
    monkeypatch.setenv("PYCONTAIN_STORE", str(tmp_path / "store"))
    return Store()


def test_a_root_directory_becomes_an_image(own: Store) -> None:
    made = images.import_rootfs(io.BytesIO(ROOT), "mine:1", cmd=("sh",), labels={"a": "b"})
    assert (made.name, made.config.cmd, made.config.labels) == ("mine:1", ("sh",), {"a": "b"})
    assert made.config.platform.architecture == local_platform().architecture
    assert made.size == len(ROOT)
    assert images.list() == [made]
    digest = made.id.removeprefix("sha256:")
    for ref in ("mine:1", "docker.io/library/mine:1", made.id, digest, digest[:12], made.digest):
        assert images.inspect(ref) == made
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        images.import_rootfs(io.BytesIO(ROOT), "mine:2", env=("A",))
    assert images.list() == [made]


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_saved_and_loaded(own: Store, tmp_path: Path, form: str) -> None:
    made = images.import_rootfs(io.BytesIO(ROOT), "mine:1", cmd=("sh",))
    other = images.import_rootfs(io.BytesIO(ROOT), "other", cmd=("ls",))
    place = f"{form}:{tmp_path / 'saved'}"
    images.save(["mine:1", "other"], place)
    images.remove("mine:1")
    images.remove("other")
    assert images.list() == []
    assert [image.name for image in images.load(place)] == ["mine:1", "other:latest"]
    assert [image.id for image in images.list()] == [made.id, other.id]
    assert images.load(f"{place}:mine:1", "copy")[0].name == "copy:latest"


def test_one_image_in_a_file(own: Store, tmp_path: Path) -> None:
    made = images.import_rootfs(io.BytesIO(ROOT), "mine:1", cmd=("sh",))
    images.save("mine:1", tmp_path / "x.tar")
    images.remove("mine:1")
    with open(tmp_path / "x.tar", "rb") as file:
        assert images.load(file) == [made]


def test_an_image_for_another_machine(own: Store, tmp_path: Path) -> None:
    made = images.import_rootfs(io.BytesIO(ROOT), "mine:1", platform="linux/s390x")
    assert str(made.config.platform) == "linux/s390x"
    assert images.list() == [made]
    assert images.inspect("mine:1", platform="linux/s390x") == made
    images.save("mine:1", tmp_path / "x.tar", form="docker-archive")
    assert images.load(tmp_path / "x.tar")[0].id == made.id


def test_listed_for_each_platform_that_is_there(own: Store) -> None:
    platforms = ("linux/s390x", "linux/amd64")
    with own.lease() as lease:
        manifests = {each: add_image(own, lease, [ROOT], platform=each) for each in platforms}
        own.tag(Reference.parse("mine:1"), add_index(own, lease, manifests).descriptor)
    assert [str(image.config.platform) for image in images.list()] == [*platforms]
    assert {image.digest for image in images.list()} == {images.list()[0].digest}


def test_removed_by_name_or_by_id(own: Store) -> None:
    made = images.import_rootfs(io.BytesIO(ROOT), "mine:1")
    images.import_rootfs(io.BytesIO(ROOT), "mine:2")
    assert images.remove("mine:1").blobs == 0
    assert [image.name for image in images.list()] == ["mine:2"]
    images.import_rootfs(io.BytesIO(ROOT), "mine:1")
    assert images.remove(made.id).blobs == 3
    assert images.list() == []
    with pytest.raises(ImageNotFoundError, match="pull or load it first"):
        images.remove(made.id)


def test_pruned(own: Store) -> None:
    add_named(own, "x", [ROOT])
    Path(own.path, "ingest", f"sha256-{'0' * 64}.partial").write_bytes(b"half")
    assert images.df().leftover_size == 4
    swept = images.prune()
    assert (swept.blobs, swept.leftovers) == (0, 1)
    assert images.df().names == 1
    assert images.prune(unused=True).blobs == 3
    assert images.df().blobs == 0
    assert os.listdir(f"{own.path}/trash") == []
