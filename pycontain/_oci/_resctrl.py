# SPDX-License-Identifier: Apache-2.0
"""Intel RDT: a container's share of caches and memory bandwidth (config-linux.md, "IntelRdt").

Groups are directories of the file system resctrl (Documentation/filesystems/resctrl.rst). One is
told before it is made, so that it can be removed after a killed `create`.
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
    "enableCMT": {"llc_occupancy"},
    "enableMBM": {"mbm_total_bytes", "mbm_local_bytes"},
}


class Groups(Value):
    """The groups of a container.

    Attributes:
        mount: Where resctrl is mounted.
        joined: Directories that its processes are in, the outer one first.
        made: Those of them that were made for it, or were about to be.
    """

    mount: str
    joined: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Groups:
        """Return the groups that a record has."""
        return cls(mount=kept["mount"], joined=tuple(kept["joined"]), made=tuple(kept["made"]))

    def to_json(self) -> dict[str, Any]:
        """Return what a record keeps."""
        return {"mount": self.mount, "joined": list(self.joined), "made": list(self.made)}

    def join(self, pid: int) -> None:
        """Move a process of one thread into the groups. Raises ContainerError."""
        for group in self.joined:
            self._write(f"{group}/tasks", f"{pid}")

    def update(self, fields: Mapping[str, Any]) -> None:
        """Change the schemata. Raises ContainerError: they are others', too, or are refused."""
        if self.joined[0] not in self.made:
            raise ContainerError(f"{_FIELD}: {self.joined[0]} was not made for this container")
        self.write_schemata(_schemata(fields))

    def remove(self, dead: int) -> None:
        """Remove what was made, and nobody but a dead process is in. Raises OSError."""
        for group in reversed(self.made):
            try:
                with open(f"{group}/tasks", encoding="ascii") as tasks:
                    others = set(tasks.read().split()) - {f"{dead}"}
                if not others:
                    os.rmdir(group)
            except FileNotFoundError:
                continue

    def make(self, group: str, announce: Callable[[Groups], None]) -> Groups:
        """Return the groups with one more, which is made. Raises ContainerError."""
        if os.path.isdir(group):
            raise ContainerError(f"{_FIELD}: {group} is there already")
        found = self.replace(joined=(*self.joined, group), made=(*self.made, group))
        announce(found)
        try:
            os.mkdir(group)
        except OSError as error:
            raise self._refused(group, error) from None
        return found

    def write_schemata(self, lines: list[str]) -> None:
        """Change what the outer group may use. Raises ContainerError."""
        for line in lines:
            self._write(f"{self.joined[0]}/schemata", line)

    def _write(self, path: str, line: str) -> None:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(fd, f"{line}\n".encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise self._refused(f"{path}: {line}", error) from None

    def _refused(self, what: str, error: OSError) -> ContainerError:
        """Return the error, with what the kernel says of its last command."""
        why = _read(f"{self.mount}/info/last_cmd_status").strip()
        said = f" ({why})" if why and why != "ok" else ""
        return ContainerError(f"{_FIELD}: {what}: {os.strerror(error.errno or 0)}{said}")


def find_mount() -> str:
    """Return where resctrl is mounted, "" if it is not."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.startswith("resctrl "):
                return before.split()[4]
    return ""


def prepare(
    fields: Mapping[str, Any], container: str, announce: Callable[[Groups], None]
) -> Groups:
    """Make the groups of a container, or check one that is there.

    Args:
        fields: The object `linux.intelRdt`.
        container: The id.
        announce: Called with what is about to be made, before it is.

    Raises:
        ConfigError: The group is there, and has other schemata; or is not, and none are given.
        ContainerError: The kernel refuses them.
        UnsupportedError: There is no resctrl, or it does not monitor what is asked for.
    """
    mount = find_mount()
    if not mount:
        raise UnsupportedError(
            errno.EOPNOTSUPP,
            f"{_FIELD}: resctrl is not mounted: mount -t resctrl resctrl /sys/fs/resctrl, which "
            "needs CPU support (Intel RDT, AMD QoS); or leave it out",
        )
    _check_events(mount, fields)
    name = fields.get("closID", "")
    group = f"{mount}/{name or container}".rstrip("/")
    lines = _schemata(fields)
    if os.path.isdir(group):
        _compare(group, lines)
        found = Groups(mount=mount, joined=(group,))
    elif name and not lines:
        raise ConfigError(f"{_FIELD}.closID: there is no {group}, and no schemata to make it with")
    else:
        found = Groups(mount=mount).make(group, announce)
        found.write_schemata(lines)
    if fields.get("enableMonitoring"):
        found = found.make(f"{group}/mon_groups/{container}", announce)
    return found


def _schemata(fields: Mapping[str, Any]) -> list[str]:
    """Return the lines for the file of that name, of which later ones win."""
    lines = fields.get("l3CacheSchema", "").split("\n")
    bandwidth = fields.get("memBwSchema", "")
    if bandwidth:
        lines = [line for line in lines if not line.startswith("MB:")]
    return [line for line in (*lines, bandwidth, *fields.get("schemata", ())) if line]


def _compare(group: str, lines: list[str]) -> None:
    """Check that a group has the schemata that are asked for. Raises ConfigError."""
    there = _domains(_read(f"{group}/schemata").splitlines()) if lines else {}
    for domain, value in _domains(lines).items():
        if there.get(domain) != value:
            raise ConfigError(
                f"{_FIELD}: {group} is there, with other schemata than {'; '.join(lines)}"
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


def _check_events(mount: str, fields: Mapping[str, Any]) -> None:
    """Check that what is to be counted is counted; it is then, for every group."""
    there = set(_read(f"{mount}/info/L3_MON/mon_features").split())
    for name, events in _EVENTS.items():
        if fields.get(name) and not events & there:
            raise UnsupportedError(
                errno.EOPNOTSUPP, f"{_FIELD}.{name}: {mount}/info/L3_MON has no such event"
            )


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:  # what the processor does not have is absent
        return ""
