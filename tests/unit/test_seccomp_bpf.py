# SPDX-License-Identifier: Apache-2.0
"""The assembler: jumps over any distance, loads left out only where they may be."""

from __future__ import annotations

import pytest

import _bpf
from pycontain._seccomp._bpf import JEQ, OFFSET_ARCH, OFFSET_ARGS, OFFSET_NR, RET, Assembler

DISTANCES = (0, 253, 254, 255, 256, 600)


def pad(code: Assembler, count: int) -> None:
    for index in range(count):
        code.load(OFFSET_ARGS + 4 * (index % 2))


@pytest.mark.parametrize("tail", ["returns", "goes on"])
@pytest.mark.parametrize("between", DISTANCES)
@pytest.mark.parametrize("before", DISTANCES)
@pytest.mark.parametrize("yes_first", [True, False])
def test_both_targets_at_any_distance(
    before: int, between: int, tail: str, *, yes_first: bool
) -> None:
    code = Assembler()
    yes, no = code.label(), code.label()
    first, second = (yes, no) if yes_first else (no, yes)
    code.load(OFFSET_NR)
    code.jump(JEQ, 7, yes, no)
    pad(code, before)
    code.ret(0)
    for label, verdict in ((first, 1), (second, 2)):
        code.place(label)
        if tail == "goes on":
            code.load(OFFSET_ARCH)
        code.ret(verdict)
        pad(code, between)
        code.ret(0)
    program = _bpf.parse(code.assemble())
    assert _bpf.run(program, 0, 7) == (1 if yes_first else 2)
    assert _bpf.run(program, 0, 8) == (2 if yes_first else 1)


def loads(code: Assembler) -> int:
    return sum(1 for item in _bpf.parse(code.assemble()) if item.code == 0x20)


def test_what_is_held_is_not_loaded_again() -> None:
    code = Assembler()
    yes, no = code.label(), code.label()
    code.load(OFFSET_NR)
    code.load(OFFSET_NR)
    code.jump(JEQ, 1, yes, no)
    for label in (yes, no):
        code.place(label)
        code.load(OFFSET_NR)
        code.ret(label)
    assert loads(code) == 1


def test_a_masked_word_is_no_longer_held_whole() -> None:
    code = Assembler()
    code.load(OFFSET_NR)
    code.load(OFFSET_NR, 0xFF)
    code.load(OFFSET_NR)
    code.ret(0)
    assert loads(code) == 2


def test_a_label_reached_with_different_words_holds_none() -> None:
    code = Assembler()
    meet, other = code.label(), code.label()
    code.load(OFFSET_NR)
    code.jump(JEQ, 1, meet, other)
    code.place(other)
    code.load(OFFSET_ARCH)
    code.jump(JEQ, 1, meet, meet)
    code.place(meet)
    code.load(OFFSET_ARCH)
    code.ret(3)
    assert loads(code) == 3


def test_a_far_return_is_copied_instead_of_jumped_to() -> None:
    code = Assembler()
    yes, no = code.label(), code.label()
    code.load(OFFSET_NR)
    code.jump(JEQ, 7, yes, no)
    code.place(no)
    pad(code, 300)
    code.ret(0)
    code.place(yes)
    code.ret(5)
    assert _bpf.parse(code.assemble())[2] == (RET, 0, 0, 5)
