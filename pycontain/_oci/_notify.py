# SPDX-License-Identifier: Apache-2.0
"""What a container tells its service manager: that it is ready (sd_notify(3)).

As with runc, its program finds a socket of ours in NOTIFY_SOCKET, and `start` waits until it says
READY=1, which is handed on with its process id as the host sees it. Nothing else is: a container is
not trusted.
"""

from __future__ import annotations

import os
import select
import socket

from ._living import Handle
from ._spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ._spec import Config
    from ._state import Entry, Record

VARIABLE = "NOTIFY_SOCKET"
_DIRECTORY = "notify"  # in the entry: the socket comes into it when the container is started
_NAME = "notify.sock"
_INSIDE = "/run/notify"
_LARGEST = 4096
_PATIENCE_S = 10.0  # for a manager that does not read


def with_socket(config: Config, entry: Entry) -> Config:
    """Return a configuration that shows the program the directory of its socket.

    Raises:
        OSError: The directory cannot be made.
    """
    os.mkdir(_DIRECTORY, dir_fd=entry.fd)
    os.chmod(f"/proc/self/fd/{entry.fd}/{_DIRECTORY}", 0o755)  # noqa: S103 - of a private one
    mount = Mount(
        destination=_INSIDE,
        type="bind",
        source=f"{entry.path}/{_DIRECTORY}",
        options=("bind", "ro", "nosuid", "nodev", "noexec"),
    )
    process = config.process
    assert process is not None  # noqa: S101 - the caller checked
    env = [row for row in process.env if not row.startswith(f"{VARIABLE}=")]
    process = process.replace(env=(*env, f"{VARIABLE}={_INSIDE}/{_NAME}"))
    return config.replace(mounts=(*config.mounts, mount), process=process)


class Notifications:
    """The socket that a container's program writes to.

    Attributes:
        manager: The service manager's socket: a path, or @ and an abstract name.
    """

    def __init__(self, entry: Entry, manager: str) -> None:
        """Make it. Raises OSError."""
        self.manager = manager
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        directory = os.open(_DIRECTORY, flags, dir_fd=entry.fd)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            path = f"/proc/self/fd/{directory}/{_NAME}"  # names may be long
            self._socket.bind(path)
            os.chmod(path, 0o777)  # noqa: S103 - whoever the program is
        except BaseException:
            self._socket.close()
            raise
        finally:
            os.close(directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def hand_on(self, record: Record) -> None:
        """Wait until a container's program is ready or has ended, and tell the manager if it is.

        Raises:
            OSError: Nobody is there.
        """
        if self._is_ready(record):
            name = self.manager
            address = f"\0{name[1:]}" if name.startswith("@") else name
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE_S)
                sock.sendto(f"READY=1\nMAINPID={record.pid}\n".encode(), address)

    def _is_ready(self, record: Record) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        try:
            process = Handle(record)
        except ProcessLookupError:  # what it has said is there
            return self._hears_ready(poll, 0)
        with process:
            poll.register(process.fd, select.POLLIN)
            return self._hears_ready(poll, None)

    def _hears_ready(self, poll: select.poll, timeout_ms: int | None) -> bool:
        """Read messages until the program is ready; False when there is something else."""
        while self._socket.fileno() in {fd for fd, _ in poll.poll(timeout_ms)}:
            if b"READY=1" in self._socket.recv(_LARGEST).split(b"\n"):
                return True
        return False
