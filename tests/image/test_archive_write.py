# SPDX-License-Identifier: Apache-2.0
"""What we write is the same each time, whole or not there, and we read it back."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from _images import add_image, add_index, add_named, tar
from pycontain import ImageNotFoundError, LayerError, PlatformError
from pycontain._image import _archive
from pycontain._image._archive import Format
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store

LAYERS = (tar({"a": b"1" * 2000}), tar({"b": b"2" * 2000}))
X = Reference.parse("x:1")
ARM = Platform.parse("linux/arm64")
FORMATS: list[Format] = ["oci-layout", "oci-archive", "docker-archive"]

everywhere = pytest.mark.parametrize("kind", FORMATS)


def target(store: Store, name: str) -> tuple[Reference, Descriptor]:
    reference = Reference.parse(name)
    found = store.name(reference)
    assert found is not None
    return reference, found.target


def members(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            mode = 0o755 if member.isdir() else 0o644
            assert (member.mtime, member.uid, member.uname, member.mode) == (0, 0, "", mode)
            if (file := archive.extractfile(member)) is not None:
                found[member.name] = file.read()
    return found


def saved(store: Store, kind: Format, *names: str, **options: Any) -> dict[str, bytes]:
    out = io.BytesIO()
    _archive.save(store, [target(store, name) for name in names], out, kind, **options)
    assert len(out.getvalue()) % 512 == 0
    return members(out.getvalue())


@everywhere
def test_round_trip(store: Store, tmp_path: Path, kind: Format) -> None:
    manifest = add_named(store, "x:1", LAYERS)
    store.tag(Reference.parse("h.io/y:2"), manifest.descriptor)
    add_named(store, "z", [LAYERS[0]])
    path = tmp_path / "saved"
    images = [target(store, name) for name in ("x:1", "h.io/y:2", "z")]
    _archive.save(store, images, path, kind)
    assert sorted(os.listdir(tmp_path)) == ["saved", "store"]
    other = Store(str(tmp_path / "other"))
    loaded = _archive.load(other, path)
    assert sorted(image.reference.familiar for image in loaded) == ["h.io/y:2", "x:1", "z:latest"]
    assert other.check() == []
    found = other.manifest(target(other, "x:1")[1])
    assert other.config(found).raw == store.config(manifest).raw
    if kind != "docker-archive":
        assert found == manifest


@everywhere
def test_the_same_each_time(store: Store, tmp_path: Path, kind: Format) -> None:
    add_named(store, "x:1", LAYERS)
    add_named(store, "y:1", [LAYERS[1]])
    paths = [tmp_path / "first", tmp_path / "second"]
    for path in paths:
        _archive.save(store, [target(store, "x:1"), target(store, "y:1")], path, kind)
    contents = []
    for path in paths:
        files = [file for file in (path, *path.rglob("*")) if file.is_file()]
        contents.append({file.relative_to(path): file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert contents[0]


def test_a_docker_archive(store: Store) -> None:
    manifest = add_named(store, "x:1", [LAYERS[0], LAYERS[1], LAYERS[0]])
    store.tag(Reference.parse("h.io/y:2"), manifest.descriptor)
    found = saved(store, "docker-archive", "x:1", "h.io/y:2")
    names = [f"{Digest.of(LAYERS[number]).hex}.tar" for number in (0, 1, 0)]
    config = f"{manifest.config.digest.hex}.json"
    (row,) = json.loads(found.pop("manifest.json"))
    assert row == {"Config": config, "RepoTags": ["x:1", "h.io/y:2"], "Layers": names}
    assert found == {names[0]: LAYERS[0], names[1]: LAYERS[1], config: store.config(manifest).raw}


def test_an_image_without_a_name(store: Store) -> None:
    manifest = add_named(store, "x:1", LAYERS)
    for kind in ("oci-archive", "docker-archive"):
        out = io.BytesIO()
        _archive.save(store, [(None, manifest.descriptor)], out, kind)
        found = members(out.getvalue())
        if kind == "docker-archive":
            assert json.loads(found["manifest.json"])[0]["RepoTags"] is None
        else:
            assert "annotations" not in json.loads(found["index.json"])["manifests"][0]


def two_platforms(store: Store) -> None:
    with store.lease() as lease:
        amd = add_image(store, lease, LAYERS, platform="linux/amd64")
        arm = add_image(store, lease, [LAYERS[0]], platform="linux/arm64")
        s390 = add_image(store, lease, [LAYERS[1]], platform="linux/s390x")
        images = {"linux/amd64": amd, "linux/arm64": arm, "linux/s390x": s390}
        store.tag(X, add_index(store, lease, images).descriptor)


def drop(store: Store, *platforms: str) -> None:
    for platform in platforms:
        manifest = store.manifest(target(store, "x:1")[1], platform=Platform.parse(platform))
        os.unlink(store.blob_path(manifest.digest))


def platforms(store: Store, found: dict[str, bytes]) -> list[str]:
    """Return the platforms of the manifests in an archive."""
    other = Store(f"{store.path}-other")
    loaded = _archive.load(other, io.BytesIO(tar(found)))
    present = other.present(loaded[0].target)
    configs = [other.config(other.manifest(entry, platform=entry.platform)) for entry in present]
    return [str(config.platform) for config in configs]


def test_all_platforms_that_are_here(store: Store) -> None:
    two_platforms(store)
    _, index = target(store, "x:1")
    found = saved(store, "oci-archive", "x:1")
    assert f"blobs/sha256/{index.digest.hex}" in found
    assert platforms(store, found) == ["linux/amd64", "linux/arm64", "linux/s390x"]
    drop(store, "linux/s390x")
    found = saved(store, "oci-archive", "x:1")
    assert f"blobs/sha256/{index.digest.hex}" not in found
    assert platforms(store, found) == ["linux/amd64", "linux/arm64"]
    drop(store, "linux/amd64")
    arm = store.manifest(index, platform=ARM)
    found = saved(store, "oci-archive", "x:1")
    assert json.loads(found["index.json"])["manifests"][0]["digest"] == str(arm.digest)
    drop(store, "linux/arm64")
    with pytest.raises(ImageNotFoundError, match="missing blob"):
        saved(store, "oci-archive", "x:1")


def test_one_platform(store: Store) -> None:
    two_platforms(store)
    for kind in ("oci-archive", "docker-archive"):
        found = saved(store, kind, "x:1", platform=ARM)
        assert len(found) == (5 if kind == "oci-archive" else 3)
        with pytest.raises(PlatformError, match="nothing for linux/riscv64"):
            saved(store, kind, "x:1", platform=Platform.parse("riscv64"))
    drop(store, "linux/amd64", "linux/s390x")
    assert len(saved(store, "docker-archive", "x:1")) == 3


@everywhere
def test_nothing_is_left_of_a_failure(store: Store, tmp_path: Path, kind: Format) -> None:
    manifest = add_named(store, "x:1", LAYERS)
    add_named(store, "y:1", [LAYERS[0]])
    os.unlink(store.blob_path(manifest.layers[1].digest))
    with pytest.raises(ImageNotFoundError, match="missing blob"):
        _archive.save(store, [target(store, "y:1"), target(store, "x:1")], tmp_path / "out", kind)
    assert os.listdir(tmp_path) == ["store"]


def test_layers_that_are_not_what_the_configuration_says(store: Store) -> None:
    with store.lease() as lease:
        manifest = add_image(store, lease, LAYERS)
        other = add_image(store, lease, LAYERS[::-1])
        mixed = type(manifest).build(manifest.config, other.layers)
        store.put(lease, mixed.raw, mixed.media_type)
        with pytest.raises(LayerError, match="does not match config diff_id"):
            _archive.save(store, [(X, mixed.descriptor)], io.BytesIO(), "docker-archive")


def test_what_is_there_is_replaced_unless_it_is_a_full_folder(store: Store, tmp_path: Path) -> None:
    add_named(store, "x:1", LAYERS)
    path = tmp_path / "out"
    path.write_text("old")
    _archive.save(store, [target(store, "x:1")], path, "oci-archive")
    assert tarfile.is_tarfile(path)
    path = tmp_path / "folder"
    path.mkdir()
    _archive.save(store, [target(store, "x:1")], path, "oci-layout")
    with pytest.raises(OSError, match="not empty"):
        _archive.save(store, [target(store, "x:1")], path, "oci-layout")
    assert sorted(os.listdir(tmp_path)) == ["folder", "out", "store"]
