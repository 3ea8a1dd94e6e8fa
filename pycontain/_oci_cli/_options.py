# SPDX-License-Identifier: Apache-2.0
"""Options as runc and crun take them: --name VALUE, --name=VALUE, -n VALUE, -name VALUE."""

from __future__ import annotations

from pycontain._oci._value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class UsageError(Exception):
    """A command line that cannot be understood."""


class Option(Value):
    """An option of a command."""

    name: str
    short: str = ""
    value: str = ""
    """What stands for its value in the help; empty for a switch, `X...` if it may be repeated."""
    text: str = ""

    @property
    def repeated(self) -> bool:
        """Whether all its values count."""
        return self.value.endswith("...")


_TRUE = {"1": True, "t": True, "T": True, "true": True, "True": True, "TRUE": True}
_FALSE = {"0": False, "f": False, "F": False, "false": False, "False": False, "FALSE": False}
_SWITCH = {**_TRUE, **_FALSE}  # strconv.ParseBool of runc's language


def parse(
    words: list[str], options: tuple[Option, ...], *, interleaved: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return the options, by their long names, and the arguments.

    Args:
        words: The command line.
        options: Those that there are.
        interleaved: Whether options may follow arguments.

    Raises:
        UsageError: An unknown option, or a value that is missing or not wanted.
    """
    known = {name: option for option in options for name in (option.name, option.short) if name}
    given: dict[str, Any] = {}
    arguments: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            if not interleaved:
                break
            continue
        name, equals, value = word.lstrip("-").partition("=")
        option = known.get(name)
        if option is None and _take_switches(word, known, given):
            continue
        if option is None:
            raise UsageError(f"flag provided but not defined: {word.partition('=')[0]}")
        if option.value and not equals:
            if at == len(words):
                raise UsageError(f"flag needs an argument: {word}")
            value = words[at]
            at += 1
        _keep(option, value, given, explicit=bool(equals))
    return given, arguments + words[at:]


def _take_switches(word: str, known: dict[str, Option], given: dict[str, Any]) -> bool:
    """Take several switches of one letter, such as -td. Returns whether these are some."""
    letters = word[1:]
    found = [known.get(letter) for letter in letters]
    if word.startswith("--") or any(option is None or option.value for option in found):
        return False
    given.update({option.name: True for option in found if option is not None})
    return True


def _keep(option: Option, value: str, given: dict[str, Any], *, explicit: bool) -> None:
    if option.repeated:
        given.setdefault(option.name, []).append(value)
    elif option.value:
        given[option.name] = value
    elif not explicit:
        given[option.name] = True
    elif value in _SWITCH:
        given[option.name] = _SWITCH[value]
    else:
        raise UsageError(f"invalid boolean value {value!r} for --{option.name}")


def number(given: dict[str, Any], name: str, default: int) -> int:
    """Return the value of an option that is a number, 0 or more. Raises UsageError."""
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"invalid value {text!r} for --{name}: not a number")
    return int(text)
