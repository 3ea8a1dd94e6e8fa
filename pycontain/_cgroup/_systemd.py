# SPDX-License-Identifier: Apache-2.0
"""Ask systemd for a scope of our own, a subtree of groups that it leaves to us.

As root the system manager is asked, else the user's. A scope lives while it has processes, and may
have controllers for its children only while it has none itself ("no internal processes",
cgroup-v2.rst), so a keeper goes into it, and from there into a leaf. This process stays where it
is.

Sources: systemd.scope(5), org.freedesktop.systemd1(5), systemd's CGROUP_DELEGATION.md.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal imports enum, which is slow
import os
import pwd

from pycontain._record import NamedTuple

from . import _files
from ._hierarchy import discover

TIMEOUT_S = 10.0
KEEPER_LEAF = "keeper"
_NO_LIMIT = 2**64 - 1


class Scope(NamedTuple):
    """A scope that is ours: its unit, and its directory in the v2 hierarchy."""

    unit: str
    directory: str


class Refusal(NamedTuple):
    """Why there is no scope, the file that says so, and what would change it."""

    why: str
    file: str
    remedy: str


def booted() -> bool:
    """Tell whether systemd runs this machine (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system/")


def is_managed(mount: str) -> bool:
    """Tell whether systemd manages the hierarchy that is mounted there."""
    return booted() and mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


def bus_path() -> str:
    """Return the socket of the bus on which the manager for this user is."""
    user = os.geteuid()
    if user == 0:
        return "/run/dbus/system_bus_socket"
    return f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{user}'}/bus"


def properties(keeper: int) -> list[tuple[str, tuple[str, object]]]:
    """Return what the scope is to be, as StartTransientUnit takes it: name, signature, value."""
    return [
        ("Description", ("s", f"pycontain: sandboxes of process {os.getpid()}")),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),  # nothing of it stays, however it ends
        ("KillSignal", ("i", signal.SIGKILL)),  # PID 1s take no other: no shutdown waits
        ("TasksMax", ("t", _NO_LIMIT)),  # pids= limits, not systemd's default
        ("PIDs", ("au", [keeper])),
    ]


def request(unit: str, keeper: int) -> Scope | Refusal:
    """Ask for a scope with the process `keeper` in it, and put that into a leaf.

    Args:
        unit: Its name, which ends in `.scope`.
        keeper: The process id of a child of ours.
    """
    refused = call("start_unit", unit, properties(keeper))
    return refused or _enter_leaf(unit, keeper, bus_path())


def call(name: str, *arguments: object) -> Refusal | None:
    """Let a function of `_dbus` speak with the manager of this user; return why it could not."""
    bus = bus_path()
    try:
        from . import _dbus  # noqa: PLC0415 - an extra
    except ImportError:
        return Refusal(
            why="systemd was not asked for a scope: the library jeepney is not installed",
            file=bus,
            remedy="pip install 'pycontain[systemd]'",
        )
    try:
        getattr(_dbus, name)(bus, *arguments, TIMEOUT_S)
    except TimeoutError:
        return Refusal(
            why=f"systemd did not answer within {TIMEOUT_S:g} s",
            file=bus,
            remedy=f"see what {_systemctl()} list-jobs shows",
        )
    except OSError as error:
        return _no_bus(bus, error)
    except _dbus.RefusedError as error:
        return refusal(bus, error.name, str(error))
    return None


def _systemctl() -> str:
    return "systemctl" if os.geteuid() == 0 else "systemctl --user"


def _no_bus(bus: str, error: OSError) -> Refusal:
    if os.geteuid() == 0:
        return Refusal(
            why=f"systemd's bus cannot be reached: {error.strerror}",
            file=bus,
            remedy="install and start a D-Bus daemon (Debian: apt install dbus)",
        )
    return Refusal(
        why=f"this user's systemd cannot be reached: {error.strerror}",
        file=bus,
        remedy=f"as root: loginctl enable-linger {_user_name()} (Debian: after apt install "
        "dbus-user-session)",
    )


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def refusal(bus: str, name: str, text: str) -> Refusal:
    """Translate an error of systemd's, or of the bus's (then without a name)."""
    denied = ("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed")
    if name.rpartition(".")[2] in denied:
        remedy = "let polkit allow org.freedesktop.systemd1.manage-units to this user"
    elif name.rpartition(".")[2] in ("ServiceUnknown", "NameHasNoOwner"):
        remedy = "start systemd's manager on this bus"
    elif name.endswith(".UnitExists"):
        remedy = f"choose another name, or end that unit ({_systemctl()} stop)"
    elif name:
        remedy = "update systemd to 238 or newer"
    else:
        remedy = "run outside of containers and user namespaces"
    return Refusal(why=f"systemd gave no scope: {text or name}", file=bus, remedy=remedy)


def _enter_leaf(unit: str, keeper: int, bus: str) -> Scope | Refusal:
    try:
        own = _files.read(f"/proc/{keeper}/cgroup")
        hierarchy = discover(_files.read("/proc/self/mountinfo"), own).v2
        directory = None if hierarchy is None else hierarchy.own
        if directory is None or os.path.basename(directory) != unit:
            # Before 238 a user's manager could not move a process out of a session's scope.
            return refusal(bus, "left", f"it left process {keeper} in {own.strip()}")
        leaf = f"{directory}/{KEEPER_LEAF}"
        os.mkdir(leaf)
        _files.write(f"{leaf}/cgroup.procs", str(keeper))
    except OSError as error:
        return refusal(bus, "", f"{unit} cannot be used: {error}")
    return Scope(unit, directory)


def hand_down_remedy(controller: str) -> str:
    """Return what makes a manager hand a controller down to the scopes that we get from it."""
    if os.geteuid() == 0:
        return f"see that the kernel has {controller} and cgroup_disable= does not take it away"
    folder = "/etc/systemd/system/user@.service.d"
    lines = r"[Service]\nDelegate=cpu cpuset io memory pids\n"
    return (
        f"as root: mkdir -p {folder}; printf '{lines}' > {folder}/delegate.conf; "
        f"systemctl daemon-reload; systemctl restart user@{os.geteuid()}.service"
    )
