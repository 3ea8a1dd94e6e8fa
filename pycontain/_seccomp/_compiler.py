# SPDX-License-Identifier: Apache-2.0
"""From rules to BPF: first the architecture, then a balanced search over ranges of one verdict.

The kernel runs every filter once per call number when it is loaded, to learn which calls are always
allowed, so a shallow program loads several times faster than a list of comparisons.
"""

from __future__ import annotations

import functools
import os
from typing import NamedTuple, TypeAlias

from pycontain import _syscalls
from pycontain._syscalls import Table
from pycontain.errors import ConfigError

from . import _bpf
from ._bpf import JEQ, JGE, JGT, Assembler, Label
from ._rules import KILL_PROCESS, NOTIFY, Filter, Op, Rule, deny

_LOW = 0xFFFFFFFF
_WORD = 0xFFFFFFFFFFFFFFFF


class Test(NamedTuple):
    """A condition with its numbers cut to the argument's width."""

    argument: int
    op: Op
    values: tuple[int, ...]
    mask: int
    width: int


_Branch: TypeAlias = tuple[tuple[Test, ...], int]
_Verdict: TypeAlias = tuple[_Branch, ...]
"""Tests and a return value, tried in order; the last has no tests."""


@functools.lru_cache(maxsize=64)
def compile(rules: Filter, machine: str | None = None) -> bytes:  # noqa: A001 - as in re.compile
    """Return the program of a filter, as an array of struct sock_filter.

    Args:
        rules: The filter; equal filters are compiled once.
        machine: `x86_64` or `aarch64`; None is this machine.

    Raises:
        ConfigError: An unknown system call, a comparison that can never hold, or a program that is
            too long.
    """
    native = machine or os.uname().machine
    if native not in _syscalls.NATIVE:
        raise ConfigError(
            f"seccomp: no table for {native}; there are {', '.join(_syscalls.NATIVE)}"
        )
    others = [name for name in _syscalls.SECONDARY[native] if name in rules.secondary]
    code = Assembler()
    foreign = code.label()
    sections = [(name, code.label()) for name in (native, *others) if name != "x32"]
    code.load(_bpf.OFFSET_ARCH)
    for name, section in sections:
        following = foreign if name == sections[-1][0] else code.label()
        code.jump(JEQ, _syscalls.table(name).audit_arch, section, following)
        if following != foreign:
            code.place(following)
    for name, section in sections:
        code.place(section)
        code.load(_bpf.OFFSET_NR)
        if name == "x86_64":
            x32, regular = code.label(), code.label()
            code.jump(JGE, _syscalls.X32_BIT, x32 if "x32" in others else foreign, regular)
            code.place(regular)
            _emit_search(code, _ranges(rules, name))
            if "x32" in others:
                code.place(x32)
                _emit_search(code, _ranges(rules, "x32"))
        else:
            _emit_search(code, _ranges(rules, name))
    code.place(foreign)
    code.ret(rules.foreign.code)
    return code.assemble()


def notifying(program: bytes) -> bytes:
    """Return a program that asks a listener (seccomp_unotify(2)) where this one refuses.

    Not where it ends a single thread or raises a signal: only the kernel can do that.
    """
    kinds = {KILL_PROCESS.code, deny(0).code}
    return _bpf.replace_verdicts(program, kinds, NOTIFY.code)


def _ranges(rules: Filter, machine: str) -> list[tuple[int, _Verdict]]:
    """Return the first number and the verdict of each range, ascending and without gaps."""
    table = _syscalls.table(machine)
    unknown: _Verdict = (((), rules.unknown.code),)
    found: list[tuple[int, _Verdict]] = []

    def add(start: int, verdict: _Verdict) -> None:
        if not found or found[-1][1] != verdict:
            found.append((start, verdict))

    expected = _syscalls.X32_BIT if machine == "x32" else 0
    for number, verdict in sorted(_verdicts(rules, table).items()):
        if number != expected:
            add(expected, unknown)
        add(number, verdict)
        expected = number + 1
    add(expected, unknown)
    return found


def _verdicts(rules: Filter, table: Table) -> dict[int, _Verdict]:
    """Return the verdict on every known number."""
    branches: dict[int, list[_Branch]] = {}
    for rule in rules.rules:
        for name in rule.names:
            number = table.numbers.get(name)
            if number is None:
                _check_name(name)
                continue
            chain = branches.setdefault(number, [])
            if not chain or chain[-1][0]:
                chain.append((tests_of(rule, name, table), rule.action.code))
    newest = newest_known(rules, table)
    default = rules.default.code
    return {
        number: _complete(branches.get(number, []), default)
        for number in table.numbers.values()
        if number <= newest
    }


def newest_known(rules: Filter, table: Table) -> int:
    """Return the highest number that is not one of the unknown; -1: there is none."""
    if rules.known == "table":
        return max(table.numbers.values())
    named = (table.numbers.get(name, -1) for rule in rules.rules for name in rule.names)
    return max(named, default=-1)


def _complete(chain: list[_Branch], default: int) -> _Verdict:
    """End a chain with the default action and leave out what makes no difference."""
    if not chain or chain[-1][0]:
        chain = [*chain, ((), default)]
    while len(chain) > 1 and chain[-2][1] == chain[-1][1]:
        chain = [*chain[:-2], chain[-1]]
    return tuple(chain)


def _check_name(name: str) -> None:
    if _syscalls.exists(name):
        return
    import difflib  # noqa: PLC0415 - for messages only

    numbers = _syscalls.table(_syscalls.NATIVE[0]).numbers
    close = difflib.get_close_matches(name, numbers, n=1)
    hint = f"; is it {close[0]}?" if close else ""
    raise ConfigError(f"seccomp: there is no system call {name!r}{hint}")


def tests_of(rule: Rule, name: str, table: Table) -> tuple[Test, ...]:
    """Return a rule's conditions for one call, without those that always hold."""
    tests = []
    for arg in rule.args:
        width = table.width(name, arg.index)
        everything = (1 << width) - 1
        mask = everything if arg.mask is None else arg.mask & everything
        values = tuple(_cut(value, width, name) for value in arg.values)
        if arg.mask is not None and values[0] & ~mask:
            raise ConfigError(
                f"seccomp: {name}: {arg} can never hold, for bits outside of the mask"
            )
        if mask:
            tests.append(Test(arg.index, arg.op, values, mask, width))
    return tuple(tests)


def _cut(value: int, width: int, name: str) -> int:
    """Return the bits of a value that an argument has; the value may be sign-extended."""
    low = value & (1 << width) - 1
    negative = low - (1 << width)
    if value in {low, negative, negative & _WORD} and (value == low or low >> (width - 1)):
        return low
    raise ConfigError(f"seccomp: {name} compares {value:#x} with an argument of {width} bits")


def _emit_search(code: Assembler, ranges: list[tuple[int, _Verdict]]) -> None:
    if len(ranges) == 1:
        _emit_verdict(code, ranges[0][1])
        return
    middle = len(ranges) // 2
    below, above = code.label(), code.label()
    code.jump(JGE, ranges[middle][0], above, below)
    code.place(below)
    _emit_search(code, ranges[:middle])
    code.place(above)
    _emit_search(code, ranges[middle:])


def _emit_verdict(code: Assembler, verdict: _Verdict) -> None:
    for tests, action in verdict:
        failed = code.label()
        for test in tests:
            passed = code.label()
            _emit_test(code, test, passed, failed)
            code.place(passed)
        code.ret(action)
        if tests:
            code.place(failed)


def _emit_test(code: Assembler, test: Test, yes: Label, no: Label) -> None:
    value = test.values[-1]
    match test.op:
        case "==" | "&==":
            _emit_equal(code, test, value, yes, no)
        case "!=":
            _emit_equal(code, test, value, no, yes)
        case "in":
            for other in test.values[:-1]:
                following = code.label()
                _emit_equal(code, test, other, yes, following)
                code.place(following)
            _emit_equal(code, test, value, yes, no)
        case ">":
            _emit_above(code, test, JGT, yes, no)
        case ">=":
            _emit_above(code, test, JGE, yes, no)
        case "<":
            _emit_above(code, test, JGE, no, yes)
        case "<=":
            _emit_above(code, test, JGT, no, yes)


def _emit_equal(code: Assembler, test: Test, value: int, yes: Label, no: Label) -> None:
    low = _bpf.OFFSET_ARGS + 8 * test.argument
    words = [(low + 4, test.mask >> 32, value >> 32), (low, test.mask & _LOW, value & _LOW)]
    words = [word for word in words if word[1]]
    for offset, mask, expected in words:
        same = yes if offset == words[-1][0] else code.label()
        code.load(offset, mask)
        code.jump(JEQ, expected, same, no)
        if same != yes:
            code.place(same)


def _emit_above(code: Assembler, test: Test, compare: int, yes: Label, no: Label) -> None:
    """Compare without sign: the high words, and if they are equal the low ones with JGT or JGE."""
    value = test.values[0]
    low = _bpf.OFFSET_ARGS + 8 * test.argument
    if test.width > _LOW.bit_length():
        not_above, same = code.label(), code.label()
        code.load(low + 4)
        code.jump(JGT, value >> 32, yes, not_above)
        code.place(not_above)
        code.jump(JEQ, value >> 32, same, no)
        code.place(same)
    code.load(low, test.mask & _LOW)
    code.jump(compare, value & _LOW, yes, no)
