# SPDX-License-Identifier: Apache-2.0
"""Names of the arguments that are worth showing, and of some of their values; all by number."""

from __future__ import annotations

import socket
import termios
from collections.abc import Mapping
from typing import Final

_SOCKET: Final = {0: "family", 1: "type", 2: "protocol"}
_NAMES: Final[Mapping[str, Mapping[int, str]]] = {
    "bpf": {0: "cmd"},
    "clone": {0: "flags"},
    "delete_module": {1: "flags"},
    "fcntl": {1: "op"},
    "fcntl64": {1: "op"},
    "finit_module": {0: "fd", 2: "flags"},
    "fsopen": {1: "flags"},
    "io_uring_setup": {0: "entries"},
    "ioctl": {1: "op"},
    "kcmp": {0: "pid1", 1: "pid2", 2: "type"},
    "keyctl": {0: "operation"},
    "mount": {3: "flags"},
    "open_by_handle_at": {0: "mount_fd", 2: "flags"},
    "personality": {0: "persona"},
    "pidfd_getfd": {0: "pidfd", 1: "targetfd"},
    "prctl": {0: "op"},
    "prlimit64": {0: "pid", 1: "resource"},
    "process_vm_readv": {0: "pid"},
    "process_vm_writev": {0: "pid"},
    "ptrace": {0: "op", 1: "pid"},
    "seccomp": {0: "operation", 1: "flags"},
    "setns": {0: "fd", 1: "nstype"},
    "socket": _SOCKET,
    "socketpair": _SOCKET,
    "syslog": {0: "type"},
    "umount2": {1: "flags"},
    "unshare": {0: "flags"},
    "userfaultfd": {0: "flags"},
}
_CLONE: Final = {
    "CLONE_NEWTIME": 0x80,
    "CLONE_VM": 0x100,
    "CLONE_FS": 0x200,
    "CLONE_FILES": 0x400,
    "CLONE_SIGHAND": 0x800,
    "CLONE_PIDFD": 0x1000,
    "CLONE_PTRACE": 0x2000,
    "CLONE_VFORK": 0x4000,
    "CLONE_PARENT": 0x8000,
    "CLONE_THREAD": 0x10000,
    "CLONE_NEWNS": 0x20000,
    "CLONE_SYSVSEM": 0x40000,
    "CLONE_SETTLS": 0x80000,
    "CLONE_PARENT_SETTID": 0x100000,
    "CLONE_CHILD_CLEARTID": 0x200000,
    "CLONE_UNTRACED": 0x800000,
    "CLONE_CHILD_SETTID": 0x1000000,
    "CLONE_NEWCGROUP": 0x2000000,
    "CLONE_NEWUTS": 0x4000000,
    "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
    "CLONE_IO": 0x80000000,
}
_PRCTL: Final = {22: "PR_SET_SECCOMP", 35: "PR_SET_MM"}
_PTRACE: Final = {0: "PTRACE_TRACEME", 16: "PTRACE_ATTACH", 0x4206: "PTRACE_SEIZE"}
_FCNTL: Final = {
    6: "F_SETLK",
    7: "F_SETLKW",
    37: "F_OFD_SETLK",
    38: "F_OFD_SETLKW",
    1024: "F_SETLEASE",
}
_SECCOMP: Final = {0: "SECCOMP_SET_MODE_STRICT", 1: "SECCOMP_SET_MODE_FILTER"}
_FAMILIES: Final = {int(family): family.name for family in socket.AddressFamily}
_TYPES: Final = {
    **{int(kind): kind.name for kind in socket.SocketKind},
    10: "SOCK_PACKET",
}
_TYPE_FLAGS: Final = {"SOCK_NONBLOCK": socket.SOCK_NONBLOCK, "SOCK_CLOEXEC": socket.SOCK_CLOEXEC}
_TYPE_MASK: Final = 0xF
_DECIMAL_MAX: Final = 255
_REQUESTS: Final = {
    getattr(termios, name): name for name in dir(termios) if name.startswith(("TIOC", "TCSET"))
}
_VALUES: Final[Mapping[tuple[str, str], Mapping[int, str]]] = {
    ("fcntl", "op"): _FCNTL,
    ("fcntl64", "op"): _FCNTL,
    ("ioctl", "op"): _REQUESTS,
    ("prctl", "op"): _PRCTL,
    ("ptrace", "op"): _PTRACE,
    ("seccomp", "operation"): _SECCOMP,
    ("socket", "family"): _FAMILIES,
    ("socketpair", "family"): _FAMILIES,
}


def known(call: str | None) -> set[int]:
    """Return the arguments of a call that are worth showing whatever a filter looks at."""
    return set(_NAMES.get(call or "", ()))


def name_of(call: str | None, index: int) -> str:
    """Return what an argument is called, by its manual page or else by its place."""
    return _NAMES.get(call or "", {}).get(index, f"arg{index}")


def text_of(call: str | None, index: int, value: int) -> str:
    """Return a value in the words of its header, or as a number.

    The kernel looks at the low 32 bits of all that is named here; other bits are shown.
    """
    call, name = call or "", name_of(call, index)
    low, high = value & 0xFFFFFFFF, value & ~0xFFFFFFFF
    if name == "nstype" or (name == "flags" and call in {"clone", "unshare"}):
        text = _flags(low, _CLONE)
    elif name == "type" and call in {"socket", "socketpair"}:
        kind = low & _TYPE_MASK
        parts = [_TYPES.get(kind, str(kind)), _flags(low & ~_TYPE_MASK, _TYPE_FLAGS)]
        text = "|".join(part for part in parts if part != "0")
    else:
        text = _VALUES.get((call, name), {}).get(low, "")
    if not text:
        return f"{value:#x}" if value > _DECIMAL_MAX else str(value)
    return f"{text}|{high:#x}" if high > 0 else text


def _flags(value: int, names: Mapping[str, int]) -> str:
    found = [name for name, bit in names.items() if value & bit]
    rest = value & ~sum(names[name] for name in found)
    return "|".join([*found, *([f"{rest:#x}"] if rest or not found else [])]) if value else "0"
