# SPDX-License-Identifier: Apache-2.0
"""Frozen records with keyword arguments, without what `dataclasses` costs at a program's start.

That module imports `inspect` and compiles the methods of each class: with the thirty classes of a
configuration as much time as the interpreter itself takes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, Self, dataclass_transform
else:

    def dataclass_transform(**_options: bool) -> object:
        """Say nothing at run time: the real one is for type checkers."""
        return lambda value: value


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Value:
    """A record: its fields are its annotations, in order; what has a value there is optional.

    A default is an attribute of the class, so an instance holds only what it was given.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _required: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls._required = frozenset(name for name in cls._fields if name not in cls.__dict__)

    def __init__(self, **values: Any) -> None:
        if not values.keys() <= set(self._fields):
            unknown = sorted(values.keys() - set(self._fields))
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        if not values.keys() >= self._required:
            missing = sorted(self._required - values.keys())
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete field {name!r}")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values in some fields, as `dataclasses.replace` does."""
        return type(self)(**{**self.__dict__, **changes})

    __replace__ = replace  # copy.replace of Python 3.13

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"
