# SPDX-License-Identifier: Apache-2.0
"""The default profile as a program of ours and of libseccomp's, and calls to try them with."""

from __future__ import annotations

import contextlib
import errno
import itertools
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

import _bpf
import _libseccomp
from pycontain import _seccomp, _syscalls, profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycontain._seccomp import Arg, Filter

NONE = "no filter"
OURS = "pycontain"
WORD = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that does no more than it must, and its first argument."""

    name: str
    argument: int = 0

    @property
    def number(self) -> int:
        """The call's number on this machine."""
        return _syscalls.table(platform.machine()).numbers[self.name]


# How much of a program the kernel has to run for one (since Linux 5.11 none where the number alone
# allows it: seccomp_cache_check_allow in kernel/seccomp.c).
CALLS = {
    "number": Call("getppid"),
    "argument": Call("personality", WORD),  # only asks
    "refused": Call("bpf", -1),  # is no command of it
}


def programs() -> dict[str, bytes]:
    """Return the BPF programs by what made them; none is empty but NONE's."""
    filter_ = profile.get("default").seccomp
    return {
        NONE: b"",
        OURS: _seccomp.compile(filter_, platform.machine()),
        "libseccomp": _theirs(filter_, as_tree=False),
        "libseccomp, as a tree": _theirs(filter_, as_tree=True),
    }


def instructions(program: bytes, call: Call) -> int:
    """Return how many instructions of a program one call takes without the kernel's cache."""
    if not program:
        return 0
    arguments = (call.argument, 0, 0, 0, 0, 0)
    arch = _bpf.NATIVE[platform.machine()]
    return _bpf.steps(_bpf.parse(program), arch, call.number, arguments)[1]


def _theirs(filter_: Filter, *, as_tree: bool) -> bytes:
    """Return the same rules as a program of libseccomp's.

    It takes no rule with the action of the default, which therefore is another error here. Of rules
    that overlap, of which the first decides with us, it refuses some and drops others: its program
    has that much less to do.
    """
    arch, default = _bpf.NATIVE[platform.machine()], _seccomp.deny(errno.EACCES)
    oracle = _libseccomp.Oracle(_libseccomp.load(), default.code, arch, filter_.foreign.code)
    with contextlib.closing(oracle):
        if as_tree:
            oracle.search_by_tree()
        for rule in filter_.rules:
            for conditions in itertools.product(*map(_alternatives, rule.args)):
                for name in filter(oracle.knows, rule.names):
                    with contextlib.suppress(FileExistsError):
                        oracle.add(rule.action.code, name, conditions)
        return oracle.program()


def _alternatives(arg: Arg) -> Iterator[_libseccomp.Condition]:
    """Yield the conditions of which one must hold, on the low word, which an int argument is."""
    for value in arg.values:
        if arg.op == "!=":
            yield arg.index, "!=", value, 0
        else:
            yield arg.index, "&==", WORD if arg.mask is None else arg.mask, value
