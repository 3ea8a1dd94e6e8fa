# SPDX-License-Identifier: Apache-2.0
"""The members of a tar archive that holds images: an index of them, in bounds.

Nothing is extracted: members are found by name and read where they lie. Layers, which are archives
of their own, are not read here.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from pycontain.errors import ImageNotFoundError, LayerError, LimitExceededError, ManifestError

BLOCK: Final = 512
MEMBERS_MAX: Final = 100_000
EXTENDED_MAX: Final = 1 << 20
LINKS_MAX: Final = 10
_REGULAR = frozenset(b"0\x007")
_HARD_LINK, _SYMBOLIC_LINK = _LINKS = b"12"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"xgLK"


@dataclass(frozen=True, slots=True)
class Member:
    """A member: where its bytes lie, or where it leads.

    Attributes:
        kind: The header's typeflag.
        link: What a link says.
    """

    name: str
    kind: int
    offset: int
    size: int
    link: str


def _number(field: bytes, name: str) -> int:
    """Return a number in octal digits, or in base 256 (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ~(1 << (8 * len(field) - 1))
        if field[0] & 0x40 or value >> 62:
            raise ManifestError(f"archive: {name[:80]!r}: the size is out of range")
        return value
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise ManifestError(f"archive: {name[:80]!r}: malformed number in the header")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="surrogateescape")


def check_header(
    header: bytes, place: int, error: type[ManifestError | LayerError] = ManifestError
) -> None:
    """Raise `error` if a block is no header of a member; `place` is its offset."""
    field = header[148:156].strip(b"\0 ")
    total = sum(header) - sum(header[148:156]) + 8 * 0x20
    if field.strip(b"01234567") or not field or int(field, 8) != total:
        raise error(f"archive: no tar, or damaged: wrong checksum at byte {place}")


def _pax(data: bytes, what: str) -> dict[str, bytes]:
    """Return the records of an extended header (pax(1), "pax Extended Header")."""
    found: dict[str, bytes] = {}
    while data:
        length, space, _ = data[:10].partition(b" ")
        end = int(length) if length.isdigit() else 0
        record = data[len(length) + 1 : end]
        key, equals, value = record[:-1].partition(b"=")
        if not space or end > len(data) or record[-1:] != b"\n" or not equals:
            raise ManifestError(f"archive: malformed PAX record at {what}")
        found[key.decode(errors="surrogateescape")] = value
        data = data[end:]
    return found


class _Reader:
    """One pass over the headers."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.end = file.seek(0, os.SEEK_END)
        self.place = 0

    def take(self, size: int) -> bytes:
        self.file.seek(self.place)
        data = self.file.read(size)
        if len(data) != size:
            raise ManifestError(f"archive: truncated at byte {self.end}")
        return data

    def extended(self, size: int) -> bytes:
        if size > EXTENDED_MAX:
            raise LimitExceededError(
                f"archive: an extended header of {size} bytes at byte {self.place} is larger "
                f"than the limit of {EXTENDED_MAX}",
                limit="extended header",
                allowed=EXTENDED_MAX,
            )
        data = self.take(size)
        self.skip(size)
        return data

    def skip(self, size: int) -> None:
        self.place += -(-size // BLOCK) * BLOCK

    def members(self) -> Iterator[Member]:
        pax: dict[str, bytes] = {}
        long_name = long_link = None
        while self.place < self.end:
            header = self.take(BLOCK)
            if not header.strip(b"\0"):
                return
            check_header(header, self.place)
            name = _text(header[:100])
            if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
                name = f"{prefix}/{name}"
            size, kind = _number(header[124:136], name), header[156]
            self.place += BLOCK
            if kind == _PAX_GLOBAL:
                self.extended(size)
            elif kind == _PAX:
                pax = _pax(self.extended(size), f"byte {self.place}")
            elif kind == _LONG_NAME:
                long_name = _text(self.extended(size))
            elif kind == _LONG_LINK:
                long_link = _text(self.extended(size))
            else:
                link = long_link if long_link is not None else _text(header[157:257])
                yield self.member(long_name or name, size, kind, link, pax)
                pax, long_name, long_link = {}, None, None

    def member(self, name: str, size: int, kind: int, link: str, pax: dict[str, bytes]) -> Member:
        if "path" in pax:
            name = _text(pax["path"])
        if "linkpath" in pax:
            link = _text(pax["linkpath"])
        if "size" in pax:
            if not pax["size"].isdigit() or len(pax["size"]) > 18:
                raise ManifestError(f"archive: {name[:80]!r}: malformed size")
            size = int(pax["size"])
        if kind == ord("S") or any(key.startswith("GNU.sparse.") for key in pax):
            raise ManifestError(f"archive: {name[:80]!r}: a sparse member")
        held = size if kind in _REGULAR else 0
        if self.place + held > self.end:
            raise ManifestError(f"archive: truncated in {name[:80]!r}")
        found = Member(name, kind, self.place, held, link)
        self.skip(held)
        return found


class TarSource:
    """The files in an archive, by name."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the headers.

        Args:
            file: The archive, not compressed, that can be sought in. Stays the caller's.

        Raises:
            ManifestError: No archive, or a broken one.
            LimitExceededError: Too many members, or extended headers that are too large.
        """
        self._file = file
        self._members: dict[str, list[Member]] = {}
        for count, member in enumerate(_Reader(file).members()):
            if count == MEMBERS_MAX:
                raise LimitExceededError(
                    f"archive: more than {MEMBERS_MAX} members",
                    limit="members",
                    allowed=MEMBERS_MAX,
                )
            self._members.setdefault(_plain(member.name), []).append(member)

    def has(self, name: str) -> bool:
        """Tell whether there is such a member."""
        return _plain(name) in self._members

    def open(self, name: str) -> MemberFile:
        """Return a file for reading; links lead to other members only.

        Raises:
            ImageNotFoundError: There is none.
            ManifestError: There are several, it is no regular file, or a link out of the archive.
        """
        at = _plain(name)
        for _ in range(LINKS_MAX):
            found = self._members.get(at)
            if not found:
                raise ImageNotFoundError(f"archive: missing member {at[:200]!r}")
            if len(found) > 1:
                raise ManifestError(f"archive: {len(found)} members are named {at[:200]!r}")
            member = found[0]
            if member.kind in _REGULAR:
                return MemberFile(self._file, member)
            if member.kind not in _LINKS:
                raise ManifestError(f"archive: {at[:200]!r} is not a regular file")
            at = _target(member)
        raise ManifestError(f"archive: too many links at {name[:200]!r}")


def _plain(name: str) -> str:
    """Return a name without what means nothing; one with a root or `..` stays what it is."""
    parts = name.split("/")
    if not parts[0] or ".." in parts:
        return name
    return "/".join(part for part in parts if part not in {"", "."})


def _target(member: Member) -> str:
    """Return the name of the member that a link leads to."""
    folder = posixpath.dirname(member.name) if member.kind == _SYMBOLIC_LINK else ""
    at = posixpath.normpath(posixpath.join(folder, member.link))
    if at == ".." or at.startswith(("/", "../")):
        raise ManifestError(
            f"archive: {member.name[:200]!r} is a link out of the archive, to {member.link[:200]!r}"
        )
    return at


class MemberFile:
    """The bytes of a member, from its beginning."""

    def __init__(self, file: BinaryIO, member: Member) -> None:
        self._file = file
        self._at = member.offset
        self._left = member.size
        self.size = member.size

    def read(self, size: int) -> bytes:
        """Return at most that many bytes; none at the end."""
        self._file.seek(self._at)
        data = self._file.read(min(size, self._left))
        if not data and self._left and size:
            raise ManifestError("archive: it has become shorter")
        self._at += len(data)
        self._left -= len(data)
        return data
