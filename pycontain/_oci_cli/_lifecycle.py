# SPDX-License-Identifier: Apache-2.0
"""start, kill, delete, pause, resume."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal imports enum, which is slow

from pycontain._oci._state import StateDir
from pycontain.errors import ContainerNotFoundError

from ._command import Command, notify_socket
from ._options import Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain._oci._container import Container

    from ._command import Settings

_SIGNALS = {
    name.removeprefix("SIG"): int(number)
    for name, number in vars(_signal).items()
    if name.startswith("SIG") and name[3].isalpha()
}


def parse_signal(text: str) -> int:
    """Return a signal's number from 9, KILL, SIGKILL or RTMIN+1. Raises UsageError."""
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    value = int(name) if name.isascii() and name.isdecimal() else _SIGNALS.get(name, 0)
    if plus:
        value += int(offset) if offset.isascii() and offset.isdecimal() else -value
    if not 0 < value <= _signal.SIGRTMAX or len(text) > 20:
        raise UsageError(f"unknown signal {text[:40]!r}")
    return value


def _load(settings: Settings, name: str) -> Container:
    StateDir(settings.root).open(name).close()  # what is absent needs no more
    from pycontain._oci._container import Container  # noqa: PLC0415 - slow to import

    return Container.load(name, state_root=settings.root, warn=settings.warn)


def _start(settings: Settings, _given: dict[str, Any], words: list[str]) -> int:
    _load(settings, words[0]).start(notify_socket=notify_socket())
    return 0


def _kill(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    number = parse_signal(words[1] if len(words) > 1 else "TERM")
    for container in _chosen(settings, given, words[0]):
        _load(settings, container).kill(number, all=given.get("all", False))
    return 0


def _delete(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    force = given.get("force", False)
    for container in _chosen(settings, given, words[0]):
        try:
            _load(settings, container).delete(force=force)
        except ContainerNotFoundError:
            if not force:
                raise
    return 0


def _chosen(settings: Settings, given: dict[str, Any], text: str) -> list[str]:
    """Return the container that is named, or all whose ids match."""
    if not given.get("regex"):
        return [text]
    import re  # noqa: PLC0415 - slow to import

    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"no regular expression: {text[:80]!r}: {error}") from None
    return [name for name in StateDir(settings.root).ids() if pattern.search(name)]


def _pause(settings: Settings, _given: dict[str, Any], words: list[str]) -> int:
    _load(settings, words[0]).pause()
    return 0


def _resume(settings: Settings, _given: dict[str, Any], words: list[str]) -> int:
    _load(settings, words[0]).resume()
    return 0


_REGEX = Option(name="regex", short="r", text="take the id as a regular expression")
COMMANDS = {
    command.name: command
    for command in (
        Command(name="start", arguments="ID", text="start a created container", call=_start),
        Command(
            name="kill",
            arguments="ID [SIGNAL]",
            text="send a signal to a container's first process, SIGTERM if none is named",
            call=_kill,
            most=2,
            options=(
                Option(name="all", short="a", text="send it to all processes of the container"),
                _REGEX,
            ),
        ),
        Command(
            name="delete",
            arguments="ID",
            text="remove what is left of a container that has stopped",
            call=_delete,
            options=(
                Option(name="force", short="f", text="kill it first; no error if it is absent"),
                _REGEX,
            ),
        ),
        Command(name="pause", arguments="ID", text="freeze a container", call=_pause),
        Command(name="resume", arguments="ID", text="thaw a container", call=_resume),
    )
}
