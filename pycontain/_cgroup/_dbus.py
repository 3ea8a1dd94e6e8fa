# SPDX-License-Identifier: Apache-2.0
"""One conversation with systemd over D-Bus. Imports jeepney: only `_systemd` imports this module.

Sources: org.freedesktop.systemd1(5), the D-Bus specification.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jeepney
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import DBusConnection, prep_socket

_MANAGER = jeepney.DBusAddress(
    "/org/freedesktop/systemd1",
    bus_name="org.freedesktop.systemd1",
    interface="org.freedesktop.systemd1.Manager",
)


class RefusedError(Exception):
    """The other side said no.

    Attributes:
        name: The D-Bus error's name; empty if it did not come that far.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class _Connection(DBusConnection):  # type: ignore[misc]  # the library has no types
    """A connection whose waits all end at one deadline, the library's own among them."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._deadline = deadline
        super().__init__(sock)

    def receive(self, *, timeout: float | None = None) -> Any:
        left = self._deadline - time.monotonic()
        return super().receive(timeout=max(0.0, left if timeout is None else min(left, timeout)))


Properties = Sequence[tuple[str, tuple[str, object]]]
"""Name, signature and value of each."""


def start_unit(bus: str, unit: str, properties: Properties, timeout_s: float) -> None:
    """Let the systemd on the `bus` start a transient unit, and wait until it has.

    Raises:
        OSError: There is no bus at this path. TimeoutError: no answer in time.
        RefusedError: The bus, or systemd, refused.
    """
    with _connected(bus, timeout_s) as connection:
        body = unit, "fail", list(properties), list[object]()
        _await_job(connection, unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)


def stop_unit(bus: str, unit: str, timeout_s: float) -> None:
    """Let systemd stop a unit, and wait until it has. Raises as `start_unit`."""
    with _connected(bus, timeout_s) as connection:
        _await_job(connection, unit, "StopUnit", "ss", (unit, "replace"))


def set_properties(bus: str, unit: str, properties: Properties, timeout_s: float) -> None:
    """Change properties of a unit until it ends. Raises as `start_unit`."""
    with _connected(bus, timeout_s) as connection:
        body = (unit, True, list(properties))
        call = jeepney.new_method_call(_MANAGER, "SetUnitProperties", "sba(sv)", body)
        _unwrap(connection.send_and_get_reply(call))


@contextmanager
def _connected(bus: str, timeout_s: float) -> Iterator[Any]:
    """Yield a connection to a bus on which systemd knows us, for at most `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    try:
        sock = prep_socket(bus, timeout=timeout_s)
        sock.settimeout(timeout_s)  # what is sent must not wait for ever either
        try:
            connection = _Connection(sock, deadline)
        except BaseException:
            sock.close()
            raise
        with connection:
            _check_process(connection)
            yield connection
    except BlockingIOError:  # from a socket whose time was over before it waited
        raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout_s} s") from None
    except AuthenticationError as error:
        raise RefusedError("", f"the bus does not know us: {error}") from None
    except jeepney.DBusErrorResponse as error:
        text = next((str(part) for part in error.data), "")
        raise RefusedError(error.name or "", text) from None


def _check_process(connection: Any) -> None:
    """See that a pid means the same to the bus, hence to systemd, as to us.

    The host's bus may have been let into a container.
    """
    (pid,) = connection.bus_proxy.GetConnectionUnixProcessID(connection.unique_name)
    if pid != os.getpid():
        raise RefusedError("", f"it knows us as process {pid}: it is in another PID namespace")


def _await_job(
    connection: Any, unit: str, method: str, signature: str, body: tuple[object, ...]
) -> None:
    """Call a method that begins a job for a unit, and wait for the job's end."""
    done = {
        "type": "signal",
        "interface": _MANAGER.interface,
        "member": "JobRemoved",
        "path": _MANAGER.object_path,
    }
    # Signals carry their sender's unique name, so only the bus can match the well-known one.
    connection.bus_proxy.AddMatch(jeepney.MatchRule(**done, sender=_MANAGER.bus_name))
    rule = jeepney.MatchRule(**done)
    rule.add_arg_condition(2, unit)
    call = jeepney.new_method_call(_MANAGER, method, signature, body)
    with connection.filter(rule) as removed:
        _unwrap(connection.send_and_get_reply(call))
        *_, result = connection.recv_until_filtered(removed).body
    if result != "done":
        raise RefusedError("", f"the job {method} of {unit} ended with {result!r}")


def _unwrap(message: Any) -> None:
    if message.header.message_type == jeepney.MessageType.error:
        raise jeepney.DBusErrorResponse(message)
