# SPDX-License-Identifier: Apache-2.0
"""Which rule of a filter decides a call: the same reading of the rules that is compiled."""

from __future__ import annotations

import functools
import operator
import os
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pycontain import _syscalls

from ._compiler import Test, newest_known, tests_of
from ._rules import Action, Filter, Rule

_COMPARE: Final[dict[str, Callable[[int, int], bool]]] = {
    "==": operator.eq,
    "&==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Decision(NamedTuple):
    """Why a filter says what it says of a call.

    Attributes:
        machine: Whose call it is.
        name: Its name; None: the number is no known call.
        action: What happens to it.
        part: Which part of the filter decides: `rule`, `default`, `unknown` or `foreign`.
        rule: The rule, if one does.
        tried: Rules with conditions for this call that come before and do not hold.
    """

    machine: str
    name: str | None
    action: Action
    part: str
    rule: Rule | None = None
    tried: tuple[Rule, ...] = ()


@functools.cache
def _names(machine: str) -> dict[int, str]:
    return {number: name for name, number in _syscalls.table(machine).numbers.items()}


def machine_of(arch: int, number: int, native: str | None = None) -> str:
    """Return whose call this is, on a host of the `native` kind."""
    native = native or os.uname().machine
    if arch == _syscalls.table(native).audit_arch:
        is_x32 = native == "x86_64" and number >= _syscalls.X32_BIT
        return "x32" if is_x32 else native
    others = _syscalls.SECONDARY[native]
    return next((name for name in others if _syscalls.table(name).audit_arch == arch), "foreign")


def decide(
    rules: Filter, arch: int, number: int, args: Sequence[int], native: str | None = None
) -> Decision:
    """Return what the filter says of a call, and why.

    Args:
        rules: The filter.
        arch: `AUDIT_ARCH_*` of the call.
        number: Its number.
        args: Its six arguments.
        native: The host's machine; None is this one.
    """
    machine = machine_of(arch, number, native)
    if machine == "foreign":
        return Decision(machine, None, rules.foreign, "foreign")
    name = _names(machine).get(number)
    if machine != (native or os.uname().machine) and machine not in rules.secondary:
        return Decision(machine, name, rules.foreign, "foreign")
    table = _syscalls.table(machine)
    if name is None or number > newest_known(rules, table):
        return Decision(machine, name, rules.unknown, "unknown")
    tried: list[Rule] = []
    for rule in rules.rules:
        if name in rule.names:
            if all(_holds(test, args) for test in tests_of(rule, name, table)):
                return Decision(machine, name, rule.action, "rule", rule, tuple(tried))
            tried.append(rule)
    return Decision(machine, name, rules.default, "default", None, tuple(tried))


def _holds(test: Test, args: Sequence[int]) -> bool:
    value = args[test.argument] & (1 << test.width) - 1 & test.mask
    if test.op == "in":
        return value in test.values
    return _COMPARE[test.op](value, test.values[0])
