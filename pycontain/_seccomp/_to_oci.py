# SPDX-License-Identifier: Apache-2.0
"""From a filter to the `linux.seccomp` object of an OCI runtime configuration.

In a filter the first rule that fits decides. libseccomp has no order: an entry without conditions
stands against all others of its call. So each rule becomes what is left of it by those before, in
conditions that mean the same in any order: bits of arguments that have certain values.

Left out are refusals that only choose another one than the default action, if they stand behind a
rule that permits some of the calls, or need very many entries; and what happens to calls of other
architectures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from pycontain import _syscalls

from ._compiler import Test, tests_of
from ._oci import ACTIONS, ARCHITECTURES
from ._rules import Action, Filter

Bits: TypeAlias = tuple[int, int]
"""A mask, and the values of its bits."""
Cube: TypeAlias = tuple[tuple[int, Bits], ...]
"""Bits by argument: calls for which all hold. Empty: all calls."""

_MOST: Final = 256
_NAMES: Final = {kind: name for name, kind in ACTIONS.items() if name != "SCMP_ACT_KILL"}


def to_oci(rules: Filter, machine: str | None = None) -> dict[str, Any]:
    """Return the object for a machine, as os.uname() names it; None is this one."""
    machine = machine or os.uname().machine
    table = _syscalls.table(machine)
    entries: dict[tuple[Action, tuple[Cube, ...]], list[str]] = {}
    named = dict.fromkeys(name for rule in rules.rules for name in rule.names)
    for name in named:
        if name in table.numbers:
            for action, cubes in _effects(rules, name, table):
                entries.setdefault((action, tuple(cubes)), []).append(name)
    found: dict[str, Any] = {
        **_action(rules.default, "defaultAction", "defaultErrnoRet"),
        "architectures": [name for name, ours in ARCHITECTURES.items() if ours == machine],
        "syscalls": [
            {"names": sorted(names), **_action(action, "action", "errnoRet"), **_args(cube)}
            for (action, cubes), names in entries.items()
            for cube in cubes
        ],
    }
    return {**found, "flags": list(rules.flags)} if rules.flags else found


def _effects(
    rules: Filter, name: str, table: _syscalls.Table
) -> Iterator[tuple[Action, list[Cube]]]:
    """Yield what happens to a call and when, but the default."""
    left: list[Cube] = [()]  # calls that no refusal before has taken
    permitted = False
    for rule in rules.rules:
        if name not in rule.names:
            continue
        tests = tests_of(rule, name, table)
        if rule.action.permits or not permitted:
            cubes = _both(left, _product(tests))
            worth = rule.action.permits or len(cubes) <= _MOST
            if cubes and worth and rule.action != rules.default:
                yield rule.action, cubes
        permitted = permitted or rule.action.permits
        if not tests:
            return
        if not rule.action.permits:
            left = _both(left, _without(tests))


def _product(tests: tuple[Test, ...]) -> list[Cube]:
    found: list[Cube] = [()]
    for test in tests:
        found = _both(found, [((test.argument, bits),) for bits in _bits(test)])
    return found


def _without(tests: tuple[Test, ...]) -> list[Cube]:
    """Return the calls for which some test does not hold."""
    return [((test.argument, bits),) for test in tests for bits in _complement(test)]


def _both(left: list[Cube], right: list[Cube]) -> list[Cube]:
    """Return the calls that are in both."""
    pairs = (_meet(one, other) for one in left for other in right)
    return list(dict.fromkeys(cube for cube in pairs if cube is not None))


def _meet(one: Cube, other: Cube) -> Cube | None:
    found = dict(one)
    for argument, (mask, value) in other:
        own_mask, own_value = found.get(argument, (0, 0))
        if (own_value ^ value) & mask & own_mask:
            return None
        found[argument] = (mask | own_mask, value | own_value)
    return tuple(sorted(found.items()))


def _bits(test: Test) -> list[Bits]:
    """Return the values of an argument for which a test holds."""
    value = test.values[0]
    match test.op:
        case "==" | "in" | "&==":
            return [(test.mask, number) for number in test.values]
        case "!=":
            return list(_others((test.mask, value)))
        case "<":
            return list(_beside(value, test.width, set_bits=True))
        case "<=":
            return [(test.mask, value), *_beside(value, test.width, set_bits=True)]
        case ">":
            return list(_beside(value, test.width, set_bits=False))
        case ">=":
            return [(test.mask, value), *_beside(value, test.width, set_bits=False)]


def _complement(test: Test) -> list[Bits]:
    """Return the values for which a test does not hold."""
    found: list[Bits] = [(0, 0)]
    for bits in _bits(test):
        pairs = (_meet(((0, one),), ((0, other),)) for one in found for other in _others(bits))
        found = list(dict.fromkeys(cube[0][1] for cube in pairs if cube is not None))
    return found


def _others(bits: Bits) -> Iterator[Bits]:
    """Yield what differs in some bit: in this one, and none above."""
    mask, value = bits
    above = 0
    for bit in (1 << place for place in reversed(range(64)) if mask >> place & 1):
        yield above | bit, (value & above) | (~value & bit)
        above |= bit


def _beside(value: int, width: int, *, set_bits: bool) -> Iterator[Bits]:
    """Yield the numbers below a value, by its bits that are set; or above, by the others."""
    above = 0
    for bit in (1 << place for place in reversed(range(width))):
        if bool(value & bit) == set_bits:
            yield above | bit, (value & above) | (~value & bit)
        above |= bit


def _args(cube: Cube) -> dict[str, Any]:
    if not cube:
        return {}
    return {
        "args": [
            {"index": argument, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}
            for argument, (mask, value) in cube
        ]
    }


def _action(action: Action, key: str, errno_key: str) -> dict[str, Any]:
    found: dict[str, Any] = {key: _NAMES[action.kind]}
    return {**found, errno_key: action.data} if action.kind in {"errno", "trace"} else found
