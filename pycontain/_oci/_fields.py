# SPDX-License-Identifier: Apache-2.0
"""Typed access to the fields of a JSON object; what is wrong is named by its path.

null is the same as absent, as for the runtimes in Go; unknown names are ignored.
"""

from __future__ import annotations

from pycontain.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from typing import Any

INT64 = (1 << 63) - 1
UINT64 = (1 << 64) - 1
UINT32 = (1 << 32) - 1


class Fields:
    """A JSON object and its path, such as `process.user`; the path of a document is empty."""

    __slots__ = ("path", "values")

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values = values
        self.path = path

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, problem: str) -> ConfigError:
        """Return an error about a field, to raise; an empty name is the object itself."""
        return ConfigError(f"{self.at(name) if name else self.path}: {problem}")

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self.values.get(name) is not None

    def _get(self, name: str, kind: type, noun: str) -> Any:
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(name, f"{shown(value)} is not {noun}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self._get(name, bool, "a boolean")
        return default if value is None else bool(value)

    def optional_flag(self, name: str) -> bool | None:
        """Return a boolean, None if absent."""
        value: bool | None = self._get(name, bool, "a boolean")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return an integer of a range with both its ends, None if absent."""
        value = self._get(name, int, "an integer")
        return None if value is None else bounded(value, self.at(name), low, high)

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return an integer of a range; without a default it must be there."""
        value = self.integer(name, low, high)
        if value is None and default is None:
            raise self.wrong(name, "is required")
        return value if value is not None else default or 0

    def text(self, name: str, default: str = "") -> str:
        """Return a string without NUL."""
        value = self._get(name, str, "a string")
        return default if value is None else clean(value, self.at(name))

    def needed(self, name: str) -> str:
        """Return a string that must not be empty."""
        value = self.text(name)
        if not value:
            raise self.wrong(name, "is required")
        return value

    def choice(self, name: str, known: Container[str], default: str = "") -> str:
        """Return one of some words, the default if absent or empty."""
        value = self.text(name)
        if value and value not in known:
            raise self.wrong(name, f"{shown(value)} is not one of {listed(known)}")
        return value or default

    def absolute(self, name: str) -> str:
        """Return an absolute path, empty if absent."""
        path = self.text(name)
        if path and not path.startswith("/"):
            raise self.wrong(name, f"{shown(path)} is not an absolute path")
        return path

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        rows = self._get(name, list, "a list") or ()
        return tuple(_text(row, f"{self.at(name)}[{place}]") for place, row in enumerate(rows))

    def paths(self, name: str) -> tuple[str, ...]:
        """Return a list of absolute paths."""
        found = self.texts(name)
        for place, path in enumerate(found):
            if not path.startswith("/"):
                raise self.wrong(f"{name}[{place}]", f"{shown(path)} is not an absolute path")
        return found

    def integers(self, name: str, low: int, high: int) -> tuple[int, ...]:
        """Return a list of integers of a range."""
        found = []
        for place, row in enumerate(self._get(name, list, "a list") or ()):
            path = f"{self.at(name)}[{place}]"
            if not isinstance(row, int) or isinstance(row, bool):
                raise ConfigError(f"{path}: {shown(row)} is not an integer")
            found.append(bounded(row, path, low, high))
        return tuple(found)

    def object(self, name: str) -> Fields | None:
        """Return a nested object, None if absent."""
        value = self._get(name, dict, "an object")
        return None if value is None else Fields(value, self.at(name))

    def inside(self, name: str) -> Fields:
        """Return a nested object, an empty one if absent."""
        return self.object(name) or Fields({}, self.at(name))

    def objects(self, name: str) -> Iterator[Fields]:
        """Yield the objects of a list."""
        for place, row in enumerate(self._get(name, list, "a list") or ()):
            path = f"{self.at(name)}[{place}]"
            if not isinstance(row, dict):
                raise ConfigError(f"{path}: {shown(row)} is not an object")
            yield Fields(row, path)

    def members(self, name: str) -> Iterator[tuple[str, Fields]]:
        """Yield the names and objects of an object of objects."""
        for key, row in (self._get(name, dict, "an object") or {}).items():
            path = f"{self.at(name)}.{clean(key, self.at(name))}"
            if not isinstance(row, dict):
                raise ConfigError(f"{path}: {shown(row)} is not an object")
            yield key, Fields(row, path)

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object of strings."""
        rows = self._get(name, dict, "an object") or {}
        return {
            clean(key, self.at(name)): _text(value, f"{self.at(name)}.{key}")
            for key, value in rows.items()
        }


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {shown(value)} is not a string")
    return clean(value, path)


def clean(text: str, path: str) -> str:
    """Return a string that can be a C string. Raises ConfigError for NUL and lone surrogates."""
    if "\0" in text:
        raise ConfigError(f"{path}: {shown(text)} has a NUL byte")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{path}: {shown(text)} is not valid Unicode") from None
    return text


def bounded(value: int, path: str, low: int, high: int) -> int:
    """Return a number of a range with both its ends. Raises ConfigError."""
    if not low <= value <= high:
        raise ConfigError(f"{path}: {shown(value)} is not from {low} to {high}")
    return value


def listed(words: Any) -> str:
    """Return words for a message."""
    return ", ".join(words)


def shown(value: object) -> str:
    """Return a value for a message, shortened."""
    text = ascii(value) if isinstance(value, str | int | float | None) else _kind(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind(value: object) -> str:
    return "an object" if isinstance(value, dict) else "a list"
