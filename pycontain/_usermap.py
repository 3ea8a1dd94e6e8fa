# SPDX-License-Identifier: Apache-2.0
"""Giving a user namespace its maps (user_namespaces(7)), as far as the caller is allowed to."""

from __future__ import annotations

import errno

from . import _os as os
from .errors import UnsupportedError

_STATUS_SIZE = 65536
CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN = 6, 7, 21


def write_maps(pid: int, uid_map: str, gid_map: str) -> None:
    """Give the user namespace of a process its maps. Raises OSError."""
    for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
        _write(f"/proc/{pid}/{name}", text)


def write_own(pid: int, uid_map: str, gid_map: str) -> None:
    """Map one's own id alone, which takes no privileges. Raises OSError."""
    _write(f"/proc/{pid}/setgroups", "deny")
    write_maps(pid, uid_map, gid_map)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())  # the kernel takes a map in one call
    finally:
        os.close(fd)


def call_map_helpers(pid: int, uid_map: str, gid_map: str) -> None:
    """Let newuidmap(1) and newgidmap(1), which know what /etc/subuid grants, write the maps."""
    import subprocess  # noqa: PLC0415 - slow to import

    for program, fields in (("newuidmap", uid_map), ("newgidmap", gid_map)):
        done = subprocess.run(
            [program, str(pid), *fields.split()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip()
            raise UnsupportedError(errno.EPERM, f"{program} refused the map: {message}")


def own_status(name: str) -> int:
    """Return a field of this thread's status that is a hexadecimal number, 0 if there is none."""
    fd = os.open("/proc/thread-self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, _STATUS_SIZE)  # the kernel gives it whole in one read
    finally:
        os.close(fd)
    _, found, rest = text.partition(f"\n{name}:".encode())
    return int(rest.partition(b"\n")[0], 16) if found else 0


def can_map() -> bool:
    """Whether the caller may map any id of its own user namespace."""
    needed = 1 << CAP_SETUID | 1 << CAP_SETGID | 1 << CAP_SYS_ADMIN
    return own_status("CapEff") & needed == needed
