# SPDX-License-Identifier: Apache-2.0
"""User namespaces: the container's own, and those whose maps show a mount's files."""

from __future__ import annotations

import os

from pycontain import _native
from pycontain.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Config, IDMapping, Mount


def id_map(rows: tuple[IDMapping, ...]) -> str:
    """Return the text for /proc/PID/uid_map."""
    return "".join(f"{row.container_id} {row.host_id} {row.size}\n" for row in rows)


def _write_maps(pid: int, uid_map: str, gid_map: str) -> None:
    """Give a new user namespace its maps, oneself or through newuidmap(1) (user_namespaces(7))."""
    import shutil  # noqa: PLC0415 - few containers have one

    from pycontain import _identity, _ranges  # noqa: PLC0415 - the same

    if _identity.can_map():
        _ranges.write_maps(pid, uid_map, gid_map)
    elif shutil.which("newuidmap") and shutil.which("newgidmap"):
        _identity.call_map_helpers(pid, uid_map, gid_map)
    else:  # one's own id is free
        with open(f"/proc/{pid}/setgroups", "w", encoding="ascii") as file:
            file.write("deny")
        _ranges.write_maps(pid, uid_map, gid_map)


def make(uid: tuple[IDMapping, ...], gid: tuple[IDMapping, ...]) -> int:
    """Return a descriptor of a new user namespace with these maps.

    Raises:
        UnsupportedError, SpawnError: It cannot be made, or not have them.
    """
    return _native.make_user_namespace(_write_maps, id_map(uid), id_map(gid))


class UserNamespaces:
    """The user namespaces of one creation; owns their descriptors.

    Attributes:
        own_fd: The container's, new or joined; -1: the caller's.
    """

    def __init__(self, config: Config) -> None:
        self.own_fd = -1
        self._fds: dict[tuple[str, str], int] = {}
        linux = config.linux
        for namespace in linux.namespaces:
            if namespace.type == "user":
                self.own_fd = (
                    os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
                    if namespace.path
                    else make(linux.uid_mappings, linux.gid_mappings)
                )

    def of_mount(self, mount: Mount) -> int:
        """Return the user namespace that maps a mount's ids: its own maps, or the container's."""
        if not mount.uid_mappings:
            if self.own_fd < 0:
                raise ConfigError(
                    f"mounts: {mount.destination}: idmap needs uidMappings and gidMappings, "
                    "or a user namespace"
                )
            return self.own_fd
        key = id_map(mount.uid_mappings), id_map(mount.gid_mappings)
        if key not in self._fds:
            self._fds[key] = make(mount.uid_mappings, mount.gid_mappings)
        return self._fds[key]

    def close(self) -> None:
        """Close the descriptors."""
        fds, self._fds = [*self._fds.values(), self.own_fd], {}
        self.own_fd = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
