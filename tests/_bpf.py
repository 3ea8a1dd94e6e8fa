# SPDX-License-Identifier: Apache-2.0
"""What the kernel makes of a seccomp program: its checks on loading, and an interpreter.

Source: net/core/filter.c (bpf_check_classic), kernel/seccomp.c (seccomp_check_filter).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

X86_64 = 0xC000003E
I386 = 0x40000003
AARCH64 = 0xC00000B7
ARM = 0x40000028
NATIVE = {"x86_64": X86_64, "aarch64": AARCH64}
X32_BIT = 0x40000000
NO_ARGS = (0,) * 6

KILL_PROCESS = 0x80000000
KILL_THREAD = 0
TRAP = 0x00030000
ERRNO = 0x00050000
NOTIFY = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000


class Instruction(NamedTuple):
    code: int
    jt: int
    jf: int
    k: int


Program = tuple[Instruction, ...]

_SIZE_OF_DATA = 64
_LOAD, _AND, _RET, _JUMP, _JEQ, _JGT, _JGE, _JSET = 0x20, 0x54, 0x06, 0x05, 0x15, 0x25, 0x35, 0x45
_COMPARISONS = {_JEQ, _JGT, _JGE, _JSET}


def parse(program: bytes) -> Program:
    """Return the instructions, if the kernel would load them; else AssertionError."""
    assert program
    assert len(program) % 8 == 0
    found = tuple(Instruction(*fields) for fields in struct.iter_unpack("=HBBI", program))
    last = len(found) - 1
    assert last < 4096
    for index, (code, jt, jf, k) in enumerate(found):
        match code:
            case _ if code == _LOAD:
                assert k % 4 == 0
                assert k < _SIZE_OF_DATA
            case _ if code == _JUMP:
                assert index + 1 + k <= last
            case _ if code in _COMPARISONS:
                assert index + 1 + max(jt, jf) <= last
            case _:
                assert code in {_AND, _RET}
        if code not in _COMPARISONS:
            assert jt == jf == 0
    assert found[-1].code == _RET
    return found


def run(program: Program, arch: int, nr: int, args: tuple[int, ...] = NO_ARGS) -> int:
    """Return the verdict on one call."""
    return steps(program, arch, nr, args)[0]


def steps(program: Program, arch: int, nr: int, args: tuple[int, ...] = NO_ARGS) -> tuple[int, int]:
    """Return the verdict on one call and how many instructions it took."""
    masked = (value & (1 << 64) - 1 for value in args)
    data = struct.pack("=iIQ6Q", nr - (1 << 32) if nr >> 31 else nr, arch, 0x7F00DEADBEEF, *masked)
    accumulator = index = taken = 0
    while True:
        code, jt, jf, k = program[index]
        index += 1
        taken += 1
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == _AND:
            accumulator &= k
        elif code == _RET:
            return k, taken
        elif code == _JUMP:
            index += k
        else:
            holds = {
                _JEQ: accumulator == k,
                _JGT: accumulator > k,
                _JGE: accumulator >= k,
                _JSET: bool(accumulator & k),
            }[code]
            index += jt if holds else jf
