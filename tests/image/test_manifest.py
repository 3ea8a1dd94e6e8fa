# SPDX-License-Identifier: Apache-2.0
"""Manifests and indexes are what they say, in bounds, and errors name the field."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import pytest

from pycontain import (
    DigestMismatchError,
    ImageError,
    LimitExceededError,
    ManifestError,
    SizeMismatchError,
    UnsupportedImageError,
)
from pycontain._image import _media
from pycontain._image._descriptor import Descriptor
from pycontain._image._digest import Digest
from pycontain._image._manifest import Index, Manifest, parse
from pycontain._image._platform import Platform


def blob(media_type: str = _media.OCI_LAYER_GZIP, text: str = "x", **more: Any) -> dict[str, Any]:
    digest = str(Digest.of(text.encode()))
    return {"mediaType": media_type, "digest": digest, "size": len(text), **more}


def manifest(**changes: Any) -> dict[str, Any]:
    value = {
        "schemaVersion": 2,
        "mediaType": _media.OCI_MANIFEST,
        "config": blob(_media.OCI_CONFIG, "{}"),
        "layers": [blob()],
    }
    return {**value, **changes}


def index(**changes: Any) -> dict[str, Any]:
    value = {
        "schemaVersion": 2,
        "mediaType": _media.OCI_INDEX,
        "manifests": [
            blob(_media.OCI_MANIFEST, "m", platform={"os": "linux", "architecture": "amd64"})
        ],
    }
    return {**value, **changes}


def raw(value: object) -> bytes:
    return json.dumps(value).encode()


def parse_manifest(**changes: Any) -> Manifest:
    found = parse(raw(manifest(**changes)))
    assert isinstance(found, Manifest)
    return found


def test_a_manifest() -> None:
    found = parse_manifest(annotations={"a": "b"}, subject=blob(_media.OCI_MANIFEST, "s"))
    assert found.config.media_type == _media.OCI_CONFIG
    assert [layer.digest for layer in found.layers] == [Digest.of(b"x")]
    assert found.annotations == {"a": "b"}
    assert found.subject is not None
    assert found.digest == Digest.of(found.raw)
    found.check_image()


def test_an_index() -> None:
    found = parse(raw(index()))
    assert isinstance(found, Index)
    assert found.manifests[0].platform == Platform(os="linux", architecture="amd64")


def test_what_stands_twice_is_one_child() -> None:
    found = parse_manifest(layers=[blob(), blob(text="y"), blob()])
    assert [child.size for child in found.children] == [2, 1, 1]
    assert len(found.layers) == 3


# What is announced, what the document says of itself; both fine.
TYPES = {
    "both": (_media.OCI_MANIFEST, manifest()),
    "parameters": (f"{_media.OCI_MANIFEST}; charset=utf-8", manifest()),
    "upper case": (_media.OCI_MANIFEST.upper(), manifest()),
    "not announced": ("", manifest()),
    "announced as JSON": ("application/json", manifest()),
    "says nothing of itself": (_media.OCI_MANIFEST, manifest(mediaType=None)),
    "nobody says": ("", manifest(mediaType=None)),
    "Docker": (_media.DOCKER_MANIFEST, manifest(mediaType=_media.DOCKER_MANIFEST)),
}


@pytest.mark.parametrize("announced, value", TYPES.values(), ids=TYPES)
def test_media_types_that_agree(announced: str, value: dict[str, Any]) -> None:
    found = parse(raw(value), media_type=announced)
    assert isinstance(found, Manifest)
    assert found.media_type in _media.MANIFESTS


BROKEN: dict[str, tuple[bytes, str, type[ImageError], str]] = {
    "manifests and layers": (raw(manifest(manifests=[])), "", ManifestError, "both 'manifests'"),
    "manifests and config": (
        raw(index(config=blob(_media.OCI_CONFIG))), "", ManifestError, "both 'manifests'",
    ),
    "another Content-Type": (
        raw(manifest()), _media.DOCKER_MANIFEST, ManifestError, "announced as",
    ),
    "an index announced as a manifest": (
        raw(index(mediaType=None)), _media.OCI_MANIFEST, ManifestError, "does not fit",
    ),
    "a manifest that says it is an index": (
        raw(manifest(mediaType=_media.OCI_INDEX)), "", ManifestError, "does not fit",
    ),
    "schema 1": (
        raw({"schemaVersion": 1, "fsLayers": []}), "", UnsupportedImageError, "newer client",
    ),
    "schema 1 without a version": (raw({"fsLayers": []}), "", UnsupportedImageError, "newer"),
    "schema 3": (raw(manifest(schemaVersion=3)), "", ManifestError, "schemaVersion: not 2"),
    "another type": (
        raw(manifest(mediaType="text/x")), "", UnsupportedImageError, "media type 'text/x'",
    ),
    "no config": (raw(manifest(config=None)), "", ManifestError, "config: missing"),
    "negative size": (
        raw(manifest(layers=[blob(size=-1)])), "", ManifestError, r"layers\[0\]: size: -1",
    ),
    "no size": (raw(manifest(layers=[blob(size=None)])), "", ManifestError, "size: missing"),
    "size of a fraction": (
        raw(manifest(layers=[blob(size=1.5)])), "", ManifestError, "size: 1.5 is not an integer",
    ),
    "size True": (
        raw(manifest(layers=[blob(size=True)])), "", ManifestError, "True is not an integer",
    ),
    "size of 100 digits": (
        raw(manifest(layers=[blob(size=10**100)])), "", ManifestError, "too large",
    ),
    "size of 10,000 digits": (
        b'{"size": ' + b"9" * 10_000 + b"}", "", ManifestError, "not valid JSON",
    ),
    "digest with a path": (
        raw(manifest(layers=[blob(digest="sha256:../../x")])), "", ManifestError,
        r"layers\[0\]: digest: invalid digest",
    ),
    "no digest": (
        raw(manifest(layers=[blob(digest=None)])), "", ManifestError, "invalid digest ''",
    ),
    "unknown algorithm": (
        raw(manifest(config=blob(digest="blake3:" + "a" * 64))), "", UnsupportedImageError,
        "config: digest: unsupported digest algorithm 'blake3'",
    ),
    "layers no list": (raw(manifest(layers={})), "", ManifestError, "layers: {} is not a list"),
    "a layer no object": (
        raw(manifest(layers=["x"])), "", ManifestError, r"layers\[0\]: 'x' is not an object",
    ),
    "annotations of numbers": (
        raw(manifest(annotations={"a": 1})), "", ManifestError, "'a': 1 is not a string",
    ),
    "data of another size": (
        raw(manifest(config=blob(data="eHg="))), "", SizeMismatchError, "announced 1 bytes",
    ),
    "data of another digest": (
        raw(manifest(config=blob(data="eQ=="))), "", DigestMismatchError, "was expected",
    ),
    "data no base64": (raw(manifest(config=blob(data="*"))), "", ManifestError, "not base64"),
    "100 MB": (b" " * 100_000_000, "", LimitExceededError, "more than the limit of 4194304"),
    "a million entries": (
        b'{"schemaVersion":2,"manifests":[' + b"{}," * 1_000_000 + b"{}]}", "",
        LimitExceededError, "deeper|1000001 manifests",
    ),
    "1001 layers": (
        raw(manifest(layers=[blob()] * 1001)), "", LimitExceededError, "1001 layers",
    ),
    "lists in lists": (
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "", LimitExceededError, "deeper than",
    ),
    "objects in objects": (
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "", LimitExceededError, "deeper than",
    ),
    "lists that never end": (b'{"a":' + b"[" * 100_000, "", LimitExceededError, "deeper than"),
    "a name twice": (b'{"a":1,"a":2}', "", ManifestError, "'a' stands twice"),
    "a name twice, escaped": (b'{"a":1,"\\u0061":2}', "", ManifestError, "'a' stands twice"),
    "a name twice, deeper": (b'{"b":[{"a":1,"a":2}]}', "", ManifestError, "stands twice"),
    "NaN": (b'{"a":NaN}', "", ManifestError, "NaN is no number"),
    "Infinity": (b'{"a":-Infinity}', "", ManifestError, "-Infinity is no number"),
    "half a surrogate": (b'{"a":"\\ud800"}', "", ManifestError, "not valid JSON"),
    "not UTF-8": (b'{"a":"\xff"}', "", ManifestError, "not valid JSON"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "", ManifestError, "not valid JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "", ManifestError, "not valid JSON"),
    "a list": (b"[]", "", ManifestError, "not a JSON object"),
    "nothing": (b"", "", ManifestError, "not valid JSON"),
    "two": (b"{}{}", "", ManifestError, "not valid JSON"),
    "HTML": (b"<html>", "", ManifestError, "not valid JSON"),
}  # fmt: skip


@pytest.mark.parametrize("data, announced, error, said", BROKEN.values(), ids=BROKEN)
def test_broken(data: bytes, announced: str, error: type[ImageError], said: str) -> None:
    with pytest.raises(error, match=said):
        parse(data, media_type=announced)


def test_other_bytes_than_requested() -> None:
    with pytest.raises(DigestMismatchError):
        parse(raw(manifest()), expected=Digest.of(b"another"))


def test_brackets_in_strings_are_not_depth() -> None:
    assert parse_manifest(annotations={"a": '[{\\"' * 500}).annotations


def test_a_string_that_never_ends_takes_no_time_to_refuse() -> None:
    data = b'{"' + b"[" * 100 + b'\\"' * 1_000_000
    with pytest.raises(ManifestError, match="not valid JSON"):
        parse(data)


def test_depth_does_not_depend_on_the_callers() -> None:
    def deeper(levels: int) -> Manifest:
        return deeper(levels - 1) if levels else parse_manifest(x=nested)

    nested: Any = []
    for _ in range(60):
        nested = [nested]
    assert deeper(sys.getrecursionlimit() // 2).layers


def test_verified_data_is_kept() -> None:
    found = parse_manifest(config=blob(_media.OCI_CONFIG, "{}", data="e30="))
    assert found.config.data == b"{}"
    assert base64.b64decode(found.config.to_json()["data"]) == b"{}"


ARTIFACTS: dict[str, tuple[dict[str, Any], str]] = {
    "Helm": (
        {"config": blob("application/vnd.cncf.helm.config.v1+json")}, "a Helm chart",
    ),
    "empty config": (
        {"config": blob(_media.OCI_EMPTY, "{}"), "artifactType": "application/x.sbom"},
        "application/x.sbom",
    ),
    "empty config, no type": ({"config": blob(_media.OCI_EMPTY, "{}")}, "nothing in it to run"),
    "wasm": ({"config": blob("application/vnd.wasm.config.v0+json")}, "WebAssembly"),
    "no layers": ({"layers": []}, "has no layers"),
    "layers null": ({"layers": None}, "has no layers"),
    "encrypted": ({"layers": [blob(), blob(f"{_media.OCI_LAYER_GZIP}+encrypted")]}, "encrypted"),
    "EROFS": ({"layers": [blob("application/vnd.erofs.layer.v1")]}, "EROFS"),
    "in-toto": ({"layers": [blob("application/vnd.in-toto+json")]}, "an attestation"),
    "unknown": ({"layers": [blob("application/x")]}, "unsupported layer"),
}  # fmt: skip


@pytest.mark.parametrize("changes, said", ARTIFACTS.values(), ids=ARTIFACTS)
def test_what_cannot_be_run_can_be_kept(changes: dict[str, Any], said: str) -> None:
    found = parse_manifest(**changes)
    with pytest.raises(UnsupportedImageError, match=said):
        found.check_image()


LAYER_TYPES = {
    _media.OCI_LAYER: (None, False),
    _media.OCI_LAYER_GZIP: ("gzip", False),
    _media.OCI_LAYER_ZSTD: ("zstd", False),
    "application/vnd.oci.image.layer.nondistributable.v1.tar": (None, True),
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": ("gzip", True),
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": ("zstd", True),
    _media.DOCKER_LAYER: (None, False),
    _media.DOCKER_LAYER_GZIP: ("gzip", False),
    "application/vnd.docker.image.rootfs.diff.tar.zstd": ("zstd", False),
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": ("gzip", True),
}


@pytest.mark.parametrize("name", LAYER_TYPES)
def test_layer_types(name: str) -> None:
    found = _media.layer_type(name)
    assert (found.compression, found.foreign) == LAYER_TYPES[name]
    parse_manifest(layers=[blob(name)]).check_image()


@pytest.mark.parametrize(
    "head, compression",
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x5f\x2a\x4d\x18", "zstd"),
        (b"\x60\x2a\x4d\x18", "none"),
        (b"BZh91A", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\xfd7zXZ", "none"),
        (b"etc/", "none"),
        (b"", "none"),
    ],
)
def test_sniffing(head: bytes, compression: str) -> None:
    assert _media.sniff(head) == compression


def test_what_is_built_can_be_read() -> None:
    found = parse_manifest()
    built = Manifest.build(found.config, found.layers, {"b": "1", "a": "2"})
    again = parse(built.raw, media_type=built.media_type)
    assert again == built
    assert Manifest.build(found.config, found.layers, {"a": "2", "b": "1"}).raw == built.raw
    entry = Descriptor(
        media_type=built.media_type,
        digest=built.digest,
        size=len(built.raw),
        annotations={"a": "b"},
        platform=Platform(os="linux", architecture="arm", variant="v6", os_features=("x",)),
        urls=("https://h.io/x",),
        artifact_type="application/x",
    )
    listed = Index.build([entry])
    assert parse(listed.raw) == listed
