# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers: bounded, without duplicate names, and errors that name the field.

The image specification asks for I-JSON (RFC 7493); the digest of a document is that of its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pycontain._json import no_constant, unique
from pycontain.errors import ImageConfigError, LimitExceededError, ManifestError

DEPTH: Final = 64
Error: TypeAlias = type[ManifestError] | type[ImageConfigError]

# A string that never ends takes the rest, so that the search is linear; the parser refuses it.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")
_SURROGATE = re.compile(rb"\\u[dD]")


def _check_depth(data: bytes, what: str) -> None:
    if data.count(b"{") + data.count(b"[") <= DEPTH:
        return
    depth = 0
    for match in _BRACKET.finditer(_STRING.sub(b"", data)):
        depth += 1 if match[0] in b"[{" else -1
        if depth > DEPTH:
            raise LimitExceededError(
                f"{what}: nested deeper than {DEPTH} levels", limit="depth", allowed=DEPTH
            )


def loads(data: bytes, what: str, *, limit: int, error: Error = ManifestError) -> Object:
    """Return the object that a document holds.

    Args:
        data: The document, UTF-8.
        what: What it is, for errors.
        limit: The most bytes it may have.
        error: What to raise if it breaks the rules.

    Raises:
        ManifestError: Or `error`: no JSON, not an object, or a name that stands twice.
        LimitExceededError: Too large or too deep.
    """
    value = _parse(data, what, limit, error)
    if not isinstance(value, dict):
        raise error(f"{what}: not a JSON object")
    return Object(value, what, error)


def loads_list(data: bytes, what: str, *, limit: int) -> tuple[Object, ...]:
    """Return the objects in the list that a document holds. Raises as `loads` does."""
    value = _parse(data, what, limit, ManifestError)
    if not isinstance(value, list):
        raise ManifestError(f"{what}: not a JSON list")
    return Object({"": value}, what).objects("")


def _parse(data: bytes, what: str, limit: int, error: Error) -> Any:
    if len(data) > limit:
        raise LimitExceededError(
            f"{what}: {len(data)} bytes are more than the limit of {limit}",
            limit="size",
            allowed=limit,
        )
    _check_depth(data, what)
    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=no_constant)
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError as wrong:  # with UnicodeError and JSONDecodeError
        raise error(f"{what}: not valid JSON: {wrong}") from None
    return value


@dataclass(frozen=True, slots=True)
class Object:
    """A JSON object with typed access. null is the same as absent, unknown names are ignored.

    Attributes:
        values: What it holds.
        where: Its place, for errors.
        error: What wrong fields raise.
    """

    values: Mapping[str, Any]
    where: str
    error: Error = ManifestError

    def wrong(self, name: str, problem: str) -> ManifestError | ImageConfigError:
        """Return an error about a field, to raise."""
        return self.error(f"{self.where}: {name}: {problem}")

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self.values.get(name) is not None

    def _get(self, name: str, kind: type, noun: str) -> Any:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(name, f"{_shown(value)} is not {noun}")
        return value

    def text(self, name: str, default: str = "") -> str:
        """Return a string. Raises `error` if it is something else."""
        value: str | None = self._get(name, str, "a string")
        return default if value is None else value

    def flag(self, name: str) -> bool:
        """Return a boolean, False if absent. Raises `error` if it is something else."""
        return bool(self._get(name, bool, "a boolean"))

    def integer(self, name: str) -> int | None:
        """Return an integer of at most 63 bits. Raises `error` if it is something else."""
        value: int | None = self._get(name, int, "an integer")
        if value is not None and not -(1 << 63) <= value < 1 << 63:
            raise self.wrong(name, "the number is too large")
        return value

    def object(self, name: str) -> Object | None:
        """Return a nested object. Raises `error` if it is something else."""
        value = self._get(name, dict, "an object")
        return None if value is None else Object(value, f"{self.where}: {name}", self.error)

    def objects(self, name: str) -> tuple[Object, ...]:
        """Return a list of objects, empty if absent. Raises `error` if it is something else."""
        rows = self._get(name, list, "a list") or []
        for place, row in enumerate(rows):
            if not isinstance(row, dict):
                raise self.wrong(f"{name}[{place}]", f"{_shown(row)} is not an object")
        return tuple(
            Object(row, f"{self.where}: {name}[{place}]", self.error)
            for place, row in enumerate(rows)
        )

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return a list of strings. Raises `error` if it is something else."""
        rows = self._get(name, list, "a list of strings")
        if rows is None:
            return None
        for row in rows:
            if not isinstance(row, str):
                raise self.wrong(name, f"{_shown(row)} in the list is not a string")
        return tuple(rows)

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object of strings, empty if absent. Raises `error` for something else."""
        found = self._get(name, dict, "an object") or {}
        for key, value in found.items():
            if not isinstance(value, str):
                raise self.wrong(name, f"{_shown(key)}: {_shown(value)} is not a string")
        return dict(found)

    def keys(self, name: str) -> tuple[str, ...]:
        """Return the names in an object that stands for a set. Raises `error` if it is none."""
        return tuple(self._get(name, dict, "an object") or ())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def dumps(value: object) -> bytes:
    """Return the one form in which we write JSON: sorted names, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
