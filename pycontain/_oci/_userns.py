# SPDX-License-Identifier: Apache-2.0
"""User namespaces: the container's own, and those whose maps show a mount's files."""

from __future__ import annotations

from pycontain import _native, _usermap
from pycontain import _os as os
from pycontain.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Config, IDMapping, Mount


def id_map(rows: tuple[IDMapping, ...]) -> str:
    """Return the text for /proc/PID/uid_map."""
    return "".join(f"{row.container_id} {row.host_id} {row.size}\n" for row in rows)


def _write_maps(pid: int, uid_map: str, gid_map: str) -> None:
    """Give a new user namespace its maps, oneself or through newuidmap(1)."""
    if _usermap.can_map():
        _usermap.write_maps(pid, uid_map, gid_map)
    elif _is_own(uid_map, os.geteuid()) and _is_own(gid_map, os.getegid()):
        _usermap.write_own(pid, uid_map, gid_map)
    else:
        _usermap.call_map_helpers(pid, uid_map, gid_map)


def _is_own(text: str, own: int) -> bool:
    """Whether a map has one's own id alone, which is free."""
    return text.split()[1:] == [str(own), "1"]


def may_set_groups(pid: int) -> bool:
    """Whether setgroups(2) is allowed in a process's user namespace (user_namespaces(7))."""
    try:
        with open(f"/proc/{pid}/setgroups", encoding="utf-8") as file:
            return file.read().strip() == "allow"
    except OSError:  # it has ended, which is seen elsewhere
        return True


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
        groups: Supplementary groups can be set in it.
    """

    def __init__(self, config: Config) -> None:
        self.own_fd = -1
        self.groups = True
        self._holder: _native.Holder | None = None
        self._fds: dict[tuple[str, str], int] = {}
        linux = config.linux
        for namespace in linux.namespaces:
            if namespace.type == "user" and namespace.path:
                self.own_fd = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
            elif namespace.type == "user":
                self.own_fd = self._make(linux.uid_mappings, linux.gid_mappings)

    def _make(self, uid: tuple[IDMapping, ...], gid: tuple[IDMapping, ...]) -> int:
        self._holder = holder = _native.Holder()
        try:
            _write_maps(holder.pid, id_map(uid), id_map(gid))
            self.groups = may_set_groups(holder.pid)
            fd = holder.open()
        except BaseException:
            holder.release()
            raise
        holder.end()  # which is waited for when there is less to do
        return fd

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
        if self._holder is not None:
            self._holder.release()
        fds, self._fds = [*self._fds.values(), self.own_fd], {}
        self.own_fd = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
