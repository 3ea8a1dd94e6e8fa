# SPDX-License-Identifier: Apache-2.0
"""Namespaces: made, joined by path, or those of a container's process."""

from __future__ import annotations

import errno
import fcntl

from pycontain import _native
from pycontain import _os as os
from pycontain.errors import ConfigError, ContainerStateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Config

CLONE_NEWTIME = 0x80
CLONE_NEWCGROUP = 0x02000000
# The specification's names, in /proc/PID/ns, and CLONE_NEW*.
KINDS = {
    "user": ("user", _native.CLONE_NEW["user"]),
    "pid": ("pid", _native.CLONE_NEW["pid"]),
    "network": ("net", _native.CLONE_NEW["net"]),
    "ipc": ("ipc", _native.CLONE_NEW["ipc"]),
    "uts": ("uts", _native.CLONE_NEW["uts"]),
    "cgroup": ("cgroup", CLONE_NEWCGROUP),
    "time": ("time", CLONE_NEWTIME),
    "mount": ("mnt", _native.CLONE_NEW["mnt"]),
}
_NS_GET_NSTYPE = 0xB703  # ioctl_ns(2)


def clone_flags(config: Config) -> int:
    """Return the CLONE_NEW* flags of what the clone makes, and not `_init`, or we before."""
    by_init = {"user", "cgroup", "time"}
    return sum(
        KINDS[namespace.type][1]
        for namespace in config.linux.namespaces
        if not namespace.path and namespace.type not in by_init
    )


class Joins:
    """Descriptors of namespaces to join, with the CLONE_NEW* of each; owns them."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []

    def add_paths(self, config: Config) -> None:
        """Open those that a configuration names by path, other than the user namespace.

        Raises:
            ConfigError: A path that is no namespace, or one of another type.
        """
        for place, namespace in enumerate(config.linux.namespaces):
            if not namespace.path or namespace.type == "user":
                continue
            where = f"linux.namespaces[{place}].path: {namespace.path}"
            name, flag = KINDS[namespace.type]
            try:
                fd = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                raise ConfigError(f"{where}: {os.strerror(error.errno or 0)}") from None
            self.rows.append((fd, flag))
            if _type_of(fd) != flag:
                raise ConfigError(f"{where}: not a namespace of type {namespace.type}")
            self._drop_own(name)

    def add_fd(self, fd: int, kind: str) -> None:
        """Add a namespace that somebody else has open."""
        name, flag = KINDS[kind]
        self.rows.append((os.dup(fd), flag))
        self._drop_own(name)

    def add_process(self, pid: int) -> None:
        """Open those of a process in which it differs from us.

        Raises:
            ContainerStateError: It is dead.
        """
        for name, flag in KINDS.values():
            try:
                fd = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, ProcessLookupError):
                if name == "time" and os.path.exists(f"/proc/{pid}/ns/mnt"):
                    continue  # Linux before 5.6
                raise ContainerStateError("container not running") from None
            self.rows.append((fd, flag))
            self._drop_own(name)

    def _drop_own(self, name: str) -> None:
        """Leave out the last one if it is our own: setns(2) refuses one's own user namespace."""
        fd, _ = self.rows[-1]
        if os.path.samestat(os.fstat(fd), os.stat(f"/proc/self/ns/{name}")):
            self.rows.pop()
            os.close(fd)

    def close(self) -> None:
        """Close the descriptors."""
        rows, self.rows = self.rows, []
        for fd, _ in rows:
            os.close(fd)


def _type_of(fd: int) -> int:
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return 0
        raise
