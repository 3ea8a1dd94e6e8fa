# SPDX-License-Identifier: Apache-2.0
"""Archives by the names that people give."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from _images import add_named, tar
from pycontain import ConfigError, ImageNotFoundError, InvalidReferenceError
from pycontain._image import _exchange
from pycontain._image._exchange import Place, is_place
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store

LAYER = tar({"a": b"1"})

PLACES = {
    "x.tar": Place(form=None, path="x.tar"),
    "/a/b": Place(form=None, path="/a/b"),
    "a:b": Place(form=None, path="a:b"),
    "oci:dir": Place(form="oci-layout", path="dir"),
    "oci:dir:1.0": Place(form="oci-layout", path="dir", name="1.0"),
    "oci-archive:x.tar": Place(form="oci-archive", path="x.tar"),
    "docker-archive:/x.tar:h.io:5/a:1": Place(
        form="docker-archive", path="/x.tar", name="h.io:5/a:1"
    ),
    "docker-archive:x.tar:": Place(form="docker-archive", path="x.tar"),
}


@pytest.mark.parametrize("text", PLACES)
def test_places(text: str) -> None:
    assert Place.parse(text) == PLACES[text]
    assert is_place(text) == (PLACES[text].form is not None)


def test_a_path_with_a_colon_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a:b"
    path.touch()
    assert Place.parse(f"oci-archive:{path}") == Place(form="oci-archive", path=str(path))


@pytest.mark.parametrize("text", ["", "oci:", "docker-archive::x", "a\0b", "docker://x", "dir:x"])
def test_no_places(text: str) -> None:
    with pytest.raises(ConfigError, match=r"the path is missing|is not one of oci"):
        Place.parse(text)


def names(store: Store) -> list[str]:
    return [name.reference.familiar for name in store.names()]


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_round_trip(store: Store, tmp_path: Path, form: str) -> None:
    manifest = add_named(store, "x:1", [LAYER])
    store.tag(Reference.parse("h.io/y"), manifest.descriptor)
    add_named(store, "z", [tar({"a": b"2"})])
    place = f"{form}:{tmp_path / 'out'}"
    _exchange.save(store, [manifest.config.digest.short, "z"], place)
    other = Store(str(tmp_path / "other"))
    _exchange.load(other, place)
    assert names(other) == ["h.io/y:latest", "x:1", "z:latest"]
    (loaded,) = _exchange.load(other, f"{place}:z", name="w:2")
    assert loaded.reference.familiar == "w:2"
    with pytest.raises(ImageNotFoundError, match="no image is named"):
        _exchange.load(other, f"{place}:nothing")


def test_only_the_name_that_was_given(store: Store, tmp_path: Path) -> None:
    manifest = add_named(store, "x:1", [LAYER])
    store.tag(Reference.parse("h.io/y"), manifest.descriptor)
    other = Store(str(tmp_path / "other"))
    _exchange.save(store, ["docker.io/library/x:1"], str(tmp_path / "out.tar"))
    _exchange.load(other, tmp_path / "out.tar")
    assert names(other) == ["x:1"]


def test_another_name(store: Store, tmp_path: Path) -> None:
    add_named(store, "x:1", [LAYER])
    add_named(store, "y:1", [tar({"a": b"2"})])
    place = f"docker-archive:{tmp_path / 'out.tar'}"
    _exchange.save(store, ["x:1"], f"{place}:h.io/new:3")
    other = Store(str(tmp_path / "other"))
    _exchange.load(other, place)
    assert names(other) == ["h.io/new:3"]
    with pytest.raises(ConfigError, match="the name of one image only"):
        _exchange.save(store, ["x:1", "y:1"], f"{place}:z")


def test_open_files(store: Store, tmp_path: Path) -> None:
    add_named(store, "x:1", [LAYER])
    out = io.BytesIO()
    _exchange.save(store, ["x:1"], out, form="docker-archive")
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert "manifest.json" in archive.getnames()
    out.seek(0)
    other = Store(str(tmp_path / "other"))
    assert len(_exchange.load(other, out)) == 1


def test_a_root_directory(store: Store) -> None:
    made = _exchange.import_rootfs(
        store, io.BytesIO(LAYER), "mine:1", platform="linux/arm64", cmd=("sh",)
    )
    manifest = store.manifest(made.target, platform=Platform.parse("linux/arm64"))
    config = store.config(manifest)
    assert (str(config.platform), config.cmd) == ("linux/arm64", ("sh",))
    assert names(store) == ["mine:1"]


def test_wrong_names(store: Store, tmp_path: Path) -> None:
    add_named(store, "x", [LAYER])
    out = tmp_path / "out.tar"
    with pytest.raises(ConfigError, match="no image is named"):
        _exchange.save(store, [], out)
    with pytest.raises(ImageNotFoundError, match="pull or load it first"):
        _exchange.save(store, ["y"], out)
    with pytest.raises(InvalidReferenceError):
        _exchange.save(store, ["x"], f"oci:{out}:Not a name")
    with pytest.raises(InvalidReferenceError):
        _exchange.load(store, out, name="Not a name")
    with pytest.raises(ConfigError, match="OS/ARCHITECTURE"):
        _exchange.save(store, ["x"], out, platform="a/b/c/d")
    digest = store.names()[0].target.digest
    with pytest.raises(ConfigError, match="cannot be chosen"):
        _exchange.import_rootfs(store, io.BytesIO(LAYER), f"x@{digest}")
    assert os.listdir(tmp_path) == ["store"]
