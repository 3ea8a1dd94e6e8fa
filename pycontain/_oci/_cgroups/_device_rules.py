# SPDX-License-Identifier: Apache-2.0
"""Which device nodes a container may use: rules in order, the last that matches a bit deciding it.

Sources: config-linux.md, "Allowed Device list"; cgroup-v1/devices.rst.
"""

from __future__ import annotations

from pycontain._oci._spec import DeviceRule
from pycontain._record import NamedTuple
from pycontain.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


FIELD = "linux.resources.devices"


def _allow(type_: str, major: int | None, minor: int | None, access: str = "rwm") -> DeviceRule:
    return DeviceRule(allow=True, type=type_, major=major, minor=minor, access=access)


DEFAULT = (
    _allow("c", None, None, "m"),  # a node that may be made may not be opened yet
    _allow("b", None, None, "m"),
    _allow("c", 1, 3),  # null
    _allow("c", 1, 5),  # zero
    _allow("c", 1, 7),  # full
    _allow("c", 1, 8),  # random
    _allow("c", 1, 9),  # urandom
    _allow("c", 5, 0),  # tty
    _allow("c", 5, 1),  # console
    _allow("c", 5, 2),  # ptmx
    _allow("c", 136, None),  # pts/*
)
"""What every container may do, after its own rules, as with runc (devices.txt has the numbers)."""


class Key(NamedTuple):
    """A set of devices: type `b` or `c`; None is any number."""

    type: str
    major: int | None
    minor: int | None

    def covers(self, other: Key) -> bool:
        """Tell whether all of `other` is in this set."""
        return (
            self.type == other.type
            and self.major in (None, other.major)
            and self.minor in (None, other.minor)
        )

    def meets(self, other: Key) -> bool:
        """Tell whether a device is in both."""
        return (
            self.type == other.type
            and (None in (self.major, other.major) or self.major == other.major)
            and (None in (self.minor, other.minor) or self.minor == other.minor)
        )

    def __str__(self) -> str:
        """Write it as the files of v1 do."""
        numbers = ("*" if n is None else str(n) for n in (self.major, self.minor))
        return f"{self.type} {':'.join(numbers)}"


def keys(rule: DeviceRule) -> list[Key]:
    """Return what a rule is about; `u` is another name of `c` (mknod(1))."""
    types = {"a": "bc", "u": "c"}.get(rule.type, rule.type)
    return [Key(type_, rule.major, rule.minor) for type_ in types]


def is_whole(rule: DeviceRule) -> bool:
    """Tell whether a rule decides about everything, and makes those before it void."""
    return (
        rule.type == "a"
        and rule.major is None
        and rule.minor is None
        and set(rule.access) >= set("rwm")
    )


def check(rules: Sequence[DeviceRule]) -> None:
    """Raise ConfigError for a rule that is about no device, or about no use of one."""
    for index, rule in enumerate(rules):
        if rule.type not in ("a", "b", "c", "u"):
            raise ConfigError(f"{field(index)}.type: {rule.type!r} is none of a, b, c and u")
        if set(rule.access) - set("rwm"):
            raise ConfigError(f"{field(index)}.access: {rule.access!r} is more than r, w and m")


def field(index: int) -> str:
    """Return the name of a rule in errors."""
    return f"{FIELD}[{index}]"


class Exceptions(NamedTuple):
    """Rules as v1 has them: a default, and rows that differ from it.

    Attributes:
        allow: The default.
        rows: Devices, and the letters of what may (or may not) be done with them.
    """

    allow: bool
    rows: dict[Key, frozenset[str]]


def exceptions(rules: Sequence[DeviceRule], last: Sequence[DeviceRule] = ()) -> Exceptions:
    """Turn rules into a default and exceptions from it, which need no order. Default deny.

    Args:
        rules: Of the configuration.
        last: Those that come after them and are not of the configuration.

    Raises:
        ConfigError: A rule takes a part out of a wider one of the other kind before it; v1's kernel
            would leave that part in silently.
    """
    found = Exceptions(allow=False, rows={})
    for index, rule in enumerate((*rules, *last)):
        if is_whole(rule):
            found = Exceptions(rule.allow, {})
            continue
        where = field(index) if index < len(rules) else FIELD
        for key in keys(rule):
            if rule.allow == found.allow:
                _take_out(found.rows, key, frozenset(rule.access), where)
            else:
                found.rows[key] = found.rows.get(key, frozenset()) | frozenset(rule.access)
    return Exceptions(found.allow, {k: _united(found.rows, k) for k, v in found.rows.items() if v})


def _take_out(
    rows: dict[Key, frozenset[str]], key: Key, access: frozenset[str], where: str
) -> None:
    for row, granted in rows.items():
        if key.covers(row):
            rows[row] = granted - access
        elif key.meets(row) and granted & access:
            raise ConfigError(
                f"{where}: cgroup v1 cannot make an exception ({key}) from the wider rule "
                f"{row} before it: list the devices of that one by one, or use cgroup v2"
            )


def _united(rows: dict[Key, frozenset[str]], key: Key) -> frozenset[str]:
    """Add to a row what wider ones say of reading and writing: the kernel looks for a single one.

    Mknod is never asked together with those.
    """
    wider = (access - {"m"} for row, access in rows.items() if row.covers(key))
    return rows[key].union(*wider)
