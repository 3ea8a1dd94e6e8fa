# SPDX-License-Identifier: Apache-2.0
"""From the `linux.seccomp` object of an OCI runtime configuration to a filter.

Source: OCI runtime specification 1.3, config-linux.md, "Seccomp". Where that is silent:

* Entries count in their order; libseccomp prefers entries without `args` instead.
* Several conditions on one argument of an entry are alternatives, as runc and crun take them.
* Numbers newer than all calls named get ENOSYS if the default action denies, as with runc.
* Compared are only the bits of an argument that the kernel looks at, unlike with libseccomp.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pycontain import _syscalls
from pycontain.errors import ConfigError

from ._rules import Action, Arg, Filter, Op, Rule

ACTIONS = {
    "SCMP_ACT_KILL": "kill-thread",
    "SCMP_ACT_KILL_THREAD": "kill-thread",
    "SCMP_ACT_KILL_PROCESS": "kill-process",
    "SCMP_ACT_TRAP": "trap",
    "SCMP_ACT_ERRNO": "errno",
    "SCMP_ACT_TRACE": "trace",
    "SCMP_ACT_ALLOW": "allow",
    "SCMP_ACT_LOG": "log",
    "SCMP_ACT_NOTIFY": "notify",
}
OPS: dict[str, Op] = {
    "SCMP_CMP_NE": "!=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_GE": ">=",
    "SCMP_CMP_GT": ">",
    "SCMP_CMP_MASKED_EQ": "&==",
}
# None: an architecture of hosts that we have no tables for.
ARCHITECTURES = {
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_ARM": "arm",
    "SCMP_ARCH_AARCH64": "aarch64",
    **dict.fromkeys(
        (
            *("SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_MIPS", "SCMP_ARCH_MIPS64"),
            *("SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64"),
            *("SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64", "SCMP_ARCH_PPC"),
            *("SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390"),
            *("SCMP_ARCH_S390X", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB"),
        )
    ),
}

_T = TypeVar("_T")
_Json = Mapping[str, object]


def from_oci(
    config: Mapping[str, object], *, secondary: bool = False, newer: bool = False
) -> Filter:
    """Return the filter that a `linux.seccomp` object describes.

    `listenerPath` and `listenerMetadata` are left to whoever loads the filter.

    Args:
        config: The object, as json gives it.
        secondary: Whether to admit calls of the 32-bit and x32 `architectures` listed; else they
            get ENOSYS.
        newer: Whether a rule may deny what is no system call here, as engines' rules do that are
            newer than this package: then everything that is newer is denied.

    Raises:
        ConfigError: With the path of what cannot be right.
    """
    default = _action(config, "defaultAction", "defaultErrnoRet", "seccomp")
    if default.kind == "notify":
        raise ConfigError("seccomp.defaultAction: SCMP_ACT_NOTIFY would stop the program's start")
    machines = [
        _choice(name, ARCHITECTURES, f"seccomp.architectures[{index}]")
        for index, name in enumerate(_list(config, "architectures", "seccomp"))
    ]
    flags = [
        _text(flag, f"seccomp.flags[{index}]")
        for index, flag in enumerate(_list(config, "flags", "seccomp"))
    ]
    rules: list[Rule] = []
    denied: Action | None = None
    for index, row in enumerate(_list(config, "syscalls", "seccomp")):
        path = f"seccomp.syscalls[{index}]"
        entry = _object(row, path)
        rules += _rules(entry, path)
        missing, action = _missing(entry, path)
        if missing and not action.permits:
            if not newer:
                what = f"{missing!r} is no system call, so it cannot be denied"
                raise ConfigError(f"{path}.names: {what}")
            denied = denied or (action if default.permits else None)
    unknown = default if default.permits else Action("errno", errno.ENOSYS)
    return Filter(
        default=default,
        rules=tuple(rules),
        unknown=denied or unknown,
        secondary=tuple(name for name in machines if name in {"i386", "x32", "arm"})
        if secondary
        else (),
        known="table" if denied else "rules",
        flags=tuple(flags),
    )


def _missing(entry: _Json, path: str) -> tuple[str, Action]:
    """Return the first name that is no system call, "" without, and what happens to it."""
    names = (str(name) for name in _list(entry, "names", path))
    missing = next((name for name in names if not _syscalls.exists(name)), "")
    return missing, _action(entry, "action", "errnoRet", path)


def _rules(entry: _Json, path: str) -> list[Rule]:
    """Return the rules of one element of `syscalls`."""
    action = _action(entry, "action", "errnoRet", path)
    names = tuple(
        _text(name, f"{path}.names[{index}]")
        for index, name in enumerate(_list(entry, "names", path))
    )
    if not names:
        raise ConfigError(f"{path}.names: at least one name is needed")
    if action.kind == "notify" and "write" in names:
        raise ConfigError(f"{path}: SCMP_ACT_NOTIFY on write would stop the program's start")
    existing = tuple(name for name in names if _syscalls.exists(name))
    if not existing:
        return []
    args = [
        _arg(_object(arg, f"{path}.args[{index}]"), f"{path}.args[{index}]")
        for index, arg in enumerate(_list(entry, "args", path))
    ]
    if len({arg.index for arg in args}) < len(args):
        return [Rule(existing, action, (arg,)) for arg in args]
    return [Rule(existing, action, tuple(args))]


def _arg(entry: _Json, path: str) -> Arg:
    op: Op = _choice(_text(entry.get("op"), f"{path}.op"), OPS, f"{path}.op")
    index = _number(entry, "index", path)
    value = _number(entry, "value", path)
    if op == "&==":
        return Arg(index, op, _number(entry, "valueTwo", path, 0), mask=value)
    return Arg(index, op, value)


def _action(entry: _Json, key: str, errno_key: str, path: str) -> Action:
    kind = _choice(_text(entry.get(key), f"{path}.{key}"), ACTIONS, f"{path}.{key}")
    if kind in {"errno", "trace"}:
        return Action(kind, _number(entry, errno_key, path, errno.EPERM))
    if entry.get(errno_key) is not None:
        raise ConfigError(f"{path}.{errno_key}: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one")
    return Action(kind)


def _choice(name: object, known: Mapping[str, _T], path: str) -> _T:
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"{path}: {name!r} is none of {', '.join(known)}")
    return known[name]


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {value!r} is not a string")
    return value


def _object(value: object, path: str) -> _Json:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: {value!r} is not an object")
    return value


def _list(entry: _Json, key: str, path: str) -> Sequence[object]:
    value = entry.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path}.{key}: {value!r} is not an array")
    return value


def _number(entry: _Json, key: str, path: str, default: int | None = None) -> int:
    value = entry.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise ConfigError(f"{path}.{key}: {value!r} is not an unsigned number of 64 bits")
    return value
