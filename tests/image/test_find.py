# SPDX-License-Identifier: Apache-2.0
"""Images are found by their names and by the beginning of their ids."""

from __future__ import annotations

import pytest

from _images import add_image, add_index, add_named, tar
from pycontain import ImageNotFoundError, InvalidReferenceError
from pycontain._image import _media
from pycontain._image._digest import Digest
from pycontain._image._find import entries, find
from pycontain._image._manifest import Index
from pycontain._image._reference import Reference
from pycontain._image._store import Store


def test_by_all_its_names_and_ids(store: Store) -> None:
    with store.lease() as lease:
        manifest = add_image(store, lease, [tar({"a": b"1"})])
        index = add_index(store, lease, {"linux/amd64": manifest})
        for name in ("x:1", "h.io/y"):
            store.tag(Reference.parse(name), index.descriptor)
    add_named(store, "other", [tar({"a": b"2"})])
    wanted = find(store, "x:1")
    assert [reference.familiar for reference in wanted.references] == ["h.io/y:latest", "x:1"]
    assert wanted.target.digest == index.digest
    assert find(store, "h.io/y") == wanted
    for digest in (index.digest, manifest.digest, manifest.config.digest):
        for text in (str(digest), digest.hex, digest.short, str(digest)[:15]):
            assert find(store, text) == wanted
    assert [len(entry.references) for entry in entries(store)] == [2, 1]


def test_a_name_comes_before_an_id(store: Store) -> None:
    manifest = add_named(store, "first", [tar({"a": b"1"})])
    name = manifest.digest.hex[:6]
    add_named(store, name, [tar({"a": b"2"})])
    assert find(store, name).references[0].familiar == f"{name}:latest"
    assert find(store, f"sha256:{name}").references[0].familiar == "first:latest"


def test_a_layer_is_no_image(store: Store) -> None:
    manifest = add_named(store, "x", [tar({"a": b"1"})])
    with pytest.raises(ImageNotFoundError):
        find(store, manifest.layers[0].digest.hex)


def test_several(store: Store) -> None:
    beginnings: dict[str, tuple[str, bytes]] = {}
    for number in range(10_000):
        raw = Index.build([], {"number": str(number)}).raw
        beginning = Digest.of(raw).hex[:4]
        name, other = beginnings.setdefault(beginning, (f"image{number}", raw))
        if other != raw:
            break
    else:
        pytest.fail("no two ids begin alike")
    with store.lease() as lease:
        for reference, data in ((name, other), ("another", raw)):
            store.tag(Reference.parse(reference), store.put(lease, data, _media.OCI_INDEX))
    with pytest.raises(ImageNotFoundError, match=f"like '{beginning}': another:latest, {name}"):
        find(store, beginning)


@pytest.mark.parametrize("text", ["nothing", "h.io/x:1", "0000", f"sha256:{'0' * 64}", "0" * 64])
def test_not_here(store: Store, text: str) -> None:
    add_named(store, "x", [tar({"a": b"1"})])
    with pytest.raises(ImageNotFoundError, match="pull or load it first"):
        find(store, text)


@pytest.mark.parametrize("text", ["", "NOT/a", "a:b:c", "sha256:"])
def test_nonsense(store: Store, text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        find(store, text)
