# SPDX-License-Identifier: Apache-2.0
"""What a kernel, or a filter around us, may lack, and what takes its place: decided here, once.

Where the decision is Python's, others ask the functions below. Where it is the core's, it is made
at the call: the answer ENOSYS takes the other path. Either way there is a row, and the row names
what forces that path in the tests (tests/unit/test_fallbacks.py).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from . import _native
from ._native import Probe


class Fallback(NamedTuple):
    """Something that is not everywhere.

    Attributes:
        name: What may be missing; where `pycontain.host` probes it, by its name there.
        since: The first kernel that has it.
        instead: What is done without it.
        calls: The system calls whose ENOSYS takes the other path; none: something else does.
        forced_by: The lane (scripts/lanes.py) or the test file that takes it.
    """

    name: str
    since: tuple[int, int]
    instead: str
    calls: tuple[str, ...]
    forced_by: str


_MISSING_CALLS: Final = "tests/faults/test_missing_calls.py"
FALLBACKS: Final = (
    Fallback("clone3", (5, 3), "clone(2)", ("clone3",), "nosys"),
    Fallback(
        "new mount API",
        (5, 2),
        "mount(2) on the paths of descriptors",
        ("open_tree", "fsopen", "fsconfig", "fsmount", "move_mount"),
        "nosys",
    ),
    Fallback(
        "openat2",
        (5, 6),
        "names are walked one by one, and symbolic links refused",
        ("openat2",),
        "nosys",
    ),
    Fallback(
        "mount_setattr", (5, 12), "each mount is changed by itself", ("mount_setattr",), "nosys"
    ),
    Fallback(
        "idmapped mounts",
        (5, 12),
        "root's sandboxes see files as nobody's, and write to /tmp only",
        ("open_tree", "mount_setattr"),
        "tests/core/test_old_kernels.py",
    ),
    Fallback(
        "close_range",
        (5, 11),
        "descriptors are marked one by one",
        ("close_range",),
        _MISSING_CALLS,
    ),
    Fallback(
        "Landlock",
        (5, 19),
        "mounts, ids and seccomp alone; `enforcement` says so",
        ("landlock_create_ruleset",),
        _MISSING_CALLS,
    ),
    Fallback("Landlock's rights to TCP", (6, 7), "seccomp and namespaces alone", (), "vm-root"),
    Fallback("Landlock's scopes", (6, 12), "seccomp and namespaces alone", (), "vm-root"),
    Fallback(
        "session keyring",
        (2, 6),
        "without keys there are none to leak",
        ("keyctl",),
        _MISSING_CALLS,
    ),
    Fallback(
        "seccomp listener",
        (5, 0),
        "no audit; `enforcement` says so",
        (),
        "tests/sandbox/test_audit.py",
    ),
    Fallback(
        "own binfmt_misc",
        (6, 7),
        "the host's entry, if it was registered with the flag F",
        (),
        "tests/contract/test_emulation.py",
    ),
    Fallback(
        "cgroup.kill",
        (5, 14),
        "a group is frozen, and its processes are killed one by one",
        (),
        "tests/cgroup/test_tree.py",
    ),
    Fallback(
        "images mounted by an index",
        (6, 15),
        "root's layers are unpacked, as everybody's",
        (),
        "tests/image/test_forms.py",
    ),
    Fallback("memfd that says it is executable", (6, 3), "one that does not", (), "vm-root"),
)
INSTEAD: Final = {row.name: row.instead for row in FALLBACKS}
"""What is done without it, by name."""

_LEAST_LANDLOCK: Final = 2
_TCP_LANDLOCK: Final = 4
_SCOPES_LANDLOCK: Final = 6
_CONTINUES: Final = (5, 5, 0)
_OWN_BINFMT: Final = (6, 7, 0)


def shows_trees() -> bool:
    """Whether the parent makes copies of directory trees, which alone can be idmapped."""
    return all(map(_native.available, (Probe.OPEN_TREE, Probe.MOUNT_SETATTR)))


def follows_links() -> bool:
    """Whether PID 1 follows symbolic links below a root."""
    return _native.available(Probe.OPENAT2)


def uses_landlock(abi: int) -> bool:
    """Whether an ABI of Landlock is used; the first forbids every rename between directories."""
    return abi >= _LEAST_LANDLOCK


def bounds_tcp(abi: int) -> bool:
    """Whether an ABI of Landlock knows TCP."""
    return abi >= _TCP_LANDLOCK


def has_scopes(abi: int) -> bool:
    """Whether an ABI of Landlock bounds abstract sockets and signals."""
    return abi >= _SCOPES_LANDLOCK


def follows_calls(kernel: tuple[int, int, int]) -> bool:
    """Whether a kernel can go on with a call that a listener was asked about."""
    return kernel >= _CONTINUES


def has_own_binfmt(kernel: tuple[int, int, int]) -> bool:
    """Whether a user namespace can have a binfmt_misc of its own."""
    return kernel >= _OWN_BINFMT
