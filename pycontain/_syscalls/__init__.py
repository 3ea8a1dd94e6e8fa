# SPDX-License-Identifier: Apache-2.0
"""System call tables: numbers by name, and how wide each argument is.

The tables are generated from kernel headers by scripts/gen_syscalls.py, one module per
architecture, and loaded when first asked for.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import NamedTuple

# AUDIT_ARCH_* of linux/audit.h: ELF machine number | 64 bit | little endian.
_AUDIT_ARCH = {
    "x86_64": 62 | 0xC0000000,
    "x32": 62 | 0xC0000000,
    "i386": 3 | 0x40000000,
    "aarch64": 183 | 0xC0000000,
    "arm": 40 | 0x40000000,
}
NATIVE = ("x86_64", "aarch64")
"""Machines that can be a host, as os.uname().machine names them."""

SECONDARY: Mapping[str, tuple[str, ...]] = {"x86_64": ("i386", "x32"), "aarch64": ("arm",)}
"""What else such a host may be able to run."""

X32_BIT = 0x40000000
"""Set in every x32 number (asm/unistd.h)."""


class Table(NamedTuple):
    """The system calls of one architecture.

    Attributes:
        machine: Its name.
        audit_arch: `AUDIT_ARCH_*`, which seccomp filters see as `arch`.
        numbers: Number by name; those of x32 have bit 30 set.
        newest: The highest number, without that bit and without arm's private calls.
        kernel: Version of the kernel whose headers the table comes from.
    """

    machine: str
    audit_arch: int
    numbers: Mapping[str, int]
    newest: int
    kernel: str

    def width(self, name: str, index: int) -> int:
        """Return how many low bits of an argument the kernel looks at: 16, 32 or 64."""
        from .widths import NARROW  # noqa: PLC0415 - only filters with argument rules need it

        widest = 32 if self.machine in {"i386", "arm"} else 64
        return min(widest, NARROW.get(name, {}).get(index, widest))


@functools.cache
def table(machine: str) -> Table:
    """Load the table of a machine; KeyError if there is none."""
    audit_arch = _AUDIT_ARCH[machine]
    module = importlib.import_module(f".{machine}", __name__)
    return Table(
        machine=machine,
        audit_arch=audit_arch,
        numbers=module.NUMBERS,
        newest=module.NEWEST,
        kernel=module.KERNEL,
    )


def first_kernel(name: str, machine: str) -> tuple[int, int]:
    """Return the first kernel that has a call on a machine; (2, 6) is any old one."""
    from .kernels import SINCE  # noqa: PLC0415 - only traces ask

    return max(SINCE.get(name, (2, 6)), (3, 7) if machine == "aarch64" else (2, 6))


def exists(name: str) -> bool:
    """Tell whether a call exists on any architecture that Linux has."""
    if name in table(NATIVE[0]).numbers:
        return True
    from .others import NAMES  # noqa: PLC0415 - a few hundred names that are rarely asked for

    return name in NAMES
