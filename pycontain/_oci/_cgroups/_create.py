# SPDX-License-Identifier: Apache-2.0
"""Make the groups of a container."""

from __future__ import annotations

import errno
import os

from pycontain._cgroup._dir import Dir
from pycontain.errors import PycontainError, UnsupportedError

from . import _devices, _homes, _path
from ._group import Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pycontain._oci._spec import Config, DeviceRule

    from ._unit import Scope

    _Announce = Callable[[list[str]], None]
    _Undo = list[tuple[Any, ...]]  # what is called, and with what

# A hierarchy that refuses a directory for these reasons is not ours to use.
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


def create(
    config: Config,
    container_id: str,
    *,
    systemd: bool,
    device_rules: bool = True,
    announce: _Announce = lambda _paths: None,
) -> Cgroup:
    """Make a container's groups and bring its resources into force.

    Where no hierarchy lets this user make groups and nothing needs one, there are none, and `notes`
    says why.

    Args:
        config: The container's; its cgroupsPath and resources are used.
        container_id: For the name of a group that is given none.
        systemd: The cgroupsPath is `slice:prefix:name`, a unit of systemd's.
        device_rules: Bound the device nodes that can be used.
        announce: Called with the directories that are about to be made, lowest first: should this
            process be killed, they can be found.

    Raises:
        ConfigError: A path or a value that cannot be right.
        UnsupportedError: A controller that is needed is absent, the group is in use, or the kernel
            refused it or a value. Nothing that was made remains.
    """
    undo: _Undo = []
    try:
        cgroup = _create(config, container_id, undo, announce, systemd=systemd)
        if device_rules:
            _bound_devices(cgroup, config.linux.resources.devices)
        cgroup.open()
    except BaseException:
        for call, *args in reversed(undo):
            try:
                call(*args)
            except (OSError, PycontainError):  # what is told is the first error
                pass
        raise
    return cgroup


def _create(
    config: Config, container_id: str, undo: _Undo, announce: _Announce, *, systemd: bool
) -> Cgroup:
    resources = config.linux.resources
    needed = _homes.COUNTED
    if resources.has_limits:
        from . import _resources  # noqa: PLC0415 - all controllers

        needed |= _resources.controllers(resources)
    if systemd:
        from . import _unit  # noqa: PLC0415 - rarely needed

        scope, path = _unit.start(config, container_id)
        undo.append((scope.stop,))
    else:
        scope, path = None, _path.parse(config.linux.cgroups_path, container_id)
    cgroup = _make(path, scope, undo, announce)
    undo.append((cgroup.close,))
    cgroup.apply(resources, needed)
    return cgroup


def _bound_devices(cgroup: Cgroup, rules: Sequence[DeviceRule]) -> None:
    if not _devices.enforceable():
        cgroup.notes += (_devices.NOT_ENFORCED,)
        return
    v1 = cgroup.paths.get("devices")
    _devices.apply(rules, Dir(1, v1) if v1 else None, cgroup.dir(""))


def _missing(home: _homes.Home) -> list[str]:
    paths = []
    path = home.path
    while len(path) > len(home.base.rstrip("/")) and not os.path.exists(path):
        paths.append(path)
        path = os.path.dirname(path)
    return paths


def _make(path: _path.Path, scope: Scope | None, undo: _Undo, announce: _Announce) -> Cgroup:
    paths: dict[str, str] = {}
    above: list[str] = []
    homes, notes = _homes.homes(path)
    announce([missing for home in homes for missing in _missing(home)])
    for home in homes:
        try:
            made = _homes.make(home, scope.keeper_pid if scope else 0)
        except UnsupportedError:
            raise
        except OSError as error:
            refusal = _homes.refused(home, error)
            if scope is not None or error.errno not in _NOT_OURS:
                raise refusal from error
            notes.append(str(refusal))
            continue
        undo.append((made.undo, home))
        paths |= dict.fromkeys(home.keys, home.path)
        above += made.above
    return Cgroup(paths, above=above, notes=notes, scope=scope)
