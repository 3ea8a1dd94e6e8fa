# SPDX-License-Identifier: Apache-2.0
"""Find the cgroup hierarchies: which are mounted where, and which group the caller is in.

Sources: cgroups(7), proc_pid_mountinfo(5), Documentation/admin-guide/cgroup-v2.rst. Parsing is pure
(`discover`); only `detect` reads /proc.
"""

from __future__ import annotations

from pycontain import _os as os
from pycontain._record import NamedTuple

from . import _files


class Hierarchy(NamedTuple):
    """One mounted hierarchy.

    Attributes:
        version: 1 or 2.
        controllers: What a v1 hierarchy carries; empty on v2, where it differs from group to group.
        mount: The mount point.
        own: The caller's group as a directory below `mount`; None where the mount hides it.
        read_only: The mount refuses writes, as in an unprivileged container.
        options: The super block's options (`nsdelegate`, ...).
    """

    version: int
    controllers: frozenset[str]
    mount: str
    own: str | None
    read_only: bool
    options: frozenset[str]


class Host(NamedTuple):
    """The hierarchies that this process can see.

    Attributes:
        v2: Version 2.
        v1: Those of version 1 with a controller.
        named: Those without (`name=systemd`), which have neither limits nor counters.
    """

    v2: Hierarchy | None
    v1: tuple[Hierarchy, ...]
    named: tuple[Hierarchy, ...] = ()

    def v1_of(self, controller: str) -> Hierarchy | None:
        """Return the v1 hierarchy that has taken `controller`, if one has."""
        return next((h for h in self.v1 if controller in h.controllers), None)

    @property
    def mode(self) -> str:
        """`v2`, `hybrid`, `v1` or `none`: what the limits are made with."""
        if self.v2 is None:
            return "v1" if self.v1 else "none"
        return "hybrid" if self.v1 else "v2"


class _Mount(NamedTuple):
    version: int
    root: str
    point: str
    read_only: bool
    options: frozenset[str]


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    import re  # noqa: PLC0415 - slow to import, and few mount points need it

    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _parse_mounts(mountinfo: str) -> list[_Mount]:
    """Return the cgroup mounts; a later mount on the same point hides an earlier one."""
    visible: dict[str, _Mount | None] = {}
    for line in mountinfo.split("\n"):
        head, separator, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")
        if not separator or len(fields) < 6 or len(kind) < 3:
            continue
        point = _unescape(fields[4])
        if kind[0] not in ("cgroup", "cgroup2"):
            visible.pop(point, None)
            continue
        options = frozenset(kind[2].split(","))
        read_only = "ro" in fields[5].split(",") or "ro" in options
        version = 2 if kind[0] == "cgroup2" else 1
        visible[point] = _Mount(version, _unescape(fields[3]), point, read_only, options)
    return [mount for mount in visible.values() if mount is not None]


def _own_directory(mount: _Mount, path: str) -> str | None:
    """Translate a group's path in /proc/self/cgroup into a directory of a mount.

    The mount may show only a part of the hierarchy (its root, as in a container without a cgroup
    namespace), and both may lie above the namespace's root (`/..`).
    """
    root = mount.root.rstrip("/")
    if path != root and not path.startswith(root + "/"):
        return None
    inner = path[len(root) :].strip("/")
    if ".." in inner.split("/"):
        return None
    return f"{mount.point}/{inner}" if inner else mount.point


def _select(mounts: list[_Mount], path: str) -> tuple[_Mount, str | None] | None:
    """Choose among the mounts of one hierarchy: one that shows our group and accepts writes."""
    if not mounts:
        return None
    pairs = [(mount, _own_directory(mount, path)) for mount in mounts]
    return min(pairs, key=lambda pair: (pair[1] is None, pair[0].read_only, len(pair[0].root)))


def discover(mountinfo: str, self_cgroup: str) -> Host:
    """Build the view of the host from the texts of /proc/self/mountinfo and /proc/self/cgroup."""
    mounts = _parse_mounts(mountinfo)
    v2: Hierarchy | None = None
    v1: list[Hierarchy] = []
    for line in self_cgroup.split("\n"):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        path = path.removesuffix(" (deleted)")
        if number == "0" and not names:
            chosen = _select([m for m in mounts if m.version == 2], path)
            controllers: frozenset[str] = frozenset()
        else:
            controllers = frozenset(name for name in names.split(",") if name)
            chosen = _select(
                [m for m in mounts if m.version == 1 and controllers <= m.options], path
            )
        if chosen is None or (number != "0" and not controllers):
            continue
        mount, own = chosen
        about = (mount.version, controllers, mount.point, own, mount.read_only, mount.options)
        hierarchy = Hierarchy(*about)
        if mount.version == 2:
            v2 = hierarchy
        else:
            v1.append(hierarchy)
    named = tuple(h for h in v1 if any(name.startswith("name=") for name in h.controllers))
    return Host(v2=v2, v1=tuple(h for h in v1 if h not in named), named=named)


def outside_ancestor(hierarchy: Hierarchy, path: str) -> str | None:
    """Return the cgroup.procs that keeps us from cloning into `path`, if one does.

    Processes may only be put below a common ancestor whose cgroup.procs is writable (cgroup-v2.rst,
    "Delegation Containment").
    """
    if hierarchy.own is None:
        return None
    procs = f"{os.path.commonpath([hierarchy.own, path])}/cgroup.procs"
    return None if _files.writable(procs) else procs


_detected: Host | None = None


def detect(*, refresh: bool = False) -> Host:
    """Return this process's view of the hierarchies, read once.

    Args:
        refresh: Read again, after the process was moved or mounts changed.
    """
    global _detected  # noqa: PLW0603 - two threads at worst read the same immutable value
    host = _detected
    if host is None or refresh:
        # A kernel built without cgroups has no /proc/self/cgroup.
        texts = [_files.read_optional(f"/proc/self/{name}") for name in ("mountinfo", "cgroup")]
        host = _detected = discover(texts[0] or "", texts[1] or "")
    return host
