# SPDX-License-Identifier: Apache-2.0
"""Properties of a systemd unit in a configuration's annotations, as runc and crun take them.

`org.systemd.property.TimeoutStopUSec: "uint64 10000000"`: the value is in GVariant's text format
(https://docs.gtk.org/glib/gvariant-text-format.html), of which numbers, strings, truth values and
lists of strings are known here. A name in `Sec` stands for one in `USec`, its value for seconds.
"""

from __future__ import annotations

import re

from pycontain.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

Property = tuple[str, tuple[str, object]]
"""Name, signature and value, as D-Bus has them."""

PREFIX = "org.systemd.property."

_NAME = re.compile(r"[A-Z][A-Za-z]{2,63}", re.ASCII)
# Type: signature, least and most value.
_WHOLE = {
    "byte": ("y", 0, 0xFF),
    "int16": ("n", -(1 << 15), (1 << 15) - 1),
    "uint16": ("q", 0, (1 << 16) - 1),
    "int32": ("i", -(1 << 31), (1 << 31) - 1),
    "uint32": ("u", 0, (1 << 32) - 1),
    "int64": ("x", -(1 << 63), (1 << 63) - 1),
    "uint64": ("t", 0, (1 << 64) - 1),
}
_NUMBER = re.compile(
    r"(?:(byte|u?int(?:16|32|64))\s+)?([+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}))", re.ASCII
)
_DECIMAL = re.compile(r"(?:double\s+)?([+-]?[0-9]{1,20}\.[0-9]{1,20})", re.ASCII)
_STRING = re.compile(r"""'([^'\\]*)'|"([^"\\]*)\"""")
_LIST = re.compile(r"(?:@as\s*)?\[(.*)\]", re.DOTALL)


def properties(annotations: Mapping[str, str]) -> list[Property]:
    """Return the properties in annotations. Raises ConfigError."""
    names = [key for key in annotations if key.startswith(PREFIX)]
    return [_property(key, annotations[key].strip()) for key in names]


def _property(key: str, text: str) -> Property:
    name = key.removeprefix(PREFIX)
    value = _value(text) if _NAME.fullmatch(name) else None
    if value is not None and name.endswith("Sec") and not name.endswith("USec"):
        name, value = f"{name.removesuffix('Sec')}USec", _microseconds(value)
    if value is None:
        raise ConfigError(
            f"annotations[{key!r}]: {text[:40]!r} is not a property of a systemd unit in "
            "GVariant's text format, such as 'uint64 10000000'"
        )
    return name, value


def _value(text: str) -> tuple[str, object] | None:
    if text in ("true", "false"):
        return "b", text == "true"
    if match := _NUMBER.fullmatch(text):
        signature, least, most = _WHOLE[match[1] or "int32"]
        number = int(match[2], 16 if "x" in match[2].lower() else 10)
        return (signature, number) if least <= number <= most else None
    if match := _DECIMAL.fullmatch(text):
        return "d", float(match[1])
    if match := _STRING.fullmatch(text):
        return "s", match[1] or match[2] or ""
    if match := _LIST.fullmatch(text):
        strings = _STRING.findall(match[1])
        rest = _STRING.sub("", match[1]).replace(" ", "")
        if rest == "," * max(0, len(strings) - 1):
            return "as", [one or other for one, other in strings]
    return None


def _microseconds(value: tuple[str, object]) -> tuple[str, object] | None:
    signature, number = value
    if not isinstance(number, (int, float)) or signature == "b" or not 0 <= number < 1 << 40:
        return None
    return "t", int(number * 1_000_000)
