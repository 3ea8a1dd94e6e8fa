# SPDX-License-Identifier: Apache-2.0
"""Make the groups of a container."""

from __future__ import annotations

import errno

from pycontain import _os as os
from pycontain._cgroup._dir import Dir, remove_empty
from pycontain._record import NamedTuple
from pycontain.errors import PycontainError, UnsupportedError

from . import _devices, _homes, _path
from ._group import REMOVE_SECONDS, Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pycontain._oci._spec import Config, DeviceRule, Resources

    from ._unit import Scope

    _Undo = list[tuple[Any, ...]]  # what is called, and with what

# A hierarchy that refuses a directory for these reasons is not ours to use.
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


class Plan(NamedTuple):
    """Where a container's groups will be.

    Attributes:
        homes: One in each hierarchy.
        notes: Why there is none in v2, where there is none.
    """

    homes: tuple[_homes.Home, ...]
    notes: tuple[str, ...]

    def missing(self) -> dict[str, list[str]]:
        """Return what is not there yet, for `remove_planned`, should this process be killed."""
        groups, above = [], []
        for home in self.homes:
            if not os.path.exists(home.path):
                groups.append(home.path)
                above += _missing_above(home)
        return {"groups": groups, "above": above}


def plan_groups(config: Config, container_id: str) -> Plan:
    """Return where a container's groups will be. Raises ConfigError: its cgroupsPath is wrong."""
    return _plan(_path.parse(config.linux.cgroups_path, container_id))


def _plan(path: _path.Path) -> Plan:
    homes, notes = _homes.homes(path)
    return Plan(tuple(homes), tuple(notes))


def _missing_above(home: _homes.Home) -> list[str]:
    paths = []
    path = os.path.dirname(home.path)
    while len(path) > len(home.base.rstrip("/")) and not os.path.exists(path):
        paths.append(path)
        path = os.path.dirname(path)
    return paths


def remove_planned(missing: Mapping[str, Sequence[str]]) -> None:
    """Remove what a process that was killed has made of a plan, and nothing that others use."""
    from pycontain._cgroup import _remove  # noqa: PLC0415 - rarely needed

    _remove.all_of(missing.get("groups", ()), REMOVE_SECONDS)  # its process may be dying
    remove_empty(missing.get("above", ()))


def create(
    config: Config,
    container_id: str,
    *,
    systemd: bool = False,
    device_rules: bool = True,
    planned: Plan | None = None,
    announce: Callable[[Plan], None] = lambda _plan: None,
    begin: Callable[[Cgroup], Callable[[], None]] | None = None,
) -> Cgroup:
    """Make a container's groups and bring its resources into force.

    Where no hierarchy lets this user make groups and nothing needs one, there are none, and `notes`
    says why.

    The v2 group comes first, with its controllers: what a process that is born there uses counts
    there from its beginning.

    Args:
        config: The container's; its cgroupsPath and resources are used.
        container_id: For the name of a group that is given none.
        systemd: The cgroupsPath is `slice:prefix:name`, a unit of systemd's.
        device_rules: Bound the device nodes that can be used.
        planned: Where they will be, as `plan_groups` has found.
        announce: Called with that where it is found only now.
        begin: Called once the container's process can be born, before all that only what it will
            run needs; returns what ends that process, should the rest fail.

    Raises:
        ConfigError: A path or a value that cannot be right.
        UnsupportedError: A controller that is needed is absent, the group is in use, or the kernel
            refused it or a value. Nothing that was made remains.
    """
    undo: _Undo = []
    try:
        scope = None
        if systemd:
            from . import _unit  # noqa: PLC0415 - rarely needed

            scope, path = _unit.start(config, container_id)
            undo.append((scope.stop,))
            planned = _plan(path)
            announce(planned)
        plan = planned or plan_groups(config, container_id)
        cgroup = Cgroup({}, notes=plan.notes, scope=scope)
        v2 = [home for home in plan.homes if home.hierarchy.version == 2]
        _make(v2, cgroup, scope, undo)
        undo.append((cgroup.close,))
        cgroup.hand_down(_homes.COUNTED)
        cgroup.open_v2()
        if begin is not None:
            undo.append((begin(cgroup),))
        _make([home for home in plan.homes if home not in v2], cgroup, scope, undo)
        _limit(cgroup, config.linux.resources)
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


def _limit(cgroup: Cgroup, resources: Resources) -> None:
    more: frozenset[str] = frozenset()
    if resources.has_limits:
        from . import _resources  # noqa: PLC0415 - all controllers

        more = _resources.controllers(resources) - _homes.COUNTED
    cgroup.apply(resources, more)


def _bound_devices(cgroup: Cgroup, rules: Sequence[DeviceRule]) -> None:
    if not _devices.enforceable():
        cgroup.notes += (_devices.NOT_ENFORCED,)
        return
    v1 = cgroup.paths.get("devices")
    _devices.apply(rules, Dir(1, v1) if v1 else None, cgroup.dir(""))


def _make(homes: Sequence[_homes.Home], cgroup: Cgroup, scope: Scope | None, undo: _Undo) -> None:
    for home in homes:
        try:
            made = _homes.make(home, scope.keeper_pid if scope else 0)
        except UnsupportedError:
            raise
        except OSError as error:
            refusal = _homes.refused(home, error)
            if scope is not None or error.errno not in _NOT_OURS:
                raise refusal from error
            cgroup.notes += (str(refusal),)
            continue
        undo.append((made.undo, home))
        cgroup.add(dict.fromkeys(home.keys, home.path), made.above)
