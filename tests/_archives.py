# SPDX-License-Identifier: Apache-2.0
"""Archives of any form, right or wrong, byte by byte (tar(5), POSIX pax)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR, GNU, V7 = b"ustar\0" + b"00", b"ustar  \0", bytes(8)

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0123456"


def octal(value: int, size: int) -> bytes:
    """Return a numeric field: octal digits, or base 256 where these do not do."""
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    mask = (1 << 8 * size) - 1
    top = 0x80 if value >= 0 else 0xFF
    data = bytearray((value & mask).to_bytes(size, "big"))
    data[0] = top if value < 0 else data[0] | top
    return bytes(data)


def padded(data: bytes) -> bytes:
    """Return data in whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def header(  # noqa: PLR0913 - its fields
    name: bytes | str,
    kind: str = FILE,
    *,
    size: int | bytes = 0,
    mode: int | bytes = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    mtime: int | bytes = 1_000_000_000,
    link: bytes | str = b"",
    magic: bytes = USTAR,
    major: int | bytes = 0,
    minor: int | bytes = 0,
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """Return one header; numbers given as bytes are fields that are taken as they are."""

    def field(value: int | bytes, length: int) -> bytes:
        return (octal(value, length) if isinstance(value, int) else value).ljust(length, b"\0")

    def text(value: bytes | str) -> bytes:
        return value if isinstance(value, bytes) else value.encode()

    block = (
        bytearray()
        .join(
            (
                text(name)[:100].ljust(100, b"\0"),
                field(mode, 8),
                field(uid, 8),
                field(gid, 8),
                field(size, 12),
                field(mtime, 12),
                b" " * 8,
                kind.encode("latin-1"),
                text(link)[:100].ljust(100, b"\0"),
                magic,
                bytes(64),
                field(major, 8),
                field(minor, 8),
                prefix.ljust(155, b"\0"),
            )
        )
        .ljust(BLOCK, b"\0")
    )
    return seal(block) if checksum is None else bytes(block[:148] + checksum + block[156:])


def seal(block: bytes | bytearray) -> bytes:
    """Return a header with its checksum."""
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return bytes(block[:148]) + b"%06o\0 " % total + bytes(block[156:])


def entry(
    name: bytes | str,
    kind: str = FILE,
    data: bytes = b"",
    *,
    pax: Mapping[str, bytes | str] | None = None,
    **fields: int | bytes | str,
) -> bytes:
    """Return a header with data, after an extended one if there are records for it."""
    fields.setdefault("size", len(data))
    fields.setdefault("mode", 0o755 if kind == DIRECTORY else 0o644)
    whole = header(name, kind, **fields) + padded(data)  # type: ignore[arg-type]
    return extended(records(pax)) + whole if pax else whole


def record(key: str, value: bytes | str) -> bytes:
    """Return a record of an extended header: its length counts itself."""
    rest = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode())
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) + 1 != length:
        length = len(b"%d" % length) + len(rest) + 1
    return b"%d" % length + rest + b"\n"


def records(values: Mapping[str, bytes | str]) -> bytes:
    """Return the records of an extended header."""
    return b"".join(record(key, value) for key, value in values.items())


def extended(data: bytes, kind: str = "x", **fields: int | bytes) -> bytes:
    """Return an extended header: pax's "x" or "g", GNU's "L" or "K"."""
    fields.setdefault("size", len(data))
    return header("ext", kind, **fields) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes | str, *, mode: int = 0o755, **fields: int | bytes | str) -> bytes:
    """Return a directory's entry."""
    return entry(name, DIRECTORY, b"", pax=None, mode=mode, **fields)


def symlink(name: bytes | str, target: bytes | str) -> bytes:
    """Return a symbolic link's entry."""
    return entry(name, SYMLINK, link=target, mode=0o777)


def hardlink(name: bytes | str, target: bytes | str) -> bytes:
    """Return a hard link's entry."""
    return entry(name, HARDLINK, link=target)


def archive(*parts: bytes) -> bytes:
    """Return a whole archive."""
    return b"".join(parts) + END


def old_sparse(name: str, size: int, parts: Sequence[tuple[int, bytes]]) -> bytes:
    """Return GNU tar's first form of a sparse file: type S, a map in the header and after it."""
    pairs = [octal(at, 12) + octal(len(data), 12) for at, data in parts]
    first, rest = pairs[:4], pairs[4:]
    stored = b"".join(data for _, data in parts)
    block = bytearray(header(name, "S", size=len(stored), magic=GNU))
    block[386 : 386 + 24 * len(first)] = b"".join(first)
    block[482] = bool(rest)
    block[483:495] = octal(size, 12)
    out = [seal(bytes(block))]
    while rest:
        now, rest = rest[:21], rest[21:]
        out.append(b"".join(now).ljust(504, b"\0") + bytes([bool(rest)]) + bytes(7))
    return b"".join(out) + padded(stored)


def pax_sparse(
    name: str, size: int, parts: Sequence[tuple[int, bytes]], version: str = "1.0"
) -> bytes:
    """Return one of the pax forms of a sparse file: 0.0, 0.1 or 1.0."""
    stored = b"".join(data for _, data in parts)
    if version == "1.0":
        numbers = [len(parts), *(n for at, data in parts for n in (at, len(data)))]
        text = padded(b"".join(b"%d\n" % number for number in numbers))
        values = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": name,
            "GNU.sparse.realsize": str(size),
        }
        return extended(records(values)) + entry("GNUSparseFile.0/x", FILE, text + stored)
    if version == "0.1":
        pairs = ",".join(f"{at},{len(data)}" for at, data in parts)
        values = {
            "GNU.sparse.size": str(size),
            "GNU.sparse.numblocks": str(len(parts)),
            "GNU.sparse.name": name,
            "GNU.sparse.map": pairs,
        }
        return extended(records(values)) + entry("GNUSparseFile.0/x", FILE, stored)
    rows = b"".join(
        record("GNU.sparse.offset", str(at)) + record("GNU.sparse.numbytes", str(len(data)))
        for at, data in parts
    )
    first = records({"GNU.sparse.size": str(size), "GNU.sparse.numblocks": str(len(parts))})
    return extended(first + rows) + entry(name, FILE, stored)
