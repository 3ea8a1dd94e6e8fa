# SPDX-License-Identifier: Apache-2.0
"""JSON, bounded, for a program that starts once for each call.

The interpreter's own scanner is used without the package `json` around it, which imports `re`.
"""

from __future__ import annotations

import _json

from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

LIMIT = 16 << 20
"""The most bytes of a document: a runtime's arguments are smaller by orders of magnitude."""
DEPTH = 32
"""The most levels of objects and lists: the specification's own have ten."""

_SPACE = " \t\n\r"


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with these members. Raises ValueError: a name stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!r} stands twice in one object")
    return found


def no_constant(text: str) -> NoReturn:
    """Refuse NaN and the infinities, which are no JSON. Raises ValueError."""
    raise ValueError(f"{text} is no number of JSON")


class _Context:
    """What the scanner asks of a decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(unique)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(no_constant)


_SCAN: Callable[[str, int], tuple[Any, int]] = _json.make_scanner(_Context)  # type: ignore[arg-type]


def loads(data: bytes, what: str) -> dict[str, Any]:
    """Return the object that a document holds.

    Args:
        data: The document, UTF-8.
        what: What it is, for errors.

    Raises:
        ConfigError: No JSON, not an object, a name that stands twice, too large or too deep.
    """
    if len(data) > LIMIT:
        raise ConfigError(f"{what}: {len(data)} bytes are more than the limit of {LIMIT}")
    try:
        text = data.decode().strip(_SPACE)
        value, end = _SCAN(text, 0)
    except StopIteration as stop:
        raise ConfigError(f"{what}: not valid JSON: nothing at character {stop.value}") from None
    except RecursionError:
        raise ConfigError(f"{what}: nested deeper than {DEPTH} levels") from None
    except ValueError as wrong:  # with UnicodeError and JSONDecodeError
        raise ConfigError(f"{what}: not valid JSON: {wrong}") from None
    if end != len(text):
        raise ConfigError(f"{what}: not valid JSON: more text at character {end}")
    if not isinstance(value, dict):
        raise ConfigError(f"{what}: not a JSON object")
    _check_depth(value, what)
    return value


def _check_depth(value: object, what: str) -> None:
    level = [value]
    for _ in range(DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise ConfigError(f"{what}: nested deeper than {DEPTH} levels")


def _inner(outer: Any) -> Iterator[object]:
    values = outer.values() if isinstance(outer, dict) else outer
    return (value for value in values if isinstance(value, dict | list))


def dumps(value: object, *, indent: int | None = None, level: int = 0) -> str:
    """Return JSON in ASCII: None, booleans, numbers, strings, and lists and objects of these."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float) and value - value == 0:  # finite
        return float.__repr__(value)
    if isinstance(value, str):
        return _json.encode_basestring_ascii(value)
    if isinstance(value, list | tuple):
        rows = [dumps(row, indent=indent, level=level + 1) for row in value]
        return _wrapped("[", rows, "]", indent, level)
    if hasattr(value, "items"):
        rows = [
            f"{dumps(str(name))}: {dumps(inner, indent=indent, level=level + 1)}"
            for name, inner in value.items()
        ]
        return _wrapped("{", rows, "}", indent, level)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _wrapped(opening: str, rows: list[str], closing: str, indent: int | None, level: int) -> str:
    if indent is None or not rows:
        return f"{opening}{', '.join(rows)}{closing}"
    margin = "\n" + " " * (indent * (level + 1))
    return f"{opening}{margin}{f',{margin}'.join(rows)}{margin[:-indent]}{closing}"
