# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in, what comes out is a value or an error of ours."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _images import add_image, docker_archive, tar
from pycontain import ConfigError, ImageError
from pycontain._image import _archive
from pycontain._image._archive._tar import TarSource
from pycontain._image._config import ImageConfig
from pycontain._image._digest import Digest
from pycontain._image._manifest import parse
from pycontain._image._platform import Platform
from pycontain._image._reference import Reference
from pycontain._image._store import Store
from pycontain._image._user import resolve

NAMES = st.text("abcxyz019AZ._-/:@[]é\0 ", max_size=40)
DIGESTS = st.from_regex(r"(sha256|sha512|md5):[0-9a-fA-F]{0,130}", fullmatch=True)


@given(st.one_of(st.text(), NAMES, st.builds("{}@{}".format, NAMES, DIGESTS)))
def test_references(text: str) -> None:
    with contextlib.suppress(ImageError):
        reference = Reference.parse(text)
        assert Reference.parse(str(reference)) == reference
        assert Reference.parse(reference.familiar) == reference
        assert ".." not in str(reference)


@given(st.one_of(st.text(), DIGESTS))
def test_digests(text: str) -> None:
    with contextlib.suppress(ImageError):
        assert str(Digest.parse(text)) == text
        assert "/" not in text


@given(st.text("linuxam/d64vrh8x_-é", max_size=20))
def test_platforms(text: str) -> None:
    with contextlib.suppress(ConfigError):
        platform = Platform.parse(text)
        assert Platform.parse(str(platform)) == platform


@given(st.binary(max_size=200), st.text("root:0123,x\n", max_size=10))
def test_users(data: bytes, user: str) -> None:
    def open_file(path: str) -> int:
        fd = os.memfd_create("accounts")
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    with contextlib.suppress(ImageError):
        found = resolve(user, open_file)
        assert 0 <= found.uid < 1 << 32
        assert 0 <= found.gid < 1 << 32


def mutated(value: Any, chosen: random.Random) -> Any:
    """Return a document with something in it replaced, removed or repeated."""
    strange: list[Any] = [None, "", -1, 1 << 70, 1.5, True, [], {}, [[]], "\0", "../x", [None], "é"]
    if isinstance(value, dict) and value and chosen.random() < 0.9:
        key = chosen.choice(sorted(value))
        if chosen.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: mutated(value[key], chosen)}
    if isinstance(value, list) and value and chosen.random() < 0.8:
        place = chosen.randrange(len(value))
        return [*value[:place], mutated(value[place], chosen), *value[place:]]
    return chosen.choice(strange)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return a manifest and its configuration."""
    store = Store(str(tmp_path_factory.mktemp("documents") / "store"))
    with store.lease() as lease:
        manifest = add_image(store, lease, [tar({"a": b"1"}), tar({"b": b"2"})])
        config = store.config(manifest).derive(
            env=("A=1",), volumes=("/v",), exposed_ports=("1/tcp",), labels={"a": "b"},
            user="a:b", stop_signal=3, working_dir="/w", entrypoint=("e",), shell=("s",),
        )  # fmt: skip
    return manifest.raw, config.raw


@pytest.mark.parametrize("reader, number", [(parse, 0), (ImageConfig.parse, 1)])
def test_documents(
    documents: tuple[bytes, bytes], reader: Callable[[bytes], object], number: int
) -> None:
    chosen = random.Random(number)
    original = json.loads(documents[number])
    refused = 0
    for _ in range(2000):
        value = original
        for _ in range(chosen.randrange(1, 4)):
            value = mutated(value, chosen)
        try:
            reader(json.dumps(value).encode())
        except ImageError:
            refused += 1
    assert 200 < refused < 2000


def spoilt(data: bytes, chosen: random.Random) -> bytes:
    """Return an archive with some bytes of its headers or contents changed."""
    out = bytearray(data)
    for _ in range(chosen.randrange(1, 6)):
        at = chosen.randrange(len(out))
        match chosen.randrange(4):
            case 0:
                out[at] = chosen.randrange(256)
            case 1:
                del out[at : at + chosen.randrange(1, 600)]
            case 2:
                out[at:at] = out[: chosen.randrange(1, 600)]
            case _:  # a number of a header, with the checksum made right
                block = at // 512 * 512
                header = out[block : block + 512].ljust(512, b"\0")
                header[124 + chosen.randrange(33)] = chosen.randrange(256)
                header[148:156] = b" " * 8
                header[148:156] = b"%06o\0 " % sum(header)
                out[block : block + 512] = header
        if not out:
            return b""
    return bytes(out)


def test_archives() -> None:
    chosen = random.Random(1)
    archive = tar(docker_archive([tar({"a": b"1"})]))
    refused = 0
    for _ in range(3000):
        data = spoilt(archive, chosen)
        try:
            source = TarSource(io.BytesIO(data))
            while source.open("manifest.json").read(100_000) and chosen.random() < 0.5:
                pass
        except ImageError:
            refused += 1
    assert 300 < refused < 3000


@pytest.mark.slow
def test_loading_spoilt_archives(store: Store, tmp_path: Path) -> None:
    chosen = random.Random(2)
    (tmp_path / "canary").write_bytes(b"as it was")
    archive = tar(docker_archive([tar({"a": b"1"})]))
    refused = 0
    for _ in range(300):
        try:
            _archive.load(store, io.BytesIO(spoilt(archive, chosen)))
        except ImageError:
            refused += 1
    assert 30 < refused < 300
    assert store.check() == []
    assert os.listdir(f"{store.path}/ingest") == []
    assert sorted(os.listdir(tmp_path)) == ["canary", "store"]
    assert (tmp_path / "canary").read_bytes() == b"as it was"
