# SPDX-License-Identifier: Apache-2.0
"""Our programs against libseccomp's, where both mean the same: no overlap, whole registers."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import strategies as st

import _bpf
import _libseccomp
import _seccomp_model as model
from pycontain import _seccomp, _syscalls, profile
from pycontain._seccomp import ALLOW, KILL_PROCESS, LOG, Arg, Filter, Op, Rule, deny

if TYPE_CHECKING:
    import ctypes

WORD = (1 << 64) - 1
MACHINES = ("x86_64", "aarch64")
BAD_ARCH = deny(38)
# Arguments of these are whole registers, so that truncation makes no difference.
OPS: list[Op] = ["==", "!=", "<", "<=", ">", ">=", "&=="]
WIDE = {"mmap": 6, "ptrace": 4, "mremap": 5, "mprotect": 3}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return _libseccomp.load()


def condition(arg: Arg) -> _libseccomp.Condition:
    value = arg.values[0] & WORD
    if arg.mask is not None:
        return arg.index, "&==", arg.mask, value
    return arg.index, arg.op, value, 0


def oracle(library: ctypes.CDLL, rules: Filter, machine: str) -> _bpf.Program:
    foreign = _libseccomp.Oracle(
        library, rules.default.code, _bpf.NATIVE[machine], rules.foreign.code
    )
    with closing(foreign):
        for rule in rules.rules:
            for name in rule.names:
                foreign.add(rule.action.code, name, [condition(arg) for arg in rule.args])
        return tuple(_bpf.Instruction(*item) for item in _bpf.parse(foreign.program()))


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_agree_with_its_tables(library: ctypes.CDLL, machine: str) -> None:
    numbers = _syscalls.table(machine).numbers
    theirs = {
        name: library.seccomp_syscall_resolve_name_arch(_bpf.NATIVE[machine], name.encode())
        for name in numbers
    }
    known = {name: number for name, number in theirs.items() if number >= 0}
    assert len(known) > 290
    assert {name: numbers[name] for name in known} == known


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", profile.names())
def test_every_number_of_the_plain_allow_lists(
    library: ctypes.CDLL, name: str, machine: str
) -> None:
    """The profiles without their argument rules, as libseccomp knows no order of rules."""
    native = _bpf.NATIVE[machine]
    plain: dict[str, Rule] = {}
    for rule in profile.get(name).seccomp.rules:
        for call in rule.names:
            known = library.seccomp_syscall_resolve_name(call.encode()) != -1
            if not rule.args and known and call in _syscalls.table(machine).numbers:
                plain.setdefault(call, Rule((call,), rule.action))
    default = profile.get(name).seccomp.default
    rules = Filter(
        default=default,
        unknown=default,
        foreign=BAD_ARCH,
        rules=tuple(rule for rule in plain.values() if rule.action != default),
    )
    theirs, ours = oracle(library, rules, machine), _bpf.parse(_seccomp.compile(rules, machine))
    for arch in (*_bpf.NATIVE.values(), _bpf.I386, _bpf.ARM, 0):
        for nr in (*range(1024), *range(_bpf.X32_BIT, _bpf.X32_BIT + 64)):
            expected = _bpf.run(theirs, arch, nr)
            assert _bpf.run(ours, arch, nr) == expected, (hex(arch), nr)
    assert len(ours) < len(theirs)
    assert native in _bpf.NATIVE.values()


VALUES = st.one_of(
    st.integers(0, 3),
    st.integers(0, WORD),
    st.sampled_from([1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, WORD]),
)


@st.composite
def wide_arguments(draw: st.DrawFn, index: int) -> Arg:
    op: Op = draw(st.sampled_from(OPS))
    if op == "&==":
        mask = draw(VALUES.filter(bool))
        return Arg(index, "&==", draw(VALUES) & mask, mask=mask)
    return Arg(index, op, draw(VALUES))


@st.composite
def wide_filters(draw: st.DrawFn) -> Filter:
    rules = []
    for name in draw(st.sets(st.sampled_from(sorted(WIDE)), min_size=1)):
        indexes = draw(st.sets(st.integers(0, WIDE[name] - 1), max_size=4))
        args = tuple(draw(wide_arguments(index)) for index in sorted(indexes))
        rules.append(Rule((name,), draw(st.sampled_from([ALLOW, LOG, deny(5)])), args))
    default = draw(st.sampled_from([KILL_PROCESS, deny()]))
    return Filter(default=default, unknown=default, foreign=BAD_ARCH, rules=tuple(rules))


@hypothesis.settings(max_examples=100)
@hypothesis.given(rules=wide_filters(), data=st.data())
def test_conditions_on_whole_registers(
    library: ctypes.CDLL, rules: Filter, data: st.DataObject
) -> None:
    theirs, ours = oracle(library, rules, "x86_64"), _bpf.parse(_seccomp.compile(rules, "x86_64"))
    numbers = _syscalls.table("x86_64").numbers
    for rule in rules.rules:
        constants = [value for arg in rule.args for value in (*arg.values, arg.mask or 0)]
        near = [(constant + step) & WORD for constant in constants for step in (-1, 0, 1)]
        words = st.sampled_from([*near, *(value ^ 1 << 32 for value in near), 0, WORD])
        rows = data.draw(st.lists(st.tuples(*[words] * 6), min_size=4, max_size=4))
        for row in rows:
            number = numbers[rule.names[0]]
            expected = _bpf.run(theirs, _bpf.X86_64, number, row)
            assert _bpf.run(ours, _bpf.X86_64, number, row) == expected, row


OCI_ENTRIES: list[dict[str, Any]] = [
    {"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    {
        "names": ["mmap"],
        "action": "SCMP_ACT_LOG",
        "args": [{"index": 2, "value": 4, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}],
    },
    {
        "names": ["ptrace"],
        "action": "SCMP_ACT_ALLOW",
        "args": [
            {"index": 0, "value": 2, "op": "SCMP_CMP_LE"},
            {"index": 1, "value": 1 << 40, "op": "SCMP_CMP_NE"},
        ],
    },
]


def test_the_oci_form(library: ctypes.CDLL) -> None:
    given = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": OCI_ENTRIES}
    rules = _seccomp.from_oci(given)
    theirs = oracle(library, rules, "x86_64")
    ours = _bpf.parse(_seccomp.compile(rules, "x86_64"))
    newest = _syscalls.table("x86_64").numbers["bpf"]
    for nr in range(newest + 1):
        for first, second, third in ((0, 0, 0), (2, 1 << 40, 4), (3, 1, 12), (WORD, WORD, WORD)):
            row = (first, second, third, 0, 0, 0)
            if nr in model.names("x86_64"):
                assert _bpf.run(ours, _bpf.X86_64, nr, row) == _bpf.run(
                    theirs, _bpf.X86_64, nr, row
                )
