# SPDX-License-Identifier: Apache-2.0
"""A check: a change of a configuration and what must be seen of it, or a piece of a life."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.box import Box

Seen = str | re.Pattern[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row of the table.

    Attributes:
        area: The section it belongs to.
        name: What the specification asks for.
        change: Places in config.json, such as `process.user.uid`, with new values; None removes
            one, and where a place ends with `+` the value is added to its list.
        run: What the container's shell runs.
        sees: What that prints, as it is or as a pattern for all of it.
        refused: The runtime must refuse the configuration instead.
        life: What is done instead of running a command.
        needs: What the host must have, by the names of `conformance.host`.
    """

    area: str
    name: str
    change: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    sees: Seen = ""
    refused: bool = False
    life: Callable[[Box], None] | None = None
    needs: tuple[str, ...] = ()


def changed(config: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration with other values at some places."""
    result = copy.deepcopy(dict(config))
    for place, value in change.items():
        *parents, last = place.split(".")
        inner = result
        for name in parents:
            inner = inner.setdefault(name, {})
        if last.endswith("+"):
            inner.setdefault(last[:-1], []).append(value)
        elif value is None:
            inner.pop(last, None)
        else:
            inner[last] = value
    return result


def matches(seen: str, expected: Seen) -> bool:
    """Tell whether an output is the expected one."""
    if isinstance(expected, str):
        return seen == expected
    return expected.fullmatch(seen) is not None


def perform(check: Check, box: Box) -> str:
    """Do what a check says in a container that does not exist yet; return why it failed, or ""."""
    try:
        if check.life is not None:
            check.life(box)
            return ""
        box.change(check.change)
        done = box.run(check.run)
    except AssertionError as error:
        return str(error) or "an assertion"
    if check.refused:
        return "" if done.returncode and "RAN" not in done.stdout else "accepted"
    if done.returncode:
        return f"status {done.returncode}: {done.stderr.strip()[-300:] or done.stdout.strip()}"
    seen = done.stdout.strip()
    return "" if matches(seen, check.sees) else f"saw {seen!r}"
