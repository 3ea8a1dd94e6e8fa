# SPDX-License-Identifier: Apache-2.0
"""What parts of a configuration forbid each other, as runc validates it."""

from __future__ import annotations

from pycontain.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._spec import Config, Linux, Mount

_IPC_SYSCTLS = frozenset(
    f"kernel.{name}"
    for name in (
        *("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"),
    )
)


def check_config(config: Config) -> None:
    """Raise ConfigError, with the path of a field, for what cannot be done together."""
    linux = config.linux
    kinds = {namespace.type for namespace in linux.namespaces}
    new = {namespace.type for namespace in linux.namespaces if not namespace.path}
    for name in ("hostname", "domainname"):
        if getattr(config, name) and "uts" not in kinds:
            raise ConfigError(f"{name}: it would be the host's without a uts namespace")
    if linux.masked_paths and "mount" not in kinds:
        raise ConfigError("linux.maskedPaths: they would be the host's without a mount namespace")
    if linux.readonly_paths and "mount" not in kinds:
        raise ConfigError("linux.readonlyPaths: they would be the host's without a mount namespace")
    if linux.net_devices and "network" not in kinds:
        raise ConfigError("linux.netDevices: there is no network namespace to move them to")
    _check_users(linux, kinds, new)
    if linux.time_offsets and "time" not in new:
        raise ConfigError("linux.timeOffsets: they need a new time namespace")
    for name in linux.sysctl:
        _check_sysctl(name, config, kinds)
    for place, mount in enumerate(config.mounts):
        _check_mount(mount, f"mounts[{place}]", linux)


def _check_users(linux: Linux, kinds: set[str], new: set[str]) -> None:
    pairs = (("uidMappings", linux.uid_mappings), ("gidMappings", linux.gid_mappings))
    for name, rows in pairs:
        if rows and "user" not in kinds:
            raise ConfigError(f"linux.{name}: there is no user namespace in linux.namespaces")
        if not rows and "user" in new:
            raise ConfigError(f"linux.{name}: a new user namespace needs it")
    if bool(linux.uid_mappings) != bool(linux.gid_mappings):
        raise ConfigError("linux.gidMappings: users and groups are mapped both or not at all")


def _check_sysctl(name: str, config: Config, kinds: set[str]) -> None:
    """Refuse a sysctl that is not of a namespace of the container's (namespaces(7))."""
    where = f"linux.sysctl.{name}"
    if name in {"kernel.hostname", "kernel.domainname"}:
        kind = "uts"
        field = name.removeprefix("kernel.")
        if getattr(config, field):
            raise ConfigError(f"{where}: contradicts the field {field}")
    elif name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
        kind = "ipc"
    elif name.startswith("net."):
        kind = "network"
    elif name.startswith("user."):
        kind = "user"
    else:
        raise ConfigError(f"{where}: not of a namespace, so it would be the host's")
    if kind not in kinds:
        raise ConfigError(f"{where}: it would be the host's without a {kind} namespace")


def _check_mount(mount: Mount, where: str, linux: Linux) -> None:
    bind = mount.type == "bind" or not {"bind", "rbind"}.isdisjoint(mount.options)
    if bind and not mount.source:
        raise ConfigError(f"{where}.source: a bind needs one")
    if not bind and not mount.type:
        raise ConfigError(f"{where}.type: is required for what is no bind")
    if bool(mount.uid_mappings) != bool(mount.gid_mappings):
        raise ConfigError(f"{where}.gidMappings: users and groups are mapped both or not at all")
    idmapped = not {"idmap", "ridmap"}.isdisjoint(mount.options)
    if idmapped and not mount.uid_mappings and not linux.uid_mappings:
        raise ConfigError(f"{where}.uidMappings: an idmapped mount needs mappings")
    if (idmapped or mount.uid_mappings) and not bind:
        raise ConfigError(f"{where}.uidMappings: only a bind can be idmapped")
