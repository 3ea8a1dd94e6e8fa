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


def _plain(value: Any) -> dict[Any, Any]:
    """Return the dictionary that stands for what the interpreter's encoder does not know."""
    if not hasattr(value, "items"):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return dict(value.items())


_ENCODE: Callable[[object, int], tuple[str, ...]] = _json.make_encoder(
    None, _plain, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False
)


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


def dumps(value: object, *, indent: int | None = None) -> str:
    """Return JSON in ASCII: None, booleans, numbers, strings, and lists and objects of these.

    Raises:
        TypeError, ValueError: The value is, or holds, something else, or no finite number.
    """
    return "".join(_ENCODE(value, 0)) if indent is None else _pretty(value, "\n", " " * indent)


def _pretty(value: Any, margin: str, step: str) -> str:
    if hasattr(value, "items") and value:
        rows = [f"{dumps(str(k))}: {_pretty(v, margin + step, step)}" for k, v in value.items()]
        opening, closing = "{}"
    elif isinstance(value, list | tuple) and value:
        rows = [_pretty(row, margin + step, step) for row in value]
        opening, closing = "[]"
    else:
        return dumps(value)
    return f"{opening}{margin}{step}{f',{margin}{step}'.join(rows)}{margin}{closing}"
