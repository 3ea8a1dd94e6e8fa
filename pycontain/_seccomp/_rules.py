# SPDX-License-Identifier: Apache-2.0
"""The readable form of a seccomp filter: frozen values, checked when they are made."""

from __future__ import annotations

import errno as _errno
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pycontain.errors import ConfigError

Op: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">=", "&==", "in"]
OPS: frozenset[str] = frozenset(("==", "!=", "<", "<=", ">", ">=", "&==", "in"))

_CODES = {
    "kill-process": 0x80000000,
    "kill-thread": 0x00000000,
    "trap": 0x00030000,
    "errno": 0x00050000,
    "notify": 0x7FC00000,
    "trace": 0x7FF00000,
    "log": 0x7FFC0000,
    "allow": 0x7FFF0000,
}
_MAX_ERRNO = 4095  # the kernel cuts off what is above (seccomp(2), SECCOMP_RET_ERRNO)
_MAX_DATA = 0xFFFF
_ARGUMENTS = 6

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 1 << 5,
}
"""Flags of seccomp(2) that a filter may ask to be loaded with."""


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a call.

    Attributes:
        kind: allow, log, errno, trap, trace, notify, kill-thread or kill-process (seccomp(2)).
        data: The error number of errno, or 16 bits for the tracer or the signal handler.
    """

    kind: str
    data: int = 0

    def __post_init__(self) -> None:
        """Check both fields."""
        if self.kind not in _CODES:
            raise ConfigError(f"seccomp: {self.kind!r} is no action; they are {', '.join(_CODES)}")
        if self.kind == "errno":
            if not 0 <= self.data <= _MAX_ERRNO:
                raise ConfigError(f"seccomp: {self.data} is no error number (0 to {_MAX_ERRNO})")
        elif self.kind in {"trace", "trap"}:
            if not 0 <= self.data <= _MAX_DATA:
                raise ConfigError(f"seccomp: {self.data} does not fit the 16 bits of {self.kind}")
        elif self.data:
            raise ConfigError(f"seccomp: action {self.kind} takes no data, so not {self.data}")

    @property
    def code(self) -> int:
        """The filter's return value for this action (linux/seccomp.h)."""
        return _CODES[self.kind] | self.data

    @property
    def permits(self) -> bool:
        """Whether the call is made, or whoever traces the program decides."""
        return self.kind in {"allow", "log", "trace"}

    def __str__(self) -> str:
        if self.kind == "errno":
            return f"errno {_errno.errorcode.get(self.data, self.data)}"
        return f"{self.kind} {self.data}" if self.data else self.kind


ALLOW = Action("allow")
LOG = Action("log")
TRAP = Action("trap")
NOTIFY = Action("notify")
KILL_THREAD = Action("kill-thread")
KILL_PROCESS = Action("kill-process")


def deny(errno: int = _errno.EPERM) -> Action:
    """Return the action that fails the call with an error number."""
    return Action("errno", errno)


def trace(data: int) -> Action:
    """Return the action that asks a tracer; without one the call fails with ENOSYS."""
    return Action("trace", data)


@dataclass(frozen=True, slots=True)
class Arg:
    """A condition on one argument, compared without sign.

    What the kernel truncates is compared truncated: of an `int`, the low 32 bits.

    Attributes:
        index: Which argument, 0 to 5.
        op: A comparison with `value`; "&==" compares the bits of `mask` only, "in" takes several
            values.
        value: Number, or a tuple of numbers for "in". -1 stands for all bits set.
        mask: The bits to compare, for "&==".
    """

    index: int
    op: Op
    value: int | tuple[int, ...]
    mask: int | None = None

    def __post_init__(self) -> None:
        """Check all fields."""
        if self.op not in OPS:
            raise ConfigError(f"seccomp: {self.op!r} is no comparison; they are {sorted(OPS)}")
        if not 0 <= self.index < _ARGUMENTS:
            raise ConfigError(f"seccomp: no argument {self.index}; they are 0 to 5")
        if (self.op == "in") != isinstance(self.value, tuple):
            raise ConfigError(f"seccomp: {self.op!r} cannot compare with {self.value!r}")
        if (self.op == "&==") != (self.mask is not None):
            raise ConfigError("seccomp: '&==' needs a mask, and nothing else takes one")
        if not self.values:
            raise ConfigError("seccomp: 'in' needs at least one value")
        for number in (*self.values, self.mask or 0):
            if not -(1 << 63) <= number < 1 << 64:
                raise ConfigError(f"seccomp: {number} does not fit 64 bits")

    @property
    def values(self) -> tuple[int, ...]:
        """The value or values, always as a tuple."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def __str__(self) -> str:
        left = f"arg{self.index}"
        if self.mask is not None:
            left, op = f"({left} & {self.mask:#x})", "=="
        else:
            op = self.op
        shown = ", ".join(f"{value:#x}" for value in self.values)
        return f"{left} {op} {{{shown}}}" if self.op == "in" else f"{left} {op} {shown}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the named calls when every condition holds.

    Attributes:
        names: Names of system calls. One that exists on other architectures only has no effect.
        action: What happens.
        args: Conditions, all of which must hold; none: always.
    """

    names: tuple[str, ...]
    action: Action
    args: tuple[Arg, ...] = ()

    def __post_init__(self) -> None:
        """Check the names."""
        names: object = self.names  # typed callers cannot pass a str, but others do
        if isinstance(names, str) or not names:
            raise ConfigError(f"seccomp: a rule's names are a tuple of strings, not {names!r}")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "args", tuple(self.args))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A whole filter. For each call the first rule that fits decides.

    Attributes:
        default: For known calls that no rule fits.
        rules: In order.
        unknown: For numbers that are no call, or one newer than the tables; programs take ENOSYS
            for an older kernel and do without.
        foreign: For calls of another architecture or the x32 ABI.
        secondary: Other architectures to judge by the same rules: `i386`, `x32`, `arm`. Where the
            host cannot run one it has no effect. 32-bit `socketcall` hides its arguments from every
            filter.
        known: Up to which number a call counts as known: the newest of the "table", or of the
            "rules".
        flags: Names of flags to load it with: `SECCOMP_FILTER_FLAG_LOG` and others.
    """

    default: Action
    rules: tuple[Rule, ...] = ()
    unknown: Action = Action("errno", _errno.ENOSYS)
    foreign: Action = Action("errno", _errno.ENOSYS)
    secondary: tuple[str, ...] = ()
    known: Literal["table", "rules"] = "table"
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the names of architectures and flags."""
        for name in ("rules", "secondary", "flags"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for machine in self.secondary:
            if machine not in {"i386", "x32", "arm"}:
                raise ConfigError(f"seccomp: {machine!r} is none of i386, x32, arm")
        for flag in self.flags:
            if flag not in FLAGS:
                raise ConfigError(f"seccomp: {flag!r} is none of {', '.join(FLAGS)}")

    @property
    def kills(self) -> bool:
        """Whether a call can end in SIGSYS."""
        actions = (self.default, self.unknown, self.foreign, *(rule.action for rule in self.rules))
        return any(action.kind in {"trap", "kill-thread", "kill-process"} for action in actions)

    @property
    def flag_bits(self) -> int:
        """The flags for seccomp(2)."""
        return sum(FLAGS[flag] for flag in set(self.flags))

    @property
    def notifies(self) -> bool:
        """Whether loading it needs a listener."""
        return any(rule.action == NOTIFY for rule in self.rules)

    def first(self, *rules: Rule) -> Filter:
        """Return a filter in which these rules come before all others."""
        return replace(self, rules=(*rules, *self.rules))
