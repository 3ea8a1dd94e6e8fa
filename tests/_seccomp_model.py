# SPDX-License-Identifier: Apache-2.0
"""What a filter means, said without a compiler: the first rule that fits decides."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING

import _bpf
from pycontain import _syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pycontain._seccomp import Action, Arg, Filter

# By hand from the manual pages and kernel/, not from our table: bits of the arguments.
WIDTHS: Mapping[str, tuple[int, ...]] = {
    "chmod": (64, 16),
    "clone": (32, 64, 64, 64, 64),
    "fcntl": (32, 32, 64),
    "ioctl": (32, 32, 64),
    "mmap": (64, 64, 64, 64, 64, 64),
    "personality": (32,),
    "prctl": (32, 64, 64, 64, 64),
    "prlimit64": (32, 32, 64, 64),
    "ptrace": (64, 64, 64, 64),
    "socket": (32, 32, 32),
    "socketpair": (32, 32, 32, 64),
}
COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
KINDS = {
    "kill-process": _bpf.KILL_PROCESS,
    "kill-thread": _bpf.KILL_THREAD,
    "trap": _bpf.TRAP,
    "errno": _bpf.ERRNO,
    "notify": _bpf.NOTIFY,
    "trace": _bpf.TRACE,
    "log": _bpf.LOG,
    "allow": _bpf.ALLOW,
}


def code(action: Action) -> int:
    return KINDS[action.kind] + action.data


def holds(arg: Arg, name: str, args: tuple[int, ...]) -> bool:
    width = (1 << WIDTHS[name][arg.index]) - 1
    actual = args[arg.index] & width
    expected = [value & width for value in arg.values]
    if arg.op == "in":
        return actual in expected
    if arg.op == "&==":
        assert arg.mask is not None
        return actual & arg.mask == expected[0]
    return COMPARE[arg.op](actual, expected[0])


@functools.cache
def names(machine: str) -> dict[int, str]:
    return {number: name for name, number in _syscalls.table(machine).numbers.items()}


def verdict(rules: Filter, machine: str, arch: int, nr: int, args: tuple[int, ...]) -> int:
    """Return what the filter, on a host of this machine and without other ABIs, should answer."""
    if arch != _bpf.NATIVE[machine] or (machine == "x86_64" and nr >= _bpf.X32_BIT):
        return code(rules.foreign)
    name = names(machine).get(nr)
    if name is None:
        return code(rules.unknown)
    if rules.known == "rules":
        numbers = _syscalls.table(machine).numbers
        named = {numbers.get(other, -1) for rule in rules.rules for other in rule.names}
        if nr > max(named):
            return code(rules.unknown)
    for rule in rules.rules:
        if name in rule.names and all(holds(arg, name, args) for arg in rule.args):
            return code(rule.action)
    return code(rules.default)
