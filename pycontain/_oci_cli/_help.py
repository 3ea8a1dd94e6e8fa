# SPDX-License-Identifier: Apache-2.0
"""The texts of --help."""

from __future__ import annotations

from ._command import GLOBAL, PROGRAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._command import Command
    from ._options import Option


def of_program(commands: list[Command]) -> str:
    """Return the help of the program."""
    rows = [(command.name, command.text) for command in commands]
    return (
        f"{PROGRAM}: OCI containers on Linux\n\n"
        f"Usage: {PROGRAM} [options] COMMAND [options] [arguments]\n\n"
        f"Commands:\n{_table(rows)}\nOptions:\n{_options(GLOBAL)}"
    )


def of_command(command: Command) -> str:
    """Return the help of a command."""
    options = f"\nOptions:\n{_options(command.options)}" if command.options else ""
    usage = f"{PROGRAM} {command.name} [options] {command.arguments}".rstrip()
    return f"{usage}\n\n{command.text}\n{options}"


def _options(options: tuple[Option, ...]) -> str:
    rows = []
    for option in options:
        names = f"--{option.name}" + (f", -{option.short}" if option.short else "")
        rows.append((f"{names} {option.value}".rstrip(), option.text))
    return _table(rows)


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows)
    return "".join(f"  {left:{width}}  {right}\n" for left, right in rows)
