# SPDX-License-Identifier: Apache-2.0
"""What an ELF file says of itself; whatever it says, little is read, and wrong is an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from _elves import abi, elf, isa, note
from pycontain._contract._architectures import BY_NAME, Architecture, magic_and_mask
from pycontain._contract._elf import BadElfError, Elf, read_elf


def read(data: bytes, size: int | None = None) -> Elf:
    return read_elf(lambda n, at: data[at : at + n], len(data) if size is None else size)


RIGHT: dict[str, tuple[bytes, Elf]] = {
    "static": (elf(), Elf("amd64", None)),
    "dynamic": (elf(interpreter=b"/lib/ld.so\0"), Elf("amd64", b"/lib/ld.so")),
    "position independent": (elf(kind=3), Elf("amd64", None)),
    "kernel": (elf(notes=(abi(5, 10, 1),)), Elf("amd64", None, 0, (5, 10, 1))),
    "another system's kernel": (elf(notes=(abi(5, 10, 1, system=2),)), Elf("amd64", None)),
    "level 1": (elf(notes=(isa(0b1),)), Elf("amd64", None, 1)),
    "level 3": (elf(notes=(isa(0b111),)), Elf("amd64", None, 3)),
    "a level of the future": (elf(notes=(isa(1 << 6),)), Elf("amd64", None, 7)),
    "used, not needed": (elf(notes=(isa(0b1111, 0xC0010002),)), Elf("amd64", None)),
    "both": (elf(notes=(isa(0b11), abi(3, 2, 0))), Elf("amd64", None, 2, (3, 2, 0))),
    "a level of another machine": (elf(machine=183, notes=(isa(0b11),)), Elf("arm64", None)),
    "x32": (elf(bits=32), Elf("x32", None)),
    "big endian": (
        elf(machine=22, order=">", notes=(abi(4, 4, 0, order=">"),)),
        Elf("s390x", None, 0, (4, 4, 0)),
    ),
    "unknown": (
        elf(machine=9999, bits=32, order=">"),
        Elf("ELF machine 9999, 32 bits, big endian", None),
    ),
    "broken notes": (elf(notes=(b"\xff" * 40, note(1, b"short"))), Elf("amd64", None)),
}


@pytest.mark.parametrize("data, said", RIGHT.values(), ids=RIGHT)
def test_it_is_what_it_says(data: bytes, said: Elf) -> None:
    assert read(data) == said


@pytest.mark.parametrize("architecture", BY_NAME.values(), ids=BY_NAME)
def test_every_architecture_has_its_name_and_its_magic(architecture: Architecture) -> None:
    order = "<" if architecture.little else ">"
    magic, mask = magic_and_mask(architecture)
    for kind in (2, 3):
        data = elf(machine=architecture.machine, bits=architecture.bits, order=order, kind=kind)
        assert read(data).architecture == architecture.name
        assert all(a & m == b & m for a, b, m in zip(data, magic, mask, strict=False))
    other = elf(machine=architecture.machine + 1, bits=architecture.bits, order=order)
    assert not all(a & m == b & m for a, b, m in zip(other, magic, mask, strict=False))


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no ELF file"),
    "magic only": (b"\x7fELF", "cut off"),
    "class": (elf(ident=b"\x7fELF\x03\x01\x01"), "class 3"),
    "byte order": (elf(ident=b"\x7fELF\x02\x07\x01"), "byte order 7"),
    "object file": (elf(kind=1), "object file"),
    "core dump": (elf(kind=4), "core dump"),
    "other type": (elf(kind=0xFEFE), "type 65278"),
    "no headers": (elf(phnum=0), "0 program headers"),
    "very many headers": (elf(phnum=65535), "65535 program headers"),
    "headers of one byte": (elf(phentsize=1), "of 1 bytes"),
    "headers of the other class": (elf(phentsize=32), "of 32 bytes"),
    "headers behind the end": (elf(phoff=1 << 62), "ends before"),
    "headers at the end of numbers": (elf(phoff=(1 << 64) - 1), "ends before"),
    "loader without an end": (elf(interpreter=b"/lib/ld.so"), "does not end"),
    "loader without a name": (elf(interpreter=b"\0"), "loader of 1 bytes"),
    "long loader": (elf(interpreter=b"/" * 5000 + b"\0"), "loader of 5001 bytes"),
    "more than there is": (elf(loads=1 << 40), "cut off"),
}


@pytest.mark.parametrize("data, said", WRONG.values(), ids=WRONG)
def test_what_the_kernel_would_not_execute_is_told(data: bytes, said: str) -> None:
    with pytest.raises(BadElfError, match=re.escape(said)):
        read(data)


def test_every_beginning_of_a_program_is_cut_off() -> None:
    whole = elf(interpreter=b"/lib/ld.so\0", notes=(isa(0b111), abi(5, 10, 0)))
    for size in range(len(whole)):
        with pytest.raises(BadElfError):
            read(whole[:size])


def test_little_is_read_of_a_file_that_claims_much() -> None:
    asked = []
    notes = tuple(note(1, bytes(4)) for _ in range(100))
    data = elf(interpreter=b"/" * 4095 + b"\0", notes=notes)

    def count(n: int, at: int) -> bytes:
        asked.append(n)
        return data[at : at + n].ljust(n, b"\0")  # as of a sparse file

    read_elf(count, 10 << 30)
    assert len(asked) < 25
    assert max(asked) <= 65536


@pytest.mark.requires("gcc")
def test_binutils_says_the_same_of_what_is_installed() -> None:
    for path in (sys.executable, "/bin/sh", "/bin/busybox"):
        with open(path, "rb") as file:
            data = file.read()
        said = read(data)
        told = subprocess.run(
            ["readelf", "-lnW", path], capture_output=True, text=True, check=True
        ).stdout
        loader = re.search(r"program interpreter: ([^]]+)\]", told)
        assert said.interpreter == (os.fsencode(loader[1]) if loader else None)
        kernel = re.search(r"OS: Linux, ABI: (\d+)\.(\d+)\.(\d+)", told)
        assert said.kernel == (tuple(map(int, kernel.groups())) if kernel else None)
        assert bool(said.level) == ("x86 ISA needed" in told)
