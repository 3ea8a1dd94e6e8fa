# SPDX-License-Identifier: Apache-2.0
"""What was found out about this host: the kernel, ids, file systems, a whole sandbox."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import _cgroup, _fallbacks, _host, _native, _ranges, _remedies
from ._capabilities import NUMBERS
from ._cause import BlockedBy, Cause
from ._host import Facts, Performed, Primitive
from ._host._primitives import Script
from ._identity import can_map_range, identity, keeps_privileges, subids
from ._image._store._home import default_path
from .errors import ProgramNotFoundError, PycontainError, SpawnError
from .sandbox import Sandbox

if TYPE_CHECKING:
    from .enforcement import Control

_USER: Final = 1000
_EROFS: Final = "EROFS from a file"
_EROFS_PURPOSE: Final = "layers that are not unpacked, for root"
_LIMITS: Final = {"memory": "64M", "pids": 64, "cpus": 1}
_GROUPS: Final = {
    "memory": "memory=, the verdict oom",
    "pids": "pids=",
    "cpus": "cpus=",
    "tracking": "usage of all descendants",
    "kill": "the end of a command's processes at once",
    "freeze": "pause()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a host grants or not.

    Attributes:
        name: What it is called.
        ok: It works: it has been done.
        needed: The default sandbox cannot do without.
        purpose: What needs it.
        detail: What was seen, such as a version or the kind of ids.
        errno: With which error number it failed; 0: it did not, or no call was refused.
        call: The call that failed, and what the kernel said.
        instead: What is done without it; empty: what needs it fails.
        cause: Who stands in the way, by which evidence, and what to do; None: it works.
    """

    name: str
    ok: bool
    purpose: str
    needed: bool = False
    detail: str = ""
    errno: int = 0
    call: str = ""
    instead: str = ""
    cause: Cause | None = None

    @property
    def blocked_by(self) -> BlockedBy | None:
        """Who stands in the way; None: it works."""
        return None if self.cause is None else self.cause.blocked_by

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return "" if self.cause is None else self.cause.remedy

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.name}: {self.detail or 'works' if self.cause is None else self.cause}"


def kernel() -> Iterator[Finding]:
    """Yield what the kernel grants, in the order in which a start asks for it."""
    return map(_of_primitive, _host.perform())


def _of_primitive(done: Performed) -> Finding:
    primitive = done.primitive
    return Finding(
        name=primitive.name,
        ok=done.ok,
        needed=primitive.needed,
        purpose=primitive.purpose,
        detail=_detail(done) if done.ok else "",
        errno=done.errno,
        call=done.call,
        instead="" if done.ok else _fallbacks.INSTEAD.get(primitive.name, ""),
        cause=done.cause,
    )


def _detail(done: Performed) -> str:
    if done.primitive.name == "Landlock":  # the first call asked for it
        return f"ABI {done.results[0]}"
    return done.primitive.done


def ids() -> Finding:
    """Find out whether sandboxes have ids of their own: a user namespace with 64 Ki of them."""
    row: dict[str, Any] = {
        "name": "range of ids",
        "purpose": "other users inside, and images' files with their owners",
    }
    instead = "one id, the caller's own"
    own = identity if _maps_range() or subids() else None
    if own is None:
        return Finding(ok=False, cause=_no_range(), instead=instead, **row)
    try:
        found = own(_USER, _USER)
        found.lease(binds=False).release()
    except (PycontainError, OSError) as error:
        number = getattr(error, "errno", None) or 0
        cause = _host.cause_of_step("CLONE", number) or Cause(
            BlockedBy.CONFIGURATION, str(error), _subids_remedy()
        )
        call = f"a map of 65536 ids: {os.strerror(number)}"
        return Finding(ok=False, errno=number, call=call, cause=cause, instead=instead, **row)
    of = "ids that nobody else has" if found.mapping == "range" else "ids of /etc/subuid"
    return Finding(ok=True, detail=f"65536 {of}", **row)


def _maps_range() -> bool:
    with contextlib.suppress(OSError):  # there is no procfs
        return can_map_range()
    return False


def _no_range() -> Cause:
    if not os.path.exists("/proc/self/uid_map"):
        return _host.NO_PROCFS
    facts = Facts.gather()
    if facts.uid and keeps_privileges():
        why = "no_new_privs is set around this process, so newuidmap has no privileges"
        return Cause(BlockedBy.OUTER_CAPABILITIES, why, _remedies.NO_NEW_PRIVS)
    if facts.uid:
        why = "no range of 65536 ids in /etc/subuid and /etc/subgid, or no newuidmap and newgidmap"
        return Cause(BlockedBy.CONFIGURATION, why, _subids_remedy())
    needed = ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_ADMIN")
    missing = " ".join(name for name in needed if not facts.has(NUMBERS[name]))
    if missing:
        remedy = _remedies.capabilities(facts.container, missing)
        return Cause(BlockedBy.OUTER_CAPABILITIES, f"this root lacks {missing}", remedy)
    return Cause(
        BlockedBy.OUTER_NAMESPACE,
        f"the user namespace around this process does not have the ids from {_ranges.FIRST} on "
        "(/proc/self/uid_map)",
        "start this process outside of it, or give that namespace more ids",
    )


def _subids_remedy() -> str:
    first = 100_000 + 65536 * (os.geteuid() % 30_000)
    return _remedies.SUBIDS.format(first=first, last=first + 65535, name=os.geteuid())


def idmapped() -> Iterator[Finding]:
    """Yield whether root shows files through idmapped mounts: of the root, and of the store."""
    if not _maps_range():
        return
    paths = dict.fromkeys(("/", _existing(default_path())))
    with contextlib.suppress(PycontainError, OSError):  # `ids` says why there is none
        lease = identity(_USER, _USER).lease(binds=False)
        try:
            for path in paths:
                problem = _native.can_idmap(path, lease.userns_fd)
                yield _idmap(path, problem)
        finally:
            lease.release()


def _idmap(path: str, problem: int) -> Finding:
    row: dict[str, Any] = {
        "name": "idmapped mounts" if path == "/" else f"idmapped mounts of {path}",
        "purpose": "images, and writable roots, of root",
    }
    if not problem:
        return Finding(ok=True, **row)
    blocked = {errno.ENOSYS: BlockedBy.KERNEL_VERSION, errno.EPERM: BlockedBy.OUTER_CAPABILITIES}
    by = blocked.get(problem, BlockedBy.CONFIGURATION)
    why = os.strerror(problem)
    if problem == errno.EINVAL:
        why = "this kernel does not idmap mounts of its file system"
    return Finding(
        ok=False,
        errno=problem,
        call=f"mount_setattr of {path}: {os.strerror(problem)}",
        instead=_fallbacks.INSTEAD["idmapped mounts"],
        cause=Cause(by, f"{path}: {why}", _remedies.IDMAP),
        **row,
    )


def _existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def erofs() -> Iterator[Finding]:
    """Yield whether root mounts an EROFS image that is a file where the store is (Linux 6.12)."""
    if not _maps_range():
        return
    directory = _existing(default_path())
    try:
        file = tempfile.NamedTemporaryFile(prefix="pycontain-probe-", dir=directory)  # noqa: SIM115
    except OSError as error:
        yield _no_file(directory, error)
        return
    with file:
        file.write(_empty_erofs())
        file.flush()
        yield from map(_of_primitive, _host.perform([_mounting(file.name)]))


def _mounting(path: str) -> Primitive:
    def write(script: Script) -> None:
        script.do("unshare", 0x20000)  # CLONE_NEWNS
        context = script.do("fsopen", "erofs", 1)
        script.do("fsconfig", context, 1, "source", path, 0)  # FSCONFIG_SET_STRING
        script.do("fsconfig", context, 6, 0, 0, 0)  # FSCONFIG_CMD_CREATE
        script.do("fsmount", context, 1, 0)

    return Primitive(
        name=_EROFS,
        purpose=_EROFS_PURPOSE,
        write=write,
        needed=False,
        since=(6, 12),
        option="EROFS_FS_BACKED_BY_FILE",
    )


def _no_file(directory: str, error: OSError) -> Finding:
    why = f"no file can be made in {directory}: {error.strerror}"
    remedy = "name another place for the store in PYCONTAIN_STORE"
    return Finding(
        name=_EROFS,
        ok=False,
        purpose=_EROFS_PURPOSE,
        errno=error.errno or 0,
        call=f"openat of {directory}: {error.strerror}",
        cause=Cause(BlockedBy.CONFIGURATION, why, remedy),
    )


def _empty_erofs() -> bytes:
    """Return an image of an empty directory (fs/erofs/erofs_fs.h)."""
    superblock = struct.pack("<3I2BH2Q4I", 0xE0F5E1E2, 0, 0, 12, 0, 36, 1, 0, 0, 1, 0, 0)
    inode = struct.pack("<4H4I2HI", 2 << 1, 0, 0o40755, 2, 27, 0, 0, 1, 0, 0, 0)
    dots = struct.pack("<QH2BQH2B", 36, 24, 2, 0, 36, 25, 2, 0) + b"..."
    image = bytes(1024) + superblock.ljust(128, b"\0") + inode + dots
    return image.ljust(4096, b"\0")


def sandbox() -> Iterator[Finding]:
    """Yield whether a sandbox starts, with limits where groups can be had, and each of the limits.

    A limit is in force if the kernel has taken it: the sandbox's own control groups are made.
    """
    try:
        with Sandbox(accept_missing=tuple(_LIMITS), **_LIMITS) as made:  # type: ignore[arg-type]
            with contextlib.suppress(ProgramNotFoundError):
                made.run(["true"])
            controls = made.enforcement
    except PycontainError as error:
        yield _no_sandbox(error)
        return
    yield Finding(name="a sandbox", ok=True, needed=True, purpose="all", detail="started and ended")
    places = _cgroup.find(_cgroup.detect(), frozenset(("cpuset", "io")))
    yield _groups(places)
    for name, purpose in _GROUPS.items():
        yield _of_control(name, purpose, controls[name])
    for name in ("cpuset", "io"):
        control = places.missing.get(name)
        cause = control and Cause(BlockedBy.CGROUPS, control.why, control.remedy)
        yield Finding(name=f"limit {name}", ok=not cause, purpose=f"{name}=", cause=cause or None)


def _groups(places: _cgroup.Places) -> Finding:
    """Tell which hierarchies there are, and where groups are made."""
    mode = _cgroup.detect().mode
    where = ", ".join(filter(None, (places.v2, *places.v1)))
    missing = places.missing.get("tracking") or next(iter(places.missing.values()), None)
    cause = None
    if not where:
        cause = Cause(
            BlockedBy.CGROUPS,
            missing.why if missing else "no hierarchy is mounted",
            missing.remedy if missing else "mount cgroup2 on /sys/fs/cgroup",
        )
    return Finding(
        name="control groups",
        ok=cause is None,
        purpose="limits and usage",
        detail=f"{mode}: in {where}" if where else mode,
        cause=cause,
    )


def _of_control(name: str, purpose: str, control: Control) -> Finding:
    cause = None if control.in_force else Cause(BlockedBy.CGROUPS, control.why, control.remedy)
    title = f"limit {name}" if name in _LIMITS else f"group {name}"
    return Finding(name=title, ok=control.in_force, purpose=purpose, detail=control.by, cause=cause)


def _no_sandbox(error: PycontainError) -> Finding:
    number = getattr(error, "errno", None) or 0
    step = error.step if isinstance(error, SpawnError) else ""
    hint = getattr(error, "hint", None) or "see the findings above"
    cause = getattr(error, "cause", None) or Cause(BlockedBy.UNKNOWN, str(error), hint)
    return Finding(
        name="a sandbox", ok=False, needed=True, purpose="all", errno=number, call=step, cause=cause
    )
