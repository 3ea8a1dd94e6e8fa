# SPDX-License-Identifier: Apache-2.0
"""`pycontain ps` and `pycontain gc`: the living, and what the dead left."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import pycontain

from ._common import complain, print_json, printable

if TYPE_CHECKING:
    from pycontain import Collected, LivingSandbox

_PS_EPILOG: Final = """\
PIDS and MEMORY are in use/limit; - is not known, or no limit. CMDS are running commands and what
ended ones left running. A sandbox without limits has no control group that counts its memory."""
_GC_EPILOG: Final = """\
What belongs to a living process is never touched. The exit status is 0 if nothing of the dead is
left, 1 if something could not be removed."""
_HEADINGS: Final = (
    *("PID", "OWNER", "COMMAND", "USER", "AGE"),
    *("CMDS", "PIDS", "MEMORY", "CPU", "STATE", "ROOT"),
)
_TEXT_COLUMNS: Final = frozenset({"COMMAND", "USER", "STATE", "ROOT"})


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands' options."""
    ps = commands.add_parser("ps", help="list the living sandboxes", epilog=_PS_EPILOG)
    ps.add_argument(
        "-a", "--all", action="store_true", help="those inside containers and sandboxes, too"
    )
    ps.set_defaults(call=_ps)
    gc = commands.add_parser("gc", help="remove what killed processes left", epilog=_GC_EPILOG)
    gc.add_argument("-n", "--dry-run", action="store_true", help="only tell what would be removed")
    gc.set_defaults(call=_gc)
    for command in (ps, gc):
        command.add_argument("--json", action="store_true", help="bytes and seconds, for programs")


def _ps(args: argparse.Namespace) -> int:
    found = pycontain.sandboxes(nested=args.all)
    if args.json:
        print_json([_fields(sandbox) for sandbox in found])
    else:
        _print_table(_HEADINGS, [_row(sandbox) for sandbox in found])
    return 0


def _fields(sandbox: LivingSandbox) -> dict[str, object]:
    return {**dataclasses.asdict(sandbox), "owner_command": printable(sandbox.owner_command)}


def _row(sandbox: LivingSandbox) -> tuple[str, ...]:
    return (
        str(sandbox.pid),
        str(sandbox.owner_pid or "-"),
        printable(sandbox.owner_command) or "-",
        _user(sandbox.owner_uid),
        _duration(sandbox.age_s),
        str(sandbox.commands),
        f"{sandbox.pids}/{_or_dash(sandbox.pids_limit)}",
        f"{_size(sandbox.memory)}/{_size(sandbox.memory_limit)}",
        f"{sandbox.cpu_s:.2f}s",
        {True: "paused", False: "running", None: "-"}[sandbox.paused],
        sandbox.root or "-",
    )


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _user(uid: int | None) -> str:
    import pwd  # noqa: PLC0415 - not every Python has it, nor does any other command need it

    if uid is None:
        return "-"
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return str(uid)


def _size(value: int | None) -> str:
    if value is None:
        return "-"
    power = min(max(value.bit_length() - 1, 0) // 10, 4)
    return f"{value / 1024**power:.1f}".removesuffix(".0") + "BKMGT"[power]


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = [
            cell.ljust(width) if heading in _TEXT_COLUMNS else cell.rjust(width)
            for heading, cell, width in zip(headings, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _gc(args: argparse.Namespace) -> int:
    found = pycontain.gc(dry_run=args.dry_run)
    if args.json:
        print_json(dataclasses.asdict(found))
    else:
        _tell(found)
    for left in found.remaining:
        complain(printable(f"{left.path}: {left.why}: {left.remedy}"))
    return 1 if found.remaining else 0


def _tell(found: Collected) -> None:
    would = "would be " if found.dry_run else ""
    for path in (*found.directories, *found.files):
        print(f"{would}removed: {printable(path)}")
    for pid in found.processes:
        print(f"{would}killed: {pid}")
    if not (found.directories or found.files or found.processes or found.remaining):
        print("nothing is left of dead processes")
