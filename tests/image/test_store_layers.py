# SPDX-License-Identifier: Apache-2.0
"""Extracted layers appear whole, under one of their names, once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pycontain import StoreError
from pycontain._image._digest import Digest
from pycontain._image._store import Layer, Store

DIFF, CHAIN = Digest.of(b"diff"), Digest.of(b"chain")


def build(store: Store, layer_id: Digest = DIFF) -> Layer:
    with store.lease() as lease, store.build_layer(lease, DIFF, CHAIN) as building:
        assert building.path is not None
        Path(building.path, "file").write_text("content")
        return building.commit(layer_id, size=7, warnings=("w",), more={"implicit": ["etc"]})


@pytest.mark.parametrize("layer_id", [DIFF, CHAIN, Digest.of(b"long", "sha512")])
def test_round_trip(store: Store, layer_id: Digest) -> None:
    made = build(store, layer_id)
    assert Path(made.path, "file").read_text() == "content"
    found = store.layer(Digest.of(b"no"), layer_id)
    assert found == made
    assert (found.layer_id, found.diff_id, found.size) == (layer_id, DIFF, 7)
    assert (found.warnings, found.more) == (("w",), {"implicit": ["etc"]})
    assert os.listdir(f"{store.path}/ingest") == []
    assert store.check() == []


def test_nothing(store: Store) -> None:
    assert store.layer() is None
    assert store.layer(DIFF, CHAIN) is None


@pytest.mark.parametrize("layer_id", [DIFF, CHAIN])
def test_a_layer_that_is_there_is_not_built(store: Store, layer_id: Digest) -> None:
    made = build(store, layer_id)
    with store.lease() as lease, store.build_layer(lease, DIFF, CHAIN) as building:
        assert (building.path, building.layer) == (None, made)


def test_a_build_that_fails_leaves_nothing(store: Store) -> None:
    with store.lease() as lease, store.build_layer(lease, DIFF) as building:
        assert building.path is not None
        Path(building.path, "half").touch()
    assert store.layer(DIFF) is None
    assert os.listdir(f"{store.path}/ingest") == []
    assert build(store).layer_id == DIFF


def test_an_archive_with_an_index(store: Store) -> None:
    with store.lease() as lease, store.build_layer(lease, DIFF, CHAIN) as building:
        with building.archive() as file:
            building.append(b"one")
            assert file.read() == b"one"
            building.append(b"two")
            assert file.read() == b"two"
        assert list(building.archived()) == [b"onetwo"]
        with building.index() as file:
            file.write(b"index")
        made = building.commit(DIFF, form="erofs", size=7)
    assert (made.form, sorted(os.listdir(made.path))) == (
        "erofs",
        ["index", "layer.tar", "meta.json"],
    )
    assert store.layer(DIFF) == made
    assert (store.usage().layers, store.usage().erofs_layers) == (1, 1)
    with store.lease() as lease, store.build_layer(lease, DIFF, forms=["erofs"]) as building:
        assert building.layer == made


def test_a_form_that_will_not_do_is_made_anew(store: Store) -> None:
    made = build(store)
    with store.lease() as lease, store.build_layer(lease, DIFF, forms=["erofs"]) as building:
        assert building.layer is None
        building.archive().close()
        building.append(b"data")
        building.index().close()
        building.commit(DIFF)  # there was no index of it
    assert store.layer(DIFF) == made
    assert os.listdir(f"{store.path}/ingest") == []
    assert store.gc().layers == 1


@pytest.mark.parametrize("left", ["", "diff", "diff/half", "meta.json", "layer.tar", "index"])
def test_what_a_dead_process_left_is_not_used(store: Store, left: str) -> None:
    folder = Path(store.path, "ingest", f"layer-sha256-{CHAIN.hex}")
    (folder / left).mkdir(parents=True)
    made = build(store)
    assert os.listdir(made.path) == ["file"]


def test_another_builder_is_waited_for(store: Store) -> None:
    started = threading.Event()
    found: list[Layer | None] = []

    def second() -> None:
        with store.lease() as lease:
            started.set()
            with store.build_layer(lease, DIFF, CHAIN) as building:
                found.append(building.layer)

    with store.lease() as lease, store.build_layer(lease, DIFF, CHAIN) as building:
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        made = building.commit(CHAIN)
    thread.join()
    assert found == [made]


def test_waiting_has_an_end(store: Store) -> None:
    waiting = pytest.raises(StoreError, match="another process")
    with store.lease() as lease, store.build_layer(lease, DIFF), waiting:
        store.build_layer(lease, DIFF, patience_s=0)


def test_layers_go_with_their_images(store: Store) -> None:
    build(store)
    with store.lease() as lease:
        lease.keep_layers(DIFF)
        assert store.gc().layers == 0
        assert store.layer(DIFF) is not None
    swept = store.gc()
    assert (swept.layers, swept.size) == (1, 7)
    assert store.layer(DIFF) is None
    assert os.listdir(f"{store.path}/trash") == []


def test_trees_of_others_are_removed_by_whoever_can(tmp_path: Path) -> None:
    asked: list[str] = []

    def refuse(path: str) -> None:
        asked.append(path)
        raise PermissionError(1, "not mine")

    store = Store(str(tmp_path / "store"), remove_tree=refuse)
    build(store)
    assert store.gc().layers == 1
    assert len(asked) == 1
    assert store.empty_trash() == [f"{asked[0]}: not mine"]
    assert store.layer(DIFF) is None
    other = Store(store.path)
    assert other.empty_trash() == []
    assert os.listdir(f"{store.path}/trash") == []


def test_deep_trees_are_removed(store: Store) -> None:
    made = build(store)
    at = os.open(made.path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        at, above = os.open("d", os.O_RDONLY, dir_fd=at), at
        os.close(above)
    os.close(at)
    store.gc()
    assert os.listdir(f"{store.path}/trash") == []


def test_trees_without_permissions_are_removed(store: Store) -> None:
    made = build(store)
    deep = Path(made.path, "a/b/c")
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (Path(made.path) / "link").symlink_to("/")
    for folder in (deep, deep.parent, deep.parent.parent, Path(made.path)):
        folder.chmod(0)
    store.gc()
    assert os.listdir(f"{store.path}/trash") == []
    assert store.usage().trash == 0
