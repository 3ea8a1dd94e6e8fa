# SPDX-License-Identifier: Apache-2.0
"""The OCI form: what it means, and how wrong ones are reported."""

from __future__ import annotations

from typing import Any

import pytest

import _bpf
from pycontain import _seccomp, _syscalls
from pycontain._seccomp import ALLOW, KILL_THREAD, LOG, NOTIFY, Arg, Filter, Rule, deny, trace
from pycontain.errors import ConfigError

READ = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


def config(*syscalls: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls), **others}


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"defaultAction": "SCMP_ACT_KILL"}, Filter(default=KILL_THREAD, known="rules")),
        ({"defaultAction": "SCMP_ACT_ALLOW"}, Filter(default=ALLOW, unknown=ALLOW, known="rules")),
        ({"defaultAction": "SCMP_ACT_LOG"}, Filter(default=LOG, unknown=LOG, known="rules")),
        (config(defaultErrnoRet=38), Filter(default=deny(38), known="rules")),
        (config(READ), Filter(default=deny(), rules=(Rule(("read",), ALLOW),), known="rules")),
        (
            config(READ, flags=["SECCOMP_FILTER_FLAG_LOG"], architectures=["SCMP_ARCH_X86"]),
            Filter(
                default=deny(),
                rules=(Rule(("read",), ALLOW),),
                known="rules",
                flags=("SECCOMP_FILTER_FLAG_LOG",),
            ),
        ),
        (
            config({"names": ["read", "call_of_2040"], "action": "SCMP_ACT_ALLOW"}),
            Filter(default=deny(), rules=(Rule(("read",), ALLOW),), known="rules"),
        ),
        (
            config({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 9}),
            Filter(default=deny(), rules=(Rule(("read",), trace(9)),), known="rules"),
        ),
        (
            config({"names": ["read"], "action": "SCMP_ACT_NOTIFY"}, listenerPath="/run/x"),
            Filter(default=deny(), rules=(Rule(("read",), NOTIFY),), known="rules"),
        ),
    ],
)
def test_meaning(given: dict[str, Any], expected: Filter) -> None:
    assert _seccomp.from_oci(given) == expected


@pytest.mark.parametrize(
    "op, arg",
    [
        ("SCMP_CMP_NE", Arg(0, "!=", 5)),
        ("SCMP_CMP_LT", Arg(0, "<", 5)),
        ("SCMP_CMP_LE", Arg(0, "<=", 5)),
        ("SCMP_CMP_EQ", Arg(0, "==", 5)),
        ("SCMP_CMP_GE", Arg(0, ">=", 5)),
        ("SCMP_CMP_GT", Arg(0, ">", 5)),
        ("SCMP_CMP_MASKED_EQ", Arg(0, "&==", 4, mask=5)),
    ],
)
def test_operators(op: str, arg: Arg) -> None:
    entry = {**READ, "args": [{"index": 0, "value": 5, "valueTwo": 4, "op": op}]}
    assert _seccomp.from_oci(config(entry)).rules == (Rule(("read",), ALLOW, (arg,)),)


def test_conditions_on_several_arguments_must_all_hold() -> None:
    args = [{"index": index, "value": 1, "op": "SCMP_CMP_EQ"} for index in (0, 2)]
    rules = _seccomp.from_oci(config({**READ, "args": args})).rules
    assert rules == (Rule(("read",), ALLOW, (Arg(0, "==", 1), Arg(2, "==", 1))),)


def test_conditions_on_one_argument_are_alternatives() -> None:
    args = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (1, 2)]
    rules = _seccomp.from_oci(config({**READ, "args": args})).rules
    assert rules == tuple(Rule(("read",), ALLOW, (Arg(0, "==", value),)) for value in (1, 2))


def test_32_bit_calls_only_if_admitted() -> None:
    given = config(READ, architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    for secondary, expected in ((False, _bpf.ERRNO | 38), (True, _bpf.ALLOW)):
        rules = _seccomp.from_oci(given, secondary=secondary)
        program = _bpf.parse(_seccomp.compile(rules, "x86_64"))
        assert _bpf.run(program, _bpf.I386, 3) == expected
        assert _bpf.run(program, _bpf.X86_64, _bpf.X32_BIT) == expected
        assert _bpf.run(program, _bpf.X86_64, 0) == _bpf.ALLOW


def test_int_arguments_are_compared_on_the_low_word() -> None:
    af_vsock = {"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}
    entry = {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [af_vsock]}
    rules = _seccomp.from_oci({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]})
    program = _bpf.parse(_seccomp.compile(rules, "x86_64"))
    for family in (40, 40 | 1 << 32, 40 | 0xFFFFFFFF << 32):
        assert _bpf.run(program, _bpf.X86_64, 41, (family, 0, 0, 0, 0, 0)) == _bpf.ERRNO | 1


def test_calls_newer_than_those_named_are_not_implemented() -> None:
    names = ["read", "statx"]
    rules = _seccomp.from_oci(config({"names": names, "action": "SCMP_ACT_ALLOW"}))
    program = _bpf.parse(_seccomp.compile(rules, "x86_64"))
    statx = _syscalls.table("x86_64").numbers["statx"]
    assert _bpf.run(program, _bpf.X86_64, statx - 1) == _bpf.ERRNO | 1
    assert _bpf.run(program, _bpf.X86_64, statx + 1) == _bpf.ERRNO | 38
    assert _bpf.run(program, _bpf.X86_64, 435) == _bpf.ERRNO | 38


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "seccomp.defaultAction: None is not a string"),
        ({"defaultAction": "ALLOW"}, "seccomp.defaultAction: 'ALLOW' is none of"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "would stop"),
        (config(defaultErrnoRet=-1), "seccomp.defaultErrnoRet: -1"),
        (config(defaultErrnoRet=True), "seccomp.defaultErrnoRet: True"),
        (config(defaultErrnoRet=4096), "4096 is no error number"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "only SCMP_ACT_ERRNO"),
        (config(architectures=["x86"]), r"seccomp.architectures\[0\]: 'x86' is none of"),
        (
            config(architectures="SCMP_ARCH_X86"),
            "seccomp.architectures: 'SCMP_ARCH_X86' is not an arr",
        ),
        (config(flags=["LOG"]), "'LOG' is none of"),
        (config(flags=[1]), r"seccomp.flags\[0\]: 1 is not a string"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {}},
            "seccomp.syscalls: {} is not an array",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [3]}, r"seccomp.syscalls\[0\]: 3 is not"),
        (
            config(READ, {"names": [], "action": "SCMP_ACT_LOG"}),
            r"syscalls\[1\].names: at least one",
        ),
        (config({"names": ["read"]}), r"syscalls\[0\].action: None is not a string"),
        (config({**READ, "errnoRet": 1}), r"syscalls\[0\].errnoRet: only"),
        (config({**READ, "names": [0]}), r"syscalls\[0\].names\[0\]: 0 is not a string"),
        (config({"names": ["mout"], "action": "SCMP_ACT_ERRNO"}), "'mout' is no system call"),
        (config({"names": ["write"], "action": "SCMP_ACT_NOTIFY"}), "would stop"),
        (config({**READ, "args": [1]}), r"syscalls\[0\].args\[0\]: 1 is not an object"),
        (config({**READ, "args": [{"value": 1, "op": "SCMP_CMP_EQ"}]}), r"args\[0\].index: None"),
        (
            config({**READ, "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}),
            "no argument 6",
        ),
        (config({**READ, "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}), r"args\[0\].value: None"),
        (
            config({**READ, "args": [{"index": 0, "value": 1 << 64, "op": "SCMP_CMP_EQ"}]}),
            r"args\[0\].value: 18446744073709551616 is not",
        ),
        (config({**READ, "args": [{"index": 0, "value": 1.0, "op": "SCMP_CMP_EQ"}]}), "1.0 is not"),
        (config({**READ, "args": [{"index": 0, "value": 1, "op": "EQ"}]}), r"args\[0\].op: 'EQ'"),
    ],
)
def test_wrong_ones_are_reported_with_their_place(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _seccomp.from_oci(given)


def test_what_is_newer_is_denied_with_all_that_is_newer() -> None:
    rule = {"names": ["read", "call_of_2040"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}
    given = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    assert _seccomp.from_oci(given, newer=True) == Filter(
        default=ALLOW, rules=(Rule(("read",), deny(5)),), unknown=deny(5), known="table"
    )
    given["defaultAction"] = "SCMP_ACT_ERRNO"
    assert _seccomp.from_oci(given, newer=True) == Filter(
        default=deny(), rules=(Rule(("read",), deny(5)),), known="rules"
    )
