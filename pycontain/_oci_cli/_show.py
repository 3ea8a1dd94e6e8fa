# SPDX-License-Identifier: Apache-2.0
"""state, list, ps, events."""

from __future__ import annotations

import sys

from pycontain._json import dumps
from pycontain._oci._state import StateDir
from pycontain._oci._status import state
from pycontain.errors import ContainerError, ContainerNotFoundError

from ._command import Command
from ._options import Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._command import Settings

_COLUMNS = (
    ("ID", "id"),
    ("PID", "pid"),
    ("STATUS", "status"),
    ("BUNDLE", "bundle"),
    ("CREATED", "created"),
    ("OWNER", "owner"),
)


def _state(settings: Settings, _given: dict[str, Any], words: list[str]) -> int:
    with StateDir(settings.root).open(words[0]) as entry:
        sys.stdout.write(f"{dumps(state(entry), indent=2)}\n")
    return 0


def _list(settings: Settings, given: dict[str, Any], _words: list[str]) -> int:
    style = _format(given)
    home = StateDir(settings.root)
    if given.get("quiet"):
        sys.stdout.writelines(f"{name}\n" for name in home.ids())
        return 0
    found = []
    for name in home.ids():
        try:
            with home.open(name) as entry:
                found.append(state(entry))
        except ContainerNotFoundError:  # removed meanwhile
            continue
        except ContainerError as error:
            settings.warn(str(error))
    if style == "json":
        sys.stdout.write(f"{dumps(found)}\n")
        return 0
    rows = [[title for title, _ in _COLUMNS]]
    rows += [[str(row[field]) for _, field in _COLUMNS] for row in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"{'  '.join(cells).rstrip()}\n")
    return 0


def _ps(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    from pycontain._oci._container import Container  # noqa: PLC0415 - state does without it

    style = _format(given)
    pids = Container.load(words[0], state_root=settings.root).ps()
    if style == "json":
        sys.stdout.write(f"{dumps(pids)}\n")
        return 0
    import subprocess  # noqa: PLC0415 - slow to import

    lines = subprocess.run(
        ["ps", *(words[1:] or ["-ef"])],  # noqa: S607 - where the administrator has it
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
    ).stdout.splitlines()
    titles = lines[0].split()
    if "PID" not in titles:
        raise UsageError("ps: its output has no column PID; add -o pid,...")
    column, wanted = titles.index("PID"), {str(pid) for pid in pids}
    chosen = [line for line in lines[1:] if wanted.intersection(line.split()[column : column + 1])]
    sys.stdout.writelines(f"{line}\n" for line in [lines[0], *chosen])
    return 0


def _events(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    from pycontain._oci._container import Container  # noqa: PLC0415 - state does without it

    container = Container.load(words[0], state_root=settings.root)
    if given.get("stats"):
        _print_event("stats", words[0], container.stats())
        return 0
    for event in container.events(_seconds(given.get("interval", "5s"))):
        _print_event(event["type"], words[0], event.get("data"))
    return 0


def _print_event(kind: str, container: str, data: dict[str, Any] | None) -> None:
    event = {"type": kind, "id": container}
    sys.stdout.write(f"{dumps({**event, 'data': data} if data is not None else event)}\n")
    sys.stdout.flush()


def _seconds(text: str) -> float:
    """Return a time such as 5s, 500ms or 2m. Raises UsageError."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)):
        digits = text.removesuffix(unit)
        if text.endswith(unit) and digits.isascii() and digits.isdecimal() and int(digits) > 0:
            return int(digits) * factor
    raise UsageError(f"invalid interval {text[:40]!r}: such as 5s")


def _format(given: dict[str, Any]) -> str:
    style = given.get("format", "table")
    if style not in {"table", "json"}:
        raise UsageError(f"invalid format {style!r}: table or json")
    return str(style)


_FORMAT = Option(name="format", short="f", value="FORMAT", text="table (default) or json")
COMMANDS = {
    command.name: command
    for command in (
        Command(
            name="state", arguments="ID", text="print a container's state as JSON", call=_state
        ),
        Command(
            name="list",
            arguments="",
            text="list the containers",
            call=_list,
            least=0,
            most=0,
            options=(_FORMAT, Option(name="quiet", short="q", text="print the ids only")),
        ),
        Command(
            name="ps",
            arguments="ID [OPTIONS OF PS]",
            text="list the processes of a container",
            call=_ps,
            most=None,
            interleaved=False,
            options=(_FORMAT,),
        ),
        Command(
            name="events",
            arguments="ID",
            text="print usage and events of a container as lines of JSON",
            call=_events,
            options=(
                Option(name="stats", text="print the usage once"),
                Option(name="interval", value="TIME", text="between lines, 5s if not given"),
            ),
        ),
    )
}
