# SPDX-License-Identifier: Apache-2.0
"""Processor architectures: as ELF files name them, as images do, and as QEMU does."""

from __future__ import annotations

from typing import Final, NamedTuple


class Architecture(NamedTuple):
    """One of Linux's architectures.

    Attributes:
        name: In Go's words, as images have it.
        machine: `e_machine` (elf(5), linux/elf-em.h).
        bits: 32 or 64.
        little: Least significant byte first.
        qemu: What `qemu-…-static` is called.
    """

    name: str
    machine: int
    bits: int
    little: bool
    qemu: str


_KNOWN: Final = (
    Architecture("amd64", 62, 64, True, "x86_64"),
    Architecture("386", 3, 32, True, "i386"),
    Architecture("arm64", 183, 64, True, "aarch64"),
    Architecture("arm", 40, 32, True, "arm"),
    Architecture("riscv64", 243, 64, True, "riscv64"),
    Architecture("ppc64le", 21, 64, True, "ppc64le"),
    Architecture("ppc64", 21, 64, False, "ppc64"),
    Architecture("s390x", 22, 64, False, "s390x"),
    Architecture("loong64", 258, 64, True, "loongarch64"),
    Architecture("mips64le", 8, 64, True, "mips64el"),
    Architecture("mips64", 8, 64, False, "mips64"),
    Architecture("mipsle", 8, 32, True, "mipsel"),
    Architecture("mips", 8, 32, False, "mips"),
)
BY_NAME: Final = {each.name: each for each in _KNOWN}
_BY_ELF: Final = {(each.machine, each.bits, each.little): each for each in _KNOWN}
NARROW: Final = {"amd64": "386", "arm64": "arm"}
"""The 32-bit relative that a kernel of an architecture may run too."""


def architecture_of(machine: int, bits: int, *, little: bool) -> str:
    """Return the name of what an ELF header says, or a description of it."""
    known = _BY_ELF.get((machine, bits, little))
    if known is not None:
        return known.name
    if (machine, bits) == (62, 32):
        return "x32"
    return f"ELF machine {machine}, {bits} bits, {'little' if little else 'big'} endian"


def magic_and_mask(architecture: Architecture) -> tuple[bytes, bytes]:
    """Return what binfmt_misc compares with a file's beginning: programs, static or not.

    Source: Documentation/admin-guide/binfmt-misc.rst; the bytes are those of QEMU's
    scripts/qemu-binfmt-conf.sh.
    """
    order = "little" if architecture.little else "big"
    ident = b"\x7fELF" + bytes((architecture.bits // 32, 1 if architecture.little else 2, 1))
    magic = ident.ljust(16, b"\0") + (2).to_bytes(2, order)  # type: ignore[arg-type]
    magic += architecture.machine.to_bytes(2, order)  # type: ignore[arg-type]
    # Any OS ABI; ET_EXEC is 2, ET_DYN 3.
    kind = b"\xfe\xff" if architecture.little else b"\xff\xfe"
    return magic, b"\xff" * 7 + b"\0" + b"\xff" * 8 + kind + b"\xff\xff"
