# SPDX-License-Identifier: Apache-2.0
"""create and run."""

from __future__ import annotations

from pycontain import _os as os
from pycontain._oci._bundle import Bundle
from pycontain._oci._container import Container

from ._command import Command, notify_socket
from ._options import Option, UsageError, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain._oci._spec import Process

    from ._command import Settings

_OPTIONS = (
    Option(name="bundle", short="b", value="DIR", text="the bundle, the current directory if none"),
    Option(name="config", short="f", value="FILE", text="another configuration than config.json"),
    Option(name="console-socket", value="PATH", text="the socket that gets the terminal"),
    Option(name="pid-file", value="FILE", text="gets the process id"),
    Option(name="pidfd-socket", value="PATH", text="the socket that gets a pidfd of the process"),
    Option(name="preserve-fds", value="N", text="pass N descriptors after standard error"),
    Option(name="no-pivot", text="chroot instead of pivot_root, for a root on a ramfs"),
    Option(name="no-new-keyring", text="keep the session keyring"),
    Option(name="no-subreaper", text="accepted; this program is never one"),
)


def inherit_nothing() -> None:
    """Mark all descriptors but the standard ones close-on-exec, whoever left them to us."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:  # that of the listing
                pass


def warn_of(settings: Settings, process: Process | None) -> None:
    """Tell what was left out of a process."""
    if process is not None and process.capabilities is not None and process.capabilities.unknown:
        names = ", ".join(process.capabilities.unknown)
        settings.warn(f"ignoring unknown or unavailable capabilities: {names}")


def send_pidfd(path: str, pid: int) -> None:
    """Send a pidfd of a process to a socket. Raises OSError."""
    import socket  # noqa: PLC0415 - slow to import

    pidfd = os.pidfd_open(pid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"pidfd"], [pidfd])
    os.close(pidfd)


def _bundle(settings: Settings, given: dict[str, Any]) -> Bundle:
    bundle = Bundle(given.get("bundle", "."), config=given.get("config", "config.json"))
    warn_of(settings, bundle.config.process)
    return bundle


def _make(
    settings: Settings,
    given: dict[str, Any],
    container: str,
    bundle: Bundle,
    console: str | None,
    *,
    start: bool = False,
) -> Container:
    inherit_nothing()
    made = Container.create(
        container,
        bundle,
        state_root=settings.root,
        console_socket=console,
        pid_file=given.get("pid-file"),
        preserve_fds=number(given, "preserve-fds", 0),
        cgroup_manager=settings.cgroup_manager,
        no_pivot=given.get("no-pivot", False),
        no_new_keyring=given.get("no-new-keyring", False),
        notify=bool(notify_socket()),
        start=start,
        warn=settings.warn,
    )
    if "pidfd-socket" in given:
        send_pidfd(given["pidfd-socket"], made.pid)
    return made


def check_terminal(process: Process | None, console: str | None, *, detached: bool) -> None:
    """Refuse a terminal that nobody would get, and a socket that would get none."""
    terminal = process is not None and process.terminal
    if detached and terminal and not console:
        raise UsageError("cannot allocate tty if it will detach without setting console socket")
    if console and not (detached and terminal):
        raise UsageError("cannot use console socket if it will not detach or allocate tty")


def _create(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    bundle = _bundle(settings, given)
    console = given.get("console-socket")
    check_terminal(bundle.config.process, console, detached=True)
    _make(settings, given, words[0], bundle, console)
    return 0


def _run(settings: Settings, given: dict[str, Any], words: list[str]) -> int:
    bundle = _bundle(settings, given)
    console = given.get("console-socket")
    detached = given.get("detach", False)
    check_terminal(bundle.config.process, console, detached=detached)
    if not detached:
        return _run_here(settings, given, words[0], bundle)
    _make_and_start(settings, given, words[0], bundle, console)
    return 0


def _make_and_start(
    settings: Settings, given: dict[str, Any], name: str, bundle: Bundle, console: str | None
) -> Container:
    """Make a container and start it: in one step, unless somebody is told between the two."""
    notify = notify_socket()
    apart = bool(notify) or "pidfd-socket" in given
    container = _make(settings, given, name, bundle, console, start=not apart)
    if apart:
        detached = given.get("detach", False)
        container.start_or_delete(notify_socket=notify, background=not detached)
    return container


def _run_here(settings: Settings, given: dict[str, Any], name: str, bundle: Bundle) -> int:
    from ._foreground import Console, forwarded, wait  # noqa: PLC0415 - signals, terminals

    terminal = None
    with forwarded() as signals:
        if bundle.config.process is not None and bundle.config.process.terminal:
            with Console() as console:
                container = _make(settings, given, name, bundle, console.path)
                terminal = console.receive()
            container.start_or_delete(notify_socket=notify_socket(), background=True)
        else:
            container = _make_and_start(settings, given, name, bundle, None)
        status = wait(container.pid, container.kill, signals, terminal)
        container.tell()
    if not given.get("keep"):
        container.delete(force=True)
    return status


COMMANDS = {
    "create": Command(
        name="create",
        arguments="ID",
        text="make a container, whose process waits for start",
        call=_create,
        options=_OPTIONS,
    ),
    "run": Command(
        name="run",
        arguments="ID",
        text="make a container, start it, wait for its end, and delete it",
        call=_run,
        options=(
            *_OPTIONS,
            Option(name="detach", short="d", text="do not wait"),
            Option(name="keep", text="do not delete it"),
        ),
    ),
}
