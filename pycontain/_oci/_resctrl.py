# SPDX-License-Identifier: Apache-2.0
"""Intel RDT: a container's share of caches and memory bandwidth (config-linux.md, "IntelRdt").

Groups are directories of the file system resctrl (Documentation/filesystems/resctrl.rst). What was
made is told before it is, so that it can be removed after a killed `create`.
"""

from __future__ import annotations

import errno
import os

from pycontain.errors import ConfigError, ContainerError, UnsupportedError

from ._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_FIELD = "linux.intelRdt"
_EVENTS = {
    "enableCMT": ("llc_occupancy",),
    "enableMBM": ("mbm_total_bytes", "mbm_local_bytes"),
}


class Groups(Value):
    """The groups of a container.

    Attributes:
        joined: Directories that its processes are in, the outer one first.
        made: Those of them that were made for it, or were about to be.
    """

    joined: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Groups:
        """Return the groups that a record has."""
        return cls(joined=tuple(kept["joined"]), made=tuple(kept["made"]))

    def to_json(self) -> dict[str, list[str]]:
        """Return what a record keeps."""
        return {"joined": list(self.joined), "made": list(self.made)}

    def join(self, pid: int) -> None:
        """Move a process, which has one thread, into the groups. Raises ContainerError."""
        for group in self.joined:
            _write(group, "tasks", f"{pid}\n")

    def update(self, fields: Mapping[str, Any]) -> None:
        """Change the schemata. Raises ContainerError: they are others', too, or are refused."""
        if self.joined[0] not in self.made:
            raise ContainerError(f"{_FIELD}: {self.joined[0]} is not this container's alone")
        for line in _schemata(fields):
            _write(self.joined[0], "schemata", f"{line}\n")

    def remove(self) -> None:
        """Remove what was made, and nobody else is in. Raises OSError."""
        for group in reversed(self.made):
            try:
                with open(f"{group}/tasks", encoding="ascii") as tasks:
                    used = tasks.read()
                if not used.strip():
                    os.rmdir(group)
            except FileNotFoundError:
                continue


def find_mount() -> str:
    """Return where resctrl is mounted, "" if it is not."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("resctrl "):
                return before.split()[4]
    return ""


def prepare(
    mount: str, fields: Mapping[str, Any], container: str, announce: Callable[[Groups], None]
) -> Groups:
    """Make or check the groups of a container.

    Args:
        mount: Where resctrl is mounted.
        fields: The object `linux.intelRdt`.
        container: The id.
        announce: Called with what is about to be made, before it is.

    Raises:
        ConfigError: The group is there, and has other schemata; or is not, and none are given.
        ContainerError: The kernel refuses them.
        UnsupportedError: There is no resctrl, or what is asked for is not monitored.
    """
    if not mount:
        raise UnsupportedError(
            errno.EOPNOTSUPP,
            f"{_FIELD}: resctrl is not mounted: mount -t resctrl resctrl /sys/fs/resctrl, which "
            "needs a processor with RDT or a like; or leave it out",
        )
    _check_monitored(mount, fields)
    name = fields.get("closID", "")
    group = os.path.join(mount, name.strip("/") if name else container).rstrip("/")
    lines = _schemata(fields)
    found = Groups(joined=(group,))
    if os.path.isdir(group):
        _compare(group, lines)
    elif name and not lines:
        raise ConfigError(f"{_FIELD}.closID: there is no {group}, and no schemata to make it with")
    else:
        found = _make(found, group, announce)
        for line in lines:
            _write(group, "schemata", f"{line}\n")
    if fields.get("enableMonitoring"):
        inner = f"{group}/mon_groups/{container}"
        found = _make(found.replace(joined=(group, inner)), inner, announce)
    return found


def _make(found: Groups, group: str, announce: Callable[[Groups], None]) -> Groups:
    found = found.replace(made=(*found.made, group))
    if os.path.isdir(group):
        raise ContainerError(f"{_FIELD}: {group} is another container's")
    announce(found)
    try:
        os.mkdir(group)
    except OSError as error:
        raise _refused(group, error) from None
    return found


def _schemata(fields: Mapping[str, Any]) -> list[str]:
    """Return the lines for the file of that name, of which later ones win."""
    cache = fields.get("l3CacheSchema", "").split("\n")
    bandwidth = fields.get("memBwSchema", "")
    if bandwidth:
        cache = [line for line in cache if not line.startswith("MB:")]
    return [line for line in (*cache, bandwidth, *fields.get("schemata", ())) if line]


def _compare(group: str, lines: list[str]) -> None:
    """Check that a group has the schemata that are asked for. Raises ConfigError."""
    there = _domains(_read(group, "schemata").splitlines()) if lines else {}
    for domain, value in _domains(lines).items():
        if there.get(domain) != value:
            raise ConfigError(
                f"{_FIELD}.closID: {group} is there, with other schemata than {'; '.join(lines)}"
            )


def _domains(lines: list[str]) -> dict[tuple[str, str], int | str]:
    """Return the value of each domain of each resource; masks of caches are hexadecimal."""
    found: dict[tuple[str, str], int | str] = {}
    for line in lines:
        resource, _, rest = line.strip().partition(":")
        for part in rest.split(";"):
            domain, _, text = part.partition("=")
            try:
                value: int | str = int(text, 16 if resource.startswith("L") else 10)
            except ValueError:
                value = text
            found[resource, domain.strip()] = value
    return found


def _check_monitored(mount: str, fields: Mapping[str, Any]) -> None:
    for name, events in _EVENTS.items():
        if fields.get(name) and not set(events) & set(_read(mount, "info/L3_MON/mon_features").split()):
            raise UnsupportedError(
                errno.EOPNOTSUPP, f"{_FIELD}.{name}: no {events[0]} in {mount}/info/L3_MON"
            )


def _read(directory: str, name: str) -> str:
    try:
        with open(f"{directory}/{name}", encoding="ascii") as file:
            return file.read()
    except OSError:  # what the processor does not have is absent
        return ""


def _write(group: str, name: str, text: str) -> None:
    try:
        fd = os.open(f"{group}/{name}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise _refused(f"{group}/{name}: {text.strip()}", error) from None


def _refused(what: str, error: OSError) -> ContainerError:
    """Return the error, with what the kernel says of its last command."""
    why = _read(find_mount(), "info/last_cmd_status").strip()
    said = f" ({why})" if why and why != "ok" else ""
    return ContainerError(f"{_FIELD}: {what}: {os.strerror(error.errno or 0)}{said}")
