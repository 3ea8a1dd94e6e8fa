# SPDX-License-Identifier: Apache-2.0
"""Device rules as a BPF program for a v2 group (BPF_PROG_TYPE_CGROUP_DEVICE).

The program sees what is asked (several of read, write and mknod at once), and the device. It goes
through the rules from the last to the first: one that allows crosses off bits that are asked, one
that denies a bit that is left ends it. Denied is what is left at the end.

Sources: linux/bpf.h (`struct bpf_cgroup_dev_ctx`, the instructions); bpf/instruction-set.rst.
"""

from __future__ import annotations

import functools
import struct

from ._device_rules import is_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._oci._spec import DeviceRule

_INSTRUCTION = struct.Struct("=BBhi")

# BPF_CLASS | BPF_SIZE or BPF_OP | BPF_MODE or BPF_SRC, all with an immediate operand.
_LOAD_WORD = 0x61  # of 32 bits, from memory
_AND = 0x54  # of 32 bits
_SHIFT_RIGHT = 0x74
_MOVE = 0xB4
_MOVE_REGISTER = 0xBC
_JUMP = 0x05
_JUMP_NOT_EQUAL = 0x55
_JUMP_ANY_BIT = 0x45
_EXIT = 0x95

_RESULT, _CONTEXT, _TYPE, _ASKED, _MAJOR, _MINOR = range(6)  # registers
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_BLOCK, _CHAR
_BITS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_MKNOD, _READ, _WRITE
_EVERYTHING = 7
_MOST = (1 << 31) - 1


def _op(code: int, target: int = 0, *, source: int = 0, jump: int = 0, value: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, target | source << 4, jump, value)


def _answer(*, allow: bool) -> list[bytes]:
    return [_op(_MOVE, _RESULT, value=int(allow)), _op(_EXIT)]


_LOAD = [
    _op(_LOAD_WORD, _TYPE, source=_CONTEXT, jump=0),
    _op(_LOAD_WORD, _MAJOR, source=_CONTEXT, jump=4),
    _op(_LOAD_WORD, _MINOR, source=_CONTEXT, jump=8),
    _op(_MOVE_REGISTER, _ASKED, source=_TYPE),
    _op(_AND, _TYPE, value=0xFFFF),
    _op(_SHIFT_RIGHT, _ASKED, value=16),
]


@functools.lru_cache(maxsize=64)
def assemble(rules: tuple[DeviceRule, ...]) -> bytes:
    """Return the program for rules in the order of a configuration; default deny."""
    program = list(_LOAD)
    for rule in reversed(rules):
        if is_whole(rule):  # and what came before it is void
            return b"".join((*program, *_answer(allow=rule.allow)))
        program += _rule(rule)
    return b"".join((*program, *_answer(allow=False)))


def _rule(rule: DeviceRule) -> list[bytes]:
    bits = functools.reduce(int.__or__, (_BITS[letter] for letter in rule.access), 0)
    tests = []
    if rule.type != "a":
        tests.append((_TYPE, _TYPES["c" if rule.type == "u" else rule.type]))
    numbers = ((_MAJOR, rule.major), (_MINOR, rule.minor))
    tests += [(register, n) for register, n in numbers if n is not None]
    if any(n > _MOST for _, n in tests) or not bits:
        return []  # no device has such a number (devices.txt: 12 and 20 bits)
    if rule.allow:
        effect = [
            _op(_AND, _ASKED, value=_EVERYTHING & ~bits),
            _op(_JUMP_NOT_EQUAL, _ASKED, jump=2, value=0),
            *_answer(allow=True),
        ]
    else:
        effect = [
            _op(_JUMP_ANY_BIT, _ASKED, jump=1, value=bits),
            _op(_JUMP, jump=2),
            *_answer(allow=False),
        ]
    after = len(tests) + len(effect)
    return [
        *(
            _op(_JUMP_NOT_EQUAL, register, jump=after - position, value=n)
            for position, (register, n) in enumerate(tests, start=1)
        ),
        *effect,
    ]
