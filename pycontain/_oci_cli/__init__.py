# SPDX-License-Identifier: Apache-2.0
"""The command `pycontain-runtime`: runc's conventions over `pycontain.oci`.

An engine starts it several times for each container, so a command imports what it needs and no
more: not argparse, not typing, and each family of commands only if one of it is called.
"""

from __future__ import annotations

import sys

from pycontain import _os as os

from ._command import GLOBAL, Settings
from ._late import Late
from ._options import UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._command import Command

SPEC = "1.2.0"
_FAMILIES = {  # the module that has a command
    **dict.fromkeys(("create", "run"), "_create"),
    **dict.fromkeys(("start", "kill", "delete", "pause", "resume"), "_lifecycle"),
    "exec": "_exec",
    **dict.fromkeys(("state", "list", "ps", "events"), "_show"),
    "update": "_update",
    **dict.fromkeys(("spec", "features"), "_documents"),
}
_HELP = ("-h", "--help", "-help")


def main(argv: list[str], command: str = "", place: str = "") -> NoReturn:
    """Run a command line, without the name of the program, and exit.

    Args:
        argv: The command line.
        command, place: The command whose modules are to be kept for the next time, and where.
    """
    sys.meta_path.append(Late())
    if command and place:
        from ._frozen import freeze  # noqa: PLC0415 - once after a boot

        freeze(command, place)
    status = run(argv)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads
        status = status or 1
    os._exit(status)  # noqa: SLF001 - what an interpreter does at its end serves nobody here


def run(argv: list[str]) -> int:
    """Run a command line and return its exit status."""
    settings = Settings()
    try:
        given, words = parse(argv, GLOBAL, interleaved=False)
        settings = Settings.of(given)
        return _dispatch(settings, given, words)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - whatever it is, callers look for it in the log
        return settings.complain(error)


def _dispatch(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    if "version" in given:
        return _print_version()
    if "help" in given or not words or words[0] in {"help", "h"}:
        return _print_help(words[1:])
    command = _find(words[0])
    if any(word in _HELP for word in words[1:2]):
        return _print_help(words[:1])
    return command.run(settings, words[1:])


def _find(name: str) -> Command:
    if name not in _FAMILIES:
        raise UsageError(f"no such command: {name!r}; --help lists them")
    family = __import__(f"{__name__}.{_FAMILIES[name]}", fromlist=["COMMANDS"])
    found: Command = family.COMMANDS[name]
    return found


def _print_version() -> int:
    from pycontain import __version__  # noqa: PLC0415 - imported already, and only named here

    sys.stdout.write(f"pycontain-runtime version {__version__}\nspec: {SPEC}\n")
    return 0


def _print_help(words: list[str]) -> int:
    from . import _help  # noqa: PLC0415 - texts that no other call needs

    if words:
        sys.stdout.write(_help.of_command(_find(words[0])))
    else:
        sys.stdout.write(_help.of_program([_find(name) for name in _FAMILIES]))
    return 0
