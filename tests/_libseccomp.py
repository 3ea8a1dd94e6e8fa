# SPDX-License-Identifier: Apache-2.0
"""libseccomp by ctypes, as an oracle for verdicts (Debian package libseccomp2)."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

COMPARE = {"!=": 1, "<": 2, "<=": 3, "==": 4, ">=": 5, ">": 6, "&==": 7}
_BAD_ARCH, _OPTIMIZE = 2, 8  # SCMP_FLTATR_ACT_BADARCH, SCMP_FLTATR_CTL_OPTIMIZE


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


Condition = tuple[int, str, int, int]
"""Argument, operator, datum_a and datum_b, as SCMP_CMP takes them."""


class Oracle:
    """One filter in libseccomp. Actions are return values of the kernel."""

    def __init__(self, library: ctypes.CDLL, default: int, arch: int, bad_arch: int) -> None:
        self._library = library
        self._arch = arch
        self._context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
        assert self._context.value
        native = library.seccomp_arch_native()
        if arch != native:
            self._check(library.seccomp_arch_add(self._context, ctypes.c_uint32(arch)))
            self._check(library.seccomp_arch_remove(self._context, ctypes.c_uint32(native)))
        self._set(_BAD_ARCH, bad_arch)

    def _set(self, attribute: int, value: int) -> None:
        self._check(
            self._library.seccomp_attr_set(self._context, attribute, ctypes.c_uint32(value))
        )

    def search_by_tree(self) -> None:
        """Look numbers up in a binary tree (libseccomp 2.5) instead of one by one."""
        self._set(_OPTIMIZE, 2)

    @staticmethod
    def _check(result: int) -> None:
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def knows(self, name: str) -> bool:
        return bool(self._library.seccomp_syscall_resolve_name(name.encode()) != -1)

    def add(self, action: int, name: str, conditions: Iterable[Condition] = ()) -> None:
        # A pseudo number of the call, for the library translates from the native architecture.
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        assert number != -1, name
        listed = [
            _Comparison(argument, COMPARE[op], first, second)
            for argument, op, first, second in conditions
        ]
        array = (_Comparison * max(len(listed), 1))(*listed)
        self._check(
            self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(listed), array
            )
        )

    def program(self) -> bytes:
        fd = os.memfd_create("bpf")
        try:
            self._check(self._library.seccomp_export_bpf(self._context, fd))
            return os.pread(fd, 1 << 20, 0)
        finally:
            os.close(fd)

    def close(self) -> None:
        self._library.seccomp_release(self._context)


def load() -> ctypes.CDLL:
    """Return the library, or skip the test that asks."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        pytest.skip(f"no libseccomp: {error}")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_arch_native.restype = ctypes.c_uint32
    return library
