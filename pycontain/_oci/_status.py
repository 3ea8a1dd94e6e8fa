# SPDX-License-Identifier: Apache-2.0
"""The status of a container, computed from the kernel's view of it, and the state that is shown."""

from __future__ import annotations

import fcntl

from pycontain import _os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._state import Entry, Record

SOCKET = "start.sock"
"""In an entry: what a created container waits on."""


def process_start(pid: int) -> int | None:
    """Return when a process began (proc(5), field 22 of stat); None if it is none or dead."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(fd, 4096)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = data.rpartition(b")")[2].split()  # a name may hold anything
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def is_alive(record: Record) -> bool:
    """Tell whether a container's first process lives, and not another with its number."""
    return record.pid > 0 and process_start(record.pid) == record.pid_start


def status(entry: Entry, record: Record) -> str:
    """Return `creating`, `created`, `running`, `paused` or `stopped`."""
    if not record.pid:
        return "stopped" if _is_abandoned(entry) else "creating"
    if not is_alive(record):
        return "stopped"
    if _has(entry, SOCKET):
        return "created"
    return "paused" if _is_frozen(record) else "running"


def _is_abandoned(entry: Entry) -> bool:
    """Tell whether nobody is creating it: who does has its lock, perhaps through this entry."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=entry.fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _has(entry: Entry, name: str) -> bool:
    try:
        os.stat(name, dir_fd=entry.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_frozen(record: Record) -> bool:
    """Tell whether a container is paused, without importing what manages its groups."""
    paths = (record.cgroup or {}).get("paths", {})
    if "" in paths and "frozen 1" in _read(f"{paths['']}/cgroup.events").splitlines():
        return True
    freezer = paths.get("freezer")
    return bool(freezer) and _read(f"{freezer}/freezer.state").strip() in {"FROZEN", "FREEZING"}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:  # the group is gone
        return ""


def state(entry: Entry, record: Record | None = None) -> dict[str, Any]:
    """Return the specification's state of a container, with what runc adds to it."""
    record = record or entry.read()
    now = status(entry, record)
    return {
        "ociVersion": record.oci_version,
        "id": record.id,
        "status": now,
        "pid": 0 if now in {"stopped", "creating"} else record.pid,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": "",
        "annotations": dict(record.annotations),
    }
