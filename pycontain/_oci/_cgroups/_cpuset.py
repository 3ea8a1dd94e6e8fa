# SPDX-License-Identifier: Apache-2.0
"""Processors and memory nodes: cpuset(7); cgroup-v2.rst, "Cpuset"."""

from __future__ import annotations

from pycontain._cgroup import _files

from ._write import Setting, put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain._cgroup._dir import Dir
    from pycontain._oci._spec import Resources

FILES = ("cpuset.cpus", "cpuset.mems")


def asked(resources: Resources) -> str:
    """Return the first field that needs the controller, "" if none does."""
    cpu = resources.cpu
    return "cpu.cpus" if cpu.cpus else "cpu.mems" if cpu.mems else ""


def apply(resources: Resources, group: Dir) -> None:
    """Write what is given. Raises UnsupportedError."""
    for file, text, field in zip(
        FILES, (resources.cpu.cpus, resources.cpu.mems), ("cpus", "mems"), strict=True
    ):
        if text:
            put(group, Setting(file, text, f"cpu.{field}"))


def inherit(parent: str, path: str) -> None:
    """Give a v1 cpuset what it lacks of its parent's: an empty one takes no task (cpuset(7)).

    Raises:
        OSError: Refused by the kernel.
    """
    for file in FILES:
        if not _files.read(f"{path}/{file}").strip():
            _files.write(f"{path}/{file}", _files.read(f"{parent}/{file}"))
