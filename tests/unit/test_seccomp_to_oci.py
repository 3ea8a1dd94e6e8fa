# SPDX-License-Identifier: Apache-2.0
"""A filter as OCI's object: the same calls are permitted, whatever the order of its entries."""

from __future__ import annotations

import json
from typing import Any

import pytest

import _seccomp_calls
from pycontain import _seccomp, _syscalls, profile
from pycontain._seccomp._rules import ALLOW, KILL_PROCESS, Arg, Filter, Rule, deny
from pycontain._seccomp._to_oci import to_oci

MACHINE = "x86_64"
PROFILES = {name: profile.get(name).seccomp for name in profile.names()}
DENIED_FIRST = (Rule(("ioctl",), deny(5), (Arg(1, "in", (3, 7)),)), Rule(("ioctl",), ALLOW))
SMALL = {
    "one argument twice": Filter(default=deny(), rules=DENIED_FIRST),
    "two arguments": Filter(
        default=KILL_PROCESS,
        rules=(
            Rule(("prlimit64",), deny(), (Arg(0, "!=", 0), Arg(2, "!=", 0))),
            Rule(("prlimit64", "read"), ALLOW),
        ),
    ),
    "ranges": Filter(
        default=deny(),
        rules=(
            Rule(("personality",), ALLOW, (Arg(0, "<", 9),)),
            Rule(("personality",), deny(6), (Arg(0, ">=", 0x1000),)),
            Rule(("personality",), ALLOW, (Arg(0, ">", 0x800),)),
            Rule(("personality",), ALLOW, (Arg(0, "<=", 0x20),)),
        ),
    ),
    "masks": Filter(
        default=deny(),
        rules=(Rule(("clone",), deny(7), (Arg(0, "&==", 1, mask=3),)), Rule(("clone",), ALLOW)),
    ),
}


def permits(rules: Filter, call: _seccomp_calls.Call) -> bool:
    return _seccomp.decide(rules, *call, MACHINE).action.permits


@pytest.mark.parametrize("name", [*PROFILES, *SMALL])
def test_the_same_calls_are_permitted(name: str) -> None:
    rules = {**PROFILES, **SMALL}[name]
    document: dict[str, Any] = json.loads(json.dumps(to_oci(rules, MACHINE)))
    # libseccomp has no order of its own: the reverse must say the same.
    document["syscalls"].reverse()
    back = _seccomp.from_oci(document)
    table = _syscalls.table(MACHINE)
    calls: list[_seccomp_calls.Call] = [
        (table.audit_arch, number, (0, 0, 0, 0, 0, 0)) for number in table.numbers.values()
    ]
    for call, args in _seccomp_calls.filtered(rules).items():
        if call in table.numbers:
            calls += list(_seccomp_calls.calls_of(call, args, MACHINE))[::7]
    assert [call for call in calls if permits(rules, call) != permits(back, call)] == []


def test_an_entry_without_conditions_stands_alone() -> None:
    for rules in PROFILES.values():
        entries = to_oci(rules, MACHINE)["syscalls"]
        always = {name for entry in entries if "args" not in entry for name in entry["names"]}
        sometimes = {name for entry in entries if "args" in entry for name in entry["names"]}
        assert always & sometimes == set()


def test_refusals_keep_their_number_where_they_can() -> None:
    found = to_oci(SMALL["one argument twice"], MACHINE)
    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    assert found["architectures"] == ["SCMP_ARCH_X86_64"]
    refused = [entry for entry in found["syscalls"] if entry["action"] == "SCMP_ACT_ERRNO"]
    assert [entry["errnoRet"] for entry in refused] == [5, 5]
    assert refused[0]["args"] == [
        {"index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 0xFFFFFFFF, "valueTwo": 3}
    ]
