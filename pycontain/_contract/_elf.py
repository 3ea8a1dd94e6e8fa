# SPDX-License-Identifier: Apache-2.0
"""What the kernel and the dynamic loader look at in an ELF file, and nothing else.

Only headers, the name of the loader and notes are read, each within a bound, whatever the file
says. The rules are those of the kernel's fs/binfmt_elf.c; sources: elf(5), the generic and x86-64
psABI supplements.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from ._architectures import architecture_of

MAGIC: Final = b"\x7fELF"
Read: TypeAlias = Callable[[int, int], bytes]
"""Returns at most so many bytes at an offset; fewer at the end of the file."""

_PROGRAM_HEADERS_MAX: Final = 65536
_INTERPRETER_MAX: Final = 4096  # PATH_MAX
_NOTES_MAX: Final = 65536
_SEGMENTS_MAX: Final = 16
_EXECUTABLE, _SHARED = 2, 3
_LOAD, _INTERP, _NOTE, _PROPERTY = 1, 3, 4, 0x6474E553
_KINDS: Final = {1: "an object file that no linker has seen", 4: "a core dump"}
_NOTE_ABI_TAG, _NOTE_PROPERTIES = 1, 5
_ABI_LINUX: Final = 0
_X86_ISA_NEEDED: Final = 0xC0008002
_X86: Final = frozenset((3, 62))
_OFFSET_MAX: Final = 1 << 63


class BadElfError(ValueError):
    """A file that begins like an ELF file and is none that the kernel would execute."""


class Elf(NamedTuple):
    """An ELF program or library.

    Attributes:
        architecture: In the words of images; a description of what is none of theirs.
        interpreter: The dynamic loader that it names, as bytes of a path; None: it is static.
        level: The level of x86-64 that it says it needs; 0: it says nothing.
        kernel: The oldest Linux that it says it runs on, such as (3, 2, 0).
    """

    architecture: str
    interpreter: bytes | None
    level: int = 0
    kernel: tuple[int, int, int] | None = None


class _Segment(NamedTuple):
    kind: int
    offset: int
    size: int
    align: int


class _Form(NamedTuple):
    """How numbers are laid out."""

    bits: int
    order: str

    @property
    def header(self) -> struct.Struct:
        # e_type e_machine e_version e_entry e_phoff e_shoff e_flags e_ehsize e_phentsize e_phnum
        return struct.Struct(self.order + ("HHIQQQIHHH" if self.bits == 64 else "HHIIIIIHHH"))

    @property
    def program_header(self) -> struct.Struct:
        return struct.Struct(self.order + ("IIQQQQQQ" if self.bits == 64 else "IIIIIIII"))


def read_elf(read: Read, size: int) -> Elf:
    """Return what a file says of itself.

    Args:
        read: Reads the file.
        size: Of the file, in bytes.

    Raises:
        BadElfError: The kernel would refuse it, or it would crash at once; says why.
        OSError: What `read` raises.
    """
    form = _form(read(16, 0))
    header = form.header
    raw = read(header.size, 16)
    if len(raw) < header.size:
        raise BadElfError("is cut off within its ELF header")
    fields = header.unpack(raw)
    kind, machine, table, entry_size, count = (
        *(fields[0], fields[1], fields[4]),
        *(fields[8], fields[9]),
    )
    if kind not in (_EXECUTABLE, _SHARED):
        raise BadElfError(f"is {_KINDS.get(kind, f'an ELF file of type {kind}')}, no program")
    segments = _segments(read, form, table, entry_size, count)
    _check_loads(segments, size)
    level, kernel = 0, None
    for note, content in _notes(read, form, segments):
        if note == _NOTE_ABI_TAG:
            kernel = kernel or _kernel(form, content)
        elif machine in _X86:
            level = max(level, _level(form, content))
    return Elf(
        architecture=architecture_of(machine, form.bits, little=form.order == "<"),
        interpreter=_interpreter(read, segments),
        level=level,
        kernel=kernel,
    )


def _form(ident: bytes) -> _Form:
    if not ident.startswith(MAGIC):
        raise BadElfError("is no ELF file")
    if len(ident) < 16:
        raise BadElfError("is cut off within its ELF header")
    bits, order = {1: 32, 2: 64}.get(ident[4]), {1: "<", 2: ">"}.get(ident[5])
    if bits is None or order is None:
        raise BadElfError(f"has an ELF header of class {ident[4]} and byte order {ident[5]}")
    return _Form(bits, order)


def _segments(read: Read, form: _Form, table: int, entry_size: int, count: int) -> list[_Segment]:
    row = form.program_header
    if entry_size != row.size or not 0 < count * row.size <= _PROGRAM_HEADERS_MAX:
        raise BadElfError(f"has {count} program headers of {entry_size} bytes")
    size = count * row.size
    raw = read(size, table) if table < _OFFSET_MAX else b""
    if len(raw) < size:
        raise BadElfError("is cut off: it ends before its program headers do")
    found = []
    for fields in row.iter_unpack(raw):
        if form.bits == 64:
            kind, _, offset, _, _, length, _, align = fields
        else:
            kind, offset, _, _, length, _, _, align = fields
        found.append(_Segment(kind, offset, length, align))
    return found


def _check_loads(segments: list[_Segment], size: int) -> None:
    loads = [segment for segment in segments if segment.kind == _LOAD]
    if not loads:
        raise BadElfError("has nothing to load (no PT_LOAD)")
    end = max(segment.offset + segment.size for segment in loads)
    if end > size:
        raise BadElfError(f"is cut off: it has {size} bytes, its headers speak of {end}")


def _interpreter(read: Read, segments: list[_Segment]) -> bytes | None:
    for segment in segments:
        if segment.kind != _INTERP:
            continue
        if not 2 <= segment.size <= _INTERPRETER_MAX:
            raise BadElfError(f"names a loader of {segment.size} bytes")
        raw = read(segment.size, segment.offset) if segment.offset < _OFFSET_MAX else b""
        if len(raw) < segment.size or raw[-1]:
            raise BadElfError("names a loader whose name does not end")
        return raw.partition(b"\0")[0]
    return None


def _notes(read: Read, form: _Form, segments: list[_Segment]) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of GNU's notes. Broken ones are passed over, as by the kernel."""
    wanted = [segment for segment in segments if segment.kind in (_NOTE, _PROPERTY)]
    header = struct.Struct(form.order + "III")
    for segment in wanted[:_SEGMENTS_MAX]:
        if segment.offset >= _OFFSET_MAX:
            continue
        raw = read(min(segment.size, _NOTES_MAX), segment.offset)
        align = 8 if segment.align == 8 else 4
        at = 0
        while at + header.size <= len(raw):
            name_size, size, kind = header.unpack_from(raw, at)
            name = raw[at + header.size : at + header.size + name_size]
            start = _aligned(at + header.size + name_size, align)
            if start + size > len(raw):
                break
            if name == b"GNU\0" and kind in (_NOTE_ABI_TAG, _NOTE_PROPERTIES):
                yield kind, raw[start : start + size]
            at = _aligned(start + size, align)


def _aligned(offset: int, align: int) -> int:
    return -(-offset // align) * align


def _kernel(form: _Form, content: bytes) -> tuple[int, int, int] | None:
    if len(content) < 16:
        return None
    system, major, minor, patch = struct.unpack_from(form.order + "IIII", content)
    return (major, minor, patch) if system == _ABI_LINUX else None


def _level(form: _Form, content: bytes) -> int:
    """Return the highest level of x86-64 among the properties (x86-64 psABI, 5.1)."""
    level = at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(form.order + "II", content, at)
        if kind == _X86_ISA_NEEDED and size == 4 and at + 12 <= len(content):
            level = max(
                level, struct.unpack_from(form.order + "I", content, at + 8)[0].bit_length()
            )
        at = _aligned(at + 8 + size, form.bits // 8)
    return level
