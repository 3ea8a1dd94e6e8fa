# SPDX-License-Identifier: Apache-2.0
"""ELF files, byte by byte: right ones that can run, and wrong ones (elf(5))."""

from __future__ import annotations

import struct
from typing import Any

LOAD, INTERP, NOTE, PROPERTY = 1, 3, 4, 0x6474E553
BASE = 0x400000

# For x86-64: exit(0), and an instruction that no processor has.
EXIT = bytes.fromhex("31ffb83c0000000f05")
UNDEFINED = bytes.fromhex("0f0b")


def note(kind: int, content: bytes, *, align: int = 4, order: str = "<") -> bytes:
    """Return one of GNU's notes."""
    head = struct.pack(order + "III", 4, len(content), kind) + b"GNU\0"
    data = head + bytes(-len(head) % align) + content
    return data + bytes(-len(data) % align)


def abi(*version: int, order: str = "<", system: int = 0) -> bytes:
    """Return the note with the oldest kernel."""
    return note(1, struct.pack(order + "IIII", system, *version), order=order)


def isa(bits: int, kind: int = 0xC0008002) -> bytes:
    """Return the note with the instruction sets of x86 that are needed, a bit for each level."""
    return note(5, struct.pack("<IIIxxxx", kind, 4, bits), align=8)


def elf(
    *,
    machine: int = 62,
    bits: int = 64,
    order: str = "<",
    kind: int = 2,
    interpreter: bytes | None = None,
    notes: tuple[bytes, ...] = (),
    code: bytes = EXIT,
    **wrong: Any,
) -> bytes:
    """Return a program.

    Args:
        machine, bits, order, kind: Of its header.
        interpreter: Its loader, with its NUL.
        notes: Each a segment of its own; those of properties are aligned to 8 bytes.
        code: What it does.
        wrong: Fields of the header with other values: ident, phoff, phentsize, phnum; `loads`: the
            size that the program header gives for the file.
    """
    wide = bits == 64
    header_size, row_size = (64, 56) if wide else (52, 32)
    parts: list[tuple[int, bytes, int]] = [(LOAD, code, 0x1000)]
    if interpreter is not None:
        parts.append((INTERP, interpreter, 1))
    for content in notes:
        is_property = content[8:12] == struct.pack(order + "I", 5)
        parts.append((PROPERTY if is_property else NOTE, content, 8 if is_property else 4))
    at = header_size + row_size * len(parts)
    rows, body = [], b""
    for segment, content, align in parts:
        start = at + len(body)
        start += -start % 8
        body += bytes(start - at - len(body)) + content
        rows.append((segment, start, len(content), align))
    size = at + len(body)
    entry = BASE + rows[0][1]
    table = b""
    for segment, offset, length, align in rows:
        start, end = (0, wrong.get("loads", size)) if segment == LOAD else (offset, length)
        addresses = (BASE + start, BASE + start)
        if wide:
            row = (segment, 5, start, *addresses, end, end, align)
            table += struct.pack(order + "IIQQQQQQ", *row)
        else:
            row = (segment, start, *addresses, end, end, 5, align)
            table += struct.pack(order + "IIIIIIII", *row)
    ident: bytes = wrong.get(
        "ident", b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1))
    )
    header = ident.ljust(16, b"\0")[:16] + struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        *(kind, machine, 1, entry, wrong.get("phoff", header_size), 0, 0, header_size),
        *(wrong.get("phentsize", row_size), wrong.get("phnum", len(rows)), 0, 0, 0),
    )
    return header + table + body
