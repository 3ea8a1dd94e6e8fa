# SPDX-License-Identifier: Apache-2.0
"""Processors for one sandbox alone: who holds which, and how the kernel is told.

v2 (Linux 6.7): a remote partition, which takes the processors from everything else. v1: an
exclusive cpuset, which keeps only the cpusets beside it off; processes of the group above, such as
the root group, may still be scheduled there. Sources: cgroup-v2.rst, "Cpuset Interface Files";
cgroup-v1/cpusets.rst, 1.4.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING

from pycontain.enforcement import Control
from pycontain.errors import UnsupportedError

from . import _files, _remove, _state
from ._cpus import format_cpuset, parse_cpuset
from ._sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHARED = {1: "cpuset.cpus", 2: "cpuset.cpus.exclusive"}
"""The file of an owner's directory that has what its sandboxes hold."""


class Exclusive:
    """The processors that the sandboxes of one owner hold. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, dict[str, frozenset[int]]] = {}

    def claim(self, group: str, cpus: frozenset[int]) -> Control:
        """Give processors to a sandbox's group instead of what it held, and tell what that means.

        Args:
            group: A directory below the owner's, in the hierarchy with the cpuset controller.
            cpus: No other cpuset may hold them.

        Raises:
            UnsupportedError: Another sandbox or group holds one, or the kernel cannot do it.
        """
        parent, name = os.path.split(group)
        version = 2 if _remove.is_v2(group) else 1
        with self._lock:
            held = self._held.setdefault(parent, {})
            for other, theirs in held.items():
                if other != name and (both := theirs & cpus):
                    raise _taken(both, f"the sandbox {other} of this process ({parent}/{other})")
            before = frozenset[int]().union(*held.values())
            try:
                control = _take(group, before, cpus, version)
            except OSError:
                if not sweep().directories:  # of a dead process, which may have had them
                    raise
                control = _take(group, before, cpus, version)
            held[name] = cpus
            self._shrink(parent, version)
            return control

    def release(self, group: str) -> None:
        """Let go of what a group held that has been removed; nothing if it held nothing."""
        parent, name = os.path.split(group)
        with self._lock:
            if self._held.get(parent, {}).pop(name, None) is not None:
                self._shrink(parent, 2 if _remove.is_v2(parent) else 1)

    def _shrink(self, parent: str, version: int) -> None:
        with contextlib.suppress(OSError):  # the owner's directory may be gone
            _share(parent, frozenset[int]().union(*self._held[parent].values()), version)


def _take(group: str, before: frozenset[int], cpus: frozenset[int], version: int) -> Control:
    """Write what the owner's directory and the sandbox's have to have, or nothing of it."""
    parent = os.path.dirname(group)
    try:
        _share(parent, before | cpus, version)
        return _CLAIMS[version](group, cpus)
    except OSError as error:
        with contextlib.suppress(OSError):
            _share(parent, before, version)
        if isinstance(error, UnsupportedError):
            raise
        raise _refused(parent, cpus, version, error) from error


def _share(parent: str, cpus: frozenset[int], version: int) -> None:
    """Let an owner's directory have what its sandboxes hold together."""
    if version == 1 and not cpus:
        _files.write(f"{parent}/cpuset.cpu_exclusive", "0")
    _files.write(f"{parent}/{_SHARED[version]}", format_cpuset(cpus) or "\n")
    if version == 1 and cpus:
        _files.write(f"{parent}/cpuset.cpu_exclusive", "1")


def _claim_v1(group: str, cpus: frozenset[int]) -> Control:
    _files.write(f"{group}/cpuset.mems", _files.read(f"{os.path.dirname(group)}/cpuset.mems"))
    _files.write(f"{group}/cpuset.cpus", format_cpuset(cpus))
    _files.write(f"{group}/cpuset.cpu_exclusive", "1")
    return Control(
        in_force=True,
        by="cgroup v1 cpuset.cpu_exclusive: no cpuset beside it has these processors; processes of "
        "the group above may still run there",
    )


def _claim_v2(group: str, cpus: frozenset[int]) -> Control:
    for file in ("cpuset.cpus.exclusive", "cpuset.cpus"):
        _files.write(f"{group}/{file}", format_cpuset(cpus))
    _files.write(f"{group}/cpuset.cpus.partition", "root")
    state = _files.read(f"{group}/cpuset.cpus.partition").strip()
    if state != "root":
        raise UnsupportedError(
            errno.EBUSY,
            f"cpuset_exclusive: the kernel makes no partition of the CPUs {format_cpuset(cpus)}: "
            f"{state}: one must be left to everybody else, and each group above must have them in "
            "cpuset.cpus.exclusive",
            f"{group}/cpuset.cpus.partition",
        )
    return Control(
        in_force=True,
        by="cgroup v2 cpuset.cpus.partition: nothing else is scheduled on these processors",
    )


_CLAIMS = {1: _claim_v1, 2: _claim_v2}


def _taken(cpus: frozenset[int], holder: str) -> UnsupportedError:
    text = f"cpuset_exclusive: CPU {format_cpuset(cpus)} is held by {holder}: choose another"
    return UnsupportedError(errno.EBUSY, text)


def _refused(parent: str, cpus: frozenset[int], version: int, error: OSError) -> UnsupportedError:
    """Say who is in the way of what the kernel refused, or what is missing."""
    for both, holder in _others(parent, cpus, version):
        return _taken(both, holder)
    remedy = "the group above must have these CPUs, and have them for itself"
    if error.errno == errno.ENOENT:
        remedy = "exclusive processors need Linux 6.7 on cgroup v2: use plain cpuset="
    text = f"cgroup v{version} cpuset: {error.strerror}: {remedy}"
    return UnsupportedError(error.errno, text, error.filename)


def _others(
    parent: str, cpus: frozenset[int], version: int
) -> Iterator[tuple[frozenset[int], str]]:
    """Yield the groups beside an owner's that have some of these processors."""
    for path in _remove.children(os.path.dirname(parent)):
        text = (_files.read_optional(f"{path}/{_SHARED[version]}") or "").strip()
        if path != parent and text and (both := parse_cpuset(text) & cpus):
            found = _state.NAME.fullmatch(os.path.basename(path))
            yield both, f"process {found[3]} ({path})" if found else f"the group {path}"
