# SPDX-License-Identifier: Apache-2.0
"""The compiler against the model: every number, every corner of every filtered argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import strategies as st

import _bpf
import _seccomp_model as model
from _seccomp_calls import WORD, constants, corner_calls, corners, filtered
from pycontain import _seccomp, _syscalls, profile
from pycontain._seccomp import (
    ALLOW,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    NOTIFY,
    TRAP,
    Action,
    Arg,
    Filter,
    Op,
    Rule,
    deny,
    trace,
)
from pycontain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

MACHINES = ("x86_64", "aarch64")
ENOSYS = _bpf.ERRNO | 38
FOREIGN = (0, _bpf.I386, _bpf.ARM, 0xC00000F3, 0xFFFFFFFF)  # the fourth is riscv64

profiles = pytest.mark.parametrize("name", profile.names())
machines = pytest.mark.parametrize("machine", MACHINES)


def program(rules: Filter, machine: str = "x86_64") -> _bpf.Program:
    return _bpf.parse(_seccomp.compile(rules, machine))


def disagreements(
    rules: Filter, machine: str, calls: Iterator[tuple[int, int, tuple[int, ...]]]
) -> list[tuple[int, ...]]:
    compiled = program(rules, machine)
    found = []
    for arch, nr, args in calls:
        verdict = model.verdict(rules, machine, arch, nr, args)
        explained = _seccomp.decide(rules, arch, nr, args, machine).action.code
        if not _bpf.run(compiled, arch, nr, args) == explained == verdict:
            found.append((arch, nr, *args))
    return found


@machines
@profiles
@pytest.mark.parametrize("args", [(0,) * 6, (WORD,) * 6], ids=["zeros", "ones"])
def test_every_number(name: str, machine: str, args: tuple[int, ...]) -> None:
    edges = (*range(1024), 1 << 29, (1 << 30) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
    native = _bpf.NATIVE[machine]
    calls = ((native, nr, args) for nr in edges)
    assert disagreements(profile.get(name).seccomp, machine, calls) == []


@profiles
def test_every_number_with_the_x32_bit(name: str) -> None:
    rules = profile.get(name).seccomp
    compiled = program(rules)
    numbers = (*range(_bpf.X32_BIT, _bpf.X32_BIT + 1024), (1 << 31) | 1, (1 << 32) - 1)
    verdicts = {_bpf.run(compiled, _bpf.X86_64, nr) for nr in numbers}
    assert verdicts == {model.code(rules.foreign)}


@machines
@profiles
def test_every_number_of_another_architecture(name: str, machine: str) -> None:
    rules = profile.get(name).seccomp
    compiled = program(rules, machine)
    others = {*FOREIGN, *_bpf.NATIVE.values()} - {_bpf.NATIVE[machine]}
    verdicts = {_bpf.run(compiled, arch, nr) for arch in others for nr in range(1024)}
    assert verdicts == {model.code(rules.foreign)}


@machines
@profiles
def test_every_corner_of_every_filtered_argument(name: str, machine: str) -> None:
    rules = profile.get(name).seccomp
    assert disagreements(rules, machine, corner_calls(rules, machine)) == []


OPS: list[Op] = ["==", "!=", "<", "<=", ">", ">=", "&==", "in"]
VALUES = st.one_of(
    st.integers(0, 3),
    st.integers(0, WORD),
    st.sampled_from([1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, WORD]),
)


@st.composite
def arguments(draw: st.DrawFn, name: str) -> Arg:
    index = draw(st.integers(0, len(model.WIDTHS[name]) - 1))
    everything = (1 << model.WIDTHS[name][index]) - 1
    values = VALUES.map(lambda value: value & everything)
    op: Op = draw(st.sampled_from(OPS))
    if op == "in":
        return Arg(index, "in", tuple(draw(st.lists(values, min_size=1, max_size=4))))
    if op == "&==":
        mask = draw(VALUES)
        return Arg(index, "&==", draw(values) & mask, mask=mask)
    return Arg(index, op, draw(values))


ACTIONS = st.sampled_from([ALLOW, deny(), deny(38), KILL_PROCESS, LOG])


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    rules = []
    for _ in range(draw(st.integers(1, 8))):
        name = draw(st.sampled_from(sorted(model.WIDTHS)))
        args = draw(st.lists(arguments(name), max_size=3))
        rules.append(Rule((name,), draw(ACTIONS), tuple(args)))
    return Filter(
        default=draw(ACTIONS), rules=tuple(rules), known=draw(st.sampled_from(["table", "rules"]))
    )


@hypothesis.settings(max_examples=100)
@hypothesis.given(rules=filters(), data=st.data())
def test_any_filter(rules: Filter, data: st.DataObject) -> None:
    native = _bpf.X86_64
    numbers = _syscalls.table("x86_64").numbers
    compiled = program(rules)
    found = filtered(rules)
    for name in model.WIDTHS:
        args = found.get(name, [])
        choices = [st.sampled_from(corners(constants(args, index))) for index in range(6)]
        for row in data.draw(st.lists(st.tuples(*choices), min_size=4, max_size=4)):
            expected = model.verdict(rules, "x86_64", native, numbers[name], row)
            assert _bpf.run(compiled, native, numbers[name], row) == expected, (name, row)


@pytest.mark.parametrize(
    "action, expected",
    [
        (ALLOW, 0x7FFF0000),
        (LOG, 0x7FFC0000),
        (trace(7), 0x7FF00007),
        (NOTIFY, 0x7FC00000),
        (deny(), 0x00050001),
        (deny(4095), 0x00050FFF),
        (TRAP, 0x00030000),
        (KILL_THREAD, 0),
        (KILL_PROCESS, 0x80000000),
    ],
    ids=str,
)
def test_actions_return_what_the_kernel_defines(action: Action, expected: int) -> None:
    rules = Filter(default=deny(), rules=(Rule(("read",), action),))
    assert _bpf.run(program(rules), _bpf.X86_64, 0) == expected


@pytest.mark.parametrize("count", [1, 100, 126, 127, 128, 129, 254, 255, 256, 257, 300, 700])
def test_jumps_of_any_length(count: int) -> None:
    # Two of the 64-bit argument's words are compared for each value.
    values = tuple(value << 32 | value for value in range(1, 2 * count, 2))
    rules = Filter(
        default=deny(),
        rules=(Rule(("mmap",), LOG, (Arg(0, "in", values),)), Rule(("mmap", "read"), ALLOW)),
    )
    compiled = program(rules)
    mmap = _syscalls.table("x86_64").numbers["mmap"]
    for value in (0, 1, 2, 3, 2 * count - 1, 2 * count):
        args = (value << 32 | value, 0, 0, 0, 0, 0)
        expected = _bpf.LOG if value % 2 and value < 2 * count else _bpf.ALLOW
        assert _bpf.run(compiled, _bpf.X86_64, mmap, args) == expected
    assert _bpf.run(compiled, _bpf.X86_64, 0) == _bpf.ALLOW
    assert _bpf.run(compiled, _bpf.X86_64, 1) == deny().code
    assert _bpf.run(compiled, _bpf.X86_64, 471) == deny().code
    assert _bpf.run(compiled, _bpf.I386, 0) == ENOSYS


def test_a_program_longer_than_the_kernel_takes() -> None:
    rules = Filter(
        default=deny(), rules=(Rule(("mmap",), ALLOW, (Arg(0, "in", tuple(range(4096))),)),)
    )
    with pytest.raises(ConfigError, match="instructions, more than the 4096"):
        _seccomp.compile(rules, "x86_64")


@machines
@profiles
def test_the_search_is_shallow(name: str, machine: str) -> None:
    compiled = program(profile.get(name).seccomp, machine)
    taken = [_bpf.steps(compiled, _bpf.NATIVE[machine], nr)[1] for nr in range(512)]
    assert max(taken) < 32
    assert len(compiled) < 256


def test_equal_filters_are_compiled_once() -> None:
    first, second = (Filter(default=deny(), rules=(Rule(("read",), ALLOW),)) for _ in range(2))
    assert first is not second
    assert _seccomp.compile(first, "x86_64") is _seccomp.compile(second, "x86_64")


def test_the_first_rule_that_fits_decides() -> None:
    rules = Filter(default=deny(), rules=(Rule(("read",), ALLOW),)).first(
        Rule(("read",), LOG, (Arg(0, "==", 3),))
    )
    compiled = program(rules)
    assert _bpf.run(compiled, _bpf.X86_64, 0, (3, 0, 0, 0, 0, 0)) == _bpf.LOG
    assert _bpf.run(compiled, _bpf.X86_64, 0, (4, 0, 0, 0, 0, 0)) == _bpf.ALLOW


@pytest.mark.parametrize(
    "machine, secondary, arch, numbers",
    [
        ("x86_64", "i386", _bpf.I386, {"read": 3, "socketcall": 102, "mmap": 90}),
        ("x86_64", "x32", _bpf.X86_64, {"read": _bpf.X32_BIT, "mmap": _bpf.X32_BIT + 9}),
        ("aarch64", "arm", _bpf.ARM, {"read": 3, "set_tls": 0xF0005}),
    ],
)
def test_other_abis_are_judged_by_the_same_rules(
    machine: str, secondary: str, arch: int, numbers: dict[str, int]
) -> None:
    rules = Filter(
        default=deny(), rules=(Rule(tuple(numbers), ALLOW),), secondary=("i386", "x32", "arm")
    )
    compiled = program(rules, machine)
    allowed = {_bpf.run(compiled, arch, number) for number in numbers.values()}
    assert allowed == {_bpf.ALLOW}
    newest = max(n for n in _syscalls.table(secondary).numbers.values() if n != 0xF0006)
    assert _bpf.run(compiled, arch, max(numbers.values()) + 1) in {deny().code, ENOSYS}
    assert _bpf.run(compiled, arch, newest + 2) == ENOSYS
    assert _bpf.run(compiled, 0xC00000F3, 0) == ENOSYS
    without = program(Filter(default=deny(), rules=rules.rules), machine)
    assert {_bpf.run(without, arch, number) for number in numbers.values()} == {ENOSYS}


@pytest.mark.parametrize(
    "rule, message",
    [
        (Rule(("reaad",), ALLOW), "no system call 'reaad'; is it read"),
        (Rule(("socket",), ALLOW, (Arg(0, "==", 1 << 32),)), "argument of 32 bits"),
        (Rule(("chmod",), ALLOW, (Arg(1, "==", 1 << 16),)), "argument of 16 bits"),
        (Rule(("mmap",), ALLOW, (Arg(0, "&==", 4, mask=3),)), "can never hold"),
    ],
)
def test_rules_that_cannot_be_meant(rule: Rule, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _seccomp.compile(Filter(default=deny(), rules=(rule,)), "x86_64")


def test_a_name_of_another_architecture_has_no_effect() -> None:
    named = Filter(default=deny(), rules=(Rule(("read", "chown32", "riscv_hwprobe"), ALLOW),))
    plain = Filter(default=deny(), rules=(Rule(("read",), ALLOW),))
    assert _seccomp.compile(named, "x86_64") == _seccomp.compile(plain, "x86_64")


def test_a_machine_without_a_table() -> None:
    with pytest.raises(ConfigError, match="no table for sparc64; there are x86_64, aarch64"):
        _seccomp.compile(Filter(default=deny()), "sparc64")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Action("explode"),
        lambda: deny(-1),
        lambda: deny(4096),
        lambda: trace(1 << 16),
        lambda: Action("allow", 1),
        lambda: Arg(6, "==", 0),
        lambda: Arg(-1, "==", 0),
        lambda: Arg(0, "~", 0),  # type: ignore[arg-type]
        lambda: Arg(0, "in", 1),
        lambda: Arg(0, "in", ()),
        lambda: Arg(0, "==", (1, 2)),
        lambda: Arg(0, "&==", 0),
        lambda: Arg(0, "==", 0, mask=1),
        lambda: Arg(0, "==", 1 << 64),
        lambda: Arg(0, "==", -(1 << 63) - 1),
        lambda: Rule((), ALLOW),
        lambda: Rule("read", ALLOW),  # type: ignore[arg-type]
        lambda: Filter(default=ALLOW, secondary=("mips",)),
        lambda: Filter(default=ALLOW, flags=("SECCOMP_FILTER_FLAG_NEW_LISTENER",)),
    ],
)
def test_parts_that_cannot_be_right(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize(
    "value, shown",
    [
        (deny(), "errno EPERM"),
        (deny(38), "errno ENOSYS"),
        (KILL_PROCESS, "kill-process"),
        (trace(3), "trace 3"),
        (Arg(0, "in", (1, 10)), "arg0 in {0x1, 0xa}"),
        (Arg(1, "&==", 0, mask=0x7E020000), "(arg1 & 0x7e020000) == 0x0"),
        (Arg(2, "!=", 0), "arg2 != 0x0"),
    ],
)
def test_parts_are_readable(value: object, shown: str) -> None:
    assert str(value) == shown


def test_flags_for_loading() -> None:
    flags = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW")
    assert Filter(default=ALLOW, flags=flags).flag_bits == 6
