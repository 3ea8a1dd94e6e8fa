# SPDX-License-Identifier: Apache-2.0
"""`typing.NamedTuple` without what `typing` and `collections` cost at a program's start.

To type checkers it is the real one, and it behaves as that does, but for `__doc__` of the fields.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - exported
    from typing import Self
else:
    from _operator import itemgetter

    class NamedTuple(tuple):  # noqa: SLOT001 - its subclasses have no slots either
        """A tuple whose fields are the annotations of its class, in order."""

        _fields = ()
        _field_defaults = {}  # noqa: RUF012 - replaced in each class
        _last = ()  # the defaults of the last fields

        def __init_subclass__(cls) -> None:
            if cls._fields:  # a subclass of a record has no fields of its own
                return
            cls._fields = cls.__match_args__ = tuple(cls.__annotations__)
            own = cls.__dict__
            cls._field_defaults = {name: own[name] for name in cls._fields if name in own}
            cls._last = tuple(cls._field_defaults.values())
            for place, name in enumerate(cls._fields):
                setattr(cls, name, property(itemgetter(place)))

        def __new__(cls, *values: object, **named: object) -> Self:
            absent = len(cls._fields) - len(values)
            if not named and 0 < absent <= len(cls._last):
                values += cls._last[-absent:]
            elif named or absent:
                values += tuple(cls._rest(len(values), named))
            return tuple.__new__(cls, values)

        @classmethod
        def _rest(cls, given: int, named: dict[str, object]) -> list[object]:
            """Return the values of the fields that were not given by place."""
            values = cls._field_defaults | named
            rest = cls._fields[given:]
            if given > len(cls._fields) or not named.keys() <= set(rest):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}")
            if missing := [name for name in rest if name not in values]:
                raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
            return [values[name] for name in rest]

        @classmethod
        def _make(cls, values: Iterable[object]) -> Self:
            return cls(*values)

        def _asdict(self) -> dict[str, object]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **changes: object) -> Self:
            return type(self)(**{**self._asdict(), **changes})

        __replace__ = _replace  # copy.replace of Python 3.13

        def __getnewargs__(self) -> tuple[object, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            fields = ", ".join(f"{k}={v!r}" for k, v in self._asdict().items())
            return f"{type(self).__name__}({fields})"
