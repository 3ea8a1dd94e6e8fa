# SPDX-License-Identifier: Apache-2.0
"""An assembler for the classic BPF that seccomp takes: forward jumps, one accumulator.

Source: linux/filter.h, linux/seccomp.h (struct seccomp_data), seccomp(2).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import TypeAlias

from pycontain.errors import ConfigError

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
LONGEST_JUMP = 255  # jt and jf are bytes

OFFSET_NR = 0
OFFSET_ARCH = 4
OFFSET_ARGS = 16  # each eight bytes, the low word first: all our machines are little endian

LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP = 0x05  # BPF_JMP | BPF_JA
JEQ = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JGT = 0x25
JGE = 0x35
RET = 0x06  # BPF_RET | BPF_K

_INSTRUCTION = struct.Struct("<HBBI")
_ACTION = 0xFFFF0000  # SECCOMP_RET_ACTION_FULL


def replace_verdicts(program: bytes, kinds: Collection[int], verdict: int) -> bytes:
    """Return the program with another verdict in place of those of some kinds.

    Args:
        program: From `Assembler.assemble`.
        kinds: Actions without their data.
        verdict: What is returned instead.
    """
    return b"".join(
        _INSTRUCTION.pack(code, yes, no, verdict)
        if code == RET and value & _ACTION in kinds
        else _INSTRUCTION.pack(code, yes, no, value)
        for code, yes, no, value in _INSTRUCTION.iter_unpack(program)
    )


Label: TypeAlias = int
Word: TypeAlias = tuple[int, int]
"""An offset in struct seccomp_data, and the bits of the word there that count."""

_ALL = 0xFFFFFFFF
_ANY: Word = (-1, 0)  # a value that no load asks for


class Assembler:
    """Collects instructions; loads of what the accumulator holds already are left out."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, Label, Label]] = []
        self._places: dict[Label, int] = {}
        self._held: Word = _ANY
        self._held_at: dict[Label, Word] = {}
        self._labels = 0

    def label(self) -> Label:
        """Return a new label, which must be placed later than all jumps to it."""
        self._labels += 1
        return self._labels

    def place(self, label: Label) -> None:
        """Let the label stand for the next instruction; before it is a jump or a return."""
        self._places[label] = len(self._code)
        self._held = self._held_at.get(label, _ANY)

    def load(self, offset: int, mask: int = _ALL) -> None:
        """Load the masked word at an offset of struct seccomp_data."""
        if self._held == (offset, mask):
            return
        if self._held != (offset, _ALL):
            self._code.append((LOAD, offset, 0, 0))
        if mask != _ALL:
            self._code.append((AND, mask, 0, 0))
        self._held = (offset, mask)

    def jump(self, code: int, value: int, yes: Label, no: Label) -> None:
        """Compare with a value (JEQ, JGT or JGE, unsigned) and go to one of two labels."""
        self._code.append((code, value, yes, no))
        for label in (yes, no):
            if self._held_at.setdefault(label, self._held) != self._held:
                self._held_at[label] = _ANY

    def ret(self, value: int) -> None:
        """Return a verdict."""
        self._code.append((RET, value, 0, 0))

    def assemble(self) -> bytes:
        """Return the program as an array of struct sock_filter.

        Raises ConfigError for more instructions than the kernel takes.
        """
        # From the end to the start, so that every target has its place when a jump to it is made.
        out: list[tuple[int, int, int, int]] = []
        # By index in the source: how many instructions are left from there on.
        ends: dict[int, int] = {}
        for index in range(len(self._code) - 1, -1, -1):
            code, value, yes, no = self._code[index]
            if code in {LOAD, AND, RET}:
                out.append((code, 0, 0, value))
            else:
                self._branch(out, code, value, ends[self._places[yes]], ends[self._places[no]])
            ends[index] = len(out)
        if len(out) > MAX_INSTRUCTIONS:
            raise ConfigError(
                f"seccomp: the filter needs {len(out)} instructions, "
                f"more than the {MAX_INSTRUCTIONS} that the kernel takes"
            )
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in reversed(out))

    @staticmethod
    def _branch(
        out: list[tuple[int, int, int, int]], code: int, value: int, yes: int, no: int
    ) -> None:
        """Append, in reverse, a comparison and stepping stones to targets out of its reach."""

        def stone(target: int) -> int:
            verdict = out[target - 1]
            out.append(verdict if verdict[0] == RET else (JUMP, 0, 0, len(out) - target))
            return len(out)

        # A stone for one target lengthens the way to the other.
        for _ in range(2):
            if len(out) - no > LONGEST_JUMP:
                no = stone(no)
            if len(out) - yes > LONGEST_JUMP:
                yes = stone(yes)
        out.append((code, len(out) - yes, len(out) - no, value))
