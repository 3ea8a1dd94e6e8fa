# SPDX-License-Identifier: Apache-2.0
"""Compressed layers expand to what was compressed, or are refused in time."""

from __future__ import annotations

import bz2
import collections
import gzip
import lzma
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator

import pytest

from pycontain import LayerError, LimitExceededError, UnsupportedError
from pycontain._image import _decompress
from pycontain._image._decompress import STEP, decompress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Pack = Callable[[bytes], bytes]
NOISE = random.Random(7).randbytes(70_000)
DATA = NOISE + bytes(5 * STEP) + NOISE
GZIP, ZSTD = gzip.compress(NOISE), zstd.compress(NOISE)
BZIP2, XZ = bz2.compress(NOISE), lzma.compress(NOISE)
SKIPPED = struct.pack("<II", 0x184D2A53, 5) + b"index"


@pytest.fixture(params=["isal", "zlib"])
def inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def expand(data: bytes, compression: str, *, size: int = 4096, total_max: int = 1 << 30) -> bytes:
    found = decompress(pieces(data, size), compression, total_max=total_max, what="layer 1")
    chunks = [bytes(chunk) for chunk in found]
    assert compression == "none" or max(map(len, chunks), default=0) <= STEP
    return b"".join(chunks)


STREAMS = {
    "plain": ("none", DATA, DATA),
    "gzip": ("gzip", gzip.compress(DATA), DATA),
    "gzip, stored": ("gzip", gzip.compress(NOISE, 0), NOISE),
    "gzip, empty": ("gzip", gzip.compress(b""), b""),
    "gzip, members": ("gzip", GZIP + gzip.compress(b"") + gzip.compress(DATA), NOISE + DATA),
    "gzip, zeroes behind": ("gzip", GZIP + bytes(5000), NOISE),
    "gzip, a step exactly": ("gzip", gzip.compress(bytes(2 * STEP)), bytes(2 * STEP)),
    "zstd": ("zstd", zstd.compress(DATA), DATA),
    "zstd, frames": ("zstd", ZSTD + zstd.compress(DATA), NOISE + DATA),
    "zstd, frames to skip": ("zstd", SKIPPED + ZSTD + SKIPPED, NOISE),
    "zstd, a step exactly": ("zstd", zstd.compress(bytes(2 * STEP)), bytes(2 * STEP)),
    "bzip2": ("bzip2", bz2.compress(DATA), DATA),
    "bzip2, streams": ("bzip2", BZIP2 + bz2.compress(DATA) + bytes(9), NOISE + DATA),
    "xz": ("xz", lzma.compress(DATA), DATA),
    "xz, streams": ("xz", XZ + lzma.compress(DATA) + bytes(8), NOISE + DATA),
}


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("size", [13, 4096, 1 << 24])
@pytest.mark.parametrize("name", STREAMS)
def test_all_of_it_comes_out_however_it_comes_in(name: str, size: int) -> None:
    compression, packed, plain = STREAMS[name]
    assert expand(packed, compression, size=size) == plain


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("pack, compression", [(gzip.compress, "gzip"), (zstd.compress, "zstd")])
def test_single_bytes_are_enough(pack: Pack, compression: str) -> None:
    packed = pack(NOISE[:999]) + pack(b"end")
    assert expand(packed, compression, size=1) == NOISE[:999] + b"end"


BROKEN = {
    "nothing": ("gzip", b"", "truncated gzip"),
    "gzip, truncated": ("gzip", GZIP[:-9], "truncated gzip"),
    "gzip, a header alone": ("gzip", GZIP[:5], "truncated gzip"),
    "gzip, no checksum": ("gzip", GZIP[:-3], "truncated gzip"),
    "gzip, wrong checksum": ("gzip", GZIP[:-8] + bytes(8), "broken gzip"),
    "gzip, noise": ("gzip", NOISE, "broken gzip"),
    "gzip, garbage behind": ("gzip", GZIP + b"garbage", "trailing data after the gzip"),
    "gzip, a member after zeroes": ("gzip", GZIP + bytes(9) + GZIP, "trailing data"),
    "gzip, second member cut": ("gzip", GZIP + GZIP[:99], "truncated gzip"),
    "zstd, truncated": ("zstd", ZSTD[:-9], "truncated zstd"),
    "zstd, noise": ("zstd", NOISE, "broken zstd"),
    "zstd, garbage behind": ("zstd", ZSTD + b"garbage", "trailing data after the zstd"),
    "bzip2, truncated": ("bzip2", BZIP2[:-9], "truncated bzip2"),
    "bzip2, noise": ("bzip2", NOISE, "broken bzip2"),
    "bzip2, garbage behind": ("bzip2", BZIP2 + b"garbage", "trailing data after the bzip2"),
    "xz, truncated": ("xz", XZ[:-9], "truncated xz"),
    "xz, noise": ("xz", NOISE, "broken xz"),
    "xz, garbage behind": ("xz", XZ + b"garbage", "trailing data after the xz"),
    "zstd, skipped frame cut": ("zstd", ZSTD + SKIPPED[:-2], "truncated zstd"),
}


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("size", [13, 1 << 20])
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name: str, size: int) -> None:
    compression, packed, text = BROKEN[name]
    with pytest.raises(LayerError, match=f"layer 1: {text}"):
        expand(packed, compression, size=size)


def gzip_bomb() -> Iterator[bytes]:
    """A stream of zeroes that never ends."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    while True:
        yield packer.compress(bytes(STEP))


def zstd_bomb() -> Iterator[bytes]:
    packer = zstd.ZstdCompressor()
    while True:
        yield packer.compress(bytes(STEP), packer.FLUSH_BLOCK)


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("bomb, compression", [(gzip_bomb, "gzip"), (zstd_bomb, "zstd")])
def test_a_bomb_is_stopped_at_the_total(
    bomb: Callable[[], Iterator[bytes]], compression: str
) -> None:
    found = decompress(bomb(), compression, total_max=8 * STEP, what="layer 1")
    with pytest.raises(LimitExceededError, match="layer 1: expands to more than") as caught:
        collections.deque(found, maxlen=0)
    assert (caught.value.limit, caught.value.allowed) == ("total", 8 * STEP)


@pytest.mark.parametrize("bomb, compression", [(gzip_bomb, "gzip"), (zstd_bomb, "zstd")])
def test_a_bomb_is_stopped_by_its_ratio(
    monkeypatch: pytest.MonkeyPatch, bomb: Callable[[], Iterator[bytes]], compression: str
) -> None:
    monkeypatch.setattr(_decompress, "RATIO_FROM", 8 * STEP)
    found = decompress(bomb(), compression, total_max=1 << 40, what="layer 1")
    with pytest.raises(LimitExceededError, match="1000 times") as caught:
        collections.deque(found, maxlen=0)
    assert caught.value.limit == "ratio"


def test_a_window_beyond_the_limit_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 28}
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(NOISE) + packer.flush()
    with pytest.raises(LimitExceededError, match="window") as caught:
        expand(packed, "zstd")
    assert caught.value.limit == "window_log"


def test_without_a_library_for_zstd_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, zstd.__name__, None)
    monkeypatch.setattr(sys.modules["backports"], "zstd", None, raising=False)
    monkeypatch.delattr(sys.modules["backports"], "zstd", raising=False)
    with pytest.raises(UnsupportedError, match=r"pip install 'pycontain\[images\]'"):
        expand(zstd.compress(NOISE), "zstd")
