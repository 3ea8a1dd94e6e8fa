# SPDX-License-Identifier: Apache-2.0
"""The page that a test shares with all processes of a fault build (tests/tools/fault.h)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from typing import NamedTuple

from pycontain import _nsbind, _syscalls

ROLES = ("parent", "helper", "child", "init", "command")
FAIL, PAUSE, DIE = range(3)
CALLS_MAX, RULES_MAX = 8192, 4
MARK = b"pycontain faults"
NAMES = {number: name for name, number in _syscalls.table(os.uname().machine).numbers.items()}
# Which argument tells one use of a call from another.
TELLING = {"prctl": "a", "fcntl": "b", "ioctl": "b"}

# Called with a bad descriptor to see whether they exist (nsb_probe() in spawn.c).
PROBED = ("open_tree", "mount_setattr", "openat2", "move_mount", "pidfd_open")


class Rule(NamedTuple):
    """What becomes of the n-th call of a role, counted from 0."""

    role: str
    n: int
    action: int = FAIL
    err: int = 0

    def __str__(self) -> str:
        what = (errno.errorcode[self.err] if self.err else "", "pause", "die")[self.action]
        return f"{self.role}[{self.n}]: {what}"


class Call(NamedTuple):
    """A counted call."""

    role: str
    n: int
    name: str
    hit: bool

    @property
    def site(self) -> str:
        """What the call is for, as far as that can be told."""
        return f"{self.role} {self.name}"


class _Rule(ctypes.Structure):
    _fields_ = (
        ("role", ctypes.c_uint32),
        ("n", ctypes.c_uint32),
        ("action", ctypes.c_uint32),
        ("err", ctypes.c_int32),
    )


class _Call(ctypes.Structure):
    _fields_ = (
        ("role", ctypes.c_uint32),
        ("n", ctypes.c_uint32),
        ("number", ctypes.c_int64),
        ("a", ctypes.c_int64),
        ("b", ctypes.c_int64),
        ("hit", ctypes.c_uint32),
        ("spare", ctypes.c_uint32),
    )


class _Layout(ctypes.Structure):
    _fields_ = (
        ("mark", ctypes.c_char * 24),
        ("enabled", ctypes.c_uint32),
        ("parent_pid", ctypes.c_int32),
        ("paused", ctypes.c_uint32),
        ("released", ctypes.c_uint32),
        ("counts", ctypes.c_uint32 * len(ROLES)),
        ("n_rules", ctypes.c_uint32),
        ("rules", _Rule * RULES_MAX),
        ("n_calls", ctypes.c_uint32),
        ("spare", ctypes.c_uint32),
        ("calls", _Call * CALLS_MAX),
    )


class Page:
    """The one page of this process and its forks."""

    def __init__(self) -> None:
        fd = os.memfd_create("pycontain-faults", os.MFD_CLOEXEC)
        # Above the numbers that a new PID 1 overwrites.
        self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 900)
        os.close(fd)
        os.truncate(self.fd, ctypes.sizeof(_Layout))
        self._map = mmap.mmap(self.fd, ctypes.sizeof(_Layout))
        self._layout = _Layout.from_buffer(self._map)
        self._layout.mark = MARK
        ctypes.CDLL(_nsbind.__file__).nsb_fault_open(self.fd)

    def arm(self, *rules: Rule) -> None:
        """Count from now on, for this process as the parent."""
        page = self._layout
        page.enabled = 0
        page.parent_pid = os.getpid()
        page.counts = (ctypes.c_uint32 * len(ROLES))()
        page.n_calls = page.paused = page.released = 0
        page.n_rules = len(rules)
        for slot, rule in zip(page.rules, rules, strict=False):
            slot.role, slot.n = ROLES.index(rule.role), rule.n
            slot.action, slot.err = rule.action, rule.err
        page.enabled = 1

    def disarm(self) -> None:
        """Let every call be, and whoever stands at a PAUSE."""
        self._layout.enabled = 0
        self._layout.released = 1

    @property
    def paused(self) -> bool:
        """Whether a process stands at a PAUSE."""
        return bool(self._layout.paused)

    def calls(self) -> list[Call]:
        """Return what was called since `arm`."""
        found = []
        for call in self._layout.calls[: min(self._layout.n_calls, CALLS_MAX)]:
            name = NAMES.get(call.number, str(call.number))
            if name in TELLING:
                name += f":{getattr(call, TELLING[name]):x}"
            elif name in PROBED and call.a == -1:
                name += ":probe"
            found.append(Call(ROLES[call.role], call.n, name, bool(call.hit)))
        return found
