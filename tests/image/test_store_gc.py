# SPDX-License-Identifier: Apache-2.0
"""Garbage goes, and nothing else: names and living leases keep what they lead to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from _images import add_image, add_index, add_named, blob, tar
from pycontain._image import _media
from pycontain._image._digest import Digest
from pycontain._image._manifest import Manifest
from pycontain._image._reference import Reference
from pycontain._image._store import Lease, Store, Swept, _home

A, B, C = (tar({"file": text * 1000}) for text in (b"a", b"b", b"c"))


def blobs(store: Store) -> set[str]:
    return set(os.listdir(f"{store.path}/blobs/sha256"))


def test_named_images_stay(store: Store) -> None:
    add_named(store, "x", [A, B])
    add_named(store, "y", [A, C])
    assert len(blobs(store)) == 7
    assert store.gc() == Swept()
    store.untag(Reference.parse("y"))
    swept = store.gc()
    assert swept.blobs == 3
    assert swept.size > 0
    assert store.check() == []
    store.untag(Reference.parse("x"))
    assert store.gc().blobs == 4
    assert blobs(store) == set()
    assert os.listdir(f"{store.path}/trash") == []


def test_an_index_keeps_what_is_there(store: Store) -> None:
    with store.lease() as lease:
        amd = add_image(store, lease, [A], platform="linux/amd64")
        arm = add_image(store, lease, [B], platform="linux/arm64")
        index = add_index(store, lease, {"linux/amd64": amd, "linux/arm64": arm})
        store.tag(Reference.parse("x"), index.descriptor)
    os.unlink(store.blob_path(arm.digest))
    assert store.gc().blobs == 2
    assert store.present(index.descriptor) == [store.document(index.descriptor).children[0]]


def test_layers_of_named_images_stay(store: Store) -> None:
    manifest = add_named(store, "x", [A, B])
    config = store.config(manifest)
    with store.lease() as lease:
        for diff_id, chain_id, name in (
            (config.diff_ids[0], config.chain_ids[0], config.diff_ids[0]),
            (config.diff_ids[1], config.chain_ids[1], config.chain_ids[1]),
        ):
            with store.build_layer(lease, diff_id, chain_id) as building:
                building.commit(name, size=5)
    assert store.gc() == Swept()
    usage = store.usage()
    assert (usage.layers, usage.layer_size, usage.garbage_size) == (2, 10, 0)
    store.untag(Reference.parse("x"))
    assert store.usage().garbage_size > 10
    assert store.gc().layers == 2


def test_a_lease_keeps_what_it_leads_to(store: Store) -> None:
    with store.lease() as lease:
        manifest = add_image(store, lease, [A])
    with store.lease() as lease:
        lease.keep(manifest.descriptor)
        assert store.gc() == Swept()
        assert store.config(manifest).diff_ids
    assert store.gc().blobs == 3


def test_a_copy_of_the_descriptor_holds_the_lease(store: Store) -> None:
    with store.lease() as lease:
        manifest = add_image(store, lease, [A])
        holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lease.fileno()])
    assert store.gc() == Swept()
    assert store.has(manifest.layers[0])
    holder.communicate()
    assert store.gc().blobs == 3
    assert os.listdir(f"{store.path}/leases") == []


def test_a_forked_child_keeps_no_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_home, "PATIENCE_S", 0)
    reading, writing = os.pipe()
    target = blob(b"content")
    with store.lease() as lease, store.ingest(lease, target), store._home.locked(exclusive=True):
        pid = os.fork()
        if not pid:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    with store.lease() as lease, store.ingest(lease, target, patience_s=0) as writer:
        writer.write(b"content")
        writer.commit()
    assert store.gc() == Swept()  # its lease is the child's too
    os.close(writing)
    os.waitpid(pid, 0)
    os.close(reading)
    assert store.gc().blobs == 1


def test_half_a_line_of_a_lease_spoils_no_other(store: Store) -> None:
    with store.lease() as lease:
        manifest = add_image(store, lease, [A])
    with store.lease() as lease:
        os.write(lease.fileno(), b'{"digest": "sha25')
        lease.keep(manifest.descriptor)
        assert store.gc() == Swept()


HOLDER = """
import signal, sys
from pycontain._image._store import Store
store = Store(sys.argv[1])
lease = store.lease()
store.put(lease, b"content", "application/x")
print("ready", flush=True)
signal.pause()
"""


def test_the_lease_of_a_killed_process_is_void(store: Store) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.path], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        assert store.gc() == Swept()
        assert store.has(blob(b"content"))
        holder.send_signal(signal.SIGKILL)
    assert store.gc().blobs == 1
    assert os.listdir(f"{store.path}/leases") == []


def test_interrupted_downloads_stay_for_a_while(store: Store) -> None:
    target = blob(b"content")
    with store.lease() as lease, store.ingest(lease, target) as writer:
        writer.write(b"con")
        assert store.gc(partial_age_s=-1).leftovers == 0
    assert store.usage().leftover_size == 3
    assert store.gc().leftovers == 0
    assert store.gc(partial_age_s=-1) == Swept(leftovers=1, size=3)
    with store.lease() as lease, store.ingest(lease, target) as writer:
        assert writer.offset == 0


@pytest.mark.parametrize("name", ["tmp-0123", "layer-sha256-0123"])
def test_other_leftovers_go_at_once(store: Store, name: str) -> None:
    path = Path(store.path, "ingest", name)
    if name.startswith("tmp"):
        path.write_bytes(b"1234")
    else:
        (path / "diff/a").mkdir(parents=True)
    assert store.gc().leftovers == 1
    assert os.listdir(f"{store.path}/ingest") == os.listdir(f"{store.path}/trash") == []


def test_a_stray_file_is_garbage(store: Store) -> None:
    Path(store.path, "blobs/sha256/stray").touch()
    Path(store.path, "layers/stray").mkdir()
    swept = store.gc()
    assert (swept.blobs, swept.layers) == (1, 1)


def test_a_damaged_manifest_leads_nowhere(store: Store) -> None:
    manifest = add_named(store, "x", [A])
    path = store.blob_path(manifest.digest)
    os.chmod(path, 0o600)
    Path(path).write_bytes(b"{" * len(manifest.raw))
    assert store.gc().blobs == 2


def test_collecting_while_others_add(store: Store) -> None:
    """Everybody adds the same content, takes it away and collects; none misses its own."""
    problems: list[str] = []

    def work(number: int) -> None:
        mine = Store(store.path)
        reference = Reference.parse(f"x:{number}")
        for turn in range(15):
            with mine.lease() as lease:
                manifest = add_image(mine, lease, [A, (A, B, C)[(turn + number) % 3]])
                mine.tag(reference, manifest.descriptor)
            missing = mine.missing(manifest.descriptor)
            problems.extend(f"{number} lacks {target.digest}" for target in missing)
            mine.untag(reference)
            mine.gc(partial_age_s=-1)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    store.gc(partial_age_s=-1)
    assert blobs(store) == set()
    for folder in ("ingest", "leases", "names", "trash"):
        assert os.listdir(f"{store.path}/{folder}") == []


def test_calling_the_manifest_of_another_a_layer_does_not_free_its_layers(store: Store) -> None:
    victim = add_named(store, "victim", [A, B])
    with store.lease() as lease:
        for number, media_type in enumerate((_media.OCI_LAYER, _media.OCI_CONFIG, "")):
            called = replace(victim.descriptor, media_type=media_type)
            manifest = Manifest.build(called, [called], {"number": str(number)})
            store.put(lease, manifest.raw, manifest.media_type)
            for name in (f"before:{number}", f"z:{number}"):
                store.tag(Reference.parse(name), manifest.descriptor)
        lease.keep(replace(victim.descriptor, media_type=""))
        assert store.gc() == Swept()
    assert store.gc() == Swept()
    assert store.missing(victim.descriptor) == []


def unpack(store: Store, lease: Lease, manifest: Manifest) -> list[Digest]:
    """Pretend to extract an image's layers; return their names."""
    config = store.config(manifest)
    for diff_id, chain_id in zip(config.diff_ids, config.chain_ids, strict=True):
        with store.build_layer(lease, diff_id, chain_id) as building:
            if building.path is not None:
                building.commit(chain_id)
    return list(config.chain_ids)


def test_images_that_nobody_uses(store: Store) -> None:
    used, related = add_named(store, "used", [A, B]), add_named(store, "related", [A, C])
    kept = add_named(store, "kept", [tar({"d": b"d"})])
    store.tag(Reference.parse("again"), used.descriptor)
    with store.lease() as lease:
        unpack(store, lease, related)
        layers = unpack(store, lease, used)
    with store.lease() as lease:
        lease.keep_layers(*layers)
        lease.keep(kept.descriptor)
        store.gc(unused=True)
        names = [name.reference.familiar for name in store.names()]
        assert names == ["again:latest", "kept:latest", "used:latest"]
        assert store.check() == []
        assert len(os.listdir(f"{store.path}/layers")) == 2
    store.gc(unused=True)
    assert store.names() == []
    assert blobs(store) == set()


def test_usage(store: Store) -> None:
    manifest = add_named(store, "x", [A])
    usage = store.usage()
    assert (usage.names, usage.blobs, usage.layers, usage.trash) == (1, 3, 0, 0)
    sizes = [manifest.config.size, manifest.layers[0].size, len(manifest.raw)]
    assert (usage.blob_size, usage.garbage_size, usage.leftover_size) == (sum(sizes), 0, 0)
    store.untag(Reference.parse("x"))
    assert store.usage().garbage_size == sum(sizes)
    assert Digest.of(manifest.raw).hex in blobs(store)
