# SPDX-License-Identifier: Apache-2.0
"""A digest is valid before it names anything, and content is what its digest says."""

from __future__ import annotations

import hashlib

import pytest

from pycontain import (
    DigestMismatchError,
    InvalidDigestError,
    SizeMismatchError,
    UnsupportedImageError,
)
from pycontain._image._digest import Digest, Verifier, verify

HEX = "ab" * 32

INVALID = {
    "traversal": "sha256:../../x",
    "traversal of the right length": "sha256:" + "../" * 21 + "a",
    "upper case": "sha256:" + HEX.upper(),
    "63 digits": "sha256:" + HEX[1:],
    "65 digits": "sha256:" + HEX + "a",
    "trailing newline": f"sha256:{HEX}\n",
    "other digits": "sha256:" + "٣" * 64,
    "no algorithm": HEX,
    "empty": "",
    "empty algorithm": f":{HEX}",
    "empty value": "sha256:",
    "algorithm with slash": f"sha/256:{HEX}",
    "sha512 of the length of sha256": f"sha512:{HEX}",
}


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_invalid(text: str) -> None:
    with pytest.raises(InvalidDigestError, match="invalid digest"):
        Digest.parse(text)


@pytest.mark.parametrize("algorithm", ["md5", "blake3", "sha256+b64", "multihash.v2"])
def test_an_unknown_algorithm_is_not_invalid(algorithm: str) -> None:
    with pytest.raises(UnsupportedImageError, match="unsupported digest algorithm"):
        Digest.parse(f"{algorithm}:{HEX}")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_round_trip(algorithm: str) -> None:
    digest = Digest.of(b"content", algorithm)
    assert digest.hex == hashlib.new(algorithm, b"content").hexdigest()
    assert Digest.parse(str(digest)) == digest
    assert digest.short == digest.hex[:12]


@pytest.mark.parametrize("data", [b"content", bytearray(b"content"), memoryview(b"content")])
def test_what_was_announced_passes(data: bytes | bytearray | memoryview) -> None:
    verify(data, Digest.of(b"content"), 7)
    verify(data, Digest.of(b"content"))


def test_other_content() -> None:
    with pytest.raises(DigestMismatchError) as caught:
        verify(b"another", Digest.of(b"content"), 7)
    error = caught.value
    assert error.expected == str(Digest.of(b"content"))
    assert error.actual == str(Digest.of(b"another"))
    assert error.expected in str(error)
    assert error.actual in str(error)


def test_short_content() -> None:
    with pytest.raises(SizeMismatchError, match="only 4 of the announced 7 bytes") as caught:
        verify(b"cont", Digest.of(b"content"), 7)
    assert (caught.value.expected, caught.value.actual) == (7, 4)


def test_an_endless_stream_stops_at_once() -> None:
    verifier = Verifier(Digest.of(b"content"), 7)
    verifier.update(b"content")
    with pytest.raises(SizeMismatchError, match="more than the announced 7 bytes"):
        verifier.update(b"!")
