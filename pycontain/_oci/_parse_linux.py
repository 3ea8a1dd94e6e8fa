# SPDX-License-Identifier: Apache-2.0
"""The `linux` object of a configuration, except for its resources."""

from __future__ import annotations

from ._fields import INT64, UINT32, shown
from ._parse_resources import read_resources
from ._spec import Device, IDMapping, Linux, Namespace, TimeOffset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._fields import Fields

NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
"""The types of namespaces, as the specification names them."""
PROPAGATIONS = (
    *("private", "shared", "slave", "unbindable"),
    *("rprivate", "rshared", "rslave", "runbindable"),
)
"""The words for the propagation of a root."""
_CLOCKS = ("monotonic", "boottime")
_DEVICES = ("c", "u", "b", "p")
_EXTENTS = 340  # user_namespaces(7)
_FILE_TYPE = 0o170000
_NAME = 15  # IFNAMSIZ without its NUL


def read_linux(linux: Fields) -> Linux:
    """Return what config-linux.md has. Raises ConfigError."""
    if linux.has("memoryPolicy"):
        raise linux.wrong("memoryPolicy", "not supported; leave it out or use cpu.mems")
    return Linux(
        namespaces=_namespaces(linux),
        uid_mappings=read_mappings(linux, "uidMappings"),
        gid_mappings=read_mappings(linux, "gidMappings"),
        time_offsets=_time_offsets(linux),
        devices=tuple(_device(row) for row in linux.objects("devices")),
        net_devices=_net_devices(linux),
        cgroups_path=linux.text("cgroupsPath"),
        resources=read_resources(linux.inside("resources")),
        rootfs_propagation=linux.choice("rootfsPropagation", PROPAGATIONS),
        masked_paths=linux.paths("maskedPaths"),
        readonly_paths=linux.paths("readonlyPaths"),
        mount_label=_mount_label(linux),
        seccomp=_seccomp(linux),
        sysctl=_sysctl(linux),
        intel_rdt=_intel_rdt(linux),
        personality=_personality(linux),
    )


def _namespaces(linux: Fields) -> tuple[Namespace, ...]:
    found: dict[str, Namespace] = {}
    for row in linux.objects("namespaces"):
        kind = row.choice("type", NAMESPACES)
        if not kind:
            raise row.wrong("type", "is required")
        if kind in found:
            raise row.wrong("type", f"the {kind} namespace stands twice")
        found[kind] = Namespace(type=kind, path=row.absolute("path"))
    return tuple(found.values())


def read_mappings(owner: Fields, name: str) -> tuple[IDMapping, ...]:
    """Return rows of a uid_map or gid_map. Raises ConfigError."""
    rows: list[IDMapping] = []
    for row in owner.objects(name):
        found = IDMapping(
            container_id=row.number("containerID", 0, UINT32, 0),
            host_id=row.number("hostID", 0, UINT32, 0),
            size=row.number("size", 1, UINT32),
        )
        for field, first in (("containerID", found.container_id), ("hostID", found.host_id)):
            if first + found.size > UINT32:
                raise row.wrong(field, f"{first} and {found.size} ids behind it exceed 32 bits")
        for other in rows:
            if _overlap(found.container_id, found.size, other.container_id, other.size):
                raise row.wrong("containerID", "ids that are mapped already")
            if _overlap(found.host_id, found.size, other.host_id, other.size):
                raise row.wrong("hostID", "ids that are mapped already")
        rows.append(found)
        if len(rows) > _EXTENTS:
            raise owner.wrong(name, f"the kernel takes at most {_EXTENTS} rows")
    return tuple(rows)


def _overlap(first: int, size: int, other: int, other_size: int) -> bool:
    return first < other + other_size and other < first + size


def _time_offsets(linux: Fields) -> dict[str, TimeOffset]:
    found = {}
    for clock, row in linux.members("timeOffsets"):
        if clock not in _CLOCKS:
            raise linux.wrong("timeOffsets", f"{shown(clock)} is not one of {', '.join(_CLOCKS)}")
        found[clock] = TimeOffset(
            secs=row.number("secs", -INT64 - 1, INT64, 0),
            nanosecs=row.number("nanosecs", 0, 999_999_999, 0),
        )
    return found


def _device(row: Fields) -> Device:
    path = row.needed("path")
    if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise row.wrong("path", f"{shown(path)} is not an absolute path of a file")
    kind = row.choice("type", _DEVICES)
    if not kind:
        raise row.wrong("type", "is required")
    mode = row.integer("fileMode", 0, UINT32)
    if mode is not None and mode & ~(_FILE_TYPE | 0o7777):
        raise row.wrong("fileMode", f"{mode} is no mode of a file")
    least = 0 if kind == "p" else None
    return Device(
        path=path,
        type=kind,
        major=row.number("major", 0, (1 << 12) - 1, least),
        minor=row.number("minor", 0, (1 << 20) - 1, least),
        file_mode=None if mode is None else mode & 0o7777,
        uid=row.integer("uid", 0, UINT32 - 1),
        gid=row.integer("gid", 0, UINT32 - 1),
    )


def _net_devices(linux: Fields) -> dict[str, str]:
    found: dict[str, str] = {}
    for host, row in linux.members("netDevices"):
        inside = row.text("name") or host
        for name in (host, inside):
            bad = any(letter in "/:" or letter.isspace() for letter in name)
            if bad or name in {"", ".", ".."} or len(name.encode()) > _NAME:
                raise linux.wrong("netDevices", f"{shown(name)} is no name of a network device")
        if inside in found.values():
            raise row.wrong("name", f"{inside!r} stands twice")
        found[host] = inside
    return found


def _seccomp(linux: Fields) -> Mapping[str, Any] | None:
    seccomp = linux.object("seccomp")
    if seccomp is None:
        return None
    seccomp.absolute("listenerPath")
    seccomp.text("listenerMetadata")
    return seccomp.values


def _mount_label(linux: Fields) -> str:
    label = linux.text("mountLabel")
    if '"' in label or not label.isprintable():  # it stands in quotes among options of mounts
        raise linux.wrong("mountLabel", f"{shown(label)} is no label")
    return label


def _sysctl(linux: Fields) -> dict[str, str]:
    """Return the sysctls by their names with dots. Which may be set: `_check`."""
    found: dict[str, str] = {}
    for given, value in linux.text_map("sysctl").items():
        name = _dotted(given)
        words = name.split(".")
        if len(words) < 2 or not all(_is_word(word.replace("/", "")) for word in words):
            raise linux.wrong("sysctl", f"{shown(given)} is no name of a sysctl")
        if name in found:
            raise linux.wrong("sysctl", f"{shown(given)} stands twice")
        if "+" in value or not value.replace("\t", " ").isprintable():
            raise linux.wrong(f"sysctl.{given}", f"{shown(value)} is no value of a sysctl")
        found[name] = value
    return found


def _dotted(name: str) -> str:
    """Return a name in the form with dots, as sysctl(8) reads it: the first separator decides."""
    if name.find("/") > -1 and (name.find(".") == -1 or name.find("/") < name.find(".")):
        return name.translate({ord("/"): ".", ord("."): "/"})
    return name


def _is_word(text: str) -> bool:
    return text.isascii() and bool(text) and text.replace("_", "").replace("-", "").isalnum()


def _intel_rdt(linux: Fields) -> Mapping[str, Any] | None:
    rdt = linux.object("intelRdt")
    if rdt is None:
        return None
    group = rdt.text("closID")
    if group != "/" and (group in {".", ".."} or "/" in group or "\n" in group):
        raise rdt.wrong("closID", f"{shown(group)} is no name of a directory")
    for name in ("l3CacheSchema", "memBwSchema"):
        rdt.text(name)
    rdt.texts("schemata")
    for name in ("enableCMT", "enableMBM", "enableMonitoring"):
        rdt.flag(name)
    return rdt.values


def _personality(linux: Fields) -> str:
    row = linux.object("personality")
    if row is None:
        return ""
    if row.texts("flags"):
        raise row.wrong("flags", "none is supported")
    domain = row.choice("domain", ("LINUX", "LINUX32"))
    if not domain:
        raise row.wrong("domain", "is required")
    return domain
