# SPDX-License-Identifier: Apache-2.0
"""The content store: what is visible is complete, and errors say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from _images import add_image, add_index, add_named, blob, tar
from pycontain import (
    DigestMismatchError,
    ImageNotFoundError,
    LimitExceededError,
    PlatformError,
    SizeMismatchError,
    StoreError,
)
from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store, default_path

DATA = bytes(range(256)) * 100
BLOB = blob(DATA)


def ingest(store: Store, data: bytes, target: Descriptor = BLOB) -> None:
    with store.lease() as lease, store.ingest(lease, target) as writer:
        writer.write(data)
        writer.commit()


def files(store: Store, folder: str) -> list[str]:
    return sorted(os.listdir(f"{store.path}/{folder}"))


def test_a_blob_round_trip(store: Store) -> None:
    assert not store.has(BLOB)
    ingest(store, DATA)
    assert store.has(BLOB)
    assert store.size(BLOB.digest) == len(DATA)
    assert store.read(BLOB) == DATA
    assert b"".join(store.chunks(BLOB, 1000)) == DATA
    with store.open(BLOB.digest) as file:
        assert file.read() == DATA
    assert files(store, "ingest") == files(store, "leases") == []
    assert os.stat(store.blob_path(BLOB.digest)).st_mode & 0o777 == 0o444
    assert store.check() == []


def test_putting_again_changes_nothing(store: Store) -> None:
    with store.lease() as lease:
        first = store.put(lease, DATA, "application/x")
        inode = os.stat(store.blob_path(first.digest)).st_ino
        assert store.put(lease, DATA, "application/x") == first
        with store.ingest(lease, first) as writer:
            assert writer.complete
    assert os.stat(store.blob_path(first.digest)).st_ino == inode
    assert files(store, "ingest") == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_algorithms(store: Store, algorithm: str) -> None:
    target = Descriptor(media_type="", digest=Digest.of(DATA, algorithm), size=len(DATA))
    ingest(store, DATA, target)
    assert store.read(target) == DATA


def test_a_blob_of_unknown_digest(store: Store) -> None:
    with store.lease() as lease:
        with store.spool(lease) as spool:
            spool.write(DATA[:1000])
            spool.write(DATA[1000:])
            assert spool.commit() == (BLOB.digest, len(DATA))
        with store.spool(lease) as spool:
            spool.write(DATA)
            assert spool.commit() == (BLOB.digest, len(DATA))
        with store.spool(lease) as spool:
            spool.write(b"not committed")
    assert files(store, "blobs/sha256") == [BLOB.digest.hex]
    assert files(store, "ingest") == []


def test_wrong_content_is_never_there(store: Store) -> None:
    with pytest.raises(DigestMismatchError):
        ingest(store, DATA[:-1] + b"!")
    with pytest.raises(SizeMismatchError, match="more than"):
        ingest(store, DATA + b"!")
    assert not store.has(BLOB)
    assert files(store, "ingest") == []
    ingest(store, DATA)
    assert store.check() == []


def test_an_interrupted_download_goes_on(store: Store) -> None:
    with pytest.raises(SizeMismatchError, match="only 1000 of"):
        ingest(store, DATA[:1000])
    with store.lease() as lease, store.ingest(lease, BLOB) as writer:
        assert writer.offset == 1000
        writer.write(DATA[1000:3000])
    with store.lease() as lease, store.ingest(lease, BLOB) as writer:
        assert (writer.complete, writer.offset) == (False, 3000)
        writer.write(DATA[3000:])
        writer.commit()
        assert writer.complete
    assert store.read(BLOB) == DATA
    assert files(store, "ingest") == []


def test_a_download_begins_anew_if_it_must(store: Store) -> None:
    with store.lease() as lease, store.ingest(lease, BLOB) as writer:
        writer.write(b"x" * 1000)
        writer.restart()
        assert writer.offset == 0
        writer.write(DATA)
        writer.commit()
    assert store.read(BLOB) == DATA


@pytest.mark.parametrize("left", [b"wrong" * 10, DATA + b"too long"], ids=["wrong", "long"])
def test_a_wrong_rest_of_another_does_no_harm_twice(store: Store, left: bytes) -> None:
    partial = Path(store.path, "ingest", f"sha256-{BLOB.digest.hex}.partial")
    partial.write_bytes(left)
    with store.lease() as lease, store.ingest(lease, BLOB) as writer:
        rest = DATA[writer.offset :]
        if writer.offset:
            writer.write(rest)
            with pytest.raises(DigestMismatchError):
                writer.commit()
            writer.restart()
            rest = DATA
        writer.write(rest)
        writer.commit()
    assert store.read(BLOB) == DATA


def test_two_writers_of_the_same(store: Store) -> None:
    started = threading.Event()
    found: list[bool] = []

    def second() -> None:
        with store.lease() as lease:
            started.set()
            with store.ingest(lease, BLOB) as writer:
                found.append(writer.complete)

    with store.lease() as lease, store.ingest(lease, BLOB) as writer:
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        writer.write(DATA)
        writer.commit()
    thread.join()
    assert found == [True]


def test_waiting_has_an_end(store: Store) -> None:
    waiting = pytest.raises(StoreError, match="another process")
    with store.lease() as lease, store.ingest(lease, BLOB), waiting:
        store.ingest(lease, BLOB, patience_s=0)


def test_a_damaged_blob_is_not_served_and_heals(store: Store) -> None:
    for read in (store.read, lambda target: b"".join(store.chunks(target))):
        ingest(store, DATA)
        path = store.blob_path(BLOB.digest)
        os.chmod(path, 0o600)
        Path(path).write_bytes(b"!" + DATA[1:])
        with pytest.raises(DigestMismatchError):
            read(BLOB)
        assert not store.has(BLOB)
    ingest(store, DATA)
    Path(store.blob_path(BLOB.digest)).unlink()
    Path(store.blob_path(BLOB.digest)).write_bytes(DATA[:-1])
    assert not store.has(BLOB)
    ingest(store, DATA)
    assert store.read(BLOB) == DATA


def test_a_link_is_no_blob(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(DATA)
    Path(store.blob_path(BLOB.digest)).symlink_to(tmp_path / "outside")
    assert not store.has(BLOB)
    with pytest.raises(StoreError):
        store.open(BLOB.digest)
    ingest(store, DATA)
    assert not Path(store.blob_path(BLOB.digest)).is_symlink()
    assert (tmp_path / "outside").read_bytes() == DATA


def test_what_is_not_there(store: Store) -> None:
    with pytest.raises(ImageNotFoundError, match=f"missing blob {BLOB.digest}"):
        store.read(BLOB)
    with pytest.raises(ImageNotFoundError, match="nothing to name"):
        store.tag(Reference.parse("x"), BLOB)
    assert store.name(Reference.parse("x")) is None
    assert not store.untag(Reference.parse("x"))


def test_documents_are_bounded(store: Store) -> None:
    huge = Descriptor(media_type="", digest=BLOB.digest, size=1 << 40)
    with pytest.raises(LimitExceededError, match="more than the limit"):
        store.read(huge)


def test_names(store: Store) -> None:
    manifest = add_named(store, "x:1", [tar({"a": b"1"})])
    reference = Reference.parse("x:1")
    name = store.name(reference)
    assert name is not None
    assert (name.reference, name.target.digest) == (reference, manifest.digest)
    assert name.target.media_type == _media.OCI_MANIFEST
    other = add_named(store, "x:1", [tar({"a": b"2"})])
    assert [name.target.digest for name in store.names()] == [other.digest]
    add_named(store, "a/b", [tar({"a": b"1"})])
    assert [name.reference.familiar for name in store.names()] == ["a/b:latest", "x:1"]
    assert store.untag(reference)
    assert not store.untag(reference)
    assert [name.reference.familiar for name in store.names()] == ["a/b:latest"]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"reference": "x"}', '{"reference": "X"}'])
def test_a_damaged_name_says_what_to_do(store: Store, text: str) -> None:
    add_named(store, "x", [tar({"a": b"1"})])
    (file,) = Path(store.path, "names").iterdir()
    file.write_text(text)
    for read in (store.names, store.gc, lambda: store.name(Reference.parse("x"))):
        with pytest.raises(StoreError, match=f"damaged.*Remove the file.*{file.name}"):
            read()
    add_named(store, "x", [tar({"a": b"1"})])
    assert store.check() == []


def test_nothing_is_a_blob_too(store: Store) -> None:
    ingest(store, b"", blob(b""))
    assert store.read(blob(b"")) == b""


def test_an_image_of_several_platforms(store: Store) -> None:
    with store.lease() as lease:
        amd = add_image(store, lease, [tar({"a": b"amd"})], platform="linux/amd64")
        arm = add_image(store, lease, [tar({"a": b"arm"})], platform="linux/arm64")
        index = add_index(store, lease, {"linux/amd64": amd, "linux/arm64": arm})
    target = index.descriptor
    found = store.manifest(target, platform=Platform.parse("linux/arm64"))
    assert found == arm
    assert store.config(found).diff_ids
    with pytest.raises(PlatformError, match="linux/amd64, linux/arm64"):
        store.manifest(target, platform=Platform.parse("linux/s390x"))
    assert next(store.walk(target)).digest == index.digest
    assert len(list(store.walk(target))) == 7
    assert len(store.present(target)) == 2
    os.unlink(store.blob_path(arm.layers[0].digest))
    assert [blob.digest for blob in store.missing(target)] == [arm.layers[0].digest]
    assert [blob.digest for blob in store.present(target)] == [amd.digest]


def test_check_finds_damage(store: Store) -> None:
    manifest = add_named(store, "x", [tar({"a": b"1"})])
    assert store.check() == []
    layer = store.blob_path(manifest.layers[0].digest)
    os.chmod(layer, 0o600)
    Path(layer).write_bytes(b"!" * manifest.layers[0].size)
    Path(store.path, "blobs/sha256/stray").touch()
    Path(store.path, "layers/stray").mkdir()
    found = "\n".join(store.check())
    assert f"blob {manifest.layers[0].digest}: content of digest" in found
    assert "blobs/sha256/stray: not named after a digest" in found
    assert "layers/stray: " in found
    assert "docker.io/library/x:latest: no manifest is here with all its blobs" in found
    assert not store.has(manifest.layers[0])


PLACES = {
    "named": ({"PYCONTAIN_STORE": "/a/../b"}, "/b"),
    "data": ({"PYCONTAIN_STORE": "", "XDG_DATA_HOME": "/data"}, "/data/pycontain"),
    "relative data": ({"XDG_DATA_HOME": "data", "HOME": "/h"}, "/h/.local/share/pycontain"),
    "home": ({"HOME": "/h"}, "/h/.local/share/pycontain"),
}


@pytest.mark.parametrize("env, path", PLACES.values(), ids=PLACES)
def test_place(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], path: str) -> None:
    for name in ("PYCONTAIN_STORE", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if os.geteuid() == 0 and not env.get("PYCONTAIN_STORE"):
        path = "/var/lib/pycontain"
    assert default_path() == path


def test_a_store_is_private(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "a/store"))
    assert os.stat(store.path).st_mode & 0o777 == 0o700
    os.chmod(store.path, 0o777)
    with pytest.raises(StoreError, match="others may write to it"):
        Store(store.path)
    (tmp_path / "link").symlink_to(tmp_path / "a/store")
    os.chmod(store.path, 0o700)
    with pytest.raises(StoreError, match="others may write to it"):
        Store(str(tmp_path / "link"))


def test_a_store_of_another_version(store: Store) -> None:
    Path(store.path, "version").write_text("7\n")
    with pytest.raises(StoreError, match="version '7'"):
        Store(store.path)


@pytest.mark.requires("user")
def test_a_store_of_somebody_else() -> None:
    with pytest.raises(StoreError, match="no permission"):
        Store("/etc/pycontain-test")


# Run with a small file system on the directory that is named, in namespaces of its own.
FULL = """
import os, sys, subprocess
from pycontain import StoreError
from pycontain._image._store import Store
from pycontain._image._reference import Reference
from _images import add_named, blob, tar

folder, layer = sys.argv[1], os.urandom(3 << 20)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=True)
with open(f"{folder}/ballast", "wb") as ballast:
    ballast.write(bytes(6 << 20))
store = Store(f"{folder}/store")
add_named(store, "small", [tar({"a": b"1"})])
try:
    add_named(store, "large", [tar({"a": layer})])
except StoreError as error:
    print("error:", error)
assert [name.reference.familiar for name in store.names()] == ["small:latest"]
assert store.check() == [], store.check()
os.unlink(f"{folder}/ballast")
add_named(store, "large", [tar({"a": layer})])
assert store.check() == [], store.check()
assert len(store.names()) == 2
subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
store = Store(f"{folder}/store")
for change in (
    lambda: add_named(store, "third", [tar({"a": b"3"})]),
    lambda: store.untag(Reference.parse("small")),
):
    try:
        change()
    except StoreError as error:
        print("error:", error)
with store.lease() as lease:
    lease.keep(store.names()[0].target)
    assert store.check() == []
    assert store.usage().names == 2
try:
    Store(f"{folder}/another")
except StoreError as error:
    print("error:", error)
"""


@pytest.mark.requires("userns")
def test_a_full_and_a_read_only_store(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-c", FULL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert len(said) == 4
    assert "the file system is full" in said[0]
    assert all("the store is read-only" in line for line in said[1:])


def test_the_disk_begins_while_a_file_grows(tmp_path: Path) -> None:
    begun: list[int] = []
    store = Store(str(tmp_path / "store"), write_back=lambda fd: begun.append(os.fstat(fd).st_size))
    with store.lease() as lease, store.spool(lease) as spool:
        for _ in range(20):
            spool.write(bytes(1 << 20))
        spool.commit()
    assert begun == [8 << 20, 16 << 20]
