# SPDX-License-Identifier: Apache-2.0
"""Archives of strangers: what others write is read, and what is hostile is refused."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from _images import add_image, add_index, docker_archive, tar
from pycontain import (
    DigestMismatchError,
    ImageError,
    ImageNotFoundError,
    LayerError,
    LimitExceededError,
    ManifestError,
    SizeMismatchError,
    UnsupportedImageError,
)
from pycontain._image import _archive, _decompress, _media
from pycontain._image._archive import _tar
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index
from pycontain._image._reference import Reference
from pycontain._image._store import Store

LAYERS = (tar({"a": b"1" * 2000}), tar({"b": b"2" * 2000}))


def load(store: Store, data: bytes, **options: Any) -> list[str]:
    """Load an archive and return the names; the store must be in order, whatever comes of it."""
    try:
        loaded = _archive.load(store, io.BytesIO(data), **options)
    except ImageError:
        assert store.names() == []
        raise
    finally:
        assert store.check() == []
        assert os.listdir(f"{store.path}/ingest") == []
    return sorted(image.reference.familiar for image in loaded)


def loaded_layers(store: Store, name: str) -> list[bytes]:
    """Return the uncompressed layers of an image in the store."""
    found = store.name(Reference.parse(name))
    assert found is not None
    layers = [store.read(layer) for layer in store.manifest(found.target).layers]
    return [gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw for raw in layers]


def member(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


# docker-archive: what real ones look like.


def test_a_docker_archive(store: Store) -> None:
    assert load(store, tar(docker_archive(LAYERS))) == ["x:1"]
    assert loaded_layers(store, "x:1") == list(LAYERS)
    found = store.name(Reference.parse("x:1"))
    assert found is not None
    manifest = store.manifest(found.target)
    config = store.config(manifest)
    assert (config.cmd, config.raw) == (("sh",), docker_archive(LAYERS)["config.json"])
    assert [layer.media_type for layer in manifest.layers] == [_media.OCI_LAYER] * 2
    assert manifest.layers[0].digest == config.diff_ids[0]


def test_any_order(store: Store) -> None:
    members = docker_archive(LAYERS)
    assert load(store, tar(dict(reversed(members.items())))) == ["x:1"]
    assert load(store, tar({f"./{name}": data for name, data in members.items()})) == ["x:1"]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_compressed_archive(store: Store, compress: Callable[[bytes], bytes]) -> None:
    assert load(store, compress(tar(docker_archive(LAYERS)))) == ["x:1"]


def test_a_stream_that_cannot_seek(store: Store) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb") as sink:
        sink.write(tar(docker_archive([tar({"a": b"1"})])))
        sink.close()
        assert len(_archive.load(store, source)) == 1
    assert os.listdir(f"{store.path}/ingest") == []


def test_compressed_layers(store: Store) -> None:
    members = docker_archive(LAYERS)
    names = list(members)[:2]
    members |= {name: gzip.compress(members[name]) for name in names}
    assert load(store, tar(members)) == ["x:1"]
    assert loaded_layers(store, "x:1") == list(LAYERS)


def test_repeated_layers(store: Store) -> None:
    layers = [LAYERS[0], LAYERS[1], LAYERS[0]]
    assert load(store, tar(docker_archive(layers))) == ["x:1"]
    assert loaded_layers(store, "x:1") == layers


@pytest.mark.parametrize(
    "kind, link", [(tarfile.SYMTYPE, "../first.tar"), (tarfile.LNKTYPE, "first.tar")]
)
def test_layers_that_are_links(store: Store, kind: bytes, link: str) -> None:
    members = docker_archive([LAYERS[0]])
    name, layer = next(iter(members.items()))
    rest = tar({"first.tar": layer, **{key: members[key] for key in list(members)[1:]}})
    assert load(store, member(name, kind, link=link) + rest) == ["x:1"]
    assert loaded_layers(store, "x:1") == [LAYERS[0]]


@pytest.mark.parametrize("tags", [None, [], ["NOT/a/Name"]])
def test_images_without_names(store: Store, tags: object) -> None:
    members = tar(docker_archive(LAYERS, RepoTags=tags))
    (name,) = load(store, members)
    assert name.startswith("localhost/loaded@sha256:")
    assert store.name(Reference.parse(name)) is not None
    assert load(store, members, reference=Reference.parse("y")) == ["y:latest"]


def test_several_images(store: Store) -> None:
    first, second = docker_archive(LAYERS), docker_archive([LAYERS[0]])
    rows = json.loads(first["manifest.json"]) + json.loads(second["manifest.json"])
    rows[1] |= {"Config": "second.json", "RepoTags": ["y:1", "h.io/y:2"]}
    members = {**first, "second.json": second["config.json"]}
    members["manifest.json"] = json.dumps(rows).encode()
    data = tar(members)
    assert load(store, data, select="h.io/y:2") == ["h.io/y:2"]
    assert load(store, data) == ["h.io/y:2", "x:1", "y:1"]
    assert loaded_layers(store, "x:1") == list(LAYERS)
    assert loaded_layers(store, "y:1") == [LAYERS[0]]
    with pytest.raises(ManifestError, match=r"for one name: x:1, y:1, h\.io/y:2"):
        _archive.load(store, io.BytesIO(data), reference=Reference.parse("z"))
    with pytest.raises(ImageNotFoundError, match="no image is named 'z'; there are: x:1, y:1"):
        _archive.load(store, io.BytesIO(data), select="z")


def row(**changes: Any) -> Callable[[], bytes]:
    return lambda: tar(docker_archive(LAYERS, **changes))


def replaced(name: str, data: bytes | None) -> Callable[[], bytes]:
    """Return an archive with another member of this name, or none."""

    def make() -> bytes:
        members = docker_archive(LAYERS)
        members.pop(name, None)
        return tar(members if data is None else {**members, name: data})

    return make


def linked(kind: bytes, link: str) -> Callable[[], bytes]:
    """Return an archive whose first layer is a link."""

    def make() -> bytes:
        members = docker_archive([LAYERS[0]])
        name = next(iter(members))
        rest = {key: data for key, data in members.items() if key != name}
        return member(name, kind, link=link) + tar(rest)

    return make


def wrong_layer(data: bytes) -> Callable[[], bytes]:
    return lambda: tar({**docker_archive(LAYERS), f"{Digest.of(LAYERS[1]).hex}/layer.tar": data})


TOO_LONG = b"x" * 512

HOSTILE: dict[str, tuple[Callable[[], bytes], type[ImageError], str]] = {
    "layer above": (row(Layers=["../../x", "b"]), ManifestError, "'../../x' is not the name"),
    "layer of the host": (row(Layers=["/etc/shadow", "b"]), ManifestError, "is not the name"),
    "config of the host": (row(Config="/etc/passwd"), ManifestError, "Config: '/etc/passwd'"),
    "no config": (row(Config=None), ManifestError, "Config: '' is not"),
    "config is missing": (row(Config="y"), ImageNotFoundError, "missing member 'y'"),
    "layer is missing": (row(Layers=["a", "b"]), ImageNotFoundError, "missing member 'a'"),
    "a layer too few": (row(Layers=[]), ManifestError, "0 layers, but .* 2 diff_ids"),
    "layers no list": (row(Layers="x"), ManifestError, "Layers: 'x' is not a list"),
    "link to the host": (linked(tarfile.SYMTYPE, "/etc/shadow"), ManifestError, "out of the arch"),
    "link above": (linked(tarfile.SYMTYPE, "../../../etc/shadow"), ManifestError, "out of the"),
    "hard link to the host": (linked(tarfile.LNKTYPE, "/etc/shadow"), ManifestError, "out of"),
    "hard link above": (linked(tarfile.LNKTYPE, "../x"), ManifestError, "out of the archive"),
    "link to nothing": (linked(tarfile.SYMTYPE, "nothing"), ImageNotFoundError, "missing member"),
    "link to itself": (linked(tarfile.SYMTYPE, "layer.tar"), ManifestError, "too many links"),
    "layer a directory": (linked(tarfile.DIRTYPE, ""), ManifestError, "not a regular file"),
    "layer a device": (linked(tarfile.CHRTYPE, ""), ManifestError, "not a regular file"),
    "two manifests": (
        lambda: member("manifest.json", data=b"[]") + tar(docker_archive(LAYERS)),
        ManifestError, "2 members are named 'manifest.json'",
    ),
    "no manifest": (replaced("manifest.json", None), ManifestError, "neither an OCI layout"),
    "manifest no list": (replaced("manifest.json", b"{}"), ManifestError, "not a JSON list"),
    "manifest no JSON": (replaced("manifest.json", b"["), ManifestError, "not valid JSON"),
    "no images": (replaced("manifest.json", b"[]"), ImageNotFoundError, "no image in it"),
    "a huge manifest": (
        replaced("manifest.json", b" " * (5 << 20)), LimitExceededError, "more than the limit",
    ),
    "a huge config": (
        replaced("config.json", b" " * (9 << 20)), LimitExceededError, "more than the limit",
    ),
    "another layer": (wrong_layer(LAYERS[0]), LayerError, "layer 1: uncompressed content"),
    "another compressed": (
        wrong_layer(gzip.compress(LAYERS[0])), LayerError, "layer 1: uncompressed content",
    ),
    "a corrupt layer": (wrong_layer(gzip.compress(LAYERS[1])[:-9]), LayerError, "gzip stream"),
    "a layer of xz": (wrong_layer(lzma.compress(LAYERS[1])), UnsupportedImageError, "with xz"),
    "no layers": (lambda: tar(docker_archive([])), UnsupportedImageError, "no layers"),
    "a name for two": (
        lambda: tar({
            **docker_archive(LAYERS),
            "c2": docker_archive([LAYERS[0]])["config.json"],
            "manifest.json": json.dumps([
                json.loads(docker_archive(LAYERS)["manifest.json"])[0],
                {"Config": "c2", "RepoTags": ["x:1"],
                 "Layers": [f"{Digest.of(LAYERS[0]).hex}/layer.tar"]},
            ]).encode(),
        }),
        ManifestError, "ambiguous: 'x:1' names both",
    ),
    "nothing": (lambda: b"", ManifestError, "neither"),
    "no tar": (lambda: TOO_LONG * 3, ManifestError, "no tar, or damaged"),
    "a cut header": (lambda: tar(docker_archive(LAYERS))[:700], ManifestError, "truncated"),
    "cut contents": (
        lambda: tar({"manifest.json": bytes(5000)})[:3000], ManifestError, "truncated in",
    ),
    "a damaged header": (
        lambda: b"y" + tar(docker_archive(LAYERS))[1:], ManifestError, "wrong checksum",
    ),
}  # fmt: skip


@pytest.mark.parametrize("make, error, said", HOSTILE.values(), ids=HOSTILE)
def test_hostile(
    store: Store, make: Callable[[], bytes], error: type[ImageError], said: str
) -> None:
    with pytest.raises(error, match=said):
        load(store, make())


def test_a_bomb(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decompress, "RATIO_FROM", 1 << 20)
    with pytest.raises(LimitExceededError, match="more than 1000 times"):
        load(store, wrong_layer(gzip.compress(bytes(1 << 25)))())
    with pytest.raises(LimitExceededError, match="more than 1000 times"):
        load(store, gzip.compress(bytes(1 << 25)))


# The tar format.


def header(name: str = "x", size: int | bytes = 0, kind: bytes = b"0") -> bytes:
    """Return a header with the size and kind as they are given, and the right checksum."""
    raw = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    raw[124:136] = size.ljust(12, b"\0") if isinstance(size, bytes) else b"%011o\0" % size
    raw[156:157] = kind
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def extended(kind: bytes, data: bytes) -> bytes:
    return header("ext", len(data), kind) + data + bytes(-len(data) % 512)


def pax(*records: bytes) -> bytes:
    return extended(b"x", b"".join(b"%d%s" % (len(text) + 2, text) for text in records))


MALFORMED: dict[str, tuple[bytes, type[ImageError], str]] = {
    "8 GB of PAX": (header(size=8 << 30, kind=b"x"), LimitExceededError, "extended header"),
    "8 GB of a name": (header(size=8 << 30, kind=b"L"), LimitExceededError, "extended header"),
    "PAX without a length": (extended(b"x", b"path=x\n"), ManifestError, "malformed PAX"),
    "PAX of length 0": (extended(b"x", b"0 path=x\n"), ManifestError, "malformed PAX"),
    "PAX too long": (extended(b"x", b"99 path=x\n"), ManifestError, "malformed PAX"),
    "PAX without =": (extended(b"x", b"8 path\n\n"), ManifestError, "malformed PAX"),
    "PAX without an end": (extended(b"x", b"9 path=xy"), ManifestError, "malformed PAX"),
    "PAX size": (pax(b" size=-1\n") + header(), ManifestError, "malformed size"),
    "PAX size of 100 digits": (
        extended(b"x", b"108 size=" + b"9" * 98 + b"\n") + header(), ManifestError, "malformed",
    ),
    "size no number": (header(size=b"zz"), ManifestError, "malformed number"),
    "size beyond": (header(size=b"\x80" + b"\xff" * 11), ManifestError, "out of range"),
    "size negative": (header(size=b"\xff" * 12), ManifestError, "out of range"),
    "size larger than the file": (header(size=1 << 30), ManifestError, "truncated in 'x'"),
    "sparse": (header(kind=b"S"), ManifestError, "sparse"),
    "sparse of PAX": (pax(b" GNU.sparse.major=1\n") + header(), ManifestError, "sparse"),
}  # fmt: skip


@pytest.mark.parametrize("data, error, said", MALFORMED.values(), ids=MALFORMED)
def test_malformed(data: bytes, error: type[ImageError], said: str) -> None:
    with pytest.raises(error, match=said):
        _tar.TarSource(io.BytesIO(data))


def test_long_names_of_all_kinds() -> None:
    name = "d/" * 150 + "file"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, name
            archive.addfile(link)
        source = _tar.TarSource(out)
        assert source.open(name).read(100) == b"data"
        assert source.open("link").read(100) == b"data"


def test_headers_for_the_next_member_only() -> None:
    data = b"".join(
        (
            extended(b"g", b"14 comment=xy\n"),
            *(pax(b" path=long\n"), header("short", 1), b"1".ljust(512, b"\0")),
            *(header("second", 1), b"2".ljust(512, b"\0")),
        )
    )
    source = _tar.TarSource(io.BytesIO(data))
    assert source.open("long").read(9) == b"1"
    assert source.open("second").read(9) == b"2"
    assert not source.has("short")


def test_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tar, "MEMBERS_MAX", 100)
    _tar.TarSource(io.BytesIO(header() * 100))
    with pytest.raises(LimitExceededError, match="more than 100 members"):
        _tar.TarSource(io.BytesIO(header() * 101))


# OCI layouts.


class Layout:
    """An OCI layout in a directory, to spoil."""

    def __init__(self, path: Path) -> None:
        self.path = path
        store = Store(str(path / "made"))
        with store.lease() as lease:
            self.manifest = add_image(store, lease, LAYERS)
            arm = add_image(store, lease, [LAYERS[0]], platform="linux/arm64")
            self.index = add_index(store, lease, {"linux/amd64": self.manifest, "linux/arm64": arm})
            images = [
                (Reference.parse("one:1"), self.manifest.descriptor),
                (Reference.parse("h.io/two"), self.index.descriptor),
            ]
            self.folder = path / "layout"
            _archive.save(store, images, self.folder, "oci-layout")

    def blob(self, digest: Digest) -> Path:
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.top.read_bytes())["manifests"]
        return found

    @property
    def top(self) -> Path:
        return self.folder / "index.json"

    def write(self, entries: list[dict[str, Any]]) -> None:
        self.top.write_bytes(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())

    def archive(self) -> bytes:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return tar({str(path.relative_to(self.folder)): path.read_bytes() for path in files})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def load_folder(store: Store, layout: Layout, **options: Any) -> list[str]:
    loaded = _archive.load(store, layout.folder, **options)
    assert store.check() == []
    return sorted(image.reference.familiar for image in loaded)


def test_a_layout(store: Store, layout: Layout) -> None:
    assert load_folder(store, layout) == ["h.io/two:latest", "one:1"]
    assert loaded_layers(store, "one:1") == list(LAYERS)
    found = store.name(Reference.parse("h.io/two"))
    assert found is not None
    assert len(store.present(found.target)) == 2


def test_an_archive_of_a_layout(store: Store, layout: Layout) -> None:
    assert load(store, layout.archive(), select="one:1") == ["one:1"]
    assert load(store, gzip.compress(layout.archive())) == ["h.io/two:latest", "one:1"]


def test_one_of_a_layout(store: Store, layout: Layout) -> None:
    assert load_folder(store, layout, select="docker.io/library/one:1") == ["one:1"]
    y = Reference.parse("y")
    assert load_folder(store, layout, select="h.io/two", reference=y) == ["y:latest"]
    with pytest.raises(ImageNotFoundError, match="no image is named 'three'; there are: "):
        load_folder(store, layout, select="three")
    with pytest.raises(ManifestError, match="2 images for one name"):
        load_folder(store, layout, reference=y)


def test_docker_writes_both(store: Store, layout: Layout) -> None:
    (layout.folder / "manifest.json").write_bytes(b"not looked at")
    assert load_folder(store, layout) == ["h.io/two:latest", "one:1"]


def test_names_as_others_write_them(store: Store, layout: Layout) -> None:
    one = layout.entries()[0]
    name, ref = "io.containerd.image.name", "org.opencontainers.image.ref.name"
    for named, familiar in (
        ({name: "h.io/a:1", ref: "1"}, "h.io/a:1"),
        ({ref: "h.io/b:2"}, "h.io/b:2"),
        ({ref: "busybox"}, "busybox:latest"),
    ):
        layout.write([{**one, "annotations": named}])
        assert load_folder(store, layout) == [familiar]
    for entry in ({**one, "annotations": {ref: "Not a name"}}, {**one, "annotations": None}):
        layout.write([entry])
        (familiar,) = load_folder(store, layout)
        assert familiar == f"localhost/loaded@{one['digest']}"


def test_platforms_that_are_missing(store: Store, layout: Layout) -> None:
    layout.blob(layout.index.manifests[1].digest).unlink()
    assert load_folder(store, layout) == ["h.io/two:latest", "one:1"]
    layout.blob(layout.manifest.digest).unlink()
    with pytest.raises(ImageNotFoundError, match=f"missing blob {layout.manifest.digest}"):
        load_folder(store, layout)


def unlink(layout: Layout) -> None:
    layout.blob(layout.manifest.layers[0].digest).unlink()


def link_out(layout: Layout) -> None:
    path = layout.blob(layout.manifest.config.digest)
    path.rename(layout.path / "outside")
    path.symlink_to(layout.path / "outside")


def link_folder(layout: Layout) -> None:
    (layout.folder / "blobs").rename(layout.path / "outside")
    (layout.folder / "blobs").symlink_to(layout.path / "outside")


def fifo(layout: Layout) -> None:
    path = layout.blob(layout.manifest.config.digest)
    path.unlink()
    os.mkfifo(path)


def link_index(layout: Layout) -> None:
    layout.top.unlink()
    layout.top.symlink_to("/etc/passwd")


def spoil(layout: Layout) -> None:
    path = layout.blob(layout.manifest.layers[0].digest)
    path.write_bytes(b"!" * path.stat().st_size)


def shorten(layout: Layout) -> None:
    os.truncate(layout.blob(layout.manifest.layers[0].digest), 5)


def lengthen(layout: Layout) -> None:
    os.truncate(layout.blob(layout.manifest.layers[0].digest), 1 << 40)


def same_name(layout: Layout) -> None:
    first, *rest = layout.entries()
    layout.write([{**entry, "annotations": first["annotations"]} for entry in (first, *rest)])


def traverse(layout: Layout) -> None:
    layout.write([{**layout.entries()[0], "digest": "sha256:../../../../etc/passwd"}])


def strange_entry(layout: Layout) -> None:
    layout.write([{**layout.entries()[0], "mediaType": "application/x"}])


def version(layout: Layout) -> None:
    (layout.folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')


def no_index(layout: Layout) -> None:
    layout.top.unlink()


def manifest_as_index(layout: Layout) -> None:
    layout.top.write_bytes(layout.manifest.raw)


def deep(layout: Layout) -> None:
    index = layout.index
    for _ in range(6):
        index = Index.build([index.descriptor])
        layout.blob(index.digest).write_bytes(index.raw)
    layout.write([index.descriptor.to_json()])


def empty(layout: Layout) -> None:
    layout.write([])


SPOILT: dict[str, tuple[Callable[[Layout], None], type[ImageError], str]] = {
    "missing blob": (unlink, ImageNotFoundError, "missing blob sha256:"),
    "blob is a link": (link_out, ManifestError, "is a link or no regular file"),
    "blobs is a link": (link_folder, ManifestError, "is a link or no regular file"),
    "blob is a fifo": (fifo, ManifestError, "not a regular file"),
    "index is a link": (link_index, ManifestError, "is a link"),
    "other content": (spoil, DigestMismatchError, "was expected"),
    "short content": (shorten, SizeMismatchError, "only 5 of"),
    "long content": (lengthen, SizeMismatchError, "more than the announced"),
    "a name for two": (same_name, ManifestError, "ambiguous"),
    "a digest with a path": (traverse, ManifestError, "invalid digest"),
    "no image": (strange_entry, UnsupportedImageError, "application/x"),
    "another version": (version, UnsupportedImageError, "version '2.0.0'"),
    "no index": (no_index, ImageNotFoundError, "missing file 'index.json'"),
    "a manifest as index": (manifest_as_index, ManifestError, "a manifest, not an index"),
    "indexes in indexes": (deep, LimitExceededError, "indexes in one another"),
    "no images": (empty, ImageNotFoundError, "no image in it"),
}


@pytest.mark.parametrize("change, error, said", SPOILT.values(), ids=SPOILT)
def test_spoilt_layouts(
    store: Store,
    layout: Layout,
    change: Callable[[Layout], None],
    error: type[ImageError],
    said: str,
) -> None:
    change(layout)
    with pytest.raises(error, match=said):
        _archive.load(store, layout.folder)
    assert store.names() == []
    assert store.check() == []


def test_a_folder_of_something_else(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="neither"):
        _archive.load(store, tmp_path)
    with pytest.raises(FileNotFoundError):
        _archive.load(store, tmp_path / "nothing")


# Root directories.


def reading(data: bytes) -> BinaryIO:
    return io.BytesIO(data)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_a_root_directory(store: Store, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "root.tar").write_bytes(compress(LAYERS[0]))
    x = Reference.parse("x")
    made = _archive.import_rootfs(store, tmp_path / "root.tar", x, cmd=("sh",), env=("A=1",))
    manifest = store.manifest(made.target)
    config = store.config(manifest)
    assert (config.cmd, config.env, config.diff_ids) == (("sh",), ("A=1",), (Digest.of(LAYERS[0]),))
    assert store.read(manifest.layers[0]) == LAYERS[0]
    assert store.check() == []
    again = _archive.import_rootfs(store, reading(LAYERS[0]), x, cmd=("sh",), env=("A=1",))
    assert again == made


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "shorter than one block"),
        (b"<html>" * 1000, "no tar"),
        (gzip.compress(b"text" * 1000), "no tar"),
        (gzip.compress(LAYERS[0])[:-8], "truncated gzip"),
    ],
)
def test_no_root_directory(store: Store, data: bytes, said: str) -> None:
    with pytest.raises(LayerError, match=said):
        _archive.import_rootfs(store, reading(data), Reference.parse("x"))
    assert store.names() == []
    assert os.listdir(f"{store.path}/ingest") == []
