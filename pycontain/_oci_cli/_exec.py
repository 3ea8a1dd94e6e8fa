# SPDX-License-Identifier: Apache-2.0
"""exec."""

from __future__ import annotations

from pycontain import _os as os
from pycontain._json import LIMIT, loads
from pycontain._oci._container import Container
from pycontain._oci._parse import parse_process
from pycontain._oci._state import StateDir
from pycontain.errors import ConfigError

from ._command import Command
from ._create import check_terminal, inherit_nothing, send_pidfd, warn_of
from ._options import Option, UsageError, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain._oci._spec import Process

    from ._command import Settings

_FAILED = 255
_SETS = ("bounding", "effective", "permitted")


def _exec(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    try:
        return _try(settings, given, words)
    except Exception as error:  # noqa: BLE001 - the status is that of runc for all of them
        return settings.complain(error, _FAILED)


def _try(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    container = Container.load(words[0], state_root=settings.root, warn=settings.warn)
    process = _process(settings, given, words)
    warn_of(settings, process)
    console = given.get("console-socket")
    detached = given.get("detach", False)
    check_terminal(process, console, detached=detached)
    inherit_nothing()
    options: dict[str, Any] = {
        "pid_file": given.get("pid-file"),
        "preserve_fds": number(given, "preserve-fds", 0),
        "cgroup": given.get("cgroup", ""),
        "ignore_paused": given.get("ignore-paused", False),
    }
    if detached:
        started = container.exec(process, console_socket=console, **options)
        if "pidfd-socket" in given:
            send_pidfd(given["pidfd-socket"], started.pid)
        return 0
    return _exec_here(container, process, options)


def _exec_here(container: Container, process: Process, options: dict[str, Any]) -> int:
    from ._foreground import (  # noqa: PLC0415 - signals, terminals
        Console,
        forwarded,
        sender,
        wait,
    )

    terminal = None
    with forwarded() as signals:
        if process.terminal:
            with Console() as console:
                started = container.exec(process, console_socket=console.path, **options)
                terminal = console.receive()
        else:
            started = container.exec(process, **options)
        return wait(started.pid, sender(started.pid), signals, terminal)


def _process(settings: Settings, given: dict[str, Any], words: list[str]) -> Process:
    """Return the process that a file describes, or the container's own with changes."""
    if "process" in given:
        if len(words) > 1:
            raise UsageError("exec: a command and --process exclude each other")
        return parse_process(_read(given["process"]))
    if len(words) < 2:
        raise UsageError("exec: the command is missing")
    with StateDir(settings.root).open(words[0]) as entry:
        document = loads(entry.read_config(), "config.json").get("process") or {}
    return parse_process(_changed(document, given, words[1:]))


def _read(path: str) -> bytes:
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        data = file.read(LIMIT + 1)
    if not data:
        raise ConfigError(f"{path}: empty")
    return data


def _changed(document: dict[str, Any], given: dict[str, Any], args: list[str]) -> dict[str, Any]:
    """Return the `process` object of a container as the options want it, yet to be checked."""
    changed = {**document, "args": args, "terminal": given.get("tty", False)}
    changed.pop("consoleSize", None)
    for option, field in (
        ("cwd", "cwd"),
        ("apparmor", "apparmorProfile"),
        ("process-label", "selinuxLabel"),
    ):
        if option in given:
            changed[field] = given[option]
    changed["env"] = [*(document.get("env") or ()), *given.get("env", ())]
    if "no-new-privs" in given:
        changed["noNewPrivileges"] = given["no-new-privs"]
    changed["user"] = _user(dict(document.get("user") or {}), given)
    if "cap" in given:
        sets = document.get("capabilities") or {}
        changed["capabilities"] = {
            **sets,
            **{name: [*(sets.get(name) or ()), *_capabilities(given["cap"])] for name in _SETS},
        }
    return changed


def _capabilities(names: list[str]) -> list[str]:
    upper = (name.upper() for name in names)
    return [name if name.startswith("CAP_") else f"CAP_{name}" for name in upper]


def _user(user: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    if "user" in given:
        uid, colon, gid = given["user"].partition(":")
        user["uid"] = _id(uid, "user")
        if colon:
            user["gid"] = _id(gid, "user")
    if "additional-gids" in given:
        more = [_id(text, "additional-gids") for text in given["additional-gids"]]
        user["additionalGids"] = [*(user.get("additionalGids") or ()), *more]
    return user


def _id(text: str, option: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise UsageError(f"invalid value {text[:40]!r} for --{option}: ids are numbers here")
    return int(text)


COMMANDS = {
    "exec": Command(
        name="exec",
        arguments="ID COMMAND [ARGUMENTS]",
        text="run another process in a running container",
        call=_exec,
        most=None,
        interleaved=False,
        options=(
            Option(name="process", short="p", value="FILE", text="the process as process.json"),
            Option(name="env", short="e", value="NAME=VALUE...", text="add a variable"),
            Option(name="cwd", value="DIR", text="its directory"),
            Option(name="user", short="u", value="UID[:GID]", text="who it is"),
            Option(name="additional-gids", short="g", value="GID...", text="add a group"),
            Option(name="cap", short="c", value="NAME...", text="add a capability"),
            Option(name="no-new-privs", text="set no_new_privs"),
            Option(name="apparmor", value="PROFILE", text="its AppArmor profile"),
            Option(name="process-label", value="LABEL", text="its SELinux label"),
            Option(name="tty", short="t", text="give it a terminal"),
            Option(name="console-socket", value="PATH", text="the socket that gets the terminal"),
            Option(name="detach", short="d", text="do not wait"),
            Option(name="pid-file", value="FILE", text="gets the process id"),
            Option(name="pidfd-socket", value="PATH", text="the socket that gets a pidfd"),
            Option(name="preserve-fds", value="N", text="pass N descriptors after standard error"),
            Option(name="cgroup", value="PATH", text="a group below the container's"),
            Option(name="ignore-paused", text="also if the container is paused"),
            Option(name="no-subreaper", text="accepted; this program is never one"),
        ),
    )
}
