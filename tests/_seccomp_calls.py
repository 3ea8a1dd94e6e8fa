# SPDX-License-Identifier: Apache-2.0
"""The calls that tell filters apart: each filtered argument in every corner."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import _bpf
from pycontain import _syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycontain._seccomp import Arg, Filter

WORD = (1 << 64) - 1
Call = tuple[int, int, tuple[int, ...]]
"""Architecture, number, arguments."""


def corners(constants: set[int]) -> list[int]:
    """Return values around the constants, and what they become with other high bits."""
    near = {constant + step for constant in constants for step in (-1, 0, 1)} | {0, 1 << 31, WORD}
    near |= {constant | 1 << bit for constant in constants for bit in (16, 31)}
    found = set(near)
    for value in near:
        low = value & 0xFFFFFFFF
        found |= {low, low | 1 << 32, low | 1 << 63, low | 0xFFFFFFFF << 32}
        found.add(low - (1 << 32) if low >> 31 else low)
    return sorted({value & WORD for value in found})


def filtered(rules: Filter) -> dict[str, list[Arg]]:
    found: dict[str, list[Arg]] = {}
    for rule in rules.rules:
        for name in rule.names:
            found.setdefault(name, []).extend(rule.args)
    return {name: args for name, args in found.items() if args}


def constants(args: list[Arg], index: int) -> set[int]:
    on_index = [arg for arg in args if arg.index == index]
    values = {value for arg in on_index for value in arg.values}
    return values | {arg.mask for arg in on_index if arg.mask is not None}


def calls_of(name: str, args: list[Arg], machine: str) -> Iterator[Call]:
    """Yield calls with each argument in every corner, the others at each constant, 0 and ~0."""
    number = _syscalls.table(machine).numbers[name]
    indexes = sorted({arg.index for arg in args})
    for varied in indexes:
        choices = [
            corners(constants(args, index))
            if index == varied
            else sorted({*constants(args, index), 0, WORD})
            for index in indexes
        ]
        for values in itertools.product(*choices):
            row = [0] * 6
            for index, value in zip(indexes, values, strict=True):
                row[index] = value
            yield _bpf.NATIVE[machine], number, tuple(row)


def corner_calls(rules: Filter, machine: str) -> Iterator[Call]:
    """Yield the calls that tell this filter from others."""
    numbers = _syscalls.table(machine).numbers
    for name, args in filtered(rules).items():
        if name in numbers:
            yield from calls_of(name, args, machine)
