# SPDX-License-Identifier: Apache-2.0
"""What `linux.cgroupsPath` means."""

from __future__ import annotations

from pycontain._record import NamedTuple
from pycontain.errors import ConfigError

FIELD = "linux.cgroupsPath"
DEFAULT_PARENT = "pycontain-runtime"
"""Names of containers without a cgroupsPath go below it."""


class Path(NamedTuple):
    """A group's path in each hierarchy.

    Attributes:
        names: Its components.
        absolute: They begin at the root of the hierarchy as this process sees it, else at a group
            that is chosen.
    """

    names: tuple[str, ...]
    absolute: bool


def parse(text: str, container_id: str) -> Path:
    """Read a cgroupsPath (config-linux.md, "Cgroups Path"); an empty one stands for a default.

    Raises:
        ConfigError: It leads upwards, or to no group.
    """
    if not text:
        return Path((DEFAULT_PARENT, container_id), absolute=False)
    names = tuple(name for name in text.split("/") if name not in ("", "."))
    if ".." in names or "\0" in text or "\n" in text:
        raise ConfigError(f"{FIELD}: {text!r} must not contain '..', a newline or a zero byte")
    if not names:
        raise ConfigError(f"{FIELD}: {text!r} is the hierarchy's root: name a group below it")
    return Path(names, absolute=text.startswith("/"))


class Unit(NamedTuple):
    """A unit of systemd's: its name, and the slice that it is in."""

    name: str
    slice: str


def parse_unit(text: str, container_id: str, *, user: bool) -> Unit:
    """Read a cgroupsPath of the form `slice:prefix:name`, each part of which may be empty.

    Args:
        text: Of the configuration.
        container_id: The default for the name.
        user: The unit will be one of a user's manager.

    Raises:
        ConfigError: It has another form, or a part that is no unit's name.
    """
    slice_, prefix, name = "", "", ""
    if text:
        parts = text.split(":")
        if len(parts) != 3:
            raise ConfigError(
                f'{FIELD}: expected cgroupsPath to be of format "slice:prefix:name" for systemd '
                f"cgroups, got {text!r} instead"
            )
        slice_, prefix, name = parts
    else:
        prefix = DEFAULT_PARENT
    slice_ = slice_ or ("user.slice" if user else "system.slice")
    name = name or container_id
    if name.endswith(".slice"):
        raise ConfigError(f"{FIELD}: {name!r}: a container is in a scope of a slice, not a slice")
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    for part in (slice_, unit):
        if "/" in part or "\n" in part or "\0" in part or part.startswith("."):
            raise ConfigError(f"{FIELD}: {part!r} is not the name of a systemd unit")
    slice_names(slice_)
    return Unit(unit, slice_)


def slice_names(slice_: str) -> tuple[str, ...]:
    """Return the groups that lead to a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)).

    Raises:
        ConfigError: It is not the name of a slice.
    """
    stem = slice_.removesuffix(".slice")
    if stem == "-":
        return ()
    parts = stem.split("-")
    if stem == slice_ or not all(parts):
        raise ConfigError(f"{FIELD}: {slice_!r} is not the name of a systemd slice")
    return tuple(f"{'-'.join(parts[: i + 1])}.slice" for i in range(len(parts)))
