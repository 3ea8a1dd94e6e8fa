# SPDX-License-Identifier: Apache-2.0
"""Device rules: what they mean, as exceptions of v1, and as a program of v2."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain._oci._cgroups import _device_program, _device_rules
from pycontain._oci._cgroups._device_rules import DEFAULT, Key
from pycontain.errors import ConfigError

from .conftest import ALLOW_ALL, DENY_ALL, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pycontain._oci._spec import DeviceRule


def means(rules: Sequence[DeviceRule], type_: str, major: int, minor: int, asked: str) -> bool:
    """Tell what the rules say: for each letter, the last that is about it decides; else no."""

    def says(letter: str) -> bool:
        for one in reversed(rules):
            about = one.type in ("a", type_) and letter in one.access
            if about and one.major in (None, major) and one.minor in (None, minor):
                return one.allow
        return False

    return all(says(letter) for letter in asked)


NUMBERS = (1, 2, 3)
ACCESSES = ["".join(c) for n in (1, 2, 3) for c in itertools.combinations("rwm", n)]
RULES = st.lists(
    st.builds(
        rule,
        st.booleans(),
        st.sampled_from("abc"),
        st.sampled_from((None, *NUMBERS[:2])),
        st.sampled_from((None, *NUMBERS[:2])),
        st.sampled_from(ACCESSES),
    ),
    max_size=6,
)
QUESTIONS = list(itertools.product("bc", NUMBERS, NUMBERS, ACCESSES))


# The program of v2


def run(program: bytes, context: bytes) -> int:
    """Run instructions of those kinds that such programs have (bpf/instruction-set.rst)."""
    instructions = list(struct.iter_unpack("=BBhi", program))
    registers = [0] * 11
    at = 0
    while instructions[at][0] != 0x95:
        code, operands, offset, value = instructions[at]
        target, source = operands & 15, operands >> 4
        before = registers[target]
        jumps = {0x05: True, 0x55: before != value, 0x45: bool(before & value)}
        results = {0x54: before & value, 0x74: before >> (value & 63), 0xB4: value}
        if code == 0x61:
            (registers[target],) = struct.unpack_from("=I", context, offset)
        elif code == 0xBC:
            registers[target] = registers[source]
        elif code in results:
            registers[target] = results[code]
        else:
            at += offset * jumps[code]
        at += 1
    return registers[0]


def answer(program: bytes, type_: str, major: int, minor: int, asked: str) -> bool:
    """Ask a program, as the kernel does (struct bpf_cgroup_dev_ctx)."""
    bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in asked)
    number = {"b": 1, "c": 2}[type_]
    return bool(run(program, struct.pack("=III", bits << 16 | number, major, minor)))


@given(RULES)
def test_the_program_says_what_the_rules_say(rules: list[DeviceRule]) -> None:
    program = _device_program.assemble(tuple(rules))
    wrong = [q for q in QUESTIONS if answer(program, *q) != means(rules, *q)]
    assert wrong == []


@pytest.mark.parametrize("number", [1 << 31, 1 << 40])
def test_numbers_that_no_device_has(number: int) -> None:
    rules = (DENY_ALL, rule(True, "c", number, None))
    program = _device_program.assemble(rules)
    assert [q for q in QUESTIONS if answer(program, *q)] == []


# The exceptions of v1


def v1_says(found: _device_rules.Exceptions, key: Key, asked: str) -> bool:
    """Look through exceptions as security/device_cgroup.c does."""
    about = [access for row, access in found.rows.items() if row.covers(key)]
    if found.allow:
        return not any(access & set(asked) for access in about)
    return any(access >= set(asked) for access in about)


@given(RULES)
def test_exceptions_say_what_the_rules_say(rules: list[DeviceRule]) -> None:
    try:
        found = _device_rules.exceptions(rules)
    except ConfigError:
        return  # which is what v1 cannot express
    for type_, major, minor, asked in QUESTIONS:
        expected = means(rules, type_, major, minor, asked)
        # What several overlapping rows say together, v1 does not see.
        single = v1_says(found, Key(type_, major, minor), asked)
        assert single == expected or (expected and not single and len(found.rows) > 1)


def test_rows_that_lie_in_each_other_are_united() -> None:
    rules = (rule(True, "c", None, None, "r"), rule(True, "c", 1, None, "w"))
    found = _device_rules.exceptions(rules)
    assert found.rows[Key("c", 1, None)] == {"r", "w"}


@pytest.mark.parametrize(
    "rules, at",
    [
        ((DENY_ALL, rule(True, "c", 1, None), rule(False, "c", 1, 3)), 2),
        ((ALLOW_ALL, rule(False, "a", None, None, "w"), rule(True, "c", 1, 3, "w")), 2),
        ((rule(True, "c", None, 3), rule(False, "c", 1, None)), 1),
    ],
)
def test_what_v1_cannot_express(rules: tuple[DeviceRule, ...], at: int) -> None:
    with pytest.raises(ConfigError, match=rf"linux\.resources\.devices\[{at}\]"):
        _device_rules.exceptions(rules)


@pytest.mark.parametrize(
    "bad, field", [(rule(True, "p", 1, 3), "type"), (rule(True, "c", 1, 3, "x"), "access")]
)
def test_rules_that_are_none(bad: DeviceRule, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"devices\[1\]\.{field}"):
        _device_rules.check((DENY_ALL, bad))


def test_defaults_are_what_every_container_has() -> None:
    """The numbers of devices.txt."""
    numbers = "1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*"
    used = [key for one in DEFAULT if one.access == "rwm" for key in _device_rules.keys(one)]
    assert [str(key) for key in used] == [f"c {n}" for n in numbers]
