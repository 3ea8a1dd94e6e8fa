# SPDX-License-Identifier: Apache-2.0
"""The header WWW-Authenticate: which ways to authenticate a server offers (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar's name for a word
_SEPARATOR = re.compile(r"[ \t,]*")
_PARAMETER = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*(?=,|$)', re.DOTALL
)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+([0-9A-Za-z\-._~+/]+=*)(?=[ \t]*(?:,|$))|(?=[ \t,]|$))")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate.

    Attributes:
        scheme: Such as "bearer", in lower case.
        parameters: Such as "realm"; the names in lower case.
    """

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges of all the header's values, in order.

    What is not in the grammar ends the reading of its value: what came before it stays.
    """
    return [challenge for header in headers for challenge in _parse_value(header)]


def _parse_value(value: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while True:
        separator = _SEPARATOR.match(value, position)
        position = separator.end() if separator else position
        parameter = _PARAMETER.match(value, position)
        if parameter and found:
            name, quoted, word = parameter.groups()
            text = word if quoted is None else _ESCAPE.sub(r"\1", quoted)
            found[-1].parameters.setdefault(name.lower(), text)
            position = parameter.end()
        elif scheme := _SCHEME.match(value, position):
            found.append(Challenge(scheme[1].lower()))
            position = scheme.end()
        else:
            return found
