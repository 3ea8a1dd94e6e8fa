# SPDX-License-Identifier: Apache-2.0
"""Digests: the names of content (OCI image-spec, descriptor.md)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from pycontain.errors import (
    DigestMismatchError,
    InvalidDigestError,
    SizeMismatchError,
    UnsupportedImageError,
)

Buffer: TypeAlias = bytes | bytearray | memoryview

LENGTHS: Final = {"sha256": 64, "sha512": 128}
_GRAMMAR = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)", re.ASCII)
_LOWER_HEX = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The digest of some content. Whatever has this type can stand in a path or a URL.

    Attributes:
        algorithm: "sha256" or "sha512".
        hex: The value, 64 or 128 lower-case hexadecimal digits.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        """Refuse all that could not be a file name of the store."""
        length = LENGTHS.get(self.algorithm)
        if length is None:
            raise UnsupportedImageError(
                f"unsupported digest algorithm {self.algorithm[:40]!r}: sha256 and sha512 are known"
            )
        if len(self.hex) != length or not _LOWER_HEX.fullmatch(self.hex):
            raise InvalidDigestError(
                f"invalid digest {f'{self.algorithm}:{self.hex}'[:160]!r}: "
                f"{self.algorithm} has {length} lower-case hexadecimal digits"
            )

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that a text such as "sha256:6c3c..." is.

        Raises:
            InvalidDigestError: Against the grammar.
            UnsupportedImageError: Of an algorithm that cannot be verified here.
        """
        match = _GRAMMAR.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidDigestError(
                f"invalid digest {str(text)[:160]!r}: write it as sha256:HEX, with 64 digits"
            )
        return cls(match[1], match[2])

    @classmethod
    def of(cls, data: Buffer, algorithm: str = "sha256") -> Digest:
        """Return the digest of bytes."""
        return cls(algorithm, hashlib.new(algorithm, data, usedforsecurity=False).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self.hex[:12]


class Verifier:
    """Watches content pass by: never more than announced, and in the end exactly that.

    Attributes:
        digest: The expected digest.
        size: The expected size in bytes; None: any.
        received: Bytes so far.
    """

    def __init__(self, digest: Digest, size: int | None = None) -> None:
        self.digest = digest
        self.size = size
        self.received = 0
        self._hash = hashlib.new(digest.algorithm, usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        """Take the next bytes; large ones are hashed without the interpreter's lock.

        Raises:
            SizeMismatchError: It is more than announced; these bytes should not be kept.
        """
        self.received += memoryview(data).nbytes
        if self.size is not None and self.received > self.size:
            raise SizeMismatchError(
                f"{self.digest}: more than the announced {self.size} bytes",
                expected=self.size,
                actual=self.received,
            )
        self._hash.update(data)

    def finish(self) -> None:
        """Say that this was all.

        Raises:
            SizeMismatchError: It is less than announced.
            DigestMismatchError: It is something else.
        """
        if self.size is not None and self.received != self.size:
            raise SizeMismatchError(
                f"{self.digest}: only {self.received} of the announced {self.size} bytes",
                expected=self.size,
                actual=self.received,
            )
        if (actual := self._hash.hexdigest()) != self.digest.hex:
            raise DigestMismatchError(
                f"content of digest {self.digest.algorithm}:{actual} where {self.digest} "
                "was expected",
                expected=str(self.digest),
                actual=f"{self.digest.algorithm}:{actual}",
            )


def verify(data: Buffer, digest: Digest, size: int | None = None) -> None:
    """Check that bytes are what was announced.

    Raises:
        SizeMismatchError: They are fewer or more.
        DigestMismatchError: They are others.
    """
    verifier = Verifier(digest, size)
    verifier.update(data)
    verifier.finish()
